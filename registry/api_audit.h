/*
 * The dispatcher's end of the audit log: which requests are changes, and what is recorded of each.
 */
#ifndef BULLA_REGISTRY_API_AUDIT_H
#define BULLA_REGISTRY_API_AUDIT_H

#include "registry/api.h"

/* The call was allowed and its operation has begun: a change is recorded as begun. A failure means
 * that it must not be made. */
int api_audit_begin(struct api_call *c, struct error *err) MUST_CHECK;
/* Before the operation does it: the record is durable. */
int api_audit_ready(struct api_call *c, struct error *err) MUST_CHECK;
/* The reply is set: a change's result is recorded before anybody is told. */
void api_audit_result(struct api_call *c);
/* The call is over: records what has not been recorded. */
void api_audit_end(struct api_call *c, bool completed);

#endif

/*
 * The registry's parts, put together: storage, index, sessions, users, link to the signing service.
 */
#ifndef BULLA_REGISTRY_SERVICE_H
#define BULLA_REGISTRY_SERVICE_H

#include "registry/api.h"

/* Opens storage and index; starts no thread, so that the process can still be confined. config must
 * outlive it. */
int registry_open(const struct server_config *config, struct registry *out,
                  struct error *err) MUST_CHECK;
/* Starts the index's writer and what needs it. */
int registry_start(struct registry *r, struct error *err) MUST_CHECK;
void registry_close(struct registry *r);

#endif

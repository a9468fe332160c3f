/*
 * signedBy: the roles that policy wants to vouch for a digest, beside the search that every stock
 * client does.
 *
 * Each entry is verified by its own chain of delegations from top-level targets; no key counts for
 * two entries of one policy file.
 * Source: design "Policy".
 */
#ifndef BULLA_VERIFY_SIGNED_BY_H
#define BULLA_VERIFY_SIGNED_BY_H

#include "verify/verdict.h"

/* Whether all that the decision's scopes ask for vouch for target `name` with this digest. Fetches
 * roles as needed. E_POLICY; E_STALE where a role cannot be asked for now; else as trust_need_role.
 */
int signed_by_check(struct trust_session *s, const struct decision *d, const char *name,
                    const struct digest *digest, struct error *err) MUST_CHECK;

#endif

/*
 * The files of one collection as the signing service handles them: a struct signer_set that grows.
 *
 * Roles are distinct within a set. One thread per object.
 */
#ifndef BULLA_SIGNER_SERVICE_SET_H
#define BULLA_SIGNER_SERVICE_SET_H

#include "signer/link.h"

/* Roles in force (at most PROTOCOL_MAX_FILES) or gone. */
#define SERVICE_SET_MAX_FILES 8200u

/* NULL where the set has no such role; borrowed until the set changes. */
const struct signer_set_file *service_set_find(const struct signer_set *set, const char *role);
/* Appends copies. E_EXISTS: the role is there already. E_LIMIT: more files than an answer takes. */
int service_set_add(struct signer_set *set, const char *role, int64_t version,
                    const struct bytes *data, struct error *err) MUST_CHECK;
/* A deep copy of `from` appended to an empty set. */
int service_set_copy(const struct signer_set *from, struct signer_set *out,
                     struct error *err) MUST_CHECK;
/* Same roles, versions and bytes, whatever the order. */
bool service_set_equal(const struct signer_set *a, const struct signer_set *b);

#endif

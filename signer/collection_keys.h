/* Keys that sign a role, opened together. Shared by the collection_*.c files only. */
#ifndef BULLA_SIGNER_COLLECTION_KEYS_H
#define BULLA_SIGNER_COLLECTION_KEYS_H

#include "signer/collection.h"
#include "tuf/compose.h"

struct role_signers {
    struct signing_key *keys[COLLECTION_MAX_KEYS];
    struct tuf_signer signers[COLLECTION_MAX_KEYS]; /* point into keys */
    struct collection_key_info info[COLLECTION_MAX_KEYS];
    size_t n;
};

/* Opens each named key once. E_USAGE: the same key twice, too many. */
int role_signers_open(const struct collection_owner *owner, const char *const *names, size_t n,
                      struct role_signers *out, struct error *err) MUST_CHECK;
/* Adds the one local key whose id is in `role`, unless enough of its keys are open already. E_USAGE
 * names the candidates or what the role lists. */
int role_signers_find(const struct collection_owner *owner, const struct tuf_role_keys *role,
                      const char *role_name, struct role_signers *s, struct error *err) MUST_CHECK;
/* Number of the open keys that `role` lists. */
size_t role_signers_count(const struct role_signers *s, const struct tuf_role_keys *role);
bool role_keys_list(const struct tuf_role_keys *role, const char *id);
void role_signers_done(struct role_signers *s);

#endif

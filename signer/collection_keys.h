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
/* The one local key whose id is in `role`; E_USAGE names the candidates or what the role lists. */
int role_signers_find(const struct collection_owner *owner, const struct tuf_role_keys *role,
                      const char *role_name, struct role_signers *out,
                      struct error *err) MUST_CHECK;
void role_signers_done(struct role_signers *s);

#endif

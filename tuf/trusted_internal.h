/*
 * State of a TUF client, shared by trusted.c (what is accepted) and search.c (who vouches for a
 * name). Not for other layers.
 */
#ifndef BULLA_TUF_TRUSTED_INTERNAL_H
#define BULLA_TUF_TRUSTED_INTERNAL_H

#include "tuf/metadata_internal.h"
#include "tuf/trusted.h"

#define MAX_SIGNERS 16u

/* A targets role as accepted through one delegator. */
struct trusted_role {
    struct tuf_metadata *metadata; /* one reference each; the same object for every delegator */
    char *name;
    char *delegator; /* NULL: top-level targets */
    struct key_id signers[MAX_SIGNERS];
    size_t n_signers;
};

struct tuf_trusted {
    int64_t now_s;
    bool ignore_expiry, ignore_root_expiry;
    char *collection;
    struct tuf_metadata *root;
    size_t n_rotations;
    bool root_final;
    /* Loaded ones only guard against rollback until they are made current. */
    struct tuf_metadata *timestamp, *snapshot;
    bool timestamp_current, snapshot_current;
    struct trusted_role *roles;
    size_t n_roles;
};

/* The accepted role through this delegator; delegator NULL for top-level targets. */
const struct trusted_role *tuf_trusted_role_find(const struct tuf_trusted *t, const char *name,
                                                 const char *delegator);
/* A role that was accepted through another delegator, judged by this one's keys. E_SIGNATURE. */
int tuf_trusted_readmit(struct tuf_trusted *t, const char *name, const char *delegator,
                        struct error *err) MUST_CHECK;

#endif

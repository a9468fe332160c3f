/*
 * Changes that an owner makes to a collection: delegations, keys, expiry dates, revocations, bins.
 *
 * Each is made on a verified view of what is published, signed, published all or nothing, and
 * looked at as a verifier; where somebody else was faster it is made anew on top of theirs. Linked
 * into `bulla` only. Source: design "Roles", "Publication rules", "Expiry must never brick a
 * collection".
 */
#ifndef BULLA_SIGNER_COLLECTION_CHANGE_H
#define BULLA_SIGNER_COLLECTION_CHANGE_H

#include "signer/draft.h"

struct collection_publish {
    const char *const
        *keys; /* names or pkcs11: URIs; none: the one local key that each role lists */
    size_t n_keys;
    int64_t lifetime_s; /* of the files signed; 0: each role's default */
    /* What is signed again is what the registry shows now: without anything known from before, a
     * lying registry could have an owner re-sign old tags. */
    bool needs_history;
    bool believe; /* the user has compared what the registry shows, and says so */
    /* A further look at what was published, with the change's context; NULL: none. */
    int (*confirm)(struct draft *d, void *context, struct error *err);
    const char *stage_file; /* the change is written there instead, with the signatures of `keys` */
};

struct collection_changed {
    struct bytes summary; /* lines: what was changed; owned, bytes_done */
    bool nothing;         /* there was nothing to change */
    int n_rebased;        /* times somebody else had published first */
    struct collection_key_info keys[COLLECTION_MAX_KEYS];
    size_t n_keys;
};

/* A change writes into the draft; one that leaves it empty publishes nothing. */
typedef int collection_change(struct draft *d, void *context, struct error *err);

/* Opens, changes, signs, publishes. E_NO_TRUST: history is needed and there is none. E_USAGE,
 * E_SIGNATURE (too few keys), E_CONFLICT, and what trust_refresh and the registry say. */
int collection_apply(const struct collection_owner *owner, const struct reference *ref,
                     const struct collection_publish *publish, collection_change *change,
                     void *context, struct collection_changed *out, struct error *err) MUST_CHECK;

/* One authority's signatures on one file of a staged change. */
struct collection_progress {
    char role[96];
    size_t n, n_missing;
};

/* --- ceremonies: a staged change on its way --- */

struct collection_ceremony {
    struct draft draft;
    bool known;           /* it stands on the root that this machine trusts for the collection */
    struct bytes summary; /* what changes, or all there is where not known; from the metadata */
};
/* Compares the published files that a staged change brings along with this machine's trust store,
 * pin or policy. E_CONFLICT: they are older; E_ROLLBACK: others of the same version. E_BINDING. */
int collection_known(const struct draft *d, bool *known, struct error *err) MUST_CHECK;
/* Reads and verifies the file. End with collection_ceremony_close. */
int collection_ceremony_open(const struct collection_owner *owner, const char *path,
                             struct collection_ceremony *out, struct error *err) MUST_CHECK;
void collection_ceremony_close(struct collection_ceremony *c);
/* Signs with the keys (none: the local ones that the files list) and writes the file back. */
int collection_ceremony_sign(struct collection_ceremony *c, const char *path,
                             const char *const *keys, size_t n_keys, struct error *err) MUST_CHECK;
/* Line i of the count of signatures; false behind the last one. */
bool collection_ceremony_progress(const struct collection_ceremony *c, size_t i,
                                  struct collection_progress *out);
/* Publishes where all thresholds are reached and the collection is as it was when the change was
 * staged. E_SIGNATURE, E_CONFLICT. */
int collection_ceremony_publish(struct collection_ceremony *c, struct error *err) MUST_CHECK;

/* The public half of a key by what the user wrote: a name, a pkcs11: URI, or a file as `bulla key
 * export` writes it. */
int collection_public_key(const struct collection_owner *owner, const char *text,
                          struct public_key **out, struct error *err) MUST_CHECK;

/* The public key of the registry's signing service for "snapshot" or "timestamp": the one in force,
 * made with the first question. */
int collection_service_key(struct remote *remote, const char *repository, const char *role,
                           struct public_key **out, struct error *err) MUST_CHECK;

/* Keys of a role as the user wrote them, opened. */
struct collection_role {
    struct public_key *keys[COLLECTION_MAX_KEYS];
    size_t n_keys;
    int64_t threshold; /* 0: all of them */
};
int collection_role_open(const struct collection_owner *owner, const char *const *texts, size_t n,
                         int64_t threshold, struct collection_role *out,
                         struct error *err) MUST_CHECK;
void collection_role_done(struct collection_role *r);

/* --- the changes; context types --- */

struct change_delegate {
    const char *role, *from; /* from NULL: targets */
    const struct collection_role *keys;
    const char *const *patterns;
    size_t n_patterns;
    bool terminating, first;
};
int change_delegate(struct draft *d, void *context, struct error *err) MUST_CHECK; /* E_EXISTS */

struct change_undelegate {
    const char *role;
};
int change_undelegate(struct draft *d, void *context, struct error *err) MUST_CHECK;

struct change_rotate {
    const char *role; /* root, targets, a delegated role, or the name that all bins of one share */
    const struct collection_role *keys;
};
int change_rotate(struct draft *d, void *context, struct error *err) MUST_CHECK;

/* Keys that the registry's signing service makes; asked for once, kept over rebases. End with
 * change_rotate_service_done. */
struct change_rotate_service {
    bool snapshot, timestamp;
    bool another; /* not those that were made before and wait for a root */
    struct public_key *made[2];
};
int change_rotate_service(struct draft *d, void *context, struct error *err) MUST_CHECK;
void change_rotate_service_done(struct change_rotate_service *c);

struct change_renew {
    const char *const
        *roles; /* none: root, targets and delegated roles that expire within 90 days */
    size_t n_roles;
};
int change_renew(struct draft *d, void *context, struct error *err) MUST_CHECK;

/* The role that `--block` delegates tags to: it vouches for nothing, and is signed by the targets
 * keys. Nobody else may have it. */
#define CHANGE_BLOCK_ROLE "revoked"

struct change_revoke {
    const char *tag;      /* NULL: the digest is banned for good */
    struct digest digest; /* DIGEST_NONE: the tag is revoked */
    bool block;           /* also where its role's keys are not at hand */
};
int change_revoke(struct draft *d, void *context,
                  struct error *err) MUST_CHECK; /* E_NOTFOUND: no role vouches for it */

/* The base-two logarithm of the number of bins that makes cold verification of one of `n_tags` tags
 * cheapest. */
unsigned change_split_bits(uint64_t n_tags);

struct change_split {
    const char *role;
    const struct collection_role *bin_keys;
    unsigned bits;   /* 0: change_split_bits */
    uint64_t n_tags; /* expected in the end; 0: ten times what is there, at least 10,000 */
};
int change_split(struct draft *d, void *context, struct error *err) MUST_CHECK;

#endif

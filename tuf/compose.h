/*
 * Composing metadata to be signed: trees of `signed`, and the finished file.
 *
 * Results are owned by the caller. Nothing here signs; callers pass a function that does.
 */
#ifndef BULLA_TUF_COMPOSE_H
#define BULLA_TUF_COMPOSE_H

#include "tuf/metadata.h"

/* `signed` with _type, spec_version "1.0.34", version, expires, x-bulla-collection (NULL: without
 * it). For targets-like types also x-bulla-role = role (NULL: "targets") and empty targets; for
 * snapshot and timestamp an empty meta; for timestamps x-bulla-issued = now. */
int tuf_compose(enum tuf_type type, const char *collection, const char *role, int64_t version,
                int64_t now_s, int64_t expires_s, struct js **out, struct error *err) MUST_CHECK;

struct tuf_compose_role {
    const struct public_key *const *keys;
    size_t n_keys;
    int64_t threshold;
};
/* Sets keyids and threshold of the object `role`, and adds the keys to the table `keys`. */
int tuf_compose_role_keys(struct js *keys, struct js *role, const struct tuf_compose_role *from,
                          struct error *err) MUST_CHECK;
/* Adds keys and roles and consistent_snapshot:true to a root. roles[4] in the order of
 * enum tuf_type. */
int tuf_compose_root_roles(struct js *signed_root, const struct tuf_compose_role roles[4],
                           struct error *err) MUST_CHECK;
/* A delegated role; paths are patterns. */
struct tuf_compose_delegation {
    const char *name;
    struct tuf_compose_role role;
    bool terminating;
    const char *const *paths;
    size_t n_paths;
};
/* Appends a delegation (and its keys) to a targets-like tree; order is priority. Names are not
 * checked for being there already. */
int tuf_compose_delegation(struct js *signed_targets, const struct tuf_compose_delegation *from,
                           struct error *err) MUST_CHECK;
/* Bins instead of delegated roles; those must not be there (E_EXISTS), keys are added. */
struct tuf_compose_bins {
    const char *prefix;
    unsigned bits;
    struct tuf_compose_role role;
};
int tuf_compose_bins(struct js *signed_targets, const struct tuf_compose_bins *from,
                     struct error *err) MUST_CHECK;
/* Adds or replaces target `name`; media_type goes to custom."mediaType". */
int tuf_compose_target(struct js *signed_targets, const char *name, const struct digest *digest,
                       int64_t length, const char *media_type, struct error *err) MUST_CHECK;
/* Sets meta[role + ".json"] of a snapshot or timestamp from the file's version and bytes (length
 * and SHA-256). */
int tuf_compose_meta(struct js *signed_meta, const char *role, int64_t version, const void *data,
                     size_t len, struct error *err) MUST_CHECK;

/* Signs canonical bytes; appends the raw signature to out. */
struct tuf_signer {
    int (*sign)(void *context, const void *msg, size_t len, struct bytes *out, struct error *err);
    void *context;
    struct key_id id;
};
/* {"signatures":[…],"signed":…} as one line of JSON, appended to out. All n signers sign the
 * canonical form of `signed`, in order; a signer's failure is passed on. */
int tuf_compose_file(const struct js *signed_tree, const struct tuf_signer *signers, size_t n,
                     struct bytes *out, struct error *err) MUST_CHECK;

#endif

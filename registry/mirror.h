/*
 * Mirroring: proofs that were signed elsewhere, taken as a client would take them.
 *
 * A complete set of one collection (chain of roots, timestamp, snapshot, targets, every delegated
 * role and bin that can be reached) is verified with tuf_trusted from the anchor that the
 * configuration names, or from what the same anchor led to before, and stored all or nothing, byte
 * for byte. The signing service signs nothing of it. Versions may jump, never go back. Thread-safe.
 * Source: design "Where metadata lives".
 */
#ifndef BULLA_REGISTRY_MIRROR_H
#define BULLA_REGISTRY_MIRROR_H

#include "registry/api.h"

#define MIRROR_MAX_BYTES (30u << 20) /* of one form; below the smallest limits.bodyMemory */
#define MIRROR_MAX_FILES 4608        /* roots, and as many roles as a collection may have */

struct mirror_file {
    char role[TUF_BIN_NAME_MAX];
    int64_t version; /* 0: the timestamp, whose name has none */
    const void *data;
    size_t len;
    bool used; /* mirror.c's own */
};

/* "timestamp.json", "3.root.json": role and version. E_INVALID. */
int mirror_file_name(const char *name, struct mirror_file *out, struct error *err) MUST_CHECK;

struct mirror_set {
    const char *repository;
    struct mirror_file *files; /* sorted by the call */
    size_t n;
};

struct mirror_result {
    bool changed;      /* false: it was here already */
    int64_t timestamp; /* version in force */
    size_t n_missing; /* signed digests whose manifests are not here: a mirror may hold some only */
};

/*
 * What is stored already (a role that did not change) may be left out of the set. E_NOTFOUND: the
 * repository is no mirror by configuration. E_CONFLICT: it has a collection of its own, here or in
 * the signing service; or others changed it meanwhile. E_ROLLBACK: older than what is here.
 * E_SIGNATURE, E_EXPIRED (a delegated role may be: it concerns nobody but who looks for its tags),
 * E_BINDING, E_DIGEST, E_INVALID (a file is missing or too many), E_LIMIT, E_CLOCK. E_NETWORK: the
 * signing service, asked once before a repository becomes a mirror, is away.
 */
int mirror_take(struct registry *r, struct mirror_set *set, struct mirror_result *out,
                struct error *err) MUST_CHECK;

#endif

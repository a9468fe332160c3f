/*
 * Which repository of a registry is known to hold a blob: where it was pulled from or pushed to.
 *
 * Hints for cross-repository mounts, one append-only file per registry in the store's folder
 * "known": lines "DIGEST REPOSITORY". A wrong hint costs nothing: the registry then opens an
 * upload instead. Beyond KNOWN_BLOBS_MAX bytes the older half goes. Losing it is harmless, so
 * nothing is synced and recording fails silently. Loaded ones are read-only: thread-safe;
 * known_blobs_add is safe between processes.
 */
#ifndef BULLA_CLIENT_KNOWN_BLOBS_H
#define BULLA_CLIENT_KNOWN_BLOBS_H

#include "base/digest.h"
#include "oci/store.h"

#define KNOWN_BLOBS_MAX (1u << 20) /* some 10,000 blobs */

struct known_blobs {
    struct bytes text;
};
#define KNOWN_BLOBS_INIT                                                                           \
    {                                                                                              \
        BYTES_INIT                                                                                 \
    }

/* What is known of this registry; nothing where the file is missing or unusable. */
void known_blobs_load(struct store *s, const char *authority, struct known_blobs *out);
void known_blobs_done(struct known_blobs *k);
/* The repository other than `not_this` named last for d, into out (REFERENCE_REPOSITORY_MAX + 1
 * bytes). False: none. What comes out is a valid repository name. */
bool known_blobs_find(const struct known_blobs *k, const struct digest *d, const char *not_this,
                      char *out);
/* Records all n digests (those not yet in `known`, which may be NULL) for the repository. */
void known_blobs_add(struct store *s, const char *authority, const struct known_blobs *known,
                     const char *repository, const struct digest *digests, size_t n);

#endif

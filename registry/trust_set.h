/*
 * A complete set of trust metadata on its way from the signing service into the index.
 *
 * The service's answers are signed data from a peer: verified as a client would verify them, from
 * the root that is stored, before one transaction makes all of the set visible.
 */
#ifndef BULLA_REGISTRY_TRUST_SET_H
#define BULLA_REGISTRY_TRUST_SET_H

#include "registry/index_trust.h"
#include "signer/link.h"

/* NULL where the set has no such role. */
const struct signer_set_file *trust_set_find(const struct signer_set *set, const char *role);

/* What a restored registry asks for first: whether roots are missing between the stored one and
 * the set's. *since: the version stored, 0: none. */
int trust_set_gap(struct index_tx *tx, const char *repository, const struct signer_set *set,
                  int64_t *since, bool *gap, struct error *err) MUST_CHECK;

/*
 * Names of the set's files that came without content and are not here as its snapshot names them:
 * the service leaves out what it thinks is here. Borrowed from the set; the caller frees the list
 * (NULL: none).
 */
int trust_set_missing(struct index_tx *tx, const char *repository, const struct signer_set *set,
                      const char ***names, size_t *n, struct error *err) MUST_CHECK;

/*
 * Verifies the set for `collection` (= repository) and stores it, unless what is stored is as new
 * or newer: publications that overtake each other on the way from the service end the same.
 * Files without content must be in force here, as the snapshots in force and to come both name them
 * (E_CONFLICT); they are neither read nor written.
 * roots (NULL: none) lead from the stored root to the set's; they are stored, too.
 * E_SIGNATURE, E_BINDING, E_EXPIRED, E_DIGEST, E_ROLLBACK (does not follow from the stored root):
 * the service and this registry do not belong together.
 */
int trust_set_store(struct index *index, const char *repository, const struct signer_set *set,
                    const struct signer_set *roots, struct error *err) MUST_CHECK;

/* What this targets file vouches for replaces what the one in force did, where they differ: for
 * whoever then puts it in force. */
int trust_set_put_targets(struct index_tx *tx, const char *repository, const char *role,
                          const struct bytes *data, struct error *err) MUST_CHECK;

#endif

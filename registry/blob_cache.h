/*
 * The verified bytes of small blobs that are asked for again and again: manifests.
 *
 * What is kept was hashed when it was read, so serving it again needs neither the storage nor the
 * hash. Memory is bounded by BLOB_CACHE_BYTES, whatever is asked for; what was not used for longest
 * goes first, among those that share a place. Thread-safe.
 */
#ifndef BULLA_REGISTRY_BLOB_CACHE_H
#define BULLA_REGISTRY_BLOB_CACHE_H

#include "base/digest.h"

#define BLOB_CACHE_BYTES (2u << 20)
#define BLOB_CACHE_EACH  (32u << 10) /* larger ones are read each time */

struct blob_cache;

int blob_cache_new(struct blob_cache **out, struct error *err) MUST_CHECK;
/* NULL is fine. */
void blob_cache_free(struct blob_cache *c);
/* Appends the blob to out. More than max bytes: E_LIMIT. */
int blob_cache_find(struct blob_cache *c, const struct digest *d, size_t max, struct bytes *out,
                    bool *found, struct error *err) MUST_CHECK;
/* Taken before the blob is read: blob_cache_keep does nothing when anything was forgotten since,
 * for it may have been this blob. */
uint64_t blob_cache_turn(struct blob_cache *c);
/* Copies. Where memory is out nothing is kept. */
void blob_cache_keep(struct blob_cache *c, const struct digest *d, const struct bytes *data,
                     uint64_t turn);
void blob_cache_forget(struct blob_cache *c, const struct digest *d);

#endif

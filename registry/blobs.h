/*
 * Storage of blobs as files: DATA/blobs/<alg>/<2 hex>/<hex>, and DATA/uploads/ for what is
 * arriving.
 *
 * A file under blobs/ always has the bytes its name promises: it is hashed while it is written,
 * made durable, and only then renamed into place. Which repository may show it is the index's
 * matter. The interface (begin, append, commit, open, stat, delete, walk) is all the registry asks
 * of a storage, so that one elsewhere can take its place. Thread-safe; one struct blob_upload
 * belongs to one thread at a time.
 */
#ifndef BULLA_REGISTRY_BLOBS_H
#define BULLA_REGISTRY_BLOBS_H

#include "base/digest.h"

#define BLOB_UPLOAD_ID_LEN 32u /* lower-case hex digits */

struct blobs;
struct blob_upload; /* bytes on their way in, with their running hash */

int blobs_open(const char *data_dir, struct blobs **out, struct error *err) MUST_CHECK;
void blobs_close(struct blobs *b);

/* A new, empty upload under a fresh random id; alg: what to hash with while receiving. *out is
 * owned: blobs_upload_free keeps the file, blobs_upload_cancel removes it. */
int blobs_begin(struct blobs *b, enum digest_alg alg, struct blob_upload **out,
                struct error *err) MUST_CHECK;
/* The upload of that id from the file of an earlier process: read again to have its hash.
 * E_NOTFOUND. */
int blobs_resume(struct blobs *b, const char *id, struct blob_upload **out,
                 struct error *err) MUST_CHECK;
const char *blobs_upload_id(const struct blob_upload *u);
uint64_t blobs_upload_len(const struct blob_upload *u);
/* Adds bytes, some of which stay in memory until blobs_upload_flush, rest or commit. E_SYS with
 * ENOSPC: disk full; the upload is then as long as what could be written. */
int blobs_append(struct blobs *b, struct blob_upload *u, const void *data, size_t len,
                 struct error *err) MUST_CHECK;
/* Everything is in the file (not yet durable): before a chunk is acknowledged. */
int blobs_upload_flush(struct blob_upload *u, struct error *err) MUST_CHECK;
/* Between requests an upload needs no open file and no buffer. Bytes that cannot be written are
 * dropped. */
void blobs_upload_rest(struct blob_upload *u);
/* Only while the upload is empty: hash with this algorithm instead. */
int blobs_upload_set_alg(struct blob_upload *u, enum digest_alg alg, struct error *err) MUST_CHECK;
/* Checks the digest, then makes the blob durable and visible: it survives a power cut when this
 * returns 0. A blob that is there already is fine. The upload's file is gone afterwards; on failure
 * it is still there. E_DIGEST. */
int blobs_commit(struct blobs *b, struct blob_upload *u, const struct digest *expected,
                 struct error *err) MUST_CHECK;
void blobs_upload_cancel(struct blobs *b, struct blob_upload *u);
void blobs_upload_free(struct blob_upload *u);

/* A small text beside an upload's file, for resuming: at most 1 KiB. */
int blobs_upload_note_write(struct blobs *b, const char *id, const char *text,
                            struct error *err) MUST_CHECK;
int blobs_upload_note_read(struct blobs *b, const char *id, struct bytes *out,
                           struct error *err) MUST_CHECK;

/* A whole buffer in one go. */
int blobs_put(struct blobs *b, const void *data, size_t len, const struct digest *d,
              struct error *err) MUST_CHECK;
/* Read-only descriptor and size. The bytes are not hashed again. E_NOTFOUND. */
int blobs_get(struct blobs *b, const struct digest *d, int *fd, uint64_t *size,
              struct error *err) MUST_CHECK;
int blobs_stat(struct blobs *b, const struct digest *d, uint64_t *size,
               struct error *err) MUST_CHECK;
/* Missing is fine. */
int blobs_delete(struct blobs *b, const struct digest *d, struct error *err) MUST_CHECK;
/* Every stored blob in no order; visit returns 0 to go on or a code that ends the walk. */
int blobs_walk(struct blobs *b,
               int (*visit)(void *context, const struct digest *d, uint64_t size,
                            struct error *err),
               void *context, struct error *err) MUST_CHECK;
/* Removes upload files that nobody wrote to for age_s. */
int blobs_sweep_uploads(struct blobs *b, int64_t age_s, size_t *n_removed,
                        struct error *err) MUST_CHECK;

#endif

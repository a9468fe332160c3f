/*
 * Storage of blobs, and of the uploads they come from.
 *
 * A blob that is visible always has the bytes its digest promises: they are hashed while they
 * arrive, made durable, and only then become visible under that digest. Which repository may show
 * it is the index's matter. Where the bytes lie is a blob_store's. Thread-safe; one struct
 * blob_upload or blob_reader belongs to one thread at a time.
 */
#ifndef BULLA_REGISTRY_BLOBS_H
#define BULLA_REGISTRY_BLOBS_H

#include "registry/blob_store.h"

#define BLOB_UPLOAD_ID_LEN 32u /* lower-case hex digits */

struct blobs;
struct blob_upload; /* bytes on their way in, with their running hash */
struct blob_reader; /* a stored blob, open for reading */

/* Files below data_dir. */
int blobs_open(const char *data_dir, struct blobs **out, struct error *err) MUST_CHECK;
/* Any storage; *store is taken, also on failure. */
int blobs_new(struct blob_store *store, struct blobs **out, struct error *err) MUST_CHECK;
/* Starts threads that store and hash while the caller receives; without them the caller does it.
 * After the process confined itself. */
int blobs_start(struct blobs *b, struct error *err) MUST_CHECK;
/* No upload or reader is left. NULL is fine. */
void blobs_close(struct blobs *b);

/* --- uploads --- */

/* A new, empty upload under a fresh random id; alg: what to hash with while receiving. *out is
 * owned: blobs_upload_free keeps the bytes, blobs_upload_cancel removes them. */
int blobs_begin(struct blobs *b, enum digest_alg alg, struct blob_upload **out,
                struct error *err) MUST_CHECK;
/* The upload of that id from an earlier process: read again to have its hash. E_NOTFOUND. */
int blobs_resume(struct blobs *b, const char *id, struct blob_upload **out,
                 struct error *err) MUST_CHECK;
const char *blobs_upload_id(const struct blob_upload *u);
/* What was taken so far. */
uint64_t blobs_upload_len(const struct blob_upload *u);
/* Adds bytes, some of which stay in memory until blobs_upload_flush, rest or commit. A failure
 * (E_SYS with ENOSPC: disk full) may show at a later append or at the flush or commit; the upload
 * is then as long as what could be stored and can go on from there. */
int blobs_append(struct blobs *b, struct blob_upload *u, const void *data, size_t len,
                 struct error *err) MUST_CHECK;
/* Everything is stored (not yet durable): before a chunk is acknowledged. */
int blobs_upload_flush(struct blob_upload *u, struct error *err) MUST_CHECK;
/* Between requests an upload needs no open file and no buffer. Bytes that cannot be written are
 * dropped. */
void blobs_upload_rest(struct blob_upload *u);
/* Only while the upload is empty: hash with this algorithm instead. */
int blobs_upload_set_alg(struct blob_upload *u, enum digest_alg alg, struct error *err) MUST_CHECK;
/* Checks the digest, then makes the blob durable and visible: it survives a power cut when this
 * returns 0. A blob that is there already is fine. The upload's bytes are gone afterwards; on
 * failure they are still there. Bytes that came before the digest's algorithm was known (chunks,
 * then a sha512 digest) are read once more. E_DIGEST. */
int blobs_commit(struct blobs *b, struct blob_upload *u, const struct digest *expected,
                 struct error *err) MUST_CHECK;
void blobs_upload_cancel(struct blobs *b, struct blob_upload *u);
void blobs_upload_free(struct blob_upload *u);

/* A small text beside an upload, for resuming: at most 1 KiB. */
int blobs_upload_note_write(struct blobs *b, const char *id, const char *text,
                            struct error *err) MUST_CHECK;
int blobs_upload_note_read(struct blobs *b, const char *id, struct bytes *out,
                           struct error *err) MUST_CHECK;
/* Removes uploads that nobody wrote to for age_s, but those that guard (may be NULL) knows. */
int blobs_sweep_uploads(struct blobs *b, int64_t age_s, const struct blob_guard *guard,
                        size_t *n_removed, struct error *err) MUST_CHECK;

/* --- stored blobs --- */

/* A whole buffer in one go. */
int blobs_put(struct blobs *b, const void *data, size_t len, const struct digest *d,
              struct error *err) MUST_CHECK;
/* *out is owned: blob_reader_free. The bytes are not hashed again. E_NOTFOUND. */
int blobs_reader_open(struct blobs *b, const struct digest *d, struct blob_reader **out,
                      struct error *err) MUST_CHECK;
uint64_t blob_reader_size(const struct blob_reader *r);
/* At most max bytes from offset; *got is 0 at the end only. */
int blob_reader_read(struct blob_reader *r, uint64_t offset, void *out, size_t max, size_t *got,
                     struct error *err) MUST_CHECK;
/* Descriptor of the whole blob, borrowed, or -1: this storage has none. Its position is anybody's:
 * use pread. */
int blob_reader_fd(struct blob_reader *r);
void blob_reader_free(struct blob_reader *r);
void blob_reader_cleanup(struct blob_reader **r);
/* The whole blob of at most max bytes, and proof that its bytes have the digest. E_NOTFOUND,
 * E_LIMIT; E_TAMPERED: they have not: set it into quarantine. out is unchanged on failure. */
int blobs_read_verified(struct blobs *b, const struct digest *d, size_t max, struct bytes *out,
                        struct error *err) MUST_CHECK;
/* The same for small blobs that many ask for: the verified bytes are remembered, within a fixed
 * amount of memory, until the blob goes out of sight here. */
int blobs_read_cached(struct blobs *b, const struct digest *d, size_t max, struct bytes *out,
                      struct error *err) MUST_CHECK;
int blobs_stat(struct blobs *b, const struct digest *d, uint64_t *size,
               struct error *err) MUST_CHECK;
/* Missing is fine. */
int blobs_delete(struct blobs *b, const struct digest *d, struct error *err) MUST_CHECK;
/* Every stored blob in no order; what comes or goes meanwhile may be met or not. */
int blobs_walk(struct blobs *b, const struct blob_visitor *visitor, struct error *err) MUST_CHECK;

/* --- out of sight, not yet gone --- */

/* Invisible from now on, readers that are open go on. A push of the same digest makes it visible
 * again, beside what lies aside. E_NOTFOUND. */
int blobs_set_aside(struct blobs *b, const struct digest *d, struct error *err) MUST_CHECK;
/* Back in sight (over one that was pushed meanwhile: they have the same bytes). E_NOTFOUND. */
int blobs_restore(struct blobs *b, const struct digest *d, struct error *err) MUST_CHECK;
/* A blob whose bytes were found wrong: never served again, kept for examination. A push of the
 * digest makes the right bytes visible. E_NOTFOUND; E_CONFLICT: they are right (pushed again
 * meanwhile), and stay visible. */
int blobs_quarantine(struct blobs *b, const struct digest *d, struct error *err) MUST_CHECK;
/* What lies aside or in quarantine: removed for good (missing is fine), listed. After a crash
 * something may still lie aside that is also visible. */
int blobs_discard(struct blobs *b, const struct digest *d, enum blob_place place,
                  struct error *err) MUST_CHECK;
int blobs_walk_place(struct blobs *b, enum blob_place place, const struct blob_visitor *visitor,
                     struct error *err) MUST_CHECK;

#endif

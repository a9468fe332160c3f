/*
 * What a storage must do so that blobs can live in it; blobs.h adds ids, hashing and the checks.
 *
 * One table of functions per kind of storage: blob_files keeps files; an object store (S3) fits the
 * same table, which therefore knows neither descriptors nor renames:
 *
 * - an upload is written front to back and can be read again from the start, also by a later
 *   process. An object store keeps each flushed stretch as an object of its own under the upload's
 *   id; publish copies them together on its side (multipart upload with copied parts).
 * - publish is the only way into BLOB_STORED and must be atomic: before it returns nobody sees the
 *   blob, or the whole blob is there. An object store has that from completing the multipart
 * upload.
 * - move may be a copy and then a removal: a crash between the two leaves the blob in both places,
 *   never in none.
 *
 * Thread-safe but for one upload or one open blob, which belong to one thread at a time. All
 * offsets and sizes in bytes. The contract test (tests/unit/registry/contract_blobs.h) must pass.
 */
#ifndef BULLA_REGISTRY_BLOB_STORE_H
#define BULLA_REGISTRY_BLOB_STORE_H

#include "base/digest.h"

enum blob_place {
    BLOB_STORED,     /* visible: what open and stat find */
    BLOB_ASIDE,      /* set aside by the garbage collection, about to be removed or put back */
    BLOB_QUARANTINE, /* found damaged, kept for examination */
};

struct blob_info {
    struct digest digest;
    uint64_t size;
    int64_t changed_s; /* when it was last stored or moved: seconds since 1970 */
};

/* Called once per blob; returns 0 to go on or a code that ends the walk. */
struct blob_visitor {
    int (*visit)(void *context, const struct blob_info *info, struct error *err);
    void *context;
};

/* Whether somebody works on the upload `id`. */
struct blob_guard {
    bool (*in_use)(void *context, const char *id);
    void *context;
};

struct blob_store_ops {
    void (*close)(void *store);

    /* The upload `id`, made if `create` (else E_NOTFOUND). */
    int (*upload_open)(void *store, const char *id, bool create, void **upload, struct error *err);
    void (*upload_close)(void *upload);
    /* offset is always the upload's length so far. On failure that length is as before. */
    int (*upload_write)(void *upload, const void *data, size_t len, uint64_t offset,
                        struct error *err);
    /* *got is 0 at the end only. */
    int (*upload_read)(void *upload, void *out, size_t max, uint64_t offset, size_t *got,
                       struct error *err);
    /* What was written can be read by a later process (a power cut may still take it). */
    int (*upload_flush)(void *upload, struct error *err);
    /* The upload, exactly `len` bytes long (else E_TAMPERED), becomes the blob d; a stored one of
     * that digest is replaced or kept. Durable when this returns 0, and then the upload is gone; on
     * failure it is still there. Closes nothing. */
    int (*upload_publish)(void *store, void *upload, const struct digest *d, uint64_t len,
                          struct error *err);
    /* With its note. Missing is fine. */
    void (*upload_remove)(void *store, const char *id);
    /* A small text beside an upload. E_EXISTS; E_NOTFOUND. */
    int (*note_write)(void *store, const char *id, const char *text, struct error *err);
    int (*note_read)(void *store, const char *id, size_t max, struct bytes *out, struct error *err);
    /* Removes uploads and notes that nobody wrote to for age_s seconds, but those that `guard` (may
     * be NULL) says are in use. */
    int (*sweep)(void *store, int64_t age_s, const struct blob_guard *guard, size_t *n_removed,
                 struct error *err);

    /* A blob for reading. E_NOTFOUND. After it was removed, reading goes on or fails; it never
     * gives other bytes. */
    int (*blob_open)(void *store, const struct digest *d, enum blob_place place, void **blob,
                     uint64_t *size, struct error *err);
    void (*blob_close)(void *blob);
    /* *got is 0 at the end only. */
    int (*blob_read)(void *blob, void *out, size_t max, uint64_t offset, size_t *got,
                     struct error *err);
    /* Borrowed descriptor of the whole blob, or -1. NULL: this storage has none. */
    int (*blob_fd)(void *blob);
    int (*stat)(void *store, const struct digest *d, enum blob_place place, struct blob_info *out,
                struct error *err);
    /* One already at `to` is replaced. E_NOTFOUND: none at `from`. A move to BLOB_ASIDE need not
     * survive a power cut, the others do. */
    int (*move)(void *store, const struct digest *d, enum blob_place from, enum blob_place to,
                struct error *err);
    /* Missing is fine. */
    int (*remove)(void *store, const struct digest *d, enum blob_place place, struct error *err);
    /* In no order. What comes or goes meanwhile may be met or not; the rest is met exactly once. */
    int (*walk)(void *store, enum blob_place place, const struct blob_visitor *visitor,
                struct error *err);
};

struct blob_store {
    const struct blob_store_ops *ops;
    void *self;
};

#endif

#include "registry/blobs.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "registry/blob_cache.h"
#include "registry/blob_feed.h"
#include "registry/blob_files.h"

#include <sched.h>
#include <string.h>
#include <sys/random.h>

#define NOTE_MAX    1024u
#define MAX_WORKERS 8u
#define READ_BYTES  (256u << 10)

struct blobs {
    struct blob_store store;
    struct feed_pool *pool; /* NULL: not started, callers work themselves */
    struct blob_cache *cache;
};

struct blob_upload {
    struct blobs *blobs;
    char id[BLOB_UPLOAD_ID_LEN + 1];
    void *stored; /* the storage's; NULL: at rest */
    enum digest_alg alg;
    struct digest_stream *hash; /* of the first `len` bytes, which are in the storage */
    uint64_t len;               /* while the feed has work: its thread's */
    uint64_t taken;             /* with what the feed has */
    struct feed *feed;          /* NULL: at rest */
};

struct blob_reader {
    struct blobs *blobs;
    void *blob;
    uint64_t size;
};

/* --- life --- */

int blobs_new(struct blob_store *store, struct blobs **out, struct error *err)
{
    struct blobs *b = calloc(1, sizeof *b);
    int rc = b ? blob_cache_new(&b->cache, err) : fail_nomem(err);
    if (rc != 0) {
        free(b);
        store->ops->close(store->self);
        return rc;
    }
    b->store = *store;
    *out = b;
    return 0;
}

int blobs_open(const char *data_dir, struct blobs **out, struct error *err)
{
    struct blob_store store = {NULL, NULL};
    int rc = blob_files_open(data_dir, &store, err);
    return rc == 0 ? blobs_new(&store, out, err) : rc;
}

int blobs_start(struct blobs *b, struct error *err)
{
    cpu_set_t cpus;
    int n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return feed_pool_new((unsigned)n < MAX_WORKERS ? (unsigned)n : MAX_WORKERS, &b->pool, err);
}

void blobs_close(struct blobs *b)
{
    if (!b)
        return;
    feed_pool_free(b->pool);
    blob_cache_free(b->cache);
    b->store.ops->close(b->store.self);
    free(b);
}

/* --- uploads --- */

static void close_stored(struct blob_upload *u)
{
    if (u->stored)
        u->blobs->store.ops->upload_close(u->stored);
    u->stored = NULL;
}

void blobs_upload_free(struct blob_upload *u)
{
    if (!u)
        return;
    feed_free(u->feed);
    close_stored(u);
    digest_stream_free(u->hash);
    free(u);
}

static int upload_new(struct blobs *b, enum digest_alg alg, struct blob_upload **out,
                      struct error *err)
{
    struct blob_upload *u = calloc(1, sizeof *u);
    if (!u)
        return fail_nomem(err);
    u->blobs = b;
    u->alg = alg;
    int rc = digest_stream_new(alg, &u->hash, err);
    if (rc != 0)
        blobs_upload_free(u);
    else
        *out = u;
    return rc;
}

int blobs_begin(struct blobs *b, enum digest_alg alg, struct blob_upload **out, struct error *err)
{
    struct blob_upload *u = NULL;
    uint8_t random[BLOB_UPLOAD_ID_LEN / 2];
    int rc = upload_new(b, alg, &u, err);
    if (rc != 0)
        return rc;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        blobs_upload_free(u);
        return fail_sys(err, errno, "getrandom");
    }
    hex_encode(random, sizeof random, u->id);
    rc = b->store.ops->upload_open(b->store.self, u->id, true, &u->stored, err);
    if (rc != 0)
        blobs_upload_free(u);
    else
        *out = u;
    return rc;
}

static int open_stored(struct blob_upload *u, struct error *err)
{
    const struct blob_store *store = &u->blobs->store;
    if (u->stored)
        return 0;
    return store->ops->upload_open(store->self, u->id, false, &u->stored, err);
}

/* Reads the whole upload through its own running hash. */
static int rehash(struct blob_upload *u, struct error *err)
{
    CLEANUP(cleanup_free) char *buffer = malloc(READ_BYTES);
    if (!buffer)
        return fail_nomem(err);
    u->len = 0;
    for (size_t n = 1; n > 0;) {
        int rc = u->blobs->store.ops->upload_read(u->stored, buffer, READ_BYTES, u->len, &n, err);
        if (rc == 0)
            rc = digest_stream_update(u->hash, buffer, n, err);
        if (rc != 0)
            return rc;
        u->len += n;
    }
    return 0;
}

int blobs_resume(struct blobs *b, const char *id, struct blob_upload **out, struct error *err)
{
    struct blob_upload *u = NULL;
    int rc = upload_new(b, DIGEST_SHA256, &u, err);
    if (rc != 0)
        return rc;
    snprintf(u->id, sizeof u->id, "%s", id);
    rc = open_stored(u, err);
    if (rc == 0)
        rc = rehash(u, err);
    u->taken = u->len;
    if (rc != 0)
        blobs_upload_free(u);
    else
        *out = u;
    return rc;
}

const char *blobs_upload_id(const struct blob_upload *u)
{
    return u->id;
}

uint64_t blobs_upload_len(const struct blob_upload *u)
{
    return u->taken;
}

/* One block, on whatever thread. Hashed only once stored: after a failure the upload goes on from
 * what is in the storage. */
static int take_block(void *context, const void *data, size_t len, struct error *err)
{
    struct blob_upload *u = context;
    int rc = u->blobs->store.ops->upload_write(u->stored, data, len, u->len, err);
    if (rc == 0)
        rc = digest_stream_update(u->hash, data, len, err);
    if (rc == 0)
        u->len += len;
    return rc;
}

int blobs_upload_flush(struct blob_upload *u, struct error *err)
{
    if (!u->feed)
        return 0;
    int rc = feed_flush(u->feed, err);
    u->taken = u->len;
    return rc == 0 ? u->blobs->store.ops->upload_flush(u->stored, err) : rc;
}

void blobs_upload_rest(struct blob_upload *u)
{
    struct error err = ERROR_INIT;
    if (blobs_upload_flush(u, &err) != 0)
        log_debug("upload: %s", err.message);
    feed_free(u->feed);
    u->feed = NULL;
    close_stored(u);
}

int blobs_append(struct blobs *b, struct blob_upload *u, const void *data, size_t len,
                 struct error *err)
{
    const struct feed_sink sink = {take_block, u};
    int rc = open_stored(u, err);
    if (rc == 0 && !u->feed)
        rc = feed_new(b->pool, &sink, &u->feed, err);
    if (rc != 0)
        return rc;
    rc = feed_append(u->feed, data, len, err);
    u->taken = rc == 0 ? u->taken + len : u->len;
    return rc;
}

int blobs_upload_set_alg(struct blob_upload *u, enum digest_alg alg, struct error *err)
{
    struct digest_stream *hash = NULL;
    int rc = digest_stream_new(alg, &hash, err);
    if (rc != 0)
        return rc;
    digest_stream_free(u->hash);
    u->hash = hash;
    u->alg = alg;
    return 0;
}

static int check_digest(struct blob_upload *u, const struct digest *expected, struct error *err)
{
    struct digest got = {.alg = DIGEST_NONE};
    uint64_t len = u->len;
    int rc = 0;
    if (u->alg != expected->alg) { /* chunks came before the algorithm was named */
        rc = blobs_upload_set_alg(u, expected->alg, err);
        if (rc == 0)
            rc = rehash(u, err);
        u->taken = u->len;
    }
    if (rc == 0 && u->len != len)
        return fail(err, E_TAMPERED, "the upload has not the length that was received");
    if (rc == 0)
        rc = digest_stream_peek(u->hash, &got, err);
    if (rc == 0 && !digest_equal(&got, expected)) {
        char text[DIGEST_TEXT_MAX];
        return fail(err, E_DIGEST, "the %llu bytes received have the digest %s",
                    (unsigned long long)u->len, digest_format(&got, text));
    }
    return rc;
}

int blobs_commit(struct blobs *b, struct blob_upload *u, const struct digest *expected,
                 struct error *err)
{
    int rc = open_stored(u, err);
    if (rc == 0)
        rc = blobs_upload_flush(u, err);
    if (rc == 0)
        rc = check_digest(u, expected, err);
    if (rc == 0)
        rc = b->store.ops->upload_publish(b->store.self, u->stored, expected, u->len, err);
    if (rc == 0)
        close_stored(u);
    return rc;
}

void blobs_upload_cancel(struct blobs *b, struct blob_upload *u)
{
    if (!u)
        return;
    feed_free(u->feed);
    u->feed = NULL;
    close_stored(u);
    b->store.ops->upload_remove(b->store.self, u->id);
    blobs_upload_free(u);
}

int blobs_upload_note_write(struct blobs *b, const char *id, const char *text, struct error *err)
{
    if (strlen(text) > NOTE_MAX)
        return fail(err, E_LIMIT, "an upload's note has more than %u bytes", NOTE_MAX);
    return b->store.ops->note_write(b->store.self, id, text, err);
}

int blobs_upload_note_read(struct blobs *b, const char *id, struct bytes *out, struct error *err)
{
    return b->store.ops->note_read(b->store.self, id, NOTE_MAX, out, err);
}

int blobs_sweep_uploads(struct blobs *b, int64_t age_s, const struct blob_guard *guard,
                        size_t *n_removed, struct error *err)
{
    return b->store.ops->sweep(b->store.self, age_s, guard, n_removed, err);
}

/* --- stored blobs --- */

int blobs_put(struct blobs *b, const void *data, size_t len, const struct digest *d,
              struct error *err)
{
    struct blob_upload *u = NULL;
    int rc = blobs_begin(b, d->alg, &u, err);
    if (rc != 0)
        return rc;
    /* One buffer, one write: no block to copy it to. */
    rc = len > 0 ? take_block(u, data, len, err) : 0;
    u->taken = u->len;
    if (rc == 0)
        rc = blobs_commit(b, u, d, err);
    if (rc == 0)
        blobs_upload_free(u);
    else
        blobs_upload_cancel(b, u);
    return rc;
}

static int reader_open(struct blobs *b, const struct digest *d, enum blob_place place,
                       struct blob_reader **out, struct error *err)
{
    struct blob_reader *r = calloc(1, sizeof *r);
    if (!r)
        return fail_nomem(err);
    r->blobs = b;
    int rc = b->store.ops->blob_open(b->store.self, d, place, &r->blob, &r->size, err);
    if (rc != 0)
        free(r);
    else
        *out = r;
    return rc;
}

int blobs_reader_open(struct blobs *b, const struct digest *d, struct blob_reader **out,
                      struct error *err)
{
    return reader_open(b, d, BLOB_STORED, out, err);
}

uint64_t blob_reader_size(const struct blob_reader *r)
{
    return r->size;
}

int blob_reader_read(struct blob_reader *r, uint64_t offset, void *out, size_t max, size_t *got,
                     struct error *err)
{
    return r->blobs->store.ops->blob_read(r->blob, out, max, offset, got, err);
}

int blob_reader_fd(struct blob_reader *r)
{
    const struct blob_store_ops *ops = r->blobs->store.ops;
    return ops->blob_fd ? ops->blob_fd(r->blob) : -1;
}

void blob_reader_free(struct blob_reader *r)
{
    if (!r)
        return;
    r->blobs->store.ops->blob_close(r->blob);
    free(r);
}

void blob_reader_cleanup(struct blob_reader **r)
{
    blob_reader_free(*r);
    *r = NULL;
}

static int read_whole(struct blob_reader *r, size_t max, struct bytes *out, struct error *err)
{
    if (r->size > max)
        return fail(err, E_LIMIT, "the blob has more than %zu bytes", max);
    int rc = bytes_reserve(out, (size_t)r->size + 1, err);
    for (size_t n = 1; rc == 0 && n > 0;) {
        /* One byte more than promised shows a blob that has grown. */
        size_t room = (size_t)r->size + 1 - out->len;
        rc = room ? blob_reader_read(r, out->len, out->data + out->len, room, &n, err) : 0;
        n = room ? n : 0;
        out->len += rc == 0 ? n : 0;
    }
    return rc;
}

int blobs_read_verified(struct blobs *b, const struct digest *d, size_t max, struct bytes *out,
                        struct error *err)
{
    CLEANUP(blob_reader_cleanup) struct blob_reader *r = NULL;
    CLEANUP(bytes_done) struct bytes read = BYTES_INIT;
    struct digest got = {.alg = DIGEST_NONE};
    int rc = blobs_reader_open(b, d, &r, err);
    if (rc == 0)
        rc = read_whole(r, max, &read, err);
    if (rc == 0)
        rc = digest_of(d->alg, read.data, read.len, &got, err);
    if (rc == 0 && !digest_equal(&got, d)) {
        char text[DIGEST_TEXT_MAX];
        return fail(err, E_TAMPERED, "stored blob %s has other bytes", digest_format(d, text));
    }
    return rc == 0 ? bytes_append(out, read.data, read.len, err) : rc;
}

int blobs_read_cached(struct blobs *b, const struct digest *d, size_t max, struct bytes *out,
                      struct error *err)
{
    CLEANUP(bytes_done) struct bytes read = BYTES_INIT;
    bool found = false;
    int rc = blob_cache_find(b->cache, d, max, out, &found, err);
    if (rc != 0 || found)
        return rc;
    uint64_t turn = blob_cache_turn(b->cache);
    rc = blobs_read_verified(b, d, max, &read, err);
    if (rc != 0)
        return rc;
    blob_cache_keep(b->cache, d, &read, turn);
    return bytes_append(out, read.data, read.len, err);
}

int blobs_stat(struct blobs *b, const struct digest *d, uint64_t *size, struct error *err)
{
    struct blob_info info;
    int rc = b->store.ops->stat(b->store.self, d, BLOB_STORED, &info, err);
    if (rc == 0)
        *size = info.size;
    return rc;
}

int blobs_delete(struct blobs *b, const struct digest *d, struct error *err)
{
    return blobs_discard(b, d, BLOB_STORED, err);
}

int blobs_walk(struct blobs *b, const struct blob_visitor *visitor, struct error *err)
{
    return b->store.ops->walk(b->store.self, BLOB_STORED, visitor, err);
}

/* --- out of sight --- */

int blobs_set_aside(struct blobs *b, const struct digest *d, struct error *err)
{
    int rc = b->store.ops->move(b->store.self, d, BLOB_STORED, BLOB_ASIDE, err);
    blob_cache_forget(b->cache, d);
    return rc;
}

int blobs_restore(struct blobs *b, const struct digest *d, struct error *err)
{
    return b->store.ops->move(b->store.self, d, BLOB_ASIDE, BLOB_STORED, err);
}

/* Whether what lies in quarantine has the digest after all. */
static int hash_quarantined(struct blobs *b, const struct digest *d, bool *right, struct error *err)
{
    CLEANUP(blob_reader_cleanup) struct blob_reader *r = NULL;
    CLEANUP(digest_stream_cleanup) struct digest_stream *hash = NULL;
    CLEANUP(cleanup_free) char *buffer = malloc(READ_BYTES);
    struct digest got = {.alg = DIGEST_NONE};
    uint64_t offset = 0;
    int rc = buffer ? digest_stream_new(d->alg, &hash, err) : fail_nomem(err);
    if (rc == 0)
        rc = reader_open(b, d, BLOB_QUARANTINE, &r, err);
    for (size_t n = 1; rc == 0 && n > 0; offset += n) {
        rc = blob_reader_read(r, offset, buffer, READ_BYTES, &n, err);
        if (rc == 0)
            rc = digest_stream_update(hash, buffer, n, err);
    }
    if (rc == 0)
        rc = digest_stream_peek(hash, &got, err);
    *right = rc == 0 && digest_equal(&got, d);
    return rc;
}

int blobs_quarantine(struct blobs *b, const struct digest *d, struct error *err)
{
    const struct blob_store_ops *ops = b->store.ops;
    struct error unreadable = ERROR_INIT;
    bool right = false;
    int rc = ops->move(b->store.self, d, BLOB_STORED, BLOB_QUARANTINE, err);
    blob_cache_forget(b->cache, d);
    if (rc != 0)
        return rc;
    /* The one that was read may have been replaced by a push since. */
    if (hash_quarantined(b, d, &right, &unreadable) != 0)
        log_debug("quarantine: %s", unreadable.message);
    if (!right)
        return 0;
    rc = ops->move(b->store.self, d, BLOB_QUARANTINE, BLOB_STORED, err);
    return rc != 0 ? rc : fail(err, E_CONFLICT, "the blob's bytes are right");
}

int blobs_discard(struct blobs *b, const struct digest *d, enum blob_place place, struct error *err)
{
    int rc = b->store.ops->remove(b->store.self, d, place, err);
    if (place == BLOB_STORED)
        blob_cache_forget(b->cache, d);
    return rc;
}

int blobs_walk_place(struct blobs *b, enum blob_place place, const struct blob_visitor *visitor,
                     struct error *err)
{
    return b->store.ops->walk(b->store.self, place, visitor, err);
}

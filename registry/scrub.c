#include "registry/scrub.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "registry/gc.h"
#include "registry/index_scrub.h"
#include "registry/metrics.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

#define LOCK_NAME    "scrub.lock"
#define BLOCK_BYTES  (256u << 10)
#define PAGE         16u /* blobs between two notes of where it is */
#define PAUSE_MAX_MS 200

struct run {
    const struct scrub *s;
    struct scrub_report *report;
    struct index_scrub_state state;
    uint8_t *block;
    int64_t begun_ms;
};

static bool stopped(const struct scrub *s)
{
    return s->end && atomic_load(s->end);
}

/* Waits until no more than the rate was read. */
static void pace(const struct run *r)
{
    if (r->s->rate_bytes_s == 0)
        return;
    for (;;) {
        int64_t wanted_ms = (int64_t)((double)r->report->bytes * 1000 / (double)r->s->rate_bytes_s);
        int64_t ahead_ms = wanted_ms - (clock_monotonic_ms() - r->begun_ms);
        if (ahead_ms <= 0 || stopped(r->s))
            return;
        int64_t pause_ms = ahead_ms < PAUSE_MAX_MS ? ahead_ms : PAUSE_MAX_MS;
        (void)nanosleep(&(struct timespec){.tv_nsec = pause_ms * 1000000}, NULL);
    }
}

/* --- findings --- */

struct mark {
    const struct digest *digest;
    const char *reason; /* NULL: it is fine */
};

static int write_mark(struct index_tx *tx, void *arg, struct error *err)
{
    const struct mark *m = arg;
    return m->reason ? index_damaged_add(tx, m->digest, m->reason, err)
                     : index_damaged_remove(tx, m->digest, err);
}

static void tell_log(const struct scrub *s, const char *reason, const struct digest *d,
                     const char *why)
{
    char text[DIGEST_TEXT_MAX];
    const struct audit_event e = {.event = "blob.damaged",
                                  .result = "done",
                                  .who = "scrub",
                                  .object = digest_format(d, text),
                                  .detail = why};
    log_error("scrub: blob %s is %s: %s", text, reason, why);
    metrics_add(METRICS_SCRUB_DAMAGED, 1);
    if (s->audit)
        audit_note(s->audit, &e);
}

static int report(const struct run *r, const struct scrub_finding *f, struct error *err)
{
    return r->s->found ? r->s->found(r->s->context, f, err) : 0;
}

struct missing {
    const struct run *run;
    const struct index_blob *blob;
    bool is; /* out */
};

/* In a write transaction: garbage collection moves a file before the end of the transaction that
 * removes its row, so that only here both are looked at in one state. */
static int write_missing(struct index_tx *tx, void *arg, struct error *err)
{
    struct missing *m = arg;
    struct error ignored = ERROR_INIT;
    bool known = false;
    int rc = index_blob_is_known(tx, &m->blob->digest, &known, err);
    /* A collector that was killed before it committed left the file aside: it goes back. */
    m->is = rc == 0 && known &&
            gc_reclaim(m->run->s->blobs, &m->blob->digest, &ignored) == E_INTERRUPTED;
    if (rc != 0 || !m->is || m->blob->damaged)
        return rc;
    return index_damaged_add(tx, &m->blob->digest, "missing", err);
}

/* No file: garbage collection may have removed both, or a push may just make one. */
static int found_no_file(struct run *r, const struct index_blob *b, struct error *err)
{
    struct missing m = {r, b, false};
    const struct scrub_finding f = {SCRUB_MISSING, b->digest, b->size,
                                    b->damaged ? "was found before" : "there is no file"};
    int rc = index_write(r->s->index, write_missing, &m, err);
    if (rc != 0 || !m.is)
        return rc;
    if (!b->damaged)
        tell_log(r->s, "missing", &b->digest, f.why);
    r->report->missing++;
    return report(r, &f, err);
}

static int found_damaged(struct run *r, const struct index_blob *b, const char *why,
                         struct error *err)
{
    struct mark m = {&b->digest, "damaged"};
    const struct scrub_finding f = {SCRUB_DAMAGED, b->digest, b->size, why};
    int rc = blobs_quarantine(r->s->blobs, &b->digest, err);
    if (rc == E_CONFLICT || rc == E_NOTFOUND) /* pushed again or removed meanwhile */
        return 0;
    if (rc == 0)
        rc = index_write(r->s->index, write_mark, &m, err);
    if (rc != 0)
        return rc;
    tell_log(r->s, "damaged", &b->digest, why);
    r->report->damaged++;
    return report(r, &f, err);
}

static int found_unreadable(struct run *r, const struct index_blob *b, const struct error *why,
                            struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    const struct scrub_finding f = {SCRUB_UNREADABLE, b->digest, b->size, why->message};
    log_error("scrub: blob %s could not be read: %s", digest_format(&b->digest, text),
              why->message);
    r->report->unreadable++;
    return report(r, &f, err);
}

/* --- one blob --- */

static int hash_blob(struct run *r, struct blob_reader *reader, const struct digest *expected,
                     struct digest *out, struct error *err)
{
    CLEANUP(digest_stream_cleanup) struct digest_stream *hash = NULL;
    uint64_t offset = 0;
    size_t got = 1;
    int fd = blob_reader_fd(reader);
    int rc = digest_stream_new(expected->alg, &hash, err);
    while (rc == 0 && got > 0) {
        rc = blob_reader_read(reader, offset, r->block, BLOCK_BYTES, &got, err);
        if (rc == 0)
            rc = digest_stream_update(hash, r->block, got, err);
        offset += got;
        r->report->bytes += got;
        /* What is read once must not push out of memory what is read often. */
        if (fd >= 0 && got > 0)
            (void)posix_fadvise(fd, (off_t)(offset - got), (off_t)got, POSIX_FADV_DONTNEED);
        pace(r);
        if (rc == 0 && stopped(r->s))
            return fail(err, E_INTERRUPTED, "scrubbing stops");
    }
    return rc == 0 ? digest_stream_peek(hash, out, err) : rc;
}

static int heal(struct run *r, const struct index_blob *b, struct error *err)
{
    struct mark m = {&b->digest, NULL};
    return b->damaged ? index_write(r->s->index, write_mark, &m, err) : 0;
}

static int look_at(struct run *r, const struct index_blob *b, struct error *err)
{
    CLEANUP(blob_reader_cleanup) struct blob_reader *reader = NULL;
    struct error why = ERROR_INIT;
    struct digest got = {.alg = DIGEST_NONE};
    int rc = blobs_reader_open(r->s->blobs, &b->digest, &reader, &why);
    if (rc == E_NOTFOUND)
        return found_no_file(r, b, err);
    if (rc == 0)
        rc = hash_blob(r, reader, &b->digest, &got, &why);
    if (rc == E_INTERRUPTED) {
        *err = why;
        return rc;
    }
    r->report->blobs++;
    metrics_add(METRICS_SCRUB_BLOBS, 1);
    if (rc != 0)
        return found_unreadable(r, b, &why, err);
    metrics_add(METRICS_SCRUB_BYTES, blob_reader_size(reader));
    if (digest_equal(&got, &b->digest))
        return heal(r, b, err);
    char text[DIGEST_TEXT_MAX], message[DIGEST_TEXT_MAX + 32];
    snprintf(message, sizeof message, "its bytes have the digest %s", digest_format(&got, text));
    return found_damaged(r, b, message, err);
}

/* --- a round --- */

static int write_state(struct index_tx *tx, void *arg, struct error *err)
{
    return index_scrub_set(tx, arg, err);
}

static int read_page(const struct run *r, struct index_blob *page, size_t *n, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(r->s->index, &tx, err);
    if (rc == 0)
        rc = index_blobs_after(tx, r->state.cursor, page, PAGE, n, err);
    index_read_end(r->s->index, tx);
    return rc;
}

static int look_at_page(struct run *r, size_t *n, struct error *err)
{
    struct index_blob page[PAGE];
    int rc = read_page(r, page, n, err);
    for (size_t i = 0; rc == 0 && i < *n && !stopped(r->s); i++) {
        rc = look_at(r, &page[i], err);
        if (rc == 0)
            digest_format(&page[i].digest, r->state.cursor);
    }
    return rc;
}

static int finish_round(struct run *r, struct error *err)
{
    r->state.cursor[0] = '\0';
    r->state.finished_s = clock_now_s();
    r->report->whole = true;
    metrics_add(METRICS_SCRUB_RUNS, 1);
    return index_write(r->s->index, write_state, &r->state, err);
}

static int go_on(struct run *r, struct error *err)
{
    size_t n = PAGE;
    int rc = 0;
    if (!r->state.cursor[0])
        r->state.started_s = clock_now_s();
    while (rc == 0 && n == PAGE && !stopped(r->s)) {
        struct error ignored = ERROR_INIT;
        rc = look_at_page(r, &n, err);
        /* Where it is, is kept whatever went wrong. */
        int kept = index_write(r->s->index, write_state, &r->state, rc == 0 ? err : &ignored);
        rc = rc != 0 ? rc : kept;
    }
    if (rc == E_INTERRUPTED || (rc == 0 && stopped(r->s)))
        return 0;
    return rc == 0 ? finish_round(r, err) : rc;
}

static int read_state(struct index *index, struct index_scrub_state *out, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(index, &tx, err);
    if (rc == 0)
        rc = index_scrub_get(tx, out, err);
    index_read_end(index, tx);
    return rc;
}

int scrub_run(const struct scrub *s, struct scrub_report *out, struct error *err)
{
    CLEANUP(cleanup_fd) int dir_fd = -1;
    CLEANUP(cleanup_fd) int lock_fd = -1;
    CLEANUP(cleanup_free) uint8_t *block = malloc(BLOCK_BYTES);
    struct run r = {.s = s, .report = out, .block = block, .begun_ms = clock_monotonic_ms()};
    *out = (struct scrub_report){0};
    if (!block)
        return fail_nomem(err);
    int rc = file_open_dir(s->data_dir, false, &dir_fd, err);
    if (rc == 0)
        rc = file_lock(dir_fd, LOCK_NAME, 0, &lock_fd, err);
    if (rc == E_BUSY)
        return fail(err, rc, "another scrub of '%s' is running", s->data_dir);
    if (rc == 0)
        rc = read_state(s->index, &r.state, err);
    return rc == 0 ? go_on(&r, err) : rc;
}

int scrub_is_due(struct index *index, int64_t interval_s, bool *due, struct error *err)
{
    struct index_scrub_state state;
    int rc = read_state(index, &state, err);
    int64_t now = clock_now_s();
    /* A clock that was put back must not put the next round off for ever. */
    if (rc == 0)
        *due = state.cursor[0] || state.finished_s > now || now - state.finished_s >= interval_s;
    return rc;
}

void scrub_damaged(const struct scrub *s, const struct digest *d)
{
    struct error err = ERROR_INIT;
    struct mark m = {d, "damaged"};
    int rc = blobs_quarantine(s->blobs, d, &err);
    if (rc == E_CONFLICT || rc == E_NOTFOUND)
        return;
    if (rc == 0)
        rc = index_write(s->index, write_mark, &m, &err);
    if (rc != 0)
        log_error("damaged blob: %s", err.message);
    tell_log(s, "damaged", d, "its bytes have another digest");
}

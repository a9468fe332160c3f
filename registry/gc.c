#include "registry/gc.h"

#include "base/clock.h"
#include "base/log.h"
#include "registry/index_gc.h"

#include <time.h>

#define BATCH       64u /* candidates in one transaction: pushes wait for it, milliseconds */
#define STRAY_AGE_S 3600

/* --- what pushes do --- */

int gc_reclaim(struct blobs *blobs, const struct digest *d, struct error *err)
{
    uint64_t size = 0;
    int rc = blobs_stat(blobs, d, &size, err);
    if (rc == E_NOTFOUND)
        rc = blobs_restore(blobs, d, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_INTERRUPTED, "the blob was cleaned away meanwhile: push it again");
    return rc;
}

static int add_suspect(struct index_tx *tx, void *arg, struct error *err)
{
    return index_gc_suspect(tx, arg, err);
}

void gc_suspect(struct index *index, const struct digest *d)
{
    struct digest copy = *d;
    struct error err = ERROR_INIT;
    if (index_write(index, add_suspect, &copy, &err) != 0)
        log_warn("a file without a row is left to the next walk: %s", err.message);
}

/* --- what lies aside --- */

struct aside {
    const struct gc *gc;
    struct digest list[BATCH];
    bool known[BATCH];
    size_t n;
};

/* Back in sight where the index knows it. Only a look that found nothing says that there is none: a
 * stored file that could not be looked at is no reason to remove what lies aside. */
static int put_back(const struct aside *a, const struct digest *d, struct error *err)
{
    uint64_t size = 0;
    int rc = blobs_stat(a->gc->blobs, d, &size, err);
    if (rc == E_NOTFOUND)
        rc = blobs_restore(a->gc->blobs, d, err);
    return rc == E_NOTFOUND ? 0 : rc; /* somebody was quicker */
}

/* In a write transaction: no collector is between moving a file and removing its row. */
static int judge(struct index_tx *tx, void *arg, struct error *err)
{
    struct aside *a = arg;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < a->n; i++) {
        rc = index_gc_is_known(tx, &a->list[i], &a->known[i], err);
        if (rc == 0 && a->known[i])
            rc = put_back(a, &a->list[i], err);
    }
    return rc;
}

/* The list is empty afterwards. */
static int settle(struct aside *a, struct error *err)
{
    if (a->n == 0)
        return 0;
    if (a->gc->gate)
        gate_drain(a->gc->gate);
    int rc = index_write(a->gc->index, judge, a, err);
    for (size_t i = 0; rc == 0 && a->gc->discard && i < a->n; i++)
        rc = blobs_discard(a->gc->blobs, &a->list[i], BLOB_ASIDE, err);
    a->n = 0;
    return rc;
}

static int note_aside(void *context, const struct blob_info *info, struct error *err)
{
    struct aside *a = context;
    int rc = a->n == BATCH ? settle(a, err) : 0;
    if (rc == 0)
        a->list[a->n++] = info->digest;
    return rc;
}

int gc_recover(const struct gc *gc, struct error *err)
{
    struct aside a = {.gc = gc};
    const struct blob_visitor visitor = {note_aside, &a};
    int rc = blobs_walk_place(gc->blobs, BLOB_ASIDE, &visitor, err);
    if (rc == 0)
        rc = settle(&a, err);
    return wrap(err, rc, "what lies aside");
}

/* --- collecting --- */

struct batch {
    const struct gc *gc;
    struct gc_report report;
    struct aside aside;
    size_t n;
};

static int collect_link(struct index_tx *tx, struct batch *b, const struct index_candidate *c,
                        struct error *err)
{
    bool removed = false;
    int64_t size = 0;
    int rc = index_gc_unlink(tx, c, &removed, &size, err);
    b->report.links += rc == 0 && removed;
    return rc;
}

static int collect_blob(struct index_tx *tx, struct batch *b, const struct index_candidate *c,
                        struct error *err)
{
    bool held = true;
    int64_t size = 0;
    int rc = index_gc_is_held(tx, &c->digest, &held, err);
    if (rc != 0 || held)
        return rc;
    rc = blobs_set_aside(b->gc->blobs, &c->digest, err);
    if (rc != 0 && rc != E_NOTFOUND)
        return rc;
    b->aside.list[b->aside.n++] = c->digest;
    rc = index_gc_forget(tx, &c->digest, &size, err);
    b->report.blobs++;
    b->report.bytes += size;
    return rc;
}

/* The transaction of an earlier run was undone: so is what it did to files. */
static int start_afresh(struct batch *b, struct error *err)
{
    int rc = 0;
    while (rc == 0 && b->aside.n > 0) {
        rc = blobs_restore(b->gc->blobs, &b->aside.list[b->aside.n - 1], err);
        if (rc == 0 || rc == E_NOTFOUND) {
            b->aside.n--;
            rc = 0;
        }
    }
    b->report = (struct gc_report){0, 0, 0, 0};
    return rc;
}

static int collect(struct index_tx *tx, void *arg, struct error *err)
{
    struct batch *b = arg;
    struct index_candidate due[BATCH];
    int64_t now = clock_now_s();
    int rc = start_afresh(b, err);
    if (rc == 0)
        rc = index_gc_fix_clock(tx, now, err);
    if (rc == 0)
        rc = index_gc_due(tx, now - b->gc->lease_s, due, BATCH, &b->n, err);
    for (size_t i = 0; rc == 0 && i < b->n; i++)
        rc = index_gc_done(tx, &due[i], err);
    /* Blobs first: one that loses its last link below is the next batch's, and by then everybody
     * knows that the link is gone. */
    for (size_t i = 0; rc == 0 && i < b->n; i++)
        if (due[i].repository == 0)
            rc = collect_blob(tx, b, &due[i], err);
    for (size_t i = 0; rc == 0 && i < b->n; i++)
        if (due[i].repository != 0)
            rc = collect_link(tx, b, &due[i], err);
    b->report.examined = b->n;
    return rc;
}

/* Half of the time is others'. */
static void rest(int64_t worked_ms)
{
    int64_t ms = worked_ms + 1;
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

int gc_run(const struct gc *gc, struct gc_report *report, struct error *err)
{
    int rc = gc_recover(gc, err);
    for (bool more = true; rc == 0 && more && !(gc->end && atomic_load(gc->end));) {
        struct batch b = {.gc = gc, .aside = {.gc = gc}};
        struct error unsettled = ERROR_INIT;
        int64_t start = clock_monotonic_ms();
        rc = index_write(gc->index, collect, &b, err);
        more = b.n == BATCH || b.report.links > 0;
        if (rc == 0) {
            report->examined += b.report.examined;
            report->links += b.report.links;
            report->blobs += b.report.blobs;
            report->bytes += b.report.bytes;
        }
        /* Also after a failure: then the rows are still there, and their files go back. */
        int settled = settle(&b.aside, &unsettled);
        if (rc == 0 && settled != 0)
            rc = fail(err, settled, "%s", unsettled.message);
        rest(clock_monotonic_ms() - start);
    }
    return wrap(err, rc, "garbage collection");
}

/* --- files without a row --- */

struct strays {
    const struct gc *gc;
    struct digest list[BATCH];
    size_t n, suspects, found;
    int64_t before_s;
    unsigned rate, seen;
};

static int add_strays(struct index_tx *tx, void *arg, struct error *err)
{
    struct strays *s = arg;
    int rc = 0;
    s->suspects = 0;
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        bool known = true;
        rc = index_gc_is_known(tx, &s->list[i], &known, err);
        if (rc == 0 && !known) {
            rc = index_gc_suspect(tx, &s->list[i], err);
            s->suspects++;
        }
    }
    return rc;
}

/* Most files have a row: those are dropped from the list by a reader, and nothing is written. */
static int check_strays(struct strays *s, struct error *err)
{
    struct index_tx *tx = NULL;
    size_t kept = 0;
    int rc = index_read_begin(s->gc->index, &tx, err);
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        bool known = true;
        rc = index_gc_is_known(tx, &s->list[i], &known, err);
        if (rc == 0 && !known)
            s->list[kept++] = s->list[i];
    }
    index_read_end(s->gc->index, tx);
    s->n = kept;
    if (rc == 0 && s->n > 0) {
        rc = index_write(s->gc->index, add_strays, s, err);
        s->found += rc == 0 ? s->suspects : 0;
    }
    s->n = 0;
    return rc;
}

static int note_file(void *context, const struct blob_info *info, struct error *err)
{
    struct strays *s = context;
    if (s->gc->end && atomic_load(s->gc->end))
        return fail(err, E_INTERRUPTED, "ended");
    if (info->changed_s < s->before_s)
        s->list[s->n++] = info->digest;
    int rc = s->n == BATCH ? check_strays(s, err) : 0;
    if (s->rate && ++s->seen * 20 >= s->rate) { /* twenty rests a second */
        const struct timespec pause = {0, 50000000};
        s->seen = 0;
        nanosleep(&pause, NULL);
    }
    return rc;
}

int gc_find_strays(const struct gc *gc, unsigned rate, size_t *n, struct error *err)
{
    struct strays s = {.gc = gc, .rate = rate, .before_s = clock_now_s() - STRAY_AGE_S};
    const struct blob_visitor visitor = {note_file, &s};
    int rc = blobs_walk(gc->blobs, &visitor, err);
    if (rc == 0)
        rc = check_strays(&s, err);
    if (rc == 0)
        *n = s.found;
    return wrap(err, rc, "walk over all blobs");
}

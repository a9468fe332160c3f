#include "registry/audit.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "registry/index_audit.h"
#include "registry/metrics.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define COMPLAIN_EVERY_MS 10000

/* One chain, and what of it is safe. */
struct lane {
    enum audit_chain chain;
    struct audit_file *file; /* NULL: not recorded */
    pthread_mutex_t lock;
    pthread_cond_t synced_more;
    uint64_t synced;        /* records up to this one survive a power cut */
    bool syncing, broken;   /* broken: a sync failed; nobody knows what is on disk */
    bool failing;           /* the last write failed */
    uint64_t n, lost, told; /* told: lost ones that a record speaks of */
    uint64_t anchored;
    uint64_t trimmed_at; /* first record of the newest segment when it was last looked at */
    int64_t complained_ms;
};

struct audit {
    int data_fd;
    struct index *index;
    uint64_t access_bytes;
    struct lane lanes[AUDIT_CHAINS];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool running, stop;
    int64_t login_debt_ms, login_ms; /* refused logins among the changes; melts with time */
};

static struct lane *lane_of(struct audit *a, enum audit_chain chain)
{
    return &a->lanes[chain];
}

/* Under the lane's lock. Loud, but not once per request. */
static void complain(struct lane *l, const struct error *err)
{
    int64_t now = clock_monotonic_ms();
    if (l->complained_ms && now - l->complained_ms < COMPLAIN_EVERY_MS)
        return;
    l->complained_ms = now;
    if (l->chain == AUDIT_CHANGES)
        log_error("audit log cannot be written, changes are refused: %s", err->message);
    else
        log_error("audit log of accesses cannot be written, %" PRIu64 " records are lost: %s",
                  l->lost, err->message);
}

/* --- changes --- */

static int append_change(struct lane *l, const struct audit_event *e, uint64_t *seq,
                         struct error *err)
{
    if (l->broken)
        return fail(err, E_BUSY, "the audit log could not be made durable: restart the registry");
    int rc = audit_file_lock(l->file, err);
    if (rc != 0)
        return rc;
    rc = audit_file_add(l->file, e, err);
    if (rc == 0)
        rc = audit_file_flush(l->file, err);
    audit_file_unlock(l->file);
    if (rc == 0 && seq)
        *seq = audit_file_last(l->file).link.seq;
    return rc;
}

int audit_change(struct audit *a, const struct audit_event *e, uint64_t *seq, struct error *err)
{
    struct lane *l = lane_of(a, AUDIT_CHANGES);
    struct error why = ERROR_INIT;
    pthread_mutex_lock(&l->lock);
    int rc = append_change(l, e, seq, &why);
    l->failing = rc != 0;
    if (rc == 0)
        l->n++;
    else
        complain(l, &why);
    metrics_add(METRICS_AUDIT_RECORDS, rc == 0);
    pthread_mutex_unlock(&l->lock);
    if (rc != 0 && err)
        *err = why;
    return wrap(err, rc, "audit log");
}

void audit_note(struct audit *a, const struct audit_event *e)
{
    struct error err = ERROR_INIT;
    if (audit_change(a, e, NULL, &err) != 0)
        log_error("%s of '%s' is not in the audit log: %s", e->result, e->event, err.message);
}

/* One thread syncs for all that wait. Under the lane's lock, which is let go meanwhile. */
static int sync_once(struct lane *l, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    uint64_t up_to = audit_file_last(l->file).link.seq;
    int rc = audit_file_dup(l->file, &fd, err);
    if (rc != 0) /* nothing was tried: with a descriptor free again it goes on */
        return rc;
    l->syncing = true;
    pthread_mutex_unlock(&l->lock);
    if (fdatasync(fd) != 0)
        rc = fail_sys(err, errno, "sync the audit log");
    pthread_mutex_lock(&l->lock);
    l->syncing = false;
    /* After a failed sync the kernel may have dropped the pages: trying again would lie. */
    if (rc != 0)
        l->broken = true;
    else if (l->synced < up_to)
        l->synced = up_to;
    pthread_cond_broadcast(&l->synced_more);
    return rc;
}

static int sync_lane(struct lane *l, uint64_t seq, struct error *err)
{
    struct error why = ERROR_INIT;
    int rc = 0;
    pthread_mutex_lock(&l->lock);
    while (rc == 0 && l->synced < seq && !l->broken) {
        if (l->syncing)
            pthread_cond_wait(&l->synced_more, &l->lock);
        else
            rc = sync_once(l, &why);
    }
    bool safe = l->synced >= seq;
    if (!safe)
        complain(l, &why);
    pthread_mutex_unlock(&l->lock);
    return safe ? 0 : fail(err, E_BUSY, "the audit log cannot be made durable");
}

int audit_sync(struct audit *a, uint64_t seq, struct error *err)
{
    return sync_lane(lane_of(a, AUDIT_CHANGES), seq, err);
}

/* --- accesses --- */

/* Under the lane's lock. */
static void flush_accesses(struct lane *l)
{
    struct error err = ERROR_INIT;
    uint64_t n = 0;
    if (audit_file_buffered(l->file, &n) == 0)
        return;
    int rc = audit_file_flush(l->file, &err);
    l->failing = rc != 0;
    if (rc == 0) {
        l->n += n;
        metrics_add(METRICS_AUDIT_RECORDS, n);
        return;
    }
    l->lost += n;
    complain(l, &err);
}

static void tell_lost(struct lane *l)
{
    char detail[64];
    struct audit_event e = {.event = "log.lost", .result = "failed", .detail = detail};
    snprintf(detail, sizeof detail, "%" PRIu64 " records could not be written", l->lost - l->told);
    if (audit_file_add(l->file, &e, NULL) == 0)
        l->told = l->lost;
}

void audit_access(struct audit *a, const struct audit_event *e)
{
    struct lane *l = lane_of(a, AUDIT_ACCESS);
    struct error err = ERROR_INIT;
    if (!l->file)
        return;
    pthread_mutex_lock(&l->lock);
    if (audit_file_buffered(l->file, NULL) + 2 * (AUDIT_LINE_MAX + 1) > AUDIT_BUFFER_BYTES)
        flush_accesses(l);
    if (l->lost > l->told && !l->failing)
        tell_lost(l);
    if (audit_file_add(l->file, e, &err) != 0) {
        l->lost++;
        complain(l, &err);
    }
    pthread_mutex_unlock(&l->lock);
}

static bool login_fits(struct audit *a)
{
    const int64_t each_ms = (int64_t)AUDIT_LOGINS_EVERY_S * 1000;
    int64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&a->lock);
    int64_t debt_ms = a->login_debt_ms - (now_ms - a->login_ms);
    debt_ms = debt_ms > 0 ? debt_ms : 0;
    bool fits = debt_ms <= (AUDIT_LOGINS_BURST - 1) * each_ms;
    a->login_debt_ms = debt_ms + (fits ? each_ms : 0);
    a->login_ms = now_ms;
    pthread_mutex_unlock(&a->lock);
    return fits;
}

void audit_failed_login(struct audit *a, const struct audit_event *e)
{
    struct error err = ERROR_INIT;
    uint64_t seq = 0;
    if (!login_fits(a)) {
        audit_access(a, e);
        return;
    }
    int rc = audit_change(a, e, &seq, &err);
    if (rc == 0)
        rc = audit_sync(a, seq, &err);
    if (rc != 0)
        audit_access(a, e);
}

/* --- anchors --- */

struct anchoring {
    enum audit_chain chain;
    struct index_audit_anchor anchor;
    bool force;
};

static int write_anchor(struct index_tx *tx, void *arg, struct error *err)
{
    const struct anchoring *x = arg;
    return index_audit_set(tx, x->chain, &x->anchor, x->force, err);
}

/* Records are durable before the index says that they must be there. */
static int anchor_lane(struct audit *a, struct lane *l, bool force, struct error *err)
{
    struct anchoring x = {.chain = l->chain, .force = force};
    if (!l->file)
        return 0;
    pthread_mutex_lock(&l->lock);
    if (l->chain == AUDIT_ACCESS)
        flush_accesses(l);
    x.anchor.head = audit_file_last(l->file);
    bool done = x.anchor.head.link.seq == l->anchored;
    pthread_mutex_unlock(&l->lock);
    if (done && !force)
        return 0;
    int rc = sync_lane(l, x.anchor.head.link.seq, err);
    if (rc == 0)
        rc = index_write(a->index, write_anchor, &x, err);
    if (rc == 0)
        l->anchored = x.anchor.head.link.seq;
    return wrap(err, rc, "audit log");
}

/* --- shortening the accesses --- */

struct shortening {
    struct audit_link base;
};

static int write_base(struct index_tx *tx, void *arg, struct error *err)
{
    const struct shortening *x = arg;
    return index_audit_set_base(tx, AUDIT_ACCESS, &x->base, err);
}

static int first_link(const struct audit *a, uint64_t first, struct audit_link *before,
                      struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    char name[AUDIT_SEGMENT_NAME_MAX], line[AUDIT_LINE_MAX + 1];
    struct audit_link self;
    int rc = path_open(a->data_fd, audit_segment_name(AUDIT_ACCESS, first, name), PATH_NO_SYMLINKS,
                       O_RDONLY, 0, &fd, err);
    if (rc != 0)
        return rc;
    ssize_t n = pread(fd, line, sizeof line, 0);
    const char *newline = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
    if (!newline)
        return fail(err, E_TAMPERED, "'%s' does not begin with a record", name);
    return audit_record_check(AUDIT_ACCESS, line, (size_t)(newline - line), before, &self, err);
}

/* The index knows first: a crash in between leaves too much, never too little. */
static int remove_before(struct audit *a, const struct audit_segment *list, size_t n,
                         struct error *err)
{
    struct shortening x;
    char detail[80];
    int rc = first_link(a, list[n].first, &x.base, err);
    if (rc == 0)
        rc = index_write(a->index, write_base, &x, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char name[AUDIT_SEGMENT_NAME_MAX];
        if (unlinkat(a->data_fd, audit_segment_name(AUDIT_ACCESS, list[i].first, name), 0) != 0 &&
            errno != ENOENT)
            rc = fail_sys(err, errno, "remove '%s'", name);
    }
    snprintf(detail, sizeof detail, "accesses up to record %" PRIu64, x.base.seq);
    const struct audit_event e = {.event = "log.shortened", .result = "done", .detail = detail};
    if (rc == 0)
        audit_note(a, &e);
    return rc;
}

/* After each new segment: the oldest go while all are larger than allowed. */
static int shorten_accesses(struct audit *a, struct error *err)
{
    CLEANUP(cleanup_free) struct audit_segment *list = NULL;
    struct lane *l = lane_of(a, AUDIT_ACCESS);
    uint64_t total = 0, newest = 0;
    size_t n = 0, old = 0;
    if (!l->file || a->access_bytes == 0)
        return 0;
    pthread_mutex_lock(&l->lock);
    newest = audit_file_last(l->file).segment;
    pthread_mutex_unlock(&l->lock);
    if (newest == l->trimmed_at)
        return 0;
    int rc = audit_segments(a->data_fd, AUDIT_ACCESS, &list, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        total += list[i].size;
    while (rc == 0 && old + 2 < n && total > a->access_bytes)
        total -= list[old++].size;
    if (rc == 0 && old)
        rc = remove_before(a, list, old, err);
    if (rc == 0)
        l->trimmed_at = newest;
    return wrap(err, rc, "audit log of accesses");
}

int audit_anchor(struct audit *a, struct error *err)
{
    int rc = anchor_lane(a, lane_of(a, AUDIT_CHANGES), false, err);
    if (rc == 0)
        rc = anchor_lane(a, lane_of(a, AUDIT_ACCESS), false, err);
    return rc == 0 ? shorten_accesses(a, err) : rc;
}

/* --- the thread --- */

static void tick(struct audit *a, bool anchor)
{
    struct error err = ERROR_INIT;
    struct lane *l = lane_of(a, AUDIT_ACCESS);
    if (l->file) {
        pthread_mutex_lock(&l->lock);
        flush_accesses(l);
        pthread_mutex_unlock(&l->lock);
    }
    if (anchor && audit_anchor(a, &err) != 0)
        log_error("%s", err.message);
}

static void wait_a_little(struct audit *a)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += AUDIT_FLUSH_EVERY_MS / 1000;
    while (!a->stop && pthread_cond_timedwait(&a->wake, &a->lock, &until) == 0)
        ;
}

static void *run(void *context)
{
    struct audit *a = context;
    int64_t anchor_at = 0;
    pthread_mutex_lock(&a->lock);
    while (!a->stop) {
        wait_a_little(a);
        bool anchor = clock_monotonic_ms() >= anchor_at;
        if (anchor)
            anchor_at = clock_monotonic_ms() + (int64_t)AUDIT_ANCHOR_EVERY_S * 1000;
        pthread_mutex_unlock(&a->lock);
        tick(a, anchor);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static int start_thread(struct audit *a, struct error *err)
{
    int rc = pthread_create(&a->thread, NULL, run, a);
    if (rc != 0)
        return fail_sys(err, rc, "start the audit log's thread");
    a->running = true;
    return 0;
}

/* --- life --- */

static int read_anchor(struct audit *a, enum audit_chain chain, struct index_audit_anchor *out,
                       struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(a->index, &tx, err);
    if (rc == 0)
        rc = index_audit_get(tx, chain, out, err);
    index_read_end(a->index, tx);
    return rc;
}

/* The finding goes into the chain, where it stays: the new anchor will fit again. */
static int note_mismatch(struct audit *a, struct lane *l, const struct index_audit_anchor *anchor,
                         const char *why, struct error *err)
{
    char detail[AUDIT_DETAIL_MAX], hex[AUDIT_HASH_HEX + 1];
    hex_encode(anchor->head.link.hash, AUDIT_HASH_LEN, hex);
    snprintf(detail, sizeof detail, "log '%s': record %" PRIu64 " with hash %s is gone: %.128s",
             audit_chain_name(l->chain), anchor->head.link.seq, hex, why);
    log_error("audit log is not the one the index knows: %s", detail);
    const struct audit_event e = {
        .event = AUDIT_EVENT_MISMATCH, .result = "failed", .detail = detail};
    int rc = audit_change(a, &e, NULL, err);
    return rc == 0 ? anchor_lane(a, l, true, err) : rc;
}

static int begin_log(struct audit *a, struct lane *l, struct error *err)
{
    struct anchoring nothing = {.chain = l->chain};
    int rc = index_write(a->index, write_anchor, &nothing, err);
    const struct audit_event e = {.event = "log.begun",
                                  .result = "done",
                                  .object = l->chain == AUDIT_ACCESS ? "access" : "changes"};
    if (rc == 0 && l->chain == AUDIT_CHANGES)
        rc = audit_change(a, &e, NULL, err);
    else if (rc == 0)
        audit_access(a, &e);
    return rc == 0 ? anchor_lane(a, l, false, err) : rc;
}

/* Does the log go on from what the index knows? */
static int check_lane(struct audit *a, struct lane *l, struct error *err)
{
    struct index_audit_anchor anchor = {0};
    struct error why = ERROR_INIT;
    int rc = read_anchor(a, l->chain, &anchor, &why);
    bool empty = audit_file_last(l->file).link.seq == 0;
    if (rc == E_NOTFOUND && empty)
        return begin_log(a, l, err);
    if (rc == 0)
        rc = audit_file_confirm(l->file, &anchor.head, &why);
    if (rc == E_NOTFOUND || rc == E_TAMPERED)
        return note_mismatch(a, l, &anchor, why.message, err);
    if (rc != 0 && err)
        *err = why;
    l->anchored = anchor.head.link.seq;
    return rc;
}

static int open_lane(struct audit *a, enum audit_chain chain, const struct audit_options *o,
                     struct error *err)
{
    struct lane *l = lane_of(a, chain);
    uint64_t bytes = o->segment_bytes ? o->segment_bytes : AUDIT_SEGMENT_BYTES;
    int rc = audit_file_open(a->data_fd, chain, bytes, chain == AUDIT_ACCESS, &l->file, err);
    return rc == 0 ? check_lane(a, l, err) : rc;
}

static struct audit *audit_new(const struct audit_options *o)
{
    struct audit *a = calloc(1, sizeof *a);
    pthread_condattr_t monotonic;
    if (!a)
        return NULL;
    a->data_fd = -1;
    a->index = o->index;
    a->access_bytes = o->access_bytes;
    for (int i = 0; i < AUDIT_CHAINS; i++) {
        a->lanes[i].chain = (enum audit_chain)i;
        pthread_mutex_init(&a->lanes[i].lock, NULL);
        pthread_cond_init(&a->lanes[i].synced_more, NULL);
    }
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&a->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return a;
}

int audit_open(const struct audit_options *options, struct audit **out, struct error *err)
{
    struct audit *a = audit_new(options);
    if (!a)
        return fail_nomem(err);
    int rc = file_open_dir(options->data_dir, false, &a->data_fd, err);
    if (rc == 0)
        rc = open_lane(a, AUDIT_CHANGES, options, err);
    if (rc == 0 && options->access)
        rc = open_lane(a, AUDIT_ACCESS, options, err);
    if (rc == 0)
        rc = start_thread(a, err);
    if (rc != 0)
        audit_close(a);
    else
        *out = a;
    return rc;
}

static void stop_thread(struct audit *a)
{
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    a->running = false;
}

void audit_close(struct audit *a)
{
    struct error err = ERROR_INIT;
    if (!a)
        return;
    if (a->running) {
        stop_thread(a);
        if (audit_anchor(a, &err) != 0)
            log_error("%s", err.message);
    }
    for (int i = 0; i < AUDIT_CHAINS; i++) {
        audit_file_close(a->lanes[i].file);
        pthread_mutex_destroy(&a->lanes[i].lock);
        pthread_cond_destroy(&a->lanes[i].synced_more);
    }
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->wake);
    cleanup_fd(&a->data_fd);
    free(a);
}

void audit_get_stats(struct audit *a, struct audit_stats *out)
{
    struct audit_stats s = {0};
    for (int i = 0; i < AUDIT_CHAINS; i++) {
        struct lane *l = &a->lanes[i];
        pthread_mutex_lock(&l->lock);
        *(l->chain == AUDIT_CHANGES ? &s.changes : &s.accesses) = l->n;
        s.lost += l->lost;
        s.failing = s.failing || (l->chain == AUDIT_CHANGES && (l->failing || l->broken));
        pthread_mutex_unlock(&l->lock);
    }
    *out = s;
}

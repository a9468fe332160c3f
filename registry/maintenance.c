#include "registry/maintenance.h"

#include "base/clock.h"
#include "base/log.h"
#include "registry/audit.h"
#include "registry/gc.h"
#include "registry/index_trust.h"
#include "registry/publish.h"
#include "registry/retention.h"
#include "registry/scrub.h"
#include "registry/trust_sync.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#define TASKS_MAX         16u
#define RENEW_EVERY_S     10
#define RENEW_PAGE        64u /* names in memory at once */
#define SWEEP_EVERY_S     3600
#define UPLOAD_AGE_S      86400
#define SCRUB_ASK_EVERY_S 60
#define STRAYS_EVERY_S    86400
#define STRAYS_AFTER_S    600
#define STRAYS_RATE       20000u /* files a second: the walk must not be felt */

/* --- the tasks --- */

struct due {
    char *names[RENEW_PAGE];
    size_t n;
};

static int note_due(void *context, const char *repository, struct error *err)
{
    struct due *due = context;
    due->names[due->n] = strdup(repository);
    if (!due->names[due->n])
        return fail_nomem(err);
    due->n++;
    return 0;
}

static int read_due(struct registry *r, struct due *due, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = index_trust_due(tx, clock_now_s(), RENEW_PAGE, note_due, due, err);
    index_read_end(r->index, tx);
    return rc;
}

static int put_off(struct index_tx *tx, void *arg, struct error *err)
{
    const struct due *due = arg;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < due->n; i++)
        rc = index_trust_put_off(tx, due->names[i], clock_now_s(), err);
    return rc;
}

/* E_NETWORK: the signing service is away; nobody's can be renewed now, and all of them soon. */
static int renew_all(struct registry *r, const struct due *due, const atomic_bool *end,
                     struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc != E_NETWORK && i < due->n && !atomic_load(end); i++) {
        rc = publish_refresh(r, due->names[i], err);
        if (rc != 0 && rc != E_NETWORK)
            log_warn("timestamp of '%s' cannot be renewed: %s", due->names[i], err->message);
    }
    return rc == E_NETWORK ? rc : 0;
}

int maintenance_renew(struct registry *r, const atomic_bool *end, struct error *err)
{
    int rc = 0;
    for (bool more = true; rc == 0 && more && !atomic_load(end);) {
        struct due due = {.n = 0};
        rc = read_due(r, &due, err);
        if (rc == 0)
            rc = renew_all(r, &due, end, err);
        /* What is still due must not be what the next page is full of. */
        if (rc == 0 && due.n > 0 && !atomic_load(end))
            rc = index_write(r->index, put_off, &due, err);
        more = due.n == RENEW_PAGE;
        for (size_t i = 0; i < due.n; i++)
            free(due.names[i]);
    }
    return rc;
}

static int sweep(struct registry *r, const atomic_bool *end, struct error *err)
{
    (void)end, (void)err;
    uploads_sweep(r->uploads, UPLOAD_AGE_S);
    return 0;
}

static struct gc gc_of(struct registry *r, const atomic_bool *end)
{
    return (struct gc){r->index, r->blobs, r->commits, true, r->config->gc.lease_s, end};
}

static int release_old(struct index_tx *tx, void *arg, struct error *err)
{
    (void)arg;
    return index_trust_release_old(tx, clock_now_s(), err);
}

static void record_collection(struct registry *r, const struct gc_report *report)
{
    char detail[96];
    const struct audit_event e = {
        .event = "gc.run", .result = "done", .who = "garbage collection", .detail = detail};
    snprintf(detail, sizeof detail, "%" PRIu64 " links, %" PRIu64 " blobs of %" PRId64 " bytes",
             report->links, report->blobs, report->bytes);
    log_info("garbage collection: looked at %" PRIu64 ", removed %s", report->examined, detail);
    audit_note(r->audit, &e);
}

static int collect(struct registry *r, const atomic_bool *end, struct error *err)
{
    const struct gc gc = gc_of(r, end);
    struct gc_report report = {0, 0, 0, 0};
    int rc = index_write(r->index, release_old, NULL, err);
    if (rc == 0)
        rc = gc_run(&gc, &report, err);
    if (report.links > 0 || report.blobs > 0)
        record_collection(r, &report);
    return rc;
}

static int note_removal(void *context, const struct retention_item *item, struct error *err)
{
    struct registry *r = context;
    char digest[DIGEST_TEXT_MAX];
    (void)err;
    digest_format(item->digest, digest);
    const struct audit_event event = {.event = "retention.remove",
                                      .result = "done",
                                      .who = "retention",
                                      .from = "local",
                                      .repository = item->repository,
                                      .object = item->tag ? item->tag : digest,
                                      .detail = item->why};
    audit_note(r->audit, &event);
    return 0;
}

static int retain(struct registry *r, const atomic_bool *end, struct error *err)
{
    const struct retention retention = {.index = r->index,
                                        .rules = &r->config->rules,
                                        .lease_s = r->config->gc.lease_s,
                                        .end = end,
                                        .visit = note_removal,
                                        .context = r};
    return retention_run(&retention, err);
}

static int find_strays(struct registry *r, const atomic_bool *end, struct error *err)
{
    const struct gc gc = gc_of(r, end);
    size_t n = 0;
    int rc = gc_find_strays(&gc, STRAYS_RATE, &n, err);
    if (n > 0)
        log_info("found %zu files that were never recorded: garbage", n);
    return rc == E_INTERRUPTED ? 0 : rc;
}

static int scrub(struct registry *r, const atomic_bool *end, struct error *err)
{
    const struct scrub s = {.data_dir = r->config->data_dir,
                            .index = r->index,
                            .blobs = r->blobs,
                            .audit = r->audit,
                            .rate_bytes_s = r->config->scrub.rate_bytes_s,
                            .end = end};
    struct scrub_report report;
    bool due = false;
    int rc = scrub_is_due(r->index, r->config->scrub.interval_s, &due, err);
    if (rc != 0 || !due)
        return rc;
    rc = scrub_run(&s, &report, err);
    if (rc == 0 && report.whole)
        log_info("scrub: round ended, %" PRIu64 " damaged, %" PRIu64 " missing, %" PRIu64
                 " unreadable",
                 report.damaged, report.missing, report.unreadable);
    return rc == E_BUSY ? 0 : rc;
}

/* How often to ask whether a round is due. */
static int64_t every_scrub(const struct server_config *config)
{
    int64_t interval_s = config->scrub.interval_s;
    return interval_s < SCRUB_ASK_EVERY_S ? interval_s : SCRUB_ASK_EVERY_S;
}

static int64_t every_renew(const struct server_config *config)
{
    (void)config;
    return RENEW_EVERY_S;
}

static int64_t every_sweep(const struct server_config *config)
{
    (void)config;
    return SWEEP_EVERY_S;
}

static int64_t every_gc(const struct server_config *config)
{
    return config->gc.interval_s;
}

static int64_t every_retention(const struct server_config *config)
{
    return config->rules.n_retention > 0 ? config->gc.retention_interval_s : 0;
}

static int64_t every_strays(const struct server_config *config)
{
    (void)config;
    return STRAYS_EVERY_S;
}

static const struct maintenance_task own_tasks[] = {
    {"signing service", every_renew, trust_sync_run, 0},
    {"timestamps", every_renew, maintenance_renew, 0},
    {"uploads", every_sweep, sweep, 0},
    {"garbage collection", every_gc, collect, 0},
    {"retention", every_retention, retain, 0},
    {"strays", every_strays, find_strays, STRAYS_AFTER_S},
    {"scrub", every_scrub, scrub, 0},
    {NULL, NULL, NULL, 0},
};

/* --- their threads --- */

struct lane {
    struct maintenance *owner;
    const struct maintenance_task *task;
    pthread_t thread;
};

struct maintenance {
    struct registry *registry;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_bool end;
    struct lane lanes[TASKS_MAX];
    size_t n_lanes;
};

/* The same failure again and again is said once, until it goes away or changes. */
static void report(const struct maintenance_task *task, int rc, const struct error *err,
                   struct error *last)
{
    if (rc != 0 && strcmp(err->message, last->message) != 0)
        log_warn("%s: %s", task->name, err->message);
    else if (rc == 0 && last->code != 0)
        log_info("%s: works again", task->name);
    *last = rc != 0 ? *err : (struct error)ERROR_INIT;
}

static void wait_for(struct maintenance *m, int64_t seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&m->lock);
    while (!atomic_load(&m->end) && pthread_cond_timedwait(&m->wake, &m->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&m->lock);
}

static void *work(void *context)
{
    const struct lane *lane = context;
    struct maintenance *m = lane->owner;
    struct error last = ERROR_INIT;
    int64_t every_s = lane->task->every_s(m->registry->config);
    if (every_s > 0)
        wait_for(m, lane->task->after_s);
    while (every_s > 0 && !atomic_load(&m->end)) {
        struct error err = ERROR_INIT;
        int rc = lane->task->run(m->registry, &m->end, &err);
        report(lane->task, rc, &err, &last);
        wait_for(m, every_s);
    }
    return NULL;
}

static struct maintenance *new_maintenance(struct registry *registry)
{
    struct maintenance *m = calloc(1, sizeof *m);
    pthread_condattr_t attributes;
    if (!m)
        return NULL;
    m->registry = registry;
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    return m;
}

int maintenance_start_tasks(struct registry *registry, const struct maintenance_task *tasks,
                            struct maintenance **out, struct error *err)
{
    struct maintenance *m = new_maintenance(registry);
    int rc = m ? 0 : fail_nomem(err);
    for (const struct maintenance_task *t = tasks; rc == 0 && t->run; t++) {
        struct lane *lane = &m->lanes[m->n_lanes];
        if (m->n_lanes == TASKS_MAX) {
            rc = fail(err, E_INTERNAL, "more than %u maintenance tasks", TASKS_MAX);
            break;
        }
        *lane = (struct lane){.owner = m, .task = t};
        int failed = pthread_create(&lane->thread, NULL, work, lane);
        if (failed != 0)
            rc = fail_sys(err, failed, "start the maintenance thread '%s'", t->name);
        else
            m->n_lanes++;
    }
    if (rc != 0)
        maintenance_stop(m);
    else
        *out = m;
    return rc;
}

int maintenance_start(struct registry *registry, struct maintenance **out, struct error *err)
{
    return maintenance_start_tasks(registry, own_tasks, out, err);
}

void maintenance_stop(struct maintenance *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    atomic_store(&m->end, true);
    pthread_cond_broadcast(&m->wake);
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < m->n_lanes; i++)
        pthread_join(m->lanes[i].thread, NULL);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

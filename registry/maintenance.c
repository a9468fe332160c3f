#include "registry/maintenance.h"

#include "base/clock.h"
#include "base/log.h"

#include "registry/index_trust.h"
#include "registry/publish.h"

#include <pthread.h>
#include <string.h>

#define RENEW_MAX 256u /* collections in one round */

struct maintenance {
    struct registry *registry;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool stop;
};

struct due {
    char *names[RENEW_MAX];
    size_t n;
};

static int note_due(void *context, const char *repository, struct error *err)
{
    struct due *due = context;
    due->names[due->n] = strdup(repository);
    return due->names[due->n++] ? 0 : fail_nomem(err);
}

/* Timestamps are renewed before anybody has to wait for it. */
static void renew_timestamps(struct registry *r)
{
    struct due due = {.n = 0};
    struct index_tx *tx = NULL;
    struct error err = ERROR_INIT;
    int rc = index_read_begin(r->index, &tx, &err);
    if (rc == 0)
        rc = index_trust_due(tx, clock_now_s(), RENEW_MAX, note_due, &due, &err);
    index_read_end(r->index, tx);
    if (rc != 0)
        log_warn("timestamps: %s", err.message);
    for (size_t i = 0; i < due.n; i++) {
        if (rc == 0 && publish_refresh(r, due.names[i], &err) != 0)
            log_warn("timestamp of '%s' cannot be renewed: %s", due.names[i], err.message);
        free(due.names[i]);
    }
}

static void *maintain(void *context)
{
    struct maintenance *m = context;
    int64_t next_sweep = 0;
    pthread_mutex_lock(&m->lock);
    while (!m->stop) {
        pthread_mutex_unlock(&m->lock);
        if (clock_monotonic_ms() >= next_sweep) {
            uploads_sweep(m->registry->uploads, MAINTENANCE_UPLOAD_AGE_S);
            next_sweep = clock_monotonic_ms() + (int64_t)MAINTENANCE_SWEEP_EVERY_S * 1000;
        }
        renew_timestamps(m->registry);
        struct timespec until;
        pthread_mutex_lock(&m->lock);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += MAINTENANCE_RENEW_EVERY_S;
        if (!m->stop)
            pthread_cond_timedwait(&m->wake, &m->lock, &until);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

int maintenance_start(struct registry *registry, struct maintenance **out, struct error *err)
{
    struct maintenance *m = calloc(1, sizeof *m);
    if (!m)
        return fail_nomem(err);
    m->registry = registry;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->wake, NULL);
    int rc = pthread_create(&m->thread, NULL, maintain, m);
    if (rc != 0) {
        free(m);
        return fail_sys(err, rc, "start the maintenance thread");
    }
    *out = m;
    return 0;
}

void maintenance_stop(struct maintenance *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->stop = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

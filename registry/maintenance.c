#include "registry/maintenance.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>

struct maintenance {
    struct registry *registry;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool stop;
};

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

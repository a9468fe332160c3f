#include "client/crew.h"

#include "client/remote_private.h"

#include <pthread.h>
#include <signal.h>

struct crew {
    crew_work *work;
    void *ctx;
    size_t n;
    atomic_size_t next;
    atomic_bool stop;
    pthread_mutex_t lock; /* for the result */
    int rc;
    struct error err;
};

struct worker {
    struct crew *crew;
    struct remote *remote;
    pthread_t thread;
    bool started;
};

static void record(struct crew *c, int rc, const struct error *err)
{
    (void)pthread_mutex_lock(&c->lock);
    if (!c->rc) {
        c->rc = rc;
        c->err = *err;
    }
    (void)pthread_mutex_unlock(&c->lock);
    atomic_store(&c->stop, true);
}

static void work_through(struct crew *c, struct remote *r)
{
    while (!atomic_load(&c->stop)) {
        struct error err = ERROR_INIT;
        size_t i = atomic_fetch_add(&c->next, 1);
        if (i >= c->n)
            return;
        int rc = c->work(c->ctx, r, i, &err);
        if (rc)
            record(c, rc, &err);
    }
}

static void *run_worker(void *argument)
{
    struct worker *w = argument;
    work_through(w->crew, w->remote);
    return NULL;
}

/* A worker that cannot be had is done without: the others do its jobs. */
static void start(struct worker *w, struct crew *c, const struct remote *r)
{
    sigset_t all, before;
    w->crew = c;
    if (remote_clone(r, &c->stop, &w->remote, NULL))
        return;
    /* Signals are for the thread that called. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    w->started = pthread_create(&w->thread, NULL, run_worker, w) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int crew_run(struct remote *r, unsigned parallel, size_t n, crew_work *work, void *ctx,
             struct error *err)
{
    struct worker workers[TRANSFER_PARALLEL_MAX - 1] = {{.crew = NULL}};
    struct crew c = {.work = work, .ctx = ctx, .n = n, .lock = PTHREAD_MUTEX_INITIALIZER};
    int rc = remote_ready(r, err);
    if (rc)
        return rc;
    if (parallel > TRANSFER_PARALLEL_MAX)
        parallel = TRANSFER_PARALLEL_MAX;
    size_t more = parallel < n ? parallel : n;
    for (size_t i = 0; i + 1 < more; i++)
        start(&workers[i], &c, r);
    remote_stop_at(r, &c.stop);
    work_through(&c, r);
    remote_stop_at(r, NULL);
    for (size_t i = 0; i + 1 < more; i++) {
        if (workers[i].started)
            (void)pthread_join(workers[i].thread, NULL);
        remote_close(workers[i].remote);
    }
    (void)pthread_mutex_destroy(&c.lock);
    if (c.rc && err)
        *err = c.err;
    return c.rc;
}

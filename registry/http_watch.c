#include "registry/http_watch.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "registry/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

enum phase { PHASE_IDLE, PHASE_RECEIVING, PHASE_WORKING, PHASE_SENDING };

struct http_watch_entry {
    struct http_watch_entry *next, *prev;
    int fd;
    atomic_int phase;
    atomic_int_fast64_t since_ms;
    atomic_uint_fast64_t bytes; /* received so far, or to be sent */
    bool ended;                 /* under the lock: shut down once, not every second */
};

struct http_watch {
    struct http_watch_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool stop;
    struct http_watch_entry *entries;
};

/* Without a lock: overdue() reads in the other order, so that it never judges a new phase by the
 * old one's time, nor the old phase by the new one's bytes. */
static void enter(struct http_watch_entry *e, enum phase phase, uint64_t bytes)
{
    atomic_store(&e->since_ms, clock_monotonic_ms());
    atomic_store(&e->bytes, bytes);
    atomic_store(&e->phase, (int)phase);
}

/* Milliseconds that `bytes` may take at the slowest rate, with a grace before it counts. */
static int64_t time_for(const struct http_watch_limits *limits, uint64_t bytes)
{
    uint64_t seconds = bytes / limits->rate_bytes_s;
    if (seconds > INT64_MAX / 2000)
        seconds = INT64_MAX / 2000;
    int64_t grace = limits->idle_ms < HTTP_WATCH_GRACE_MS ? limits->idle_ms : HTTP_WATCH_GRACE_MS;
    return grace + (int64_t)seconds * 1000;
}

static bool overdue(const struct http_watch *w, struct http_watch_entry *e, int64_t now_ms)
{
    int phase = atomic_load(&e->phase);
    uint64_t bytes = atomic_load(&e->bytes);
    int64_t spent = now_ms - atomic_load(&e->since_ms);
    switch (phase) {
    case PHASE_IDLE:
        return spent > w->limits.idle_ms;
    case PHASE_RECEIVING:
    case PHASE_SENDING:
        return w->limits.rate_bytes_s && spent > time_for(&w->limits, bytes);
    default:
        return false;
    }
}

static void end_overdue(struct http_watch *w)
{
    int64_t now = clock_monotonic_ms();
    for (struct http_watch_entry *e = w->entries; e; e = e->next) {
        if (e->ended || !overdue(w, e, now))
            continue;
        if (atomic_load(&e->phase) != PHASE_IDLE)
            log_info("ending a connection whose peer is too slow");
        metrics_add(METRICS_CONNECTIONS_SLOW, 1);
        shutdown(e->fd, SHUT_RDWR);
        e->ended = true;
    }
}

static void *watch_main(void *context)
{
    struct http_watch *w = context;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += 1;
        pthread_cond_timedwait(&w->wake, &w->lock, &until);
        end_overdue(w);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int http_watch_new(const struct http_watch_limits *limits, struct http_watch **out,
                   struct error *err)
{
    struct http_watch *w = calloc(1, sizeof *w);
    if (!w)
        return fail_nomem(err);
    w->limits = *limits;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int rc = pthread_create(&w->thread, NULL, watch_main, w);
    if (rc != 0) {
        free(w);
        return fail_sys(err, rc, "start the watchdog thread");
    }
    *out = w;
    return 0;
}

void http_watch_free(struct http_watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

struct http_watch_entry *http_watch_add(struct http_watch *w, int fd)
{
    struct http_watch_entry *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->fd = fd;
    enter(e, PHASE_IDLE, 0);
    pthread_mutex_lock(&w->lock);
    e->next = w->entries;
    if (e->next)
        e->next->prev = e;
    w->entries = e;
    pthread_mutex_unlock(&w->lock);
    return e;
}

void http_watch_remove(struct http_watch *w, struct http_watch_entry *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&w->lock);
    if (e->prev)
        e->prev->next = e->next;
    else
        w->entries = e->next;
    if (e->next)
        e->next->prev = e->prev;
    pthread_mutex_unlock(&w->lock);
    free(e);
}

void http_watch_idle(struct http_watch_entry *e)
{
    if (e)
        enter(e, PHASE_IDLE, 0);
}

void http_watch_receiving(struct http_watch_entry *e)
{
    if (e)
        enter(e, PHASE_RECEIVING, 0);
}

void http_watch_received(struct http_watch_entry *e, uint64_t n)
{
    if (e)
        atomic_fetch_add(&e->bytes, n);
}

void http_watch_working(struct http_watch_entry *e)
{
    if (e)
        enter(e, PHASE_WORKING, 0);
}

void http_watch_sending(struct http_watch_entry *e, uint64_t len)
{
    if (e)
        enter(e, PHASE_SENDING, len);
}

unsigned http_watch_n_active(struct http_watch *w)
{
    unsigned n = 0;
    pthread_mutex_lock(&w->lock);
    for (struct http_watch_entry *e = w->entries; e; e = e->next)
        n += atomic_load(&e->phase) != PHASE_IDLE;
    pthread_mutex_unlock(&w->lock);
    return n;
}

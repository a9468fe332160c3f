#include "registry/blob_feed.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORKERS   16u
#define MAX_IN_FLIGHT 4u /* blocks of one feed that are with the workers */

struct block {
    struct block *next;
    size_t len;
    uint8_t data[FEED_BLOCK_BYTES];
};

struct feed_pool {
    pthread_mutex_t lock;
    pthread_cond_t work_to_do;
    struct feed *first, *last; /* feeds with blocks to take */
    struct block *idle;        /* memory for the next ones, while any feed is in use */
    unsigned n_idle, max_idle;
    unsigned stock; /* blocks that may still go to the workers */
    unsigned n_feeds;
    bool stop;
    unsigned n_workers;
    pthread_t workers[MAX_WORKERS];
};

struct feed {
    struct feed_pool *pool; /* NULL: none */
    struct feed_sink sink;
    struct block *filling;
    /* under the pool's lock */
    struct block *first, *last; /* handed over, not yet begun */
    unsigned in_flight;         /* these, and the one that a worker has */
    pthread_cond_t taken;
    struct feed *next; /* in the pool's queue */
    int rc;            /* first failure not yet told */
    struct error err;
};

/* --- memory, under the lock --- */

static struct block *block_get(struct feed_pool *pool)
{
    struct block *block = pool->idle;
    if (!block)
        return malloc(sizeof *block);
    pool->idle = block->next;
    pool->n_idle--;
    return block;
}

static void block_put(struct feed_pool *pool, struct block *block)
{
    if (pool->n_idle == pool->max_idle) {
        free(block);
        return;
    }
    block->next = pool->idle;
    pool->idle = block;
    pool->n_idle++;
}

static void drop_idle(struct feed_pool *pool)
{
    while (pool->idle) {
        struct block *block = pool->idle;
        pool->idle = block->next;
        free(block);
    }
    pool->n_idle = 0;
}

/* --- workers --- */

static void enqueue(struct feed_pool *pool, struct feed *f)
{
    f->next = NULL;
    if (pool->last)
        pool->last->next = f;
    else
        pool->first = f;
    pool->last = f;
    pthread_cond_signal(&pool->work_to_do);
}

static struct feed *dequeue(struct feed_pool *pool)
{
    struct feed *f = pool->first;
    pool->first = f->next;
    if (!pool->first)
        pool->last = NULL;
    return f;
}

/* Under the lock, which is let go while the block is taken. A feed is in the queue at most once, so
 * its blocks keep their order. */
static void take_one(struct feed_pool *pool, struct feed *f)
{
    struct block *block = f->first;
    f->first = block->next;
    if (!f->first)
        f->last = NULL;
    if (f->rc == 0) { /* behind a failed block nothing has its place any more */
        struct error err = ERROR_INIT;
        pthread_mutex_unlock(&pool->lock);
        int rc = f->sink.take(f->sink.context, block->data, block->len, &err);
        pthread_mutex_lock(&pool->lock);
        if (rc != 0) {
            f->rc = rc;
            f->err = err;
        }
    }
    block_put(pool, block);
    pool->stock++;
    f->in_flight--;
    if (f->first)
        enqueue(pool, f);
    pthread_cond_signal(&f->taken);
}

static void *work(void *context)
{
    struct feed_pool *pool = context;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->first && !pool->stop)
            pthread_cond_wait(&pool->work_to_do, &pool->lock);
        if (!pool->first)
            break;
        take_one(pool, dequeue(pool));
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int feed_pool_new(unsigned n_workers, struct feed_pool **out, struct error *err)
{
    struct feed_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return fail_nomem(err);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work_to_do, NULL);
    if (n_workers > MAX_WORKERS)
        n_workers = MAX_WORKERS;
    /* One worker is kept busy by one feed; a second block each hides the hand-over. */
    pool->stock = pool->max_idle = 2 * n_workers + 2;
    for (; pool->n_workers < n_workers; pool->n_workers++) {
        int rc = pthread_create(&pool->workers[pool->n_workers], NULL, work, pool);
        if (rc != 0) {
            feed_pool_free(pool);
            return fail_sys(err, rc, "start a storage thread");
        }
    }
    *out = pool;
    return 0;
}

void feed_pool_free(struct feed_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work_to_do);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n_workers; i++)
        pthread_join(pool->workers[i], NULL);
    drop_idle(pool);
    pthread_cond_destroy(&pool->work_to_do);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* --- feeds --- */

int feed_new(struct feed_pool *pool, const struct feed_sink *sink, struct feed **out,
             struct error *err)
{
    struct feed *f = calloc(1, sizeof *f);
    if (!f)
        return fail_nomem(err);
    f->sink = *sink;
    if (pool) {
        pthread_mutex_lock(&pool->lock);
        f->filling = block_get(pool);
        pool->n_feeds += f->filling != NULL;
        pthread_mutex_unlock(&pool->lock);
    } else {
        f->filling = malloc(sizeof *f->filling);
    }
    if (!f->filling) {
        free(f);
        return fail_nomem(err);
    }
    f->pool = pool;
    f->filling->len = 0;
    pthread_cond_init(&f->taken, NULL);
    *out = f;
    return 0;
}

/* Waits until no worker has anything of this feed; tells the failure that was met. */
static int settle(struct feed *f, struct error *err)
{
    if (!f->pool)
        return 0;
    pthread_mutex_lock(&f->pool->lock);
    while (f->in_flight > 0)
        pthread_cond_wait(&f->taken, &f->pool->lock);
    pthread_mutex_unlock(&f->pool->lock);
    int rc = f->rc;
    f->rc = 0;
    if (rc != 0 && err)
        *err = f->err;
    return rc;
}

void feed_free(struct feed *f)
{
    if (!f)
        return;
    struct error ignored;
    int rc = settle(f, &ignored);
    (void)rc;
    if (f->pool) {
        pthread_mutex_lock(&f->pool->lock);
        block_put(f->pool, f->filling);
        if (--f->pool->n_feeds == 0)
            drop_idle(f->pool);
        pthread_mutex_unlock(&f->pool->lock);
    } else {
        free(f->filling);
    }
    pthread_cond_destroy(&f->taken);
    free(f);
}

/* Under the lock: the filled block goes to the workers, `fresh` is filled next. */
static void queue_block(struct feed *f, struct block *fresh)
{
    f->filling->next = NULL;
    if (f->last)
        f->last->next = f->filling;
    else
        f->first = f->filling;
    f->last = f->filling;
    f->pool->stock--;
    /* Otherwise it is in the queue, or a worker puts it there again. */
    if (f->in_flight++ == 0)
        enqueue(f->pool, f);
    f->filling = fresh;
}

/* False: the caller has to take the block by itself, or something failed. */
static bool hand_over(struct feed *f)
{
    struct feed_pool *pool = f->pool;
    if (!pool)
        return false;
    pthread_mutex_lock(&pool->lock);
    /* Own blocks come back: waiting for them is waiting for progress. */
    while (f->in_flight > 0 && (pool->stock == 0 || f->in_flight >= MAX_IN_FLIGHT) && f->rc == 0)
        pthread_cond_wait(&f->taken, &pool->lock);
    struct block *fresh = pool->stock > 0 && f->rc == 0 ? block_get(pool) : NULL;
    if (fresh)
        queue_block(f, fresh);
    pthread_mutex_unlock(&pool->lock);
    return fresh != NULL;
}

/* By the caller itself, after everything that came before. */
static int take_own(struct feed *f, struct error *err)
{
    int rc = settle(f, err);
    if (rc == 0 && f->filling->len > 0)
        rc = f->sink.take(f->sink.context, f->filling->data, f->filling->len, err);
    f->filling->len = 0;
    return rc;
}

static int pass_on(struct feed *f, struct error *err)
{
    if (!hand_over(f))
        return take_own(f, err);
    f->filling->len = 0;
    return 0;
}

int feed_append(struct feed *f, const void *data, size_t len, struct error *err)
{
    int rc = 0;
    for (const uint8_t *from = data; rc == 0 && len > 0;) {
        size_t room = FEED_BLOCK_BYTES - f->filling->len, part = len < room ? len : room;
        memcpy(f->filling->data + f->filling->len, from, part);
        f->filling->len += part;
        from += part;
        len -= part;
        if (f->filling->len == FEED_BLOCK_BYTES)
            rc = pass_on(f, err);
    }
    return rc;
}

int feed_flush(struct feed *f, struct error *err)
{
    return take_own(f, err);
}

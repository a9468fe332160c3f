/*
 * Bytes on their way into uploads: cut into blocks that a few workers take (store and hash) while
 * the connection's thread receives the next ones.
 *
 * Memory is bounded by the number of feeds in use, not by what runs through them: each has one
 * block that is being filled, and a small common stock of blocks can be with the workers. Where
 * no block is left in stock the caller takes its own block by itself, so no feed waits for another
 * one's work. Blocks of one feed are taken one at a time and in order. The pool is thread-safe, a
 * feed belongs to one thread at a time.
 */
#ifndef BULLA_REGISTRY_BLOB_FEED_H
#define BULLA_REGISTRY_BLOB_FEED_H

#include "base/error.h"

#include <stdint.h>

#define FEED_BLOCK_BYTES (256u << 10) /* large writes get large folios: half the kernel work */

struct feed_pool;
struct feed;

/* Starts n_workers (1 or more) threads. */
int feed_pool_new(unsigned n_workers, struct feed_pool **out, struct error *err) MUST_CHECK;
/* No feed is in use. NULL is fine. */
void feed_pool_free(struct feed_pool *pool);

/* take: stores a block; runs on the caller's thread or on a worker's. */
struct feed_sink {
    int (*take)(void *context, const void *data, size_t len, struct error *err);
    void *context;
};

/* pool NULL: everything happens on the caller's thread. */
int feed_new(struct feed_pool *pool, const struct feed_sink *sink, struct feed **out,
             struct error *err) MUST_CHECK;
/* Waits for what workers have; drops what is not yet with them. NULL is fine. */
void feed_free(struct feed *feed);
/* A failure of take shows here or at the flush, once. Then nothing is under way: blocks that came
 * behind the failed one were dropped, as was the rest of `data`. */
int feed_append(struct feed *feed, const void *data, size_t len, struct error *err) MUST_CHECK;
/* Everything was taken. */
int feed_flush(struct feed *feed, struct error *err) MUST_CHECK;

#endif

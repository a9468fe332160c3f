/*
 * The watchdog over connections: ends those whose peer is too slow.
 *
 * The HTTP library restarts its time-outs with each byte, so a peer that sends one byte now and
 * then would keep its connection and thread for ever. Here every phase of a request has a bound of
 * its own. One thread looks at all connections once a second; what is due is shut down, which wakes
 * the thread that serves it. Entries are written by the connection's thread only.
 */
#ifndef BULLA_REGISTRY_HTTP_WATCH_H
#define BULLA_REGISTRY_HTTP_WATCH_H

#include "base/error.h"

#include <stdint.h>

struct http_watch;
struct http_watch_entry;

#define HTTP_WATCH_GRACE_MS                                                                        \
    30000 /* no rate is asked for before; or idle_ms, where that is less                           \
           */

struct http_watch_limits {
    int64_t idle_ms; /* from connecting, or the end of a request, to the end of the next headers */
    uint64_t rate_bytes_s; /* slowest peer, sending or receiving; 0: any */
};

int http_watch_new(const struct http_watch_limits *limits, struct http_watch **out,
                   struct error *err) MUST_CHECK;
/* All entries must have been removed. */
void http_watch_free(struct http_watch *w);

/* fd stays the caller's and must be open until http_watch_remove. NULL when memory is out. */
struct http_watch_entry *http_watch_add(struct http_watch *w, int fd);
void http_watch_remove(struct http_watch *w, struct http_watch_entry *e);

/* Phases of one request. Receiving and sending are bounded, working (our own time) is not. */
void http_watch_idle(struct http_watch_entry *e);
void http_watch_receiving(struct http_watch_entry *e);
void http_watch_received(struct http_watch_entry *e, uint64_t n);
void http_watch_working(struct http_watch_entry *e);
void http_watch_sending(struct http_watch_entry *e, uint64_t len);

/* Connections that are neither idle nor waiting for headers. */
unsigned http_watch_n_active(struct http_watch *w);

#endif

/*
 * Counters of the running registry, and their Prometheus text.
 *
 * One table for the whole process, like the log: whoever does something worth counting adds to it
 * with one call and needs no handle. Additions are lock-free and never fail; a reader sees each
 * number at some moment, not all at the same one. Labels come from fixed sets, so that no request
 * can make the text grow. Thread-safe.
 */
#ifndef BULLA_REGISTRY_METRICS_H
#define BULLA_REGISTRY_METRICS_H

#include "base/bytes.h"
#include "registry/http_server.h"

/* To add one: here, and its name and help in metrics.c. */
enum metrics_counter {
    METRICS_CONNECTIONS,
    METRICS_CONNECTIONS_SLOW, /* ended by the watchdog */
    METRICS_FRAMING_REFUSED,  /* requests of ambiguous length */
    METRICS_BODIES_REFUSED,   /* no room for another body in memory */
    METRICS_LOGIN_FAILURES,
    METRICS_PUBLICATIONS,
    METRICS_PUBLICATION_FAILURES,
    METRICS_RENEWALS,
    METRICS_RENEWAL_FAILURES,
    METRICS_CERTIFICATE_RELOADS,
    METRICS_CERTIFICATE_FAILURES,
    METRICS_GC_RUNS,
    METRICS_GC_FAILURES,
    METRICS_GC_BLOBS,
    METRICS_GC_BYTES,
    METRICS_SCRUB_RUNS,
    METRICS_SCRUB_BLOBS,
    METRICS_SCRUB_BYTES,
    METRICS_SCRUB_DAMAGED,
    METRICS_AUDIT_RECORDS,
    METRICS_N_COUNTERS
};

/* Numbers that go up and down. */
enum metrics_gauge {
    METRICS_OPEN_CONNECTIONS,
    METRICS_RUNNING_REQUESTS,
    METRICS_OPEN_UPLOADS,
    METRICS_BODY_BYTES, /* request bodies held in memory */
    METRICS_CERTIFICATE_EXPIRY_S,
    METRICS_N_GAUGES
};

void metrics_add(enum metrics_counter counter, uint64_t n);
void metrics_set(enum metrics_gauge gauge, int64_t value);
void metrics_move(enum metrics_gauge gauge, int64_t by);
int64_t metrics_gauge(enum metrics_gauge gauge);
uint64_t metrics_counted(enum metrics_counter counter);

#define METRICS_NO_ROUTE (-1)

struct metrics_request {
    int route; /* enum route_kind, or METRICS_NO_ROUTE */
    enum http_method method;
    unsigned status;
    int64_t duration_us;
    uint64_t bytes_in, bytes_out; /* of bodies */
};
void metrics_request(const struct metrics_request *r);

/* Appends everything counted here. Source: Prometheus text exposition format 0.0.4. */
int metrics_write(struct bytes *out, struct error *err) MUST_CHECK;
/* HELP and TYPE of one family. */
int metrics_write_head(struct bytes *out, const char *name, const char *type, const char *help,
                       struct error *err) MUST_CHECK;
/* A label's value: escaped. */
int metrics_write_label(struct bytes *out, const char *name, const char *value,
                        struct error *err) MUST_CHECK;

#endif

/*
 * What the registry says about itself: alive, ready, and its numbers.
 *
 * Answers to strangers: no names, no reasons, no work that grows. Readiness is tried out (a write
 * that is made durable) at most every HEALTH_KEEP_MS, whoever asks. Thread-safe.
 */
#ifndef BULLA_REGISTRY_HEALTH_H
#define BULLA_REGISTRY_HEALTH_H

#include "registry/api.h"

#define HEALTH_KEEP_MS     2000
#define HEALTH_DISK_FREE   (64u << 20) /* less than this is full: one layer would not fit */
#define HEALTH_INODES_FREE 1024u
#define HEALTH_EXPIRIES    20u /* collections named per kind of role */

struct health;

int health_new(struct registry *registry, struct health **out, struct error *err) MUST_CHECK;
void health_free(struct health *h);

/* Appends {"ready":…,"index":…,"disk":…,"signer":…}: each "ok" or a word for what is wrong. Without
 * its signing service a registry still serves: not ready means that requests would fail. */
int health_ready(struct health *h, bool *ready, struct bytes *out, struct error *err) MUST_CHECK;
/* Appends all metrics in Prometheus text form. */
int health_metrics(struct health *h, struct bytes *out, struct error *err) MUST_CHECK;
#define HEALTH_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* An application for a plain listener that only operators reach: the three endpoints, no
 * credentials. */
void health_app(struct health *h, struct http_app *out);

#endif

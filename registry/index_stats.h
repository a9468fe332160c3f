/*
 * Numbers about the whole index, each at the cost of a few rows: kept by triggers and an index, not
 * counted.
 */
#ifndef BULLA_REGISTRY_INDEX_STATS_H
#define BULLA_REGISTRY_INDEX_STATS_H

#include "registry/index.h"

struct index_stats {
    int64_t blobs, blob_bytes, repositories, tags, manifests;
};
int index_stats_read(struct index_tx *tx, struct index_stats *out, struct error *err) MUST_CHECK;

/* What trust metadata in force expires when; names are borrowed for the call. kind: "root",
 * "targets", "snapshot", "timestamp" or "delegated". */
struct index_expiry {
    const char *kind, *role, *repository;
    int64_t expires_s;
};
/* For each kind the max files that expire first, soonest first. visit's code ends it. */
int index_stats_expiries(struct index_tx *tx, size_t max,
                         int (*visit)(void *context, const struct index_expiry *e,
                                      struct error *err),
                         void *context, struct error *err) MUST_CHECK;

/* A change that changes nothing but is written and made durable: proof that writing works. For
 * index_write; arg is not used. */
int index_stats_touch(struct index_tx *tx, void *arg, struct error *err) MUST_CHECK;

#endif

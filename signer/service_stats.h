/*
 * What the signing service counts since its start, as Prometheus text.
 *
 * It has no network: the registry asks over the socket and adds this to its own metrics. No names
 * of collections: those are few and bounded in the registry's. One thread per object.
 */
#ifndef BULLA_SIGNER_SERVICE_STATS_H
#define BULLA_SIGNER_SERVICE_STATS_H

#include "base/db.h"

#define SERVICE_STATS_CODES 40

struct service_stats {
    uint64_t snapshots, timestamps;        /* signed */
    uint64_t refused[SERVICE_STATS_CODES]; /* by error code without its sign */
    uint64_t requests;
    uint64_t busy_us;     /* spent on requests */
    uint64_t slowest_us;  /* one request */
    unsigned connections; /* now */
    bool token_failing;   /* what the keys on it sign cannot be signed */
};

void service_stats_request(struct service_stats *stats, int code, int64_t spent_us);
/* Appends it, with what the database knows: collections, doubts, the soonest expiry. */
int service_stats_write(const struct service_stats *stats, struct db *db, int64_t now_s,
                        struct bytes *out, struct error *err) MUST_CHECK;

#endif

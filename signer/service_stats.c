#include "signer/service_stats.h"

#include "signer/service_memory.h"

#include <inttypes.h>

#define DAY_S 86400.0

void service_stats_request(struct service_stats *stats, int code, int64_t spent_us)
{
    uint64_t us = spent_us > 0 ? (uint64_t)spent_us : 0;
    stats->requests++;
    stats->busy_us += us;
    if (us > stats->slowest_us)
        stats->slowest_us = us;
    if (code < 0 && -code < SERVICE_STATS_CODES)
        stats->refused[-code]++;
}

static int head(struct bytes *out, const char *name, const char *type, const char *help,
                struct error *err)
{
    return bytes_append_format(out, err, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int write_counters(const struct service_stats *s, struct bytes *out, struct error *err)
{
    int rc = head(out, "bulla_signer_signatures_total", "counter",
                  "Files signed by the signing service since its start.", err);
    if (!rc)
        rc = bytes_append_format(out, err,
                                 "bulla_signer_signatures_total{role=\"snapshot\"} %" PRIu64 "\n"
                                 "bulla_signer_signatures_total{role=\"timestamp\"} %" PRIu64 "\n",
                                 s->snapshots, s->timestamps);
    if (!rc)
        rc = head(out, "bulla_signer_refused_total", "counter",
                  "Requests that the signing service refused, by reason.", err);
    for (int i = 1; i < SERVICE_STATS_CODES && !rc; i++)
        if (s->refused[i])
            rc = bytes_append_format(out, err,
                                     "bulla_signer_refused_total{reason=\"%s\"} %" PRIu64 "\n",
                                     error_name(-i), s->refused[i]);
    return rc;
}

static int write_times(const struct service_stats *s, struct bytes *out, struct error *err)
{
    int rc = head(out, "bulla_signer_requests_total", "counter",
                  "Requests that the signing service answered since its start.", err);
    if (!rc)
        rc =
            bytes_append_format(out, err, "bulla_signer_requests_total %" PRIu64 "\n", s->requests);
    if (!rc)
        rc = head(out, "bulla_signer_busy_seconds_total", "counter",
                  "Time the signing service spent on them.", err);
    if (!rc)
        rc = bytes_append_format(out, err, "bulla_signer_busy_seconds_total %.6f\n",
                                 (double)s->busy_us / 1e6);
    if (!rc)
        rc = head(out, "bulla_signer_slowest_request_seconds", "gauge",
                  "The longest of them since the start.", err);
    if (!rc)
        rc = bytes_append_format(out, err, "bulla_signer_slowest_request_seconds %.6f\n",
                                 (double)s->slowest_us / 1e6);
    if (!rc)
        rc = head(out, "bulla_signer_connections", "gauge",
                  "Connections that the signing service holds open now.", err);
    return rc ? rc : bytes_append_format(out, err, "bulla_signer_connections %u\n", s->connections);
}

static int write_gauge(struct bytes *out, const char *name, const char *help, int64_t value,
                       struct error *err)
{
    int rc = head(out, name, "gauge", help, err);
    return rc ? rc : bytes_append_format(out, err, "%s %" PRId64 "\n", name, value);
}

static int write_memory(struct db *db, struct bytes *out, struct error *err)
{
    struct service_memory_status s;
    int rc = service_memory_status(db, &s, err);
    if (!rc)
        rc = write_gauge(out, "bulla_signer_collections", "Collections with keys.", s.n_collections,
                         err);
    if (!rc)
        rc = write_gauge(out, "bulla_signer_doubted_collections",
                         "Collections that wait for an admin after a restore.", s.n_doubted, err);
    if (!rc)
        rc = write_gauge(out, "bulla_signer_doubted", "1 where an admin must run resume.",
                         s.doubted, err);
    return rc ? rc
              : write_gauge(out, "bulla_signer_audit_records", "Number of the log's last record.",
                            (int64_t)s.last.seq, err);
}

static int write_token(const struct service_stats *s, struct bytes *out, struct error *err)
{
    return write_gauge(out, "bulla_signer_token_failing",
                       "1 where the token with its keys cannot be used.", s->token_failing, err);
}

static int write_expiry(struct db *db, int64_t now_s, struct bytes *out, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    static const char *const names[] = {"snapshot", "timestamp"};
    bool row = false;
    int rc = head(out, "bulla_signer_soonest_expiry_days", "gauge",
                  "Days until the first file that the service signed expires.", err);
    if (!rc)
        rc = db_prepare(db,
                        "SELECT (SELECT min(snapshot_expires_s) FROM collection),"
                        " (SELECT min(timestamp_expires_s) FROM collection)",
                        &stmt, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    for (int i = 0; i < 2 && !rc && row; i++)
        if (!db_column_is_null(stmt, i))
            rc = bytes_append_format(out, err,
                                     "bulla_signer_soonest_expiry_days{role=\"%s\"} %.4f\n",
                                     names[i], (double)(db_column_int(stmt, i) - now_s) / DAY_S);
    return rc;
}

int service_stats_write(const struct service_stats *stats, struct db *db, int64_t now_s,
                        struct bytes *out, struct error *err)
{
    int rc = write_counters(stats, out, err);
    if (!rc)
        rc = write_times(stats, out, err);
    if (!rc)
        rc = write_memory(db, out, err);
    if (!rc)
        rc = write_token(stats, out, err);
    return rc ? rc : write_expiry(db, now_s, out, err);
}

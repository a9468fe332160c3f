#include "registry/metrics.h"

#include "registry/route.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#define N_ROUTES  33u /* the kinds there may be, and one for "none" */
#define N_METHODS (HTTP_OTHER + 1u)
#define N_CLASSES 6u /* 1xx … 5xx, and 0: no answer */

/* Upper bounds, in microseconds. */
static const int64_t bounds_us[] = {1000,   2500,   5000,    10000,   25000,    50000,   100000,
                                    250000, 500000, 1000000, 2500000, 10000000, 60000000};
#define N_BOUNDS (sizeof bounds_us / sizeof *bounds_us)

struct histogram {
    atomic_uint_fast64_t counts[N_BOUNDS + 1]; /* not yet cumulative */
    atomic_uint_fast64_t sum_us;
};

static struct {
    atomic_uint_fast64_t counters[METRICS_N_COUNTERS];
    atomic_int_fast64_t gauges[METRICS_N_GAUGES];
    atomic_uint_fast64_t requests[N_ROUTES][N_METHODS][N_CLASSES];
    struct histogram durations[N_ROUTES];
    atomic_uint_fast64_t bytes_in, bytes_out;
} table;

struct row {
    const char *name, *help;
};

static const struct row counters[METRICS_N_COUNTERS] = {
    [METRICS_CONNECTIONS] = {"bulla_connections_total", "Connections accepted."},
    [METRICS_CONNECTIONS_SLOW] = {"bulla_connections_slow_total",
                                  "Connections ended because their peer was too slow."},
    [METRICS_FRAMING_REFUSED] = {"bulla_framing_refused_total",
                                 "Requests refused because their length was ambiguous."},
    [METRICS_BODIES_REFUSED] = {"bulla_bodies_refused_total",
                                "Requests refused because too much was in memory."},
    [METRICS_LOGIN_FAILURES] = {"bulla_login_failures_total", "Credentials that were not right."},
    [METRICS_PUBLICATIONS] = {"bulla_publications_total", "Publications of trust metadata."},
    [METRICS_PUBLICATION_FAILURES] = {"bulla_publication_failures_total",
                                      "Publications refused or failed."},
    [METRICS_RENEWALS] = {"bulla_renewals_total", "Timestamps signed anew."},
    [METRICS_RENEWAL_FAILURES] = {"bulla_renewal_failures_total",
                                  "Timestamps that could not be signed anew."},
    [METRICS_CERTIFICATE_RELOADS] = {"bulla_certificate_reloads_total",
                                     "New certificates taken into use."},
    [METRICS_CERTIFICATE_FAILURES] = {"bulla_certificate_failures_total",
                                      "New certificates that were refused."},
    [METRICS_GC_RUNS] = {"bulla_gc_runs_total", "Garbage collections finished."},
    [METRICS_GC_FAILURES] = {"bulla_gc_failures_total", "Garbage collections that failed."},
    [METRICS_GC_BLOBS] = {"bulla_gc_blobs_total", "Blobs removed by garbage collection."},
    [METRICS_GC_BYTES] = {"bulla_gc_bytes_total", "Bytes removed by garbage collection."},
    [METRICS_SCRUB_RUNS] = {"bulla_scrub_runs_total", "Rounds of checking all blobs finished."},
    [METRICS_SCRUB_BLOBS] = {"bulla_scrub_blobs_total", "Blobs checked."},
    [METRICS_SCRUB_BYTES] = {"bulla_scrub_bytes_total", "Bytes checked."},
    [METRICS_SCRUB_DAMAGED] = {"bulla_scrub_damaged_total", "Damaged blobs found."},
    [METRICS_AUDIT_RECORDS] = {"bulla_audit_records_total", "Records written to the audit log."},
};

static const struct row gauges[METRICS_N_GAUGES] = {
    [METRICS_OPEN_CONNECTIONS] = {"bulla_connections_open", "Connections open now."},
    [METRICS_RUNNING_REQUESTS] = {"bulla_requests_running", "Requests being answered now."},
    [METRICS_OPEN_UPLOADS] = {"bulla_uploads_open", "Upload sessions known to this process."},
    [METRICS_BODY_BYTES] = {"bulla_body_memory_bytes", "Request bodies held in memory."},
    [METRICS_CERTIFICATE_EXPIRY_S] = {"bulla_certificate_expiry_timestamp_seconds",
                                      "When the certificate in use expires."},
};

/* Nothing orders one counter against another. */
#define RELAXED memory_order_relaxed

void metrics_add(enum metrics_counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&table.counters[counter], n, RELAXED);
}

void metrics_set(enum metrics_gauge gauge, int64_t value)
{
    atomic_store_explicit(&table.gauges[gauge], value, RELAXED);
}

void metrics_move(enum metrics_gauge gauge, int64_t by)
{
    atomic_fetch_add_explicit(&table.gauges[gauge], by, RELAXED);
}

int64_t metrics_gauge(enum metrics_gauge gauge)
{
    return atomic_load_explicit(&table.gauges[gauge], RELAXED);
}

uint64_t metrics_counted(enum metrics_counter counter)
{
    return atomic_load_explicit(&table.counters[counter], RELAXED);
}

static size_t route_index(int route)
{
    return route >= 0 && route < (int)N_ROUTES - 1 ? (size_t)route : N_ROUTES - 1;
}

void metrics_request(const struct metrics_request *r)
{
    size_t route = route_index(r->route), bound = 0;
    unsigned class = r->status / 100 < N_CLASSES ? r->status / 100 : 0;
    atomic_fetch_add_explicit(&table.requests[route][r->method][class], 1, RELAXED);
    while (bound < N_BOUNDS && r->duration_us > bounds_us[bound])
        bound++;
    atomic_fetch_add_explicit(&table.durations[route].counts[bound], 1, RELAXED);
    atomic_fetch_add_explicit(&table.durations[route].sum_us, (uint64_t)r->duration_us, RELAXED);
    atomic_fetch_add_explicit(&table.bytes_in, r->bytes_in, RELAXED);
    atomic_fetch_add_explicit(&table.bytes_out, r->bytes_out, RELAXED);
}

/* --- text --- */

int metrics_write_head(struct bytes *out, const char *name, const char *type, const char *help,
                       struct error *err)
{
    return bytes_append_format(out, err, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

int metrics_write_label(struct bytes *out, const char *name, const char *value, struct error *err)
{
    int rc = bytes_append_format(out, err, "%s=\"", name);
    for (const char *p = value; rc == 0 && *p; p++) {
        if (*p == '\n')
            rc = bytes_append_text(out, "\\n", err);
        else if (*p == '"' || *p == '\\')
            rc = bytes_append_format(out, err, "\\%c", *p);
        else
            rc = bytes_append(out, p, 1, err);
    }
    return rc == 0 ? bytes_append_text(out, "\"", err) : rc;
}

static const char *route_label(size_t route)
{
    return route == N_ROUTES - 1 ? "none" : route_kind_name((enum route_kind)route);
}

static int write_one(struct bytes *out, const struct row *row, const char *type, int64_t value,
                     struct error *err)
{
    int rc = metrics_write_head(out, row->name, type, row->help, err);
    return rc == 0 ? bytes_append_format(out, err, "%s %" PRId64 "\n", row->name, value) : rc;
}

static int write_requests_of(struct bytes *out, size_t route, struct error *err)
{
    static const char *const methods[N_METHODS] = {
        [HTTP_GET] = "GET",     [HTTP_HEAD] = "HEAD",     [HTTP_POST] = "POST",  [HTTP_PUT] = "PUT",
        [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE", [HTTP_OTHER] = "OTHER"};
    static const char *const classes[N_CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    int rc = 0;
    for (size_t m = 0; m < N_METHODS; m++)
        for (size_t c = 0; rc == 0 && c < N_CLASSES; c++) {
            uint64_t n = atomic_load_explicit(&table.requests[route][m][c], RELAXED);
            if (n > 0)
                rc = bytes_append_format(
                    out, err,
                    "bulla_requests_total{route=\"%s\",method=\"%s\",status=\"%s\"} %" PRIu64 "\n",
                    route_label(route), methods[m], classes[c], n);
        }
    return rc;
}

static int write_duration_of(struct bytes *out, size_t route, struct error *err)
{
    const struct histogram *h = &table.durations[route];
    uint64_t counts[N_BOUNDS + 1], total = 0;
    int rc = 0;
    for (size_t i = 0; i <= N_BOUNDS; i++) {
        counts[i] = atomic_load_explicit(&h->counts[i], RELAXED);
        total += counts[i];
    }
    if (total == 0)
        return 0;
    uint64_t below = 0;
    for (size_t i = 0; rc == 0 && i < N_BOUNDS; i++) {
        below += counts[i];
        rc = bytes_append_format(
            out, err, "bulla_request_duration_seconds_bucket{route=\"%s\",le=\"%g\"} %" PRIu64 "\n",
            route_label(route), (double)bounds_us[i] / 1e6, below);
    }
    if (rc != 0)
        return rc;
    return bytes_append_format(
        out, err,
        "bulla_request_duration_seconds_bucket{route=\"%s\",le=\"+Inf\"} %" PRIu64 "\n"
        "bulla_request_duration_seconds_sum{route=\"%s\"} %.6f\n"
        "bulla_request_duration_seconds_count{route=\"%s\"} %" PRIu64 "\n",
        route_label(route), total, route_label(route),
        (double)atomic_load_explicit(&h->sum_us, RELAXED) / 1e6, route_label(route), total);
}

static int write_requests(struct bytes *out, struct error *err)
{
    int rc = metrics_write_head(out, "bulla_requests_total", "counter",
                                "Requests by kind of endpoint, method and class of status.", err);
    for (size_t route = 0; rc == 0 && route < N_ROUTES; route++)
        rc = write_requests_of(out, route, err);
    if (rc == 0)
        rc = metrics_write_head(out, "bulla_request_duration_seconds", "histogram",
                                "From the headers' arrival to the end of the answer.", err);
    for (size_t route = 0; rc == 0 && route < N_ROUTES; route++)
        rc = write_duration_of(out, route, err);
    return rc;
}

int metrics_write(struct bytes *out, struct error *err)
{
    static const struct row in = {"bulla_received_bytes_total", "Bytes of request bodies."};
    static const struct row sent = {"bulla_sent_bytes_total", "Bytes of response bodies."};
    int rc = write_requests(out, err);
    if (rc == 0)
        rc = write_one(out, &in, "counter", (int64_t)atomic_load_explicit(&table.bytes_in, RELAXED),
                       err);
    if (rc == 0)
        rc = write_one(out, &sent, "counter",
                       (int64_t)atomic_load_explicit(&table.bytes_out, RELAXED), err);
    for (size_t i = 0; rc == 0 && i < METRICS_N_COUNTERS; i++)
        rc = write_one(out, &counters[i], "counter",
                       (int64_t)atomic_load_explicit(&table.counters[i], RELAXED), err);
    for (size_t i = 0; rc == 0 && i < METRICS_N_GAUGES; i++)
        rc = write_one(out, &gauges[i], "gauge", atomic_load_explicit(&table.gauges[i], RELAXED),
                       err);
    return rc;
}

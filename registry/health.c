#include "registry/health.h"

#include "base/clock.h"
#include "base/log.h"
#include "registry/index_stats.h"
#include "registry/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/statvfs.h>

#define DAY_S             86400.0
#define SIGNER_TIMEOUT_MS 1000

struct state {
    bool ready;
    const char *index, *disk, *signer;
};

struct health {
    struct registry *registry;
    pthread_mutex_t lock;
    int64_t tried_ms; /* 0: never */
    struct state last;
};

int health_new(struct registry *registry, struct health **out, struct error *err)
{
    struct health *h = calloc(1, sizeof *h);
    if (!h)
        return fail_nomem(err);
    h->registry = registry;
    pthread_mutex_init(&h->lock, NULL);
    *out = h;
    return 0;
}

void health_free(struct health *h)
{
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* --- ready --- */

static const char *try_index(struct health *h)
{
    struct error err = ERROR_INIT;
    struct index_tx *tx = NULL;
    struct index_stats stats;
    int rc = index_read_begin(h->registry->index, &tx, &err);
    if (rc == 0)
        rc = index_stats_read(tx, &stats, &err);
    index_read_end(h->registry->index, tx);
    if (rc != 0) {
        log_error("not ready: index: %s", err.message);
        return "unreadable";
    }
    rc = index_write(h->registry->index, index_stats_touch, NULL, &err);
    if (rc != 0)
        log_error("not ready: index: %s", err.message);
    return rc == 0 ? "ok" : "unwritable";
}

static const char *try_disk(struct health *h)
{
    struct statvfs st;
    const char *dir = h->registry->config->data_dir;
    if (statvfs(dir, &st) != 0) {
        log_error("not ready: '%s': %s", dir, strerror(errno));
        return "unknown";
    }
    uint64_t free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    bool inodes = st.f_files == 0 || st.f_favail >= HEALTH_INODES_FREE; /* some count none */
    if (free_bytes >= HEALTH_DISK_FREE && inodes)
        return "ok";
    log_error("not ready: '%s' is full: %" PRIu64 " MiB free", dir, free_bytes >> 20);
    return "full";
}

/* "restored": it signs nothing until its admin has spoken. "token": the one with its keys cannot be
 * used. */
static const char *try_signer(struct health *h)
{
    struct error err = ERROR_INIT;
    CLEANUP(signer_status_done) struct signer_status status = {.metrics = BYTES_INIT};
    if (signer_link_status(h->registry->signer, SIGNER_TIMEOUT_MS, &status, &err) != 0)
        return "unreachable";
    if (status.doubted)
        return "restored";
    return status.token_failing ? "token" : "ok";
}

static struct state try_all(struct health *h)
{
    struct state s = {.index = try_index(h), .disk = try_disk(h)};
    s.signer = try_signer(h);
    s.ready = strcmp(s.index, "ok") == 0 && strcmp(s.disk, "ok") == 0;
    return s;
}

/* Those who come while one tries wait for its result. */
static struct state current(struct health *h)
{
    pthread_mutex_lock(&h->lock);
    int64_t now = clock_monotonic_ms();
    if (h->tried_ms == 0 || now - h->tried_ms >= HEALTH_KEEP_MS) {
        h->last = try_all(h);
        h->tried_ms = clock_monotonic_ms();
    }
    struct state s = h->last;
    pthread_mutex_unlock(&h->lock);
    return s;
}

int health_ready(struct health *h, bool *ready, struct bytes *out, struct error *err)
{
    struct state s = current(h);
    *ready = s.ready;
    return bytes_append_format(
        out, err, "{\"ready\":%s,\"index\":\"%s\",\"disk\":\"%s\",\"signer\":\"%s\"}\n",
        s.ready ? "true" : "false", s.index, s.disk, s.signer);
}

/* --- metrics --- */

struct expiries {
    struct bytes *out;
    const char *kind; /* the one whose soonest has been written */
    struct bytes soonest;
    int64_t now_s;
};

static int write_expiry(void *context, const struct index_expiry *e, struct error *err)
{
    struct expiries *x = context;
    double days = (double)(e->expires_s - x->now_s) / DAY_S;
    int rc = 0;
    if (!x->kind || strcmp(x->kind, e->kind) != 0) {
        x->kind = e->kind;
        rc = bytes_append_format(
            &x->soonest, err, "bulla_trust_soonest_expiry_days{kind=\"%s\"} %.4f\n", e->kind, days);
    }
    if (rc == 0)
        rc = bytes_append_text(x->out, "bulla_trust_expiry_days{", err);
    if (rc == 0)
        rc = metrics_write_label(x->out, "collection", e->repository, err);
    if (rc == 0)
        rc = bytes_append_text(x->out, ",", err);
    if (rc == 0)
        rc = metrics_write_label(x->out, "role", e->role, err);
    return rc == 0 ? bytes_append_format(x->out, err, "} %.4f\n", days) : rc;
}

static int write_expiries(struct index_tx *tx, struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes list = BYTES_INIT;
    struct expiries x = {&list, NULL, BYTES_INIT, clock_now_s()};
    int rc = index_stats_expiries(tx, HEALTH_EXPIRIES, write_expiry, &x, err);
    if (rc == 0)
        rc = metrics_write_head(out, "bulla_trust_soonest_expiry_days", "gauge",
                                "Days until the first trust metadata of its kind expires.", err);
    if (rc == 0)
        rc = bytes_append(out, x.soonest.data, x.soonest.len, err);
    if (rc == 0)
        rc =
            metrics_write_head(out, "bulla_trust_expiry_days", "gauge",
                               "Days until trust metadata expires; the soonest of each kind.", err);
    if (rc == 0)
        rc = bytes_append(out, list.data, list.len, err);
    bytes_done(&x.soonest);
    return rc;
}

static int write_totals(struct index_tx *tx, struct bytes *out, struct error *err)
{
    struct index_stats s;
    int rc = index_stats_read(tx, &s, err);
    if (rc != 0)
        return rc;
    const struct {
        const char *name, *help;
        int64_t value;
    } rows[] = {{"bulla_storage_blobs", "Blobs in the index.", s.blobs},
                {"bulla_storage_bytes", "Bytes of the blobs in the index.", s.blob_bytes},
                {"bulla_repositories", "Repositories.", s.repositories},
                {"bulla_tags", "Tags of all repositories.", s.tags},
                {"bulla_manifests", "Manifests of all repositories.", s.manifests}};
    for (size_t i = 0; rc == 0 && i < sizeof rows / sizeof *rows; i++) {
        rc = metrics_write_head(out, rows[i].name, "gauge", rows[i].help, err);
        if (rc == 0)
            rc = bytes_append_format(out, err, "%s %" PRId64 "\n", rows[i].name, rows[i].value);
    }
    return rc;
}

static int write_state(struct health *h, struct bytes *out, struct error *err)
{
    struct state s = current(h);
    struct statvfs st = {0};
    uint64_t free_bytes = 0;
    if (statvfs(h->registry->config->data_dir, &st) == 0)
        free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    int rc = metrics_write_head(out, "bulla_ready", "gauge", "1 where /readyz says so.", err);
    if (rc == 0)
        rc = bytes_append_format(out, err, "bulla_ready %d\n", s.ready);
    if (rc == 0)
        rc = metrics_write_head(out, "bulla_signer_reachable", "gauge",
                                "1 where the signing service answers.", err);
    if (rc == 0)
        rc = bytes_append_format(out, err, "bulla_signer_reachable %d\n",
                                 strcmp(s.signer, "unreachable") != 0);
    if (rc == 0)
        rc = metrics_write_head(out, "bulla_storage_free_bytes", "gauge",
                                "Bytes free where the blobs are.", err);
    if (rc == 0)
        rc = bytes_append_format(out, err, "bulla_storage_free_bytes %" PRIu64 "\n", free_bytes);
    return rc;
}

/* What the signing service says of itself, where it answers: it has no port of its own. */
static int write_signer(struct health *h, struct bytes *out, struct error *err)
{
    struct error ignored = ERROR_INIT;
    CLEANUP(signer_status_done) struct signer_status status = {.metrics = BYTES_INIT};
    if (signer_link_status(h->registry->signer, SIGNER_TIMEOUT_MS, &status, &ignored) != 0)
        return 0;
    return bytes_append(out, status.metrics.data, status.metrics.len, err);
}

int health_metrics(struct health *h, struct bytes *out, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = metrics_write(out, err);
    if (rc == 0)
        rc = write_state(h, out, err);
    if (rc == 0)
        rc = write_signer(h, out, err);
    if (rc != 0)
        return rc;
    rc = index_read_begin(h->registry->index, &tx, err);
    if (rc == 0)
        rc = write_totals(tx, out, err);
    if (rc == 0)
        rc = write_expiries(tx, out, err);
    index_read_end(h->registry->index, tx);
    return rc;
}

/* --- the plain listener --- */

static int plain_begin(void *context, struct http_request *r)
{
    (void)context;
    enum http_method method = http_request_method(r);
    if ((method == HTTP_GET || method == HTTP_HEAD) && http_request_content_length(r) == 0)
        return 0;
    http_reply_status(r, method == HTTP_GET || method == HTTP_HEAD ? 400 : 405);
    return 1;
}

static int plain_data(void *context, struct http_request *r, const void *data, size_t len)
{
    (void)context, (void)r, (void)data, (void)len;
    return 0;
}

static void plain_finish(void *context, struct http_request *r)
{
    struct health *h = context;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    const char *path = http_request_path(r), *type = "application/json";
    bool good = true;
    int rc = 0;
    if (strcmp(path, "/healthz") == 0) {
        rc = bytes_append_text(&body, API_ALIVE, &err);
    } else if (strcmp(path, "/readyz") == 0) {
        rc = health_ready(h, &good, &body, &err);
    } else if (strcmp(path, "/metrics") == 0) {
        rc = health_metrics(h, &body, &err);
        type = HEALTH_METRICS_TYPE;
    } else {
        http_reply_status(r, 404);
        return;
    }
    if (rc == 0)
        rc = http_reply_header(r, "Content-Type", type, &err);
    if (rc != 0)
        log_error("metrics: %s", err.message);
    http_reply_status(r, rc != 0 ? 500 : good ? 200 : 503);
    if (rc == 0)
        http_reply_bytes(r, &body);
}

static void plain_end(void *context, struct http_request *r, bool completed)
{
    (void)context, (void)r, (void)completed;
}

void health_app(struct health *h, struct http_app *out)
{
    *out = (struct http_app){h, plain_begin, plain_data, plain_finish, plain_end};
}

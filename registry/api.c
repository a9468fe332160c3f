#include "registry/api.h"

#include "base/clock.h"
#include "base/log.h"
#include "registry/access.h"
#include "registry/api_audit.h"
#include "registry/http_text.h"
#include "registry/index_gc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define IGNORED_BODY_MAX (64u << 10) /* sent to an operation that wants none */

static const struct api_operation *const tables[] = {
    api_blob_operations,  api_upload_operations, api_manifest_operations, api_list_operations,
    api_trust_operations, api_health_operations, api_auth_operations,     api_mirror_operations};

static const struct api_operation *find_operation(enum route_kind kind, enum http_method method)
{
    if (method == HTTP_HEAD) /* the reply's length without its bytes */
        method = HTTP_GET;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct api_operation *o = tables[i]; o->finish; o++)
            if (o->kind == kind && o->method == method)
                return o;
    return NULL;
}

/* --- what operations use --- */

int api_fail(struct api_call *c, const char *code, int rc)
{
    c->code = code;
    return rc;
}

int api_read(struct api_call *c, struct index_tx **out, struct error *err)
{
    int rc = c->tx ? 0 : index_read_begin(c->registry->index, &c->tx, err);
    if (rc == 0)
        *out = c->tx;
    return rc;
}

void api_read_end(struct api_call *c)
{
    index_read_end(c->registry->index, c->tx);
    c->tx = NULL;
}

int api_reply_header(struct api_call *c, const char *name, struct error *err, const char *format,
                     ...)
{
    char value[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(value, sizeof value, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof value)
        return fail(err, E_INTERNAL, "header %s is too long", name);
    return http_reply_header(c->http, name, value, err);
}

int api_reply_json(struct api_call *c, const struct js *value, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    int rc = js_write(value, false, &body, err);
    if (rc == 0)
        rc = bytes_append_text(&body, "\n", err);
    if (rc == 0)
        rc = http_reply_header(c->http, "Content-Type", "application/json", err);
    if (rc == 0)
        http_reply_bytes(c->http, &body);
    return rc;
}

int api_reply_digest(struct api_call *c, const struct digest *d, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    return http_reply_header(c->http, "Docker-Content-Digest", digest_format(d, text), err);
}

int api_query(struct api_call *c, const char *name, char *out, size_t size, struct error *err)
{
    bool found = false;
    int rc = http_query_get(http_request_query(c->http), name, out, size, &found, err);
    return rc == E_LIMIT ? fail(err, E_INVALID, "'%s' is too long", name) : rc;
}

int api_reply_etag(struct api_call *c, const struct digest *d, bool *unchanged, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    digest_format(d, text);
    *unchanged = http_etag_listed(http_request_header(c->http, "If-None-Match"), text, true);
    int rc = api_reply_header(c, "ETag", err, "\"%s\"", text);
    if (rc == 0)
        rc = api_reply_digest(c, d, err);
    if (rc == 0 && *unchanged)
        http_reply_status(c->http, 304);
    return rc;
}

static int body_too_large(struct api_call *c, size_t max, struct error *err)
{
    api_detail(c, "maximum", js_int_new((int64_t)max));
    return fail(err, E_LIMIT, "the body may have %zu bytes at most", max);
}

static int reserve_body(struct api_call *c, uint64_t total, struct error *err)
{
    int rc = http_request_reserve(c->http, total, err);
    if (rc == E_BUSY)
        c->status = 503; /* nothing this client did */
    return rc;
}

int api_want_body(struct api_call *c, size_t max, struct error *err)
{
    c->body_max = max;
    int64_t len = http_request_content_length(c->http);
    if (len > (int64_t)max)
        return body_too_large(c, max, err);
    return len > 0 ? reserve_body(c, (uint64_t)len, err) : 0;
}

struct lease {
    const char *repository;
    const struct digest *digest;
};

static int begin_lease(struct index_tx *tx, void *arg, struct error *err)
{
    const struct lease *lease = arg;
    return index_lease_begin(tx, lease->repository, lease->digest, clock_now_s(), err);
}

int api_lease(struct api_call *c, const struct digest *d, struct error *err)
{
    struct index_tx *tx = NULL;
    struct lease lease = {c->route.repository, d};
    bool fresh = false;
    if (http_request_method(c->http) != HTTP_HEAD)
        return 0;
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = access_check(tx, &c->who, c->route.repository, ACCESS_PUSH, err);
    /* Neither who may only pull nor a token for pulling is about to push. */
    if (rc != 0)
        return rc == E_DENIED || rc == E_UNAUTHORIZED ? 0 : rc;
    /* A lease in the second half of its life is begun anew: most HEADs write nothing. */
    int64_t since_s = clock_now_s() - c->registry->config->gc.lease_s / 2;
    rc = index_lease_is_fresh(tx, c->route.repository, d, since_s, &fresh, err);
    if (rc != 0 || fresh)
        return rc;
    api_read_end(c);
    return index_write(c->registry->index, begin_lease, &lease, err);
}

/* --- errors --- */

/* A code outside the specification's list is none to its clients. Source: OCI distribution-spec
 * 1.1.1, "Error Codes". */
static const char *default_code(unsigned status)
{
    switch (status) {
    case 401:
        return "UNAUTHORIZED";
    case 403:
        return "DENIED";
    case 404:
        return "NAME_UNKNOWN";
    case 413:
    case 416:
        return "SIZE_INVALID";
    case 429:
        return "TOOMANYREQUESTS";
    default:
        return status >= 500 ? "UNAVAILABLE" : "UNSUPPORTED";
    }
}

static unsigned status_of(const struct api_call *c, int rc, const struct error *err)
{
    if (c->status)
        return c->status;
    if (rc == E_SYS && (err->sys == ENOSPC || err->sys == EDQUOT))
        return 507; /* the client can do nothing, and an operator can */
    return (unsigned)error_http_status(rc);
}

static struct js *error_entry(const char *code, const char *message, struct js *detail)
{
    struct error ignored = ERROR_INIT;
    struct js *one = js_object_new();
    int rc = js_set(one, "code", js_text_new(code), &ignored);
    if (rc == 0)
        rc = js_set(one, "message", js_text_new(message), &ignored);
    if (rc == 0 && detail)
        rc = js_set(one, "detail", TAKE_PTR(detail), &ignored);
    js_free(detail);
    if (rc != 0) {
        js_free(one);
        one = NULL;
    }
    return one;
}

void api_detail(struct api_call *c, const char *name, struct js *value)
{
    struct error ignored = ERROR_INIT;
    if (!c->detail)
        c->detail = js_object_new();
    if (!c->detail || js_set(c->detail, name, value, &ignored) != 0)
        log_debug("request %s: no room for a detail", http_request_id_text(c->http));
}

void api_problem(struct api_call *c, const char *code, struct js *detail, const char *format, ...)
{
    struct error why = ERROR_INIT;
    char message[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (!c->problems)
        c->problems = js_array_new();
    if (js_push(c->problems, error_entry(code, message, detail), &why) != 0)
        log_debug("request %s: %s", http_request_id_text(c->http), why.message);
}

/* {"errors": [{code, message, detail}, …]} */
static int error_json(struct api_call *c, const char *code, const char *message, struct bytes *out,
                      struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    struct js *list = TAKE_PTR(c->problems);
    int rc = 0;
    if (js_count(list) == 0) {
        js_free(list);
        list = js_array_new();
        rc = js_push(list, error_entry(code, message, TAKE_PTR(c->detail)), err);
    }
    if (rc == 0)
        rc = js_set(root, "errors", TAKE_PTR(list), err);
    js_free(list);
    if (rc == 0)
        rc = js_write(root, false, out, err);
    return rc == 0 ? bytes_append_text(out, "\n", err) : rc;
}

/* On every answer: clients of the older API look for it, before they have credentials, too. */
static void reply_version(struct http_request *r)
{
    struct error err = ERROR_INIT;
    if (http_reply_header(r, "Docker-Distribution-API-Version", "registry/2.0", &err) != 0)
        log_debug("request %" PRIu64 ": %s", http_request_id(r), err.message);
}

/* Where the upload stands: the client can go on from there. */
static int reply_upload_range(struct api_call *c, struct error *err)
{
    uint64_t len = blobs_upload_len(c->upload);
    int rc = api_reply_header(c, "Range", err, "0-%" PRIu64, len ? len - 1 : 0);
    return rc == 0 ? api_reply_header(c, "Location", err, "/v2/%s/blobs/uploads/%s",
                                      c->route.repository, c->route.upload)
                   : rc;
}

static void reply_error(struct api_call *c, int rc, const struct error *err)
{
    unsigned status = status_of(c, rc, err);
    struct error ignored = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    /* Messages of our own failures name files and statements: for the log only. */
    bool told = status == 507 || status == 502 || rc == E_BUSY || rc == E_STALE;
    const char *message =
        status >= 500 && !told ? "the registry could not do this; its log says why" : err->message;
    if (status >= 500)
        log_error("request %s: %s", http_request_id_text(c->http), err->message);
    if (message != err->message) { /* nor may its details leave */
        js_cleanup(&c->detail);
        js_cleanup(&c->problems);
    }
    api_detail(c, "requestId", js_text_new(http_request_id_text(c->http)));
    http_reply_clear(c->http);
    http_reply_status(c->http, status);
    reply_version(c->http);
    if (status == 401 && api_challenge(c, &ignored) != 0) {
        http_reply_status(c->http, status = 400);
        message = ignored.message;
    }
    if (status == 429 && c->retry_after_s)
        rc = api_reply_header(c, "Retry-After", &ignored, "%u", c->retry_after_s);
    if (status == 416 && c->upload)
        rc = reply_upload_range(c, &ignored);
    if (status == 416 && !c->upload && c->route.kind == ROUTE_BLOB)
        rc = api_reply_header(c, "Content-Range", &ignored, "bytes */%" PRIu64, c->blob_size);
    if (error_json(c, c->code ? c->code : default_code(status), message, &body, &ignored) == 0 &&
        http_reply_header(c->http, "Content-Type", "application/json", &ignored) == 0)
        http_reply_bytes(c->http, &body);
}

/* --- the way of one call --- */

/* Says nothing about anybody, and must answer when the index cannot. */
static bool is_public(const struct route *route)
{
    return route->kind == ROUTE_HEALTH || route->kind == ROUTE_READY;
}

static int prepare(struct api_call *c, struct error *err)
{
    int rc = route_parse(http_request_path(c->http), &c->route, &c->code, err);
    if (rc != 0) {
        api_detail(c, "path", js_text_new(http_request_path(c->http)));
        return rc;
    }
    c->code = NULL;
    c->routed = true;
    rc = is_public(&c->route) ? 0 : api_authorize(c, err);
    if (rc != 0)
        return rc;
    c->operation = find_operation(c->route.kind, http_request_method(c->http));
    if (!c->operation) {
        c->status = 405;
        return fail(err, E_UNSUPPORTED, "this endpoint has no such method");
    }
    return c->operation->begin ? c->operation->begin(c, err) : 0;
}

static bool reads(const struct api_call *c)
{
    enum http_method method = http_request_method(c->http);
    return (method == HTTP_GET || method == HTTP_HEAD) && http_request_content_length(c->http) == 0;
}

/* Before the reply leaves: its reader may be back at once, on another connection, for the same
 * upload. What has ended already is left alone. */
static void end_operation(struct api_call *c)
{
    if (c->operation && c->operation->end)
        c->operation->end(c);
}

static int app_begin(void *context, struct http_request *r)
{
    struct error err = ERROR_INIT;
    struct api_call *c = calloc(1, sizeof *c);
    http_request_set_call(r, c);
    if (!c) {
        http_reply_status(r, 503);
        return 1;
    }
    c->registry = context;
    c->http = r;
    c->subject = c->who.name;
    reply_version(r);
    int rc = prepare(c, &err);
    if (rc == 0)
        rc = api_audit_begin(c, &err);
    /* A slow body must not hold a view of the index, or its log could not shrink. */
    if (rc != 0 || !reads(c))
        api_read_end(c);
    if (rc == 0)
        return 0;
    reply_error(c, rc, &err);
    api_audit_result(c);
    end_operation(c);
    return 1;
}

static int take_body(struct api_call *c, const void *data, size_t len, struct error *err)
{
    size_t max = c->body_max ? c->body_max : IGNORED_BODY_MAX;
    if (c->body.len > max || len > max - c->body.len)
        return body_too_large(c, max, err);
    int rc = reserve_body(c, c->body.len + len, err);
    return rc == 0 ? bytes_append(&c->body, data, len, err) : rc;
}

static int app_data(void *context, struct http_request *r, const void *data, size_t len)
{
    (void)context;
    struct error err = ERROR_INIT;
    struct api_call *c = http_request_call(r);
    int rc =
        c->operation->data ? c->operation->data(c, data, len, &err) : take_body(c, data, len, &err);
    if (rc == 0)
        return 0;
    reply_error(c, rc, &err);
    end_operation(c);
    return 1;
}

static void app_finish(void *context, struct http_request *r)
{
    (void)context;
    struct error err = ERROR_INIT;
    struct api_call *c = http_request_call(r);
    int rc = api_audit_ready(c, &err);
    if (rc == 0)
        rc = c->operation->finish(c, &err);
    api_read_end(c);
    if (rc != 0)
        reply_error(c, rc, &err);
    api_audit_result(c);
    end_operation(c);
}

static void app_end(void *context, struct http_request *r, bool completed)
{
    (void)context;
    struct api_call *c = http_request_call(r);
    if (!c)
        return;
    api_read_end(c);
    end_operation(c);
    api_audit_end(c, completed);
    api_record(c, completed);
    bytes_done(&c->body);
    access_identity_done(&c->who);
    js_free(c->detail);
    js_free(c->problems);
    free(c);
}

void api_app(struct registry *registry, struct http_app *out)
{
    *out = (struct http_app){registry, app_begin, app_data, app_finish, app_end};
}

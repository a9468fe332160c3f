#include "registry/api_audit.h"

#include "registry/audit.h"

#include <string.h>

#define METHODS 7 /* of enum http_method */

static const char *const verb[METHODS] = {
    [HTTP_GET] = "get",     [HTTP_HEAD] = "head",     [HTTP_POST] = "post",    [HTTP_PUT] = "put",
    [HTTP_PATCH] = "patch", [HTTP_DELETE] = "delete", [HTTP_OTHER] = "unknown"};

/* Bytes of an upload change nothing that anybody could see; its commit does. */
static bool is_change(const struct api_call *c)
{
    enum http_method method = http_request_method(c->http);
    const char *query = http_request_query(c->http);
    if (method == HTTP_GET || method == HTTP_HEAD)
        return false;
    if (c->route.kind == ROUTE_TOKEN)
        return false;
    if (c->route.kind == ROUTE_UPLOAD)
        return method == HTTP_PUT;
    if (c->route.kind == ROUTE_UPLOADS)
        return query && (strstr(query, "digest=") || strstr(query, "mount="));
    return true;
}

struct texts {
    char event[48], object[DIGEST_TEXT_MAX], detail[DIGEST_TEXT_MAX];
};

static const char *object_of(const struct api_call *c, struct texts *t)
{
    const struct route *r = &c->route;
    if (r->tag[0])
        return r->tag;
    if (r->target[0])
        return r->target;
    if (r->digest.alg != DIGEST_NONE)
        return digest_format(&r->digest, t->object);
    if (c->digest.alg != DIGEST_NONE)
        return digest_format(&c->digest, t->object);
    if (r->upload[0])
        return r->upload;
    return r->role[0] ? r->role : NULL;
}

/* Requests that no route took have their path as object. */
static void describe(const struct api_call *c, struct texts *t, struct audit_event *e)
{
    unsigned method = (unsigned)http_request_method(c->http);
    snprintf(t->event, sizeof t->event, "%s.%s",
             c->routed ? route_kind_name(c->route.kind) : "none",
             method < METHODS ? verb[method] : verb[HTTP_OTHER]);
    *e = (struct audit_event){.event = t->event,
                              .who = c->subject[0] ? c->subject : NULL,
                              .from = http_request_address(c->http),
                              .request = http_request_id_text(c->http),
                              .repository = c->route.repository[0] ? c->route.repository : NULL,
                              .object = c->routed ? object_of(c, t) : http_request_path(c->http)};
}

/* What a tag was moved to. */
static void describe_result(const struct api_call *c, struct texts *t, struct audit_event *e)
{
    e->status = http_reply_get_status(c->http);
    if (c->route.tag[0] && c->digest.alg != DIGEST_NONE)
        e->detail = digest_format(&c->digest, t->detail);
}

static const char *result_of(unsigned status)
{
    if (status < 400)
        return "done";
    return status < 500 ? "refused" : "failed";
}

int api_audit_begin(struct api_call *c, struct error *err)
{
    struct texts t;
    struct audit_event e;
    if (!is_change(c))
        return 0;
    describe(c, &t, &e);
    e.result = "begun";
    int rc = audit_change(c->registry->audit, &e, &c->audit_seq, err);
    if (rc != 0)
        c->status = 503;
    return rc;
}

int api_audit_ready(struct api_call *c, struct error *err)
{
    if (c->audit_seq == 0)
        return 0;
    int rc = audit_sync(c->registry->audit, c->audit_seq, err);
    if (rc != 0)
        c->status = 503;
    return rc;
}

/* Somebody tried a password or a token and it was wrong. */
static bool is_failed_login(const struct api_call *c, unsigned status)
{
    return status == 401 && http_request_header(c->http, "Authorization");
}

void api_audit_result(struct api_call *c)
{
    struct texts t;
    struct audit_event e;
    unsigned status = http_reply_get_status(c->http);
    bool failed_login = is_failed_login(c, status);
    if (c->audited || (c->audit_seq == 0 && !failed_login))
        return;
    describe(c, &t, &e);
    if (failed_login) {
        snprintf(t.object, sizeof t.object, "%.60s", t.event);
        e.event = "login";
        e.object = t.object;
    }
    describe_result(c, &t, &e);
    e.result = result_of(status);
    c->audited = true;
    if (failed_login)
        audit_failed_login(c->registry->audit, &e);
    else
        audit_note(c->registry->audit, &e);
}

/* Probes come every few seconds and decide nothing. */
static bool is_probe(const struct api_call *c)
{
    return c->routed && http_reply_get_status(c->http) < 400 &&
           (c->route.kind == ROUTE_HEALTH || c->route.kind == ROUTE_READY ||
            c->route.kind == ROUTE_METRICS);
}

void api_audit_end(struct api_call *c, bool completed)
{
    struct texts t;
    struct audit_event e;
    if (c->audited || is_probe(c))
        return;
    describe(c, &t, &e);
    describe_result(c, &t, &e);
    e.result = completed ? result_of(e.status) : "broken-off";
    if (c->audit_seq)
        audit_note(c->registry->audit, &e);
    else
        audit_access(c->registry->audit, &e);
}

/* /healthz, /readyz, /metrics on the registry's own port. */
#include "registry/health.h"

static int reply(struct api_call *c, unsigned status, const char *type, struct bytes *body,
                 struct error *err)
{
    int rc = http_reply_header(c->http, "Content-Type", type, err);
    if (rc == 0)
        rc = http_reply_header(c->http, "Cache-Control", "no-store", err);
    if (rc != 0)
        return rc;
    http_reply_status(c->http, status);
    http_reply_bytes(c->http, body);
    return 0;
}

static int get_health(struct api_call *c, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    int rc = bytes_append_text(&body, API_ALIVE, err);
    return rc == 0 ? reply(c, 200, "application/json", &body, err) : rc;
}

static int get_ready(struct api_call *c, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    bool ready = false;
    int rc = health_ready(c->registry->health, &ready, &body, err);
    return rc == 0 ? reply(c, ready ? 200 : 503, "application/json", &body, err) : rc;
}

static int get_metrics(struct api_call *c, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    api_read_end(c);
    int rc = health_metrics(c->registry->health, &body, err);
    return rc == 0 ? reply(c, 200, HEALTH_METRICS_TYPE, &body, err) : rc;
}

const struct api_operation api_health_operations[] = {
    {ROUTE_HEALTH, HTTP_GET, NULL, NULL, get_health, NULL},
    {ROUTE_READY, HTTP_GET, NULL, NULL, get_ready, NULL},
    {ROUTE_METRICS, HTTP_GET, NULL, NULL, get_metrics, NULL},
    {.finish = NULL}};

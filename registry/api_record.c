/* What is left of a call: a log line, and numbers. */
#include "base/log.h"
#include "registry/api.h"
#include "registry/metrics.h"

#include <inttypes.h>

static void count(struct api_call *c, bool completed)
{
    const struct metrics_request r = {.route = c->routed ? (int)c->route.kind : METRICS_NO_ROUTE,
                                      .method = http_request_method(c->http),
                                      .status = completed ? http_reply_get_status(c->http) : 0,
                                      .duration_us = http_request_duration_us(c->http),
                                      .bytes_in = http_request_received(c->http),
                                      .bytes_out = http_request_sent(c->http)};
    metrics_request(&r);
    if (r.status == 401 && http_request_header(c->http, "Authorization"))
        metrics_add(METRICS_LOGIN_FAILURES, 1);
}

/* The path only: a query may carry what is secret. */
void api_record(struct api_call *c, bool completed)
{
    struct http_request *r = c->http;
    const char *subject = c->subject[0] ? c->subject : "-";
    const char *result = completed ? "" : " broken off";
    int64_t duration_us = http_request_duration_us(r);
    const struct log_field fields[] = {
        {"request", http_request_id_text(r), 0},
        {"address", http_request_address(r), 0},
        {"subject", subject, 0},
        {"method", http_request_method_name(r), 0},
        {"path", http_request_path(r), 0},
        {"route", c->routed ? route_kind_name(c->route.kind) : "none", 0},
        {"status", NULL, http_reply_get_status(r)},
        {"bytesIn", NULL, (int64_t)http_request_received(r)},
        {"bytesOut", NULL, (int64_t)http_request_sent(r)},
        {"durationUs", NULL, duration_us},
        {"completed", NULL, completed},
    };
    count(c, completed);
    log_event(LOG_LEVEL_INFO, fields, sizeof fields / sizeof *fields,
              "request %s %s %s %s %s %u %" PRIu64 " bytes %" PRId64 " ms%s",
              http_request_id_text(r), http_request_address(r), subject,
              http_request_method_name(r), http_request_path(r), http_reply_get_status(r),
              http_reply_get_length(r), duration_us / 1000, result);
}

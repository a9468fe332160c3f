/* Replies of the HTTPS server. */
#include "registry/http_internal.h"
#include "registry/metrics.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <string.h>

#define LARGE_REPLY   (64u << 10) /* replies from here on are counted */
#define RETRY_AFTER_S "2"

void http_reply_status(struct http_request *r, unsigned status)
{
    r->reply.status = status;
}

int http_reply_header(struct http_request *r, const char *name, const char *value,
                      struct error *err)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return fail(err, E_INVALID, "control character in header %s", name);
    int rc = bytes_append(&r->reply.headers, name, strlen(name) + 1, err);
    return rc == 0 ? bytes_append(&r->reply.headers, value, strlen(value) + 1, err) : rc;
}

static void end_stream(struct http_stream *stream)
{
    if (stream->read)
        stream->end(stream->context);
    stream->read = NULL;
}

static void drop_body(struct reply *reply)
{
    end_stream(&reply->stream);
    bytes_done(&reply->body);
}

void http_reply_bytes(struct http_request *r, struct bytes *body)
{
    drop_body(&r->reply);
    r->reply.len = body->len;
    r->reply.body = bytes_take(body);
}

void http_reply_stream(struct http_request *r, const struct http_stream *stream, uint64_t offset,
                       uint64_t len)
{
    drop_body(&r->reply);
    r->reply.stream = *stream;
    r->reply.offset = offset;
    r->reply.len = len;
}

void http_reply_clear(struct http_request *r)
{
    drop_body(&r->reply);
    bytes_done(&r->reply.headers);
    r->reply.status = 0;
    r->reply.len = 0;
}

unsigned http_reply_get_status(const struct http_request *r)
{
    return r->reply.status;
}

uint64_t http_reply_get_length(const struct http_request *r)
{
    return r->reply.len;
}

struct stream_body {
    struct http_request *request; /* lives until the body has been sent or given up */
    struct http_stream stream;
    uint64_t offset, len;
};

/* From the library's own 4 KiB reads a file goes out at half the speed. */
static ssize_t read_stream_body(void *context, uint64_t position, char *out, size_t max)
{
    struct stream_body *body = context;
    struct error err = ERROR_INIT;
    size_t n = 0;
    if (position >= body->len)
        return MHD_CONTENT_READER_END_OF_STREAM;
    uint64_t rest = body->len - position;
    size_t want = rest < max ? (size_t)rest : max;
    int rc = body->stream.read(body->stream.context, body->offset + position, out, want, &n, &err);
    if (rc != 0)
        log_error("request %s: %s", body->request->id_text, err.message);
    if (rc == 0)
        body->request->sent += n;
    /* A body that became shorter breaks the connection: never padding, never a short success. */
    return rc == 0 && n > 0 ? (ssize_t)n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_stream_body(void *context)
{
    struct stream_body *body = context;
    end_stream(&body->stream);
    free(body);
}

static struct MHD_Response *stream_response(struct http_request *r)
{
    struct reply *reply = &r->reply;
    struct stream_body *body = malloc(sizeof *body);
    if (!body)
        return NULL;
    *body = (struct stream_body){r, reply->stream, reply->offset, reply->len};
    reply->stream.read = NULL;
    size_t block = body->len < HTTP_BLOCK ? (size_t)body->len : HTTP_BLOCK;
    struct MHD_Response *response = MHD_create_response_from_callback(
        body->len, block, read_stream_body, body, free_stream_body);
    if (!response)
        free_stream_body(body);
    return response;
}

static struct MHD_Response *memory_response(struct reply *reply)
{
    size_t len = reply->body.len;
    struct bytes body = bytes_take(&reply->body);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, body.data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        bytes_done(&body);
    return response;
}

static bool add_headers(struct MHD_Response *response, const struct bytes *headers)
{
    const char *at = bytes_text(headers), *end = at + headers->len;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (MHD_add_response_header(response, at, value) != MHD_YES)
            return false;
        at = value + strlen(value) + 1;
    }
    return true;
}

/* Slow readers of large replies must not fill the memory. */
static void reserve_reply(struct http_request *r)
{
    struct bytes none = BYTES_INIT;
    if (r->reply.stream.read || r->reply.body.len < LARGE_REPLY)
        return;
    if (http_budget_take(r->server, &r->server->bytes_out, r->reply.body.len)) {
        r->reserved_out = r->reply.body.len;
        return;
    }
    metrics_add(METRICS_BODIES_REFUSED, 1);
    http_reply_clear(r);
    http_reply_status(r, 503);
    http_reply_bytes(r, &none);
}

static bool add_own_headers(struct http_request *r, struct MHD_Response *response, bool close_after)
{
    bool later = r->reply.status == 503 || r->reply.status == 429;
    if (later && !MHD_get_response_header(response, "Retry-After") &&
        MHD_add_response_header(response, "Retry-After", RETRY_AFTER_S) != MHD_YES)
        return false;
    if (MHD_add_response_header(response, "X-Request-Id", http_request_id_text(r)) != MHD_YES)
        return false;
    return !close_after || MHD_add_response_header(response, "Connection", "close") == MHD_YES;
}

enum MHD_Result http_reply_send(struct http_request *r, bool close_after)
{
    struct reply *reply = &r->reply;
    reserve_reply(r);
    http_watch_sending(r->watch, http_reply_get_length(r));
    bool stream = reply->stream.read && reply->len > 0;
    uint64_t len = reply->len;
    struct MHD_Response *response = stream ? stream_response(r) : memory_response(reply);
    if (!response)
        return MHD_NO;
    close_after |= atomic_load(&r->server->closing);
    enum MHD_Result result = MHD_NO;
    if (add_headers(response, &reply->headers) && add_own_headers(r, response, close_after))
        result = MHD_queue_response(r->connection, reply->status ? reply->status : 500, response);
    if (result == MHD_YES && !stream && r->method != HTTP_HEAD)
        r->sent = len;
    MHD_destroy_response(response);
    return result;
}

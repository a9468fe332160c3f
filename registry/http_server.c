#include "registry/http_server.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "registry/http_text.h"
#include "registry/http_watch.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define CONNECTION_MEMORY (64u << 10) /* headers, and the largest piece of a body per call */
#define THREAD_STACK      (512u << 10)
#define FORM_BUFFER       4096u

struct http_server {
    struct http_app app;
    struct MHD_Daemon *daemon;
    struct http_watch *watch;
    atomic_uint_fast64_t next_id;
};

struct form {
    struct MHD_PostProcessor *processor;
    struct http_part *parts;
    size_t n, max_parts, bytes, max_bytes;
    int rc;
    struct error err;
};

struct reply {
    unsigned status;
    struct bytes headers; /* name NUL value NUL … */
    struct bytes body;
    int fd; /* -1: body */
    uint64_t offset;
    uint64_t len; /* of either */
};

struct http_request {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_watch_entry *watch;
    uint64_t id;
    enum http_method method;
    const char *method_name; /* static */
    char *path, *query;      /* one allocation: path */
    char address[INET6_ADDRSTRLEN];
    bool seen;    /* the first call has happened */
    bool begun;   /* app.begin has been called, so app.end must be */
    bool refused; /* a reply is set; the rest of the body is of no interest */
    uint64_t received;
    struct form *form;
    struct reply reply;
    void *call;
};

/* --- reading the request --- */

enum http_method http_request_method(const struct http_request *r)
{
    return r->method;
}

const char *http_request_method_name(const struct http_request *r)
{
    return r->method_name;
}

const char *http_request_path(const struct http_request *r)
{
    return r->path;
}

const char *http_request_query(const struct http_request *r)
{
    return r->query;
}

const char *http_request_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

int64_t http_request_content_length(const struct http_request *r)
{
    if (http_request_header(r, "Transfer-Encoding"))
        return -1;
    const char *text = http_request_header(r, "Content-Length");
    uint64_t len = 0;
    if (!text || text_to_u64(text, strlen(text), INT64_MAX, &len, NULL) != 0)
        return 0; /* libmicrohttpd has refused what is no number */
    return (int64_t)len;
}

const char *http_request_address(const struct http_request *r)
{
    return r->address;
}

uint64_t http_request_id(const struct http_request *r)
{
    return r->id;
}

void http_request_set_call(struct http_request *r, void *call)
{
    r->call = call;
}

void *http_request_call(const struct http_request *r)
{
    return r->call;
}

/* --- multipart forms --- */

static struct http_part *form_part(struct form *f, const char *key, const char *file_name)
{
    if (f->n == f->max_parts) {
        f->rc = fail(&f->err, E_LIMIT, "more than %zu parts in one form", f->max_parts);
        return NULL;
    }
    struct http_part *part = &f->parts[f->n++];
    snprintf(part->name, sizeof part->name, "%s", key ? key : "");
    snprintf(part->file_name, sizeof part->file_name, "%s", file_name ? file_name : "");
    return part;
}

static enum MHD_Result on_form_data(void *context, enum MHD_ValueKind kind, const char *key,
                                    const char *file_name, const char *content_type,
                                    const char *encoding, const char *data, uint64_t offset,
                                    size_t size)
{
    (void)kind, (void)content_type, (void)encoding;
    struct form *f = context;
    struct http_part *part =
        offset == 0 || f->n == 0 ? form_part(f, key, file_name) : &f->parts[f->n - 1];
    if (!part)
        return MHD_NO;
    f->rc = bytes_append(&part->data, data, size, &f->err);
    return f->rc == 0 ? MHD_YES : MHD_NO;
}

int http_request_want_form(struct http_request *r, size_t max_bytes, size_t max_parts,
                           struct error *err)
{
    const char *type = http_request_header(r, "Content-Type");
    int rc = http_multipart_check(type ? type : "", err);
    if (rc != 0)
        return rc;
    struct form *f = calloc(1, sizeof *f);
    if (!f)
        return fail_nomem(err);
    r->form = f;
    f->max_bytes = max_bytes;
    f->max_parts = max_parts;
    f->parts = calloc(max_parts, sizeof *f->parts);
    f->processor = MHD_create_post_processor(r->connection, FORM_BUFFER, on_form_data, f);
    if (!f->parts || !f->processor)
        return fail(err, E_INVALID, "multipart form cannot be read");
    return 0;
}

static void form_feed(struct form *f, const char *data, size_t len)
{
    if (f->rc != 0)
        return;
    f->bytes += len;
    if (f->bytes > f->max_bytes)
        f->rc = fail(&f->err, E_LIMIT, "form is larger than %zu bytes", f->max_bytes);
    else if (MHD_post_process(f->processor, data, len) != MHD_YES && f->rc == 0)
        f->rc = fail(&f->err, E_INVALID, "malformed multipart form");
}

static void form_free(struct form *f)
{
    if (!f)
        return;
    if (f->processor)
        MHD_destroy_post_processor(f->processor);
    for (size_t i = 0; f->parts && i < f->n; i++)
        bytes_done(&f->parts[i].data);
    free(f->parts);
    free(f);
}

/* The processor notices a missing end only when it is destroyed. */
static void form_finish(struct form *f)
{
    if (MHD_destroy_post_processor(f->processor) != MHD_YES && f->rc == 0)
        f->rc = fail(&f->err, E_INVALID, "multipart form ends too early");
    f->processor = NULL;
}

int http_request_parts(const struct http_request *r, const struct http_part **parts, size_t *n,
                       struct error *err)
{
    const struct form *f = r->form;
    if (!f)
        return fail(err, E_INTERNAL, "no form was asked for");
    if (f->rc != 0) {
        if (err)
            *err = f->err;
        return f->rc;
    }
    *parts = f->parts;
    *n = f->n;
    return 0;
}

/* --- the reply --- */

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

static void drop_body(struct reply *reply)
{
    cleanup_fd(&reply->fd);
    bytes_done(&reply->body);
}

void http_reply_bytes(struct http_request *r, struct bytes *body)
{
    drop_body(&r->reply);
    r->reply.len = body->len;
    r->reply.body = bytes_take(body);
}

void http_reply_file(struct http_request *r, int *fd, uint64_t offset, uint64_t len)
{
    drop_body(&r->reply);
    r->reply.fd = TAKE_FD(*fd);
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

struct file_body {
    int fd;
    uint64_t offset, len;
};

/* From the library's own 4 KiB reads a file goes out at half the speed. */
static ssize_t read_file_body(void *context, uint64_t position, char *out, size_t max)
{
    const struct file_body *body = context;
    if (position >= body->len)
        return MHD_CONTENT_READER_END_OF_STREAM;
    uint64_t rest = body->len - position;
    size_t want = rest < max ? (size_t)rest : max;
    ssize_t n;
    do
        n = pread(body->fd, out, want, (off_t)(body->offset + position));
    while (n < 0 && errno == EINTR);
    /* A file that became shorter breaks the connection: never padding, never a short success. */
    return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_file_body(void *context)
{
    struct file_body *body = context;
    cleanup_fd(&body->fd);
    free(body);
}

static struct MHD_Response *file_response(struct reply *reply)
{
    struct file_body *body = malloc(sizeof *body);
    if (!body)
        return NULL;
    *body = (struct file_body){TAKE_FD(reply->fd), reply->offset, reply->len};
    struct MHD_Response *response = MHD_create_response_from_callback(
        body->len, HTTP_BLOCK, read_file_body, body, free_file_body);
    if (!response)
        free_file_body(body);
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

static enum MHD_Result send_reply(struct http_request *r, bool close_after)
{
    struct reply *reply = &r->reply;
    http_watch_sending(r->watch, http_reply_get_length(r));
    struct MHD_Response *response =
        reply->fd >= 0 && reply->len > 0 ? file_response(reply) : memory_response(reply);
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_NO;
    if (add_headers(response, &reply->headers) &&
        (!close_after || MHD_add_response_header(response, "Connection", "close") == MHD_YES))
        result = MHD_queue_response(r->connection, reply->status ? reply->status : 500, response);
    MHD_destroy_response(response);
    return result;
}

/* --- one request's way through the library's callbacks --- */

static const struct {
    const char *name;
    enum http_method method;
} methods[] = {{"GET", HTTP_GET}, {"HEAD", HTTP_HEAD},   {"POST", HTTP_POST},
               {"PUT", HTTP_PUT}, {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}};

static void set_method(struct http_request *r, const char *name)
{
    r->method = HTTP_OTHER;
    r->method_name = "OTHER";
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, name) == 0) {
            r->method = methods[i].method;
            r->method_name = methods[i].name;
        }
}

static void set_address(struct http_request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    snprintf(r->address, sizeof r->address, "?");
    if (address && address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        inet_ntop(AF_INET, &v4.sin_addr, r->address, sizeof r->address);
    } else if (address && address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        inet_ntop(AF_INET6, &v6.sin6_addr, r->address, sizeof r->address);
    }
}

/* Called with the request line: the only place where the target is still as it was sent. */
static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct http_server *server = context;
    struct http_request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->server = server;
    r->connection = connection;
    r->reply.fd = -1;
    r->method_name = "?";
    r->id = atomic_fetch_add(&server->next_id, 1);
    r->path = strdup(uri);
    if (!r->path) {
        free(r);
        return NULL;
    }
    char *question = strchr(r->path, '?');
    if (question) {
        *question = '\0';
        r->query = question + 1;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    r->watch = info ? info->socket_context : NULL;
    return r;
}

struct framing {
    unsigned n_lengths, n_encodings;
    bool chunked, bad_name;
};

/* "Content-Length :" is a length to some readers and an unknown header to the library. */
static bool is_token(const char *name)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *name && !name[strspn(name, token)];
}

static enum MHD_Result count_framing(void *context, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    (void)kind;
    struct framing *f = context;
    f->bad_name |= !is_token(name);
    if (strcasecmp(name, "Content-Length") == 0)
        f->n_lengths++;
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        f->n_encodings++;
        f->chunked = value && strcasecmp(value, "chunked") == 0;
    }
    return MHD_YES;
}

/*
 * Two Content-Lengths, or one beside Transfer-Encoding, or one that is none to us: the library
 * picks one, and what another proxy took for the rest of the body would be served as a second
 * request.
 */
static bool framing_ambiguous(const struct http_request *r)
{
    struct framing f = {0, 0, false, false};
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, count_framing, &f);
    if (f.bad_name || f.n_lengths + f.n_encodings > 1)
        return true;
    return f.n_encodings == 1 && !f.chunked;
}

static enum MHD_Result refuse_framing(struct http_request *r)
{
    http_reply_clear(r);
    http_reply_status(r, 400);
    r->refused = true;
    log_info("request %llu from %s refused: ambiguous length", (unsigned long long)r->id,
             r->address);
    return send_reply(r, true);
}

/* A refused body that is worth reading for a connection that goes on. */
static bool worth_draining(const struct http_request *r)
{
    int64_t len = http_request_content_length(r);
    return len == 0 || (len <= (int64_t)HTTP_DRAIN_MAX && !http_request_header(r, "Expect"));
}

static enum MHD_Result first_call(struct http_request *r, const char *method)
{
    const struct http_app *app = &r->server->app;
    r->seen = true;
    set_method(r, method);
    set_address(r);
    http_watch_working(r->watch);
    if (framing_ambiguous(r))
        return refuse_framing(r);
    r->begun = true;
    r->refused = app->begin(app->context, r) != 0;
    if (r->refused && !worth_draining(r))
        return send_reply(r, true);
    http_watch_receiving(r->watch);
    return MHD_YES;
}

static enum MHD_Result body_piece(struct http_request *r, const char *data, size_t len)
{
    const struct http_app *app = &r->server->app;
    http_watch_received(r->watch, len);
    r->received += len;
    if (r->form)
        form_feed(r->form, data, len);
    else if (!r->refused)
        r->refused = app->data(app->context, r, data, len) != 0;
    /* The connection breaks: the only way to stop a peer that sends on and on. */
    if (r->refused && r->received > HTTP_DRAIN_MAX)
        return MHD_NO;
    if (r->form && r->received > r->form->max_bytes + HTTP_DRAIN_MAX)
        return MHD_NO;
    return MHD_YES;
}

static enum MHD_Result last_call(struct http_request *r)
{
    const struct http_app *app = &r->server->app;
    http_watch_working(r->watch);
    if (r->form)
        form_finish(r->form);
    if (!r->refused)
        app->finish(app->context, r);
    return send_reply(r, false);
}

static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *len, void **slot)
{
    (void)context, (void)connection, (void)url, (void)version;
    struct http_request *r = *slot;
    if (!r)
        return MHD_NO;
    if (!r->seen)
        return first_call(r, method);
    if (*len == 0)
        return last_call(r);
    enum MHD_Result result = body_piece(r, data, *len);
    *len = 0;
    return result;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode code)
{
    (void)context, (void)connection;
    struct http_request *r = *slot;
    if (!r)
        return;
    const struct http_app *app = &r->server->app;
    if (r->begun)
        app->end(app->context, r, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    http_watch_idle(r->watch);
    form_free(r->form);
    http_reply_clear(r);
    free(r->path);
    free(r);
    *slot = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        http_watch_remove(server->watch, *slot);
        *slot = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return;
    /* Without a session ticket to answer, a client that delays its ACKs would wait 40 ms. */
    int on = 1;
    if (setsockopt(info->connect_fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on) != 0)
        log_debug("TCP_QUICKACK is not to be had");
    *slot = http_watch_add(server->watch, info->connect_fd);
}

/* Escapes stay: the library would cut at %00 and make %2F a slash. */
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text);
}

static void on_library_log(void *context, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void on_library_log(void *context, const char *format, va_list args)
{
    (void)context;
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("http: %s", text);
}

/* --- life of the server --- */

static struct MHD_Daemon *start_daemon(struct http_server *s, const struct http_options *o)
{
    struct MHD_OptionItem items[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_library_log, NULL},
        {MHD_OPTION_LISTEN_SOCKET, o->listen_fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)o->connections, NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)o->connections_per_address, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, s},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, s},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_uri, s},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL},
        {MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_TLS | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    /* AES-128 first: it is the fastest that both versions have. */
    static const char priorities[] =
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:"
        "+CHACHA20-POLY1305:%SERVER_PRECEDENCE";
    return MHD_start_daemon(flags, 0, NULL, NULL, on_access, s, MHD_OPTION_ARRAY, items,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                            MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK,
                            MHD_OPTION_HTTPS_MEM_CERT, o->certificate, MHD_OPTION_HTTPS_MEM_KEY,
                            o->key, MHD_OPTION_HTTPS_PRIORITIES, priorities, MHD_OPTION_END);
}

int http_server_start(const struct http_options *options, const struct http_app *app,
                      struct http_server **out, struct error *err)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return fail_nomem(err);
    s->app = *app;
    atomic_init(&s->next_id, 1);
    struct http_watch_limits limits = {options->idle_timeout_s * 1000, options->rate_bytes_s};
    int rc = http_watch_new(&limits, &s->watch, err);
    if (rc != 0) {
        free(s);
        return rc;
    }
    s->daemon = start_daemon(s, options);
    if (!s->daemon) {
        http_watch_free(s->watch);
        free(s);
        return fail(err, E_TLS, "https server cannot start: do certificate and key fit together?");
    }
    *out = s;
    return 0;
}

void http_server_stop(struct http_server *server, int grace_ms)
{
    if (!server)
        return;
    MHD_quiesce_daemon(server->daemon);
    int64_t until = clock_monotonic_ms() + grace_ms;
    while (http_watch_n_active(server->watch) > 0 && clock_monotonic_ms() < until) {
        struct timespec pause = {0, 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
    }
    MHD_stop_daemon(server->daemon);
    http_watch_free(server->watch);
    free(server);
}

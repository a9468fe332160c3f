#include "registry/http_server.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "registry/http_client_certificate.h"
#include "registry/http_form.h"
#include "registry/http_internal.h"
#include "registry/http_text.h"
#include "registry/http_watch.h"
#include "registry/metrics.h"

#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define CONNECTION_MEMORY (64u << 10) /* headers, and the largest piece of a body per call */
#define BATCH_BYTES       (64u << 10)
#define BATCH_FROM        (1u << 20)
#define TARGET_MAX        CONNECTION_MEMORY
#define THREAD_STACK      (512u << 10)

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

int http_request_client_certificate(const struct http_request *r, struct digest *out,
                                    struct error *err)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (!r->server->asks_certificates || !info)
        return fail(err, E_NOTFOUND, "no client certificate was asked for");
    return http_client_certificate_check(info->tls_session, out, err);
}

const char *http_request_address(const struct http_request *r)
{
    return r->address;
}

uint64_t http_request_id(const struct http_request *r)
{
    return r->id;
}

const char *http_request_id_text(struct http_request *r)
{
    snprintf(r->id_text, sizeof r->id_text, "%016" PRIx64, r->id);
    return r->id_text;
}

int64_t http_request_duration_us(const struct http_request *r)
{
    return clock_monotonic_us() - r->start_us;
}

uint64_t http_request_received(const struct http_request *r)
{
    return r->received;
}

uint64_t http_request_sent(const struct http_request *r)
{
    return r->sent;
}

void http_request_set_call(struct http_request *r, void *call)
{
    r->call = call;
}

void *http_request_call(const struct http_request *r)
{
    return r->call;
}

/* --- bodies in memory --- */

bool http_budget_take(struct http_server *s, atomic_uint_fast64_t *used, uint64_t n)
{
    uint64_t before = atomic_load(used);
    do
        if (n > s->body_bytes || before > s->body_bytes - n)
            return false;
    while (!atomic_compare_exchange_weak(used, &before, before + n));
    return true;
}

int http_request_reserve(struct http_request *r, uint64_t total, struct error *err)
{
    if (total <= r->reserved)
        return 0;
    uint64_t more = total - r->reserved;
    if (!http_budget_take(r->server, &r->server->bytes_in, more)) {
        metrics_add(METRICS_BODIES_REFUSED, 1);
        return fail(err, E_BUSY, "too many large bodies are being received: try again later");
    }
    metrics_move(METRICS_BODY_BYTES, (int64_t)more);
    r->reserved = total;
    return 0;
}

static void release_bodies(struct http_request *r)
{
    atomic_fetch_sub(&r->server->bytes_in, r->reserved);
    metrics_move(METRICS_BODY_BYTES, -(int64_t)r->reserved);
    atomic_fetch_sub(&r->server->bytes_out, r->reserved_out);
    r->reserved = r->reserved_out = 0;
}

int http_request_want_form(struct http_request *r, size_t max_bytes, size_t max_parts,
                           struct error *err)
{
    const char *type = http_request_header(r, "Content-Type");
    int64_t len = http_request_content_length(r);
    const struct http_form_limits limits = {max_bytes, max_parts};
    int rc = http_multipart_check(type ? type : "", err);
    if (rc == 0 && len > 0)
        rc = http_request_reserve(r, (uint64_t)len, err);
    return rc == 0 ? http_form_new(r->connection, &limits, &r->form, err) : rc;
}

int http_request_parts(const struct http_request *r, const struct http_part **parts, size_t *n,
                       struct error *err)
{
    if (!r->form)
        return fail(err, E_INTERNAL, "no form was asked for");
    return http_form_parts(r->form, parts, n, err);
}

static void feed_form(struct http_request *r, const char *data, size_t len)
{
    struct error err = ERROR_INIT;
    if (!http_form_failed(r->form) && http_request_reserve(r, r->received, &err) != 0)
        http_form_refuse(r->form, &err);
    http_form_feed(r->form, data, len);
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

/* A request has come, so the handshake is over and its key of no more use. */
static void end_handshake(struct http_connection *peer)
{
    http_certificate_release(peer->server->certificate, peer->pair);
    peer->pair = NULL;
}

/* Called with the request line: the only place where the target is still as it was sent. */
static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct http_server *server = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_connection *peer = info ? info->socket_context : NULL;
    struct http_request *r = peer ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return NULL;
    end_handshake(peer);
    r->server = server;
    r->watch = peer->watch;
    r->start_us = clock_monotonic_us();
    r->connection = connection;
    r->method_name = "?";
    r->id = atomic_fetch_add(&server->next_id, 1);
    r->path = strdup(uri);
    if (!r->path) {
        free(r);
        return NULL;
    }
    r->target_end = (uintptr_t)uri + strlen(uri) + 1;
    char *question = strchr(r->path, '?');
    if (question) {
        *question = '\0';
        r->query = question + 1;
    }
    return r;
}

/* A NUL ends the target for us, not for a proxy that decided by the rest of it. In the library's
 * memory the protocol's version follows the whole target; elsewhere it follows nothing. */
static bool target_is_cut(const struct http_request *r, const char *version)
{
    uintptr_t at = (uintptr_t)version;
    return at > r->target_end && at - r->target_end < TARGET_MAX;
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
    metrics_add(METRICS_FRAMING_REFUSED, 1);
    log_info("request %s from %s refused: ambiguous length or target", http_request_id_text(r),
             r->address);
    return http_reply_send(r, true);
}

/* The server is ending: what runs is finished, what comes is sent elsewhere. */
static enum MHD_Result refuse_closing(struct http_request *r)
{
    http_reply_status(r, 503);
    r->refused = true;
    return http_reply_send(r, true);
}

/* A refused body that is worth reading for a connection that goes on. */
static bool worth_draining(const struct http_request *r)
{
    int64_t len = http_request_content_length(r);
    return len == 0 || (len <= (int64_t)HTTP_DRAIN_MAX && !http_request_header(r, "Expect"));
}

static enum MHD_Result first_call(struct http_request *r, const char *method, const char *version)
{
    const struct http_app *app = &r->server->app;
    r->seen = true;
    set_method(r, method);
    set_address(r);
    http_watch_working(r->watch);
    if (framing_ambiguous(r) || target_is_cut(r, version))
        return refuse_framing(r);
    if (atomic_load(&r->server->closing))
        return refuse_closing(r);
    metrics_move(METRICS_RUNNING_REQUESTS, 1);
    r->begun = true;
    int64_t length = http_request_content_length(r);
    r->length = length > 0 ? (uint64_t)length : 0;
    r->refused = app->begin(app->context, r) != 0;
    if (r->refused && !worth_draining(r))
        return http_reply_send(r, true);
    http_watch_receiving(r->watch);
    return MHD_YES;
}

/*
 * While much of a large body is still to come its thread is woken for BATCH_BYTES at a time, not
 * for each record that arrives. Only once BATCH_FROM came: what a slow peer sends shall be seen at
 * once.
 */
static void batch_input(struct http_request *r)
{
    if (r->received < BATCH_FROM || (r->batched && r->received + 4 * BATCH_BYTES < r->length))
        return;
    int bytes = r->received + 4 * BATCH_BYTES < r->length ? (int)BATCH_BYTES : 1;
    if (!r->batched && bytes == 1)
        return;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info && setsockopt(info->connect_fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes) == 0)
        r->batched = bytes > 1;
}

static enum MHD_Result body_piece(struct http_request *r, const char *data, size_t len)
{
    const struct http_app *app = &r->server->app;
    http_watch_received(r->watch, len);
    r->received += len;
    batch_input(r);
    r->drained += r->refused ? len : 0;
    if (r->form)
        feed_form(r, data, len);
    else if (!r->refused)
        r->refused = app->data(app->context, r, data, len) != 0;
    /* The connection breaks: the only way to stop a peer that sends on and on. */
    if (r->drained > HTTP_DRAIN_MAX)
        return MHD_NO;
    if (r->form && r->received > http_form_max_bytes(r->form) + HTTP_DRAIN_MAX)
        return MHD_NO;
    return MHD_YES;
}

static enum MHD_Result last_call(struct http_request *r)
{
    const struct http_app *app = &r->server->app;
    http_watch_working(r->watch);
    if (r->form)
        http_form_finish(r->form);
    if (!r->refused)
        app->finish(app->context, r);
    return http_reply_send(r, false);
}

static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *len, void **slot)
{
    (void)context, (void)connection, (void)url;
    struct http_request *r = *slot;
    if (!r)
        return MHD_NO;
    if (!r->seen)
        return first_call(r, method, version);
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
    if (r->begun) {
        app->end(app->context, r, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
        metrics_move(METRICS_RUNNING_REQUESTS, -1);
    }
    http_watch_idle(r->watch);
    http_form_free(r->form);
    http_reply_clear(r);
    release_bodies(r);
    free(r->path);
    free(r);
    *slot = NULL;
}

static void connection_closed(struct http_connection *peer)
{
    if (!peer)
        return;
    if (peer->server->certificate)
        metrics_move(METRICS_OPEN_CONNECTIONS, -1);
    end_handshake(peer);
    http_watch_remove(peer->server->watch, peer->watch);
    free(peer);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        connection_closed(*slot);
        *slot = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_connection *peer = info ? calloc(1, sizeof *peer) : NULL;
    if (!peer)
        return;
    /* Without a session ticket to answer, a client that delays its ACKs would wait 40 ms. */
    int on = 1;
    if (server->certificate &&
        setsockopt(info->connect_fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on) != 0)
        log_debug("TCP_QUICKACK is not to be had");
    peer->server = server;
    peer->watch = http_watch_add(server->watch, info->connect_fd);
    if (server->certificate) { /* those who ask for these numbers are not among them */
        metrics_add(METRICS_CONNECTIONS, 1);
        metrics_move(METRICS_OPEN_CONNECTIONS, 1);
    }
    *slot = peer;
}

static int on_handshake(gnutls_session_t session, const gnutls_datum_t *authorities,
                        int n_authorities, const gnutls_pk_algorithm_t *algorithms,
                        int n_algorithms, gnutls_pcert_st **chain, unsigned *n,
                        gnutls_privkey_t *key)
{
    (void)authorities, (void)n_authorities, (void)algorithms, (void)n_algorithms;
    struct MHD_Connection *connection = gnutls_session_get_ptr(session);
    const union MHD_ConnectionInfo *info =
        connection ? MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT) : NULL;
    struct http_connection *peer = info ? info->socket_context : NULL;
    if (!peer)
        return -1;
    end_handshake(peer); /* one that began again */
    peer->pair = http_certificate_use(peer->server->certificate, chain, n, key);
    return 0;
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
    /* AES-128 first: it is the fastest that both versions have. */
    static char priorities[] =
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:"
        "+CHACHA20-POLY1305:%SERVER_PRECEDENCE";
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
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_THREAD_STACK_SIZE, THREAD_STACK, NULL},
        {s->certificate ? MHD_OPTION_HTTPS_PRIORITIES : MHD_OPTION_END, 0, priorities},
        {MHD_OPTION_HTTPS_MEM_TRUST, 0, (void *)(uintptr_t)o->client_ca},
        {MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    if (!s->certificate)
        return MHD_start_daemon(flags, 0, NULL, NULL, on_access, s, MHD_OPTION_ARRAY, items,
                                MHD_OPTION_END);
    return MHD_start_daemon(flags | MHD_USE_TLS, 0, NULL, NULL, on_access, s,
                            MHD_OPTION_HTTPS_CERT_CALLBACK, on_handshake, MHD_OPTION_ARRAY, items,
                            MHD_OPTION_END);
}

/* Numbers that do not begin anew with each process, so that two requests in one log differ. */
static int first_id(uint64_t *out, struct error *err)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail_sys(err, errno, "getrandom");
    *out = (uint64_t)random << 32 | 1;
    return 0;
}

int http_server_start(const struct http_options *options, const struct http_app *app,
                      struct http_server **out, struct error *err)
{
    uint64_t id = 0;
    int rc = first_id(&id, err);
    struct http_server *s = rc == 0 ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return rc != 0 ? rc : fail_nomem(err);
    s->app = *app;
    s->certificate = options->certificate;
    s->asks_certificates = options->client_ca != NULL;
    s->body_bytes = options->body_bytes;
    atomic_init(&s->next_id, id);
    struct http_watch_limits limits = {options->idle_timeout_s * 1000, options->rate_bytes_s};
    rc = http_watch_new(&limits, &s->watch, err);
    if (rc != 0) {
        free(s);
        return rc;
    }
    s->daemon = start_daemon(s, options);
    if (!s->daemon) {
        http_watch_free(s->watch);
        free(s);
        return fail(err, E_SYS, "the http server cannot start");
    }
    *out = s;
    return 0;
}

void http_server_close(struct http_server *server)
{
    if (atomic_exchange(&server->closing, true))
        return;
    /* The library lets go of the socket; whoever owns it closes it. */
    MHD_quiesce_daemon(server->daemon);
}

unsigned http_server_n_running(struct http_server *server)
{
    return http_watch_n_active(server->watch);
}

void http_server_stop(struct http_server *server)
{
    if (!server)
        return;
    http_server_close(server);
    MHD_stop_daemon(server->daemon);
    http_watch_free(server->watch);
    free(server);
}

#include "client/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <dlfcn.h>
#include <string.h>
#include <strings.h>

#define LIBCURL_FILE   "libcurl.so.4"
#define TRANSFER_BLOCK (256L << 10) /* large enough that callbacks do not show in a profile */
#define POLL_MS        1000
#define STOP_POLL_MS   200 /* how soon a stalled request sees that it is to stop */

/* The functions used, found at run time; see http.h for why. */
struct curl_api {
    void *library;
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_global_cleanup) *global_cleanup;
    __typeof__(curl_easy_init) *easy_init;
    __typeof__(curl_easy_cleanup) *easy_cleanup;
    __typeof__(curl_easy_reset) *easy_reset;
    __typeof__(curl_easy_setopt) *easy_setopt;
    __typeof__(curl_easy_getinfo) *easy_getinfo;
    __typeof__(curl_easy_strerror) *easy_strerror;
    __typeof__(curl_slist_append) *slist_append;
    __typeof__(curl_slist_free_all) *slist_free_all;
    __typeof__(curl_multi_init) *multi_init;
    __typeof__(curl_multi_cleanup) *multi_cleanup;
    __typeof__(curl_multi_add_handle) *multi_add_handle;
    __typeof__(curl_multi_remove_handle) *multi_remove_handle;
    __typeof__(curl_multi_perform) *multi_perform;
    __typeof__(curl_multi_poll) *multi_poll;
    __typeof__(curl_multi_info_read) *multi_info_read;
};

static const struct {
    const char *name;
    size_t offset;
} api_symbols[] = {
    {"curl_global_init", offsetof(struct curl_api, global_init)},
    {"curl_global_cleanup", offsetof(struct curl_api, global_cleanup)},
    {"curl_easy_init", offsetof(struct curl_api, easy_init)},
    {"curl_easy_cleanup", offsetof(struct curl_api, easy_cleanup)},
    {"curl_easy_reset", offsetof(struct curl_api, easy_reset)},
    {"curl_easy_setopt", offsetof(struct curl_api, easy_setopt)},
    {"curl_easy_getinfo", offsetof(struct curl_api, easy_getinfo)},
    {"curl_easy_strerror", offsetof(struct curl_api, easy_strerror)},
    {"curl_slist_append", offsetof(struct curl_api, slist_append)},
    {"curl_slist_free_all", offsetof(struct curl_api, slist_free_all)},
    {"curl_multi_init", offsetof(struct curl_api, multi_init)},
    {"curl_multi_cleanup", offsetof(struct curl_api, multi_cleanup)},
    {"curl_multi_add_handle", offsetof(struct curl_api, multi_add_handle)},
    {"curl_multi_remove_handle", offsetof(struct curl_api, multi_remove_handle)},
    {"curl_multi_perform", offsetof(struct curl_api, multi_perform)},
    {"curl_multi_poll", offsetof(struct curl_api, multi_poll)},
    {"curl_multi_info_read", offsetof(struct curl_api, multi_info_read)},
};

/* One request under way; callbacks get a pointer to it. */
struct transfer {
    struct http *http;
    CURL *easy;
    struct curl_slist *headers;
    struct http_exchange *exchange;
    CURLcode setup; /* first option that could not be set */
    size_t header_bytes;
    size_t sent; /* of the request's body */
    bool headers_done, sink_begun;
    bool cut; /* the rest of an error body was not wanted */
    char detail[CURL_ERROR_SIZE];
};

struct http {
    struct curl_api api;
    bool global; /* curl_global_init was done */
    CURLM *multi;
    struct transfer transfers[HTTP_PARALLEL];
    struct http_limits limits;
    struct bytes ca;
    const atomic_bool *stop; /* borrowed; may be NULL */
    bool plain_http;
};

/* --- opening --- */

static int load_api(struct curl_api *api, struct error *err)
{
    /* RTLD_NODELETE: libcurl and OpenSSL below it register exit handlers, so they must stay. */
    api->library = dlopen(LIBCURL_FILE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!api->library)
        return fail(err, E_UNSUPPORTED, "%s cannot be loaded; install the package libcurl4",
                    LIBCURL_FILE);
    for (size_t i = 0; i < sizeof api_symbols / sizeof api_symbols[0]; i++) {
        void *symbol = dlsym(api->library, api_symbols[i].name);
        if (!symbol)
            return fail(err, E_UNSUPPORTED, "%s has no %s: it is too old", LIBCURL_FILE,
                        api_symbols[i].name);
        /* ISO C has no cast from object to function pointers; POSIX makes their bytes alike. */
        memcpy((char *)api + api_symbols[i].offset, &symbol, sizeof symbol);
    }
    return OK;
}

static int make_handles(struct http *h, struct error *err)
{
    if (h->api.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return fail(err, E_INTERNAL, "libcurl cannot be initialised");
    h->global = true;
    h->multi = h->api.multi_init();
    if (!h->multi)
        return fail_nomem(err);
    for (size_t i = 0; i < HTTP_PARALLEL; i++) {
        h->transfers[i].http = h;
        h->transfers[i].easy = h->api.easy_init();
        if (!h->transfers[i].easy)
            return fail_nomem(err);
    }
    return OK;
}

int http_open(const struct http_options *options, struct http **out, struct error *err)
{
    CLEANUP(http_cleanup) struct http *h = calloc(1, sizeof *h);
    if (!h)
        return fail_nomem(err);
    h->limits = options->limits;
    h->plain_http = options->plain_http;
    h->stop = options->stop;
    int rc = OK;
    if (options->ca_pem)
        rc = bytes_append(&h->ca, options->ca_pem, options->ca_len, err);
    if (!rc)
        rc = load_api(&h->api, err);
    if (!rc)
        rc = make_handles(h, err);
    if (rc)
        return rc;
    *out = TAKE_PTR(h);
    return OK;
}

void http_close(struct http *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < HTTP_PARALLEL; i++)
        if (h->transfers[i].easy)
            h->api.easy_cleanup(h->transfers[i].easy);
    if (h->multi)
        h->api.multi_cleanup(h->multi);
    if (h->global)
        h->api.global_cleanup();
    if (h->api.library)
        (void)dlclose(h->api.library);
    bytes_done(&h->ca);
    free(h);
}

void http_cleanup(struct http **h)
{
    http_close(*h);
    *h = NULL;
}

void http_stop_at(struct http *h, const atomic_bool *stop)
{
    h->stop = stop;
}

void http_response_done(struct http_response *response)
{
    bytes_done(&response->body);
}

/* --- what the peer sends --- */

/* Records the first failure of a callback; curl itself only learns that it has to stop. */
static int stop(struct transfer *t, int rc)
{
    if (!t->exchange->rc)
        t->exchange->rc = rc;
    return rc;
}

static struct error *error_of(struct transfer *t)
{
    return &t->exchange->err;
}

/* Copies a header value once; a second, different one would let two readers see two answers. */
static int keep(struct transfer *t, const char *name, char *slot, size_t size, const char *value,
                size_t len)
{
    if (len >= size || memchr(value, '\0', len))
        return stop(t, fail(error_of(t), E_PROTOCOL, "registry %s sent a header '%s' that is %s",
                            t->exchange->request->url->authority, name,
                            len >= size ? "too long" : "no text"));
    if (*slot && !bytes_equal(slot, strlen(slot), value, len))
        return stop(t, fail(error_of(t), E_PROTOCOL, "registry %s sent two different headers '%s'",
                            t->exchange->request->url->authority, name));
    memcpy(slot, value, len);
    slot[len] = '\0';
    return OK;
}

/* Several challenges are legal; the one that can be answered wins. */
static int keep_challenge(struct transfer *t, const char *value, size_t len)
{
    char *slot = t->exchange->response->challenge;
    bool bearer = len >= 6 && strncasecmp(value, "bearer", 6) == 0;
    if (*slot && (!bearer || strncasecmp(slot, "bearer", 6) == 0))
        return OK;
    *slot = '\0';
    return keep(t, "WWW-Authenticate", slot, HTTP_CHALLENGE_MAX + 1, value, len);
}

static int keep_header(struct transfer *t, const char *line, size_t len)
{
    struct http_response *r = t->exchange->response;
    const char *colon = memchr(line, ':', len);
    if (!colon)
        return OK;
    size_t name_len = (size_t)(colon - line);
    const char *value = colon + 1;
    const char *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && isspace((unsigned char)end[-1]))
        end--;
    size_t value_len = (size_t)(end - value);
    if (name_len == 8 && strncasecmp(line, "Location", 8) == 0)
        return keep(t, "Location", r->location, sizeof r->location, value, value_len);
    if (name_len == 12 && strncasecmp(line, "Content-Type", 12) == 0)
        return keep(t, "Content-Type", r->content_type, sizeof r->content_type, value, value_len);
    if (name_len == 21 && strncasecmp(line, "Docker-Content-Digest", 21) == 0)
        return keep(t, "Docker-Content-Digest", r->digest, sizeof r->digest, value, value_len);
    if (name_len == 13 && strncasecmp(line, "Content-Range", 13) == 0)
        return keep(t, "Content-Range", r->content_range, sizeof r->content_range, value,
                    value_len);
    if (name_len == 5 && strncasecmp(line, "Range", 5) == 0)
        return keep(t, "Range", r->range, sizeof r->range, value, value_len);
    if (name_len == 16 && strncasecmp(line, "WWW-Authenticate", 16) == 0)
        return keep_challenge(t, value, value_len);
    return OK;
}

/* Status and length, once the header block of the final answer is complete. */
static void finish_headers(struct transfer *t)
{
    struct http_response *r = t->exchange->response;
    long status = 0;
    curl_off_t length = -1, retry_after = 0;
    (void)t->http->api.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)t->http->api.easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
    (void)t->http->api.easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    r->content_length = length;
    r->retry_after_s = retry_after;
    r->status = (int)status;
    t->headers_done = status >= 200;
    if (!t->headers_done) { /* 1xx: another block follows, and it alone counts */
        struct bytes body = bytes_take(&r->body);
        *r = (struct http_response)HTTP_RESPONSE_INIT;
        r->body = body;
    }
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    size_t len = size * n;
    t->header_bytes += len;
    if (t->header_bytes > HTTP_HEADERS_MAX) {
        (void)stop(t,
                   fail(error_of(t), E_PROTOCOL, "registry %s sent more than %u bytes of headers",
                        t->exchange->request->url->authority, HTTP_HEADERS_MAX));
        return 0;
    }
    if (t->headers_done) /* trailers behind a chunked body say nothing we may believe */
        return len;
    if (len <= 2 && (*line == '\r' || *line == '\n'))
        finish_headers(t);
    else if (keep_header(t, line, len))
        return 0;
    return len;
}

static int take_error_body(struct transfer *t, const void *data, size_t len)
{
    struct bytes *body = &t->exchange->response->body;
    size_t room = HTTP_ERROR_BODY_MAX - body->len;
    int rc = bytes_append(body, data, len < room ? len : room, error_of(t));
    if (rc)
        return stop(t, rc);
    t->cut = len > room;
    return t->cut ? E_LIMIT : OK;
}

static int take_body(struct transfer *t, const void *data, size_t len)
{
    const struct http_request *q = t->exchange->request;
    struct bytes *body = &t->exchange->response->body;
    size_t max = q->max_body ? q->max_body : HTTP_SMALL_BODY_MAX;
    if (len > max - body->len)
        return stop(t, fail(error_of(t), E_LIMIT,
                            "registry %s sent more than the %zu bytes allowed here",
                            q->url->authority, max));
    int rc = bytes_append(body, data, len, error_of(t));
    return rc ? stop(t, rc) : OK;
}

static bool sinks(const struct transfer *t)
{
    const struct http_request *q = t->exchange->request;
    int status = t->exchange->response->status;
    return q->sink && (status == 200 || (status == 206 && q->range_from));
}

static int begin_sink(struct transfer *t)
{
    const struct http_request *q = t->exchange->request;
    if (t->sink_begun)
        return OK;
    t->sink_begun = true;
    int rc = q->sink->begin(q->sink->ctx, t->exchange->response, error_of(t));
    return rc ? stop(t, rc) : OK;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    const struct http_request *q = t->exchange->request;
    size_t len = size * n;
    int status = t->exchange->response->status;
    int rc;
    if (status / 100 != 2) {
        rc = take_error_body(t, data, len);
    } else if (sinks(t)) {
        rc = begin_sink(t);
        if (!rc)
            rc = q->sink->write(q->sink->ctx, data, len, error_of(t));
        if (rc)
            (void)stop(t, rc);
    } else {
        rc = take_body(t, data, len);
    }
    return rc ? 0 : len;
}

/* --- what we send --- */

static size_t on_read(char *buffer, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    const struct http_request *q = t->exchange->request;
    size_t got = 0;
    if (q->source) {
        int rc = q->source->read(q->source->ctx, buffer, size * n, &got, error_of(t));
        t->sent += got;
        return stop(t, rc) ? CURL_READFUNC_ABORT : got;
    }
    got = q->len - t->sent < size * n ? q->len - t->sent : size * n;
    if (got)
        memcpy(buffer, (const char *)q->data + t->sent, got);
    t->sent += got;
    return got;
}

/* libcurl sends again where a kept connection turned out to be closed. Not so a streamed body that
 * has begun to leave: an upload session may have taken its first bytes already and would take them
 * twice. Its sender asks the registry how far it came. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct transfer *t = ctx;
    const struct http_request *q = t->exchange->request;
    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_FAIL;
    if (q->source && t->sent)
        return CURL_SEEKFUNC_FAIL;
    t->sent = 0;
    if (q->source) {
        int rc = q->source->rewind(q->source->ctx, error_of(t));
        if (rc) {
            (void)stop(t, rc);
            return CURL_SEEKFUNC_FAIL;
        }
    }
    return CURL_SEEKFUNC_OK;
}

/* --- one request --- */

static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    const struct transfer *t = ctx;
    (void)down_total, (void)down, (void)up_total, (void)up;
    return t->http->stop && atomic_load_explicit(t->http->stop, memory_order_relaxed);
}

/* Sets one option unless an earlier one failed. */
#define SET(t, option, value)                                                                      \
    do {                                                                                           \
        if ((t)->setup == CURLE_OK)                                                                \
            (t)->setup = (t)->http->api.easy_setopt((t)->easy, (option), (value));                 \
    } while (0)

static void set_security(struct transfer *t)
{
    struct http *h = t->http;
    const struct url *url = t->exchange->request->url;
    SET(t, CURLOPT_PROTOCOLS_STR, h->plain_http ? "http,https" : "https");
    SET(t, CURLOPT_FOLLOWLOCATION, 0L);
    SET(t, CURLOPT_SSL_VERIFYPEER, 1L);
    SET(t, CURLOPT_SSL_VERIFYHOST, 2L);
    SET(t, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (h->ca.len) {
        struct curl_blob pem = {h->ca.data, h->ca.len, CURL_BLOB_NOCOPY};
        SET(t, CURLOPT_CAINFO_BLOB, &pem);
        /* A named CA stands alone: the system's folder of certificates must not add to it. */
        SET(t, CURLOPT_CAPATH, (char *)NULL);
    }
    /* Requests to this machine must not go through a proxy that the environment names. */
    if (strcmp(url->host, "localhost") == 0 || text_starts(url->host, "127.") ||
        strcmp(url->host, "[::1]") == 0)
        SET(t, CURLOPT_PROXY, "");
    SET(t, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

static void set_transport(struct transfer *t)
{
    const struct http_request *q = t->exchange->request;
    const struct http_limits *limits = &t->http->limits;
    bool sends = q->method == HTTP_PUT || q->method == HTTP_POST || q->method == HTTP_PATCH;
    SET(t, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(t, CURLOPT_TCP_NODELAY, 1L);
    SET(t, CURLOPT_NOSIGNAL, 1L);
    SET(t, CURLOPT_PATH_AS_IS, 1L);
    SET(t, CURLOPT_BUFFERSIZE, TRANSFER_BLOCK);
    SET(t, CURLOPT_UPLOAD_BUFFERSIZE, TRANSFER_BLOCK);
    SET(t, CURLOPT_CONNECTTIMEOUT_MS, limits->connect_ms);
    SET(t, CURLOPT_LOW_SPEED_LIMIT, (long)HTTP_MIN_RATE);
    SET(t, CURLOPT_LOW_SPEED_TIME, sends ? limits->upload_stall_s : limits->stall_s);
    if (!q->large)
        SET(t, CURLOPT_TIMEOUT_MS, limits->small_ms + (long)((q->max_body + q->len) / 16));
    SET(t, CURLOPT_ERRORBUFFER, t->detail);
}

static void set_callbacks(struct transfer *t)
{
    SET(t, CURLOPT_HEADERFUNCTION, on_header);
    SET(t, CURLOPT_HEADERDATA, t);
    SET(t, CURLOPT_WRITEFUNCTION, on_body);
    SET(t, CURLOPT_WRITEDATA, t);
    SET(t, CURLOPT_READFUNCTION, on_read);
    SET(t, CURLOPT_READDATA, t);
    SET(t, CURLOPT_SEEKFUNCTION, on_seek);
    SET(t, CURLOPT_SEEKDATA, t);
    SET(t, CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(t, CURLOPT_XFERINFODATA, t);
    SET(t, CURLOPT_NOPROGRESS, t->http->stop ? 0L : 1L);
}

static void set_method(struct transfer *t)
{
    const struct http_request *q = t->exchange->request;
    curl_off_t size = q->source ? q->source->size : (curl_off_t)q->len;
    switch (q->method) {
    case HTTP_GET:
        SET(t, CURLOPT_HTTPGET, 1L);
        break;
    case HTTP_HEAD:
        SET(t, CURLOPT_NOBODY, 1L);
        break;
    case HTTP_DELETE:
        SET(t, CURLOPT_CUSTOMREQUEST, "DELETE");
        break;
    case HTTP_PATCH:
        SET(t, CURLOPT_CUSTOMREQUEST, "PATCH");
        SET(t, CURLOPT_UPLOAD, 1L);
        SET(t, CURLOPT_INFILESIZE_LARGE, size);
        break;
    case HTTP_PUT:
        SET(t, CURLOPT_UPLOAD, 1L);
        SET(t, CURLOPT_INFILESIZE_LARGE, size);
        break;
    case HTTP_POST:
        SET(t, CURLOPT_POST, 1L);
        SET(t, CURLOPT_POSTFIELDSIZE_LARGE, size);
        break;
    }
}

/* value NULL: the header that libcurl would send by itself is left out. */
static int add_header(struct transfer *t, const char *name, const char *value)
{
    /* Media types come from documents, tokens from peers: none may begin a header of its own. */
    for (const char *p = value; p && *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return stop(t,
                        fail(error_of(t), E_INVALID, "header '%s' with a control character", name));
    CLEANUP(cleanup_free)
    char *line = value ? text_format("%s: %s", name, value) : text_format("%s:", name);
    struct curl_slist *longer = line ? t->http->api.slist_append(t->headers, line) : NULL;
    if (line)
        explicit_bzero(line, strlen(line)); /* it may be the Authorization */
    if (!longer)
        return stop(t, fail_nomem(error_of(t)));
    t->headers = longer;
    return OK;
}

static int set_headers(struct transfer *t)
{
    const struct http_request *q = t->exchange->request;
    int rc = add_header(t, "User-Agent", "bulla/" BULLA_VERSION);
    if (!rc)
        rc = add_header(t, "Accept", q->accept ? q->accept : "*/*");
    if (!rc && q->authorization)
        rc = add_header(t, "Authorization", q->authorization);
    if (!rc)
        rc = add_header(t, "Content-Type", q->content_type);
    if (!rc && q->content_range)
        rc = add_header(t, "Content-Range", q->content_range);
    if (!rc && q->range_from) {
        char range[HTTP_RANGE_MAX];
        (void)snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)q->range_from);
        rc = add_header(t, "Range", range);
    }
    if (!rc) /* 100-continue costs a round trip for each upload */
        rc = add_header(t, "Expect", NULL);
    SET(t, CURLOPT_HTTPHEADER, t->headers);
    return rc;
}

static int prepare(struct transfer *t, struct http_exchange *exchange)
{
    struct http *h = t->http;
    const struct http_request *q = exchange->request;
    CLEANUP(bytes_done) struct bytes url = BYTES_INIT;
    *t = (struct transfer){.http = h, .easy = t->easy, .exchange = exchange};
    h->api.easy_reset(t->easy);
    if (!q->url->https && !h->plain_http)
        return stop(t, fail(error_of(t), E_TLS, "'%s' is not https", q->url->authority));
    if (q->source && stop(t, q->source->rewind(q->source->ctx, error_of(t))))
        return exchange->rc;
    if (stop(t, url_format(q->url, &url, error_of(t))))
        return exchange->rc;
    SET(t, CURLOPT_URL, bytes_text(&url));
    set_security(t);
    set_transport(t);
    set_callbacks(t);
    set_method(t);
    if (set_headers(t))
        return exchange->rc;
    if (t->setup != CURLE_OK)
        return stop(t, fail(error_of(t), E_UNSUPPORTED, "this libcurl cannot be used: %s",
                            h->api.easy_strerror(t->setup)));
    return OK;
}

/* --- what went wrong --- */

static int tls_failure(struct transfer *t)
{
    const char *host = t->exchange->request->url->authority;
    if (strstr(t->detail, "wrong version number") || strstr(t->detail, "packet length too long"))
        return fail(error_of(t), E_TLS, "registry %s does not speak TLS on this port", host);
    /* A handshake that somebody cut off says nothing about certificates. */
    if (strstr(t->detail, "SSL_ERROR_SYSCALL") || strstr(t->detail, "unexpected eof") ||
        strstr(t->detail, "Send failure") || strstr(t->detail, "Recv failure"))
        return fail(error_of(t), E_NETWORK, "connection to registry %s was lost: %.160s", host,
                    t->detail);
    return fail(error_of(t), E_TLS, "registry %s: TLS handshake failed: %.160s", host, t->detail);
}

static int certificate_failure(struct transfer *t)
{
    const char *host = t->exchange->request->url->authority;
    return fail(error_of(t), E_TLS,
                "certificate of registry %s is not trusted (%.160s): pass --cacert FILE or put the "
                "CA in /etc/bulla/certs.d/%s/ca.crt",
                host, t->detail, host);
}

static int connect_failure(struct transfer *t)
{
    const char *host = t->exchange->request->url->authority;
    char reason[128] = "no connection";
    long errnum = 0;
    (void)t->http->api.easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &errnum);
    if (errnum > 0) {
        char text[128];
        (void)snprintf(reason, sizeof reason, "%s", strerror_r((int)errnum, text, sizeof text));
        reason[0] = (char)tolower((unsigned char)reason[0]);
    }
    return fail(error_of(t), E_NETWORK, "registry %s cannot be reached: %s", host, reason);
}

static int failure_of(struct transfer *t, CURLcode code)
{
    const char *host = t->exchange->request->url->authority;
    const char *detail = t->detail[0] ? t->detail : t->http->api.easy_strerror(code);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return fail(error_of(t), E_NETWORK, "registry %s cannot be reached: its name is not known",
                    host);
    case CURLE_COULDNT_CONNECT:
        return connect_failure(t);
    case CURLE_ABORTED_BY_CALLBACK:
        return fail(error_of(t), E_INTERRUPTED, "the request to registry %s was stopped", host);
    case CURLE_OPERATION_TIMEDOUT:
        return fail(error_of(t), E_NETWORK, "registry %s is too slow or does not answer: %.160s",
                    host, detail);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        return certificate_failure(t);
    case CURLE_SSL_CACERT_BADFILE:
        return fail(error_of(t), E_TLS, "the CA file for registry %s holds no certificate", host);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return tls_failure(t);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return fail(error_of(t), E_PROTOCOL, "registry %s does not speak HTTP as it should: %.160s",
                    host, detail);
    case CURLE_OUT_OF_MEMORY:
        return fail_nomem(error_of(t));
    default: /* sending, receiving, too few bytes: the connection broke */
        return fail(error_of(t), E_NETWORK, "connection to registry %s was lost: %.160s", host,
                    detail);
    }
}

/* Turns curl's verdict on one transfer into the exchange's result. */
static void conclude(struct transfer *t, CURLcode code)
{
    const struct http_request *q = t->exchange->request;
    curl_off_t connected_us = 0;
    (void)t->http->api.easy_getinfo(t->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
    t->exchange->response->reached = connected_us > 0 || t->headers_done;
    if (t->exchange->rc) /* a callback said why already */
        return;
    if (code != CURLE_OK && !t->cut) {
        (void)stop(t, failure_of(t, code));
        return;
    }
    if (!t->headers_done) {
        (void)stop(t, fail(error_of(t), E_PROTOCOL, "registry %s did not answer with HTTP",
                           q->url->authority));
        return;
    }
    if (sinks(t))
        (void)begin_sink(t); /* an empty body never came to on_body */
}

static void finish(struct transfer *t)
{
    (void)t->http->api.multi_remove_handle(t->http->multi, t->easy);
    /* The handle must not keep pointers to this request's headers and buffers. */
    t->http->api.easy_reset(t->easy);
    /* libcurl's copies: the Authorization is among them. (What it made of them to send is its own
     * and freed by it unwiped; nothing here can reach that.) */
    for (struct curl_slist *line = t->headers; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    t->http->api.slist_free_all(t->headers);
    t->headers = NULL;
    t->exchange = NULL;
}

/* Drives what was added until `left` transfers ended. */
static int drive(struct http *h, size_t left, struct error *err)
{
    while (left) {
        int running = 0, queued = 0;
        CURLMcode rc = h->api.multi_perform(h->multi, &running);
        for (CURLMsg *m = h->api.multi_info_read(h->multi, &queued); m && rc == CURLM_OK;
             m = h->api.multi_info_read(h->multi, &queued)) {
            for (size_t i = 0; m->msg == CURLMSG_DONE && i < HTTP_PARALLEL; i++)
                if (h->transfers[i].easy == m->easy_handle && h->transfers[i].exchange)
                    conclude(&h->transfers[i], m->data.result);
            left--;
        }
        if (rc == CURLM_OK && left)
            rc = h->api.multi_poll(h->multi, NULL, 0, h->stop ? STOP_POLL_MS : POLL_MS, NULL);
        if (rc == CURLM_OUT_OF_MEMORY)
            return fail_nomem(err);
        if (rc != CURLM_OK)
            return fail(err, E_INTERNAL, "libcurl failed with code %d", (int)rc);
    }
    return OK;
}

static void exchange_init(struct http_exchange *x)
{
    struct bytes body = bytes_take(&x->response->body);
    bytes_clear(&body);
    *x->response = (struct http_response)HTTP_RESPONSE_INIT;
    x->response->body = body;
    x->rc = OK;
    x->err = (struct error)ERROR_INIT;
}

int http_perform_all(struct http *h, struct http_exchange *exchanges, size_t n, struct error *err)
{
    if (n > HTTP_PARALLEL)
        return fail(err, E_INTERNAL, "%zu requests at once", n);
    size_t added = 0;
    int rc = OK;
    for (size_t i = 0; i < n; i++) {
        struct transfer *t = &h->transfers[i];
        exchange_init(&exchanges[i]);
        if (prepare(t, &exchanges[i]))
            continue;
        if (h->api.multi_add_handle(h->multi, t->easy) == CURLM_OK)
            added++;
        else
            (void)stop(t, fail_nomem(error_of(t)));
    }
    rc = drive(h, added, err);
    for (size_t i = 0; i < n; i++)
        finish(&h->transfers[i]);
    return rc;
}

int http_perform(struct http *h, const struct http_request *request, struct http_response *response,
                 struct error *err)
{
    struct http_exchange x = {.request = request, .response = response};
    int rc = http_perform_all(h, &x, 1, err);
    if (!rc && x.rc && err)
        *err = x.err;
    return rc ? rc : x.rc;
}

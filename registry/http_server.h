/*
 * The HTTPS server: the one adapter over libmicrohttpd.
 *
 * One thread per connection; the application's callbacks run on it and may block. For each request
 * whose headers arrived: begin, then data for each piece of the body, then finish, then always
 * end, all on one thread. The raw target is handed over undecoded. Requests whose length is
 * ambiguous (smuggling) never reach the application. Requests of one connection do not overlap;
 * those of different connections do.
 *
 * Queue early, lose the connection: libmicrohttpd closes a connection whose answer is given before
 * its body was read, so refused bodies of up to HTTP_DRAIN_MAX are read and thrown away first.
 */
#ifndef BULLA_REGISTRY_HTTP_SERVER_H
#define BULLA_REGISTRY_HTTP_SERVER_H

#include "base/digest.h"
#include "registry/http_certificate.h"

#define HTTP_DRAIN_MAX (8u << 20)   /* refused bodies are read up to here for the answer's sake */
#define HTTP_BLOCK     (256u << 10) /* one read of a file being sent */

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OTHER };

struct http_server;
struct http_request;

/* One part of a multipart form. Owned by the request. */
struct http_part {
    char name[64];      /* cut where longer */
    char file_name[96]; /* likewise; "" where absent */
    struct bytes data;
};

/* Zero is an application's success; anything else says that it has set a reply and wants no more
 * of the body. */
struct http_app {
    void *context;
    int (*begin)(void *context, struct http_request *r);
    int (*data)(void *context, struct http_request *r, const void *data, size_t len);
    void (*finish)(void *context, struct http_request *r);
    /* completed: false where the connection broke before the answer was sent. Frees what the
     * application hung on the request. Also called for requests that begin refused. */
    void (*end)(void *context, struct http_request *r, bool completed);
};

struct http_options {
    int listen_fd;                        /* listening socket, stays the caller's */
    struct http_certificate *certificate; /* stays the caller's; NULL: plain HTTP */
    const char *client_ca;                /* PEM; NULL: clients are not asked for certificates */
    unsigned connections, connections_per_address;
    int64_t idle_timeout_s;
    uint64_t rate_bytes_s;
    uint64_t body_bytes; /* of request bodies, and of large replies, in memory at once */
};

/* certificate and app->context must live until http_server_stop. E_SYS. */
int http_server_start(const struct http_options *options, const struct http_app *app,
                      struct http_server **out, struct error *err) MUST_CHECK;
/* From now on: no new connections, 503 for new requests on old ones, which end with their answer.
 * The caller closes the listening socket next, so that who connects is refused. */
void http_server_close(struct http_server *server);
/* Requests being received, worked on or answered. */
unsigned http_server_n_running(struct http_server *server);
/* Breaks off what still runs. NULL is fine. */
void http_server_stop(struct http_server *server);

/* --- the request --- */

enum http_method http_request_method(const struct http_request *r);
const char *http_request_method_name(const struct http_request *r);
/* The target's path as sent, without query; begins with whatever the peer wrote. */
const char *http_request_path(const struct http_request *r);
/* What follows '?', undecoded; NULL: none. */
const char *http_request_query(const struct http_request *r);
/* First header of that name; NULL: absent. Borrowed. */
const char *http_request_header(const struct http_request *r, const char *name);
/* The body's length in bytes; -1: chunked, unknown. 0: none. */
int64_t http_request_content_length(const struct http_request *r);
/* SHA-256 of the certificate that the client proved to hold and that client_ca vouches for now.
 * E_NOTFOUND: none was shown; E_TLS: it is not acceptable. */
int http_request_client_certificate(const struct http_request *r, struct digest *out,
                                    struct error *err) MUST_CHECK;
/* Address of the peer, without port. */
const char *http_request_address(const struct http_request *r);
/* Unique across restarts; told to the client as X-Request-Id. */
uint64_t http_request_id(const struct http_request *r);
#define HTTP_ID_TEXT_MAX 17
/* 16 hex digits, as in X-Request-Id. Borrowed. */
const char *http_request_id_text(struct http_request *r);
/* Since the headers arrived. */
int64_t http_request_duration_us(const struct http_request *r);
/* Bytes of the bodies so far. */
uint64_t http_request_received(const struct http_request *r);
uint64_t http_request_sent(const struct http_request *r);
/* The application's own object. */
void http_request_set_call(struct http_request *r, void *call);
void *http_request_call(const struct http_request *r);

/* Before `total` bytes of the body are kept in memory: all requests together have a limit. The
 * reservation ends with the request. E_BUSY. */
int http_request_reserve(struct http_request *r, uint64_t total, struct error *err) MUST_CHECK;

/* In begin: the body is a multipart form of at most max_bytes and max_parts; it goes to
 * http_request_parts instead of data. E_INVALID (Content-Type), E_BUSY. */
int http_request_want_form(struct http_request *r, size_t max_bytes, size_t max_parts,
                           struct error *err) MUST_CHECK;
/* In finish. E_INVALID (malformed), E_LIMIT. */
int http_request_parts(const struct http_request *r, const struct http_part **parts, size_t *n,
                       struct error *err) MUST_CHECK;

/* --- the reply: the last setting counts --- */

void http_reply_status(struct http_request *r, unsigned status);
/* Text with control characters is refused: E_INVALID. */
int http_reply_header(struct http_request *r, const char *name, const char *value,
                      struct error *err) MUST_CHECK;
/* Moves body's memory. Answers HEAD as well: length without bytes. */
void http_reply_bytes(struct http_request *r, struct bytes *body);
/* Where a large body comes from, piece by piece, on the connection's thread. read: at most max
 * bytes from offset; *got is 0 at the end only. end is called once. */
struct http_stream {
    int (*read)(void *context, uint64_t offset, void *out, size_t max, size_t *got,
                struct error *err);
    void (*end)(void *context);
    void *context;
};
/* len bytes of the stream from offset; takes the stream. */
void http_reply_stream(struct http_request *r, const struct http_stream *stream, uint64_t offset,
                       uint64_t len);
/* Forgets headers and body set so far. */
void http_reply_clear(struct http_request *r);
unsigned http_reply_get_status(const struct http_request *r);
uint64_t http_reply_get_length(const struct http_request *r);

#endif

/*
 * HTTP/1.1 requests over TLS: the adapter over libcurl; no curl type leaves http.c.
 *
 * Run-time dependency: libcurl.so.4 (OpenSSL flavour, 7.85 or later), opened by http_open and not
 * before: a program linked to it pays 6 to 10 ms at every start, whether it uses the network or
 * not.
 *
 * What holds for every request: certificates are verified, TLS is 1.2 or later, redirects are never
 * followed here, nothing is decompressed, header and body sizes are bounded, and a peer that
 * connects but does not answer is given up. Connections are kept for the next request. A struct
 * http belongs to one thread.
 */
#ifndef BULLA_CLIENT_HTTP_H
#define BULLA_CLIENT_HTTP_H

#include "base/digest.h"
#include "client/url.h"
#include "oci/manifest.h"

#include <stdatomic.h>

#define HTTP_HEADERS_MAX    (64u << 10) /* all header lines of one answer */
#define HTTP_ERROR_BODY_MAX (16u << 10) /* kept of an answer that is no success */
#define HTTP_SMALL_BODY_MAX (64u << 10) /* for answers whose body nobody needs */
#define HTTP_CHALLENGE_MAX  4096
#define HTTP_RANGE_MAX      80 /* two or three numbers of 20 digits, "bytes " */
#define HTTP_PARALLEL       2

struct http;

struct http_limits {
    long connect_ms;     /* TCP and TLS handshake */
    long small_ms;       /* whole request that is not `large`, plus 1 ms for each 16 bytes */
    long stall_s;        /* less than HTTP_MIN_RATE for so long ends the request */
    long upload_stall_s; /* the same for uploads: a server writes a large blob to disk first */
};
#define HTTP_MIN_RATE 4096 /* bytes a second */

struct http_options {
    struct http_limits limits;
    const void *ca_pem; /* certificates to trust instead of the system's; NULL: the system's */
    size_t ca_len;
    bool plain_http; /* http URLs are allowed */
    /* Borrowed; may be NULL. Once true, every request ends with E_INTERRUPTED within a second. */
    const atomic_bool *stop;
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

/* A request body that is produced while it is sent. */
struct http_source {
    /* Back to the first byte; called before the first read too. */
    int (*rewind)(void *ctx, struct error *err);
    /* Up to size bytes; *got 0 only at the end. */
    int (*read)(void *ctx, void *buffer, size_t size, size_t *got, struct error *err);
    void *ctx;
    int64_t size;
};

struct http_response;

/* Takes the body of a 200 answer, and of a 206 one where range_from was asked for. begin sees the
 * answer's status and headers. */
struct http_sink {
    int (*begin)(void *ctx, const struct http_response *response, struct error *err);
    int (*write)(void *ctx, const void *data, size_t len, struct error *err);
    void *ctx;
};

struct http_request {
    enum http_method method;
    const struct url *url;
    const char *authorization; /* value of the header, secret; NULL: none */
    const char *accept;        /* NULL: anything */
    const char *content_type;  /* of the body; NULL: none */
    const char *content_range; /* of the body, "0-99" as OCI writes it; NULL: none */
    uint64_t range_from;       /* GET: from this byte on; 0: all */
    const void *data;          /* body in memory … */
    size_t len;
    const struct http_source *source; /* … or streamed; NULL: data */
    const struct http_sink *sink;     /* NULL: the body goes to response.body */
    size_t max_body;                  /* of response.body for a success; 0: HTTP_SMALL_BODY_MAX */
    bool large;                       /* no bound on the whole time */
};

/* Header values are "" where absent. */
struct http_response {
    int status;
    int64_t content_length; /* -1: unknown */
    char content_type[MEDIA_TYPE_MAX + 1];
    char digest[DIGEST_TEXT_MAX];           /* Docker-Content-Digest */
    char location[URL_MAX + 1];             /* unchecked */
    char challenge[HTTP_CHALLENGE_MAX + 1]; /* WWW-Authenticate; a Bearer one before others */
    char content_range[HTTP_RANGE_MAX + 1]; /* unchecked, as the next one */
    char range[HTTP_RANGE_MAX + 1];
    int64_t retry_after_s; /* 0: none was named */
    bool reached;          /* a connection was made, whatever came of it */
    struct bytes body;     /* of a success; else its first HTTP_ERROR_BODY_MAX bytes */
};
#define HTTP_RESPONSE_INIT                                                                         \
    {                                                                                              \
        .content_length = -1                                                                       \
    }
void http_response_done(struct http_response *response);

struct http_exchange {
    const struct http_request *request;
    struct http_response *response;
    int rc;           /* out: 0 where an answer came, whatever its status */
    struct error err; /* out */
};

/* Copies what options holds. E_UNSUPPORTED where libcurl is missing or too old. */
int http_open(const struct http_options *options, struct http **out, struct error *err) MUST_CHECK;
void http_close(struct http *h);
void http_cleanup(struct http **h);
/* Replaces http_options.stop, between requests. */
void http_stop_at(struct http *h, const atomic_bool *stop);

/*
 * One request. 0 where a complete answer came (any status). E_NETWORK, E_TLS, E_PROTOCOL (the peer
 * does not speak HTTP/1.1 as it should), E_LIMIT (body over max_body), or what source and sink
 * failed with.
 */
int http_perform(struct http *h, const struct http_request *request, struct http_response *response,
                 struct error *err) MUST_CHECK;
/* n ≤ HTTP_PARALLEL requests at once, each with its own result. Fails only where nothing could be
 * asked. */
int http_perform_all(struct http *h, struct http_exchange *exchanges, size_t n,
                     struct error *err) MUST_CHECK;

#endif

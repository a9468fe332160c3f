/*
 * What the files of struct remote share: one request with credentials, and what its status means.
 *
 * Private to client/ and its unit tests.
 */
#ifndef BULLA_CLIENT_REMOTE_PRIVATE_H
#define BULLA_CLIENT_REMOTE_PRIVATE_H

#include "client/auth.h"
#include "client/http.h"
#include "client/remote.h"

#define TOKEN_MAX        (16u << 10) /* JWTs with long grant lists reach a few KiB */
#define TOKEN_ANSWER_MAX (64u << 10)

struct remote {
    struct url base; /* path "/" */
    struct http_options http_options;
    struct http *http; /* NULL before the first request */
    struct bytes ca_pem;
    struct bytes basic;  /* "Basic …"; empty: no credentials. Secret */
    struct bytes bearer; /* "Bearer …" of the last token; empty: none. Secret */
};

/* Starts a request: GET of <base><formatted path>. */
int remote_url(const struct remote *r, struct url *out, struct error *err, const char *format, ...)
    PRINTF_LIKE(4, 5) MUST_CHECK;
/*
 * Sends it. Credentials are added where request->url is of the registry's own origin, and only
 * there; one Bearer challenge is answered. 0 where a final answer came, whatever its status.
 */
int remote_call(struct remote *r, struct http_request *request, struct http_response *response,
                struct error *err) MUST_CHECK;
/* Opens the HTTP adapter unless it is open. */
int remote_ready(struct remote *r, struct error *err) MUST_CHECK;
/* Fetches the token a 401 answer asks for. E_UNAUTHORIZED where that is impossible. */
int remote_token_fetch(struct remote *r, const char *challenge, struct error *err) MUST_CHECK;
/* The value to send now; NULL: no credentials. */
const char *remote_authorization(const struct remote *r, const struct url *url);

/* 0 where the status is `want`; else the code for the status, with the registry's own words. what:
 * the thing asked for, "blob sha256:…". */
int remote_expect(const struct remote *r, const struct http_response *response, int want,
                  const char *what, struct error *err) MUST_CHECK;
/* The first error of an OCI error body as ": CODE: message", cut and bounded; "" where there is
 * none. */
#define REMOTE_REASON_MAX 320
void remote_reason(const struct bytes *body, char out[REMOTE_REASON_MAX]);

/* E_USAGE for what the name grammar does not allow: it becomes part of a URL. */
int remote_check_repository(const char *repository, struct error *err) MUST_CHECK;

#endif

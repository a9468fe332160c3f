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
#include "client/retry.h"
#include "client/wallet.h"

#define TOKEN_MAX        (16u << 10) /* JWTs with long grant lists reach a few KiB */
#define TOKEN_ANSWER_MAX (64u << 10)

struct remote {
    struct url base; /* path "/" */
    struct http_options http_options;
    struct http *http; /* NULL before the first request */
    struct bytes ca_pem;
    struct wallet *wallet; /* shared by clones */
    struct bytes shown;    /* the Authorization of the request under way. Secret */
    unsigned generation;   /* of the token in it */
    struct retry_policy retry;
    struct retry_notice notice;
    char *token_service; /* origin of another host that may have the password; NULL: none named */
    bool tries_login;    /* the caller named user and password: "run bulla login" is no advice */
    bool answered;       /* an answer of the registry has come over this or an older connection */
};

/*
 * Another connection to the same registry with the same credentials, for another thread. It is
 * opened here, by the caller's thread. stop: see http.h. The original must outlive it.
 */
int remote_clone(const struct remote *r, const atomic_bool *stop, struct remote **out,
                 struct error *err) MUST_CHECK;

/* What to do about credentials that are not accepted: ": run 'bulla login HOST'", or nothing. */
#define REMOTE_ADVICE_MAX 320
const char *remote_login_advice(const struct remote *r, char out[REMOTE_ADVICE_MAX]);

/* Retries and notices of a whole push or pull from now on. */
void remote_be_patient(struct remote *r, const struct transfer_options *options);
/* From now on *stop (borrowed; NULL: nothing) ends r's requests. */
void remote_stop_at(struct remote *r, const atomic_bool *stop);

/* Starts a request: GET of <base><formatted path>. */
int remote_url(const struct remote *r, struct url *out, struct error *err, const char *format, ...)
    PRINTF_LIKE(4, 5) MUST_CHECK;
/*
 * Sends it. Credentials are added where request->url is of the registry's own origin, and only
 * there; one Bearer challenge is answered. What may go better the next time is tried again as
 * r->retry says, but for streamed bodies, whose callers know better. 0 where a final answer came,
 * whatever its status.
 */
int remote_call(struct remote *r, struct http_request *request, struct http_response *response,
                struct error *err) MUST_CHECK;
/*
 * The wait before a further try of something that ended with rc and response, `failed` tries being
 * over; says so. True: try again; false: it is final, with err and *rc as they are or
 * E_INTERRUPTED.
 */
bool remote_again(struct remote *r, unsigned failed, const struct http_response *response, int *rc,
                  struct error *err);
/* Opens the HTTP adapter unless it is open. */
int remote_ready(struct remote *r, struct error *err) MUST_CHECK;
/* Fetches the token a 401 answer asks for. E_UNAUTHORIZED where that is impossible. */
int remote_token_fetch(struct remote *r, const char *challenge, struct error *err) MUST_CHECK;
/* Sets request->authorization for its URL: borrowed, until the next request of r. */
int remote_authorize(struct remote *r, struct http_request *request, struct error *err) MUST_CHECK;

/* 0 where the status is `want`; else the code for the status, with the registry's own words. what:
 * the thing asked for, "blob sha256:…". */
int remote_expect(const struct remote *r, const struct http_response *response, int want,
                  const char *what, struct error *err) MUST_CHECK;
/* The first error of an OCI error body as ": CODE: message", cut and bounded; "" where there is
 * none. */
#define REMOTE_REASON_MAX 320
void remote_reason(const struct bytes *body, char out[REMOTE_REASON_MAX]);

/* "blob sha256:…", for messages; returns out. */
#define REMOTE_BLOB_NAME_MAX (DIGEST_TEXT_MAX + 16)
const char *remote_blob_name(const struct digest *d, char out[REMOTE_BLOB_NAME_MAX]);

/* Whether a password may be sent to the token service `realm`: its origin is the registry's own, is
 * known to belong to it, or was allowed by the user. E_UNAUTHORIZED says what to do. */
int realm_check(const struct remote *r, const struct url *realm, struct error *err) MUST_CHECK;

/* E_USAGE for what the name grammar does not allow: it becomes part of a URL. */
int remote_check_repository(const char *repository, struct error *err) MUST_CHECK;

#endif

#include "client/remote.h"

#include "client/certs.h"
#include "client/challenge.h"
#include "client/remote_private.h"
#include "oci/reference.h"

#include <stdarg.h>
#include <string.h>

static const struct http_limits usual_limits = {
    .connect_ms = 10 * 1000,
    .small_ms = 60 * 1000,
    .stall_s = 30,
    .upload_stall_s = 120,
};

/* --- opening --- */

/* host[:port] and nothing else: it becomes part of every URL, file name and message. */
static int parse_host(const struct remote_options *options, struct url *out, struct error *err)
{
    CLEANUP(cleanup_free)
    char *text = text_format("%s://%s", options->plain_http ? "http" : "https", options->host);
    if (!text)
        return fail_nomem(err);
    struct error why = ERROR_INIT;
    if (strchr(options->host, '/') || url_parse(text, strlen(text), out, &why))
        return fail(err, E_USAGE, "'%.270s' is no registry; want HOST[:PORT]", options->host);
    return OK;
}

static int load_credentials(struct remote *r, const struct remote_options *options,
                            struct error *err)
{
    CLEANUP(credentials_done) struct credentials found = CREDENTIALS_INIT;
    CLEANUP(auth_wipe) struct bytes secret = BYTES_INIT;
    if (!options->user != !options->password)
        return fail(err, E_USAGE, "a user name and a password go together");
    int rc = OK;
    if (options->user) {
        rc = auth_basic(options->user, options->password, &secret, err);
    } else {
        rc = auth_find(options->auth_file, r->base.authority, options->repository, &found, err);
        if (!rc && found.user)
            rc = auth_basic(found.user, found.password, &secret, err);
        rc = wrap(err, rc, "credentials for %s", r->base.authority);
    }
    if (!rc && secret.len)
        wallet_set_basic(r->wallet, &secret);
    if (!rc && found.identity)
        rc = auth_identity(found.identity, &secret, err);
    if (!rc && found.identity)
        wallet_set_identity(r->wallet, &secret);
    return rc;
}

static int copy_options(struct remote *r, const struct remote_options *options, struct error *err)
{
    r->tries_login = options->user != NULL;
    if (options->token_service) {
        r->token_service = strdup(options->token_service);
        if (!r->token_service)
            return fail_nomem(err);
    }
    r->http_options = (struct http_options){
        .limits = usual_limits,
        .ca_pem = r->ca_pem.len ? r->ca_pem.data : NULL,
        .ca_len = r->ca_pem.len,
        .plain_http = options->plain_http,
    };
    return OK;
}

int remote_open(const struct remote_options *options, struct remote **out, struct error *err)
{
    CLEANUP(remote_cleanup) struct remote *r = calloc(1, sizeof *r);
    if (!r)
        return fail_nomem(err);
    int rc = wallet_new(&r->wallet, err);
    if (!rc)
        rc = parse_host(options, &r->base, err);
    if (!rc)
        rc = certs_find(options->ca_file, certs_folders, r->base.authority, &r->ca_pem, err);
    if (!rc)
        rc = load_credentials(r, options, err);
    if (!rc)
        rc = copy_options(r, options, err);
    if (!rc)
        *out = TAKE_PTR(r);
    return rc;
}

int remote_clone(const struct remote *r, const atomic_bool *stop, struct remote **out,
                 struct error *err)
{
    CLEANUP(remote_cleanup) struct remote *c = calloc(1, sizeof *c);
    if (!c)
        return fail_nomem(err);
    c->base = r->base;
    c->http_options = r->http_options; /* the CA stays the original's until http_open copies it */
    c->http_options.stop = stop;
    c->wallet = wallet_hold(r->wallet);
    c->retry = r->retry;
    c->notice = r->notice;
    c->answered = r->answered;
    if (r->token_service) {
        c->token_service = strdup(r->token_service);
        if (!c->token_service)
            return fail_nomem(err);
    }
    int rc = remote_ready(c, err);
    if (!rc)
        *out = TAKE_PTR(c);
    return rc;
}

void remote_close(struct remote *r)
{
    if (!r)
        return;
    http_close(r->http);
    bytes_done(&r->ca_pem);
    wallet_drop(r->wallet);
    auth_wipe(&r->shown);
    free(r->token_service);
    free(r);
}

void remote_cleanup(struct remote **r)
{
    remote_close(*r);
    *r = NULL;
}

void remote_be_patient(struct remote *r, const struct transfer_options *options)
{
    if (r->retry.tries == 0) /* unless its maker said how patient it is */
        r->retry = retry_transfers;
    r->notice = (struct retry_notice){options->notice, options->notice_ctx};
}

void remote_stop_at(struct remote *r, const atomic_bool *stop)
{
    r->http_options.stop = stop;
    if (r->http)
        http_stop_at(r->http, stop);
}

int remote_ready(struct remote *r, struct error *err)
{
    return r->http ? OK : http_open(&r->http_options, &r->http, err);
}

/* --- one request --- */

int remote_check_repository(const char *repository, struct error *err)
{
    if (!repository_name_valid(repository, strlen(repository)))
        return fail(err, E_USAGE, "'%.260s' is no repository name", repository);
    return OK;
}

int remote_url(const struct remote *r, struct url *out, struct error *err, const char *format, ...)
{
    CLEANUP(cleanup_free) char *path = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&path, format, args);
    va_end(args);
    if (n < 0) {
        path = NULL;
        return fail_nomem(err);
    }
    *out = r->base;
    return url_set_path(out, err, "%s", path);
}

int remote_authorize(struct remote *r, struct http_request *request, struct error *err)
{
    request->authorization = NULL;
    if (!url_same_origin(request->url, &r->base))
        return OK;
    auth_wipe(&r->shown);
    int rc = wallet_authorization(r->wallet, &r->shown, &r->generation, err);
    if (!rc && r->shown.len)
        request->authorization = bytes_text(&r->shown);
    return rc;
}

/* With one answer to a Bearer challenge: a registry that refuses its own fresh token would have us
 * ask for ever. */
static int call_once(struct remote *r, struct http_request *request, struct http_response *response,
                     struct error *err)
{
    int rc = remote_authorize(r, request, err);
    if (!rc)
        rc = http_perform(r->http, request, response, err);
    bool own = url_same_origin(request->url, &r->base);
    r->answered = r->answered || (own && !rc);
    if (rc || response->status != 401 || !own || strncasecmp(response->challenge, "bearer", 6) != 0)
        return rc;
    rc = remote_token_fetch(r, response->challenge, err);
    if (!rc)
        rc = remote_authorize(r, request, err);
    return rc ? rc : http_perform(r->http, request, response, err);
}

static void say_again(const struct remote *r, const struct http_response *response, int rc,
                      const struct error *why, int64_t wait_ms)
{
    char text[ERROR_MESSAGE_MAX + 80];
    if (!r->notice.say)
        return;
    int n = rc ? snprintf(text, sizeof text, "%s", why->message)
               : snprintf(text, sizeof text, "registry %s answered with status %d",
                          r->base.authority, response->status);
    if (n > 0 && (size_t)n < sizeof text)
        (void)snprintf(text + n, sizeof text - (size_t)n, "; trying again in %.1f s",
                       (double)wait_ms / 1000.0);
    r->notice.say(r->notice.ctx, text);
}

bool remote_again(struct remote *r, unsigned failed, const struct http_response *response, int *rc,
                  struct error *err)
{
    static const struct error unknown = {0, 0, "the connection was lost"};
    int64_t wait_ms = -1;
    if (retry_useful(*rc, response, r->answered))
        wait_ms = retry_wait_ms(&r->retry, failed, response);
    if (wait_ms < 0)
        return false;
    say_again(r, response, *rc, err ? err : &unknown, wait_ms);
    int stopped = retry_sleep(wait_ms, r->http_options.stop, err);
    if (stopped)
        *rc = stopped;
    return !stopped;
}

int remote_call(struct remote *r, struct http_request *request, struct http_response *response,
                struct error *err)
{
    int rc = remote_ready(r, err);
    if (rc)
        return rc;
    unsigned failed = 0;
    do
        rc = call_once(r, request, response, err);
    while (!request->source && !request->sink && remote_again(r, ++failed, response, &rc, err));
    return rc;
}

/* --- what a status means --- */

/* Cuts at `max` bytes but not inside a UTF-8 character. */
static int cut_length(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);
    if (len <= max)
        return (int)len;
    while (max && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return (int)max;
}

void remote_reason(const struct bytes *body, char out[REMOTE_REASON_MAX])
{
    CLEANUP(js_cleanup) struct js *root = NULL;
    out[0] = '\0';
    if (body->len == 0 || js_parse_lax(body->data, body->len, &root, NULL))
        return;
    const struct js *first = js_at(js_get(root, "errors"), 0);
    const char *code = js_text(js_get(first, "code"));
    const char *message = js_text(js_get(first, "message"));
    if (code)
        (void)snprintf(out, REMOTE_REASON_MAX, ": %.*s%s%.*s", cut_length(code, 60), code,
                       message ? ": " : "", message ? cut_length(message, 240) : 0,
                       message ? message : "");
}

struct status_row {
    int status;
    int code;
    const char *meaning; /* behind "registry HOST " */
};

static const struct status_row status_table[] = {
    {400, E_INVALID, "finds this request malformed"},
    {401, E_UNAUTHORIZED, "wants credentials"},
    {403, E_DENIED, "denies access"},
    {404, E_NOTFOUND, "has nothing of that name"},
    {405, E_UNSUPPORTED, "does not support this request"},
    {409, E_CONFLICT, "reports a conflict"},
    {413, E_LIMIT, "finds this too large"},
    {416, E_RANGE, "has no such range"},
    {429, E_NETWORK, "has had too many requests"},
};

static const struct status_row *row_of(int status)
{
    static const struct status_row server_failed = {0, E_NETWORK, "failed"};
    static const struct status_row redirect = {0, E_PROTOCOL, "answered with a redirect"};
    static const struct status_row unexpected = {0, E_PROTOCOL, "gave an unexpected answer"};
    for (size_t i = 0; i < sizeof status_table / sizeof status_table[0]; i++)
        if (status_table[i].status == status)
            return &status_table[i];
    if (status >= 500 && status <= 599)
        return &server_failed;
    return status / 100 == 3 ? &redirect : &unexpected;
}

const char *remote_login_advice(const struct remote *r, char out[REMOTE_ADVICE_MAX])
{
    *out = '\0';
    if (!r->tries_login)
        (void)snprintf(out, REMOTE_ADVICE_MAX, ": run 'bulla login %s'", r->base.authority);
    return out;
}

int remote_expect(const struct remote *r, const struct http_response *response, int want,
                  const char *what, struct error *err)
{
    if (response->status == want)
        return OK;
    char reason[REMOTE_REASON_MAX], advice[REMOTE_ADVICE_MAX];
    remote_reason(&response->body, reason);
    const char *host = r->base.authority;
    if (response->status == 401)
        return fail(err, E_UNAUTHORIZED, "registry %s %s for %s%s%s", host,
                    wallet_has_secret(r->wallet) ? "does not accept these credentials"
                                                 : "wants credentials",
                    what, remote_login_advice(r, advice), reason);
    const struct status_row *row = row_of(response->status);
    if (response->retry_after_s > 0 && row->code == E_NETWORK)
        return fail(err, row->code, "registry %s %s (%s, status %d) and asks to wait %lld s%s",
                    host, row->meaning, what, response->status, (long long)response->retry_after_s,
                    reason);
    return fail(err, row->code, "registry %s %s (%s, status %d)%s", host, row->meaning, what,
                response->status, reason);
}

int remote_ping(struct remote *r, struct error *err)
{
    struct url url;
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = remote_url(r, &url, err, "/v2/");
    struct http_request request = {.method = HTTP_GET, .url = &url}; /* OCI dist end-1 */
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    return rc ? rc : remote_expect(r, &response, 200, "its API", err);
}

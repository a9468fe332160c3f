/* Bearer tokens. Source: distribution token specification. */
#include "client/challenge.h"
#include "client/remote_private.h"

#include <string.h>

struct token_call {
    struct remote *remote;
    const struct challenge *challenge;
    struct url realm;
};

/* A secret goes only where realm_check says; without one anybody may be asked who speaks TLS. */
static int find_realm(struct token_call *t, struct error *err)
{
    const struct remote *r = t->remote;
    struct url url;
    int rc = url_resolve(&r->base, t->challenge->realm, &url, NULL);
    if (rc)
        return fail(err, E_UNAUTHORIZED, "registry %s names a token service that is no URL",
                    r->base.authority);
    if (!url.https && r->base.https)
        return fail(err, E_UNAUTHORIZED, "registry %s names a token service without TLS",
                    r->base.authority);
    if (wallet_has_secret(r->wallet))
        rc = realm_check(r, &url, err);
    if (!rc)
        t->realm = url;
    return rc;
}

/* The latest scope counts most; as many of the older ones as fit into a URL. */
static int add_query(const struct token_call *t, const char *const *scopes, size_t n,
                     struct url *url, struct error *err)
{
    int rc = OK;
    if (t->challenge->service[0])
        rc = url_add_query(url, "service", t->challenge->service, err);
    for (size_t i = n; !rc && i-- > 0;)
        if (url_add_query(url, "scope", scopes[i], i == n - 1 ? err : NULL))
            rc = i == n - 1 ? E_LIMIT : OK;
    return rc;
}

/* RFC 6750 b64token; anything else could end the header line. */
static bool token_valid(const char *token)
{
    size_t len = strnlen(token, TOKEN_MAX + 1);
    if (len == 0 || len > TOKEN_MAX)
        return false;
    for (const char *p = token; *p; p++)
        if (*p <= ' ' || *p > '~')
            return false;
    return true;
}

static int parse_token(const struct remote *r, const struct bytes *body, struct bytes *out,
                       struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = NULL;
    int rc = js_parse_lax(body->data, body->len, &root, err);
    if (rc)
        return fail(err, E_PROTOCOL, "registry %s sent a token answer that is no JSON",
                    r->base.authority);
    const char *token = js_text(js_get(root, "token"));
    if (!token)
        token = js_text(js_get(root, "access_token"));
    if (!token || !token_valid(token))
        return fail(err, E_PROTOCOL, "registry %s sent no usable token", r->base.authority);
    rc = bytes_reserve(out, strlen(token) + 7, err);
    return rc ? rc : bytes_append_format(out, err, "Bearer %s", token);
}

/* No token is no access: a 404 here must not read as "the manifest does not exist". */
static int token_refused(const struct remote *r, const struct http_response *response,
                         struct error *err)
{
    int rc = remote_expect(r, response, 200, "a token", err);
    if (rc == E_NETWORK || rc == E_DENIED || rc == E_UNAUTHORIZED)
        return rc;
    char advice[REMOTE_ADVICE_MAX];
    return fail(
        err, E_UNAUTHORIZED, "registry %s %s and gives no token (status %d)%s", r->base.authority,
        wallet_has_secret(r->wallet) ? "does not accept these credentials" : "wants credentials",
        response->status, remote_login_advice(r, advice));
}

/* application/x-www-form-urlencoded */
static int add_field(struct bytes *form, const char *name, const char *value, struct error *err)
{
    int rc = bytes_append_format(form, err, "%s%s=", form->len ? "&" : "", name);
    for (const char *p = value; !rc && *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("-._~", *p);
        rc = plain ? bytes_append(form, p, 1, err)
                   : bytes_append_format(form, err, "%%%02X", (unsigned)(unsigned char)*p);
    }
    return rc;
}

/* RFC 6749 6, in the words of distribution's OAuth2 token specification. */
static int refresh_form(const struct token_call *t, const char *const *scopes, size_t n,
                        struct bytes *form, struct error *err)
{
    CLEANUP(bytes_done) struct bytes scope = BYTES_INIT;
    const char *identity = wallet_identity(t->remote->wallet);
    /* All room at once: a buffer that grows leaves copies of the secret behind. */
    int rc = bytes_reserve(form, 3 * (strlen(identity) + (n + 1) * CHALLENGE_VALUE_MAX) + 256, err);
    for (size_t i = n; !rc && i-- > 0;)
        rc = bytes_append_format(&scope, err, "%s%s", scope.len ? " " : "", scopes[i]);
    if (!rc)
        rc = add_field(form, "grant_type", "refresh_token", err);
    if (!rc)
        rc = add_field(form, "client_id", "bulla", err);
    if (!rc)
        rc = add_field(form, "service", t->challenge->service, err);
    if (!rc && scope.len)
        rc = add_field(form, "scope", bytes_text(&scope), err);
    return rc ? rc : add_field(form, "refresh_token", identity, err);
}

static int fetch(void *ctx, const char *const *scopes, size_t n, struct bytes *token,
                 struct error *err)
{
    struct token_call *t = ctx;
    struct remote *r = t->remote;
    struct url url = t->realm;
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    CLEANUP(auth_wipe) struct bytes form = BYTES_INIT;
    struct http_request request = {.method = HTTP_GET, .url = &url, .max_body = TOKEN_ANSWER_MAX};
    int rc = bytes_reserve(&response.body, TOKEN_ANSWER_MAX, err);
    if (!rc && wallet_identity(r->wallet)) {
        rc = refresh_form(t, scopes, n, &form, err);
        request.method = HTTP_POST;
        request.content_type = "application/x-www-form-urlencoded";
        request.data = form.data;
        request.len = form.len;
    } else if (!rc) {
        rc = add_query(t, scopes, n, &url, err);
        request.authorization = wallet_basic(r->wallet);
    }
    if (!rc) /* once: who needs the token tries all of it again, and knows how often */
        rc = http_perform(r->http, &request, &response, err);
    if (!rc && response.status != 200)
        rc = token_refused(r, &response, err);
    if (!rc)
        rc = parse_token(r, &response.body, token, err);
    if (response.body.data)
        explicit_bzero(response.body.data, response.body.cap);
    return rc;
}

int remote_token_fetch(struct remote *r, const char *challenge, struct error *err)
{
    struct challenge ch;
    struct token_call t = {.remote = r, .challenge = &ch};
    int rc = challenge_parse(challenge, strlen(challenge), &ch, err);
    if (rc)
        return wrap(err, rc, "registry %s", r->base.authority);
    rc = find_realm(&t, err);
    return rc ? rc : wallet_renew(r->wallet, r->generation, ch.scope, fetch, &t, err);
}

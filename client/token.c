/* Bearer tokens. Source: distribution token specification. */
#include "client/challenge.h"
#include "client/remote_private.h"

#include <string.h>

/*
 * The realm must be of the registry's own origin: whoever can answer for a registry could otherwise
 * have the password sent anywhere (CVE-2026-48978, CVE-2026-33540).
 */
static int token_url(const struct remote *r, const struct challenge *ch, struct url *out,
                     struct error *err)
{
    struct url url;
    int rc = url_resolve(&r->base, ch->realm, &url, NULL);
    if (rc)
        return fail(err, E_UNAUTHORIZED, "registry %s names a token service that is no URL",
                    r->base.authority);
    if (!url_same_origin(&url, &r->base))
        return fail(err, E_UNAUTHORIZED,
                    "registry %s wants tokens from %s, but credentials are sent to the registry "
                    "itself only",
                    r->base.authority, url.authority);
    if (ch->service[0])
        rc = url_add_query(&url, "service", ch->service, err);
    if (!rc && ch->scope[0])
        rc = url_add_query(&url, "scope", ch->scope, err);
    if (rc)
        return rc;
    *out = url;
    return OK;
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

static int parse_token(struct remote *r, const struct bytes *body, struct error *err)
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
    auth_wipe(&r->bearer);
    rc = bytes_reserve(&r->bearer, strlen(token) + 7, err);
    return rc ? rc : bytes_append_format(&r->bearer, err, "Bearer %s", token);
}

/* No token is no access: a 404 here must not read as "the manifest does not exist". */
static int token_refused(const struct remote *r, const struct http_response *response,
                         struct error *err)
{
    int rc = remote_expect(r, response, 200, "a token", err);
    if (rc == E_NETWORK || rc == E_DENIED || rc == E_UNAUTHORIZED)
        return rc;
    return fail(err, E_UNAUTHORIZED,
                "registry %s %s and gives no token (status %d): run 'bulla "
                "login %s'",
                r->base.authority,
                r->basic.len ? "does not accept these credentials" : "wants credentials",
                response->status, r->base.authority);
}

int remote_token_fetch(struct remote *r, const char *challenge, struct error *err)
{
    struct challenge ch;
    struct url url;
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = challenge_parse(challenge, strlen(challenge), &ch, err);
    if (rc)
        return wrap(err, rc, "registry %s", r->base.authority);
    rc = token_url(r, &ch, &url, err);
    if (rc)
        return rc;
    struct http_request request = {
        .method = HTTP_GET,
        .url = &url,
        .authorization = r->basic.len ? bytes_text(&r->basic) : NULL,
        .max_body = TOKEN_ANSWER_MAX,
    };
    rc = http_perform(r->http, &request, &response, err);
    if (!rc && response.status != 200)
        rc = token_refused(r, &response, err);
    if (!rc)
        rc = parse_token(r, &response.body, err);
    if (response.body.data)
        explicit_bzero(response.body.data, response.body.cap);
    return rc;
}

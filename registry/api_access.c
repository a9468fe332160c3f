/* Who calls, whether they may, and what a 401 says. Source: OCI distribution-spec 1.1.1,
 * "Authorization"; "Docker Registry v2 authentication"; RFC 6750, 3; RFC 7235, 4.1. */
#include "registry/access.h"
#include "registry/api.h"
#include "registry/http_text.h"
#include "registry/token.h"

#include <string.h>

static bool is_token_form(const struct api_call *c)
{
    return c->route.kind == ROUTE_TOKEN && http_request_method(c->http) == HTTP_POST;
}

/* *out is DIGEST_NONE where no certificate was shown. One that is not acceptable is an error: its
 * owner would wonder about a plain 401. */
static int shown_certificate(struct api_call *c, struct digest *out, struct error *err)
{
    struct error why = ERROR_INIT;
    int rc = http_request_client_certificate(c->http, out, &why);
    if (rc == E_NOTFOUND)
        return 0;
    return rc == E_TLS ? fail(err, E_UNAUTHORIZED, "%s", why.message) : rc;
}

static int authenticate(struct api_call *c, struct index_tx *tx, struct error *err)
{
    struct digest certificate = {.alg = DIGEST_NONE};
    struct users_proof proof = {.address = http_request_address(c->http),
                                .only_passwords = c->route.kind == ROUTE_TOKEN};
    /* Its form says who it is. */
    if (!is_token_form(c))
        proof.authorization = http_request_header(c->http, "Authorization");
    int rc = proof.authorization ? 0 : shown_certificate(c, &certificate, err);
    if (rc != 0)
        return rc;
    if (certificate.alg != DIGEST_NONE)
        proof.certificate = &certificate;
    rc = users_authenticate(c->registry->users, tx, &proof, &c->who, err);
    if (rc == E_BUSY)
        c->retry_after_s = proof.retry_after_s ? proof.retry_after_s : 1;
    if (rc == E_UNAUTHORIZED && proof.bearer)
        c->challenge_error = "invalid_token";
    return rc;
}

/* Rights come after names: who is refused learns nothing of what exists. Somebody known who lacks a
 * grant gets 403, for no other token would help; who lacks only scope, or is unknown, 401. */
static int decide(struct api_call *c, struct index_tx *tx, unsigned actions, struct error *err)
{
    const struct access_identity *who = &c->who;
    /* Clients learn from the base endpoint that credentials are wanted at all. */
    if (c->route.kind == ROUTE_BASE && who->method == ACCESS_BY_NOTHING)
        return fail(err, E_UNAUTHORIZED, "credentials are needed");
    if (c->route.kind == ROUTE_CATALOG && who->method == ACCESS_BY_BEARER && !who->scopes.catalog)
        return fail(err, E_UNAUTHORIZED, "the token is not for the catalogue");
    int rc = access_check(tx, who, c->route.repository, actions, err);
    if (rc == E_DENIED && access_is_anonymous(who))
        return fail(err, E_UNAUTHORIZED, "credentials are needed");
    return rc;
}

int api_authorize(struct api_call *c, struct error *err)
{
    struct index_tx *tx = NULL;
    unsigned actions = 0;
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = authenticate(c, tx, err);
    if (rc != 0)
        return rc;
    rc = access_needed(&c->route, http_request_method(c->http), &actions, err);
    if (rc != 0) {
        c->status = 405;
        return api_fail(c, "UNSUPPORTED", rc);
    }
    return decide(c, tx, actions, err);
}

/* --- the challenge --- */

/* `,scope="…"`: what a token for this request should allow; "" where that cannot be said. */
static void format_scope(struct api_call *c, char *out, size_t size)
{
    char text[ACCESS_ACTIONS_TEXT_MAX], from[REFERENCE_REPOSITORY_MAX + 1] = "";
    unsigned actions = 0;
    *out = '\0';
    if (c->route.kind == ROUTE_CATALOG)
        snprintf(out, size, ",scope=\"registry:catalog:*\"");
    if (!c->route.repository[0] ||
        access_needed(&c->route, http_request_method(c->http), &actions, NULL) != 0)
        return;
    bool mounts =
        c->route.kind == ROUTE_UPLOADS && api_query(c, "from", from, sizeof from, NULL) == 0 &&
        repository_name_valid(from, strlen(from)) && strcmp(from, c->route.repository) != 0;
    snprintf(out, size, ",scope=\"repository:%s:%s%s%s%s\"", c->route.repository,
             access_actions_format(access_scope_wanted(actions), text),
             mounts ? " repository:" : "", mounts ? from : "", mounts ? ":pull" : "");
}

/* The realm is where the client will send its password: with TLS it got here by that same name. */
static const char *public_host(const struct api_call *c)
{
    const char *host = c->registry->config->access.public_host;
    if (!host)
        host = http_request_header(c->http, "Host");
    return host && config_authority_valid(host) ? host : NULL;
}

int api_challenge(struct api_call *c, struct error *err)
{
    char scope[2 * REFERENCE_REPOSITORY_MAX + 2 * ACCESS_ACTIONS_TEXT_MAX + 64];
    const char *host = public_host(c), *error = c->challenge_error;
    if (c->route.kind == ROUTE_TOKEN)
        return http_reply_header(c->http, "WWW-Authenticate", "Basic realm=\"" TOKEN_SERVICE "\"",
                                 err);
    if (!host)
        return fail(err, E_INVALID,
                    "the Host header names no host: the registry's publicUrl could say it");
    if (!error && c->who.method == ACCESS_BY_BEARER && c->subject[0])
        error = "insufficient_scope";
    format_scope(c, scope, sizeof scope);
    return api_reply_header(
        c, "WWW-Authenticate", err,
        "Bearer realm=\"https://%s/auth/token\",service=\"" TOKEN_SERVICE "\"%s%s%s%s", host, scope,
        error ? ",error=\"" : "", error ? error : "", error ? "\"" : "");
}

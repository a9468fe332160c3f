/*
 * /auth/token: from credentials, or none, to a short-lived Bearer token.
 *
 * GET with Basic (docker, podman, skopeo, oras), or without anything for what everybody may do; and
 * POST of an OAuth2 form (containerd, buildkit): grant_type password, or refresh_token with an API
 * token in it. No refresh tokens are given out: a second long-lived secret beside the password and
 * API tokens, which can be listed and revoked, would only be one more to lose.
 * Source: "Docker Registry v2 authentication", token and OAuth2.
 */
#include "base/clock.h"
#include "keys/secret.h"
#include "registry/api.h"
#include "registry/token.h"
#include "registry/token_request.h"

#include <string.h>
#include <strings.h>

/* What is asked for, cut down to what the caller may do now. */
static int intersect(struct api_call *c, struct access_scopes *scopes, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = api_read(c, &tx, err);
    for (size_t i = 0; rc == 0 && i < scopes->n; i++)
        rc = access_granted(tx, &c->who, scopes->list[i].repository, &scopes->list[i].actions, err);
    return rc;
}

static int build_answer(const struct token_order *order, const char *token, struct js *out,
                        struct error *err)
{
    char issued[CLOCK_TEXT_MAX];
    /* Two names for one thing: the older clients read the first, OAuth2 ones the second. */
    int rc = js_set(out, "token", js_text_new(token), err);
    if (rc == 0)
        rc = js_set(out, "access_token", js_text_new(token), err);
    if (rc == 0)
        rc = js_set(out, "token_type", js_text_new("Bearer"), err);
    if (rc == 0)
        rc = js_set(out, "expires_in", js_int_new(order->lifetime_s), err);
    if (rc == 0)
        rc = js_set(out, "issued_at", js_text_new(clock_format(order->now_s, issued)), err);
    return rc;
}

static int reply_token(struct api_call *c, const struct token_order *order, struct error *err)
{
    CLEANUP(js_cleanup) struct js *answer = js_object_new();
    CLEANUP(bytes_done) struct bytes token = BYTES_INIT;
    int rc = token_issue(c->registry->token_keys, order, &token, err);
    if (rc == E_LIMIT)
        return fail(err, E_INVALID, "too many scopes for one token");
    if (rc == 0)
        rc = build_answer(order, bytes_text(&token), answer, err);
    if (rc == 0)
        rc = http_reply_header(c->http, "Cache-Control", "no-store", err);
    if (rc == 0)
        rc = api_reply_json(c, answer, err);
    http_reply_status(c->http, 200);
    return rc;
}

static int answer(struct api_call *c, struct token_request *request, struct error *err)
{
    if (request->service[0] && strcmp(request->service, TOKEN_SERVICE) != 0)
        return fail(err, E_INVALID, "tokens are given for service '" TOKEN_SERVICE "' only");
    int rc = intersect(c, &request->scopes, err);
    api_read_end(c);
    const struct token_order order = {.who = &c->who,
                                      .scopes = &request->scopes,
                                      .now_s = clock_now_s(),
                                      .lifetime_s = c->registry->config->access.token_lifetime_s};
    return rc == 0 ? reply_token(c, &order, err) : rc;
}

static int parse_request(const char *text, size_t len, struct token_request *out, struct error *err)
{
    int rc = token_request_parse(text, len, out, err);
    return rc == E_LIMIT ? fail(err, E_INVALID, "too many scopes for one token") : rc;
}

static int get_token(struct api_call *c, struct error *err)
{
    CLEANUP(token_request_done) struct token_request request;
    const char *query = http_request_query(c->http);
    int rc = parse_request(query ? query : "", query ? strlen(query) : 0, &request, err);
    return rc == 0 ? answer(c, &request, err) : rc;
}

/* --- POST --- */

static int begin_post(struct api_call *c, struct error *err)
{
    static const char form[] = "application/x-www-form-urlencoded";
    const char *type = http_request_header(c->http, "Content-Type");
    if (!type || strncasecmp(type, form, sizeof form - 1) != 0 ||
        strcspn(type, "; ") < sizeof form - 1)
        return fail(err, E_INVALID, "the body must be %s", form);
    return api_want_body(c, TOKEN_REQUEST_MAX, err);
}

static int log_in(struct api_call *c, const struct token_request *request, struct error *err)
{
    struct index_tx *tx = NULL;
    struct users_login login = {.address = http_request_address(c->http)};
    if (strcmp(request->grant_type, "password") == 0) {
        login.name = request->username;
        login.password = request->password;
    } else if (strcmp(request->grant_type, "refresh_token") == 0) {
        login.name = "";
        login.password = request->refresh_token;
    } else {
        return fail(err, E_INVALID, "grant_type must be password or refresh_token");
    }
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = users_login(c->registry->users, tx, &login, &c->who, err);
    if (rc == E_BUSY)
        c->retry_after_s = login.retry_after_s ? login.retry_after_s : 1;
    return rc;
}

static int post_token(struct api_call *c, struct error *err)
{
    CLEANUP(token_request_done) struct token_request request;
    int rc = parse_request(bytes_text(&c->body), c->body.len, &request, err);
    if (c->body.data)
        secret_wipe(c->body.data, c->body.cap);
    if (rc == 0)
        rc = log_in(c, &request, err);
    return rc == 0 ? answer(c, &request, err) : rc;
}

const struct api_operation api_auth_operations[] = {
    {ROUTE_TOKEN, HTTP_GET, NULL, NULL, get_token, NULL},
    {ROUTE_TOKEN, HTTP_POST, begin_post, NULL, post_token, NULL},
    {.finish = NULL}};

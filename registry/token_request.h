/*
 * What a client asks of /auth/token: a query (GET) or a form (OAuth2 POST), and its scopes.
 *
 * Pure. Unknown members are ignored, as other token servers do; members that decide something may
 * stand once only. Thread-safe.
 * Source: "Docker Registry v2 authentication", token and OAuth2; RFC 6749, 4.3 and 6.
 */
#ifndef BULLA_REGISTRY_TOKEN_REQUEST_H
#define BULLA_REGISTRY_TOKEN_REQUEST_H

#include "registry/access.h"

#define TOKEN_REQUEST_MAX 16384u /* bytes of query or form */

struct token_request {
    char grant_type[32]; /* "": a GET */
    char service[256];   /* "": none is named */
    char username[USER_NAME_MAX + 2];
    char password[320]; /* room for the longest password, an API token, and one more */
    char refresh_token[128];
    struct access_scopes scopes;
};

/*
 * `scope` may stand several times and hold several scopes, separated by blanks:
 * "repository:NAME:ACTIONS" or "registry:catalog:*". Actions that are unknown, and names that are
 * none, ask for nothing; `*` asks for all. E_INVALID: a broken escape, a member twice, a value that
 * is too long, a scope without its three parts; E_LIMIT: too many scopes. token_request_done in
 * every case.
 */
int token_request_parse(const char *text, size_t len, struct token_request *out,
                        struct error *err) MUST_CHECK;
/* Wipes. */
void token_request_done(struct token_request *request);

#endif

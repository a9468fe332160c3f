/*
 * The registry's own Bearer tokens: JSON Web Tokens, signed with Ed25519.
 *
 * Only what this registry itself issued is read: exactly the members it writes, `alg` exactly
 * EdDSA, the key by its id from our own set and never from the token, issuer and audience this
 * service, times within their bounds. Whoever the token names is looked up again when it is used: a
 * token is a short-lived proof of a login, not of rights. Thread-safe. Source: RFC 7515 (compact
 * form), RFC 7519, RFC 8037; "Docker Registry v2 authentication".
 */
#ifndef BULLA_REGISTRY_TOKEN_H
#define BULLA_REGISTRY_TOKEN_H

#include "registry/access.h"
#include "registry/token_keys.h"

#define TOKEN_SERVICE  "bulla-registry" /* issuer, audience, and `service` of the challenge */
#define TOKEN_TEXT_MAX (16u << 10)
#define TOKEN_SKEW_S   10 /* a clock may have gone back this far since the token was issued */

/*
 * Issues a token for `who` (ACCESS_BY_NOTHING for anonymous) that is good for `scopes` and
 * lifetime_s seconds from now_s. Appended to out. E_LIMIT: too many scopes for one header.
 */
struct token_order {
    const struct access_identity *who;
    const struct access_scopes *scopes;
    int64_t now_s, lifetime_s;
};
int token_issue(struct token_keys *keys, const struct token_order *order, struct bytes *out,
                struct error *err) MUST_CHECK;

/*
 * Whom the token was issued to, with method ACCESS_BY_BEARER, serial, api_token and scopes set; the
 * rest must be looked up. Owned by the caller (access_identity_done). E_UNAUTHORIZED says why not.
 */
int token_read(struct token_keys *keys, const char *text, int64_t now_s,
               struct access_identity *out, struct error *err) MUST_CHECK;

#endif

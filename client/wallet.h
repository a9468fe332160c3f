/*
 * The secrets that one registry is shown: password or identity token, and the bearer token of the
 * moment.
 *
 * Shared by all connections to a registry and counted by them, so that several workers ask for one
 * token, not one each. Secrets are wiped when the last holder lets go. Password and identity token
 * are set before a second holder exists; the rest is thread-safe.
 */
#ifndef BULLA_CLIENT_WALLET_H
#define BULLA_CLIENT_WALLET_H

#include "base/bytes.h"

#define WALLET_SCOPES_MAX 8 /* a mount needs two; more is somebody who makes us collect */

struct wallet;

int wallet_new(struct wallet **out, struct error *err) MUST_CHECK;
struct wallet *wallet_hold(struct wallet *w);
/* Lets go of it. */
void wallet_drop(struct wallet *w);

/* Only before the first wallet_hold. "Basic …", or an identity token (OAuth2 refresh token). Taken
 * from secret, which is left empty. */
void wallet_set_basic(struct wallet *w, struct bytes *secret);
void wallet_set_identity(struct wallet *w, struct bytes *secret);
/* Borrowed, live as long as the wallet; NULL: none. */
const char *wallet_basic(const struct wallet *w);
const char *wallet_identity(const struct wallet *w);
/* Whether anything secret would be shown to who asks for credentials. */
bool wallet_has_secret(const struct wallet *w);

/* The header value to send now, appended to out (wipe it): bearer token, else Basic, else nothing.
 * *generation names the token for wallet_renew. */
int wallet_authorization(struct wallet *w, struct bytes *out, unsigned *generation,
                         struct error *err) MUST_CHECK;

/*
 * Gets a better token than that of `generation`: where another connection got one for this scope
 * meanwhile, nothing is asked. Otherwise fetch is called with every scope asked for so far (this
 * one included), appends "Bearer …" to token, and others wait for it.
 */
typedef int wallet_fetch(void *ctx, const char *const *scopes, size_t n, struct bytes *token,
                         struct error *err);
int wallet_renew(struct wallet *w, unsigned generation, const char *scope, wallet_fetch *fetch,
                 void *ctx, struct error *err) MUST_CHECK;

#endif

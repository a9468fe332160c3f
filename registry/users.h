/*
 * From what a request proves to who it is.
 *
 * Passwords and API tokens come by Basic (or in a form), Bearer tokens are our own (token.h), a
 * client certificate counts where there is no Authorization header. A password that was right is
 * remembered for at most USERS_CACHE_S under an HMAC with a key of this process; the MAC covers the
 * stored hash, so a user whose password changes or who is removed, in this or any other process, is
 * forgotten at once. An unknown or disabled user costs what a wrong password costs, and attempts
 * are limited (login_limit.h). Everything else is looked up anew at each use: what was handed out
 * to a user dies with the user. Thread-safe. Never logs what it is given.
 */
#ifndef BULLA_REGISTRY_USERS_H
#define BULLA_REGISTRY_USERS_H

#include "registry/access.h"
#include "registry/index_accounts.h"
#include "registry/token_keys.h"

#define USERS_CACHE_S 300

struct users;

/* password_init must have been called. keys must outlive it. */
int users_new(struct token_keys *keys, struct users **out, struct error *err) MUST_CHECK;
void users_free(struct users *u);

/* What one request shows. */
struct users_proof {
    const char *authorization;        /* the header; NULL: none */
    const struct digest *certificate; /* fingerprint, checked by TLS; NULL: none */
    const char *address;              /* of the peer */
    bool only_passwords;              /* Bearer tokens are not taken */
    unsigned retry_after_s;           /* out, with E_BUSY; 0: soon */
    bool bearer;                      /* out: a Bearer token was shown */
};

/*
 * who must be zeroed, and is to be ended with access_identity_done whatever comes back. "anonymous"
 * where nothing, or empty credentials, were shown, or a certificate that stands for nobody.
 * E_UNAUTHORIZED: wrong or unreadable credentials; E_BUSY: too many attempts.
 */
int users_authenticate(struct users *u, struct index_tx *tx, struct users_proof *proof,
                       struct access_identity *who, struct error *err) MUST_CHECK;

/* The same for a name and a password (or an API token; its name may be ""). */
struct users_login {
    const char *name, *password, *address;
    unsigned retry_after_s; /* out, with E_BUSY */
};
int users_login(struct users *u, struct index_tx *tx, struct users_login *login,
                struct access_identity *who, struct error *err) MUST_CHECK;

#endif

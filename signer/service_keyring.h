/*
 * The signing service's private keys: made here, kept encrypted elsewhere, unlocked in locked
 * memory only.
 *
 * Keys may also lie on a token: then what is kept elsewhere only names them.
 * Unlocking costs a tenth of a second and 64 MiB for a moment (Argon2id), so the keys used last
 * stay unlocked. One thread per object.
 */
#ifndef BULLA_SIGNER_SERVICE_KEYRING_H
#define BULLA_SIGNER_SERVICE_KEYRING_H

#include "signer/service_token.h"

/* Each takes about two locked pages; the usual limit on locked memory is 8 MiB. */
#define SERVICE_KEYRING_MAX 64u
/* Of them on a token: each has a process of its own. */
#define SERVICE_KEYRING_TOKEN_MAX 8u

struct service_keyring;

/* Moves the passphrase into the ring. */
int service_keyring_new(struct secret *passphrase, struct service_keyring **out,
                        struct error *err) MUST_CHECK;
void service_keyring_free(struct service_keyring *ring);
void service_keyring_cleanup(struct service_keyring **ring);

/* Moves the token into the ring; NULL: there is none. */
void service_keyring_use(struct service_keyring *ring, struct service_token *token);
/* Borrowed; NULL where there is none. */
struct service_token *service_keyring_token(const struct service_keyring *ring);

/* A fresh Ed25519 key pair, encrypted; appended to sealed. The pair itself is forgotten. */
int service_keyring_make(struct service_keyring *ring, const char *label, struct bytes *sealed,
                         struct error *err) MUST_CHECK;
/* Unlocks for the caller, who owns the result. E_PASSPHRASE, E_TAMPERED. */
int service_keyring_unlock(struct service_keyring *ring, const char *label,
                           const struct bytes *sealed, struct signing_key **out,
                           struct error *err) MUST_CHECK;
/* Unlocked or remembered; borrowed until SERVICE_KEYRING_MAX other keys have been asked for. */
int service_keyring_get(struct service_keyring *ring, const char *label, const struct bytes *sealed,
                        struct signing_key **out, struct error *err) MUST_CHECK;
/* The public half, for the caller; a token need not be there for it. */
int service_keyring_public(struct service_keyring *ring, const char *label,
                           const struct bytes *sealed, struct public_key **out,
                           struct error *err) MUST_CHECK;
/* Whether it is unlocked or open already. */
bool service_keyring_holds(const struct service_keyring *ring, const struct bytes *sealed);
/* What came of a signature: a key on a token that failed is opened anew when it is asked for next.
 */
void service_keyring_note(struct service_keyring *ring, const struct bytes *sealed, int rc,
                          const struct error *err);

#endif

/*
 * The signing service's private keys: made here, kept encrypted elsewhere, unlocked in locked
 * memory only.
 *
 * Unlocking costs a tenth of a second and 64 MiB for a moment (Argon2id), so the keys used last
 * stay unlocked. One thread per object.
 */
#ifndef BULLA_SIGNER_SERVICE_KEYRING_H
#define BULLA_SIGNER_SERVICE_KEYRING_H

#include "keys/signing_key.h"

/* Each takes about two locked pages; the usual limit on locked memory is 8 MiB. */
#define SERVICE_KEYRING_MAX 64u

struct service_keyring;

/* Moves the passphrase into the ring. */
int service_keyring_new(struct secret *passphrase, struct service_keyring **out,
                        struct error *err) MUST_CHECK;
void service_keyring_free(struct service_keyring *ring);
void service_keyring_cleanup(struct service_keyring **ring);

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

#endif

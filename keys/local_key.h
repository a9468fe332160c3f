/*
 * Signing keys whose private half is in our own (locked) memory. Private to keys/.
 */
#ifndef BULLA_KEYS_LOCAL_KEY_H
#define BULLA_KEYS_LOCAL_KEY_H

#include "keys/signing_key.h"

#define LOCAL_SECRET_LEN 32 /* Ed25519 seed, or P-256 scalar big-endian */

/* Takes secret over on success. E_INVALID: not a private key; E_UNSUPPORTED: RSA. */
int local_key_open(enum key_type type, struct secret *secret, const char *label,
                   struct signing_key **out, struct error *err) MUST_CHECK;
/* Borrowed private half; NULL for a key on a token. */
const struct secret *local_key_secret(const struct signing_key *key);

#endif

/*
 * The sealed form of a private key: what lies in NAME.key and in the signing service's database.
 *
 * Layout, all numbers big-endian:
 *      0   8  "BULLAKEY"
 *      8   1  version, 1
 *      9   1  key type: 1 ed25519, 2 ecdsa-p256
 *     10   2  length P of the public half
 *     12   4  Argon2id passes
 *     16   4  Argon2id memory in KiB
 *     20  16  salt
 *     36  24  nonce
 *     60   P  public half, as public_key_bytes gives it
 *   60+P  48  XChaCha20-Poly1305 of the 32-byte private half; everything before is its header
 *  108+P  32  SHA-256 of everything before
 *
 * The checksum protects nothing against people (the Poly1305 tag does); it tells a damaged file
 * from a wrong passphrase, and spares the cost of Argon2id for the former. Private to keys/.
 */
#ifndef BULLA_KEYS_KEY_FILE_H
#define BULLA_KEYS_KEY_FILE_H

#include "keys/libsodium.h"
#include "keys/signing_key.h"

#define KEY_FILE_MAX 512 /* an ecdsa-p256 key takes 231 bytes */

/* signing_key_seal with a cost of the caller's choice. */
int key_file_seal(const struct signing_key *key, const struct secret *passphrase,
                  struct derive_cost cost, struct bytes *out, struct error *err) MUST_CHECK;
/* The public half, checked for form and checksum but authenticated only by signing_key_unseal.
 * E_INVALID: not a key file; E_TAMPERED: damaged; E_UNSUPPORTED: of a later version. */
int key_file_public(const void *data, size_t len, struct public_key **out,
                    struct error *err) MUST_CHECK;

#endif

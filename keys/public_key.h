/*
 * Public keys and signature verification, in TUF's terms.
 *
 * A struct public_key is immutable after it was made. Verification accepts only the three schemes
 * of design: ed25519, ecdsa-sha2-nistp256 (DER signatures), rsassa-pss-sha256 (2048 to 8192 bits).
 * Source: TUF specification 1.0.34, 4.2.1 "File formats: general principles".
 */
#ifndef BULLA_KEYS_PUBLIC_KEY_H
#define BULLA_KEYS_PUBLIC_KEY_H

#include "base/json.h"

enum key_type { KEY_ED25519, KEY_ECDSA_P256, KEY_RSA };

/* Text is 64 lower-case hex digits: SHA-256 of the canonical JSON of the key object. */
struct key_id {
    char text[65];
};

struct public_key;

/* "ed25519", "ecdsa-p256", "rsa". */
const char *key_type_name(enum key_type type);

/* From a TUF key object {keytype, scheme, keyval: {public}}. Accepts keytype `ecdsa` and the older
 * `ecdsa-sha2-nistp256`; unknown members are ignored here but belong to the key id. E_INVALID
 * (shape, size, point not on the curve, RSA under 2048 bits), E_UNSUPPORTED (other keytype/scheme).
 */
int public_key_from_tuf(const struct js *object, struct public_key **out,
                        struct error *err) MUST_CHECK;
/* Raw 32 bytes (Ed25519), or DER SubjectPublicKeyInfo (P-256, RSA). */
int public_key_from_bytes(enum key_type type, const void *data, size_t len, struct public_key **out,
                          struct error *err) MUST_CHECK;
/* The TUF key object Bulla writes: keytype ed25519 / ecdsa / rsa. Owned by the caller. */
int public_key_to_tuf(const struct public_key *key, struct js **out, struct error *err) MUST_CHECK;
/* `-----BEGIN PUBLIC KEY-----` around the DER SubjectPublicKeyInfo, as openssl writes it. Appended.
 * Source: RFC 7468, 13; RFC 8410, 4. */
int public_key_to_pem(const struct public_key *key, struct bytes *out,
                      struct error *err) MUST_CHECK;
/* The way back; the type is the key's own. E_INVALID. */
int public_key_from_pem(const char *text, struct public_key **out, struct error *err) MUST_CHECK;
/* A file of either form: a TUF key object as JSON, or PEM. E_INVALID, E_UNSUPPORTED. */
int public_key_parse(const struct bytes *file, struct public_key **out,
                     struct error *err) MUST_CHECK;
/* Key id of the object that public_key_to_tuf writes. */
int public_key_id(const struct public_key *key, struct key_id *out, struct error *err) MUST_CHECK;
/* Key id of any TUF key object, unknown members included. */
int key_id_of_object(const struct js *object, struct key_id *out, struct error *err) MUST_CHECK;
/* 64 lower-case hex digits, else E_INVALID. */
int key_id_parse(const char *text, struct key_id *out, struct error *err) MUST_CHECK;

enum key_type public_key_type(const struct public_key *key);
/* Same key material, whatever its encoding: finds one key under two ids. */
bool public_key_equal(const struct public_key *a, const struct public_key *b);
/* The key material itself, in the one form public_key_from_bytes reads. Appended to out. */
int public_key_bytes(const struct public_key *key, struct bytes *out, struct error *err) MUST_CHECK;
struct public_key *public_key_dup(const struct public_key *key);
void public_key_free(struct public_key *key);
void public_key_cleanup(struct public_key **key);

/* 0, or E_SIGNATURE where sig is not a signature of msg by key (wrong length and form included). */
int public_key_verify(const struct public_key *key, const void *msg, size_t msg_len,
                      const void *sig, size_t sig_len, struct error *err) MUST_CHECK;

#endif

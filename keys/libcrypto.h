/*
 * The adapter over OpenSSL's public-key half: ECDSA P-256, RSA-PSS, SubjectPublicKeyInfo.
 *
 * Only libcrypto.c sees OpenSSL. Private to keys/. A struct libcrypto_key is an immutable public
 * key; several threads may verify with one. Thread-safe.
 */
#ifndef BULLA_KEYS_LIBCRYPTO_H
#define BULLA_KEYS_LIBCRYPTO_H

#include "base/bytes.h"

#define P256_SCALAR_LEN      32
#define P256_POINT_LEN       65   /* 04, X, Y */
#define P256_RAW_LEN         64   /* r, s */
#define SPKI_MAX             2048 /* an RSA key of 8192 bits needs 1062 */
#define RSA_BITS_MIN         2048
#define RSA_BITS_MAX         8192 /* verification time grows with the square */
#define LIBCRYPTO_DIGEST_LEN 32

enum libcrypto_type { LIBCRYPTO_P256, LIBCRYPTO_RSA };

struct libcrypto_key;

/* Strict DER SubjectPublicKeyInfo of the named type. E_INVALID: other type or curve, explicit curve
 * parameters, point not on the curve, RSA outside 2048 to 8192 bits or with a bad exponent, bytes
 * behind the end. */
int libcrypto_key_parse(enum libcrypto_type type, const void *der, size_t len,
                        struct libcrypto_key **out, struct error *err) MUST_CHECK;
/* From an uncompressed P-256 point. E_INVALID. */
int libcrypto_key_from_point(const void *point, size_t len, struct libcrypto_key **out,
                             struct error *err) MUST_CHECK;
/* Appends the one DER form of the key: named curve, uncompressed point. */
int libcrypto_key_der(const struct libcrypto_key *key, struct bytes *out,
                      struct error *err) MUST_CHECK;
/* Another reference to the same immutable key; NULL when memory is out. */
struct libcrypto_key *libcrypto_key_dup(const struct libcrypto_key *key);
void libcrypto_key_free(struct libcrypto_key *key);
void libcrypto_key_cleanup(struct libcrypto_key **key);

/* SHA-256 with ECDSA (strict DER) or RSA-PSS (MGF1 SHA-256, any salt length). 0 or E_SIGNATURE. */
int libcrypto_verify(const struct libcrypto_key *key, const void *msg, size_t len, const void *sig,
                     size_t sig_len, struct error *err) MUST_CHECK;

/* A fresh P-256 scalar, big-endian, into (locked) memory of the caller. */
int libcrypto_p256_generate(uint8_t scalar[static P256_SCALAR_LEN], struct error *err) MUST_CHECK;
/* The uncompressed point of a scalar. E_INVALID for 0 and for the group order and above. */
int libcrypto_p256_public(const uint8_t scalar[static P256_SCALAR_LEN],
                          uint8_t point[static P256_POINT_LEN], struct error *err) MUST_CHECK;
/* Appends a DER signature over SHA-256(msg). */
int libcrypto_p256_sign(const uint8_t scalar[static P256_SCALAR_LEN], const void *msg, size_t len,
                        struct bytes *out, struct error *err) MUST_CHECK;
/* Appends the DER form of r || s, as tokens give it. E_INVALID for zero halves. */
int libcrypto_p256_signature_der(const uint8_t raw[static P256_RAW_LEN], struct bytes *out,
                                 struct error *err) MUST_CHECK;

/* What a certificate on a token is good for here: its key as SPKI, its type and subject. The
 * certificate's signature and dates mean nothing to us and are not looked at. */
struct libcrypto_certificate {
    enum libcrypto_type type;
    uint8_t spki[SPKI_MAX];
    size_t spki_len;
    char subject[128]; /* cut */
};
/* E_INVALID, E_UNSUPPORTED (a key type that Bulla cannot use). */
int libcrypto_certificate_parse(const void *der, size_t len, struct libcrypto_certificate *out,
                                struct error *err) MUST_CHECK;

#endif

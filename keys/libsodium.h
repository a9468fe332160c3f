/*
 * The adapter over libsodium: guarded memory, Ed25519, Argon2id, XChaCha20-Poly1305.
 *
 * Only libsodium.c sees libsodium. Private to keys/. Thread-safe.
 */
#ifndef BULLA_KEYS_LIBSODIUM_H
#define BULLA_KEYS_LIBSODIUM_H

#include "base/bytes.h"

#define ED25519_PUBLIC_LEN    32
#define ED25519_SEED_LEN      32
#define ED25519_SIGNATURE_LEN 64

#define SEAL_SALT_LEN  16
#define SEAL_NONCE_LEN 24
#define SEAL_KEY_LEN   32
#define SEAL_TAG_LEN   16

/* Argon2id: passes over the memory, and the memory. */
struct derive_cost {
    uint32_t passes;
    uint32_t memory_kib;
};

/* Guarded, locked where the limit allows, kept out of core dumps, zeroed. NULL: out of memory. */
void *libsodium_alloc(size_t len);
/* Wipes and frees. */
void libsodium_free(void *memory);
void libsodium_wipe(void *data, size_t len);
/* Time does not depend on the content. */
bool libsodium_same(const void *a, const void *b, size_t len);
int libsodium_random(void *out, size_t len, struct error *err) MUST_CHECK;
/* What libsodium calls interactive. */
struct derive_cost libsodium_cost_interactive(void);

/* False for points not on the curve, of small order or not in canonical form. */
bool libsodium_ed25519_valid(const uint8_t public_half[static ED25519_PUBLIC_LEN]);
int libsodium_ed25519_public(const uint8_t seed[static ED25519_SEED_LEN],
                             uint8_t out[static ED25519_PUBLIC_LEN], struct error *err) MUST_CHECK;
int libsodium_ed25519_sign(const uint8_t seed[static ED25519_SEED_LEN], const void *msg, size_t len,
                           uint8_t out[static ED25519_SIGNATURE_LEN], struct error *err) MUST_CHECK;
/* 0 or E_SIGNATURE. */
int libsodium_ed25519_verify(const uint8_t public_half[static ED25519_PUBLIC_LEN], const void *msg,
                             size_t len, const uint8_t sig[static ED25519_SIGNATURE_LEN],
                             struct error *err) MUST_CHECK;

/* Argon2id version 1.3, one lane. E_NOMEM where cost.memory_kib is not to be had.
 * Source: RFC 9106. */
int libsodium_derive(const void *passphrase, size_t len, const uint8_t salt[static SEAL_SALT_LEN],
                     struct derive_cost cost, uint8_t out[static SEAL_KEY_LEN],
                     struct error *err) MUST_CHECK;

/* One call to XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03, IETF form). */
struct seal_input {
    const uint8_t *key;   /* SEAL_KEY_LEN */
    const uint8_t *nonce; /* SEAL_NONCE_LEN */
    const void *header;   /* authenticated, not encrypted */
    size_t header_len;
    const void *text; /* plain for seal; sealed, tag included, for unseal */
    size_t text_len;
};
/* out: text_len + SEAL_TAG_LEN bytes. */
int libsodium_seal(const struct seal_input *in, uint8_t *out, struct error *err) MUST_CHECK;
/* out: text_len - SEAL_TAG_LEN bytes, written only if everything is authentic; else E_TAMPERED. */
int libsodium_unseal(const struct seal_input *in, uint8_t *out, struct error *err) MUST_CHECK;

#endif

#include "keys/libsodium.h"

#include <sodium.h>
#include <string.h>

_Static_assert(ED25519_PUBLIC_LEN == crypto_sign_PUBLICKEYBYTES, "public key size");
_Static_assert(ED25519_SEED_LEN == crypto_sign_SEEDBYTES, "seed size");
_Static_assert(ED25519_SIGNATURE_LEN == crypto_sign_BYTES, "signature size");
_Static_assert(SEAL_SALT_LEN == crypto_pwhash_SALTBYTES, "salt size");
_Static_assert(SEAL_KEY_LEN == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key size");
_Static_assert(SEAL_NONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce size");
_Static_assert(SEAL_TAG_LEN == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag size");

/* sodium_init may be called any number of times, from any thread; later calls cost a flag test. */
static bool ready(void)
{
    return sodium_init() >= 0;
}

static int require(struct error *err)
{
    return ready() ? OK : fail(err, E_INTERNAL, "libsodium did not start");
}

void *libsodium_alloc(size_t len)
{
    /* A failed mlock (small RLIMIT_MEMLOCK) is no failure here: the guards still hold. */
    void *memory = ready() ? sodium_malloc(len) : NULL;
    if (memory)
        sodium_memzero(memory, len);
    return memory;
}

void libsodium_free(void *memory)
{
    int saved = errno;
    sodium_free(memory);
    errno = saved;
}

void libsodium_wipe(void *data, size_t len)
{
    if (len)
        sodium_memzero(data, len);
}

bool libsodium_same(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

int libsodium_random(void *out, size_t len, struct error *err)
{
    int rc = require(err);
    if (!rc)
        randombytes_buf(out, len);
    return rc;
}

struct derive_cost libsodium_cost_interactive(void)
{
    return (struct derive_cost){(uint32_t)crypto_pwhash_argon2id_OPSLIMIT_INTERACTIVE,
                                (uint32_t)(crypto_pwhash_argon2id_MEMLIMIT_INTERACTIVE / 1024)};
}

bool libsodium_ed25519_valid(const uint8_t public_half[static ED25519_PUBLIC_LEN])
{
    return ready() && crypto_core_ed25519_is_valid_point(public_half) == 1;
}

/* libsodium's private key is seed and public half together: 64 bytes in guarded memory. */
static int expand(const uint8_t seed[static ED25519_SEED_LEN], uint8_t **whole,
                  uint8_t public_half[static ED25519_PUBLIC_LEN], struct error *err)
{
    uint8_t *key = libsodium_alloc(crypto_sign_SECRETKEYBYTES);
    if (!key)
        return fail_nomem(err);
    if (crypto_sign_seed_keypair(public_half, key, seed)) {
        libsodium_free(key);
        return fail(err, E_INTERNAL, "ed25519 key could not be derived");
    }
    *whole = key;
    return OK;
}

int libsodium_ed25519_public(const uint8_t seed[static ED25519_SEED_LEN],
                             uint8_t out[static ED25519_PUBLIC_LEN], struct error *err)
{
    uint8_t *whole = NULL;
    int rc = expand(seed, &whole, out, err);
    libsodium_free(whole);
    return rc;
}

int libsodium_ed25519_sign(const uint8_t seed[static ED25519_SEED_LEN], const void *msg, size_t len,
                           uint8_t out[static ED25519_SIGNATURE_LEN], struct error *err)
{
    uint8_t public_half[ED25519_PUBLIC_LEN], *whole = NULL;
    int rc = expand(seed, &whole, public_half, err);
    if (!rc && crypto_sign_detached(out, NULL, msg, len, whole))
        rc = fail(err, E_INTERNAL, "ed25519 signing failed");
    libsodium_free(whole);
    return rc;
}

int libsodium_ed25519_verify(const uint8_t public_half[static ED25519_PUBLIC_LEN], const void *msg,
                             size_t len, const uint8_t sig[static ED25519_SIGNATURE_LEN],
                             struct error *err)
{
    int rc = require(err);
    if (!rc && crypto_sign_verify_detached(sig, msg, len, public_half))
        rc = fail(err, E_SIGNATURE, "ed25519 signature is wrong");
    return rc;
}

int libsodium_derive(const void *passphrase, size_t len, const uint8_t salt[static SEAL_SALT_LEN],
                     struct derive_cost cost, uint8_t out[static SEAL_KEY_LEN], struct error *err)
{
    int rc = require(err);
    if (!rc && crypto_pwhash(out, SEAL_KEY_LEN, passphrase, len, salt, cost.passes,
                             (size_t)cost.memory_kib * 1024, crypto_pwhash_ALG_ARGON2ID13))
        rc = fail(err, E_NOMEM, "deriving a key needs %u KiB of memory", cost.memory_kib);
    return rc;
}

int libsodium_seal(const struct seal_input *in, uint8_t *out, struct error *err)
{
    int rc = require(err);
    if (!rc &&
        crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, in->text, in->text_len, in->header,
                                                   in->header_len, NULL, in->nonce, in->key))
        rc = fail(err, E_INTERNAL, "encryption failed");
    return rc;
}

int libsodium_unseal(const struct seal_input *in, uint8_t *out, struct error *err)
{
    int rc = require(err);
    if (!rc && (in->text_len < SEAL_TAG_LEN || crypto_aead_xchacha20poly1305_ietf_decrypt(
                                                   out, NULL, NULL, in->text, in->text_len,
                                                   in->header, in->header_len, in->nonce, in->key)))
        rc = fail(err, E_TAMPERED, "sealed text is not authentic");
    return rc;
}

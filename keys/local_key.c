#include "keys/local_key.h"

#include "keys/libcrypto.h"
#include "keys/libsodium.h"
#include "keys/signing_key_kind.h"

#include <string.h>

_Static_assert(LOCAL_SECRET_LEN == ED25519_SEED_LEN, "seed size");
_Static_assert(LOCAL_SECRET_LEN == P256_SCALAR_LEN, "scalar size");

static int sign_ed25519(const struct secret *seed, const struct bytes *msg, struct bytes *out,
                        struct error *err)
{
    uint8_t sig[ED25519_SIGNATURE_LEN];
    int rc = libsodium_ed25519_sign(seed->data, msg->data, msg->len, sig, err);
    return rc ? rc : bytes_append(out, sig, sizeof sig, err);
}

static int sign(void *state, const struct public_key *public_half, const struct bytes *msg,
                struct bytes *out, struct error *err)
{
    const struct secret *secret = state;
    if (public_key_type(public_half) == KEY_ED25519)
        return sign_ed25519(secret, msg, out, err);
    return libcrypto_p256_sign(secret->data, msg->data, msg->len, out, err);
}

static void free_state(void *state)
{
    struct secret *secret = state;
    if (secret)
        secret_done(secret);
    free(secret);
}

static const struct signing_key_kind local_kind = {
    .sign = sign, .free = free_state, .mismatch = E_INTERNAL};

static int public_of_point(const uint8_t *scalar, struct public_key **out, struct error *err)
{
    uint8_t point[P256_POINT_LEN];
    struct libcrypto_key *key = NULL;
    CLEANUP(bytes_done) struct bytes der = BYTES_INIT;
    int rc = libcrypto_p256_public(scalar, point, err);
    if (!rc)
        rc = libcrypto_key_from_point(point, sizeof point, &key, err);
    if (!rc)
        rc = libcrypto_key_der(key, &der, err);
    if (!rc)
        rc = public_key_from_bytes(KEY_ECDSA_P256, der.data, der.len, out, err);
    libcrypto_key_free(key);
    return rc;
}

static int derive_public(enum key_type type, const struct secret *secret, struct public_key **out,
                         struct error *err)
{
    uint8_t raw[ED25519_PUBLIC_LEN];
    if (type == KEY_ECDSA_P256)
        return public_of_point(secret->data, out, err);
    int rc = libsodium_ed25519_public(secret->data, raw, err);
    return rc ? rc : public_key_from_bytes(KEY_ED25519, raw, sizeof raw, out, err);
}

int local_key_open(enum key_type type, struct secret *secret, const char *label,
                   struct signing_key **out, struct error *err)
{
    struct public_key *public_half = NULL;
    if (type != KEY_ED25519 && type != KEY_ECDSA_P256)
        return fail(err, E_UNSUPPORTED, "%s keys cannot be kept in files", key_type_name(type));
    if (secret->len != LOCAL_SECRET_LEN)
        return fail(err, E_INVALID, "private key has %zu bytes", secret->len);
    int rc = derive_public(type, secret, &public_half, err);
    if (rc)
        return rc;
    struct secret *state = malloc(sizeof *state);
    if (!state) {
        public_key_free(public_half);
        return fail_nomem(err);
    }
    *state = secret_take(secret);
    return signing_key_new(&local_kind, state, public_half, label, out, err);
}

const struct secret *local_key_secret(const struct signing_key *key)
{
    return signing_key_state(key, &local_kind);
}

int signing_key_from_seed(struct secret *seed, const char *label, struct signing_key **out,
                          struct error *err)
{
    return local_key_open(KEY_ED25519, seed, label, out, err);
}

int signing_key_generate(enum key_type type, const char *label, struct signing_key **out,
                         struct error *err)
{
    CLEANUP(secret_done) struct secret secret = SECRET_INIT;
    int rc = secret_new(LOCAL_SECRET_LEN, &secret, err);
    if (!rc && type == KEY_ECDSA_P256)
        rc = libcrypto_p256_generate(secret.data, err);
    else if (!rc)
        rc = libsodium_random(secret.data, secret.len, err);
    return rc ? rc : local_key_open(type, &secret, label, out, err);
}

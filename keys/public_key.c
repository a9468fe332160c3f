#include "keys/public_key.h"

#include "base/digest.h"
#include "keys/libcrypto.h"
#include "keys/libsodium.h"
#include "keys/pem.h"

#include <string.h>

struct public_key {
    enum key_type type;
    uint8_t ed25519[ED25519_PUBLIC_LEN]; /* KEY_ED25519 */
    struct libcrypto_key *other;         /* KEY_ECDSA_P256, KEY_RSA */
    struct bytes material;               /* what public_key_bytes gives: compared and copied */
};

/* The pairs of TUF names that are accepted; the first row of a type is the one we write. */
struct scheme_row {
    enum key_type type;
    const char *keytype;
    const char *scheme;
};

static const struct scheme_row schemes[] = {
    {KEY_ED25519, "ed25519", "ed25519"},
    {KEY_ECDSA_P256, "ecdsa", "ecdsa-sha2-nistp256"},
    {KEY_RSA, "rsa", "rsassa-pss-sha256"},
    {KEY_ECDSA_P256, "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
};

#define N_SCHEMES (sizeof schemes / sizeof schemes[0])

const char *key_type_name(enum key_type type)
{
    switch (type) {
    case KEY_ED25519:
        return "ed25519";
    case KEY_ECDSA_P256:
        return "ecdsa-p256";
    case KEY_RSA:
        return "rsa";
    }
    return "unknown";
}

static enum libcrypto_type libcrypto_type_of(enum key_type type)
{
    return type == KEY_RSA ? LIBCRYPTO_RSA : LIBCRYPTO_P256;
}

/* Takes ownership of `other` in every case. */
static int make_other(enum key_type type, struct libcrypto_key *other, struct public_key **out,
                      struct error *err)
{
    CLEANUP(public_key_cleanup) struct public_key *key = calloc(1, sizeof *key);
    if (!key) {
        libcrypto_key_free(other);
        return fail_nomem(err);
    }
    key->type = type;
    key->other = other;
    int rc = libcrypto_key_der(other, &key->material, err);
    if (!rc)
        *out = TAKE_PTR(key);
    return rc;
}

static int make_ed25519(const void *data, size_t len, struct public_key **out, struct error *err)
{
    if (len != ED25519_PUBLIC_LEN)
        return fail(err, E_INVALID, "ed25519 key has %zu bytes (want %d)", len, ED25519_PUBLIC_LEN);
    /* Keys of small order would verify signatures that nobody made. */
    if (!libsodium_ed25519_valid(data))
        return fail(err, E_INVALID, "ed25519 key is not a valid point");
    CLEANUP(public_key_cleanup) struct public_key *key = calloc(1, sizeof *key);
    if (!key)
        return fail_nomem(err);
    key->type = KEY_ED25519;
    memcpy(key->ed25519, data, ED25519_PUBLIC_LEN);
    int rc = bytes_append(&key->material, data, len, err);
    if (!rc)
        *out = TAKE_PTR(key);
    return rc;
}

int public_key_from_bytes(enum key_type type, const void *data, size_t len, struct public_key **out,
                          struct error *err)
{
    if (type == KEY_ED25519)
        return make_ed25519(data, len, out, err);
    struct libcrypto_key *other = NULL;
    int rc = libcrypto_key_parse(libcrypto_type_of(type), data, len, &other, err);
    return rc ? rc : make_other(type, other, out, err);
}

/* --- the TUF key object --- */

static int decode_hex(const char *hex, size_t len, uint8_t *out, struct error *err)
{
    if (strnlen(hex, 2 * len + 1) != 2 * len)
        return fail(err, E_INVALID, "public key must be %zu hex digits", 2 * len);
    /* One key, one spelling: upper case would give the same key a second id. */
    for (const char *p = hex; *p; p++)
        if (*p >= 'A' && *p <= 'F')
            return fail(err, E_INVALID, "public key must be lower-case hex");
    return hex_decode(hex, 2 * len, out, len, err);
}

static int from_hex_ed25519(const char *hex, struct public_key **out, struct error *err)
{
    uint8_t raw[ED25519_PUBLIC_LEN];
    int rc = decode_hex(hex, sizeof raw, raw, err);
    return rc ? rc : make_ed25519(raw, sizeof raw, out, err);
}

static int from_hex_point(const char *hex, struct public_key **out, struct error *err)
{
    uint8_t point[P256_POINT_LEN];
    struct libcrypto_key *other = NULL;
    int rc = decode_hex(hex, sizeof point, point, err);
    if (!rc)
        rc = libcrypto_key_from_point(point, sizeof point, &other, err);
    return rc ? rc : make_other(KEY_ECDSA_P256, other, out, err);
}

static int from_pem(enum key_type type, const char *pem, struct public_key **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes der = BYTES_INIT;
    int rc = pem_decode(pem, &der, err);
    return rc ? rc : public_key_from_bytes(type, der.data, der.len, out, err);
}

static int from_text(enum key_type type, const char *text, struct public_key **out,
                     struct error *err)
{
    if (type == KEY_ED25519)
        return from_hex_ed25519(text, out, err);
    if (type == KEY_ECDSA_P256 && text_starts(text, "04"))
        return from_hex_point(text, out, err);
    return from_pem(type, text, out, err);
}

static int find_scheme(const char *keytype, const char *scheme, enum key_type *out,
                       struct error *err)
{
    for (size_t i = 0; i < N_SCHEMES; i++)
        if (strcmp(keytype, schemes[i].keytype) == 0 && strcmp(scheme, schemes[i].scheme) == 0) {
            *out = schemes[i].type;
            return OK;
        }
    return fail(err, E_UNSUPPORTED, "key type '%.40s' with scheme '%.40s' is not supported",
                keytype, scheme);
}

int public_key_from_tuf(const struct js *object, struct public_key **out, struct error *err)
{
    const char *keytype = NULL, *scheme = NULL, *text = NULL;
    const struct js *value = NULL;
    enum key_type type = KEY_ED25519;
    if (js_type(object) != JS_OBJECT)
        return fail(err, E_INVALID, "key must be an object");
    int rc = js_want_text(object, "keytype", &keytype, err);
    if (!rc)
        rc = js_want_text(object, "scheme", &scheme, err);
    if (!rc)
        rc = js_want_object(object, "keyval", &value, err);
    if (!rc)
        rc = find_scheme(keytype, scheme, &type, err);
    if (!rc)
        rc = js_want_text(value, "public", &text, err);
    return rc ? rc : from_text(type, text, out, err);
}

/* Appends what stands in keyval.public. */
static int write_text(const struct public_key *key, struct bytes *out, struct error *err)
{
    char hex[2 * ED25519_PUBLIC_LEN + 1];
    if (key->type != KEY_ED25519)
        return pem_encode(key->material.data, key->material.len, out, err);
    hex_encode(key->ed25519, sizeof key->ed25519, hex);
    return bytes_append_text(out, hex, err);
}

int public_key_to_tuf(const struct public_key *key, struct js **out, struct error *err)
{
    const struct scheme_row *row = &schemes[0];
    while (row->type != key->type)
        row++;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *object = js_object_new();
    CLEANUP(js_cleanup) struct js *value = js_object_new();
    if (!object || !value)
        return fail_nomem(err);
    int rc = write_text(key, &text, err);
    if (!rc)
        rc = js_set(object, "keytype", js_text_new(row->keytype), err);
    if (!rc)
        rc = js_set(object, "scheme", js_text_new(row->scheme), err);
    if (!rc)
        rc = js_set(value, "public", js_text_new(bytes_text(&text)), err);
    if (!rc)
        rc = js_set(object, "keyval", TAKE_PTR(value), err);
    if (!rc)
        *out = TAKE_PTR(object);
    return rc;
}

/* --- PEM --- */

/* SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 32 bytes }: nothing in it varies. */
static const uint8_t ed25519_der[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                      0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

int public_key_to_pem(const struct public_key *key, struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes der = BYTES_INIT;
    int rc = OK;
    if (key->type == KEY_ED25519)
        rc = bytes_append(&der, ed25519_der, sizeof ed25519_der, err);
    if (!rc)
        rc = bytes_append(&der, key->material.data, key->material.len, err);
    return rc ? rc : pem_encode(der.data, der.len, out, err);
}

int public_key_from_pem(const char *text, struct public_key **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes der = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = pem_decode(text, &der, err);
    if (rc)
        return rc;
    if (der.len == sizeof ed25519_der + ED25519_PUBLIC_LEN &&
        memcmp(der.data, ed25519_der, sizeof ed25519_der) == 0)
        return make_ed25519(der.data + sizeof ed25519_der, ED25519_PUBLIC_LEN, out, err);
    rc = public_key_from_bytes(KEY_ECDSA_P256, der.data, der.len, out, &why);
    if (rc && rc != E_NOMEM)
        rc = public_key_from_bytes(KEY_RSA, der.data, der.len, out, &why);
    if (rc && rc != E_NOMEM)
        return fail(err, E_INVALID, "neither an ed25519 nor an ecdsa-p256 nor an rsa public key");
    return rc ? fail_nomem(err) : OK;
}

int public_key_parse(const struct bytes *file, struct public_key **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    if (!memmem(file->data, file->len, "-----BEGIN", 10) || file->data[0] == '{') {
        int rc = js_parse(file->data, file->len, &object, err);
        return rc ? rc : public_key_from_tuf(object, out, err);
    }
    int rc = bytes_append(&text, file->data, file->len, err);
    if (!rc && memchr(text.data, 0, text.len))
        rc = fail(err, E_INVALID, "PEM public key holds a NUL byte");
    return rc ? rc : public_key_from_pem(bytes_text(&text), out, err);
}

/* --- key ids --- */

int key_id_of_object(const struct js *object, struct key_id *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes canonical = BYTES_INIT;
    struct digest d = {.alg = DIGEST_NONE};
    if (js_type(object) != JS_OBJECT)
        return fail(err, E_INVALID, "key must be an object");
    int rc = js_canonical(object, &canonical, err);
    if (!rc)
        rc = digest_of(DIGEST_SHA256, canonical.data, canonical.len, &d, err);
    if (!rc)
        hex_encode(d.bytes, digest_len(DIGEST_SHA256), out->text);
    return rc;
}

int public_key_id(const struct public_key *key, struct key_id *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    int rc = public_key_to_tuf(key, &object, err);
    return rc ? rc : key_id_of_object(object, out, err);
}

int key_id_parse(const char *text, struct key_id *out, struct error *err)
{
    uint8_t raw[32];
    int rc = decode_hex(text, sizeof raw, raw, NULL);
    if (rc)
        return fail(err, E_INVALID, "key id must be 64 lower-case hex digits");
    memcpy(out->text, text, sizeof out->text);
    return OK;
}

/* --- the key as a value --- */

enum key_type public_key_type(const struct public_key *key)
{
    return key->type;
}

bool public_key_equal(const struct public_key *a, const struct public_key *b)
{
    return a->type == b->type &&
           bytes_equal(a->material.data, a->material.len, b->material.data, b->material.len);
}

int public_key_bytes(const struct public_key *key, struct bytes *out, struct error *err)
{
    return bytes_append(out, key->material.data, key->material.len, err);
}

struct public_key *public_key_dup(const struct public_key *key)
{
    CLEANUP(public_key_cleanup) struct public_key *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    copy->type = key->type;
    memcpy(copy->ed25519, key->ed25519, sizeof copy->ed25519);
    if (bytes_append(&copy->material, key->material.data, key->material.len, NULL))
        return NULL;
    if (key->other) {
        copy->other = libcrypto_key_dup(key->other);
        if (!copy->other)
            return NULL;
    }
    return TAKE_PTR(copy);
}

void public_key_free(struct public_key *key)
{
    if (!key)
        return;
    libcrypto_key_free(key->other);
    bytes_done(&key->material);
    free(key);
}

void public_key_cleanup(struct public_key **key)
{
    public_key_free(*key);
    *key = NULL;
}

int public_key_verify(const struct public_key *key, const void *msg, size_t msg_len,
                      const void *sig, size_t sig_len, struct error *err)
{
    if (key->type != KEY_ED25519)
        return libcrypto_verify(key->other, msg, msg_len, sig, sig_len, err);
    if (sig_len != ED25519_SIGNATURE_LEN)
        return fail(err, E_SIGNATURE, "ed25519 signature has %zu bytes", sig_len);
    return libsodium_ed25519_verify(key->ed25519, msg, msg_len, sig, err);
}

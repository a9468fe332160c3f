#include "keys/key_file.h"

#include "base/digest.h"
#include "keys/local_key.h"

#include <string.h>

#define MAGIC        "BULLAKEY"
#define MAGIC_LEN    8u
#define VERSION      1
#define HEAD_LEN     60u
#define SEALED_LEN   (LOCAL_SECRET_LEN + SEAL_TAG_LEN)
#define CHECKSUM_LEN 32u

/*
 * RFC 9106's choice for machines short of memory (64 MiB, three passes): keys are also used in CI
 * containers of 256 MiB and on small boards, where libsodium's "moderate" 256 MiB gets the process
 * killed. Each file carries its cost, so a later default does not lock anyone out.
 */
static const struct derive_cost default_cost = {3, 64u * 1024u};

/* A hostile file must not take the machine down: libsodium's "sensitive" is the most we pay. */
#define PASSES_MAX     10u
#define MEMORY_KIB_MIN 8u
#define MEMORY_KIB_MAX (1024u * 1024u)
#define WORK_KIB_MAX   (4ull * 1024u * 1024u) /* passes times memory */

/* A parsed file; pointers lead into the caller's bytes. */
struct key_file {
    enum key_type type;
    struct derive_cost cost;
    const uint8_t *salt;
    const uint8_t *nonce;
    const uint8_t *public_half;
    size_t public_len;
    const uint8_t *sealed;
    const uint8_t *whole; /* whole[0 .. sealed) is the authenticated header */
};

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* --- sealing --- */

static void fill_head(uint8_t *head, enum key_type type, size_t public_len, struct derive_cost cost)
{
    memcpy(head, MAGIC, MAGIC_LEN);
    head[8] = VERSION;
    head[9] = type == KEY_ED25519 ? 1 : 2;
    head[10] = (uint8_t)(public_len >> 8);
    head[11] = (uint8_t)public_len;
    put_u32(head + 12, cost.passes);
    put_u32(head + 16, cost.memory_kib);
}

/* head: HEAD_LEN bytes and the public half, both in `out` already. */
static int append_sealed(const struct secret *private_half, const struct secret *passphrase,
                         struct derive_cost cost, struct bytes *out, struct error *err)
{
    CLEANUP(secret_done) struct secret key = SECRET_INIT;
    uint8_t sealed[SEALED_LEN];
    int rc = secret_new(SEAL_KEY_LEN, &key, err);
    if (!rc)
        rc = libsodium_derive(passphrase->data, passphrase->len, out->data + 20, cost, key.data,
                              err);
    if (rc)
        return rc;
    struct seal_input in = {.key = key.data,
                            .nonce = out->data + 36,
                            .header = out->data,
                            .header_len = out->len,
                            .text = private_half->data,
                            .text_len = private_half->len};
    rc = libsodium_seal(&in, sealed, err);
    return rc ? rc : bytes_append(out, sealed, sizeof sealed, err);
}

int key_file_seal(const struct signing_key *key, const struct secret *passphrase,
                  struct derive_cost cost, struct bytes *out, struct error *err)
{
    const struct secret *private_half = local_key_secret(key);
    if (!private_half)
        return fail(err, E_UNSUPPORTED, "%s cannot leave its token", signing_key_label(key));
    CLEANUP(bytes_done) struct bytes public_half = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    struct digest checksum = {.alg = DIGEST_NONE};
    uint8_t head[HEAD_LEN];
    int rc = public_key_bytes(signing_key_public(key), &public_half, err);
    if (rc)
        return rc;
    fill_head(head, public_key_type(signing_key_public(key)), public_half.len, cost);
    rc = libsodium_random(head + 20, SEAL_SALT_LEN + SEAL_NONCE_LEN, err);
    if (!rc)
        rc = bytes_append(&file, head, sizeof head, err);
    if (!rc)
        rc = bytes_append(&file, public_half.data, public_half.len, err);
    if (!rc)
        rc = append_sealed(private_half, passphrase, cost, &file, err);
    if (!rc)
        rc = digest_of(DIGEST_SHA256, file.data, file.len, &checksum, err);
    if (!rc)
        rc = bytes_append(&file, checksum.bytes, CHECKSUM_LEN, err);
    return rc ? rc : bytes_append(out, file.data, file.len, err);
}

int signing_key_seal(const struct signing_key *key, const struct secret *passphrase, bool fast,
                     struct bytes *out, struct error *err)
{
    return key_file_seal(key, passphrase, fast ? libsodium_cost_interactive() : default_cost, out,
                         err);
}

/* --- unsealing --- */

static int check_sum(const uint8_t *data, size_t len, struct error *err)
{
    struct digest d = {.alg = DIGEST_NONE};
    int rc = digest_of(DIGEST_SHA256, data, len - CHECKSUM_LEN, &d, err);
    if (!rc && memcmp(d.bytes, data + len - CHECKSUM_LEN, CHECKSUM_LEN) != 0)
        rc = fail(err, E_TAMPERED, "key file is damaged");
    return rc;
}

static int check_cost(struct derive_cost cost, struct error *err)
{
    if (cost.passes < 1 || cost.passes > PASSES_MAX || cost.memory_kib < MEMORY_KIB_MIN ||
        cost.memory_kib > MEMORY_KIB_MAX || (uint64_t)cost.passes * cost.memory_kib > WORK_KIB_MAX)
        return fail(err, E_LIMIT, "key file asks for %u passes over %u KiB of memory", cost.passes,
                    cost.memory_kib);
    return OK;
}

static int parse(const uint8_t *data, size_t len, struct key_file *out, struct error *err)
{
    if (len < MAGIC_LEN || memcmp(data, MAGIC, MAGIC_LEN) != 0)
        return fail(err, E_INVALID, "not a key file");
    if (len < HEAD_LEN + SEALED_LEN + CHECKSUM_LEN || len > KEY_FILE_MAX)
        return fail(err, E_TAMPERED, "key file is damaged: %zu bytes", len);
    int rc = check_sum(data, len, err);
    if (rc)
        return rc;
    if (data[8] != VERSION)
        return fail(err, E_UNSUPPORTED, "key file has version %u", data[8]);
    size_t public_len = (size_t)data[10] << 8 | data[11];
    if ((data[9] != 1 && data[9] != 2) || len != HEAD_LEN + public_len + SEALED_LEN + CHECKSUM_LEN)
        return fail(err, E_TAMPERED, "key file is damaged");
    struct derive_cost cost = {get_u32(data + 12), get_u32(data + 16)};
    rc = check_cost(cost, err);
    if (rc)
        return rc;
    *out = (struct key_file){.type = data[9] == 1 ? KEY_ED25519 : KEY_ECDSA_P256,
                             .cost = cost,
                             .salt = data + 20,
                             .nonce = data + 36,
                             .public_half = data + HEAD_LEN,
                             .public_len = public_len,
                             .sealed = data + HEAD_LEN + public_len,
                             .whole = data};
    return OK;
}

int key_file_public(const void *data, size_t len, struct public_key **out, struct error *err)
{
    struct key_file file;
    int rc = parse(data, len, &file, err);
    if (rc)
        return rc;
    rc = public_key_from_bytes(file.type, file.public_half, file.public_len, out, err);
    if (rc == E_INVALID)
        return fail(err, E_TAMPERED, "key file is damaged: its public half is no key");
    return rc;
}

static int unseal(const struct key_file *file, const struct secret *passphrase, struct secret *out,
                  struct error *err)
{
    CLEANUP(secret_done) struct secret key = SECRET_INIT;
    CLEANUP(secret_done) struct secret plain = SECRET_INIT;
    int rc = secret_new(SEAL_KEY_LEN, &key, err);
    if (!rc)
        rc = secret_new(LOCAL_SECRET_LEN, &plain, err);
    if (!rc)
        rc = libsodium_derive(passphrase->data, passphrase->len, file->salt, file->cost, key.data,
                              err);
    if (rc)
        return rc;
    struct seal_input in = {.key = key.data,
                            .nonce = file->nonce,
                            .header = file->whole,
                            .header_len = (size_t)(file->sealed - file->whole),
                            .text = file->sealed,
                            .text_len = SEALED_LEN};
    rc = libsodium_unseal(&in, plain.data, err);
    if (!rc)
        *out = secret_take(&plain);
    return rc;
}

int signing_key_unseal(const void *data, size_t len, const struct secret *passphrase,
                       const char *label, struct signing_key **out, struct error *err)
{
    struct key_file file;
    CLEANUP(secret_done) struct secret private_half = SECRET_INIT;
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    CLEANUP(public_key_cleanup) struct public_key *stated = NULL;
    int rc = key_file_public(data, len, &stated, err);
    if (!rc)
        rc = parse(data, len, &file, err);
    if (rc)
        return wrap(err, rc, "%s", label);
    rc = unseal(&file, passphrase, &private_half, err);
    if (rc == E_TAMPERED)
        return fail(err, E_PASSPHRASE, "wrong passphrase for %s", label);
    if (!rc)
        rc = local_key_open(file.type, &private_half, label, &key, err);
    if (rc)
        return wrap(err, rc, "%s", label);
    if (!public_key_equal(signing_key_public(key), stated))
        return fail(err, E_TAMPERED, "%s: private and public half do not belong together", label);
    *out = TAKE_PTR(key);
    return OK;
}

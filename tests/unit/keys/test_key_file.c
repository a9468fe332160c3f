/* The sealed form of private keys. */
#include "base/digest.h"
#include "keys/key_file.h"
#include "keys/local_key.h"
#include "tests/support/alloc_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* As cheap as Argon2id gets: the tests are about everything else. */
static const struct derive_cost cheap = {1, 8};

#define CHECKSUM_LEN 32u

static struct secret word(const char *text)
{
    struct secret s = SECRET_INIT;
    assert_int_equal(secret_copy(text, strlen(text), &s, NULL), OK);
    return s;
}

static struct signing_key *fresh(enum key_type type)
{
    struct signing_key *key = NULL;
    assert_int_equal(signing_key_generate(type, "key 'alice'", &key, NULL), OK);
    return key;
}

static struct bytes sealed(const struct signing_key *key)
{
    CLEANUP(secret_done) struct secret good = word("good");
    struct bytes file = BYTES_INIT;
    assert_int_equal(key_file_seal(key, &good, cheap, &file, NULL), OK);
    return file;
}

/* What somebody does who changes a file on purpose. */
static void fix_checksum(struct bytes *file)
{
    struct digest d;
    assert_true(file->len >= CHECKSUM_LEN);
    assert_int_equal(digest_of(DIGEST_SHA256, file->data, file->len - CHECKSUM_LEN, &d, NULL), OK);
    memcpy(file->data + file->len - CHECKSUM_LEN, d.bytes, CHECKSUM_LEN);
}

static int unseal(const struct bytes *file, const char *passphrase, struct signing_key **out,
                  struct error *err)
{
    CLEANUP(secret_done) struct secret given = word(passphrase);
    return signing_key_unseal(file->data, file->len, &given, "key 'alice'", out, err);
}

static void round_trip(enum key_type type, size_t want_len)
{
    CLEANUP(signing_key_cleanup) struct signing_key *key = fresh(type);
    CLEANUP(signing_key_cleanup) struct signing_key *again = NULL;
    CLEANUP(bytes_done) struct bytes file = sealed(key);
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    CLEANUP(public_key_cleanup) struct public_key *public_half = NULL;
    assert_int_equal(file.len, want_len);
    assert_int_equal(unseal(&file, "good", &again, NULL), OK);
    assert_string_equal(signing_key_label(again), "key 'alice'");
    assert_int_equal(signing_key_sign(again, "hello", 5, &sig, NULL), OK);
    assert_int_equal(
        public_key_verify(signing_key_public(key), "hello", 5, sig.data, sig.len, NULL), OK);
    assert_int_equal(key_file_public(file.data, file.len, &public_half, NULL), OK);
    assert_true(public_key_equal(public_half, signing_key_public(key)));
}

static void round_trips(void **state)
{
    (void)state;
    round_trip(KEY_ED25519, 172);
    round_trip(KEY_ECDSA_P256, 231);
}

static void costs_of_the_public_functions(void **state)
{
    (void)state;
    for (int fast = 0; fast < 2; fast++) {
        CLEANUP(signing_key_cleanup) struct signing_key *key = fresh(KEY_ED25519);
        CLEANUP(signing_key_cleanup) struct signing_key *again = NULL;
        CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
        CLEANUP(secret_done) struct secret good = word("good");
        assert_int_equal(signing_key_seal(key, &good, fast, &file, NULL), OK);
        /* Passes and KiB: 64 MiB in both cases. */
        assert_int_equal(file.data[15], fast ? 2 : 3);
        assert_memory_equal(file.data + 16, "\0\1\0\0", 4);
        assert_int_equal(unseal(&file, "good", &again, NULL), OK);
    }
}

static void nothing_secret_in_the_clear(void **state)
{
    (void)state;
    CLEANUP(signing_key_cleanup) struct signing_key *key = fresh(KEY_ED25519);
    CLEANUP(bytes_done) struct bytes one = sealed(key);
    CLEANUP(bytes_done) struct bytes two = sealed(key);
    const struct secret *secret = local_key_secret(key);
    assert_null(memmem(one.data, one.len, secret->data, secret->len));
    assert_null(memmem(one.data, one.len, "good", 4));
    /* Salt and nonce are new each time. */
    assert_memory_not_equal(one.data + 20, two.data + 20, SEAL_SALT_LEN);
    assert_memory_not_equal(one.data + 36, two.data + 36, SEAL_NONCE_LEN);
}

static void wrong_passphrases(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "goo", "goodx", "Good", "bad"};
    CLEANUP(signing_key_cleanup) struct signing_key *key = fresh(KEY_ED25519);
    CLEANUP(bytes_done) struct bytes file = sealed(key);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct signing_key *out = NULL;
        struct error err = ERROR_INIT;
        assert_int_equal(unseal(&file, wrong[i], &out, &err), E_PASSPHRASE);
        assert_string_equal(err.message, "wrong passphrase for key 'alice'");
        assert_null(out);
    }
}

static void flips(enum key_type type)
{
    CLEANUP(signing_key_cleanup) struct signing_key *key = fresh(type);
    CLEANUP(bytes_done) struct bytes file = sealed(key);
    for (size_t bit = 0; bit < 8 * file.len; bit++) {
        struct signing_key *out = NULL;
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(unseal(&file, "good", &out, NULL), bit < 64 ? E_INVALID : E_TAMPERED);
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_null(out);
    }
}

static void every_bit_flip_is_damage(void **state)
{
    (void)state;
    flips(KEY_ED25519);
    flips(KEY_ECDSA_P256);
}

/* With the checksum made right again, what counts is the authentication. */
static void deliberate_flips(enum key_type type)
{
    CLEANUP(signing_key_cleanup) struct signing_key *key = fresh(type);
    CLEANUP(bytes_done) struct bytes file = sealed(key);
    CLEANUP(bytes_done) struct bytes bad = BYTES_INIT;
    for (size_t bit = 64; bit < 8 * (file.len - CHECKSUM_LEN); bit++) {
        /* Bits of the cost that would cost too much here: `absurd_costs` has those. */
        if ((bit >= 96 && bit < 126) || (bit >= 128 && bit < 152))
            continue;
        struct signing_key *out = NULL;
        struct error err = ERROR_INIT;
        bytes_clear(&bad);
        assert_int_equal(bytes_append(&bad, file.data, file.len, NULL), OK);
        bad.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fix_checksum(&bad);
        int rc = unseal(&bad, "good", &out, &err);
        assert_null(out);
        assert_true(rc == E_PASSPHRASE || rc == E_TAMPERED || rc == E_UNSUPPORTED || rc == E_LIMIT);
    }
}

static void every_deliberate_flip_fails(void **state)
{
    (void)state;
    deliberate_flips(KEY_ED25519);
    deliberate_flips(KEY_ECDSA_P256);
}

static void truncated_and_extended(void **state)
{
    (void)state;
    CLEANUP(signing_key_cleanup) struct signing_key *key = fresh(KEY_ED25519);
    CLEANUP(bytes_done) struct bytes file = sealed(key);
    for (size_t len = 0; len < file.len; len++) {
        struct bytes cut = {file.data, len, 0};
        struct signing_key *out = NULL;
        assert_int_equal(unseal(&cut, "good", &out, NULL), len < 8 ? E_INVALID : E_TAMPERED);
        CLEANUP(bytes_done) struct bytes fixed = BYTES_INIT;
        assert_int_equal(bytes_append(&fixed, file.data, len, NULL), OK);
        if (len >= CHECKSUM_LEN + 8) {
            fix_checksum(&fixed);
            assert_int_equal(unseal(&fixed, "good", &out, NULL), E_TAMPERED);
        }
        assert_null(out);
    }
    for (int i = 0; i < 600; i++) {
        struct signing_key *out = NULL;
        assert_int_equal(bytes_append(&file, "", 1, NULL), OK);
        fix_checksum(&file);
        assert_int_equal(unseal(&file, "good", &out, NULL), E_TAMPERED);
    }
}

static void absurd_costs(void **state)
{
    (void)state;
    static const struct derive_cost costs[] = {
        {0, 8},       {11, 8},      {UINT32_MAX, 8},     {1, 0},
        {1, 7},       {1, 1048577}, {1, UINT32_MAX},     {5, 1048576},
        {10, 500000}, {0, 0},       {1u << 31, 1u << 31}};
    CLEANUP(signing_key_cleanup) struct signing_key *key = fresh(KEY_ED25519);
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
        CLEANUP(bytes_done) struct bytes file = sealed(key);
        struct signing_key *out = NULL;
        for (int b = 0; b < 4; b++) {
            file.data[12 + b] = (uint8_t)(costs[i].passes >> (24 - 8 * b));
            file.data[16 + b] = (uint8_t)(costs[i].memory_kib >> (24 - 8 * b));
        }
        fix_checksum(&file);
        assert_int_equal(unseal(&file, "good", &out, NULL), E_LIMIT);
        assert_null(out);
    }
}

/* Somebody who knows the passphrase still cannot pair a private half with another public half. */
static void halves_must_belong_together(void **state)
{
    (void)state;
    CLEANUP(signing_key_cleanup) struct signing_key *key = fresh(KEY_ED25519);
    CLEANUP(signing_key_cleanup) struct signing_key *other = fresh(KEY_ED25519);
    CLEANUP(bytes_done) struct bytes file = sealed(key);
    CLEANUP(bytes_done) struct bytes public_half = BYTES_INIT;
    CLEANUP(secret_done) struct secret good = word("good");
    uint8_t derived[SEAL_KEY_LEN];
    struct signing_key *out = NULL;
    assert_int_equal(public_key_bytes(signing_key_public(other), &public_half, NULL), OK);
    memcpy(file.data + 60, public_half.data, 32);
    assert_int_equal(libsodium_derive(good.data, good.len, file.data + 20, cheap, derived, NULL),
                     OK);
    struct seal_input in = {.key = derived,
                            .nonce = file.data + 36,
                            .header = file.data,
                            .header_len = 92,
                            .text = local_key_secret(key)->data,
                            .text_len = 32};
    assert_int_equal(libsodium_seal(&in, file.data + 92, NULL), OK);
    fix_checksum(&file);
    assert_int_equal(unseal(&file, "good", &out, NULL), E_TAMPERED);
    assert_null(out);
}

static void rsa_keys_are_not_kept(void **state)
{
    (void)state;
    struct signing_key *key = NULL;
    assert_int_equal(signing_key_generate(KEY_RSA, "x", &key, NULL), E_UNSUPPORTED);
    assert_null(key);
}

static void scalars_out_of_range(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"};
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(secret_done) struct secret scalar = SECRET_INIT;
        struct signing_key *key = NULL;
        assert_int_equal(secret_new(32, &scalar, NULL), OK);
        assert_int_equal(hex_decode(bad[i], 64, scalar.data, 32, NULL), OK);
        assert_int_equal(local_key_open(KEY_ECDSA_P256, &scalar, "x", &key, NULL), E_INVALID);
        assert_null(key);
    }
}

/* RFC 6979, A.2.5: the private key whose public half stands in tests/data. */
static void known_scalar(void **state)
{
    (void)state;
    static const char hex[] = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
    static const char x[] = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
    uint8_t want[32];
    CLEANUP(secret_done) struct secret scalar = SECRET_INIT;
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    CLEANUP(bytes_done) struct bytes raw = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    assert_int_equal(secret_new(32, &scalar, NULL), OK);
    assert_int_equal(hex_decode(hex, 64, scalar.data, 32, NULL), OK);
    assert_int_equal(hex_decode(x, 64, want, 32, NULL), OK);
    assert_int_equal(local_key_open(KEY_ECDSA_P256, &scalar, "x", &key, NULL), OK);
    assert_int_equal(public_key_bytes(signing_key_public(key), &raw, NULL), OK);
    assert_memory_equal(raw.data + 27, want, 32);
    assert_int_equal(signing_key_sign(key, "sample", 6, &sig, NULL), OK);
}

static int seal_and_unseal(void *context, struct error *err)
{
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    CLEANUP(signing_key_cleanup) struct signing_key *again = NULL;
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    int rc = signing_key_generate(KEY_ED25519, "key 'alice'", &key, err);
    if (!rc)
        rc = key_file_seal(key, context, cheap, &file, err);
    if (!rc)
        rc = signing_key_unseal(file.data, file.len, context, "key 'alice'", &again, err);
    if (!rc)
        rc = signing_key_sign(again, "hello", 5, &sig, err);
    return rc;
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    CLEANUP(secret_done) struct secret good = word("good");
    alloc_fail_each(seal_and_unseal, &good, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(costs_of_the_public_functions),
        cmocka_unit_test(nothing_secret_in_the_clear),
        cmocka_unit_test(wrong_passphrases),
        cmocka_unit_test(every_bit_flip_is_damage),
        cmocka_unit_test(every_deliberate_flip_fails),
        cmocka_unit_test(truncated_and_extended),
        cmocka_unit_test(absurd_costs),
        cmocka_unit_test(halves_must_belong_together),
        cmocka_unit_test(rsa_keys_are_not_kept),
        cmocka_unit_test(scalars_out_of_range),
        cmocka_unit_test(known_scalar),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests_name("keys: key file", tests, NULL, NULL);
}

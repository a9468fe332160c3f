/* Public keys in TUF's form, their ids, and signatures: the cases of tests/data/keys. */
#include "base/file.h"
#include "keys/public_key.h"
#include "tests/support/alloc_fail.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Calls `check` for every case folder of a kind; the test fails if one is bad or none is there. */
static void each_case(const char *kind, bool (*check)(int dir))
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/keys/%s", TEST_DATA, kind);
    CLEANUP(cleanup_dir) DIR *dir = opendir(path);
    assert_non_null(dir);
    int n = 0, bad = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        CLEANUP(cleanup_fd)
        int at = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(at >= 0);
        n++;
        if (!check(at)) {
            print_message("# %s/%s\n", kind, entry->d_name);
            bad++;
        }
    }
    assert_true(n > 5);
    assert_int_equal(bad, 0);
}

static struct bytes content(int dir, const char *name)
{
    struct bytes all = BYTES_INIT;
    assert_int_equal(file_read(dir, name, 1u << 20, &all, NULL), OK);
    return all;
}

static struct js *object_of(int dir)
{
    CLEANUP(bytes_done) struct bytes text = content(dir, "key.json");
    struct js *object = NULL;
    assert_int_equal(js_parse(text.data, text.len, &object, NULL), OK);
    return object;
}

static struct public_key *key_of(int dir)
{
    CLEANUP(js_cleanup) struct js *object = object_of(dir);
    struct public_key *key = NULL;
    struct error err = ERROR_INIT;
    if (public_key_from_tuf(object, &key, &err))
        print_message("# %s\n", err.message);
    assert_non_null(key);
    return key;
}

static bool id_is_right(int dir)
{
    CLEANUP(js_cleanup) struct js *object = object_of(dir);
    CLEANUP(public_key_cleanup) struct public_key *key = key_of(dir);
    CLEANUP(bytes_done) struct bytes want = content(dir, "id");
    struct key_id id, own;
    assert_int_equal(key_id_of_object(object, &id, NULL), OK);
    assert_int_equal(public_key_id(key, &own, NULL), OK);
    /* What we write has the id of what was read, if that was written our way. */
    CLEANUP(js_cleanup) struct js *written = NULL;
    assert_int_equal(public_key_to_tuf(key, &written, NULL), OK);
    bool same_object = js_equal(object, written);
    return strlen(id.text) == 64 && strncmp(id.text, bytes_text(&want), 64) == 0 &&
           (strcmp(id.text, own.text) == 0) == same_object;
}

static void ids_are_hashes_of_the_canonical_object(void **state)
{
    (void)state;
    each_case("valid", id_is_right);
}

static bool survives_round_trips(int dir)
{
    CLEANUP(public_key_cleanup) struct public_key *key = key_of(dir);
    CLEANUP(public_key_cleanup) struct public_key *from_object = NULL;
    CLEANUP(public_key_cleanup) struct public_key *from_bytes = NULL;
    CLEANUP(public_key_cleanup) struct public_key *copy = public_key_dup(key);
    CLEANUP(js_cleanup) struct js *object = NULL;
    CLEANUP(bytes_done) struct bytes raw = BYTES_INIT;
    assert_int_equal(public_key_to_tuf(key, &object, NULL), OK);
    assert_int_equal(public_key_from_tuf(object, &from_object, NULL), OK);
    assert_int_equal(public_key_bytes(key, &raw, NULL), OK);
    assert_int_equal(
        public_key_from_bytes(public_key_type(key), raw.data, raw.len, &from_bytes, NULL), OK);
    return public_key_equal(key, from_object) && public_key_equal(key, from_bytes) &&
           public_key_equal(key, copy);
}

static void keys_survive_round_trips(void **state)
{
    (void)state;
    each_case("valid", survives_round_trips);
}

static bool verifies(int dir)
{
    if (faccessat(dir, "signature", R_OK, 0))
        return true;
    CLEANUP(public_key_cleanup) struct public_key *key = key_of(dir);
    CLEANUP(bytes_done) struct bytes msg = content(dir, "message");
    CLEANUP(bytes_done) struct bytes sig = content(dir, "signature");
    if (public_key_verify(key, msg.data, msg.len, sig.data, sig.len, NULL))
        return false;
    for (size_t bit = 0; bit < 8 * sig.len; bit++) {
        sig.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = public_key_verify(key, msg.data, msg.len, sig.data, sig.len, NULL);
        sig.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (rc != E_SIGNATURE)
            return false;
    }
    for (size_t len = 0; len < sig.len; len++)
        if (public_key_verify(key, msg.data, msg.len, sig.data, len, NULL) != E_SIGNATURE)
            return false;
    return public_key_verify(key, "other", 5, sig.data, sig.len, NULL) == E_SIGNATURE;
}

static void good_signatures_and_their_bit_flips(void **state)
{
    (void)state;
    each_case("valid", verifies);
}

static bool is_wrong(int dir)
{
    CLEANUP(public_key_cleanup) struct public_key *key = key_of(dir);
    CLEANUP(bytes_done) struct bytes msg = content(dir, "message");
    CLEANUP(bytes_done) struct bytes sig = content(dir, "signature");
    struct error err = ERROR_INIT;
    return public_key_verify(key, msg.data, msg.len, sig.data, sig.len, &err) == E_SIGNATURE &&
           err.code == E_SIGNATURE;
}

static void wrong_signatures(void **state)
{
    (void)state;
    each_case("wrong-signature", is_wrong);
}

static bool is_refused(int dir)
{
    CLEANUP(js_cleanup) struct js *object = object_of(dir);
    CLEANUP(bytes_done) struct bytes code = content(dir, "code");
    struct public_key *key = NULL;
    struct error err = ERROR_INIT;
    int rc = public_key_from_tuf(object, &key, &err);
    char got[32];
    (void)snprintf(got, sizeof got, "%s\n", error_name(rc));
    if (strcmp(got, bytes_text(&code)) != 0)
        print_message("# %d %s\n", rc, err.message);
    return strcmp(got, bytes_text(&code)) == 0 && !key && err.message[0];
}

static void bad_keys_are_refused(void **state)
{
    (void)state;
    each_case("invalid", is_refused);
}

static struct public_key *key_named(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/keys/valid/%s", TEST_DATA, name);
    CLEANUP(cleanup_fd) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    return key_of(dir);
}

static void one_key_in_four_spellings(void **state)
{
    (void)state;
    static const char *const same[] = {"ecdsa-old-keytype", "ecdsa-hex-point",
                                       "ecdsa-compressed-point", "ecdsa-pem-without-last-newline"};
    CLEANUP(public_key_cleanup) struct public_key *key = key_named("ecdsa-rfc6979");
    CLEANUP(public_key_cleanup) struct public_key *ed25519 = key_named("ed25519-rfc8032");
    CLEANUP(public_key_cleanup) struct public_key *rsa = key_named("rsa-2048-salt-0");
    struct key_id id, other_id;
    assert_int_equal(public_key_id(key, &id, NULL), OK);
    for (size_t i = 0; i < 4; i++) {
        CLEANUP(public_key_cleanup) struct public_key *other = key_named(same[i]);
        assert_true(public_key_equal(key, other));
        assert_int_equal(public_key_id(other, &other_id, NULL), OK);
        assert_string_equal(id.text, other_id.text);
    }
    assert_false(public_key_equal(key, ed25519));
    assert_false(public_key_equal(key, rsa));
    assert_false(public_key_equal(rsa, ed25519));
}

static void raw_keys_have_exact_lengths(void **state)
{
    (void)state;
    static const char *const names[] = {"ed25519-rfc8032", "ecdsa-rfc6979", "rsa-2048-salt-0"};
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(public_key_cleanup) struct public_key *key = key_named(names[i]);
        CLEANUP(bytes_done) struct bytes raw = BYTES_INIT;
        assert_int_equal(public_key_bytes(key, &raw, NULL), OK);
        assert_int_equal(bytes_append(&raw, "", 1, NULL), OK);
        for (size_t len = 0; len <= raw.len; len++) {
            struct public_key *cut = NULL;
            int rc = public_key_from_bytes(public_key_type(key), raw.data, len, &cut, NULL);
            assert_int_equal(rc, len == raw.len - 1 ? OK : E_INVALID);
            public_key_free(cut);
        }
    }
}

static void key_ids_have_one_spelling(void **state)
{
    (void)state;
    static const char good[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char bad[80];
    struct key_id id = {"untouched"};
    assert_int_equal(key_id_parse("", &id, NULL), E_INVALID);
    (void)snprintf(bad, sizeof bad, "%s0", good);
    assert_int_equal(key_id_parse(bad, &id, NULL), E_INVALID);
    (void)snprintf(bad, sizeof bad, "%.63s", good);
    assert_int_equal(key_id_parse(bad, &id, NULL), E_INVALID);
    (void)snprintf(bad, sizeof bad, "%.63sF", good);
    assert_int_equal(key_id_parse(bad, &id, NULL), E_INVALID);
    (void)snprintf(bad, sizeof bad, "%.63sg", good);
    assert_int_equal(key_id_parse(bad, &id, NULL), E_INVALID);
    assert_string_equal(id.text, "untouched");
    assert_int_equal(key_id_parse(good, &id, NULL), OK);
    assert_string_equal(id.text, good);
}

static int parse_and_write(void *context, struct error *err)
{
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    struct key_id id;
    int rc = public_key_from_tuf(context, &key, err);
    return rc ? rc : public_key_id(key, &id, err);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    CLEANUP(public_key_cleanup) struct public_key *key = key_named("ed25519-rfc8032");
    CLEANUP(js_cleanup) struct js *object = NULL;
    assert_int_equal(public_key_to_tuf(key, &object, NULL), OK);
    alloc_fail_each(parse_and_write, object, 0);
    CLEANUP(public_key_cleanup) struct public_key *other = key_named("ecdsa-rfc6979");
    CLEANUP(js_cleanup) struct js *pem = NULL;
    assert_int_equal(public_key_to_tuf(other, &pem, NULL), OK);
    /* OpenSSL does not say that memory was the reason. */
    alloc_fail_each(parse_and_write, pem, E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_hashes_of_the_canonical_object),
        cmocka_unit_test(keys_survive_round_trips),
        cmocka_unit_test(good_signatures_and_their_bit_flips),
        cmocka_unit_test(wrong_signatures),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(one_key_in_four_spellings),
        cmocka_unit_test(raw_keys_have_exact_lengths),
        cmocka_unit_test(key_ids_have_one_spelling),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests_name("keys: public key", tests, NULL, NULL);
}

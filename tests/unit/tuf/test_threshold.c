/* Signatures, key tables, and thresholds of distinct keys. */
#include "tests/support/tuf_shape.h"

#include "base/clock.h"
#include "tuf/metadata_internal.h"

/* --- signatures and keys --- */

static void test_signature_shapes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "null",
        "{}",
        "1",
        "[null]",
        "[[]]",
        "[1]",
        "[{}]",
        "[{\"keyid\":\"" ID "\"}]",
        "[{\"sig\":\"00\"}]",
        "[{\"keyid\":\"" ID "\",\"sig\":null}]",
        "[{\"keyid\":\"" ID "\",\"sig\":0}]",
        "[{\"keyid\":\"" ID "\",\"sig\":\"0\"}]",
        "[{\"keyid\":\"" ID "\",\"sig\":\"0g\"}]",
        "[{\"keyid\":\"11\",\"sig\":\"00\"}]",
        "[{\"keyid\":\"\",\"sig\":\"00\"}]",
        "[{\"keyid\":null,\"sig\":\"00\"}]",
        "[{\"keyid\":\"" ID "\",\"sig\":\"00\"},{\"keyid\":\"" ID "\",\"sig\":\"01\"}]",
    };
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    toy_ok(js_write(TARGETS->tree, false, &body, err));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
        toy_ok(bytes_append_format(&file, err, "{\"signatures\":%s,\"signed\":%s}", bad[i],
                                   bytes_text(&body)));
        expect(TUF_TARGETS, bytes_text(&file), E_INVALID);
    }
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    toy_ok(bytes_append_format(&file, err,
                               "{\"signatures\":[{\"keyid\":\"" ID
                               "\",\"sig\":\"\",\"x\":1}],\"signed\":%s,\"more\":[]}",
                               bytes_text(&body)));
    expect(TUF_TARGETS, bytes_text(&file), OK);
}

static void many_signatures(size_t n, int wanted)
{
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT, body = BYTES_INIT;
    toy_ok(js_write(TARGETS->tree, false, &body, err));
    repeat(&b, "{\"signatures\":[", 1);
    for (size_t i = 0; i < n; i++)
        toy_ok(
            bytes_append_format(&b, err, "%s{\"keyid\":\"%064zx\",\"sig\":\"\"}", i ? "," : "", i));
    toy_ok(bytes_append_format(&b, err, "],\"signed\":%s}", bytes_text(&body)));
    expect(TUF_TARGETS, bytes_text(&b), wanted);
}

/* CVE-2020-6173: 100,000 do not even fit; as many as fit are refused, quickly. */
static void test_endless_signatures(void **state)
{
    (void)state;
    int64_t start = clock_monotonic_ms();
    many_signatures(TUF_MAX_SIGNATURES, OK);
    many_signatures(TUF_MAX_SIGNATURES + 1, E_LIMIT);
    many_signatures(50000, E_LIMIT);
    many_signatures(100000, E_LIMIT);
    assert_true(clock_monotonic_ms() - start < 20000);
}

/* CVE-2026-23992 */
static void test_threshold(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",    "-1", "1.5", "\"1\"",           "true",
                                      "null", "[]", "[1]", "9007199254740992"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (strchr(bad[i], '.'))
            continue; /* reals never get past the JSON parser: test_hostile_json */
        set_json(root_role("timestamp"), "threshold", bad[i]);
        expect_tree(ROOT, E_INVALID);
    }
    set_json(root_role("timestamp"), "threshold", "9007199254740991");
    expect_tree(ROOT, OK);
}

static void test_key_ids_of_a_role_are_distinct(void **state)
{
    (void)state;
    struct js *ids = js_edit(root_role("timestamp"), "keyids");
    CLEANUP(cleanup_free) char *id = strdup(js_text(js_at(ids, 0)));
    toy_ok(js_push(ids, js_text_new(id), err));
    expect_tree(ROOT, E_INVALID);
    set_json(root_role("timestamp"), "keyids", "[\"ABCD\"]");
    expect_tree(ROOT, E_INVALID);
    set_json(root_role("timestamp"), "keyids", "[1]");
    expect_tree(ROOT, E_INVALID);
    set_json(root_role("timestamp"), "keyids", "[]");
    expect_tree(ROOT, OK);
}

static void test_key_id_must_match_its_key(void **state)
{
    (void)state;
    struct js *keys = js_edit(ROOT->tree, "keys");
    CLEANUP(js_cleanup) struct js *key = js_dup(js_first(keys).value);
    toy_ok(js_set(keys, ID, js_dup(key), err));
    expect_tree(ROOT, E_INVALID);
    js_remove(keys, ID);
    expect_tree(ROOT, OK);
    toy_ok(js_set(js_edit(keys, js_first(keys).key), "x", js_int_new(1), err));
    expect_tree(ROOT, E_INVALID); /* unknown members belong to the id */
}

/* Adds a key object under its right id. */
static struct key_id add_key(const char *text)
{
    struct js *object = js_of(text);
    struct key_id id;
    toy_ok(key_id_of_object(object, &id, err));
    toy_ok(js_set(js_edit(ROOT->tree, "keys"), id.text, object, err));
    return id;
}

static void test_key_shapes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"keytype\":null,\"scheme\":\"ed25519\",\"keyval\":{\"public\":\"00\"}}",
        "{\"keytype\":\"ed25519\",\"scheme\":1,\"keyval\":{\"public\":\"00\"}}",
        "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\"}",
        "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":null}",
        "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{}}",
        "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{\"public\":[]}}",
        "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{\"public\":\"0011\"}}",
        "{\"keytype\":\"ecdsa\",\"scheme\":\"ecdsa-sha2-nistp256\",\"keyval\":{\"public\":\"x\"}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct key_id id = add_key(bad[i]);
        expect_tree(ROOT, E_INVALID);
        js_remove(js_edit(ROOT->tree, "keys"), id.text);
    }
    static const char *const odd[] = {"null", "[]", "1", "\"x\"", "true"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        set_json(js_edit(ROOT->tree, "keys"), ID, odd[i]);
        expect_tree(ROOT, E_INVALID);
    }
}

static const char rsa_2048[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAn17SB0Emd8lMFIahj3Pc\n"
                               "LeZww7YHhEsy4X7mkpWZEjLlUct/GGIGp9Ve66xLdXObIMHlXsy0crbmKfCWUc4I\n"
                               "cN3jPkK+gBHaYJGuqW2oe1zqomGouqwksmzheEqodkko0sPBxNq8YjV6kFPlHxqu\n"
                               "cqcfUzF25/JngaCfaMZURmhyNoNWsDpWCObNzY8+VVhlBnd7eTFTcgiAoqp544Vm\n"
                               "lPZMM3Z6SCHQJ7XdnXgTHsoyqheT3uYYzC47ahdXL+V5Y/T6VOTGOFNWkHiszUqP\n"
                               "KUNZDceHV7UeZkF2YB6ffSIJo2+aMvd6Dn9emXQMyxGIvopitSg5aPyR0x75kqIo\n"
                               "nQIDAQAB\n"
                               "-----END PUBLIC KEY-----\n";
static const char rsa_1024[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDHmvvHKwb7m6HgWFhKuElmmdzK\n"
                               "33Cid8Z2NXH32RoQwwpWQr1p0pfyL2d5skPLyKTvS+IgD/fuRf19cegQN17JOWWx\n"
                               "lldnFctKaVEM26qYaieo4CmCqvTZJ2UJQ7CPtbCnJwUFur8lb82lwcbf/B8YwcOX\n"
                               "XpCPTL/lHZHaCuCioQIDAQAB\n"
                               "-----END PUBLIC KEY-----\n";

static struct key_id add_rsa(const char *pem)
{
    CLEANUP(js_cleanup)
    struct js *o = js_of("{\"keytype\":\"rsa\",\"scheme\":"
                         "\"rsassa-pss-sha256\",\"keyval\":{}}");
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    toy_ok(js_set(js_edit(o, "keyval"), "public", js_text_new(pem), err));
    toy_ok(js_write(o, false, &text, err));
    return add_key(bytes_text(&text));
}

static void test_rsa_needs_2048_bits(void **state)
{
    (void)state;
    add_rsa(rsa_2048);
    expect_tree(ROOT, OK);
    add_rsa(rsa_1024);
    expect_tree(ROOT, E_INVALID);
}

/* A key of a kind we do not know takes part in nothing, and disturbs nothing. */
static void test_unsupported_keys_are_passed_over(void **state)
{
    (void)state;
    struct key_id id = add_key("{\"keytype\":\"sphincs\",\"scheme\":\"x\",\"keyval\":{\"public\":"
                               "\"00\"}}");
    struct js *ids = js_edit(root_role("root"), "keyids");
    toy_ok(js_push(ids, js_text_new(id.text), err));
    toy_sign(ROOT);
    METADATA m = parse_role(ROOT);
    assert_null(tuf_keys_find(tuf_root_keys(m), &id)->key);
    size_t n = 0;
    toy_ok(tuf_verify_threshold(m, tuf_root_keys(m), tuf_root_role(m, TUF_ROOT), NULL, 0, &n, err));
    assert_int_equal(n, 2);
}

static void test_key_limits(void **state)
{
    (void)state;
    size_t have = js_count(js_get(ROOT->tree, "keys"));
    char text[160];
    for (size_t i = have; i < TUF_MAX_KEYS; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"keytype\":\"x\",\"scheme\":\"x\",\"keyval\":{\"n\":%zu}}", i);
        add_key(text);
    }
    expect_tree(ROOT, OK);
    add_key("{\"keytype\":\"y\",\"scheme\":\"y\",\"keyval\":{}}");
    expect_tree(ROOT, E_LIMIT);
}

static void test_extra_roles_in_root_are_tolerated(void **state)
{
    (void)state;
    set_json(js_edit(ROOT->tree, "roles"), "mirrors", "{\"keyids\":[],\"threshold\":1}");
    expect_tree(ROOT, OK);
    js_remove(js_edit(ROOT->tree, "roles"), "snapshot");
    expect_tree(ROOT, E_INVALID);
}

/* --- thresholds --- */

static int verify_root(const struct bytes *file, size_t *n)
{
    METADATA m = NULL;
    toy_ok(tuf_metadata_parse(TUF_ROOT, file->data, file->len, &m, err));
    return tuf_verify_threshold(m, tuf_root_keys(m), tuf_root_role(m, TUF_ROOT), NULL, 0, n, NULL);
}

static void test_threshold_is_reached_or_not(void **state)
{
    (void)state;
    size_t n = 0;
    struct signing_key *keys[3] = {ROOT->signers[0], ROOT->signers[1], TARGETS->signers[0]};
    assert_int_equal(verify_root(&ROOT->file, &n), OK);
    assert_int_equal(n, 2);
    toy_sign_tree(ROOT->tree, keys, 1, &ROOT->file);
    assert_int_equal(verify_root(&ROOT->file, &n), E_SIGNATURE);
    assert_int_equal(n, 1);
    toy_sign_tree(ROOT->tree, keys + 1, 2, &ROOT->file); /* the second is no root key */
    assert_int_equal(verify_root(&ROOT->file, &n), E_SIGNATURE);
    assert_int_equal(n, 1);
    toy_sign_tree(ROOT->tree, NULL, 0, &ROOT->file);
    assert_int_equal(verify_root(&ROOT->file, &n), E_SIGNATURE);
    assert_int_equal(n, 0);
}

/* CVE-2020-6174, CVE-2020-15093: the same signature twice. */
static void test_duplicate_signatures(void **state)
{
    (void)state;
    struct signing_key *twice[2] = {ROOT->signers[0], ROOT->signers[0]};
    toy_sign_tree(ROOT->tree, twice, 2, &ROOT->file);
    expect(TUF_ROOT, bytes_text(&ROOT->file), E_INVALID);
}

/* GHSA-3633-5h82-39pq: one key under two ids, both ids right, both signatures right. */
static void test_one_key_under_two_ids_counts_once(void **state)
{
    (void)state;
    struct tuf_signer signers[2] = {{.sign = toy_sign_with, .context = ROOT->signers[1]},
                                    {.sign = toy_sign_with, .context = ROOT->signers[1]}};
    CLEANUP(js_cleanup) struct js *key = NULL;
    toy_ok(public_key_id(signing_key_public(ROOT->signers[1]), &signers[0].id, err));
    toy_ok(public_key_to_tuf(signing_key_public(ROOT->signers[1]), &key, err));
    toy_ok(js_set(key, "keyid_hash_algorithms", js_of("[\"sha256\",\"sha512\"]"), err));
    toy_ok(key_id_of_object(key, &signers[1].id, err));
    assert_string_not_equal(signers[0].id.text, signers[1].id.text);
    toy_ok(js_set(js_edit(ROOT->tree, "keys"), signers[1].id.text, TAKE_PTR(key), err));
    toy_ok(js_push(js_edit(root_role("root"), "keyids"), js_text_new(signers[1].id.text), err));
    bytes_clear(&ROOT->file);
    toy_ok(tuf_compose_file(ROOT->tree, signers, 2, &ROOT->file, err));
    size_t n = 0;
    assert_int_equal(verify_root(&ROOT->file, &n), E_SIGNATURE);
    assert_int_equal(n, 1);
    toy_sign_tree(ROOT->tree, ROOT->signers, 2, &ROOT->file); /* two different keys do */
    assert_int_equal(verify_root(&ROOT->file, &n), OK);
}

/* A listed id without a key, a signature of odd length: not counted, not fatal. */
static void test_what_does_not_count(void **state)
{
    (void)state;
    toy_ok(js_push(js_edit(root_role("root"), "keyids"), js_text_new(ID), err));
    toy_sign(ROOT);
    size_t n = 0;
    assert_int_equal(verify_root(&ROOT->file, &n), OK);
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT, body = BYTES_INIT, huge = BYTES_INIT;
    struct key_id id;
    toy_ok(public_key_id(signing_key_public(ROOT->signers[1]), &id, err));
    toy_ok(js_write(ROOT->tree, false, &body, err));
    repeat(&huge, "00", 5000);
    toy_ok(bytes_append_format(&file, err,
                               "{\"signatures\":[{\"keyid\":\"%s\",\"sig\":\"%s\"}],\"signed\":%s}",
                               id.text, bytes_text(&huge), bytes_text(&body)));
    assert_int_equal(verify_root(&file, &n), E_SIGNATURE);
    assert_int_equal(n, 0);
}

static void test_list_of_signers_is_bounded(void **state)
{
    (void)state;
    METADATA m = parse_role(ROOT);
    struct key_id ids[2] = {{"untouched"}, {"untouched"}};
    toy_ok(
        tuf_verify_threshold(m, tuf_root_keys(m), tuf_root_role(m, TUF_ROOT), ids, 1, NULL, err));
    assert_int_equal(strlen(ids[0].text), 64);
    assert_string_equal(ids[1].text, "untouched");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_signature_shapes),
        CASE(test_endless_signatures),
        CASE(test_threshold),
        CASE(test_key_ids_of_a_role_are_distinct),
        CASE(test_key_id_must_match_its_key),
        CASE(test_key_shapes),
        CASE(test_rsa_needs_2048_bits),
        CASE(test_unsupported_keys_are_passed_over),
        CASE(test_key_limits),
        CASE(test_extra_roles_in_root_are_tolerated),
        CASE(test_threshold_is_reached_or_not),
        CASE(test_duplicate_signatures),
        CASE(test_one_key_under_two_ids_counts_once),
        CASE(test_what_does_not_count),
        CASE(test_list_of_signers_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

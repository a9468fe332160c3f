/* The data model: what is read, the members of every role, and JSON itself. */
#include "tests/support/tuf_shape.h"

#include "base/clock.h"

/* --- what is read --- */

static void test_root_is_read(void **state)
{
    (void)state;
    METADATA m = parse_role(ROOT);
    assert_int_equal(tuf_metadata_type(m), TUF_ROOT);
    assert_int_equal(tuf_metadata_version(m), 1);
    assert_int_equal(tuf_metadata_expires(m), TOY_NOW + TOY_DAY);
    assert_int_equal(tuf_metadata_issued(m), -1);
    assert_string_equal(tuf_metadata_collection(m), "acme/app");
    assert_null(tuf_metadata_role(m));
    assert_int_equal(tuf_metadata_n_signatures(m), 2);
    assert_true(tuf_root_consistent_snapshot(m));
    assert_int_equal(tuf_root_keys(m)->n, 5);
    assert_int_equal(tuf_root_role(m, TUF_ROOT)->threshold, 2);
    assert_int_equal(tuf_root_role(m, TUF_ROOT)->n_ids, 2);
    const struct bytes *bytes = tuf_metadata_bytes(m);
    assert_true(bytes_equal(bytes->data, bytes->len, ROOT->file.data, ROOT->file.len));
    assert_true(js_equal(tuf_metadata_signed(m), ROOT->tree));
}

static void test_timestamp_and_snapshot_are_read(void **state)
{
    (void)state;
    METADATA t = parse_role(&repo.roles[TUF_TIMESTAMP]);
    METADATA s = parse_role(SNAPSHOT);
    assert_int_equal(tuf_metadata_issued(t), TOY_NOW);
    const struct tuf_meta *meta = tuf_timestamp_snapshot(t);
    toy_ok(tuf_meta_check(meta, SNAPSHOT->file.data, SNAPSHOT->file.len, true, err));
    assert_int_equal(tuf_snapshot_count(s), 2);
    const char *role;
    assert_int_equal(tuf_snapshot_at(s, 0, &role)->version, 1);
    assert_string_equal(role, "targets");
    assert_ptr_equal(tuf_snapshot_at(s, 1, &role), tuf_snapshot_find(s, "alice"));
    assert_string_equal(role, "alice");
    assert_null(tuf_snapshot_find(s, "alice.json"));
    assert_null(tuf_snapshot_find(s, ""));
}

static void test_targets_are_read(void **state)
{
    (void)state;
    METADATA m = parse_role(TARGETS);
    struct tuf_target target = {.length = 77};
    assert_false(tuf_targets_find(m, "v2", &target));
    assert_int_equal(target.length, 77);
    assert_true(tuf_targets_find(m, "v1", &target));
    assert_int_equal(target.length, 3);
    assert_int_equal(target.sha512.alg, DIGEST_NONE);
    assert_int_equal(tuf_targets_count(m), 1);
    struct tuf_target first;
    tuf_targets_at(m, 0, &first);
    assert_ptr_equal(first.name, target.name);
    assert_int_equal(tuf_targets_n_delegations(m), 1);
    const struct tuf_delegation *d = tuf_targets_delegation(m, 0);
    assert_string_equal(d->name, "alice");
    assert_false(d->terminating);
    assert_int_equal(d->n_paths, 1);
    assert_null(d->hash_prefixes);
    assert_int_equal(tuf_targets_keys(m)->n, 1);
    assert_string_equal(tuf_metadata_role(m), "targets");
}

static void test_counted_references(void **state)
{
    (void)state;
    struct tuf_metadata *m = parse_role(ROOT);
    struct tuf_metadata *again = tuf_metadata_ref(m);
    tuf_metadata_free(m);
    assert_int_equal(tuf_metadata_version(again), 1);
    tuf_metadata_free(again);
    tuf_metadata_free(NULL);
}

static void test_many_targets_are_found(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof name, "t-%d", i);
        struct js *targets = js_edit(TARGETS->tree, "targets");
        set_json(targets, name, "{\"length\":1,\"hashes\":{\"x\":\"\"}}");
    }
    toy_sign(TARGETS);
    METADATA m = parse_role(TARGETS);
    struct tuf_target target;
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof name, "t-%d", i);
        assert_true(tuf_targets_find(m, name, &target));
        assert_string_equal(target.name, name);
    }
    assert_false(tuf_targets_find(m, "t-20000", &target));
}

/* --- members of every role --- */

static void each_type(const char *key, const char *value, int wanted)
{
    for (size_t i = 0; i < 4; i++) {
        struct js *good = js_dup(js_get(repo.roles[i].tree, key));
        set_json(repo.roles[i].tree, key, value);
        expect_tree(&repo.roles[i], wanted);
        if (good)
            toy_ok(js_set(repo.roles[i].tree, key, good, err));
        else
            js_remove(repo.roles[i].tree, key);
    }
}

static void test_spec_version(void **state)
{
    (void)state;
    static const char *const good[] = {"\"1.0\"", "\"1.0.0\"", "\"1.0.34\"", "\"1.9.99\""};
    static const char *const bad[] = {
        "\"\"",      "\"1\"",    "\"1.\"",           "\"1.0.\"", "\"1.0.0.0\"", "\"1.x\"",
        "\"1.0-a\"", "\" 1.0\"", "\"1.0000000000\"", "1",        "null"};
    static const char *const other[] = {"\"2.0.0\"", "\"0.9\"", "\"10.0\"", "\"01.0\""};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        each_type("spec_version", good[i], OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        each_type("spec_version", bad[i], E_INVALID);
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        each_type("spec_version", other[i], E_UNSUPPORTED);
}

static void test_version(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",
                                      "-1",
                                      "\"1\"",
                                      "9007199254740992",
                                      "true",
                                      "null",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "[1]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        each_type("version", bad[i], E_INVALID);
    each_type("version", "9007199254740991", OK);
}

static void test_expires(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"\"",
        "\"never\"",
        "\"2030-01-01\"",
        "\"2030-01-01T00:00:00\"",
        "\"2030-01-01T00:00:00+00:00\"",
        "\"2030-01-01T00:00:00.0Z\"",
        "\"2030-01-01t00:00:00z\"",
        "\"2030-01-01 00:00:00Z\"",
        "\"2030-02-30T00:00:00Z\"",
        "\"2030-13-01T00:00:00Z\"",
        "\"2030-01-01T24:00:00Z\"",
        "\"2030-01-01T00:00:60Z\"",
        "\" 2030-01-01T00:00:00Z\"",
        "\"2030-01-01T00:00:00Z \"",
        "\"+030-01-01T00:00:00Z\"",
        "1900000000",
        "null",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        each_type("expires", bad[i], E_INVALID);
    each_type("expires", "\"2030-01-01T00:00:00Z\"", OK);
}

static void test_type_must_be_the_one_asked_for(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    for (int is = TUF_ROOT; is <= TUF_TARGETS; is++)
        for (int asked = TUF_ROOT; asked <= TUF_TARGETS; asked++) {
            int rc = parse_text((enum tuf_type)asked, bytes_text(&repo.roles[is].file), &err);
            assert_int_equal(rc, is == asked ? OK : E_INVALID);
        }
    each_type("_type", "\"Root\"", E_INVALID);
    each_type("_type", "\"mirrors\"", E_INVALID);
}

static void test_bindings_have_a_shape(void **state)
{
    (void)state;
    static const char *const bad[] = {"\"\"", "1", "null", "[]", "{}", "\"a\\u0001\"", "\"\\n\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        each_type("x-bulla-collection", bad[i], E_INVALID);
        each_type("x-bulla-role", bad[i], E_INVALID);
        each_type("x-bulla-issued", bad[i], E_INVALID);
    }
    each_type("x-bulla-issued", "\"2025-06-15T00:00:00Z\"", OK);
}

/* Unknown members stay in the tree and under the signature. */
static void test_unknown_members_survive(void **state)
{
    (void)state;
    static const char odd[] = "{\"a\":[1,null,true,\"\\u00e4\\\\\\\"\"],\"\":{}}";
    CLEANUP(js_cleanup) struct js *value = js_of(odd);
    for (size_t i = 0; i < 4; i++) {
        set_json(repo.roles[i].tree, "x-unknown", odd);
        toy_sign(&repo.roles[i]);
        METADATA root = parse_role(ROOT);
        METADATA m = parse_role(&repo.roles[i]);
        assert_true(js_equal(js_get(tuf_metadata_signed(m), "x-unknown"), value));
        toy_ok(tuf_verify_threshold(m, tuf_root_keys(root), tuf_root_role(root, (enum tuf_type)i),
                                    NULL, 0, NULL, err));
    }
}

/* Changing an unknown member breaks the signature. */
static void test_unknown_members_are_signed(void **state)
{
    (void)state;
    toy_set_text(TARGETS, "x-unknown", "AAAA");
    toy_sign(TARGETS);
    char *at = strstr((char *)TARGETS->file.data, "AAAA");
    *at = 'B';
    METADATA root = parse_role(ROOT);
    METADATA m = parse_role(TARGETS);
    assert_int_equal(tuf_verify_threshold(m, tuf_root_keys(root), tuf_root_role(root, TUF_TARGETS),
                                          NULL, 0, NULL, NULL),
                     E_SIGNATURE);
}

/* --- JSON itself --- */

static void test_hostile_json(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{}",
        "{\"signed\":{},\"signatures\":[]}",
        "{\"signed\":null,\"signatures\":[]}",
        "{\"signed\":[],\"signatures\":[]}",
        "{\"signatures\":[],\"signed\":{\"_type\":\"root\"}}x",
        "{\"signatures\":[],\"signatures\":[],\"signed\":{}}",
        "{\"signatures\":[],\"signed\":{\"version\":1,\"version\":2}}",
        "{\"signatures\":[],\"signed\":{\"version\":1.0}}",
        "{\"signatures\":[],\"signed\":{\"version\":1e3}}",
        "{\"signatures\":[],\"signed\":{\"version\":NaN}}",
        "{\"signatures\":[],\"signed\":{\"version\":01}}",
        "{\"signatures\":[],\"signed\":{\"version\":99999999999999999999}}",
        "{\"signatures\":[],\"signed\":{\"_type\":\"\xff\"}}",
        "{\"signatures\":[],\"signed\":{\"_type\":\"\xc0\x80\"}}",
        "{\"signatures\":[],\"signed\":{\"_type\":\"\\u0000\"}}",
        "\xef\xbb\xbf{}",
        "{\"signatures\":[],\"signed\":{},}",
        "/**/{}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int type = TUF_ROOT; type <= TUF_TARGETS; type++)
            expect((enum tuf_type)type, bad[i], E_INVALID);
}

static void test_deep_json(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    repeat(&b, "{\"signed\":", 1);
    repeat(&b, "[", 500000 - 10);
    expect(TUF_ROOT, bytes_text(&b), E_LIMIT);
    struct error err = ERROR_INIT;
    repeat(&b, "[", 100);
    assert_int_equal(parse_text(TUF_ROOT, bytes_text(&b), &err), E_LIMIT);
}

/* CVE-2020-10735 */
static void test_number_with_a_million_digits(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    toy_ok(bytes_append_text(&b, "{\"signatures\":[],\"signed\":{\"version\":", err));
    repeat(&b, "1234567890", 100000);
    repeat(&b, "}}", 1);
    int64_t start = clock_monotonic_ms();
    expect(TUF_TARGETS, bytes_text(&b), E_INVALID);
    assert_true(clock_monotonic_ms() - start < 5000);
}

/* Integers that stock clients would read as others must not be under a signature anywhere. */
static void test_huge_integers_in_unknown_members(void **state)
{
    (void)state;
    each_type("x-unknown", "9007199254740991", OK);
    each_type("x-unknown", "-9007199254740991", OK);
    each_type("x-unknown", "9007199254740992", E_INVALID);
    each_type("x-unknown", "{\"a\":[{\"b\":-9007199254740992}]}", E_INVALID);
}

static void test_size_limits(void **state)
{
    (void)state;
    for (int type = TUF_ROOT; type <= TUF_TARGETS; type++) {
        CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
        size_t max = tuf_type_max_bytes((enum tuf_type)type);
        toy_ok(bytes_append(&b, repo.roles[type].file.data, repo.roles[type].file.len, err));
        while (b.len < max)
            toy_ok(bytes_append_text(&b, " ", err));
        expect((enum tuf_type)type, bytes_text(&b), OK);
        toy_ok(bytes_append_text(&b, " ", err));
        expect((enum tuf_type)type, bytes_text(&b), E_LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_root_is_read),
        CASE(test_timestamp_and_snapshot_are_read),
        CASE(test_targets_are_read),
        CASE(test_counted_references),
        CASE(test_many_targets_are_found),
        CASE(test_spec_version),
        CASE(test_version),
        CASE(test_expires),
        CASE(test_type_must_be_the_one_asked_for),
        CASE(test_bindings_have_a_shape),
        CASE(test_unknown_members_survive),
        CASE(test_unknown_members_are_signed),
        CASE(test_hostile_json),
        CASE(test_deep_json),
        CASE(test_number_with_a_million_digits),
        CASE(test_huge_integers_in_unknown_members),
        CASE(test_size_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Names, patterns, meta entries, targets and delegations. */
#include "tests/support/tuf_shape.h"

#include "base/clock.h"
#include "tuf/metadata_internal.h"

/* --- names --- */

static void test_role_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "releases", "a.b-c_d9", "targets2"};
    static const char *const bad[] = {"",     "A",         "9a",       "-a",      "a/b",
                                      "root", "timestamp", "snapshot", "targets", "a b",
                                      "a\n",  "..",        ".a",       "\xc3\xa4"};
    char longest[66];
    memset(longest, 'a', 65);
    longest[65] = '\0';
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(tuf_role_name_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tuf_role_name_valid(bad[i]));
    assert_false(tuf_role_name_valid(longest));
    longest[64] = '\0';
    assert_true(tuf_role_name_valid(longest));
}

static void test_target_names(void **state)
{
    (void)state;
    static const char *const good[] = {
        "v1",     "_x", "1.2.3-rc.1",
        "latest", "V1", "sha256:1111111111111111111111111111111111111111111111111111111111111111"};
    static const char *const bad[] = {
        "",
        ".v1",
        "-v1",
        "a/b",
        "a:b",
        "a b",
        "v1\n",
        "a*",
        "sha256:111111111111111111111111111111111111111111111111111111111111111",
        "sha256:111111111111111111111111111111111111111111111111111111111111111A",
        "md5:11111111111111111111111111111111"};
    char longest[130];
    memset(longest, 'a', 129);
    longest[129] = '\0';
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(tuf_target_name_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tuf_target_name_valid(bad[i]));
    assert_false(tuf_target_name_valid(longest));
    longest[128] = '\0';
    assert_true(tuf_target_name_valid(longest));
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } rows[] = {
        {"*", "v1", true},
        {"*", "", true},
        {"*", "a/b", false},
        {"", "", true},
        {"", "a", false},
        {"v?", "v1", true},
        {"v?", "v", false},
        {"v?", "v12", false},
        {"v?1", "v/1", false},
        {"*/*", "a/b", true},
        {"*/*", "a/b/c", false},
        {"*/*", "ab", false},
        {"v1.*", "v1.2.3", true},
        {"v1.*", "v1", false},
        {"*-rc*", "1-rc2", true},
        {"a*b*c", "aXbYbZc", true},
        {"a*b*c", "aXbYbZ", false},
        {"*a", "aaaa", true},
        {"*ab", "aab", true},
        {"**", "abc", true},
        {"a**", "a/b", false},
        {"dir/*", "dir/x", true},
        {"dir/*", "dir/x/y", false},
        {"[ab]", "a", false},
        {"[ab]", "[ab]", true},
        {"{a,b}", "a", false},
        {"\\*", "\\x", true},
        {"a?", "a?", true},
        {"v1", "V1", false},
        {"*/b", "a/xb", false},
        {"x*/b*d", "xy/bcd", true},
        {"*.tgz", ".tgz", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (tuf_pattern_matches(rows[i].pattern, rows[i].name) != rows[i].matches)
            fail_msg("pattern '%s', name '%s'", rows[i].pattern, rows[i].name);
}

static void test_worst_pattern_is_quick(void **state)
{
    (void)state;
    char pattern[TUF_MAX_NAME + 1], name[TUF_MAX_NAME + 1];
    for (size_t i = 0; i < TUF_MAX_NAME; i++) {
        pattern[i] = i % 2 ? 'a' : '*';
        name[i] = 'a';
    }
    pattern[TUF_MAX_NAME] = name[TUF_MAX_NAME] = '\0';
    pattern[TUF_MAX_NAME - 1] = 'b';
    int64_t start = clock_monotonic_ms();
    for (int i = 0; i < 1000; i++)
        assert_false(tuf_pattern_matches(pattern, name));
    assert_true(clock_monotonic_ms() - start < 5000);
}

/* --- meta --- */

static void snapshot_meta(const char *name, const char *value, int wanted)
{
    set_json(js_edit(SNAPSHOT->tree, "meta"), name, value);
    expect_tree(SNAPSHOT, wanted);
    js_remove(js_edit(SNAPSHOT->tree, "meta"), name);
}

#define SHA "\"sha256\":\"" ID "\""

static void test_meta_entries(void **state)
{
    (void)state;
    snapshot_meta("x.json", "{\"version\":1}", OK);
    snapshot_meta("x.json", "{\"version\":1,\"length\":0,\"hashes\":{" SHA "},\"y\":[]}", OK);
    snapshot_meta("x.json", "{\"version\":1,\"hashes\":{\"md5\":\"00\"," SHA "}}", OK);
    snapshot_meta("x.json", "{\"version\":1,\"hashes\":{\"md5\":\"00\"}}", E_UNSUPPORTED);
    static const char *const bad[] = {
        "null",
        "[]",
        "1",
        "{}",
        "{\"version\":0}",
        "{\"version\":\"1\"}",
        "{\"version\":1,\"length\":-1}",
        "{\"version\":1,\"length\":\"1\"}",
        "{\"version\":1,\"length\":null}",
        "{\"version\":1,\"length\":9007199254740992}",
        "{\"version\":1,\"hashes\":null}",
        "{\"version\":1,\"hashes\":[]}",
        "{\"version\":1,\"hashes\":{}}",
        "{\"version\":1,\"hashes\":{\"sha256\":null}}",
        "{\"version\":1,\"hashes\":{\"sha256\":\"\"}}",
        "{\"version\":1,\"hashes\":{\"sha256\":\"00\"}}",
        "{\"version\":1,\"hashes\":{\"sha512\":\"" ID "\"}}",
        "{\"version\":1,\"hashes\":{\"md5\":1," SHA "}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        snapshot_meta("x.json", bad[i], E_INVALID);
    static const char *const names[] = {"", "x", ".json", "x.JSON", "x.json.", "a\nb.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        snapshot_meta(names[i], "{\"version\":1}", E_INVALID);
}

static void test_timestamp_has_one_entry(void **state)
{
    (void)state;
    struct toy_role *timestamp = &repo.roles[TUF_TIMESTAMP];
    set_json(js_edit(timestamp->tree, "meta"), "targets.json", "{\"version\":1}");
    expect_tree(timestamp, E_INVALID);
    js_remove(js_edit(timestamp->tree, "meta"), "snapshot.json");
    expect_tree(timestamp, E_INVALID);
    js_remove(js_edit(timestamp->tree, "meta"), "targets.json");
    expect_tree(timestamp, E_INVALID);
}

static void test_meta_check(void **state)
{
    (void)state;
    struct tuf_meta meta = {.version = 1, .length = -1};
    toy_ok(tuf_meta_check(&meta, "abc", 3, false, err));
    assert_int_equal(tuf_meta_check(&meta, "abc", 3, true, NULL), E_INVALID);
    meta.length = 3;
    assert_int_equal(tuf_meta_check(&meta, "abc", 3, true, NULL), E_INVALID);
    assert_int_equal(tuf_meta_check(&meta, "abcd", 4, false, NULL), E_DIGEST);
    toy_ok(digest_of(DIGEST_SHA256, "abc", 3, &meta.sha256, err));
    toy_ok(digest_of(DIGEST_SHA512, "abc", 3, &meta.sha512, err));
    toy_ok(tuf_meta_check(&meta, "abc", 3, true, err));
    assert_int_equal(tuf_meta_check(&meta, "abd", 3, true, NULL), E_DIGEST);
    meta.sha512.bytes[63] ^= 1;
    assert_int_equal(tuf_meta_check(&meta, "abc", 3, true, NULL), E_DIGEST);
    meta.sha512.alg = DIGEST_NONE;
    meta.length = -1;
    assert_int_equal(tuf_meta_check(&meta, "abc", 3, true, NULL), E_INVALID);
}

/* --- targets --- */

static void test_target_shapes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "null",
        "[]",
        "{}",
        "{\"length\":1}",
        "{\"hashes\":{" SHA "}}",
        "{\"length\":-1,\"hashes\":{" SHA "}}",
        "{\"length\":9007199254740992,\"hashes\":{" SHA "}}",
        "{\"length\":\"1\",\"hashes\":{" SHA "}}",
        "{\"length\":1,\"hashes\":{}}",
        "{\"length\":1,\"hashes\":[]}",
        "{\"length\":1,\"hashes\":{\"sha256\":\"0\"}}",
        "{\"length\":1,\"hashes\":{" SHA "},\"custom\":null}",
        "{\"length\":1,\"hashes\":{" SHA "},\"custom\":[]}",
    };
    struct js *targets = js_edit(TARGETS->tree, "targets");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        set_json(targets, "x", bad[i]);
        expect_tree(TARGETS, E_INVALID);
    }
    set_json(targets, "x", "{\"length\":0,\"hashes\":{\"blake\":\"?\"},\"custom\":{\"y\":[null]}}");
    expect_tree(TARGETS, OK);
    set_json(targets, "a\tb", "{\"length\":1,\"hashes\":{" SHA "}}");
    expect_tree(TARGETS, E_INVALID);
}

static void test_ban_list(void **state)
{
    (void)state;
    set_json(TARGETS->tree, "x-bulla-banned",
             "[\"sha256:" ID "\",\"sha512:" ID ID "\",\"sha256:" ID "\"]");
    toy_sign(TARGETS);
    METADATA m = parse_role(TARGETS);
    struct digest d = {.alg = DIGEST_SHA256};
    memset(d.bytes, 0x11, sizeof d.bytes);
    assert_true(tuf_targets_banned(m, &d));
    d.alg = DIGEST_SHA512;
    assert_true(tuf_targets_banned(m, &d));
    d.bytes[63] = 0;
    assert_false(tuf_targets_banned(m, &d));
    d.alg = DIGEST_SHA256; /* bytes behind the algorithm's length do not matter */
    assert_true(tuf_targets_banned(m, &d));
    d.bytes[31] = 0;
    assert_false(tuf_targets_banned(m, &d));
    d.alg = DIGEST_NONE;
    assert_false(tuf_targets_banned(m, &d));
    static const char *const bad[] = {"null",   "{}",       "[null]",         "[1]",
                                      "[\"\"]", "[\"v1\"]", "[\"sha256:11\"]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        set_json(TARGETS->tree, "x-bulla-banned", bad[i]);
        expect_tree(TARGETS, E_INVALID);
    }
}

static void test_ban_list_limit(void **state)
{
    (void)state;
    struct js *list = js_array_new();
    toy_ok(js_set(TARGETS->tree, "x-bulla-banned", list, err));
    list = js_edit(TARGETS->tree, "x-bulla-banned");
    for (size_t i = 0; i < TUF_MAX_BANNED; i++) {
        char text[80];
        (void)snprintf(text, sizeof text, "sha256:%064zx", i);
        toy_ok(js_push(list, js_text_new(text), err));
    }
    expect_tree(TARGETS, OK);
    toy_ok(js_push(list, js_text_new("sha256:" ID), err));
    expect_tree(TARGETS, E_LIMIT);
}

/* --- delegations --- */

static void delegations(const char *text, int wanted)
{
    set_json(TARGETS->tree, "delegations", text);
    expect_tree(TARGETS, wanted);
}

#define ROLES(list)  "{\"keys\":{},\"roles\":[" list "]}"
#define KEYS         "\"keyids\":[],\"threshold\":1"
#define ROLE(n, end) "{\"name\":" n "," KEYS "," end "}"
#define PATHS        "\"terminating\":false,\"paths\":[\"*\"]"

static void test_delegation_shapes(void **state)
{
    (void)state;
    delegations(ROLES(""), OK);
    delegations(ROLES(ROLE("\"a\"", PATHS)), OK);
    delegations(ROLES(ROLE("\"Any/name 1\"", PATHS)), OK); /* the binding check is narrower */
    delegations(ROLES(ROLE("\"a\"", "\"terminating\":true,\"path_hash_prefixes\":[\"0a\"]")), OK);
    delegations(ROLES(ROLE("\"a\"", "\"terminating\":true,\"paths\":[],\"x\":1")), OK);
    static const char *const bad[] = {
        "null",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"roles\":[]}",
        "{\"keys\":[],\"roles\":[]}",
        "{\"keys\":{},\"roles\":{}}",
        ROLES("null"),
        ROLES("[]"),
        ROLES("{}"),
        ROLES(ROLE("1", PATHS)),
        ROLES(ROLE("\"\"", PATHS)),
        ROLES(ROLE("\"a\\u0007\"", PATHS)),
        ROLES(ROLE("\"root\"", PATHS)),
        ROLES(ROLE("\"timestamp\"", PATHS)),
        ROLES(ROLE("\"snapshot\"", PATHS)),
        ROLES(ROLE("\"targets\"", PATHS)),
        ROLES(ROLE("\"a\"", PATHS) "," ROLE("\"b\"", PATHS) "," ROLE("\"a\"", PATHS)),
        ROLES(ROLE("\"a\"", "\"paths\":[\"*\"]")),
        ROLES(ROLE("\"a\"", "\"terminating\":0,\"paths\":[\"*\"]")),
        ROLES(ROLE("\"a\"", "\"terminating\":null,\"paths\":[\"*\"]")),
        ROLES(ROLE("\"a\"", "\"terminating\":false")),
        ROLES(ROLE("\"a\"", PATHS ",\"path_hash_prefixes\":[\"0a\"]")),
        ROLES(ROLE("\"a\"", "\"terminating\":false,\"paths\":null")),
        ROLES(ROLE("\"a\"", "\"terminating\":false,\"paths\":\"*\"")),
        ROLES(ROLE("\"a\"", "\"terminating\":false,\"paths\":[1]")),
        ROLES(ROLE("\"a\"", "\"terminating\":false,\"paths\":[\"\"]")),
        ROLES(ROLE("\"a\"", "\"terminating\":false,\"path_hash_prefixes\":[\"\"]")),
        ROLES(ROLE("\"a\"", "\"terminating\":false,\"path_hash_prefixes\":[\"0A\"]")),
        ROLES(ROLE("\"a\"", "\"terminating\":false,\"path_hash_prefixes\":[\"0x\"]")),
        ROLES(ROLE("\"a\"", "\"terminating\":false,\"path_hash_prefixes\":[\"" ID "1\"]")),
        ROLES(ROLE("\"a\"", "\"terminating\":false,\"path_hash_prefixes\":[null]")),
        ROLES("{\"name\":\"a\",\"keyids\":[],\"threshold\":0," PATHS "}"),
        ROLES("{\"name\":\"a\",\"keyids\":null,\"threshold\":1," PATHS "}"),
        ROLES("{\"name\":\"a\",\"threshold\":1," PATHS "}"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        delegations(bad[i], E_INVALID);
}

#define BINS(members) "{\"keys\":{},\"succinct_roles\":{" KEYS "," members "}}"

static void test_succinct_role_shapes(void **state)
{
    (void)state;
    static const char *const good[] = {
        BINS("\"bit_length\":8,\"name_prefix\":\"bin\""),
        BINS("\"bit_length\":1,\"name_prefix\":\"bin\",\"more\":null"),
        BINS("\"bit_length\":32,\"name_prefix\":\"Any / name\""),
    };
    static const char *const bad[] = {
        BINS("\"bit_length\":0,\"name_prefix\":\"bin\""),
        BINS("\"bit_length\":33,\"name_prefix\":\"bin\""),
        BINS("\"bit_length\":-1,\"name_prefix\":\"bin\""),
        BINS("\"bit_length\":\"8\",\"name_prefix\":\"bin\""),
        BINS("\"name_prefix\":\"bin\""),
        BINS("\"bit_length\":8"),
        BINS("\"bit_length\":8,\"name_prefix\":\"\""),
        BINS("\"bit_length\":8,\"name_prefix\":\"a\\n\""),
        BINS("\"bit_length\":8,\"name_prefix\":null"),
        "{\"keys\":{},\"succinct_roles\":{\"keyids\":[],\"threshold\":0,\"bit_length\":8,"
        "\"name_prefix\":\"bin\"}}",
        "{\"keys\":{},\"succinct_roles\":null}",
        "{\"keys\":{},\"succinct_roles\":[]}",
        "{\"keys\":{},\"roles\":[],\"succinct_roles\":{" KEYS
        ",\"bit_length\":8,\"name_prefix\":\"bin\"}}",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        delegations(good[i], OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        delegations(bad[i], E_INVALID);
}

static void test_delegation_limits(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    toy_ok(bytes_append_text(&b, "{\"keys\":{},\"roles\":[", err));
    for (size_t i = 0; i < TUF_MAX_DELEGATIONS; i++)
        toy_ok(bytes_append_format(&b, err, "{\"name\":\"r%zu\"," KEYS "," PATHS "},", i));
    size_t len = b.len - 1;
    CLEANUP(bytes_done) struct bytes full = BYTES_INIT;
    toy_ok(bytes_append(&full, b.data, len, err));
    toy_ok(bytes_append_text(&full, "]}", err));
    delegations(bytes_text(&full), OK);
    toy_ok(bytes_append_text(&b, ROLE("\"more\"", PATHS) "]}", err));
    delegations(bytes_text(&b), E_LIMIT);
    bytes_clear(&full);
    toy_ok(bytes_append_text(
        &full, "{\"keys\":{},\"roles\":[{\"name\":\"a\"," KEYS ",\"terminating\":false,\"paths\":[",
        err));
    repeat(&full, "\"p\",", TUF_MAX_PATTERNS);
    toy_ok(bytes_append_text(&full, "\"p\"]}]}", err));
    delegations(bytes_text(&full), E_LIMIT);
}

static void test_covers(void **state)
{
    (void)state;
    METADATA m = parse_role(TARGETS);
    const struct tuf_delegation *d = tuf_targets_delegation(m, 0);
    assert_true(tuf_delegation_covers(d, "a-1"));
    assert_false(tuf_delegation_covers(d, "b-1"));
    static const char *const prefix[] = {"ffff", "3bfc26"}; /* SHA-256 of "v1": 3bfc2695… */
    struct tuf_delegation bins = {.hash_prefixes = prefix, .n_hash_prefixes = 2};
    assert_true(tuf_delegation_covers(&bins, "v1"));
    assert_false(tuf_delegation_covers(&bins, "v2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_role_names),        CASE(test_target_names),
        CASE(test_patterns),          CASE(test_worst_pattern_is_quick),
        CASE(test_meta_entries),      CASE(test_timestamp_has_one_entry),
        CASE(test_meta_check),        CASE(test_target_shapes),
        CASE(test_ban_list),          CASE(test_ban_list_limit),
        CASE(test_delegation_shapes), CASE(test_succinct_role_shapes),
        CASE(test_delegation_limits), CASE(test_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

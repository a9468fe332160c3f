/* Composing: what is written is what the parsers and stock clients take. */
#include "tests/support/tuf_shape.h"

static struct js *compose(enum tuf_type type, const char *collection, const char *role)
{
    struct js *tree = NULL;
    toy_ok(tuf_compose(type, collection, role, 7, TOY_NOW, TOY_NOW + TOY_DAY, &tree, err));
    return tree;
}

static const char *text_of(const struct js *tree, const char *key)
{
    return js_text(js_get(tree, key));
}

static void test_common_members(void **state)
{
    (void)state;
    for (int type = TUF_ROOT; type <= TUF_TARGETS; type++) {
        CLEANUP(js_cleanup) struct js *tree = compose((enum tuf_type)type, "acme/app", NULL);
        assert_string_equal(text_of(tree, "_type"), tuf_type_name((enum tuf_type)type));
        assert_string_equal(text_of(tree, "spec_version"), "1.0.34");
        assert_string_equal(text_of(tree, "expires"), "2025-06-16T15:06:40Z");
        assert_string_equal(text_of(tree, "x-bulla-collection"), "acme/app");
        assert_int_equal(js_number(js_get(tree, "version")), 7);
        assert_int_equal(js_get(tree, "x-bulla-issued") != NULL, type == TUF_TIMESTAMP);
        assert_int_equal(js_get(tree, "x-bulla-role") != NULL, type == TUF_TARGETS);
    }
}

static void test_bindings(void **state)
{
    (void)state;
    CLEANUP(js_cleanup) struct js *top = compose(TUF_TARGETS, NULL, NULL);
    CLEANUP(js_cleanup) struct js *alice = compose(TUF_TARGETS, "acme/app", "alice");
    CLEANUP(js_cleanup) struct js *timestamp = compose(TUF_TIMESTAMP, "acme/app", NULL);
    assert_null(js_get(top, "x-bulla-collection"));
    assert_string_equal(text_of(top, "x-bulla-role"), "targets");
    assert_string_equal(text_of(alice, "x-bulla-role"), "alice");
    assert_string_equal(text_of(timestamp, "x-bulla-issued"), "2025-06-15T15:06:40Z");
}

static void test_targets_are_replaced(void **state)
{
    (void)state;
    struct digest d;
    CLEANUP(js_cleanup) struct js *tree = compose(TUF_TARGETS, "acme/app", NULL);
    toy_ok(digest_of(DIGEST_SHA256, "a", 1, &d, err));
    toy_ok(tuf_compose_target(tree, "v1", &d, 1, "text/x", err));
    toy_ok(digest_of(DIGEST_SHA512, "bb", 2, &d, err));
    toy_ok(tuf_compose_target(tree, "v1", &d, 2, NULL, err));
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    toy_ok(tuf_compose_file(tree, NULL, 0, &file, err));
    METADATA m = NULL;
    toy_ok(tuf_metadata_parse(TUF_TARGETS, file.data, file.len, &m, err));
    struct tuf_target target;
    assert_int_equal(tuf_targets_count(m), 1);
    assert_true(tuf_targets_find(m, "v1", &target));
    assert_int_equal(target.length, 2);
    assert_int_equal(target.sha256.alg, DIGEST_NONE);
    assert_true(digest_equal(&target.sha512, &d));
    assert_null(target.custom);
}

static void test_trees_of_another_kind_are_refused(void **state)
{
    (void)state;
    struct digest d = {.alg = DIGEST_SHA256};
    CLEANUP(js_cleanup) struct js *tree = compose(TUF_ROOT, NULL, NULL);
    assert_int_equal(tuf_compose_target(tree, "v1", &d, 1, NULL, NULL), E_INVALID);
    assert_int_equal(tuf_compose_meta(tree, "targets", 1, "", 0, NULL), E_INVALID);
}

/* One key in several roles, even twice in one, is written once. */
static void test_shared_keys(void **state)
{
    (void)state;
    const struct public_key *key = signing_key_public(TARGETS->signers[0]);
    const struct public_key *const one[] = {key};
    const struct tuf_compose_role roles[4] = {{one, 1, 1}, {one, 1, 1}, {one, 1, 1}, {one, 1, 1}};
    CLEANUP(js_cleanup) struct js *tree = compose(TUF_ROOT, NULL, NULL);
    toy_ok(tuf_compose_root_roles(tree, roles, err));
    assert_int_equal(js_count(js_get(tree, "keys")), 1);
    toy_ok(tuf_compose_root_roles(tree, roles, err)); /* again: replaced, not added */
    assert_int_equal(js_count(js_get(tree, "keys")), 1);
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    toy_sign_tree(tree, TARGETS->signers, 1, &file);
    METADATA m = NULL;
    toy_ok(tuf_metadata_parse(TUF_ROOT, file.data, file.len, &m, err));
    toy_ok(
        tuf_verify_threshold(m, tuf_root_keys(m), tuf_root_role(m, TUF_ROOT), NULL, 0, NULL, err));
}

/* The signature is over the canonical form; the file itself is ordinary JSON. A P-256 key in PEM
 * has newlines, which canonical JSON leaves raw. */
static void test_file_with_a_pem_key(void **state)
{
    (void)state;
    assert_int_equal(public_key_type(signing_key_public(ROOT->signers[0])), KEY_ECDSA_P256);
    CLEANUP(bytes_done) struct bytes canonical = BYTES_INIT;
    toy_ok(js_canonical(ROOT->tree, &canonical, err));
    assert_non_null(memchr(canonical.data, '\n', canonical.len));
    assert_null(memchr(ROOT->file.data, '\n', ROOT->file.len));
    CLEANUP(js_cleanup) struct js *file = NULL;
    toy_ok(js_parse(ROOT->file.data, ROOT->file.len, &file, err));
    const char *hex = js_text(js_get(js_at(js_get(file, "signatures"), 1), "sig"));
    uint8_t raw[64];
    toy_ok(hex_decode(hex, strlen(hex), raw, 64, err));
    toy_ok(public_key_verify(signing_key_public(ROOT->signers[1]), canonical.data, canonical.len,
                             raw, 64, err));
}

static int cannot_sign(void *context, const void *msg, size_t len, struct bytes *out,
                       struct error *err)
{
    (void)context;
    (void)msg;
    (void)len;
    (void)out;
    return (fail)(err, E_TOKEN, "unplugged"); /* cmocka has a macro of this name */
}

static void test_failing_signer_leaves_no_file(void **state)
{
    (void)state;
    struct tuf_signer signer = {.sign = cannot_sign};
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(tuf_compose_file(ROOT->tree, &signer, 1, &file, &err), E_TOKEN);
    assert_string_equal(err.message, "unplugged");
    assert_int_equal(file.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_common_members),
        CASE(test_bindings),
        CASE(test_targets_are_replaced),
        CASE(test_trees_of_another_kind_are_refused),
        CASE(test_shared_keys),
        CASE(test_file_with_a_pem_key),
        CASE(test_failing_signer_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

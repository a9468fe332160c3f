/* Changes to published trees: what is not meant stays as it is, keys that nobody lists go. */
#include "tests/support/alloc_fail.h"
#include "tests/support/tuf_repo.h"
#include "tuf/edit.h"

static struct toy_repo repo;

static int setup(void **state)
{
    (void)state;
    toy_init(&repo, "acme/app");
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_delegate(&repo, "targets", "bob", "b-*", true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_done(&repo);
    return 0;
}

#define TREE(name) (toy_role(&repo, name)->tree)

static const struct public_key *key_of(const char *role)
{
    return signing_key_public(toy_role(&repo, role)->signers[0]);
}

/* Whether the tree is one that everybody reads. */
static void must_parse(const char *role)
{
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    toy_ok(tuf_compose_file(TREE(role), NULL, 0, &file, err));
    toy_ok(tuf_metadata_parse(toy_role(&repo, role)->type, file.data, file.len, &m, err));
}

static const struct js *delegations(void)
{
    return js_get(TREE("targets"), "delegations");
}

static const char *name_at(size_t i)
{
    return js_text(js_get(js_at(js_get(delegations(), "roles"), i), "name"));
}

#define EXPECT(code, call)                                                                         \
    do {                                                                                           \
        struct error e_ = ERROR_INIT, *err = &e_;                                                  \
        int rc_ = call;                                                                            \
        if (rc_ != (code))                                                                         \
            fail_msg("%s: %s, not %s: %s", #call, error_name(rc_), error_name(code), e_.message);  \
    } while (0)

static void keys_that_nobody_lists_go(void **state)
{
    (void)state;
    const struct public_key *fresh[] = {signing_key_public(toy_key_new(&repo, KEY_ED25519))};
    const struct public_key *bobs[] = {key_of("bob")};
    const struct tuf_compose_role one = {fresh, 1, 1}, shared = {bobs, 1, 1};
    assert_int_equal(js_count(js_get(delegations(), "keys")), 2);
    toy_ok(tuf_edit_delegation_keys(TREE("targets"), "alice", &one, err));
    assert_int_equal(js_count(js_get(delegations(), "keys")), 2);
    toy_ok(tuf_edit_delegation_keys(TREE("targets"), "alice", &shared, err));
    assert_int_equal(js_count(js_get(delegations(), "keys")), 1);
    toy_ok(tuf_edit_remove_delegation(TREE("targets"), "bob", err));
    assert_int_equal(js_count(js_get(delegations(), "keys")), 1); /* alice lists it still */
    toy_ok(tuf_edit_remove_delegation(TREE("targets"), "alice", err));
    assert_int_equal(js_count(js_get(delegations(), "keys")), 0);
    must_parse("targets");
    /* In a root a key of two roles stays as long as one of them lists it. */
    size_t n = js_count(js_get(TREE("root"), "keys"));
    const struct public_key *root_key[] = {key_of("root")};
    const struct tuf_compose_role by_root = {root_key, 1, 1};
    toy_ok(tuf_edit_root_role(TREE("root"), TUF_TARGETS, &by_root, err));
    assert_int_equal(js_count(js_get(TREE("root"), "keys")), n - 1);
    toy_ok(tuf_edit_root_role(TREE("root"), TUF_TARGETS, &one, err));
    assert_int_equal(js_count(js_get(TREE("root"), "keys")), n);
    must_parse("root");
}

static void unknown_members_and_the_order_stay(void **state)
{
    (void)state;
    struct js *old = js_edit(TREE("targets"), "delegations");
    toy_ok(js_set(old, "x-note", js_text_new("kept"), err));
    toy_ok(js_set(TREE("targets"), "x-other", js_int_new(7), err));
    toy_ok(tuf_edit_add_path(TREE("targets"), "bob", "c-*", err));
    toy_ok(tuf_edit_add_path(TREE("targets"), "bob", "c-*", err)); /* a second time is nothing */
    assert_string_equal(name_at(0), "alice");
    assert_string_equal(name_at(1), "bob");
    const struct js *bob = js_at(js_get(delegations(), "roles"), 1);
    assert_int_equal(js_count(js_get(bob, "paths")), 2);
    assert_true(js_number(js_get(bob, "terminating")));
    toy_ok(tuf_edit_delegation_first(TREE("targets"), "bob", err));
    assert_string_equal(name_at(0), "bob");
    assert_string_equal(name_at(1), "alice");
    assert_string_equal(js_text(js_get(delegations(), "x-note")), "kept");
    assert_int_equal(js_number(js_get(TREE("targets"), "x-other")), 7);
    must_parse("targets");
}

static void what_is_not_there_is_said(void **state)
{
    (void)state;
    const struct public_key *keys[] = {key_of("bob")};
    const struct tuf_compose_role one = {keys, 1, 1};
    CLEANUP(js_cleanup) struct js *before = js_dup(TREE("targets"));
    struct js *const odd[] = {TREE("targets"), TREE("alice"), TREE("root"), TREE("snapshot")};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        EXPECT(E_NOTFOUND, tuf_edit_delegation_keys(odd[i], "zoe", &one, err));
        EXPECT(E_NOTFOUND, tuf_edit_delegation_keys(odd[i], NULL, &one, err));
        EXPECT(E_NOTFOUND, tuf_edit_remove_delegation(odd[i], "zoe", err));
        EXPECT(E_NOTFOUND, tuf_edit_delegation_first(odd[i], "zoe", err));
        EXPECT(E_NOTFOUND, tuf_edit_add_path(odd[i], "zoe", "*", err));
    }
    EXPECT(E_INVALID, tuf_edit_root_role(TREE("targets"), TUF_ROOT, &one, err));
    assert_true(js_equal(before, TREE("targets")));
    /* Hash prefixes instead of patterns. */
    struct js *bob = js_dup(js_at(js_get(delegations(), "roles"), 1)), *roles = js_array_new();
    js_remove(bob, "paths");
    toy_ok(js_set(bob, "path_hash_prefixes", js_array_new(), err));
    toy_ok(js_push(roles, bob, err));
    toy_ok(js_set(js_edit(TREE("targets"), "delegations"), "roles", roles, err));
    EXPECT(E_INVALID, tuf_edit_add_path(TREE("targets"), "bob", "*", err));
}

static void bans_have_an_end(void **state)
{
    (void)state;
    struct digest d;
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    for (size_t i = 0; i < 9999; i++) {
        char text[80];
        (void)snprintf(text, sizeof text, "sha256:%064zu", i);
        toy_ok(js_push(list, js_text_new(text), err));
    }
    toy_ok(js_set(TREE("targets"), "x-bulla-banned", js_dup(list), err));
    toy_ok(digest_of(DIGEST_SHA256, "a", 1, &d, err));
    toy_ok(tuf_edit_ban(TREE("targets"), &d, err));
    toy_ok(tuf_edit_ban(TREE("targets"), &d, err));
    assert_int_equal(js_count(js_get(TREE("targets"), "x-bulla-banned")), 10000);
    must_parse("targets");
    toy_ok(digest_of(DIGEST_SHA256, "b", 1, &d, err));
    EXPECT(E_LIMIT, tuf_edit_ban(TREE("targets"), &d, err));
}

static int edit_all(void *context, struct error *why)
{
    const struct tuf_compose_role *keys = context;
    CLEANUP(js_cleanup) struct js *root = js_dup(TREE("root")), *targets = js_dup(TREE("targets"));
    struct digest d;
    if (!root || !targets)
        return fail_nomem(why);
    int rc = tuf_edit_root_role(root, TUF_TARGETS, keys, why);
    if (!rc)
        rc = tuf_edit_delegation_keys(targets, "alice", keys, why);
    if (!rc)
        rc = tuf_edit_add_path(targets, "bob", "x", why);
    if (!rc)
        rc = tuf_edit_delegation_first(targets, "bob", why);
    if (!rc)
        rc = tuf_edit_remove_delegation(targets, "alice", why);
    if (!rc)
        rc = digest_of(DIGEST_SHA256, "a", 1, &d, why);
    return rc ? rc : tuf_edit_ban(targets, &d, why);
}

static void edits_without_memory(void **state)
{
    (void)state;
    const struct public_key *keys[] = {key_of("bob"), key_of("targets")};
    struct tuf_compose_role role = {keys, 2, 2};
    alloc_fail_each(edit_all, &role, E_INTERNAL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(keys_that_nobody_lists_go), CASE(unknown_members_and_the_order_stay),
        CASE(what_is_not_there_is_said), CASE(bans_have_an_end),
        CASE(edits_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Delegations: who vouches for a name (TUF 5.6.7), and the checks 5.6.2 to 5.6.5 for each role. */
#include "tests/support/tuf_repo.h"
#include "tuf/trusted.h"

static struct toy_repo repo;

static int setup(void **state)
{
    (void)state;
    toy_init(&repo, "acme/app");
    return 0;
}

static int setup_bare(void **state)
{
    (void)state;
    toy_init(&repo, NULL);
    repo.bare_meta = true;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_done(&repo);
    return 0;
}

#define FILE_OF(role) (role)->file.data, (role)->file.len
#define TRUSTED       CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *

/* A client with snapshot and top-level targets. */
static struct tuf_trusted *start(void)
{
    struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {TOY_NOW, repo.collection};
    bool changed;
    toy_ok(tuf_trusted_new(&options, FILE_OF(&repo.roles[TUF_ROOT]), &t, err));
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_ok(tuf_trusted_update_timestamp(t, FILE_OF(&repo.roles[TUF_TIMESTAMP]), &changed, err));
    toy_ok(tuf_trusted_update_snapshot(t, FILE_OF(&repo.roles[TUF_SNAPSHOT]), err));
    return t;
}

static char asked[2048]; /* roles in the order in which they were asked for */

/* As a client does it: feed what is asked for until there is an answer. */
static int search(struct tuf_trusted *t, const char *name, struct tuf_found *found,
                  struct error *err)
{
    asked[0] = '\0';
    for (;;) {
        int rc = tuf_trusted_search(t, name, found, err);
        if (rc || !found->need_role)
            return rc;
        (void)snprintf(asked + strlen(asked), sizeof asked - strlen(asked), "%s ",
                       found->need_role);
        struct toy_role *role = toy_role(&repo, found->need_role);
        rc = tuf_trusted_update_targets(t, found->need_role, found->need_delegator, FILE_OF(role),
                                        err);
        if (rc)
            return rc;
    }
}

static void expect_role(const char *name, const char *role)
{
    TRUSTED t = start();
    struct tuf_found found;
    toy_ok(search(t, name, &found, err));
    assert_string_equal(found.role, role);
    assert_string_equal(found.target.name, name);
}

static void expect_code(const char *name, int wanted)
{
    TRUSTED t = start();
    struct tuf_found found = {.role = "untouched"};
    struct error err = ERROR_INIT;
    int rc = search(t, name, &found, &err);
    if (rc != wanted)
        fail_msg("expected %s, got %s: %s", error_name(wanted), error_name(rc), err.message);
    /* Nothing is said about a name that failed. */
    assert_true(!found.role || strcmp(found.role, "untouched") == 0);
}

static void test_top_level_target_is_found(void **state)
{
    (void)state;
    toy_target(&repo, "targets", "v1", "one");
    toy_publish(&repo);
    TRUSTED t = start();
    struct tuf_found found;
    toy_ok(tuf_trusted_search(t, "v1", &found, err));
    assert_string_equal(found.need_role, "targets");
    assert_null(found.need_delegator);
    toy_ok(search(t, "v1", &found, err));
    assert_string_equal(found.role, "targets");
    assert_null(found.need_role);
    assert_int_equal(found.target.length, 3);
    assert_int_equal(found.n_signers, 1);
    struct key_id id;
    toy_ok(public_key_id(signing_key_public(repo.roles[TUF_TARGETS].signers[0]), &id, err));
    assert_string_equal(found.signers[0].text, id.text);
    const struct js *media = js_get(found.target.custom, "mediaType");
    assert_string_equal(js_text(media), "application/vnd.oci.image.manifest.v1+json");
}

static void test_missing_name_is_unsigned(void **state)
{
    (void)state;
    toy_target(&repo, "targets", "v1", "one");
    toy_publish(&repo);
    expect_code("v2", E_UNSIGNED);
    expect_code("v", E_UNSIGNED);
    expect_code("", E_UNSIGNED);
}

static void test_signers_are_those_who_counted(void **state)
{
    (void)state;
    struct toy_role *alice = toy_role_add(&repo, TUF_TARGETS, "alice", 3);
    alice->threshold = 2;
    toy_delegate(&repo, "targets", "alice", "v*", false);
    toy_target(&repo, "alice", "v1", "one");
    toy_publish(&repo);
    /* A stranger's signature and a broken one of a role's key do not count. */
    struct signing_key *keys[3] = {alice->signers[2], toy_key_new(&repo, KEY_ED25519),
                                   alice->signers[1]};
    toy_sign_tree(alice->tree, keys, 3, &alice->file);
    toy_publish_online(&repo);
    TRUSTED t = start();
    struct tuf_found found;
    toy_ok(search(t, "v1", &found, err));
    assert_int_equal(found.n_signers, 2);
    for (size_t i = 0; i < 2; i++) {
        struct key_id id;
        toy_ok(public_key_id(signing_key_public(alice->signers[i + 1]), &id, err));
        assert_string_equal(found.signers[i].text, id.text);
    }
}

/* CVE-2024-47534: delegations are walked in their order, not in that of a hash table. */
static void test_order_of_delegations_is_kept(void **state)
{
    (void)state;
    static const char *const names[] = {"zeta", "m", "alpha", "k9",   "b.b",  "y",
                                        "a2",   "x", "beta",  "q-q-", "c_01", "last"};
    char wanted[256] = "targets ";
    for (size_t i = 0; i < 12; i++) {
        toy_delegate(&repo, "targets", names[i], "v*", false);
        (void)snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s ", names[i]);
    }
    toy_target(&repo, "last", "v9", "nine");
    toy_target(&repo, "alpha", "v1", "right");
    toy_target(&repo, "beta", "v1", "wrong");
    toy_publish(&repo);
    expect_role("v9", "last");
    assert_string_equal(asked, wanted);
    expect_role("v1", "alpha");
    assert_string_equal(asked, "targets zeta m alpha ");
}

static void test_search_goes_deep_before_it_goes_on(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "a", "v*", false);
    toy_delegate(&repo, "targets", "b", "v*", false);
    toy_delegate(&repo, "a", "a1", "v*", false);
    toy_delegate(&repo, "a", "a2", "v*", false);
    toy_delegate(&repo, "a1", "a1x", "v*", false);
    toy_target(&repo, "b", "v1", "wrong");
    toy_target(&repo, "a2", "v1", "right");
    toy_publish(&repo);
    expect_role("v1", "a2");
    assert_string_equal(asked, "targets a a1 a1x a2 ");
    expect_code("v2", E_UNSIGNED);
    assert_string_equal(asked, "targets a a1 a1x a2 b ");
}

static void test_names_outside_the_paths_are_not_asked_for(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_delegate(&repo, "alice", "mallory", "*", false);
    toy_target(&repo, "alice", "b-1", "stolen");
    toy_target(&repo, "mallory", "b-1", "stolen");
    toy_target(&repo, "mallory", "a-1", "granted");
    toy_publish(&repo);
    expect_code("b-1", E_UNSIGNED);
    assert_string_equal(asked, "targets ");
    expect_role("a-1", "mallory");
}

static void test_chain_is_as_narrow_as_its_narrowest_link(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "alice", "*", false);
    toy_delegate(&repo, "alice", "bob", "b-*", false);
    toy_target(&repo, "bob", "a-1", "stolen");
    toy_publish(&repo);
    expect_code("a-1", E_UNSIGNED);
}

/* CVE-2025-2886 */
static void test_terminating_delegation_ends_the_search(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "first", "v*", true);
    toy_delegate(&repo, "targets", "second", "v*", false);
    toy_delegate(&repo, "first", "inner", "v2", false);
    toy_target(&repo, "second", "v1", "wrong");
    toy_target(&repo, "second", "w1", "wrong");
    toy_target(&repo, "inner", "v2", "right");
    toy_publish(&repo);
    expect_code("v1", E_UNSIGNED);
    assert_string_equal(asked, "targets first ");
    expect_role("v2", "inner"); /* its own subtree still is searched */
}

static void test_terminating_deep_down_ends_everything(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "a", "v*", false);
    toy_delegate(&repo, "targets", "b", "v*", false);
    toy_delegate(&repo, "a", "before", "v*", false);
    toy_delegate(&repo, "a", "stop", "v1", true);
    toy_delegate(&repo, "a", "after", "v*", false);
    toy_target(&repo, "after", "v1", "wrong");
    toy_target(&repo, "b", "v1", "wrong");
    toy_target(&repo, "b", "v2", "right");
    toy_publish(&repo);
    expect_code("v1", E_UNSIGNED);
    assert_string_equal(asked, "targets a before stop ");
    expect_role("v2", "b"); /* the terminating one does not cover this name */
}

static void test_cycles_end(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "a", "v*", false);
    toy_delegate(&repo, "a", "b", "v*", false);
    toy_delegate(&repo, "b", "a", "v*", false);
    toy_delegate(&repo, "b", "b", "v*", false);
    toy_publish(&repo);
    expect_code("v1", E_UNSIGNED);
    assert_string_equal(asked, "targets a b ");
}

/* One role through two delegators: each one's keys decide on its own path. */
static void test_diamond_is_verified_per_delegator(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "left", "l-*", false);
    toy_delegate(&repo, "targets", "right", "r-*", false);
    struct toy_role *shared = toy_delegate(&repo, "left", "shared", "*", false);
    struct signing_key *good = shared->signers[0];
    shared->signers[0] = toy_key_new(&repo, KEY_ED25519); /* right trusts another key */
    toy_delegate(&repo, "right", "shared", "*", false);
    shared->signers[0] = good;
    toy_target(&repo, "shared", "l-1", "left");
    toy_target(&repo, "shared", "r-1", "right");
    toy_publish(&repo);
    TRUSTED t = start();
    struct tuf_found found;
    struct error err = ERROR_INIT;
    assert_int_equal(search(t, "l-1", &found, &err), 0);
    assert_string_equal(found.role, "shared");
    assert_int_equal(search(t, "r-1", &found, &err), E_SIGNATURE);
    assert_int_equal(tuf_trusted_update_targets(t, "shared", "right", FILE_OF(shared), &err),
                     E_SIGNATURE);
}

static void test_diamond_with_one_key_holds_on_both_paths(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "left", "l-*", false);
    toy_delegate(&repo, "targets", "right", "r-*", false);
    toy_delegate(&repo, "left", "shared", "*", false);
    toy_delegate(&repo, "right", "shared", "*", false);
    toy_target(&repo, "shared", "l-1", "left");
    toy_target(&repo, "shared", "r-1", "right");
    toy_publish(&repo);
    TRUSTED t = start();
    struct tuf_found found;
    toy_ok(search(t, "l-1", &found, err));
    toy_ok(search(t, "r-1", &found, err));
    assert_string_equal(asked, "right "); /* shared is not asked for again */
    assert_string_equal(found.role, "shared");
    toy_ok(
        tuf_trusted_update_targets(t, "shared", "right", FILE_OF(toy_role(&repo, "shared")), err));
}

/* Two files of one version, where the snapshot has no hashes: the second one is not taken. */
static void test_second_file_of_one_version_is_refused(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "left", "l-*", false);
    toy_delegate(&repo, "targets", "right", "r-*", false);
    struct toy_role *shared = toy_delegate(&repo, "left", "shared", "*", false);
    toy_delegate(&repo, "right", "shared", "*", false);
    toy_target(&repo, "shared", "l-1", "one");
    toy_publish(&repo);
    TRUSTED t = start();
    struct tuf_found found;
    struct error err = ERROR_INIT;
    assert_int_equal(search(t, "l-1", &found, &err), 0);
    assert_int_equal(search(t, "r-9", &found, &err), E_UNSIGNED);
    toy_target(&repo, "shared", "r-1", "two");
    toy_sign(shared);
    assert_int_equal(tuf_trusted_update_targets(t, "shared", "right", FILE_OF(shared), &err),
                     E_ROLLBACK);
}

/* A role that cannot be had must not make way for the next one. */
static void test_role_outside_the_snapshot_ends_the_search(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "unsigned-yet", "v*", false)->unpublished = true;
    toy_delegate(&repo, "targets", "next", "v*", false);
    toy_target(&repo, "next", "v1", "wrong");
    toy_publish(&repo);
    expect_code("v1", E_UNSIGNED);
    assert_string_equal(asked, "targets ");
}

static struct toy_role *delegated(void)
{
    struct toy_role *alice = toy_delegate(&repo, "targets", "alice", "v*", false);
    toy_target(&repo, "alice", "v1", "one");
    toy_publish(&repo);
    return alice;
}

/* CVE-2026-6967 */
static void test_delegated_role_digest(void **state)
{
    (void)state;
    struct toy_role *alice = delegated();
    toy_target(&repo, "alice", "v1", "two");
    toy_sign(alice);
    expect_code("v1", E_DIGEST);
}

static void test_delegated_role_length(void **state)
{
    (void)state;
    struct toy_role *alice = delegated();
    toy_ok(bytes_append_text(&alice->file, "\n", err));
    expect_code("v1", E_DIGEST);
}

static void test_delegated_role_expiry(void **state)
{
    (void)state;
    toy_expire(delegated());
    toy_publish(&repo);
    expect_code("v1", E_EXPIRED);
}

static void test_delegated_role_version(void **state)
{
    (void)state;
    struct toy_role *alice = delegated();
    toy_bump(alice);
    toy_sign(alice);
    expect_code("v1", E_ROLLBACK);
}

static void test_delegated_role_signature(void **state)
{
    (void)state;
    struct toy_role *alice = delegated();
    alice->signers[0] = repo.roles[TUF_TARGETS].signers[0];
    toy_publish(&repo);
    expect_code("v1", E_SIGNATURE);
}

/* CVE-2026-6966: one signature twice, in a delegated role. */
static void test_delegated_role_duplicate_signature(void **state)
{
    (void)state;
    struct toy_role *alice = toy_role_add(&repo, TUF_TARGETS, "alice", 2);
    toy_delegate(&repo, "targets", "alice", "v*", false);
    toy_target(&repo, "alice", "v1", "one");
    toy_publish(&repo);
    struct signing_key *twice[2] = {alice->signers[0], alice->signers[0]};
    toy_sign_tree(alice->tree, twice, 2, &alice->file);
    toy_publish_online(&repo);
    expect_code("v1", E_INVALID);
}

static void test_delegated_role_bindings(void **state)
{
    (void)state;
    struct toy_role *alice = delegated();
    toy_set_text(alice, "x-bulla-role", "releases");
    toy_publish(&repo);
    expect_code("v1", E_BINDING);
    toy_set_text(alice, "x-bulla-role", "alice");
    toy_set_text(alice, "x-bulla-collection", "acme/other");
    toy_publish(&repo);
    expect_code("v1", E_BINDING);
    toy_set_text(alice, "x-bulla-collection", "acme/app");
    toy_publish(&repo);
    expect_role("v1", "alice");
}

/* alice and releases share a key: the one's file must not pass as the other's. */
static void test_role_swap_with_a_shared_key(void **state)
{
    (void)state;
    struct toy_role *alice = delegated();
    struct toy_role *releases = toy_role_add(&repo, TUF_TARGETS, "releases", 1);
    releases->signers[0] = alice->signers[0];
    toy_delegate(&repo, "targets", "releases", "r*", false);
    toy_publish(&repo);
    bytes_clear(&releases->file);
    toy_ok(bytes_append(&releases->file, FILE_OF(alice), err));
    toy_publish_online(&repo);
    expect_code("r1", E_BINDING);
}

/* Cache poisoning: what was refused is asked for again and can still arrive. */
static void test_refused_role_can_still_arrive(void **state)
{
    (void)state;
    struct toy_role *alice = delegated();
    TRUSTED t = start();
    struct tuf_found found;
    struct error err = ERROR_INIT;
    assert_int_equal(
        tuf_trusted_update_targets(t, "targets", NULL, FILE_OF(&repo.roles[TUF_TARGETS]), &err), 0);
    assert_int_equal(tuf_trusted_update_targets(t, "alice", "targets", "{}", 2, &err), E_DIGEST);
    assert_null(tuf_trusted_targets(t, "alice"));
    assert_int_equal(tuf_trusted_search(t, "v1", &found, &err), 0);
    assert_string_equal(found.need_role, "alice");
    assert_int_equal(tuf_trusted_update_targets(t, "alice", "targets", FILE_OF(alice), &err), 0);
    assert_int_equal(tuf_trusted_search(t, "v1", &found, &err), 0);
    assert_string_equal(found.role, "alice");
}

static void test_role_needs_its_delegator(void **state)
{
    (void)state;
    struct toy_role *alice = delegated();
    TRUSTED t = start();
    struct error err = ERROR_INIT;
    assert_int_equal(tuf_trusted_update_targets(t, "alice", NULL, FILE_OF(alice), &err),
                     E_INTERNAL);
    assert_int_equal(tuf_trusted_update_targets(t, "alice", "targets", FILE_OF(alice), &err),
                     E_INTERNAL);
    assert_int_equal(
        tuf_trusted_update_targets(t, "targets", NULL, FILE_OF(&repo.roles[TUF_TARGETS]), &err), 0);
    assert_int_equal(tuf_trusted_update_targets(t, "bob", "targets", FILE_OF(alice), &err),
                     E_INVALID);
    assert_int_equal(tuf_trusted_update_targets(t, "targets", "targets",
                                                FILE_OF(&repo.roles[TUF_TARGETS]), &err),
                     E_INVALID);
}

static void chain(size_t n)
{
    char from[64] = "targets", name[64];
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "r%zu", i);
        toy_delegate(&repo, from, name, "v*", false);
        (void)snprintf(from, sizeof from, "%s", name);
    }
    toy_target(&repo, from, "v1", "deep");
    toy_publish(&repo);
}

static void test_as_many_roles_as_the_limit(void **state)
{
    (void)state;
    chain(TUF_MAX_VISITED_ROLES);
    expect_role("v1", "r63");
}

static void test_more_roles_than_the_limit(void **state)
{
    (void)state;
    chain(TUF_MAX_VISITED_ROLES + 1);
    expect_code("v1", E_LIMIT);
}

static void test_hash_prefixes(void **state)
{
    (void)state;
    struct digest d;
    char hex[DIGEST_TEXT_MAX], prefix[8] = "";
    toy_ok(digest_of(DIGEST_SHA256, "v1", 2, &d, err));
    memcpy(prefix, digest_hex(&d, hex), 4);
    toy_delegate(&repo, "targets", "bin", "unused", false);
    struct js *list = js_array_new();
    toy_ok(js_push(list, js_text_new(prefix), err));
    struct js *delegations = js_edit(repo.roles[TUF_TARGETS].tree, "delegations");
    struct js *old = js_dup(js_at(js_get(delegations, "roles"), 0)), *roles = js_array_new();
    js_remove(old, "paths");
    toy_ok(js_set(old, "path_hash_prefixes", list, err));
    toy_ok(js_push(roles, old, err));
    toy_ok(js_set(delegations, "roles", roles, err));
    toy_target(&repo, "bin", "v1", "one");
    toy_target(&repo, "bin", "v2", "not in this bin");
    toy_publish(&repo);
    expect_role("v1", "bin");
    expect_code("v2", E_UNSIGNED);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define BARE(f) cmocka_unit_test_setup_teardown(f, setup_bare, teardown)

static void test_output_is_left_alone_on_failure(void **state)
{
    (void)state;
    toy_publish(&repo);
    TRUSTED t = start();
    struct tuf_found found = {.role = "untouched", .n_signers = 9};
    struct error err = ERROR_INIT;
    assert_int_equal(
        tuf_trusted_update_targets(t, "targets", NULL, FILE_OF(&repo.roles[TUF_TARGETS]), &err), 0);
    assert_int_equal(tuf_trusted_search(t, "v1", &found, &err), E_UNSIGNED);
    assert_string_equal(found.role, "untouched");
    assert_int_equal(found.n_signers, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_top_level_target_is_found),
        CASE(test_missing_name_is_unsigned),
        CASE(test_signers_are_those_who_counted),
        CASE(test_order_of_delegations_is_kept),
        CASE(test_search_goes_deep_before_it_goes_on),
        CASE(test_names_outside_the_paths_are_not_asked_for),
        CASE(test_chain_is_as_narrow_as_its_narrowest_link),
        CASE(test_terminating_delegation_ends_the_search),
        CASE(test_terminating_deep_down_ends_everything),
        CASE(test_cycles_end),
        CASE(test_diamond_is_verified_per_delegator),
        CASE(test_diamond_with_one_key_holds_on_both_paths),
        BARE(test_second_file_of_one_version_is_refused),
        CASE(test_role_outside_the_snapshot_ends_the_search),
        CASE(test_delegated_role_digest),
        CASE(test_delegated_role_length),
        CASE(test_delegated_role_expiry),
        BARE(test_delegated_role_version),
        CASE(test_delegated_role_signature),
        CASE(test_delegated_role_duplicate_signature),
        CASE(test_delegated_role_bindings),
        CASE(test_role_swap_with_a_shared_key),
        CASE(test_refused_role_can_still_arrive),
        CASE(test_role_needs_its_delegator),
        CASE(test_as_many_roles_as_the_limit),
        CASE(test_more_roles_than_the_limit),
        CASE(test_hash_prefixes),
        CASE(test_output_is_left_alone_on_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

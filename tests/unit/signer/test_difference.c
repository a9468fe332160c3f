/* What changes, in words: every kind of change has its line, and no text of a file forges one. */
#include "signer/difference.h"
#include "tests/support/tuf_repo.h"
#include "tuf/edit.h"

static struct toy_repo repo;

static int setup(void **state)
{
    (void)state;
    toy_init(&repo, "acme/app");
    toy_target(&repo, "targets", "v1", "one");
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_delegate(&repo, "targets", "bob", "b-*", false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_done(&repo);
    return 0;
}

static struct tuf_metadata *parsed(const struct js *tree, enum tuf_type type)
{
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    struct tuf_metadata *m = NULL;
    toy_ok(tuf_compose_file(tree, NULL, 0, &file, err));
    toy_ok(tuf_metadata_parse(type, file.data, file.len, &m, err));
    return m;
}

/* From the tree as it was published to what it has become; before NULL: all of it is new. */
static struct bytes describe(const struct js *before, const struct toy_role *role)
{
    struct bytes out = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup)
    struct tuf_metadata *old = before ? parsed(before, role->type) : NULL;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *new = parsed(role->tree, role->type);
    toy_ok(difference_describe(role->name, old, new, &out, err));
    return out;
}

/* These lines and no other ones, behind the first. */
static void expect_lines(const struct js *before, const struct toy_role *role,
                         const char *const *lines)
{
    CLEANUP(bytes_done) struct bytes out = describe(before, role);
    const char *text = strchr(bytes_text(&out), '\n') + 1;
    for (; *lines; lines++) {
        if (strncmp(text, *lines, strlen(*lines)) != 0)
            fail_msg("expected '%s' at: %s", *lines, text);
        text = strchr(text, '\n');
        assert_non_null(text);
        text++;
    }
    if (*text)
        fail_msg("one line more: %s", text);
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct js *copy(const struct toy_role *role)
{
    struct js *tree = js_dup(role->tree);
    assert_non_null(tree);
    return tree;
}

static void tags_and_bans(void **state)
{
    (void)state;
    struct toy_role *targets = toy_role(&repo, "targets");
    CLEANUP(js_cleanup) struct js *was = copy(targets), *then = NULL;
    struct digest d;
    toy_ok(digest_of(DIGEST_SHA256, "bad", 3, &d, err));
    expect_lines(was, targets, (const char *const[]){NULL});
    toy_target(&repo, "targets", "v1", "another");
    toy_target(&repo, "targets", "v2", "two");
    toy_ok(tuf_edit_ban(targets->tree, &d, err));
    expect_lines(
        was, targets,
        LINES("  tag 'v1' changed: sha256:", "  tag 'v2' added: sha256:", "  banned: sha256:"));
    then = copy(targets);
    js_remove(js_edit(targets->tree, "targets"), "v1");
    js_remove(targets->tree, "x-bulla-banned");
    expect_lines(then, targets, LINES("  tag 'v1' removed, was sha256:", "  ban lifted: sha256:"));
}

static void delegations_keys_and_order(void **state)
{
    (void)state;
    struct toy_role *targets = toy_role(&repo, "targets");
    CLEANUP(js_cleanup) struct js *was = copy(targets);
    struct signing_key *fresh = toy_key_new(&repo, KEY_ED25519);
    const struct public_key *keys[] = {signing_key_public(fresh),
                                       signing_key_public(toy_role(&repo, "alice")->signers[0])};
    const struct tuf_compose_role one = {keys, 1, 1}, both = {keys, 2, 2}, any = {keys, 2, 1};
    toy_ok(tuf_edit_delegation_keys(targets->tree, "alice", &one, err));
    expect_lines(was, targets, LINES("  alice key removed: ", "  alice key added: "));
    toy_ok(tuf_edit_delegation_keys(targets->tree, "alice", &both, err));
    expect_lines(was, targets, LINES("  alice key added: ", "  alice needs 2 of 2 keys"));
    CLEANUP(js_cleanup) struct js *then = copy(targets);
    toy_ok(tuf_edit_delegation_keys(targets->tree, "alice", &any, err));
    expect_lines(then, targets, LINES("  alice needs 1 of 2 keys"));
    toy_ok(tuf_edit_delegation_first(targets->tree, "bob", err));
    toy_ok(tuf_edit_add_path(targets->tree, "bob", "*", err));
    expect_lines(then, targets,
                 LINES("  role 'bob' changed, may sign 'b-*'", "    and '*'",
                       "  alice needs 1 of 2 keys", "  the order of roles changes"));
    toy_ok(tuf_edit_remove_delegation(targets->tree, "bob", err));
    toy_delegate(&repo, "targets", "carol", "c", true);
    expect_lines(then, targets,
                 LINES("  role 'bob' no longer delegated", "  alice needs 1 of 2 keys",
                       "  role 'carol' delegated, may sign 'c'",
                       "    no later role is asked for these",
                       "  carol key added: ", "  carol needs 1 of 1 keys"));
}

static void bins(void **state)
{
    (void)state;
    struct toy_role *alice = toy_role(&repo, "alice");
    CLEANUP(js_cleanup) struct js *was = copy(alice);
    struct signing_key *key = toy_key_new(&repo, KEY_ED25519);
    const struct public_key *keys[] = {signing_key_public(key)};
    struct tuf_compose_bins compose = {"alice-bin", 3, {keys, 1, 1}};
    toy_ok(tuf_compose_bins(alice->tree, &compose, err));
    expect_lines(was, alice,
                 LINES("  tags go to 8 bins named 'alice-bin-…'",
                       "  alice-bin key added: ", "  alice-bin needs 1 of 1 keys"));
    CLEANUP(js_cleanup) struct js *then = copy(alice);
    js_remove(alice->tree, "delegations");
    expect_lines(then, alice, LINES("  bins 'alice-bin' removed"));
}

static void roots(void **state)
{
    (void)state;
    struct toy_role *root = toy_role(&repo, "root");
    CLEANUP(js_cleanup) struct js *was = copy(root);
    struct signing_key *fresh = toy_key_new(&repo, KEY_ED25519);
    const struct public_key *keys[] = {signing_key_public(fresh)};
    const struct tuf_compose_role one = {keys, 1, 1};
    toy_ok(tuf_edit_root_role(root->tree, TUF_ROOT, &one, err));
    toy_ok(tuf_edit_root_role(root->tree, TUF_TIMESTAMP, &one, err));
    toy_ok(js_set(root->tree, "consistent_snapshot", js_bool_new(false), err));
    expect_lines(was, root,
                 LINES("  root key removed: ", "  root key removed: ", "  root key added: ",
                       "  root needs 1 of 1 keys", "  timestamp key removed: ",
                       "  timestamp key added: ", "  member 'consistent_snapshot' changed"));
}

/* Names of members may hold anything; a pattern that is not seen may be the one that counts. */
static void no_line_is_forged_and_none_is_cut(void **state)
{
    (void)state;
    struct toy_role *targets = toy_role(&repo, "targets");
    CLEANUP(js_cleanup) struct js *was = copy(targets);
    toy_ok(js_set(targets->tree, "x\n  tag 'v9' removed\x1b[2J", js_int_new(1), err));
    struct js *custom = js_edit(js_edit(js_edit(targets->tree, "targets"), "v1"), "custom");
    toy_ok(js_set(custom, "note\nroot: version 1", js_int_new(1), err));
    expect_lines(was, targets,
                 LINES("  tag 'v1' changed: ",
                       "  member 'note\\x0aroot: version 1' stands beside its media type",
                       "  member 'x\\x0a  tag 'v9' removed\\x1b[2J' added"));
    for (size_t i = 0; i < 40; i++) {
        char pattern[256];
        (void)snprintf(pattern, sizeof pattern, "%0250zu", i);
        toy_ok(tuf_edit_add_path(targets->tree, "bob", pattern, err));
    }
    CLEANUP(bytes_done) struct bytes out = describe(was, targets);
    size_t n = 0;
    for (const char *line = bytes_text(&out), *end; *line; line = end + 1, n++) {
        end = strchr(line, '\n');
        assert_true(end && end - line < 700);
    }
    assert_true(n > 40);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(tags_and_bans), CASE(delegations_keys_and_order),        CASE(bins),
        CASE(roots),         CASE(no_line_is_forged_and_none_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

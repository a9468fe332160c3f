/* What a machine knows by itself of the files that a ceremony's file brings along. */
#include "signer/collection_change.h"
#include "tests/support/change_repo.h"
#include "verify/trust_store.h"

static struct change_repo made;

static int setup(void **state)
{
    scratch_setup(state);
    change_repo_init(&made, *state);
    return 0;
}

static int teardown(void **state)
{
    change_repo_done(&made);
    return scratch_teardown(state);
}

static void pin(const struct bytes *root)
{
    toy_ok(trust_pin_write(made.dir->path, "r.io", "acme/app", root, err));
}

static struct bytes copy_of(const char *role)
{
    struct bytes copy = BYTES_INIT;
    const struct bytes *file = &toy_role(&made.repo, role)->file;
    toy_ok(bytes_append(&copy, file->data, file->len, err));
    return copy;
}

/* Opens the change that is in the file now, as add-signature does. */
static int open_change(struct collection_ceremony *c, struct error *why)
{
    struct bytes file = BYTES_INIT;
    change_repo_change(&made, true, &file);
    bytes_done(&file);
    return collection_ceremony_open(&made.owner, scratch_name(made.dir, "change.json"), c, why);
}

static void expect_known(bool known)
{
    struct collection_ceremony c;
    toy_ok(open_change(&c, err));
    const char *text = bytes_text(&c.summary);
    if (c.known != known)
        fail_msg("known %d instead of %d: %s", c.known, known, text);
    /* Where it is not, what was "published" before is shown as well: nobody vouches for it. */
    assert_int_equal(strstr(text, "the root in force, as the file has it") == NULL, known);
    assert_int_equal(strstr(text, "tag 'v1' added") == NULL, known);
    assert_int_equal(strstr(text, "role 'alice' delegated, may sign 'a-*'") == NULL, known);
    assert_non_null(strstr(text, "tag 'v2' added"));
    struct key_id id;
    toy_ok(public_key_id(signing_key_public(toy_role(&made.repo, "root")->signers[0]), &id, err));
    assert_int_equal(strstr(text, id.text) == NULL, known);
    collection_ceremony_close(&c);
}

static void expect_refused(int wanted, const char *message)
{
    struct collection_ceremony c;
    struct error err = ERROR_INIT;
    int rc = open_change(&c, &err);
    if (rc != wanted || !strstr(err.message, message))
        fail_msg("expected %s '%s', got %s: %s", error_name(wanted), message, error_name(rc),
                 err.message);
}

static void next_root(void)
{
    toy_bump(toy_role(&made.repo, "root"));
    toy_publish(&made.repo);
}

/* Whoever writes the file makes a root of his own that lists the owner's keys. */
static void replace_root_keys(void)
{
    struct toy_role *root = toy_role(&made.repo, "root");
    root->signers[0] = toy_key_new(&made.repo, KEY_ED25519);
    toy_root_roles(&made.repo);
    toy_publish(&made.repo);
}

static void nothing_is_known(void **state)
{
    (void)state;
    expect_known(false);
}

static void the_pinned_root_is_known(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes first = copy_of("root");
    pin(&first);
    expect_known(true);
    next_root();
    expect_known(false);
}

static void a_root_of_somebody_else_is_refused(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes first = copy_of("root");
    pin(&first);
    replace_root_keys();
    expect_refused(E_ROLLBACK, "is not the one that");
    /* With a higher version it may be a successor's successor: a person must compare. */
    next_root();
    expect_known(false);
}

static void an_older_root_is_refused(void **state)
{
    (void)state;
    next_root();
    CLEANUP(bytes_done) struct bytes second = copy_of("root");
    pin(&second);
    toy_set_int(toy_role(&made.repo, "root"), "version", 1);
    toy_publish(&made.repo);
    expect_refused(E_CONFLICT, "stage it again");
}

static void another_collection_is_refused(void **state)
{
    (void)state;
    struct toy_repo other;
    toy_init(&other, "other/app");
    toy_publish(&other);
    pin(&toy_role(&other, "root")->file);
    toy_done(&other);
    expect_refused(E_ROLLBACK, "is not the one that");
}

/* What this machine has verified once is a floor for what it signs. */
static void older_roles_are_refused(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes root = copy_of("root");
    CLEANUP(anchor_done) struct resolved_anchor a = {.root = BYTES_INIT};
    CLEANUP(trust_store_cleanup) struct trust_store *store = NULL;
    pin(&root);
    toy_bump(toy_role(&made.repo, "alice"));
    toy_publish(&made.repo);
    CLEANUP(bytes_done) struct bytes newer = copy_of("alice");
    toy_ok(anchor_resolve(NULL, made.dir->path, &made.ref, false, &a, err));
    toy_ok(trust_store_open(made.dir->path, a.id, CHANGE_COLLECTION, &store, err));
    toy_ok(trust_store_write(store, "alice", &newer, err));
    trust_store_cleanup(&store);
    expect_known(true);
    toy_set_int(toy_role(&made.repo, "alice"), "version", 1);
    toy_publish(&made.repo);
    expect_refused(E_CONFLICT, "'alice' was published anew");
}

/* The store's root is newer than the pin: it counts. */
static void the_stored_root_counts(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes first = copy_of("root");
    CLEANUP(anchor_done) struct resolved_anchor a = {.root = BYTES_INIT};
    CLEANUP(trust_store_cleanup) struct trust_store *store = NULL;
    pin(&first);
    replace_root_keys();
    next_root();
    CLEANUP(bytes_done) struct bytes second = copy_of("root");
    toy_ok(anchor_resolve(NULL, made.dir->path, &made.ref, false, &a, err));
    toy_ok(trust_store_open(made.dir->path, a.id, CHANGE_COLLECTION, &store, err));
    toy_ok(trust_store_write(store, "root", &second, err));
    trust_store_cleanup(&store);
    expect_known(true);
}

/* A file from elsewhere does not move a pin, and nothing is sent anywhere. */
static void a_first_root_beside_another_pin_is_not_published(void **state)
{
    (void)state;
    struct draft d;
    struct js *tree = NULL;
    struct error why = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes first = copy_of("root"), after = BYTES_INIT;
    pin(&first);
    draft_begin(&made.owner, &made.ref, &d);
    toy_ok(draft_root(&d, &tree, err));
    assert_int_equal(draft_publish_first(&d, &why), E_EXISTS);
    draft_close(&d);
    toy_ok(trust_pin_read(made.dir->path, "r.io", "acme/app", &after, err));
    assert_true(bytes_equal(first.data, first.len, after.data, after.len));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_is_known),
        CASE(the_pinned_root_is_known),
        CASE(a_root_of_somebody_else_is_refused),
        CASE(an_older_root_is_refused),
        CASE(another_collection_is_refused),
        CASE(older_roles_are_refused),
        CASE(the_stored_root_counts),
        CASE(a_first_root_beside_another_pin_is_not_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

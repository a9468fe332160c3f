/* Publications into a set that was accepted before: bins that stay as they are go unread, and
 * nothing slips through with them. */
#include "tests/support/tuf_repo.h"
#include "tuf/accept.h"

#define COLLECTION    "acme/app"
#define FILE_OF(role) (role)->file.data, (role)->file.len
#define ACCEPTED      CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *

#define MAX_STORED 12

static struct toy_repo repo;
static struct signing_key *bin_key;

/* What the caller of tuf_accept keeps: copies of the files in force. */
static struct stored {
    char role[64];
    struct bytes data;
    unsigned n_reads;
} stored[MAX_STORED];
static size_t n_stored;
static int read_fails;

static struct stored *find_stored(const char *role)
{
    for (size_t i = 0; i < n_stored; i++)
        if (strcmp(stored[i].role, role) == 0)
            return &stored[i];
    return NULL;
}

static int read_stored(void *context, const char *role, struct bytes *out, struct error *err)
{
    struct stored *s = find_stored(role);
    assert_ptr_equal(context, stored);
    assert_non_null(s);
    s->n_reads++;
    return read_fails ? (fail)(err, read_fails, "the disk is gone")
                      : bytes_append(out, s->data.data, s->data.len, err);
}

/* The role's present file is in force. */
static void keep(const char *role)
{
    struct stored *s = find_stored(role);
    const struct toy_role *from = toy_role(&repo, role);
    assert_true(s || n_stored < MAX_STORED);
    if (!s)
        s = &stored[n_stored++];
    (void)snprintf(s->role, sizeof s->role, "%s", role);
    bytes_clear(&s->data);
    toy_ok(bytes_append(&s->data, from->file.data, from->file.len, err));
}

static void keep_all(void)
{
    keep("root");
    for (size_t i = TUF_TARGETS; i < repo.n_roles; i++)
        keep(repo.roles[i].name);
}

static void make_bins(const char *from, const char *prefix)
{
    char name[TUF_BIN_NAME_MAX];
    struct tuf_bins bins = {.prefix = prefix, .bits = 1};
    const struct public_key *keys[] = {signing_key_public(bin_key)};
    struct tuf_compose_bins compose = {prefix, 1, {keys, 1, 1}};
    for (uint64_t i = 0; i < 2; i++) {
        tuf_bins_name(&bins, i, name);
        toy_role_add(&repo, TUF_TARGETS, name, 1)->signers[0] = bin_key;
    }
    toy_ok(tuf_compose_bins(toy_role(&repo, from)->tree, &compose, err));
}

/* targets with two bins; "v1" belongs into the first, "v2" into the second. */
static int setup(void **state)
{
    (void)state;
    toy_init(&repo, COLLECTION);
    memset(stored, 0, sizeof stored);
    n_stored = 0;
    read_fails = 0;
    bin_key = toy_key_new(&repo, KEY_ED25519);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_stored; i++)
        bytes_done(&stored[i].data);
    toy_done(&repo);
    return 0;
}

static void publish_bins(void)
{
    make_bins("targets", "all");
    toy_target(&repo, "all-0", "v1", "one");
    toy_publish(&repo);
    keep_all();
}

static void next(const char *role)
{
    toy_bump(toy_role(&repo, role));
    toy_sign(toy_role(&repo, role));
}

static int accept_names(bool settled, const char *const *names, size_t n, struct tuf_accepted **out)
{
    struct tuf_file changes[8], current[MAX_STORED];
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < n; i++)
        changes[i] = (struct tuf_file){names[i], FILE_OF(toy_role(&repo, names[i]))};
    for (size_t i = 0; i < n_stored; i++) {
        stored[i].n_reads = 0;
        current[i] = (struct tuf_file){.role = stored[i].role};
        if (!settled)
            current[i] = (struct tuf_file){stored[i].role, stored[i].data.data, stored[i].data.len};
    }
    const struct tuf_accept_input in = {.collection = COLLECTION,
                                        .now_s = TOY_NOW,
                                        .current = current,
                                        .n_current = n_stored,
                                        .changes = changes,
                                        .n_changes = n,
                                        .settled = settled,
                                        .read = read_stored,
                                        .read_context = stored};
    return tuf_accept(&in, out, &err);
}

/* Both ways must decide the same. */
static void refused(int code, const char *const *names, size_t n)
{
    struct tuf_accepted *a = NULL;
    assert_int_equal(accept_names(false, names, n, &a), code);
    assert_int_equal(accept_names(true, names, n, &a), code);
    assert_null(a);
}

#define REFUSED(code, ...)                                                                         \
    refused(code, (const char *const[]){__VA_ARGS__},                                              \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
#define ACCEPT(settled, out, ...)                                                                  \
    accept_names(settled, (const char *const[]){__VA_ARGS__},                                      \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *), out)

static void test_only_what_changes_is_read(void **state)
{
    (void)state;
    publish_bins();
    toy_target(&repo, "all-1", "v2", "two");
    next("all-1");
    ACCEPTED a = NULL;
    assert_int_equal(ACCEPT(true, &a, "all-1"), OK);
    assert_int_equal(find_stored("root")->n_reads, 1);
    assert_int_equal(find_stored("targets")->n_reads, 1);
    assert_int_equal(find_stored("all-0")->n_reads, 0);
    assert_int_equal(find_stored("all-1")->n_reads, 1);
    assert_int_equal(a->n_roles, 3);
    assert_string_equal(a->role_names[1], "all-0");
    assert_null(a->roles[1]);
    assert_int_equal(tuf_metadata_version(a->roles[2]), 2);
    assert_int_equal(a->n_added, 1);
}

static void test_what_changes_is_judged_as_ever(void **state)
{
    (void)state;
    publish_bins();
    struct toy_role *bin = toy_role(&repo, "all-1");
    toy_target(&repo, "all-1", "v2", "two");
    toy_sign(bin);
    REFUSED(E_CONFLICT, "all-1"); /* not the next version */
    next("all-1");
    bin->signers[0] = toy_key_new(&repo, KEY_ED25519);
    toy_sign(bin);
    REFUSED(E_SIGNATURE, "all-1");
    bin->signers[0] = bin_key;
    toy_target(&repo, "all-1", "v1", "another one");
    toy_sign(bin);
    REFUSED(E_INVALID, "all-1"); /* v1 belongs into the other bin */
    js_remove(js_edit(bin->tree, "targets"), "v1");
    toy_set_text(bin, "x-bulla-role", "all-0");
    toy_sign(bin);
    REFUSED(E_BINDING, "all-1");
    toy_set_text(bin, "x-bulla-role", "all-1");
    toy_expire(bin);
    toy_sign(bin);
    REFUSED(E_EXPIRED, "all-1");
}

/* A delegator that changes brings everything it names back under judgement. */
static void test_new_keys_need_new_bins(void **state)
{
    (void)state;
    publish_bins();
    struct toy_role *targets = toy_role(&repo, "targets");
    struct signing_key *key = toy_key_new(&repo, KEY_ED25519);
    const struct public_key *keys[] = {signing_key_public(key)};
    js_remove(targets->tree, "delegations");
    toy_ok(
        tuf_compose_bins(targets->tree, &(struct tuf_compose_bins){"all", 1, {keys, 1, 1}}, err));
    next("targets");
    REFUSED(E_SIGNATURE, "targets");
    /* One of the two is not enough. */
    toy_role(&repo, "all-0")->signers[0] = key;
    next("all-0");
    REFUSED(E_SIGNATURE, "targets", "all-0");
    toy_role(&repo, "all-1")->signers[0] = key;
    next("all-1");
    ACCEPTED a = NULL;
    assert_int_equal(ACCEPT(true, &a, "targets", "all-0", "all-1"), OK);
    assert_int_equal(a->n_roles, 3);
}

static void test_bin_of_a_changed_delegator_is_read(void **state)
{
    (void)state;
    publish_bins();
    next("targets");
    ACCEPTED a = NULL;
    assert_int_equal(ACCEPT(true, &a, "targets"), OK);
    assert_int_equal(find_stored("all-0")->n_reads, 1);
    assert_int_equal(find_stored("all-1")->n_reads, 1);
    assert_non_null(a->roles[1]);
}

/* A file that nothing led to was never verified, whatever its name. */
static void test_bin_that_was_not_in_force_is_judged(void **state)
{
    (void)state;
    toy_publish(&repo);
    keep_all();
    make_bins("targets", "all");
    toy_role(&repo, "all-1")->signers[0] = toy_key_new(&repo, KEY_ED25519);
    toy_sign(toy_role(&repo, "all-0"));
    toy_sign(toy_role(&repo, "all-1"));
    keep("all-0");
    keep("all-1");
    next("targets");
    REFUSED(E_SIGNATURE, "targets");
}

/* targets names releases, releases has bins: all that was cut off comes back with new targets. */
static void test_delegator_that_was_not_in_force_settles_nothing(void **state)
{
    (void)state;
    toy_publish(&repo);
    keep("root");
    keep("targets");
    toy_delegate(&repo, "targets", "releases", "v*", false);
    make_bins("releases", "all");
    toy_role(&repo, "all-1")->signers[0] = toy_key_new(&repo, KEY_ED25519);
    next("targets");
    toy_sign(toy_role(&repo, "releases"));
    toy_sign(toy_role(&repo, "all-0"));
    toy_sign(toy_role(&repo, "all-1"));
    keep("releases");
    keep("all-0");
    keep("all-1");
    REFUSED(E_SIGNATURE, "targets");
}

/* Both files are as they were and the bin was in force, but by another role's keys. */
static void test_returning_delegator_is_judged_with_bins_in_force(void **state)
{
    (void)state;
    const struct public_key *keys[] = {signing_key_public(toy_key_new(&repo, KEY_ED25519))};
    toy_delegate(&repo, "targets", "first", "v*", false);
    make_bins("first", "all");
    struct toy_role *second = toy_role_add(&repo, TUF_TARGETS, "second", 1);
    toy_ok(tuf_compose_bins(second->tree, &(struct tuf_compose_bins){"all", 1, {keys, 1, 1}}, err));
    toy_publish(&repo);
    keep_all();
    toy_delegate(&repo, "targets", "second", "v*", false);
    next("targets");
    REFUSED(E_SIGNATURE, "targets");
}

/* The same file by a second path: verified for that delegator, too. */
static void test_second_path_to_a_settled_bin_is_judged(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "first", "v*", false);
    toy_delegate(&repo, "targets", "second", "v*", false);
    make_bins("first", "all");
    toy_publish(&repo);
    keep_all();
    const struct public_key *keys[] = {signing_key_public(toy_key_new(&repo, KEY_ED25519))};
    const char *const paths[] = {"*"};
    struct js *tree = toy_role(&repo, "second")->tree;
    toy_ok(tuf_compose_delegation(
        tree, &(struct tuf_compose_delegation){"all-1", {keys, 1, 1}, false, paths, 1}, err));
    next("second");
    REFUSED(E_SIGNATURE, "second");
    js_remove(tree, "delegations");
    toy_ok(tuf_compose_bins(tree, &(struct tuf_compose_bins){"all", 1, {keys, 1, 1}}, err));
    toy_sign(toy_role(&repo, "second"));
    REFUSED(E_SIGNATURE, "second");
}

static void test_bins_do_not_delegate(void **state)
{
    (void)state;
    publish_bins();
    toy_delegate(&repo, "all-1", "hidden", "v*", false);
    toy_sign(toy_role(&repo, "hidden"));
    next("all-1");
    REFUSED(E_INVALID, "all-1", "hidden");
}

static void test_same_bytes_again_change_nothing(void **state)
{
    (void)state;
    publish_bins();
    ACCEPTED a = NULL;
    assert_int_equal(ACCEPT(true, &a, "all-1"), OK);
    assert_int_equal(find_stored("all-1")->n_reads, 1);
    assert_null(a->roles[2]);
    assert_int_equal(a->n_added, 0);
}

/* More may be asked about than is new, never less. */
static void test_added_leaves_nothing_new_out(void **state)
{
    (void)state;
    publish_bins();
    toy_target(&repo, "all-1", "v2", "one"); /* all-0 names that digest already */
    toy_target(&repo, "all-1", "v4", "four");
    next("all-1");
    ACCEPTED a = NULL;
    ACCEPTED b = NULL;
    assert_int_equal(ACCEPT(false, &a, "all-1"), OK);
    assert_int_equal(ACCEPT(true, &b, "all-1"), OK);
    assert_int_equal(a->n_added, 1);
    assert_int_equal(b->n_added, 2);
}

static void test_a_file_that_cannot_be_read_ends_it(void **state)
{
    (void)state;
    publish_bins();
    next("all-1");
    read_fails = E_SYS;
    struct tuf_accepted *a = NULL;
    assert_int_equal(ACCEPT(true, &a, "all-1"), E_SYS);
    assert_null(a);
}

static void test_unsettled_sets_come_with_all_bytes(void **state)
{
    (void)state;
    const struct tuf_file current = {.role = "targets"};
    struct tuf_accept_input in = {.collection = COLLECTION,
                                  .now_s = TOY_NOW,
                                  .current = &current,
                                  .n_current = 1,
                                  .read = read_stored,
                                  .read_context = stored};
    struct tuf_accepted *a = NULL;
    publish_bins();
    struct tuf_file changes[] = {{"root", FILE_OF(toy_role(&repo, "root"))}};
    in.changes = changes;
    in.n_changes = 1;
    assert_int_equal(tuf_accept(&in, &a, NULL), E_INTERNAL);
    assert_null(a);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_only_what_changes_is_read),
        CASE(test_what_changes_is_judged_as_ever),
        CASE(test_new_keys_need_new_bins),
        CASE(test_bin_of_a_changed_delegator_is_read),
        CASE(test_bin_that_was_not_in_force_is_judged),
        CASE(test_delegator_that_was_not_in_force_settles_nothing),
        CASE(test_returning_delegator_is_judged_with_bins_in_force),
        CASE(test_second_path_to_a_settled_bin_is_judged),
        CASE(test_bins_do_not_delegate),
        CASE(test_same_bytes_again_change_nothing),
        CASE(test_added_leaves_nothing_new_out),
        CASE(test_a_file_that_cannot_be_read_ends_it),
        CASE(test_unsettled_sets_come_with_all_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

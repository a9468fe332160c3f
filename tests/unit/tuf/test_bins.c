/* Hashed bins (succinct_roles, TUF 4.5): names, the search through them, publication. */
#include "tests/support/tuf_repo.h"
#include "tuf/accept.h"
#include "tuf/trusted.h"

#define COLLECTION    "acme/app"
#define FILE_OF(role) (role)->file.data, (role)->file.len
#define TRUSTED       CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *

static struct toy_repo repo;

static int setup(void **state)
{
    (void)state;
    toy_init(&repo, COLLECTION);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_done(&repo);
    return 0;
}

/* --- names --- */

static const struct tuf_bins eight = {.prefix = "bin", .bits = 8};

static void expect_name(unsigned bits, uint64_t bin, const char *wanted)
{
    struct tuf_bins bins = {.prefix = "x", .bits = bits};
    char name[TUF_BIN_NAME_MAX];
    tuf_bins_name(&bins, bin, name);
    assert_string_equal(name, wanted);
    assert_true(tuf_bins_has(&bins, name));
}

static void test_names_have_as_many_digits_as_the_last_bin(void **state)
{
    (void)state;
    expect_name(1, 0, "x-0");
    expect_name(1, 1, "x-1");
    expect_name(4, 15, "x-f");
    expect_name(5, 1, "x-01");
    expect_name(8, 0xa, "x-0a");
    expect_name(9, 0x1ff, "x-1ff");
    expect_name(32, 0xffffffff, "x-ffffffff");
}

/* GHSA-77hh-43cm-v8j6: any name was taken for a bin. */
static void test_only_exact_names_are_bins(void **state)
{
    (void)state;
    static const char *const bad[] = {"bin",    "bin-",   "bin-0", "bin-000", "bin-0A",  "bin-0g",
                                      "bin_00", "Bin-00", "",      "xbin-00", "bin-00 ", "bin--1"};
    struct tuf_bins three = {.prefix = "bin", .bits = 3};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tuf_bins_has(&eight, bad[i]));
    assert_true(tuf_bins_has(&eight, "bin-00"));
    assert_true(tuf_bins_has(&three, "bin-7"));
    assert_false(tuf_bins_has(&three, "bin-8"));
}

/* SHA-256 of "v1" begins with 3b, "v2" with fb: as sha256sum says. */
static void test_bin_is_the_first_bits_of_the_names_hash(void **state)
{
    (void)state;
    struct tuf_bins bins = eight;
    uint64_t bin = 0;
    toy_ok(tuf_bins_find(&bins, "v1", &bin, err));
    assert_int_equal(bin, 0x3b);
    bins.bits = 1;
    toy_ok(tuf_bins_find(&bins, "v1", &bin, err));
    assert_int_equal(bin, 0);
    toy_ok(tuf_bins_find(&bins, "v2", &bin, err));
    assert_int_equal(bin, 1);
    bins.bits = 32;
    toy_ok(tuf_bins_find(&bins, "v1", &bin, err));
    assert_int_equal(bin >> 24, 0x3b);
}

/* --- a repository with two bins below `from`, one key for both --- */

static void make_bins(const char *from, const char *prefix)
{
    char name[TUF_BIN_NAME_MAX];
    struct tuf_bins bins = {.prefix = prefix, .bits = 1};
    struct signing_key *key = toy_key_new(&repo, KEY_ED25519);
    for (uint64_t i = 0; i < 2; i++) {
        tuf_bins_name(&bins, i, name);
        toy_role_add(&repo, TUF_TARGETS, name, 1)->signers[0] = key;
    }
    const struct public_key *keys[] = {signing_key_public(key)};
    struct tuf_compose_bins compose = {prefix, 1, {keys, 1, 1}};
    toy_ok(tuf_compose_bins(toy_role(&repo, from)->tree, &compose, err));
}

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

static char asked[256];

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
        rc = tuf_trusted_update_targets(t, found->need_role, found->need_delegator,
                                        FILE_OF(toy_role(&repo, found->need_role)), err);
        if (rc)
            return rc;
    }
}

static void test_search_asks_for_one_bin(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "releases", "v*", false);
    make_bins("releases", "releases-bin");
    toy_target(&repo, "releases-bin-0", "v1", "one");
    toy_target(&repo, "releases-bin-1", "v2", "two");
    toy_publish(&repo);
    TRUSTED t = start();
    struct tuf_found found;
    toy_ok(search(t, "v2", &found, err));
    assert_string_equal(asked, "targets releases releases-bin-1 ");
    assert_string_equal(found.role, "releases"); /* a bin vouches in the name of its role */
    assert_string_equal(found.bin, "releases-bin-1");
    assert_int_equal(found.n_signers, 1);
    toy_ok(search(t, "v1", &found, err));
    assert_string_equal(found.bin, "releases-bin-0");
}

static void test_role_itself_comes_before_its_bins(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_target(&repo, "targets", "v2", "direct");
    toy_target(&repo, "all-1", "v2", "two");
    toy_publish(&repo);
    TRUSTED t = start();
    struct tuf_found found;
    toy_ok(search(t, "v2", &found, err));
    assert_string_equal(found.role, "targets");
    assert_null(found.bin);
    assert_int_equal(found.target.length, strlen("direct"));
}

static int search_fails(const char *name)
{
    TRUSTED t = start();
    struct tuf_found found;
    struct error err = ERROR_INIT;
    return search(t, name, &found, &err);
}

static void test_name_in_another_bin_is_unsigned(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_target(&repo, "all-0", "v2", "two"); /* belongs into all-1 */
    toy_publish(&repo);
    assert_int_equal(search_fails("v2"), E_UNSIGNED);
}

/* Nothing behind bins is visited: the delegation to them is terminating. */
static void test_bins_end_the_search(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "first", "v*", false);
    toy_delegate(&repo, "targets", "second", "v*", false);
    make_bins("first", "first-bin");
    toy_target(&repo, "second", "v2", "two");
    toy_publish(&repo);
    assert_int_equal(search_fails("v2"), E_UNSIGNED);
}

static void test_bin_missing_from_the_snapshot_is_unsigned(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_target(&repo, "all-1", "v2", "two");
    toy_role(&repo, "all-1")->unpublished = true;
    toy_publish(&repo);
    assert_int_equal(search_fails("v2"), E_UNSIGNED);
}

static void test_bin_by_a_foreign_key_is_refused(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_target(&repo, "all-1", "v2", "two");
    toy_role(&repo, "all-1")->signers[0] = toy_key_new(&repo, KEY_ED25519);
    toy_publish(&repo);
    assert_int_equal(search_fails("v2"), E_SIGNATURE);
}

static void test_bin_as_another_bin_is_refused(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_target(&repo, "all-1", "v2", "two");
    toy_set_text(toy_role(&repo, "all-1"), "x-bulla-role", "all-0");
    toy_publish(&repo);
    assert_int_equal(search_fails("v2"), E_BINDING);
}

static void test_expired_bin_is_refused(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_target(&repo, "all-1", "v2", "two");
    toy_expire(toy_role(&repo, "all-1"));
    toy_publish(&repo);
    assert_int_equal(search_fails("v2"), E_EXPIRED);
}

static void test_too_many_bins_are_refused(void **state)
{
    (void)state;
    make_bins("targets", "all");
    struct js *bins =
        js_edit(js_edit(toy_role(&repo, "targets")->tree, "delegations"), "succinct_roles");
    toy_ok(js_set(bins, "bit_length", js_int_new(12), err));
    toy_publish(&repo);
    assert_int_equal(search_fails("v2"), E_LIMIT);
}

/* --- publication --- */

static int upload(const char *const *names, size_t n, const char *const *current_names,
                  size_t n_current, struct tuf_accepted **out)
{
    struct tuf_file changes[8], current[8];
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < n; i++)
        changes[i] = (struct tuf_file){names[i], FILE_OF(toy_role(&repo, names[i]))};
    for (size_t i = 0; i < n_current; i++)
        current[i] =
            (struct tuf_file){current_names[i], FILE_OF(toy_role(&repo, current_names[i]))};
    struct tuf_accept_input in = {.collection = COLLECTION,
                                  .now_s = TOY_NOW,
                                  .current = current,
                                  .n_current = n_current,
                                  .changes = changes,
                                  .n_changes = n};
    return tuf_accept(&in, out, &err);
}

static const char *const everything[] = {"root", "targets", "all-0", "all-1"};

static void test_bins_are_published(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_target(&repo, "all-1", "v2", "two");
    toy_publish(&repo);
    CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *a = NULL;
    assert_int_equal(upload(everything, 4, NULL, 0, &a), OK);
    assert_int_equal(a->n_roles, 3);
    assert_string_equal(a->role_names[0], "targets");
    assert_string_equal(a->role_names[2], "all-1");
    assert_int_equal(a->n_added, 1);
}

static void test_one_bin_is_published_alone(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_publish(&repo);
    CLEANUP(bytes_done) struct bytes old = BYTES_INIT;
    struct toy_role *bin = toy_role(&repo, "all-1");
    toy_ok(bytes_append(&old, bin->file.data, bin->file.len, err));
    struct tuf_file current[] = {{"root", FILE_OF(&repo.roles[TUF_ROOT])},
                                 {"targets", FILE_OF(&repo.roles[TUF_TARGETS])},
                                 {"all-0", FILE_OF(toy_role(&repo, "all-0"))},
                                 {"all-1", old.data, old.len}};
    toy_target(&repo, "all-1", "v2", "two");
    toy_bump(bin);
    toy_sign(bin);
    struct tuf_file change = {"all-1", FILE_OF(bin)};
    struct tuf_accept_input in = {.collection = COLLECTION,
                                  .now_s = TOY_NOW,
                                  .current = current,
                                  .n_current = 4,
                                  .changes = &change,
                                  .n_changes = 1};
    CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *a = NULL;
    toy_ok(tuf_accept(&in, &a, err));
    assert_int_equal(a->n_added, 1);
    assert_int_equal(a->n_roles, 3);
}

static void test_target_in_the_wrong_bin_is_not_published(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_target(&repo, "all-0", "v2", "two");
    toy_publish(&repo);
    struct tuf_accepted *a = NULL;
    assert_int_equal(upload(everything, 4, NULL, 0, &a), E_INVALID);
    assert_null(a);
}

static void test_bin_by_a_foreign_key_is_not_published(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_role(&repo, "all-1")->signers[0] = toy_key_new(&repo, KEY_ED25519);
    toy_publish(&repo);
    struct tuf_accepted *a = NULL;
    assert_int_equal(upload(everything, 4, NULL, 0, &a), E_SIGNATURE);
}

static void test_role_that_is_no_bin_is_not_published(void **state)
{
    (void)state;
    make_bins("targets", "all");
    toy_role_add(&repo, TUF_TARGETS, "all-2", 1)->signers[0] = toy_role(&repo, "all-0")->signers[0];
    toy_publish(&repo);
    static const char *const names[] = {"root", "targets", "all-2"};
    struct tuf_accepted *a = NULL;
    assert_int_equal(upload(names, 3, NULL, 0, &a), E_INVALID);
}

static void test_bins_are_composed_once(void **state)
{
    (void)state;
    make_bins("targets", "all");
    const struct public_key *keys[] = {signing_key_public(repo.pool[0])};
    struct tuf_compose_bins again = {"more", 1, {keys, 1, 1}};
    struct error err = ERROR_INIT;
    assert_int_equal(tuf_compose_bins(toy_role(&repo, "targets")->tree, &again, &err), E_EXISTS);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_names_have_as_many_digits_as_the_last_bin),
        CASE(test_only_exact_names_are_bins),
        CASE(test_bin_is_the_first_bits_of_the_names_hash),
        CASE(test_search_asks_for_one_bin),
        CASE(test_role_itself_comes_before_its_bins),
        CASE(test_name_in_another_bin_is_unsigned),
        CASE(test_bins_end_the_search),
        CASE(test_bin_missing_from_the_snapshot_is_unsigned),
        CASE(test_bin_by_a_foreign_key_is_refused),
        CASE(test_bin_as_another_bin_is_refused),
        CASE(test_expired_bin_is_refused),
        CASE(test_too_many_bins_are_refused),
        CASE(test_bins_are_published),
        CASE(test_one_bin_is_published_alone),
        CASE(test_target_in_the_wrong_bin_is_not_published),
        CASE(test_bin_by_a_foreign_key_is_not_published),
        CASE(test_role_that_is_no_bin_is_not_published),
        CASE(test_bins_are_composed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Drafts over what a lying registry, or a role holder of bad will, publishes: every role is seen
 * once, and the walk ends. */
#include "tests/support/alloc_fail.h"
#include "tests/support/change_repo.h"
#include "tuf/edit.h"

#include <inttypes.h>

struct lying {
    struct change_repo made;
    struct trust_source source;
    const char *gone; /* not served */
    size_t n_asked;
};

static struct lying l;

static int get(struct trust_source *self, const char *name, size_t max, struct bytes *out,
               struct error *err)
{
    int64_t version = 0;
    char role[128] = "timestamp";
    (void)self;
    l.n_asked++;
    if (strcmp(name, "timestamp.json") != 0 &&
        sscanf(name, "%" SCNd64 ".%127[^.].json", &version, role) != 2)
        return (fail)(err, E_NOTFOUND, "no such file");
    for (size_t i = 0; i < l.made.repo.n_roles; i++) {
        const struct toy_role *r = &l.made.repo.roles[i];
        bool is_it = strcmp(r->name, role) == 0 && (!version || toy_version(r) == version);
        if (is_it && !(l.gone && strcmp(l.gone, role) == 0))
            return r->file.len > max ? (fail)(err, E_LIMIT, "too large")
                                     : bytes_append(out, r->file.data, r->file.len, err);
    }
    return (fail)(err, E_NOTFOUND, "no %s", name);
}

static int setup(void **state)
{
    scratch_setup(state);
    memset(&l, 0, sizeof l);
    l.source.get = get;
    change_repo_init(&l.made, *state);
    return 0;
}

static int teardown(void **state)
{
    change_repo_done(&l.made);
    return scratch_teardown(state);
}

/* A draft that is connected to what is published now. */
static void open_draft_on(struct draft *d)
{
    struct refresh_options options = {.now_s = TOY_NOW,
                                      .collection = CHANGE_COLLECTION,
                                      .root = &toy_role(&l.made.repo, "root")->file,
                                      .max_age_s = -1,
                                      .must_ask = true};
    toy_publish(&l.made.repo);
    draft_begin(&l.made.owner, &l.made.ref, d);
    (void)snprintf(d->collection, sizeof d->collection, "%s", CHANGE_COLLECTION);
    d->session.source = l.source;
    toy_ok(trust_store_open_folder(scratch_name(l.made.dir, "state"), &d->session.store, err));
    toy_ok(trust_refresh(&options, d->session.store, &d->session.source, &d->session.view, err));
    d->connected = true;
}

static int note_role(void *context, const char *role, const char *delegator,
                     const struct tuf_metadata *m, struct error *err)
{
    return bytes_append_format(context, err, "%s<%s%s ", role, delegator ? delegator : "",
                               m ? "" : "?");
}

static void expect_walk(struct draft_walk walk, const char *wanted)
{
    struct draft d;
    CLEANUP(bytes_done) struct bytes seen = BYTES_INIT;
    open_draft_on(&d);
    walk.visit = note_role;
    walk.context = &seen;
    toy_ok(draft_walk(&d, &walk, err));
    assert_string_equal(bytes_text(&seen), wanted);
    draft_close(&d);
}

static void each_role_once_delegators_first(void **state)
{
    (void)state;
    toy_delegate(&l.made.repo, "alice", "bob", "a-*", false);
    toy_delegate(&l.made.repo, "targets", "carol", "c-*", false);
    toy_delegate(&l.made.repo, "carol", "bob", "c-*", false); /* a second way */
    toy_role(&l.made.repo, "carol")->unpublished = true;
    expect_walk((struct draft_walk){.all_bins = true},
                "targets< alice<targets carol<targets? bob<alice ");
}

static void cycles_end(void **state)
{
    (void)state;
    toy_delegate(&l.made.repo, "alice", "bob", "*", false);
    toy_delegate(&l.made.repo, "bob", "alice", "*", false);
    toy_delegate(&l.made.repo, "bob", "bob", "*", false);
    expect_walk((struct draft_walk){.all_bins = true}, "targets< alice<targets bob<alice ");
}

static void bins_as_asked_for(void **state)
{
    (void)state;
    char names[2][TUF_BIN_NAME_MAX], wanted[256];
    struct tuf_bins bins = {.prefix = "abin", .bits = 1};
    struct signing_key *key = toy_key_new(&l.made.repo, KEY_ED25519);
    const struct public_key *keys[] = {signing_key_public(key)};
    struct tuf_compose_bins compose = {bins.prefix, 1, {keys, 1, 1}};
    uint64_t bin = 0;
    for (uint64_t i = 0; i < 2; i++) {
        tuf_bins_name(&bins, i, names[i]);
        toy_role_add(&l.made.repo, TUF_TARGETS, names[i], 1)->signers[0] = key;
    }
    toy_ok(tuf_compose_bins(toy_role(&l.made.repo, "alice")->tree, &compose, err));
    expect_walk((struct draft_walk){.tag = NULL}, "targets< alice<targets ");
    expect_walk((struct draft_walk){.all_bins = true},
                "targets< alice<targets abin-0<alice abin-1<alice ");
    toy_ok(tuf_bins_find(&bins, "a-1", &bin, err));
    (void)snprintf(wanted, sizeof wanted, "targets< alice<targets %s<alice ", names[bin]);
    expect_walk((struct draft_walk){.tag = "a-1"}, wanted);
}

/* Names alone are cheap for whoever signs for one role. */
static void delegate_thousands(struct toy_role *role, const char *prefix, size_t n)
{
    CLEANUP(js_cleanup) struct js *roles = js_array_new();
    struct js *delegations = js_object_new();
    for (size_t i = 0; i < n; i++) {
        char text[256];
        struct js *one = NULL;
        (void)snprintf(text, sizeof text,
                       "{\"name\":\"%s%zu\",\"keyids\":[\"%064d\"],\"threshold\":1,"
                       "\"terminating\":false,\"paths\":[\"*\"]}",
                       prefix, i, 7);
        toy_ok(js_parse(text, strlen(text), &one, err));
        toy_ok(js_push(roles, one, err));
    }
    toy_ok(js_set(delegations, "keys", js_object_new(), err));
    toy_ok(js_set(delegations, "roles", js_dup(roles), err));
    toy_ok(js_set(role->tree, "delegations", delegations, err));
}

static void thousands_of_names_are_a_limit(void **state)
{
    (void)state;
    struct draft d;
    struct error why = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes seen = BYTES_INIT;
    static const char *const names[] = {"ra", "rb", "rc", "rd", "re", "rf", "rg", "rh", "ri"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        toy_delegate(&l.made.repo, "targets", names[i], "*", false);
        delegate_thousands(toy_role(&l.made.repo, names[i]), names[i], TUF_MAX_DELEGATIONS);
    }
    open_draft_on(&d);
    const struct draft_walk walk = {.visit = note_role, .context = &seen};
    assert_int_equal(draft_walk(&d, &walk, &why), E_LIMIT);
    assert_true(l.n_asked < 32); /* what is not in the snapshot is not asked for */
    draft_close(&d);
}

static void names_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"../alice", "Alice", "a b", "1.root"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct draft d;
        struct error why = ERROR_INIT;
        struct toy_role *targets = toy_role(&l.made.repo, "targets");
        struct js *good = js_dup(targets->tree);
        char folder[16];
        (void)snprintf(folder, sizeof folder, "state-%zu", i);
        toy_delegate(&l.made.repo, "targets", "bob", "*", false);
        struct js *bob = js_dup(js_at(js_get(js_get(targets->tree, "delegations"), "roles"), 1));
        toy_ok(js_set(bob, "name", js_text_new(names[i]), err));
        struct js *roles = js_array_new();
        toy_ok(js_push(roles, bob, err));
        toy_ok(js_set(js_edit(targets->tree, "delegations"), "roles", roles, err));
        struct refresh_options options = {.now_s = TOY_NOW,
                                          .collection = CHANGE_COLLECTION,
                                          .root = &toy_role(&l.made.repo, "root")->file,
                                          .max_age_s = -1,
                                          .must_ask = true};
        toy_publish(&l.made.repo);
        draft_begin(&l.made.owner, &l.made.ref, &d);
        toy_ok(trust_store_open_folder(scratch_name(l.made.dir, folder), &d.session.store, err));
        int rc = trust_refresh(&options, d.session.store, &l.source, &d.session.view, &why);
        if (rc != E_INVALID)
            fail_msg("'%s': %s %s", names[i], error_name(rc), why.message);
        trust_store_cleanup(&d.session.store);
        js_free(targets->tree);
        targets->tree = good;
    }
}

static void a_role_that_is_not_served_ends_the_walk(void **state)
{
    (void)state;
    struct draft d;
    struct error why = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes seen = BYTES_INIT;
    const struct tuf_metadata *m = NULL;
    l.gone = "alice";
    open_draft_on(&d);
    const struct draft_walk walk = {.visit = note_role, .context = &seen};
    assert_int_not_equal(draft_walk(&d, &walk, &why), OK);
    assert_int_not_equal(draft_published(&d, "zoe", &m, NULL, &why), OK);
    assert_int_not_equal(why.code, E_USAGE); /* "no such role" is not known */
    draft_close(&d);
}

static void unknown_roles_and_second_calls(void **state)
{
    (void)state;
    struct draft d;
    struct error why = ERROR_INIT;
    struct js *one = NULL, *again = NULL;
    open_draft_on(&d);
    assert_int_equal(draft_role(&d, "zoe", NULL, &one, &why), E_USAGE);
    assert_null(one);
    toy_ok(draft_role(&d, "alice", NULL, &one, err));
    toy_ok(draft_role(&d, "alice", NULL, &again, err));
    assert_ptr_equal(one, again);
    assert_int_equal(js_number(js_get(one, "version")), 2);
    assert_string_equal(d.files[0].delegator, "targets");
    assert_int_equal(d.n, 1);
    draft_close(&d);
}

/* Version 2^53 - 1 has no successor; what would come is no metadata. */
static void the_last_version_has_no_next(void **state)
{
    (void)state;
    struct draft d;
    struct error why = ERROR_INIT;
    struct js *tree = NULL;
    toy_set_int(toy_role(&l.made.repo, "alice"), "version", TUF_MAX_VERSION);
    open_draft_on(&d);
    toy_ok(draft_role(&d, "alice", NULL, &tree, err));
    assert_int_equal(draft_compile(&d, &why), E_INVALID);
    draft_close(&d);
}

static void only_sha256_is_signed(void **state)
{
    (void)state;
    struct collection_sign_options options = {.target = "v1"};
    struct collection_sign_result result;
    struct error why = ERROR_INIT;
    toy_ok(digest_of(DIGEST_SHA512, "x", 1, &options.manifest.digest, err));
    assert_int_equal(collection_sign(&l.made.owner, &l.made.ref, &options, &result, &why),
                     E_UNSUPPORTED);
}

/* --- memory --- */

static int change_all(void *context, struct error *why)
{
    struct draft *d = context;
    struct js *tree = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = draft_role(d, "targets", NULL, &tree, why);
    if (!rc)
        rc = tuf_edit_add_path(tree, "alice", "b-*", why);
    if (!rc)
        rc = draft_role(d, "alice", NULL, &tree, why);
    if (!rc)
        rc = draft_root(d, &tree, why);
    if (!rc)
        rc = draft_compile(d, why);
    if (!rc)
        rc = draft_describe(d, &text, why);
    while (d->n) { /* the next round begins anew; its files are the draft's */
        struct draft_file *f = &d->files[--d->n];
        free(f->role);
        free(f->delegator);
        js_free(f->tree);
        tuf_metadata_free(f->after);
    }
    return rc;
}

static void changes_without_memory(void **state)
{
    (void)state;
    struct draft d;
    open_draft_on(&d);
    alloc_fail_each(change_all, &d, E_INTERNAL);
    draft_close(&d);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_role_once_delegators_first),
        CASE(cycles_end),
        CASE(bins_as_asked_for),
        CASE(thousands_of_names_are_a_limit),
        CASE(names_that_are_none_are_refused),
        CASE(a_role_that_is_not_served_ends_the_walk),
        CASE(unknown_roles_and_second_calls),
        CASE(the_last_version_has_no_next),
        CASE(only_sha256_is_signed),
        CASE(changes_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* How large a collection may become, and that it may shrink however large it is. */
#include "signer/service_store.h"
#include "tests/unit/signer/service_fixture.h"
#include "tuf/edit.h"

#define LARGE (15u << 20) /* two of them are too much, and would still fit into a message */

/* --- helpers --- */

/* The stored collection as a test wants it, past every rule but the record's signature. */
struct stored {
    struct service_keyring *ring;
    struct service_store *store;
    struct service_collection c;
};

static void stored_open(struct fixture *f, struct stored *s)
{
    CLEANUP(secret_done) struct secret passphrase = SECRET_INIT;
    service_cleanup(&f->service);
    *s = (struct stored){0};
    toy_ok(secret_copy(FX_PASSPHRASE, strlen(FX_PASSPHRASE), &passphrase, err));
    toy_ok(service_keyring_new(&passphrase, &s->ring, err));
    toy_ok(service_store_open(scratch_name(f->dir, "signer.db"), s->ring, &s->store, err));
    toy_ok(service_store_load(s->store, FX_COLLECTION, &s->c, err));
}

static void stored_save(struct fixture *f, struct stored *s)
{
    toy_ok(service_store_save(s->store, &s->c, err));
    service_collection_done(&s->c);
    service_store_cleanup(&s->store);
    service_keyring_free(s->ring);
    fx_open(f);
}

/* n dropped roles that nobody will look into; not one by one, each would be looked for. */
static void store_gone(struct fixture *f, size_t n)
{
    struct stored s;
    stored_open(f, &s);
    struct signer_set_file *files = calloc(n, sizeof *files);
    assert_non_null(files);
    for (size_t i = 0; i < n; i++) {
        files[i].version = 1;
        files[i].role = text_format("gone%zu", i);
        assert_non_null(files[i].role);
        toy_ok(bytes_append_text(&files[i].data, "gone", err));
    }
    s.c.gone = (struct signer_set){.files = files, .n_files = n};
    stored_save(f, &s);
}

static int publish_as(struct fixture *f, const char *const *roles, struct signer_set *set,
                      struct error *err)
{
    signer_set_done(set);
    return fx_publish(f, roles, set, err);
}

static void next(struct fixture *f, const char *role)
{
    toy_bump(toy_role(&f->repo, role));
    toy_sign(toy_role(&f->repo, role));
}

static void delegate(struct fixture *f, const char *role)
{
    toy_sign(toy_delegate(&f->repo, "targets", role, "v*", false));
}

/* --- growth --- */

/* The role leads to two bins, whose files are large: as such they go unread. */
static void delegate_large_bins(struct fixture *f, const char *role)
{
    const struct public_key *keys[] = {signing_key_public(toy_key_new(&f->repo, KEY_ED25519))};
    const struct tuf_compose_bins bins = {"all", 1, {keys, 1, 1}};
    struct toy_role *from = toy_delegate(&f->repo, "targets", role, "v*", false);
    toy_ok(tuf_compose_bins(from->tree, &bins, err));
    toy_sign(from);
}

static void store_bins(struct fixture *f)
{
    struct stored s;
    struct bytes data = BYTES_INIT;
    stored_open(f, &s);
    toy_ok(bytes_reserve(&data, LARGE, err));
    memset(data.data, 0, LARGE);
    data.len = LARGE;
    toy_ok(service_set_add(&s.c.set, "all-0", 1, &data, err));
    toy_ok(service_set_add(&s.c.set, "all-1", 1, &data, err));
    bytes_done(&data);
    stored_save(f, &s);
}

/* As if it had come to be before there was a limit: it may become smaller only. */
static void bytes_in_force(void **state)
{
    struct fixture *f = *state;
    static const char *const first[] = {"root", "targets", "large", "small", NULL};
    static const char *const small[] = {"small", NULL};
    CLEANUP(signer_set_done) struct signer_set set = {0};
    delegate_large_bins(f, "large");
    delegate(f, "small");
    toy_sign(toy_role(&f->repo, "targets"));
    toy_ok(publish_as(f, first, &set, err));
    store_bins(f);
    toy_target(&f->repo, "small", "v1", "one");
    next(f, "small");
    assert_code(publish_as(f, small, &set, err), E_LIMIT);
    toy_ok(tuf_edit_remove_delegation(toy_role(&f->repo, "targets")->tree, "small", err));
    next(f, "targets");
    toy_ok(publish_as(f, fx_targets, &set, err));
    assert_int_equal(fx_version(&set, "all-1"), 1);
    assert_int_equal(fx_version(&set, "small"), 0);
}

static void names_in_force_and_dropped(void **state)
{
    struct fixture *f = *state;
    static const char *const first[] = {"root", "targets", "releases", NULL};
    static const char *const another[] = {"targets", "another", NULL};
    CLEANUP(signer_set_done) struct signer_set set = {0};
    struct toy_role *targets = toy_role(&f->repo, "targets");
    delegate(f, "releases");
    toy_sign(targets);
    toy_ok(publish_as(f, first, &set, err));
    store_gone(f, 8100);
    delegate(f, "another");
    next(f, "targets");
    assert_code(publish_as(f, another, &set, err), E_LIMIT);
    js_remove(targets->tree, "delegations");
    toy_sign(targets);
    toy_ok(publish_as(f, fx_targets, &set, err)); /* one more that is dropped */
    assert_int_equal(fx_version(&set, "releases"), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bytes_in_force),
        CASE(names_in_force_and_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

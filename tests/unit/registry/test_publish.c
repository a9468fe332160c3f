/*
 * Publication end to end below HTTP: the registry's rules and storage, and a real signing service
 * in a child process that holds the online keys.
 */
#include "tests/unit/registry/publish_fixture.h"

static int is_signed(struct desk *d, const char *tag, const struct digest *digest)
{
    struct index_tx *tx = NULL;
    int64_t id = 0;
    toy_ok(index_read_begin(d->registry.index, &tx, err));
    toy_ok(index_repository_find(tx, FX_COLLECTION, &id, err));
    int rc = index_trust_check_unsigned(tx, id, tag, digest, NULL);
    index_read_end(d->registry.index, tx);
    return rc;
}

/* --- tests --- */

static void first_root_needs_admin(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    assert_code(publish_as(d, fx_first, false, err), E_DENIED);
    assert_int_equal(stored(d, "root", 0, &data), E_NOTFOUND);
    assert_code(publish_as(d, fx_first, true, err), 0);
    fx_next_targets(&d->f, "later");
    push(d, "later");
    assert_code(publish_as(d, fx_targets, false, err), 0);
}

static void exact_bytes_are_kept(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    assert_code(publish(d, fx_first, err), 0);
    const struct toy_role *root = toy_role(&d->f.repo, "root");
    assert_int_equal(stored(d, "root", 1, &data), 0);
    assert_true(bytes_equal(data.data, data.len, root->file.data, root->file.len));
    assert_int_equal(stored(d, "targets", 1, &data), 0);
    assert_int_equal(stored(d, "snapshot", 1, &data), 0);
    assert_int_equal(stored(d, "timestamp", 0, &data), 0);
    assert_int_equal(stored(d, "targets", 2, &data), E_NOTFOUND);
}

static void targets_must_be_in_the_repository(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1"); /* names a manifest with the content "v1" */
    assert_code(publish(d, fx_targets, err), E_INVALID);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);
    struct digest v1 = push(d, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(is_signed(d, "v1", &v1), E_DENIED);
    assert_int_equal(is_signed(d, "", &v1), E_DENIED);
    assert_int_equal(is_signed(d, "v2", &v1), 0);
}

static void length_must_agree(void **state)
{
    struct desk *d = *state;
    struct digest v1 = push(d, "v1");
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    assert_code(publish(d, fx_first, err), 0);
    toy_bump(targets);
    toy_ok(tuf_compose_target(targets->tree, "v1", &v1, 3, MEDIA_OCI_MANIFEST, err));
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_INVALID);
}

static void refused_changes_change_nothing(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes before = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes after = BYTES_INIT;
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    assert_int_equal(stored(d, "timestamp", 0, &before), 0);

    toy_bump(targets); /* signed by a key that root does not list */
    struct signing_key *stranger = toy_key_new(&d->f.repo, KEY_ED25519);
    toy_sign_tree(targets->tree, &stranger, 1, &targets->file);
    assert_code(publish(d, fx_targets, err), E_SIGNATURE);

    toy_bump(targets); /* version 3 after 1 */
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_CONFLICT);

    toy_set_int(targets, "version", 2);
    toy_set_text(targets, "x-bulla-collection", "acme/other");
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_BINDING);

    toy_set_text(targets, "x-bulla-collection", FX_COLLECTION);
    toy_expire(targets);
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_EXPIRED);

    assert_int_equal(stored(d, "timestamp", 0, &after), 0);
    assert_true(bytes_equal(before.data, before.len, after.data, after.len));
}

static void service_away(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    stop_service(d);
    assert_code(publish(d, fx_first, err), E_NETWORK);
    assert_int_equal(stored(d, "root", 0, &data), E_NOTFOUND);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), E_NETWORK);
    start_service(d);
    assert_code(publish(d, fx_first, err), 0);
}

static int release_old(struct index_tx *tx, void *arg, struct error *err)
{
    return index_trust_release_old(tx, *(const int64_t *)arg, err);
}

/* From before the service is asked: what it signs cannot be refused any more. */
static void what_may_be_signed_is_not_removed(void **state)
{
    struct desk *d = *state;
    struct digest v1 = push(d, "v1"), v2 = push(d, "v2");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    assert_int_equal(is_signed(d, "", &v1), 0);
    stop_service(d);
    d->config.signer.timestamp_lifetime_s = 3600;
    assert_code(publish(d, fx_targets, err), E_NETWORK); /* signed or not: nobody knows */
    assert_int_equal(is_signed(d, "", &v1), E_CONFLICT);
    assert_int_equal(is_signed(d, "", &v2), 0);
    int64_t later_s = *d->f.now_s + 3599;
    toy_ok(index_write(d->registry.index, release_old, &later_s, err));
    assert_int_equal(is_signed(d, "", &v1), E_CONFLICT);
    later_s++;
    toy_ok(index_write(d->registry.index, release_old, &later_s, err));
    assert_int_equal(is_signed(d, "", &v1), 0);
    start_service(d);
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(is_signed(d, "", &v1), E_DENIED);
    /* Withdrawn again, nothing of the publication is left. */
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    toy_bump(targets);
    js_remove(js_edit(targets->tree, "targets"), "v1");
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(is_signed(d, "", &v1), 0);
}

/* The service has signed, then the registry was killed before it stored the set. */
static void cut_off_publication_is_adopted(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    struct tuf_file changes[FX_MAX_CHANGES];
    struct digest v1 = push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    size_t n = fx_changes(&d->f, fx_targets, changes);
    toy_ok(signer_link_publish(d->registry.signer, FX_COLLECTION, changes, n, &set, err));
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);

    /* The same publication again ends with the same bytes. */
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(is_signed(d, "v1", &v1), E_DENIED);
}

static void service_ahead_then_another_publication(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    struct tuf_file changes[FX_MAX_CHANGES];
    push(d, "v1");
    push(d, "v2");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    size_t n = fx_changes(&d->f, fx_targets, changes);
    toy_ok(signer_link_publish(d->registry.signer, FX_COLLECTION, changes, n, &set, err));
    /* Somebody else publishes their own version 2: refused, and the cut-off one becomes visible. */
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    toy_target(&d->f.repo, "targets", "v2", "v2");
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), E_CONFLICT);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    toy_bump(targets);
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), 0);
}

static void timestamps_are_renewed(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    int64_t version = stored_version(d, "timestamp", TUF_TIMESTAMP);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), version);
    *d->f.now_s += FX_TIMESTAMP / 2 + 60;
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_true(stored_version(d, "timestamp", TUF_TIMESTAMP) > version);
    *d->f.now_s += 3 * FX_TIMESTAMP; /* also long after it expired, and targets with it */
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);
}

static void due_at_half_life(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    assert_int_equal(n_due(d), 0);
    *d->f.now_s += FX_TIMESTAMP / 2 + 1;
    assert_int_equal(n_due(d), 1);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(n_due(d), 0);
}

static void withdrawn_targets_can_be_deleted(void **state)
{
    struct desk *d = *state;
    struct digest v1 = push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(is_signed(d, "v1", &v1), E_DENIED);
    struct toy_role *targets = toy_role(&d->f.repo, "targets");
    toy_bump(targets);
    js_remove(js_edit(targets->tree, "targets"), "v1");
    toy_sign(targets);
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(is_signed(d, "v1", &v1), 0);
}

/* What the service leaves out because it should be here. */
static void ask_for_content(struct desk *d, struct signer_set *set)
{
    for (size_t i = 0; i < set->n_files; i++) {
        CLEANUP(signer_set_done) struct signer_set file = {NULL, 0};
        const char *const name = set->files[i].role;
        if (set->files[i].data.len)
            continue;
        toy_ok(signer_link_files(d->registry.signer, FX_COLLECTION, &name, 1, &file, err));
        assert_int_equal(file.n_files, 1);
        assert_string_equal(file.files[0].role, name);
        assert_int_equal(file.files[0].version, set->files[i].version);
        bytes_done(&set->files[i].data);
        set->files[i].data = bytes_take(&file.files[0].data);
        assert_true(set->files[i].data.len > 0);
    }
}

/* The service took a change that never got here: a set that leaves it out must not be stored. */
static void sets_without_content_are_completed(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    CLEANUP(cleanup_free) const char **names = NULL;
    struct tuf_file changes[FX_MAX_CHANGES];
    struct index_tx *tx = NULL;
    size_t n = 0;
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    size_t n_changes = fx_changes(&d->f, fx_targets, changes);
    toy_ok(signer_link_publish(d->registry.signer, FX_COLLECTION, changes, n_changes, &set, err));
    toy_ok(index_read_begin(d->registry.index, &tx, err));
    toy_ok(trust_set_missing(tx, FX_COLLECTION, &set, &names, &n, err));
    index_read_end(d->registry.index, tx);
    assert_int_equal(n, 1);
    assert_string_equal(names[0], "targets");
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, err), E_CONFLICT);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);
    /* Said to be an older version that is here: not what the snapshot names. */
    for (size_t i = 0; i < set.n_files; i++)
        if (strcmp(set.files[i].role, "targets") == 0)
            set.files[i].version = 1;
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, err), E_ROLLBACK);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), 1);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), 2);
}

/* The same change again, as after an answer that got lost: done already. */
static void publication_that_is_here_succeeds_again(void **state)
{
    struct desk *d = *state;
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), 2);
}

/* A set that did not come from our service: changed bytes, another root, or simply older. */
static void foreign_sets_are_refused(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    assert_code(publish(d, fx_first, err), 0);
    *d->f.now_s += FX_TIMESTAMP / 2 + 60;
    toy_ok(signer_link_refresh(d->registry.signer, FX_COLLECTION, &set, err));
    ask_for_content(d, &set);
    for (size_t i = 0; i < set.n_files; i++) {
        struct bytes *data = &set.files[i].data;
        data->data[data->len / 2] ^= 1;
        struct error err = ERROR_INIT;
        if (trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, &err) == 0)
            fail_msg("a changed '%s' was stored", set.files[i].role);
        data->data[data->len / 2] ^= 1;
    }
    assert_code(trust_set_store(d->registry.index, "acme/other", &set, NULL, err), E_BINDING);
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, err), 0);
    int64_t version = stored_version(d, "timestamp", TUF_TIMESTAMP);
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, err), 0);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), version);
    char *role = set.files[0].role;
    set.files[0].role = strdup("nobody");
    assert_true(trust_set_store(d->registry.index, FX_COLLECTION, &set, NULL, NULL) != 0);
    free(set.files[0].role);
    set.files[0].role = role;
}

/* Two publications, of which the earlier one's set arrives last: nothing goes back. */
static void overtaken_sets_change_nothing(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set early = {NULL, 0};
    struct digest v1 = push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    toy_ok(signer_link_refresh(d->registry.signer, FX_COLLECTION, &early, err));
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &early, NULL, err), 0);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(is_signed(d, "v1", &v1), E_DENIED);
}

static void root_rotation(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    static const char *const root_only[] = {"root", NULL};
    struct toy_role *root = toy_role(&d->f.repo, "root");
    assert_code(publish(d, fx_first, err), 0);
    toy_bump(root);
    toy_sign(root);
    assert_code(publish_as(d, root_only, false, err), 0);
    assert_int_equal(stored(d, "root", 1, &data), 0); /* the chain stays */
    assert_int_equal(stored(d, "root", 2, &data), 0);
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 2);
}

static void notary_is_named(void **state)
{
    (void)state;
    static const char notary[] =
        "{\"signed\":{\"_type\":\"Root\",\"version\":1},\"signatures\":[]}";
    static const char tuf[] = "{\"signed\":{\"_type\":\"root\",\"version\":1},\"signatures\":[]}";
    struct error err = ERROR_INIT;
    assert_int_equal(publish_check_form(notary, sizeof notary - 1, &err), E_INVALID);
    assert_non_null(strstr(err.message, "Notary v1"));
    assert_int_equal(publish_check_form(tuf, sizeof tuf - 1, NULL), 0);
    assert_int_equal(publish_check_form("no json", 7, NULL), 0);
}

#define desk_test(name) cmocka_unit_test_setup_teardown(name, desk_setup, desk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        desk_test(first_root_needs_admin),
        desk_test(exact_bytes_are_kept),
        desk_test(targets_must_be_in_the_repository),
        desk_test(length_must_agree),
        desk_test(refused_changes_change_nothing),
        desk_test(service_away),
        desk_test(what_may_be_signed_is_not_removed),
        desk_test(cut_off_publication_is_adopted),
        desk_test(service_ahead_then_another_publication),
        desk_test(timestamps_are_renewed),
        desk_test(due_at_half_life),
        desk_test(withdrawn_targets_can_be_deleted),
        desk_test(sets_without_content_are_completed),
        desk_test(publication_that_is_here_succeeds_again),
        desk_test(foreign_sets_are_refused),
        desk_test(overtaken_sets_change_nothing),
        desk_test(root_rotation),
        cmocka_unit_test(notary_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

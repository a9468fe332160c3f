/*
 * Registry and signing service keep step, whichever of the two comes back from a copy.
 */
#include "tests/unit/registry/publish_fixture.h"

/* --- a service that comes back from a copy --- */

/* The service came back from a copy with older timestamps: what it signs cannot be served, and
 * nobody is told that it was published. */
static void restored_service_publishes_nothing(void **state)
{
    struct desk *d = *state;
    push(d, "v1");
    toy_set_text(toy_role(&d->f.repo, "targets"), "expires", "2030-01-01T00:00:00Z");
    toy_sign(toy_role(&d->f.repo, "targets"));
    assert_code(publish(d, fx_first, err), 0);
    stop_service(d);
    copy_store(d, "signer.db", "copy");
    start_service(d);
    for (int i = 0; i < 4; i++) {
        *d->f.now_s += FX_TIMESTAMP / 2 + 60;
        assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    }
    int64_t timestamp = stored_version(d, "timestamp", TUF_TIMESTAMP);
    stop_service(d);
    copy_store(d, "copy", "signer.db");
    start_service(d);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), E_STALE);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 1);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), timestamp);
}

/* The same, after the restored service has overtaken the published timestamp with new ones of its
 * own: their snapshot is still older than the published one. */
static void restored_service_replaces_nothing(void **state)
{
    struct desk *d = *state;
    push(d, "v1");
    toy_set_text(toy_role(&d->f.repo, "targets"), "expires", "2030-01-01T00:00:00Z");
    toy_sign(toy_role(&d->f.repo, "targets"));
    assert_code(publish(d, fx_first, err), 0);
    stop_service(d);
    copy_store(d, "signer.db", "copy");
    start_service(d);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    int64_t snapshot = stored_version(d, "snapshot", TUF_SNAPSHOT);
    stop_service(d);
    copy_store(d, "copy", "signer.db");
    start_service(d);
    for (int i = 0; i < 4; i++) {
        struct error ignored = ERROR_INIT;
        *d->f.now_s += FX_TIMESTAMP / 2 + 60;
        if (publish_refresh(&d->registry, FX_COLLECTION, &ignored) == 0)
            continue;
        assert_int_equal(ignored.code, E_STALE);
    }
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), snapshot);
}

/* --- a registry that does --- */

/* Each of the three roots replaced a key, so none can be left out. */
static void restored_registry_follows_all_roots(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    registry_close(&d->registry);
    copy_index(d, INDEX_FILE_NAME, "copy.db");
    reopen(d);
    for (int i = 0; i < 3; i++)
        rotate_root(d);
    int64_t newest = stored_version(d, "timestamp", TUF_TIMESTAMP);
    registry_close(&d->registry);
    copy_index(d, "copy.db", INDEX_FILE_NAME);
    reopen(d);
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 1);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 4);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), newest);
    for (int64_t version = 1; version <= 4; version++) {
        CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
        assert_int_equal(stored(d, "root", version, &data), 0);
    }
    rotate_root(d); /* and goes on */
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 5);
}

/* A registry that never knew the collection serves the chain from its first root. */
static void empty_registry_gets_the_whole_chain(void **state)
{
    struct desk *d = *state;
    registry_close(&d->registry);
    copy_index(d, INDEX_FILE_NAME, "copy.db");
    reopen(d);
    assert_code(publish(d, fx_first, err), 0);
    rotate_root(d);
    rotate_root(d);
    registry_close(&d->registry);
    copy_index(d, "copy.db", INDEX_FILE_NAME);
    reopen(d);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    for (int64_t version = 1; version <= 3; version++) {
        CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
        assert_int_equal(stored(d, "root", version, &data), 0);
    }
}

static void roots_that_do_not_lead_there_are_refused(void **state)
{
    struct desk *d = *state;
    CLEANUP(signer_set_done) struct signer_set roots = {NULL, 0}, set = {NULL, 0};
    assert_code(publish(d, fx_first, err), 0);
    registry_close(&d->registry);
    copy_index(d, INDEX_FILE_NAME, "copy.db");
    reopen(d);
    for (int i = 0; i < 3; i++)
        rotate_root(d);
    registry_close(&d->registry);
    copy_index(d, "copy.db", INDEX_FILE_NAME);
    reopen(d);
    toy_ok(signer_link_roots(d->registry.signer, FX_COLLECTION, 1, &roots, err));
    toy_ok(signer_link_refresh(d->registry.signer, FX_COLLECTION, &set, err));
    assert_int_equal(roots.n_files, 3);
    struct signer_set one = {roots.files + 1, 2}, none = {NULL, 0};
    assert_true(trust_set_store(d->registry.index, FX_COLLECTION, &set, &one, NULL) != 0);
    assert_true(trust_set_store(d->registry.index, FX_COLLECTION, &set, &none, NULL) != 0);
    roots.files[1].data.data[roots.files[1].data.len / 2] ^= 1;
    assert_true(trust_set_store(d->registry.index, FX_COLLECTION, &set, &roots, NULL) != 0);
    assert_int_equal(stored_version(d, "root", TUF_ROOT), 1);
    roots.files[1].data.data[roots.files[1].data.len / 2] ^= 1;
    assert_code(trust_set_store(d->registry.index, FX_COLLECTION, &set, &roots, err), 0);
}

static void sync_all(struct desk *d)
{
    atomic_bool end = false;
    toy_ok(trust_sync_run(&d->registry, &end, err));
    assert_true(atomic_load(&d->registry.trust_synced));
}

/* An older index was put in place without anybody saying so, and nothing in it is due. */
static void put_back_index_catches_up(void **state)
{
    struct desk *d = *state;
    CLEANUP(bytes_done) struct bytes first = BYTES_INIT, second = BYTES_INIT;
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    sync_all(d);
    assert_int_equal(n_due(d), 0); /* nothing was new: nothing is asked for again */
    registry_close(&d->registry);
    copy_index(d, INDEX_FILE_NAME, "copy.db");
    reopen(d);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    assert_int_equal(stored(d, "timestamp", 0, &first), 0);
    registry_close(&d->registry);
    copy_index(d, "copy.db", INDEX_FILE_NAME);
    reopen(d);
    assert_int_equal(stored_version(d, "timestamp", TUF_TIMESTAMP), 1);
    assert_int_equal(n_due(d), 0);
    sync_all(d);
    assert_int_equal(stored(d, "timestamp", 0, &second), 0);
    assert_true(bytes_equal(first.data, first.len, second.data, second.len));
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
}

static void state_versions(struct desk *d, int64_t version)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    const struct service_statement statement = {.collection = FX_COLLECTION,
                                                .versions = {version, version}};
    bool settled = true;
    toy_ok(db_open(scratch_name(d->f.dir, "signer.db"), 0, &db, err));
    toy_ok(service_memory_state(db, &statement, &settled, err));
    assert_false(settled);
}

/* The service's whole folder was put back: it cannot know, and this registry proves it. */
static void forgetful_service_is_shown(void **state)
{
    struct desk *d = *state;
    push(d, "v1");
    assert_code(publish(d, fx_first, err), 0);
    stop_service(d);
    copy_store(d, "signer.db", "copy");
    copy_store(d, "last-signed", "copy-mark");
    start_service(d);
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), 0);
    sync_all(d);
    stop_service(d);
    copy_store(d, "copy", "signer.db");
    copy_store(d, "copy-mark", "last-signed");
    start_service(d);
    sync_all(d);
    assert_int_equal(n_due(d), 1); /* its log is shorter than it was */
    fx_next_targets(&d->f, "v1");
    assert_code(publish(d, fx_targets, err), E_STALE);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), E_STALE);
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 2);
    state_versions(d, 2);
    assert_code(publish(d, fx_targets, err), 0); /* after it took over what it had forgotten */
    assert_int_equal(stored_version(d, "targets", TUF_TARGETS), 3);
    assert_int_equal(stored_version(d, "snapshot", TUF_SNAPSHOT), 3);
}

static int all_due(struct index_tx *tx, void *arg, struct error *err)
{
    (void)arg;
    return index_trust_all_due(tx, err);
}

/* Everything counts as due after a restore; what is there already is settled by one question. */
static void nothing_stays_due(void **state)
{
    struct desk *d = *state;
    assert_code(publish(d, fx_first, err), 0);
    assert_int_equal(n_due(d), 0);
    toy_ok(index_write(d->registry.index, all_due, NULL, err));
    assert_int_equal(n_due(d), 1);
    assert_code(publish_refresh(&d->registry, FX_COLLECTION, err), 0);
    assert_int_equal(n_due(d), 0);
}

#define desk_test(name) cmocka_unit_test_setup_teardown(name, desk_setup, desk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        desk_test(restored_service_publishes_nothing),
        desk_test(restored_service_replaces_nothing),
        desk_test(restored_registry_follows_all_roots),
        desk_test(empty_registry_gets_the_whole_chain),
        desk_test(roots_that_do_not_lead_there_are_refused),
        desk_test(put_back_index_catches_up),
        desk_test(forgetful_service_is_shown),
        desk_test(nothing_stays_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Keys that replace others: made, waiting, listed by a root, in force. */
#include "signer/service_rotate.h"
#include "tests/unit/signer/service_fixture.h"
#include "tuf/trusted.h"

static const char *const only_root[] = {"root", NULL};
static const char *const root_and_targets[] = {"root", "targets", NULL};

static struct public_key *new_key(struct fixture *f, enum tuf_type role, bool another)
{
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    const struct protocol_request request = {
        .kind = PROTOCOL_NEW_KEY, .collection = FX_COLLECTION, .role = role, .another = another};
    toy_ok(service_new_key(f->service, &request, &json, err));
    return fx_parse_key(&json);
}

/* The next version of root, with these keys. */
static void next_root(struct fixture *f, const struct public_key *snapshot,
                      const struct public_key *timestamp)
{
    struct toy_role *root = toy_role(&f->repo, "root");
    toy_bump(root);
    fx_root_lists(&f->repo, snapshot, timestamp, 1);
    toy_sign(root);
}

static void assert_in_force(struct fixture *f, enum tuf_type role, const struct public_key *key)
{
    CLEANUP(public_key_cleanup) struct public_key *now = fx_key(f, FX_COLLECTION, role);
    assert_true(public_key_equal(now, key));
}

static void feed(struct tuf_trusted *t, const struct signer_set *set)
{
    bool changed = false;
    const struct bytes *b = fx_bytes(set, "timestamp");
    toy_ok(tuf_trusted_update_timestamp(t, b->data, b->len, &changed, err));
    b = fx_bytes(set, "snapshot");
    toy_ok(tuf_trusted_update_snapshot(t, b->data, b->len, err));
    b = fx_bytes(set, "targets");
    toy_ok(tuf_trusted_update_targets(t, "targets", NULL, b->data, b->len, err));
}

/* A client that holds `before` follows the root to `after`; *changed tells what 5.3.11 tells. */
static void assert_client_follows(struct fixture *f, const struct signer_set *before,
                                  const struct signer_set *after, bool *changed)
{
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = NULL;
    const struct tuf_trusted_options options = {.now_s = *f->now_s, .collection = FX_COLLECTION};
    const struct bytes *b = fx_bytes(before, "root");
    toy_ok(tuf_trusted_new(&options, b->data, b->len, &t, err));
    b = fx_bytes(after, "root");
    toy_ok(tuf_trusted_update_root(t, b->data, b->len, changed, err));
    toy_ok(tuf_trusted_finish_root(t, err));
    if (!*changed) { /* what is stored binds */
        b = fx_bytes(before, "timestamp");
        toy_ok(tuf_trusted_load_timestamp(t, b->data, b->len, err));
        b = fx_bytes(before, "snapshot");
        toy_ok(tuf_trusted_load_snapshot(t, b->data, b->len, err));
    }
    feed(t, after);
}

static void assert_signed_by(const struct signer_set *set, const char *role,
                             const struct public_key *key, bool expected)
{
    struct key_id id;
    toy_ok(public_key_id(key, &id, err));
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    const struct bytes *file = fx_bytes(set, role);
    toy_ok(bytes_append(&text, file->data, file->len, err));
    assert_int_equal(strstr(bytes_text(&text), id.text) != NULL, expected);
}

/* --- waiting --- */

static void a_waiting_key_stays_the_same_and_signs_nothing(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set first = {0};
    CLEANUP(signer_set_done) struct signer_set second = {0};
    fx_publish_first(f, &first);
    CLEANUP(public_key_cleanup) struct public_key *waiting = new_key(f, TUF_SNAPSHOT, false);
    assert_false(public_key_equal(waiting, f->snapshot_key));
    CLEANUP(public_key_cleanup) struct public_key *again = new_key(f, TUF_SNAPSHOT, false);
    assert_true(public_key_equal(waiting, again));
    fx_restart(f);
    CLEANUP(public_key_cleanup) struct public_key *later = new_key(f, TUF_SNAPSHOT, false);
    assert_true(public_key_equal(waiting, later));
    CLEANUP(public_key_cleanup) struct public_key *other = new_key(f, TUF_TIMESTAMP, false);
    assert_false(public_key_equal(waiting, other));
    assert_in_force(f, TUF_SNAPSHOT, f->snapshot_key);
    /* Never published: everything goes on as if nobody had asked. */
    fx_next_targets(f, "v2");
    toy_ok(fx_publish(f, fx_targets, &second, err));
    assert_signed_by(&second, "snapshot", f->snapshot_key, true);
    assert_signed_by(&second, "timestamp", f->timestamp_key, true);
    assert_in_force(f, TUF_TIMESTAMP, f->timestamp_key);
    CLEANUP(public_key_cleanup) struct public_key *still = new_key(f, TUF_SNAPSHOT, false);
    assert_true(public_key_equal(waiting, still));
}

static void another_key_replaces_the_waiting_one(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(signer_set_done) struct signer_set refused = {0};
    struct error why = ERROR_INIT;
    struct key_id id;
    fx_publish_first(f, &set);
    CLEANUP(public_key_cleanup) struct public_key *stolen = new_key(f, TUF_TIMESTAMP, false);
    CLEANUP(public_key_cleanup) struct public_key *good = new_key(f, TUF_TIMESTAMP, true);
    assert_false(public_key_equal(stolen, good));
    /* A root that was prepared with the one before is refused, and says what it needs. */
    next_root(f, f->snapshot_key, stolen);
    assert_int_equal(fx_publish(f, only_root, &refused, &why), E_INVALID);
    toy_ok(public_key_id(good, &id, err));
    assert_non_null(strstr(why.message, id.text));
    toy_ok(public_key_id(f->timestamp_key, &id, err));
    assert_non_null(strstr(why.message, id.text));
    assert_in_force(f, TUF_TIMESTAMP, f->timestamp_key);
}

/* Nothing is published, so no key is in force: the next root is the first. */
static void before_the_first_root(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(public_key_cleanup) struct public_key *same = new_key(f, TUF_SNAPSHOT, false);
    assert_true(public_key_equal(same, f->snapshot_key));
    CLEANUP(public_key_cleanup) struct public_key *another = new_key(f, TUF_SNAPSHOT, true);
    assert_false(public_key_equal(another, f->snapshot_key));
    assert_in_force(f, TUF_SNAPSHOT, another);
    assert_code(fx_publish(f, fx_first, &set, err), E_INVALID);
    fx_root_lists(&f->repo, another, f->timestamp_key, 1);
    toy_sign(toy_role(&f->repo, "root"));
    fx_publish_first(f, &set);
    assert_signed_by(&set, "snapshot", another, true);
}

static void no_key_for_other_roles(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    struct protocol_request request = {
        .kind = PROTOCOL_NEW_KEY, .collection = FX_COLLECTION, .role = TUF_TARGETS};
    assert_code(service_new_key(f->service, &request, &json, err), E_INVALID);
    request.role = TUF_SNAPSHOT;
    memcpy(request.collection, "No/Name", sizeof "No/Name");
    assert_code(service_new_key(f->service, &request, &json, err), E_INVALID);
    assert_int_equal(json.len, 0);
}

/* --- in force --- */

static void a_root_puts_it_in_force(void **state)
{
    struct fixture *f = *state;
    bool changed = false;
    CLEANUP(signer_set_done) struct signer_set first = {0};
    CLEANUP(signer_set_done) struct signer_set second = {0};
    CLEANUP(signer_set_done) struct signer_set again = {0};
    fx_publish_first(f, &first);
    CLEANUP(public_key_cleanup) struct public_key *snapshot = new_key(f, TUF_SNAPSHOT, false);
    next_root(f, snapshot, f->timestamp_key);
    toy_ok(fx_publish(f, only_root, &second, err));
    assert_signed_by(&second, "snapshot", snapshot, true);
    assert_signed_by(&second, "snapshot", f->snapshot_key, false);
    assert_signed_by(&second, "timestamp", f->timestamp_key, true);
    assert_int_equal(fx_version(&second, "snapshot"), 2);
    assert_client_follows(f, &first, &second, &changed);
    assert_true(changed);
    assert_in_force(f, TUF_SNAPSHOT, snapshot);
    /* The same bytes again, also for a service that was killed after it had stored them. */
    fx_restart(f);
    toy_ok(fx_publish(f, only_root, &again, err));
    assert_true(service_set_equal(&second, &again));
    /* The next one is another key, and renewal signs with the one in force. */
    CLEANUP(public_key_cleanup) struct public_key *third = new_key(f, TUF_SNAPSHOT, false);
    assert_false(public_key_equal(third, snapshot));
    *f->now_s += FX_SNAPSHOT - 1;
    signer_set_done(&again);
    toy_ok(service_refresh(f->service, FX_COLLECTION, &again, err));
    assert_int_equal(fx_version(&again, "snapshot"), 3);
    assert_signed_by(&again, "snapshot", snapshot, true);
}

static void both_at_once(void **state)
{
    struct fixture *f = *state;
    bool changed = false;
    CLEANUP(signer_set_done) struct signer_set first = {0};
    CLEANUP(signer_set_done) struct signer_set second = {0};
    fx_publish_first(f, &first);
    CLEANUP(public_key_cleanup) struct public_key *snapshot = new_key(f, TUF_SNAPSHOT, false);
    CLEANUP(public_key_cleanup) struct public_key *timestamp = new_key(f, TUF_TIMESTAMP, false);
    next_root(f, snapshot, timestamp);
    fx_next_targets(f, "v2");
    toy_ok(fx_publish(f, root_and_targets, &second, err));
    assert_signed_by(&second, "snapshot", snapshot, true);
    assert_signed_by(&second, "timestamp", timestamp, true);
    assert_client_follows(f, &first, &second, &changed);
    assert_true(changed);
}

/* Old and new together: the new one signs, and the old one is forgotten all the same. */
static void a_root_that_lists_both(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    struct tuf_compose_role role;
    fx_publish_first(f, &set);
    CLEANUP(public_key_cleanup) struct public_key *waiting = new_key(f, TUF_SNAPSHOT, false);
    next_root(f, f->snapshot_key, f->timestamp_key);
    const struct public_key *keys[] = {f->snapshot_key, waiting};
    role = (struct tuf_compose_role){keys, 2, 1};
    struct js *tree = toy_role(&f->repo, "root")->tree;
    toy_ok(tuf_compose_role_keys(js_edit(tree, "keys"), js_edit(js_edit(tree, "roles"), "snapshot"),
                                 &role, err));
    toy_sign(toy_role(&f->repo, "root"));
    signer_set_done(&set);
    toy_ok(fx_publish(f, only_root, &set, err));
    assert_signed_by(&set, "snapshot", waiting, true);
    assert_in_force(f, TUF_SNAPSHOT, waiting);
}

/* The old key cannot come back: the service has forgotten it. */
static void a_root_with_the_old_key(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(signer_set_done) struct signer_set refused = {0};
    CLEANUP(signer_set_done) struct signer_set now = {0};
    fx_publish_first(f, &set);
    CLEANUP(public_key_cleanup) struct public_key *waiting = new_key(f, TUF_SNAPSHOT, false);
    next_root(f, waiting, f->timestamp_key);
    signer_set_done(&set);
    toy_ok(fx_publish(f, only_root, &set, err));
    next_root(f, f->snapshot_key, f->timestamp_key);
    assert_code(fx_publish(f, only_root, &refused, err), E_INVALID);
    toy_ok(service_refresh(f->service, FX_COLLECTION, &now, err));
    assert_true(service_set_equal(&set, &now));
}

/* --- versions --- */

/* The set of the store with these versions, as if somebody had run ahead with the service's keys.
 */
static void run_ahead(struct fixture *f, int64_t snapshot, int64_t timestamp)
{
    CLEANUP(service_keyring_cleanup) struct service_keyring *ring = NULL;
    CLEANUP(service_store_cleanup) struct service_store *store = NULL;
    CLEANUP(service_collection_done) struct service_collection c = {0};
    CLEANUP(secret_done) struct secret secret = SECRET_INIT;
    service_cleanup(&f->service);
    toy_ok(secret_copy(FX_PASSPHRASE, strlen(FX_PASSPHRASE), &secret, err));
    toy_ok(service_keyring_new(&secret, &ring, err));
    toy_ok(service_store_open(scratch_name(f->dir, "signer.db"), ring, &store, err));
    toy_ok(service_store_load(store, FX_COLLECTION, &c, err));
    for (size_t i = 0; i < c.set.n_files; i++) {
        if (strcmp(c.set.files[i].role, "snapshot") == 0)
            c.set.files[i].version = snapshot;
        if (strcmp(c.set.files[i].role, "timestamp") == 0)
            c.set.files[i].version = timestamp;
    }
    toy_ok(service_store_save(store, &c, err));
    service_store_cleanup(&store);
    service_keyring_cleanup(&ring);
    fx_open(f);
}

static void the_last_version_is_not_the_end(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(signer_set_done) struct signer_set next = {0};
    fx_publish_first(f, &set);
    run_ahead(f, TUF_MAX_VERSION, TUF_MAX_VERSION);
    fx_next_targets(f, "v2");
    assert_code(fx_publish(f, fx_targets, &next, err), E_LIMIT);
    /* One new key does not restart what the other one signs: that would be two files of a version.
     */
    CLEANUP(public_key_cleanup) struct public_key *timestamp = new_key(f, TUF_TIMESTAMP, false);
    next_root(f, f->snapshot_key, timestamp);
    assert_code(fx_publish(f, root_and_targets, &next, err), E_LIMIT);
    CLEANUP(public_key_cleanup) struct public_key *snapshot = new_key(f, TUF_SNAPSHOT, false);
    fx_root_lists(&f->repo, snapshot, timestamp, 1);
    toy_sign(toy_role(&f->repo, "root"));
    toy_ok(fx_publish(f, root_and_targets, &next, err));
    assert_int_equal(fx_version(&next, "snapshot"), 1);
    assert_int_equal(fx_version(&next, "timestamp"), 1);
    assert_int_equal(fx_version(&next, "targets"), 2);
}

/* A history that can be true is followed by its next version, whatever the keys. */
static void honest_versions_go_on(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(signer_set_done) struct signer_set next = {0};
    fx_publish_first(f, &set);
    run_ahead(f, 1000000, 2000000000);
    CLEANUP(public_key_cleanup) struct public_key *snapshot = new_key(f, TUF_SNAPSHOT, false);
    CLEANUP(public_key_cleanup) struct public_key *timestamp = new_key(f, TUF_TIMESTAMP, false);
    next_root(f, snapshot, timestamp);
    toy_ok(fx_publish(f, only_root, &next, err));
    assert_int_equal(fx_version(&next, "snapshot"), 1000001);
    assert_int_equal(fx_version(&next, "timestamp"), 2000000001);
}

/* Root lists a second key beside the service's, which a thief has: clients that believed its
 * versions come back with the root that drops it. */
static void clients_of_a_thief_come_back(void **state)
{
    struct fixture *f = *state;
    CLEANUP(signer_set_done) struct signer_set first = {0};
    CLEANUP(signer_set_done) struct signer_set next = {0};
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = NULL;
    const struct tuf_trusted_options options = {.now_s = *f->now_s, .collection = FX_COLLECTION};
    struct toy_role *thief = toy_role(&f->repo, "timestamp");
    bool changed = false;
    fx_publish_first(f, &first);
    toy_set_int(toy_role(&f->repo, "snapshot"), "version", TUF_MAX_VERSION - 1);
    toy_set_int(thief, "version", TUF_MAX_VERSION - 1);
    toy_publish_online(&f->repo);
    const struct bytes *b = fx_bytes(&first, "root");
    toy_ok(tuf_trusted_new(&options, b->data, b->len, &t, err));
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_ok(tuf_trusted_load_timestamp(t, thief->file.data, thief->file.len, err));
    b = fx_bytes(&first, "timestamp");
    assert_code(tuf_trusted_update_timestamp(t, b->data, b->len, &changed, err), E_ROLLBACK);
    CLEANUP(public_key_cleanup) struct public_key *snapshot = new_key(f, TUF_SNAPSHOT, false);
    CLEANUP(public_key_cleanup) struct public_key *timestamp = new_key(f, TUF_TIMESTAMP, false);
    next_root(f, snapshot, timestamp);
    toy_ok(fx_publish(f, only_root, &next, err));
    b = fx_bytes(&next, "root");
    toy_ok(tuf_trusted_update_root(t, b->data, b->len, &changed, err));
    assert_true(changed);
    toy_ok(tuf_trusted_finish_root(t, err));
    assert_int_equal(fx_version(&next, "timestamp"), 2);
    feed(t, &next);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_waiting_key_stays_the_same_and_signs_nothing),
        CASE(another_key_replaces_the_waiting_one),
        CASE(before_the_first_root),
        CASE(no_key_for_other_roles),
        CASE(a_root_puts_it_in_force),
        CASE(both_at_once),
        CASE(a_root_that_lists_both),
        CASE(a_root_with_the_old_key),
        CASE(the_last_version_is_not_the_end),
        CASE(honest_versions_go_on),
        CASE(clients_of_a_thief_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

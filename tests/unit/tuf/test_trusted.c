/* The client's state machine: TUF 5.2 to 5.6 and the bindings. */
#include "tests/support/tuf_repo.h"
#include "tuf/trusted.h"

#define COLLECTION "acme/app"

static struct toy_repo repo;

static int setup(void **state)
{
    (void)state;
    toy_init(&repo, COLLECTION);
    toy_target(&repo, "targets", "v1", "one");
    toy_publish(&repo);
    return 0;
}

static int setup_bare(void **state)
{
    (void)state;
    toy_init(&repo, NULL);
    repo.bare_meta = true;
    toy_target(&repo, "targets", "dir/file", "one");
    toy_publish(&repo);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_done(&repo);
    return 0;
}

#define ROOT          (&repo.roles[TUF_ROOT])
#define TIMESTAMP     (&repo.roles[TUF_TIMESTAMP])
#define SNAPSHOT      (&repo.roles[TUF_SNAPSHOT])
#define TARGETS       (&repo.roles[TUF_TARGETS])
#define FILE_OF(role) (role)->file.data, (role)->file.len

static struct tuf_trusted *start_at(int64_t now_s)
{
    struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {now_s, repo.collection};
    toy_ok(tuf_trusted_new(&options, FILE_OF(ROOT), &t, err));
    return t;
}

/* With a root that is final. */
static struct tuf_trusted *start(void)
{
    struct tuf_trusted *t = start_at(TOY_NOW);
    toy_ok(tuf_trusted_finish_root(t, err));
    return t;
}

static void expect(int wanted, int rc, const struct error *err)
{
    if (rc != wanted)
        fail_msg("expected %s, got %s: %s", error_name(wanted), error_name(rc), err->message);
}

#define EXPECT(code, call)                                                                         \
    do {                                                                                           \
        struct error e_ = ERROR_INIT, *err = &e_;                                                  \
        int rc_ = call;                                                                            \
        expect(code, rc_, err);                                                                    \
    } while (0)

static int update_timestamp(struct tuf_trusted *t, struct error *err)
{
    bool changed;
    return tuf_trusted_update_timestamp(t, FILE_OF(TIMESTAMP), &changed, err);
}

static int update_snapshot(struct tuf_trusted *t, struct error *err)
{
    return tuf_trusted_update_snapshot(t, FILE_OF(SNAPSHOT), err);
}

static int update_targets(struct tuf_trusted *t, struct error *err)
{
    return tuf_trusted_update_targets(t, "targets", NULL, FILE_OF(TARGETS), err);
}

/* All of the workflow; the first failure's code. */
static int refresh(struct tuf_trusted *t, struct error *err)
{
    int rc = update_timestamp(t, err);
    if (!rc)
        rc = update_snapshot(t, err);
    return rc ? rc : update_targets(t, err);
}

/* What a client keeps between two refreshes. */
struct store {
    struct bytes root, timestamp, snapshot;
};

static void store_done(struct store *s)
{
    bytes_done(&s->root);
    bytes_done(&s->timestamp);
    bytes_done(&s->snapshot);
}

static void store_fill(struct store *s)
{
    toy_ok(bytes_append(&s->root, FILE_OF(ROOT), err));
    toy_ok(bytes_append(&s->timestamp, FILE_OF(TIMESTAMP), err));
    toy_ok(bytes_append(&s->snapshot, FILE_OF(SNAPSHOT), err));
}

/* A client that has seen `s` and knows its root to be the last one. */
static struct tuf_trusted *resume(const struct store *s)
{
    struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {TOY_NOW, repo.collection};
    toy_ok(tuf_trusted_new(&options, s->root.data, s->root.len, &t, err));
    toy_ok(tuf_trusted_load_timestamp(t, s->timestamp.data, s->timestamp.len, err));
    toy_ok(tuf_trusted_load_snapshot(t, s->snapshot.data, s->snapshot.len, err));
    return t;
}

#define TRUSTED CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *
#define STORE   CLEANUP(store_done) struct store

/* --- the good case --- */

static void test_first_refresh(void **state)
{
    (void)state;
    TRUSTED t = start();
    assert_null(tuf_trusted_timestamp(t));
    assert_null(tuf_trusted_wanted_snapshot(t));
    bool changed = false;
    toy_ok(tuf_trusted_update_timestamp(t, FILE_OF(TIMESTAMP), &changed, err));
    assert_true(changed);
    assert_int_equal(tuf_trusted_wanted_snapshot(t)->version, 1);
    assert_null(tuf_trusted_wanted(t, "targets"));
    EXPECT(E_NOTFOUND, tuf_trusted_reuse_snapshot(t, err));
    toy_ok(update_snapshot(t, err));
    assert_int_equal(tuf_trusted_wanted(t, "targets")->version, 1);
    assert_null(tuf_trusted_targets(t, "targets"));
    toy_ok(update_targets(t, err));
    struct tuf_target target;
    assert_true(tuf_targets_find(tuf_trusted_targets(t, "targets"), "v1", &target));
    assert_int_equal(target.length, 3);
    assert_int_equal(tuf_metadata_version(tuf_trusted_root(t)), 1);
    assert_int_equal(tuf_metadata_version(tuf_trusted_snapshot(t)), 1);
}

static void test_bare_specification_needs_no_lengths_or_bindings(void **state)
{
    (void)state;
    TRUSTED t = start();
    toy_ok(refresh(t, err));
    assert_null(tuf_metadata_collection(tuf_trusted_root(t)));
    assert_int_equal(tuf_timestamp_snapshot(tuf_trusted_timestamp(t))->length, -1);
}

static void test_order_of_the_workflow_is_kept(void **state)
{
    (void)state;
    TRUSTED t = start_at(TOY_NOW);
    struct tuf_found found;
    EXPECT(E_INTERNAL, update_timestamp(t, err));
    toy_ok(tuf_trusted_finish_root(t, err));
    EXPECT(E_INTERNAL, update_snapshot(t, err));
    EXPECT(E_INTERNAL, tuf_trusted_reuse_snapshot(t, err));
    toy_ok(update_timestamp(t, err));
    EXPECT(E_INTERNAL, update_targets(t, err));
    EXPECT(E_INTERNAL, tuf_trusted_search(t, "v1", &found, err));
    EXPECT(E_INTERNAL, tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    EXPECT(E_INTERNAL, tuf_trusted_load_timestamp(t, FILE_OF(TIMESTAMP), err));
    toy_ok(update_snapshot(t, err));
    EXPECT(E_INTERNAL, update_snapshot(t, err));
    EXPECT(E_INTERNAL, update_timestamp(t, err));
}

/* --- root --- */

static void test_anchor_must_verify_itself(void **state)
{
    (void)state;
    struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {TOY_NOW, COLLECTION};
    ROOT->n_signers = 1; /* threshold in the file stays 2 */
    toy_sign(ROOT);
    EXPECT(E_SIGNATURE, tuf_trusted_new(&options, FILE_OF(ROOT), &t, err));
    assert_null(t);
}

static void test_expired_anchor_is_a_start_but_no_end(void **state)
{
    (void)state;
    toy_expire(ROOT);
    toy_publish(&repo);
    TRUSTED t = start_at(TOY_NOW);
    EXPECT(E_EXPIRED, tuf_trusted_finish_root(t, err));
    EXPECT(E_INTERNAL, update_timestamp(t, err));
    toy_bump(ROOT);
    toy_set_text(ROOT, "expires", "2026-01-01T00:00:00Z");
    toy_publish(&repo);
    toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_ok(refresh(t, err));
}

static void test_root_expires_at_its_second(void **state)
{
    (void)state;
    TRUSTED last = start_at(TOY_NOW + TOY_DAY - 1);
    TRUSTED late = start_at(TOY_NOW + TOY_DAY);
    toy_ok(tuf_trusted_finish_root(last, err));
    EXPECT(E_EXPIRED, tuf_trusted_finish_root(late, err));
}

static void test_expired_intermediate_root_is_passed(void **state)
{
    (void)state;
    TRUSTED t = start_at(TOY_NOW);
    toy_bump(ROOT);
    toy_expire(ROOT);
    toy_sign(ROOT);
    toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    toy_bump(ROOT);
    toy_set_text(ROOT, "expires", "2026-01-01T00:00:00Z");
    toy_sign(ROOT);
    toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    toy_ok(tuf_trusted_finish_root(t, err));
    assert_int_equal(tuf_metadata_version(tuf_trusted_root(t)), 3);
}

/* CVE-2025-2885 */
static void test_root_version_must_be_exactly_next(void **state)
{
    (void)state;
    TRUSTED t = start_at(TOY_NOW);
    static const int64_t wrong[] = {1, 3, 100};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        toy_set_int(ROOT, "version", wrong[i]);
        toy_sign(ROOT);
        EXPECT(E_ROLLBACK, tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
        assert_int_equal(tuf_metadata_version(tuf_trusted_root(t)), 1);
    }
}

static void test_new_root_needs_both_thresholds(void **state)
{
    (void)state;
    struct signing_key *old[2] = {ROOT->signers[0], ROOT->signers[1]};
    TRUSTED t = start_at(TOY_NOW);
    toy_bump(ROOT);
    ROOT->signers[0] = toy_key_new(&repo, KEY_ED25519);
    ROOT->signers[1] = toy_key_new(&repo, KEY_ED25519);
    toy_root_roles(&repo);
    toy_sign(ROOT); /* new keys only */
    EXPECT(E_SIGNATURE, tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    toy_sign_tree(ROOT->tree, old, 2, &ROOT->file); /* old keys only */
    EXPECT(E_SIGNATURE, tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    struct signing_key *three[3] = {old[0], old[1], ROOT->signers[0]};
    toy_sign_tree(ROOT->tree, three, 3, &ROOT->file); /* one of two new keys */
    EXPECT(E_SIGNATURE, tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    struct signing_key *four[4] = {old[0], old[1], ROOT->signers[0], ROOT->signers[1]};
    toy_sign_tree(ROOT->tree, four, 4, &ROOT->file);
    toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    assert_int_equal(tuf_metadata_version(tuf_trusted_root(t)), 2);
}

/* CVE-2020-15163: what was refused is not trusted afterwards, and the good one still is taken. */
static void test_refused_root_leaves_state_unchanged(void **state)
{
    (void)state;
    TRUSTED t = start_at(TOY_NOW);
    const struct tuf_metadata *before = tuf_trusted_root(t);
    struct signing_key *good[2] = {ROOT->signers[0], ROOT->signers[1]};
    toy_bump(ROOT);
    struct signing_key *evil[2] = {toy_key_new(&repo, KEY_ED25519),
                                   toy_key_new(&repo, KEY_ED25519)};
    toy_sign_tree(ROOT->tree, evil, 2, &ROOT->file);
    bool changed = true;
    EXPECT(E_SIGNATURE, tuf_trusted_update_root(t, FILE_OF(ROOT), &changed, err));
    assert_true(changed); /* outputs are left alone */
    assert_ptr_equal(tuf_trusted_root(t), before);
    toy_sign_tree(ROOT->tree, good, 2, &ROOT->file);
    toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), &changed, err));
    assert_false(changed);
}

static void test_no_more_rotations_than_the_limit(void **state)
{
    (void)state;
    TRUSTED t = start_at(TOY_NOW);
    for (int i = 0; i < TUF_MAX_ROOT_ROTATIONS; i++) {
        toy_bump(ROOT);
        toy_sign(ROOT);
        toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    }
    toy_bump(ROOT);
    toy_sign(ROOT);
    EXPECT(E_LIMIT, tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
}

/* --- fast-forward recovery: TUF 5.3.11 --- */

static void fast_forward(struct store *s)
{
    toy_set_int(TIMESTAMP, "version", 1000000);
    toy_set_int(SNAPSHOT, "version", 1000000);
    toy_publish(&repo);
    store_fill(s);
    toy_set_int(TIMESTAMP, "version", 2);
    toy_set_int(SNAPSHOT, "version", 2);
    toy_bump(ROOT);
}

static void recover_by_new_key(struct toy_role *role)
{
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    fast_forward(&s);
    role->signers[0] = toy_key_new(&repo, KEY_ED25519);
    toy_root_roles(&repo);
    toy_publish(&repo);
    TRUSTED t = resume(&s);
    bool changed = false;
    toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), &changed, err));
    assert_true(changed);
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_ok(refresh(t, err));
}

static void test_new_timestamp_key_ends_fast_forward(void **state)
{
    (void)state;
    recover_by_new_key(TIMESTAMP);
}

static void test_new_snapshot_key_ends_fast_forward(void **state)
{
    (void)state;
    recover_by_new_key(SNAPSHOT);
}

static void test_other_new_keys_keep_the_memory(void **state)
{
    (void)state;
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    fast_forward(&s);
    TARGETS->signers[0] = toy_key_new(&repo, KEY_ED25519);
    toy_root_roles(&repo);
    toy_publish(&repo);
    TRUSTED t = resume(&s);
    bool changed = true;
    toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), &changed, err));
    assert_false(changed);
    toy_ok(tuf_trusted_finish_root(t, err));
    EXPECT(E_ROLLBACK, refresh(t, err));
}

/* What one of two thieves' targets could do with fewer signatures must not outlive the raise. */
static void test_raised_timestamp_threshold_drops_what_is_stored(void **state)
{
    (void)state;
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    TIMESTAMP->signers[1] = toy_key_new(&repo, KEY_ED25519);
    TIMESTAMP->n_signers = 2;
    toy_root_roles(&repo);
    toy_publish(&repo);
    store_fill(&s);
    toy_bump(ROOT);
    TIMESTAMP->threshold = 2;
    toy_root_roles(&repo);
    toy_publish(&repo);
    TRUSTED t = resume(&s);
    bool changed = false;
    toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), &changed, err));
    assert_true(changed);
    toy_ok(tuf_trusted_finish_root(t, err));
    EXPECT(E_NO_TRUST, tuf_trusted_use_loaded_timestamp(t, 0, err));
}

/* --- timestamp --- */

static void test_timestamp_must_be_signed_by_root(void **state)
{
    (void)state;
    TRUSTED t = start();
    TIMESTAMP->signers[0] = SNAPSHOT->signers[0];
    toy_sign(TIMESTAMP);
    EXPECT(E_SIGNATURE, update_timestamp(t, err));
    assert_null(tuf_trusted_timestamp(t));
}

static void test_timestamp_rollback(void **state)
{
    (void)state;
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    toy_republish(&repo);
    store_fill(&s);
    TRUSTED t = resume(&s);
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_set_int(TIMESTAMP, "version", 1);
    toy_sign(TIMESTAMP);
    EXPECT(E_ROLLBACK, update_timestamp(t, err));
    assert_null(tuf_trusted_timestamp(t));
    toy_set_int(TIMESTAMP, "version", 3);
    toy_sign(TIMESTAMP);
    toy_ok(update_timestamp(t, err));
}

static void test_expired_stored_timestamp_still_stops_rollback(void **state)
{
    (void)state;
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    toy_expire(TIMESTAMP);
    toy_republish(&repo);
    store_fill(&s);
    TRUSTED t = resume(&s);
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_set_int(TIMESTAMP, "version", 1);
    toy_set_text(TIMESTAMP, "expires", "2026-01-01T00:00:00Z");
    toy_sign(TIMESTAMP);
    EXPECT(E_ROLLBACK, update_timestamp(t, err));
}

static void test_timestamp_with_older_snapshot(void **state)
{
    (void)state;
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    toy_republish(&repo);
    store_fill(&s);
    toy_set_int(SNAPSHOT, "version", 1);
    toy_set_int(TIMESTAMP, "version", 3);
    toy_publish(&repo);
    TRUSTED t = resume(&s);
    toy_ok(tuf_trusted_finish_root(t, err));
    EXPECT(E_ROLLBACK, update_timestamp(t, err));
}

/* The stored timestamp is lost, the stored snapshot is not. */
static void test_stored_snapshot_alone_stops_rollback(void **state)
{
    (void)state;
    toy_republish(&repo);
    TRUSTED t = start();
    toy_ok(tuf_trusted_load_snapshot(t, FILE_OF(SNAPSHOT), err));
    toy_set_int(SNAPSHOT, "version", 1);
    toy_publish(&repo);
    EXPECT(E_ROLLBACK, update_timestamp(t, err));
}

static void test_equal_timestamp_changes_nothing(void **state)
{
    (void)state;
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    store_fill(&s);
    TRUSTED t = resume(&s);
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_set_int(SNAPSHOT, "version", 7); /* another content under the same version */
    toy_publish(&repo);
    bool changed = true;
    toy_ok(tuf_trusted_update_timestamp(t, FILE_OF(TIMESTAMP), &changed, err));
    assert_false(changed);
    assert_int_equal(tuf_trusted_wanted_snapshot(t)->version, 1);
    toy_ok(tuf_trusted_reuse_snapshot(t, err));
    assert_int_equal(tuf_metadata_version(tuf_trusted_snapshot(t)), 1);
}

static void test_equal_timestamp_that_expired(void **state)
{
    (void)state;
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    toy_expire(TIMESTAMP);
    toy_publish(&repo);
    store_fill(&s);
    TRUSTED t = resume(&s);
    toy_ok(tuf_trusted_finish_root(t, err));
    EXPECT(E_EXPIRED, update_timestamp(t, err));
    toy_set_text(TIMESTAMP, "expires", "2026-01-01T00:00:00Z"); /* same version, later date */
    toy_sign(TIMESTAMP);
    EXPECT(E_EXPIRED, update_timestamp(t, err));
}

/* CVE-2025-2888: a refused timestamp is not kept, or the client would be stuck with it. */
static void test_refused_timestamp_is_forgotten(void **state)
{
    (void)state;
    TRUSTED t = start();
    toy_set_int(TIMESTAMP, "version", 1000);
    toy_expire(TIMESTAMP);
    toy_sign(TIMESTAMP);
    EXPECT(E_EXPIRED, update_timestamp(t, err));
    assert_null(tuf_trusted_timestamp(t));
    toy_set_int(TIMESTAMP, "version", 1);
    toy_set_text(TIMESTAMP, "expires", "2026-01-01T00:00:00Z");
    toy_sign(TIMESTAMP);
    toy_ok(update_timestamp(t, err));
}

static void test_local_clock_behind(void **state)
{
    (void)state;
    TRUSTED just = start_at(TOY_NOW - 300);
    TRUSTED behind = start_at(TOY_NOW - 301);
    toy_ok(tuf_trusted_finish_root(just, err));
    toy_ok(tuf_trusted_finish_root(behind, err));
    toy_ok(update_timestamp(just, err));
    EXPECT(E_CLOCK, update_timestamp(behind, err));
    assert_null(tuf_trusted_timestamp(behind));
    toy_ok(tuf_trusted_load_timestamp(behind, FILE_OF(TIMESTAMP), err));
    EXPECT(E_CLOCK, update_timestamp(behind, err)); /* equal version */
    EXPECT(E_CLOCK, tuf_trusted_use_loaded_timestamp(behind, TOY_DAY, err));
}

static void test_stored_timestamp_offline(void **state)
{
    (void)state;
    TRUSTED t = start();
    EXPECT(E_NO_TRUST, tuf_trusted_use_loaded_timestamp(t, 0, err));
    toy_ok(tuf_trusted_load_timestamp(t, FILE_OF(TIMESTAMP), err));
    toy_ok(tuf_trusted_load_snapshot(t, FILE_OF(SNAPSHOT), err));
    assert_null(tuf_trusted_timestamp(t));
    toy_ok(tuf_trusted_use_loaded_timestamp(t, 0, err));
    toy_ok(tuf_trusted_reuse_snapshot(t, err));
    toy_ok(update_targets(t, err));
}

static void test_grace_covers_the_timestamp_and_ends(void **state)
{
    (void)state;
    toy_set_text(ROOT, "expires", "2026-01-01T00:00:00Z");
    toy_publish(&repo);
    int64_t expiry = TOY_NOW + TOY_DAY;
    TRUSTED t = start_at(expiry);
    TRUSTED late = start_at(expiry + 10);
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_ok(tuf_trusted_finish_root(late, err));
    toy_ok(tuf_trusted_load_timestamp(t, FILE_OF(TIMESTAMP), err));
    toy_ok(tuf_trusted_load_timestamp(late, FILE_OF(TIMESTAMP), err));
    EXPECT(E_EXPIRED, tuf_trusted_use_loaded_timestamp(t, 0, err));
    EXPECT(E_INVALID, tuf_trusted_use_loaded_timestamp(t, -1, err));
    EXPECT(E_INVALID, tuf_trusted_use_loaded_timestamp(t, INT64_MAX, err));
    toy_ok(tuf_trusted_use_loaded_timestamp(t, 10, err));
    EXPECT(E_EXPIRED, tuf_trusted_use_loaded_timestamp(late, 10, err));
    toy_ok(tuf_trusted_load_snapshot(late, FILE_OF(SNAPSHOT), err));
    toy_ok(tuf_trusted_use_loaded_timestamp(late, 11, err));
    EXPECT(E_EXPIRED, tuf_trusted_reuse_snapshot(late, err)); /* grace is for the timestamp only */
}

static void test_stored_files_are_verified_again(void **state)
{
    (void)state;
    TRUSTED t = start();
    struct signing_key *good = TIMESTAMP->signers[0];
    TIMESTAMP->signers[0] = SNAPSHOT->signers[0];
    toy_sign(TIMESTAMP);
    EXPECT(E_SIGNATURE, tuf_trusted_load_timestamp(t, FILE_OF(TIMESTAMP), err));
    EXPECT(E_INVALID, tuf_trusted_load_snapshot(t, "{", 1, err));
    TIMESTAMP->signers[0] = good;
    toy_sign(TIMESTAMP);
    toy_ok(refresh(t, err));
}

/* --- snapshot --- */

static void test_snapshot_must_be_the_one_named(void **state)
{
    (void)state;
    TRUSTED t = start();
    toy_ok(update_timestamp(t, err));
    toy_set_text(SNAPSHOT, "x-else", "same version, other content");
    toy_sign(SNAPSHOT);
    EXPECT(E_DIGEST, update_snapshot(t, err));
    EXPECT(E_DIGEST, tuf_trusted_update_snapshot(t, "", 0, err));
    assert_null(tuf_trusted_snapshot(t));
}

static void test_snapshot_version_is_the_timestamps(void **state)
{
    (void)state;
    TRUSTED t = start(); /* no hashes here: the version alone decides */
    toy_ok(update_timestamp(t, err));
    static const int64_t wrong[] = {2, 7};
    for (size_t i = 0; i < 2; i++) {
        toy_set_int(SNAPSHOT, "version", wrong[i]);
        toy_sign(SNAPSHOT);
        EXPECT(E_ROLLBACK, update_snapshot(t, err));
    }
    toy_set_int(SNAPSHOT, "version", 1);
    toy_sign(SNAPSHOT);
    toy_ok(update_snapshot(t, err));
}

static void test_snapshot_must_be_signed_by_root(void **state)
{
    (void)state;
    SNAPSHOT->signers[0] = TIMESTAMP->signers[0];
    toy_publish(&repo);
    TRUSTED t = start();
    EXPECT(E_SIGNATURE, refresh(t, err));
    assert_null(tuf_trusted_snapshot(t));
}

static void test_expired_snapshot(void **state)
{
    (void)state;
    toy_expire(SNAPSHOT);
    toy_publish(&repo);
    TRUSTED t = start();
    EXPECT(E_EXPIRED, refresh(t, err));
    assert_null(tuf_trusted_snapshot(t));
}

static void test_role_missing_from_new_snapshot(void **state)
{
    (void)state;
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_publish(&repo);
    store_fill(&s);
    js_remove(js_edit(SNAPSHOT->tree, "meta"), "alice.json");
    toy_role(&repo, "alice")->unpublished = true;
    toy_republish(&repo);
    TRUSTED t = resume(&s);
    toy_ok(tuf_trusted_finish_root(t, err));
    EXPECT(E_ROLLBACK, refresh(t, err));
}

/* CVE-2025-2887 */
static void rollback_of(const char *name)
{
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_set_int(toy_role(&repo, name), "version", 5);
    toy_publish(&repo);
    store_fill(&s);
    toy_set_int(toy_role(&repo, name), "version", 4);
    toy_republish(&repo);
    TRUSTED t = resume(&s);
    toy_ok(tuf_trusted_finish_root(t, err));
    EXPECT(E_ROLLBACK, refresh(t, err));
    assert_null(tuf_trusted_snapshot(t));
}

static void test_targets_rollback(void **state)
{
    (void)state;
    rollback_of("targets");
}

static void test_delegated_role_rollback(void **state)
{
    (void)state;
    rollback_of("alice");
}

static void test_stored_snapshot_is_reused_only_if_named(void **state)
{
    (void)state;
    STORE s = {BYTES_INIT, BYTES_INIT, BYTES_INIT};
    store_fill(&s);
    toy_republish(&repo);
    TRUSTED t = resume(&s);
    toy_ok(tuf_trusted_finish_root(t, err));
    toy_ok(update_timestamp(t, err));
    EXPECT(E_DIGEST, tuf_trusted_reuse_snapshot(t, err));
    assert_null(tuf_trusted_snapshot(t));
    toy_ok(update_snapshot(t, err));
    toy_ok(update_targets(t, err));
}

static void test_snapshot_entries_need_length_and_hash(void **state)
{
    (void)state;
    js_remove(js_edit(js_edit(SNAPSHOT->tree, "meta"), "targets.json"), "hashes");
    toy_sign(SNAPSHOT);
    toy_meta(&repo, TIMESTAMP, SNAPSHOT);
    toy_sign(TIMESTAMP);
    TRUSTED t = start();
    toy_ok(update_timestamp(t, err));
    EXPECT(E_INVALID, update_snapshot(t, err));
}

static void timestamp_without(const char *member)
{
    js_remove(js_edit(js_edit(TIMESTAMP->tree, "meta"), "snapshot.json"), member);
    toy_sign(TIMESTAMP);
    TRUSTED t = start();
    EXPECT(E_INVALID, update_timestamp(t, err));
}

static void test_timestamp_needs_length(void **state)
{
    (void)state;
    timestamp_without("length");
}

static void test_timestamp_needs_hash(void **state)
{
    (void)state;
    timestamp_without("hashes");
}

/* --- targets --- */

static void test_targets_must_be_the_ones_named(void **state)
{
    (void)state;
    TRUSTED t = start();
    toy_ok(update_timestamp(t, err));
    toy_ok(update_snapshot(t, err));
    toy_target(&repo, "targets", "v2", "two");
    toy_sign(TARGETS);
    EXPECT(E_DIGEST, update_targets(t, err));
    assert_null(tuf_trusted_targets(t, "targets"));
}

static void test_targets_must_be_signed_by_root(void **state)
{
    (void)state;
    TARGETS->signers[0] = SNAPSHOT->signers[0];
    toy_publish(&repo);
    TRUSTED t = start();
    EXPECT(E_SIGNATURE, refresh(t, err));
    assert_null(tuf_trusted_targets(t, "targets"));
}

static void test_targets_version_is_the_snapshots(void **state)
{
    (void)state;
    toy_bump(TARGETS);
    toy_sign(TARGETS);
    TRUSTED t = start();
    EXPECT(E_ROLLBACK, refresh(t, err));
}

static void test_expired_targets(void **state)
{
    (void)state;
    toy_expire(TARGETS);
    toy_publish(&repo);
    TRUSTED t = start();
    EXPECT(E_EXPIRED, refresh(t, err));
    assert_null(tuf_trusted_targets(t, "targets"));
}

static void test_targets_missing_from_snapshot(void **state)
{
    (void)state;
    js_remove(js_edit(SNAPSHOT->tree, "meta"), "targets.json");
    toy_sign(SNAPSHOT);
    toy_meta(&repo, TIMESTAMP, SNAPSHOT);
    toy_sign(TIMESTAMP);
    TRUSTED t = start();
    EXPECT(E_INVALID, refresh(t, err));
}

/* --- bindings --- */

/* Everything in order, but one role says it is for another collection, or says nothing. */
static void other_collection(enum tuf_type type, const char *name)
{
    if (name)
        toy_set_text(&repo.roles[type], "x-bulla-collection", name);
    else
        js_remove(repo.roles[type].tree, "x-bulla-collection");
    toy_publish(&repo);
    TRUSTED t = NULL;
    struct tuf_trusted_options options = {TOY_NOW, COLLECTION};
    struct error err = ERROR_INIT;
    int rc = tuf_trusted_new(&options, FILE_OF(ROOT), &t, &err);
    if (!rc)
        rc = tuf_trusted_finish_root(t, &err);
    if (!rc)
        rc = refresh(t, &err);
    expect(E_BINDING, rc, &err);
    toy_set_text(&repo.roles[type], "x-bulla-collection", COLLECTION);
}

static void test_every_role_is_bound_to_the_collection(void **state)
{
    (void)state;
    for (int type = TUF_ROOT; type <= TUF_TARGETS; type++) {
        other_collection((enum tuf_type)type, "acme/ap");
        other_collection((enum tuf_type)type, "acme/app2");
        other_collection((enum tuf_type)type, NULL);
    }
}

static void test_new_root_is_bound_to_the_collection(void **state)
{
    (void)state;
    TRUSTED t = start_at(TOY_NOW);
    toy_bump(ROOT);
    toy_set_text(ROOT, "x-bulla-collection", "acme/other");
    toy_sign(ROOT);
    EXPECT(E_BINDING, tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
}

static void test_targets_are_bound_to_their_role(void **state)
{
    (void)state;
    toy_set_text(TARGETS, "x-bulla-role", "releases");
    toy_publish(&repo);
    TRUSTED t = start();
    EXPECT(E_BINDING, refresh(t, err));
    js_remove(TARGETS->tree, "x-bulla-role");
    toy_publish(&repo);
    TRUSTED u = start();
    EXPECT(E_BINDING, refresh(u, err));
}

static void test_timestamp_needs_its_time_of_issue(void **state)
{
    (void)state;
    js_remove(TIMESTAMP->tree, "x-bulla-issued");
    toy_publish(&repo);
    TRUSTED t = start();
    EXPECT(E_INVALID, update_timestamp(t, err));
}

static void test_names_outside_bullas_grammar(void **state)
{
    (void)state;
    static const char *const bad[] = {"dir/file", "a b", "../v1", "sha256:abc", "-v1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        toy_target(&repo, "targets", bad[i], "one");
        toy_publish(&repo);
        TRUSTED t = start();
        EXPECT(E_INVALID, refresh(t, err));
        js_remove(js_edit(TARGETS->tree, "targets"), bad[i]);
    }
    /* CVE-2021-41131 */
    toy_delegate(&repo, "targets", "../../x", "a", false)->unpublished = true;
    toy_publish(&repo);
    TRUSTED t = start();
    EXPECT(E_INVALID, refresh(t, err));
}

static void test_digest_name_must_name_its_content(void **state)
{
    (void)state;
    struct digest d;
    char text[DIGEST_TEXT_MAX];
    toy_ok(digest_of(DIGEST_SHA256, "one", 3, &d, err));
    toy_target(&repo, "targets", digest_format(&d, text), "one");
    toy_publish(&repo);
    TRUSTED good = start();
    toy_ok(refresh(good, err));
    toy_target(&repo, "targets", text, "two");
    toy_publish(&repo);
    TRUSTED bad = start();
    EXPECT(E_INVALID, refresh(bad, err));
}

static void test_root_must_set_consistent_snapshot(void **state)
{
    (void)state;
    struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {TOY_NOW, COLLECTION};
    toy_ok(js_set(ROOT->tree, "consistent_snapshot", js_bool_new(false), err));
    toy_sign(ROOT);
    EXPECT(E_INVALID, tuf_trusted_new(&options, FILE_OF(ROOT), &t, err));
    assert_null(t);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define BARE(f) cmocka_unit_test_setup_teardown(f, setup_bare, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_first_refresh),
        BARE(test_bare_specification_needs_no_lengths_or_bindings),
        CASE(test_order_of_the_workflow_is_kept),
        CASE(test_anchor_must_verify_itself),
        CASE(test_expired_anchor_is_a_start_but_no_end),
        CASE(test_root_expires_at_its_second),
        CASE(test_expired_intermediate_root_is_passed),
        CASE(test_root_version_must_be_exactly_next),
        CASE(test_new_root_needs_both_thresholds),
        CASE(test_refused_root_leaves_state_unchanged),
        CASE(test_no_more_rotations_than_the_limit),
        CASE(test_new_timestamp_key_ends_fast_forward),
        CASE(test_new_snapshot_key_ends_fast_forward),
        CASE(test_other_new_keys_keep_the_memory),
        CASE(test_raised_timestamp_threshold_drops_what_is_stored),
        CASE(test_timestamp_must_be_signed_by_root),
        CASE(test_timestamp_rollback),
        CASE(test_expired_stored_timestamp_still_stops_rollback),
        CASE(test_timestamp_with_older_snapshot),
        CASE(test_stored_snapshot_alone_stops_rollback),
        CASE(test_equal_timestamp_changes_nothing),
        CASE(test_equal_timestamp_that_expired),
        CASE(test_refused_timestamp_is_forgotten),
        CASE(test_local_clock_behind),
        CASE(test_stored_timestamp_offline),
        CASE(test_grace_covers_the_timestamp_and_ends),
        CASE(test_stored_files_are_verified_again),
        CASE(test_snapshot_must_be_the_one_named),
        BARE(test_snapshot_version_is_the_timestamps),
        CASE(test_snapshot_must_be_signed_by_root),
        CASE(test_expired_snapshot),
        CASE(test_role_missing_from_new_snapshot),
        CASE(test_targets_rollback),
        CASE(test_delegated_role_rollback),
        CASE(test_stored_snapshot_is_reused_only_if_named),
        CASE(test_snapshot_entries_need_length_and_hash),
        CASE(test_timestamp_needs_length),
        CASE(test_timestamp_needs_hash),
        CASE(test_targets_must_be_the_ones_named),
        CASE(test_targets_must_be_signed_by_root),
        BARE(test_targets_version_is_the_snapshots),
        CASE(test_expired_targets),
        CASE(test_targets_missing_from_snapshot),
        CASE(test_every_role_is_bound_to_the_collection),
        CASE(test_new_root_is_bound_to_the_collection),
        CASE(test_targets_are_bound_to_their_role),
        CASE(test_timestamp_needs_its_time_of_issue),
        CASE(test_names_outside_bullas_grammar),
        CASE(test_digest_name_must_name_its_content),
        CASE(test_root_must_set_consistent_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

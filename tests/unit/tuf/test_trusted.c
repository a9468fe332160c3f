/* The client's state machine: timestamp, snapshot, targets and the bindings (TUF 5.4 to 5.6). */
#include "tests/support/tuf_client.h"

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

/* The stored snapshot is lost, the stored timestamp is not. */
static void test_stored_timestamp_alone_stops_snapshot_rollback(void **state)
{
    (void)state;
    toy_republish(&repo);
    TRUSTED t = start();
    toy_ok(tuf_trusted_load_timestamp(t, FILE_OF(TIMESTAMP), err));
    toy_set_int(SNAPSHOT, "version", 1);
    toy_bump(TIMESTAMP);
    toy_publish(&repo);
    EXPECT(E_ROLLBACK, update_timestamp(t, err));
}

static void test_target_without_a_known_hash(void **state)
{
    (void)state;
    struct js *v1 = js_edit(js_edit(TARGETS->tree, "targets"), "v1");
    js_remove(js_edit(v1, "hashes"), "sha256");
    toy_ok(js_set(js_edit(v1, "hashes"), "blake3", js_text_new("00"), err));
    toy_publish(&repo);
    TRUSTED t = start();
    EXPECT(E_INVALID, refresh(t, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_first_refresh),
        BARE(test_bare_specification_needs_no_lengths_or_bindings),
        CASE(test_order_of_the_workflow_is_kept),
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
        CASE(test_stored_timestamp_alone_stops_snapshot_rollback),
        CASE(test_target_without_a_known_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

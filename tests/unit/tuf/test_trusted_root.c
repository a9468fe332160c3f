/* The client's state machine: the chain of roots (TUF 5.2 and 5.3). */
#include "tests/support/tuf_client.h"

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

/* A root that comes after the last one was thought to be known is judged by its own date. */
static void test_root_after_the_last_one_is_judged_again(void **state)
{
    (void)state;
    TRUSTED t = start();
    toy_bump(ROOT);
    toy_expire(ROOT);
    toy_sign(ROOT);
    toy_ok(tuf_trusted_update_root(t, FILE_OF(ROOT), NULL, err));
    EXPECT(E_INTERNAL, update_timestamp(t, err));
    EXPECT(E_EXPIRED, tuf_trusted_finish_root(t, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        CASE(test_root_after_the_last_one_is_judged_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

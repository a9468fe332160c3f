/* Publication rules. */
#include "tests/support/tuf_repo.h"
#include "tuf/accept.h"

#define COLLECTION "acme/app"

/* The toy's files are what somebody uploads; `published` is what the repository holds. */
static struct toy_repo repo;
static struct bytes published[TOY_MAX_ROLES];
static char published_names[TOY_MAX_ROLES][256];
static size_t n_published;
static const struct tuf_metadata *snapshot; /* NULL: not given */

#define ROOT    (&repo.roles[TUF_ROOT])
#define TARGETS (&repo.roles[TUF_TARGETS])

static int setup(void **state)
{
    (void)state;
    toy_init(&repo, COLLECTION);
    toy_target(&repo, "targets", "v1", "one");
    toy_publish(&repo);
    return 0;
}

static void forget(void)
{
    for (size_t i = 0; i < n_published; i++)
        bytes_done(&published[i]);
    n_published = 0;
}

static int teardown(void **state)
{
    (void)state;
    forget();
    toy_done(&repo);
    return 0;
}

static void keep(const char *name)
{
    size_t i = 0;
    while (i < n_published && strcmp(published_names[i], name) != 0)
        i++;
    if (i == n_published)
        n_published++;
    (void)snprintf(published_names[i], sizeof published_names[i], "%s", name);
    bytes_clear(&published[i]);
    toy_ok(bytes_append(&published[i], toy_role(&repo, name)->file.data,
                        toy_role(&repo, name)->file.len, err));
}

/* The names in `list`, separated by blanks, are uploaded. */
static int upload(const char *list, struct tuf_accepted **out, struct error *err)
{
    static char names[1024];
    struct tuf_file current[TOY_MAX_ROLES], changes[TOY_MAX_ROLES];
    size_t n = 0;
    for (size_t i = 0; i < n_published; i++)
        current[i] = (struct tuf_file){published_names[i], published[i].data, published[i].len};
    (void)snprintf(names, sizeof names, "%s", list);
    for (char *name = strtok(names, " "); name; name = strtok(NULL, " ")) {
        struct toy_role *role = toy_role(&repo, name);
        changes[n++] = (struct tuf_file){role->name, role->file.data, role->file.len};
    }
    struct tuf_accept_input in = {.collection = COLLECTION,
                                  .now_s = TOY_NOW,
                                  .current = current,
                                  .n_current = n_published,
                                  .changes = changes,
                                  .n_changes = n,
                                  .snapshot = snapshot};
    return tuf_accept(&in, out, err);
}

#define ACCEPTED CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *

static void refused(const char *list, int wanted)
{
    struct tuf_accepted *a = NULL;
    struct error err = ERROR_INIT;
    int rc = upload(list, &a, &err);
    if (rc != wanted)
        fail_msg("%s: expected %s, got %s: %s", list, error_name(wanted), error_name(rc),
                 err.message);
    assert_null(a);
}

/* Uploads and keeps. */
static struct tuf_accepted *publish(const char *list)
{
    struct tuf_accepted *a = NULL;
    toy_ok(upload(list, &a, err));
    char names[1024];
    (void)snprintf(names, sizeof names, "%s", list);
    for (char *name = strtok(names, " "); name; name = strtok(NULL, " "))
        keep(name);
    return a;
}

static void publish_only(const char *list)
{
    ACCEPTED a = publish(list);
    assert_non_null(a);
}

static void next(struct toy_role *role)
{
    toy_bump(role);
    toy_sign(role);
}

/* --- first publication --- */

static void test_first_publication(void **state)
{
    (void)state;
    ACCEPTED a = publish("root targets");
    assert_true(a->root_changed);
    assert_false(a->snapshot_keys_changed);
    assert_false(a->timestamp_keys_changed);
    assert_int_equal(a->n_roles, 1);
    assert_string_equal(a->role_names[0], "targets");
    assert_int_equal(a->n_added, 1);
    assert_int_equal(a->added_lengths[0], 3);
    struct digest d;
    toy_ok(digest_of(DIGEST_SHA256, "one", 3, &d, err));
    assert_true(digest_equal(&a->added[0], &d));
    assert_int_equal(tuf_metadata_version(a->root), 1);
}

static void test_first_publication_needs_root_and_targets(void **state)
{
    (void)state;
    refused("root", E_INVALID);
    refused("targets", E_INVALID);
    refused("", E_INVALID);
}

static void test_first_versions_are_one(void **state)
{
    (void)state;
    toy_set_int(TARGETS, "version", 2);
    toy_sign(TARGETS);
    refused("root targets", E_CONFLICT);
    toy_set_int(TARGETS, "version", 1);
    toy_sign(TARGETS);
    toy_set_int(ROOT, "version", 2);
    toy_sign(ROOT);
    refused("root targets", E_CONFLICT);
}

static void test_first_root_must_verify_itself(void **state)
{
    (void)state;
    ROOT->n_signers = 1;
    toy_sign(ROOT);
    refused("root targets", E_SIGNATURE);
}

static void test_first_publication_with_delegations(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_delegate(&repo, "alice", "bob", "a-b-*", false);
    toy_delegate(&repo, "targets", "carol", "c-*", false);
    toy_target(&repo, "bob", "a-b-1", "three");
    toy_publish(&repo);
    ACCEPTED a = publish("alice root bob targets"); /* carol has not signed yet */
    assert_int_equal(a->n_roles, 3);
    assert_string_equal(a->role_names[0], "targets");
    assert_string_equal(a->role_names[1], "alice");
    assert_string_equal(a->role_names[2], "bob");
    assert_int_equal(a->n_added, 2);
}

static void refused_saying(const char *list, const char *words)
{
    struct tuf_accepted *a = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(upload(list, &a, &err), E_INVALID);
    if (!strstr(err.message, words))
        fail_msg("%s: %s", list, err.message);
}

static void test_only_owners_roles_are_taken(void **state)
{
    (void)state;
    refused_saying("root targets timestamp", "'timestamp' cannot be published");
    refused_saying("root targets snapshot", "'snapshot' cannot be published");
    refused_saying("root targets targets", "given twice");
    toy_role_add(&repo, TUF_TARGETS, "stray", 1);
    toy_sign(toy_role(&repo, "stray"));
    refused("root targets stray", E_INVALID);
    toy_role_add(&repo, TUF_TARGETS, "../x", 1);
    refused_saying("root targets ../x", "cannot be published");
}

static void test_too_many_files(void **state)
{
    (void)state;
    struct tuf_file many[TUF_MAX_CHANGES + 1];
    for (size_t i = 0; i <= TUF_MAX_CHANGES; i++)
        many[i] = (struct tuf_file){"targets", "{}", 2};
    struct tuf_accept_input in = {.collection = COLLECTION,
                                  .now_s = TOY_NOW,
                                  .changes = many,
                                  .n_changes = TUF_MAX_CHANGES + 1};
    struct tuf_accepted *a = NULL;
    assert_int_equal(tuf_accept(&in, &a, NULL), E_LIMIT);
    assert_null(a);
}

/* --- further versions --- */

static void test_next_targets(void **state)
{
    (void)state;
    publish_only("root targets");
    toy_target(&repo, "targets", "v2", "two!");
    next(TARGETS);
    ACCEPTED a = publish("targets");
    assert_false(a->root_changed);
    assert_int_equal(a->n_added, 1); /* v1 was there before */
    assert_int_equal(a->added_lengths[0], 4);
    assert_int_equal(tuf_metadata_version(a->roles[0]), 2);
    assert_int_equal(tuf_metadata_version(a->root), 1);
}

static void test_version_must_be_exactly_next(void **state)
{
    (void)state;
    publish_only("root targets");
    toy_set_text(TARGETS, "x-else", "same version, other bytes");
    toy_sign(TARGETS);
    refused("targets", E_CONFLICT);
    toy_set_int(TARGETS, "version", 3);
    toy_sign(TARGETS);
    refused("targets", E_CONFLICT);
}

static void test_equal_bytes_are_ignored(void **state)
{
    (void)state;
    publish_only("root targets");
    ACCEPTED a = publish("root targets");
    assert_false(a->root_changed);
    assert_int_equal(a->n_added, 0);
    toy_target(&repo, "targets", "v2", "two");
    next(TARGETS);
    ACCEPTED b = publish("root targets");
    assert_false(b->root_changed);
    assert_int_equal(b->n_added, 1);
}

static void test_wrong_key(void **state)
{
    (void)state;
    publish_only("root targets");
    TARGETS->signers[0] = toy_key_new(&repo, KEY_ED25519);
    next(TARGETS);
    refused("targets", E_SIGNATURE);
}

static void test_expired_change(void **state)
{
    (void)state;
    toy_expire(TARGETS);
    toy_sign(TARGETS);
    refused("root targets", E_EXPIRED);
    toy_set_text(TARGETS, "expires", "2026-01-01T00:00:00Z");
    toy_sign(TARGETS);
    toy_expire(ROOT);
    toy_sign(ROOT);
    refused("root targets", E_EXPIRED);
}

static void test_other_collection(void **state)
{
    (void)state;
    toy_set_text(TARGETS, "x-bulla-collection", "acme/other");
    toy_sign(TARGETS);
    refused("root targets", E_BINDING);
    toy_set_text(TARGETS, "x-bulla-collection", COLLECTION);
    toy_set_text(TARGETS, "x-bulla-role", "alice");
    toy_sign(TARGETS);
    refused("root targets", E_BINDING);
    toy_set_text(TARGETS, "x-bulla-role", "targets");
    toy_sign(TARGETS);
    js_remove(ROOT->tree, "x-bulla-collection");
    toy_sign(ROOT);
    refused("root targets", E_BINDING);
}

static void test_bad_target_name(void **state)
{
    (void)state;
    toy_target(&repo, "targets", "dir/file", "one");
    toy_sign(TARGETS);
    refused("root targets", E_INVALID);
}

static void test_malformed_change(void **state)
{
    (void)state;
    bytes_clear(&TARGETS->file);
    toy_ok(bytes_append_text(&TARGETS->file, "{\"signed\":{}}", err));
    refused("root targets", E_INVALID);
}

static void test_same_digest_with_other_length_counts_as_added(void **state)
{
    (void)state;
    publish_only("root targets");
    struct digest d;
    toy_ok(digest_of(DIGEST_SHA256, "one", 3, &d, err));
    toy_ok(tuf_compose_target(TARGETS->tree, "again", &d, 3, NULL, err));
    toy_ok(tuf_compose_target(TARGETS->tree, "lie", &d, 4, NULL, err));
    next(TARGETS);
    ACCEPTED a = publish("targets");
    assert_int_equal(a->n_added, 1);
    assert_int_equal(a->added_lengths[0], 4);
}

/* --- root --- */

static void test_root_rotation(void **state)
{
    (void)state;
    publish_only("root targets");
    struct signing_key *keys[3] = {ROOT->signers[0], ROOT->signers[1],
                                   toy_key_new(&repo, KEY_ED25519)};
    ROOT->signers[1] = keys[2];
    toy_root_roles(&repo);
    toy_bump(ROOT);
    toy_sign(ROOT);
    refused("root", E_SIGNATURE); /* the old root's second key is missing */
    toy_sign_tree(ROOT->tree, keys, 2, &ROOT->file);
    refused("root", E_SIGNATURE); /* its own second key is missing */
    toy_sign_tree(ROOT->tree, keys, 3, &ROOT->file);
    ACCEPTED a = publish("root");
    assert_true(a->root_changed);
    assert_false(a->timestamp_keys_changed);
    assert_int_equal(a->n_added, 0);
    assert_int_equal(a->n_roles, 1);
}

static void test_expired_root_can_be_replaced(void **state)
{
    (void)state;
    publish_only("root targets");
    toy_expire(ROOT);
    toy_sign(ROOT);
    keep("root"); /* as if time had passed */
    next(TARGETS);
    refused("targets", E_EXPIRED);
    toy_set_text(ROOT, "expires", "2026-01-01T00:00:00Z");
    next(ROOT);
    publish_only("root targets");
}

static void test_online_keys_changed(void **state)
{
    (void)state;
    publish_only("root targets");
    repo.roles[TUF_TIMESTAMP].signers[0] = toy_key_new(&repo, KEY_ED25519);
    toy_root_roles(&repo);
    next(ROOT);
    ACCEPTED a = publish("root");
    assert_true(a->timestamp_keys_changed);
    assert_false(a->snapshot_keys_changed);
    repo.roles[TUF_SNAPSHOT].signers[0] = toy_key_new(&repo, KEY_ED25519);
    toy_root_roles(&repo);
    next(ROOT);
    ACCEPTED b = publish("root");
    assert_false(b->timestamp_keys_changed);
    assert_true(b->snapshot_keys_changed);
}

/* A root must not leave targets behind that nobody can verify. */
static void test_new_targets_keys_need_new_targets(void **state)
{
    (void)state;
    publish_only("root targets");
    TARGETS->signers[0] = toy_key_new(&repo, KEY_ED25519);
    toy_root_roles(&repo);
    next(ROOT);
    struct tuf_accepted *a = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(upload("root", &a, &err), E_SIGNATURE);
    assert_non_null(strstr(err.message, "publish new 'targets' with the new 'root'"));
    next(TARGETS);
    publish_only("root targets");
}

static void test_root_that_could_never_verify(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        int64_t good = repo.roles[i].threshold;
        repo.roles[i].threshold = 3;
        toy_root_roles(&repo);
        toy_sign(ROOT);
        refused("root targets", E_INVALID);
        repo.roles[i].threshold = good;
    }
}

static void test_root_version_conflict_comes_first(void **state)
{
    (void)state;
    publish_only("root targets");
    next(ROOT);
    publish_only("root");
    ROOT->n_signers = 1; /* who was overtaken hears of the conflict, whatever the signatures say */
    toy_sign(ROOT);
    refused("root", E_CONFLICT);
}

/* --- delegations --- */

static void delegate_and_publish(void)
{
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_target(&repo, "alice", "a-1", "alice's");
    toy_publish(&repo);
    publish_only("root targets alice");
}

static void test_delegated_role_publishes_alone(void **state)
{
    (void)state;
    delegate_and_publish();
    toy_target(&repo, "alice", "a-2", "alice's second");
    next(toy_role(&repo, "alice"));
    ACCEPTED a = publish("alice");
    assert_int_equal(a->n_roles, 2);
    assert_int_equal(a->n_added, 1);
    assert_int_equal(tuf_metadata_version(a->roles[1]), 2);
}

static void test_delegated_role_by_the_wrong_key(void **state)
{
    (void)state;
    delegate_and_publish();
    toy_role(&repo, "alice")->signers[0] = TARGETS->signers[0];
    next(toy_role(&repo, "alice"));
    refused("alice", E_SIGNATURE);
}

static void test_delegated_role_version_and_expiry(void **state)
{
    (void)state;
    delegate_and_publish();
    struct toy_role *alice = toy_role(&repo, "alice");
    toy_set_int(alice, "version", 3);
    toy_sign(alice);
    refused("alice", E_CONFLICT);
    toy_set_int(alice, "version", 2);
    toy_expire(alice);
    toy_sign(alice);
    refused("alice", E_EXPIRED);
}

static void test_role_swap(void **state)
{
    (void)state;
    delegate_and_publish();
    struct toy_role *alice = toy_role(&repo, "alice");
    toy_set_text(alice, "x-bulla-role", "releases");
    next(alice);
    refused("alice", E_BINDING);
}

/* Expired roles that stay as they are do not keep the others from publishing. */
static void test_expired_neighbours_do_not_matter(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_publish(&repo);
    publish_only("root targets alice");
    toy_expire(TARGETS);
    toy_sign(TARGETS);
    keep("targets");
    next(toy_role(&repo, "alice"));
    publish_only("alice");
}

static void test_role_without_delegation_is_dropped_and_keeps_its_version(void **state)
{
    (void)state;
    delegate_and_publish();
    struct js *delegations = js_dup(js_get(TARGETS->tree, "delegations"));
    js_remove(TARGETS->tree, "delegations");
    next(TARGETS);
    ACCEPTED a = publish("targets");
    assert_int_equal(a->n_roles, 1);
    next(toy_role(&repo, "alice"));
    refused("alice", E_INVALID);
    /* Delegated again, she goes on at version 2: snapshots never go back. What she vouched for is
     * looked at again. */
    toy_ok(js_set(TARGETS->tree, "delegations", delegations, err));
    next(TARGETS);
    toy_set_int(toy_role(&repo, "alice"), "version", 1);
    toy_set_text(toy_role(&repo, "alice"), "x-else", "other bytes");
    toy_sign(toy_role(&repo, "alice"));
    refused("targets alice", E_CONFLICT);
    ACCEPTED b = publish("targets");
    assert_int_equal(b->n_roles, 2);
    assert_int_equal(b->n_added, 1);
}

/* Where the old file is not at hand any more, the snapshot still says how far it came. */
static void test_role_that_was_gone_goes_on_behind_the_snapshot(void **state)
{
    (void)state;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct toy_role *alice = toy_role_add(&repo, TUF_TARGETS, "alice", 1);
    publish_only("root targets");
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    next(TARGETS);
    next(alice);
    next(alice);
    toy_publish(&repo);
    const struct bytes *file = &repo.roles[TUF_SNAPSHOT].file;
    toy_ok(tuf_metadata_parse(TUF_SNAPSHOT, file->data, file->len, &m, err));
    assert_int_equal(tuf_snapshot_find(m, "alice")->version, 3);
    snapshot = m;
    refused("targets alice", E_CONFLICT); /* 3 is taken */
    toy_set_int(alice, "version", 1);
    toy_sign(alice);
    refused("targets alice", E_CONFLICT);
    toy_set_int(alice, "version", 4);
    toy_sign(alice);
    publish_only("targets alice");
    snapshot = NULL;
}

static void test_new_delegated_keys_need_a_new_file(void **state)
{
    (void)state;
    delegate_and_publish();
    struct toy_role *alice = toy_role(&repo, "alice");
    alice->signers[0] = toy_key_new(&repo, KEY_ED25519);
    js_remove(TARGETS->tree, "delegations");
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    next(TARGETS);
    refused("targets", E_SIGNATURE);
    next(alice);
    publish_only("targets alice");
}

/* A role cannot be taken over by naming it once more with other keys. */
static void test_second_delegation_must_agree(void **state)
{
    (void)state;
    delegate_and_publish();
    struct toy_role *alice = toy_role(&repo, "alice");
    struct toy_role *mallory = toy_role_add(&repo, TUF_TARGETS, "mallory", 1);
    toy_delegate(&repo, "targets", "mallory", "a-m-*", false);
    toy_sign(mallory);
    next(TARGETS);
    publish_only("targets mallory");
    struct signing_key *good = alice->signers[0];
    alice->signers[0] = mallory->signers[0];
    toy_delegate(&repo, "mallory", "alice", "a-*", false);
    next(mallory);
    next(alice);
    refused("mallory", E_SIGNATURE);
    refused("mallory alice", E_SIGNATURE);
    alice->signers[0] = good;
    toy_sign(alice);
    refused("mallory alice", E_SIGNATURE);
    publish_only("alice");
}

static void test_delegation_that_could_never_verify(void **state)
{
    (void)state;
    struct toy_role *alice = toy_role_add(&repo, TUF_TARGETS, "alice", 1);
    alice->threshold = 2;
    toy_delegate(&repo, "targets", "alice", "a-*", false);
    toy_publish(&repo);
    refused("root targets", E_INVALID);
}

static void test_cyclic_delegations(void **state)
{
    (void)state;
    toy_delegate(&repo, "targets", "a", "*", false);
    toy_delegate(&repo, "a", "b", "*", false);
    toy_delegate(&repo, "b", "a", "*", false);
    toy_publish(&repo);
    ACCEPTED a = publish("root targets a b");
    assert_int_equal(a->n_roles, 3);
}

/* --- bans --- */

static void set_bans(const char *const *digests, size_t n)
{
    struct js *list = js_array_new();
    for (size_t i = 0; i < n; i++)
        toy_ok(js_push(list, js_text_new(digests[i]), err));
    toy_ok(js_set(TARGETS->tree, "x-bulla-banned", list, err));
}

static void test_only_root_keys_lift_a_ban(void **state)
{
    (void)state;
    static const char *const bans[] = {
        "sha256:1111111111111111111111111111111111111111111111111111111111111111",
        "sha256:2222222222222222222222222222222222222222222222222222222222222222"};
    publish_only("root targets");
    set_bans(bans, 1);
    next(TARGETS);
    publish_only("targets");
    set_bans(bans, 2);
    next(TARGETS);
    publish_only("targets"); /* adding is free */
    set_bans(bans + 1, 1);
    next(TARGETS);
    refused("targets", E_SIGNATURE);
    js_remove(TARGETS->tree, "x-bulla-banned");
    toy_sign(TARGETS);
    refused("targets", E_SIGNATURE);
    struct signing_key *keys[3] = {TARGETS->signers[0], ROOT->signers[0], ROOT->signers[1]};
    toy_sign_tree(TARGETS->tree, keys, 2, &TARGETS->file);
    refused("targets", E_SIGNATURE); /* one of two */
    toy_sign_tree(TARGETS->tree, keys, 3, &TARGETS->file);
    publish_only("targets");
}

/* --- work --- */

/* 255 more signatures by nobody: they cost nothing here and count all the same. */
static void sign_often(struct toy_role *role)
{
    static const char start[] = "\"signatures\":[";
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    toy_sign(role);
    const char *at = strstr(bytes_text(&role->file), start);
    assert_non_null(at);
    const size_t head = (size_t)(at - bytes_text(&role->file)) + sizeof start - 1;
    toy_ok(bytes_append(&text, role->file.data, head, err));
    for (unsigned i = 0; i < 255; i++)
        toy_ok(bytes_append_format(&text, err, "{\"keyid\":\"%064x\",\"sig\":\"00\"},", i));
    toy_ok(bytes_append(&text, role->file.data + head, role->file.len - head, err));
    bytes_clear(&role->file);
    toy_ok(bytes_append(&role->file, text.data, text.len, err));
}

/* n roles that all delegate to each other, below targets. */
static void make_mesh(size_t n, char *list, size_t size)
{
    char names[16][8];
    int len = snprintf(list, size, "root targets");
    assert_true(n <= 16);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(names[i], sizeof names[i], "r%zu", i);
        toy_delegate(&repo, "targets", names[i], "v*", false);
        len += snprintf(list + len, size - (size_t)len, " %s", names[i]);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            if (i != j)
                toy_delegate(&repo, names[i], names[j], "v*", false);
        sign_often(toy_role(&repo, names[i]));
    }
    toy_sign(TARGETS);
}

static void test_little_work_is_done(void **state)
{
    (void)state;
    char list[128];
    make_mesh(4, list, sizeof list);
    publish_only(list);
}

static void test_too_much_work_is_refused_and_can_be_undone(void **state)
{
    (void)state;
    char list[128];
    struct tuf_accepted *none = NULL;
    struct error err = ERROR_INIT;
    make_mesh(9, list, sizeof list);
    assert_int_equal(upload(list, &none, &err), E_LIMIT);
    assert_non_null(strstr(err.message, "delegated too often"));
    /* Published before there was a limit. */
    for (char *name = strtok(list, " "); name; name = strtok(NULL, " "))
        keep(name);
    next(TARGETS);
    refused("targets", E_LIMIT);
    js_remove(TARGETS->tree, "delegations");
    toy_sign(TARGETS);
    ACCEPTED a = publish("targets");
    assert_int_equal(a->n_roles, 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_first_publication),
        CASE(test_first_publication_needs_root_and_targets),
        CASE(test_first_versions_are_one),
        CASE(test_first_root_must_verify_itself),
        CASE(test_first_publication_with_delegations),
        CASE(test_only_owners_roles_are_taken),
        CASE(test_too_many_files),
        CASE(test_next_targets),
        CASE(test_version_must_be_exactly_next),
        CASE(test_equal_bytes_are_ignored),
        CASE(test_wrong_key),
        CASE(test_expired_change),
        CASE(test_other_collection),
        CASE(test_bad_target_name),
        CASE(test_malformed_change),
        CASE(test_same_digest_with_other_length_counts_as_added),
        CASE(test_root_rotation),
        CASE(test_expired_root_can_be_replaced),
        CASE(test_online_keys_changed),
        CASE(test_new_targets_keys_need_new_targets),
        CASE(test_root_that_could_never_verify),
        CASE(test_root_version_conflict_comes_first),
        CASE(test_delegated_role_publishes_alone),
        CASE(test_delegated_role_by_the_wrong_key),
        CASE(test_delegated_role_version_and_expiry),
        CASE(test_role_swap),
        CASE(test_expired_neighbours_do_not_matter),
        CASE(test_role_without_delegation_is_dropped_and_keeps_its_version),
        CASE(test_role_that_was_gone_goes_on_behind_the_snapshot),
        CASE(test_new_delegated_keys_need_a_new_file),
        CASE(test_second_delegation_must_agree),
        CASE(test_delegation_that_could_never_verify),
        CASE(test_cyclic_delegations),
        CASE(test_only_root_keys_lift_a_ban),
        CASE(test_little_work_is_done),
        CASE(test_too_much_work_is_refused_and_can_be_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

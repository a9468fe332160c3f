/* The refresh workflow over a toy repository, with a source that counts, fails and lies. */
#include "tests/support/scratch.h"
#include "tests/support/tuf_repo.h"
#include "verify/refresh.h"

#include <inttypes.h>

#define COLLECTION "acme/app"
#define MAX_LOG    64

struct fixture {
    struct scratch *scratch;
    struct toy_repo repo;
    struct bytes roots[8]; /* roots[n]: version n + 1 */
    size_t n_roots;
    struct bytes old_timestamp;
    struct trust_source source;
    int down;        /* not 0: every request fails with this code */
    const char *lie; /* this file's bytes are replaced by… */
    const struct bytes *lie_bytes;
    const char *late; /* this file is not there when it is asked for first */
    char log[MAX_LOG][64];
    size_t max[MAX_LOG]; /* what each request would have taken */
    size_t n_log;
};

/* What a repository without consistent snapshots has. */
static const struct {
    const char *file, *role;
} plain[] = {{"snapshot.json", "snapshot"}, {"targets.json", "targets"}, {"a%2Fb%3F.json", "a/b?"}};

static int serve_role(struct fixture *f, const char *name, struct bytes *out, struct error *err)
{
    int64_t version = 0;
    char role[64] = "";
    if (strcmp(name, "timestamp.json") == 0)
        return bytes_append(out, f->repo.roles[TUF_TIMESTAMP].file.data,
                            f->repo.roles[TUF_TIMESTAMP].file.len, err);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(name, plain[i].file) == 0) {
            const struct bytes *file = &toy_role(&f->repo, plain[i].role)->file;
            return bytes_append(out, file->data, file->len, err);
        }
    if (sscanf(name, "%" SCNd64 ".%63[^.].json", &version, role) != 2)
        return (fail)(err, E_NOTFOUND, "no such file");
    if (strcmp(role, "root") == 0)
        return (size_t)version <= f->n_roots && version > 0
                   ? bytes_append(out, f->roots[version - 1].data, f->roots[version - 1].len, err)
                   : (fail)(err, E_NOTFOUND, "no root %s", name);
    for (size_t i = 0; i < f->repo.n_roles; i++)
        if (strcmp(f->repo.roles[i].name, role) == 0 && toy_version(&f->repo.roles[i]) == version)
            return bytes_append(out, f->repo.roles[i].file.data, f->repo.roles[i].file.len, err);
    return (fail)(err, E_NOTFOUND, "no %s", name);
}

static int get(struct trust_source *self, const char *name, size_t max, struct bytes *out,
               struct error *err)
{
    struct fixture *f = (struct fixture *)((char *)self - offsetof(struct fixture, source));
    assert_true(f->n_log < MAX_LOG);
    f->max[f->n_log] = max;
    (void)snprintf(f->log[f->n_log++], sizeof f->log[0], "%s", name);
    if (f->down)
        return (fail)(err, f->down, "the network is down");
    if (f->late && strcmp(f->late, name) == 0) {
        f->late = NULL;
        return (fail)(err, E_NOTFOUND, "not yet");
    }
    if (f->lie && strcmp(f->lie, name) == 0)
        return bytes_append(out, f->lie_bytes->data, f->lie_bytes->len, err);
    int rc = serve_role(f, name, out, err);
    return !rc && out->len > max ? (fail)(err, E_LIMIT, "too large") : rc;
}

/* The current root as a further version that the source serves. */
static void keep_root(struct fixture *f)
{
    const struct bytes *file = &f->repo.roles[TUF_ROOT].file;
    toy_ok(bytes_append(&f->roots[f->n_roots++], file->data, file->len, err));
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    void *scratch = NULL;
    assert_int_equal(scratch_setup(&scratch), 0);
    f->scratch = scratch;
    f->source.get = get;
    toy_init(&f->repo, COLLECTION);
    toy_target(&f->repo, "targets", "v1", "manifest one");
    toy_publish(&f->repo);
    keep_root(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    void *scratch = f->scratch;
    toy_done(&f->repo);
    for (size_t i = 0; i < f->n_roots; i++)
        bytes_done(&f->roots[i]);
    bytes_done(&f->old_timestamp);
    (void)scratch_teardown(&scratch);
    free(f);
    return 0;
}

static struct refresh_options options_at(struct fixture *f, int64_t now_s)
{
    return (struct refresh_options){
        .now_s = now_s, .collection = COLLECTION, .root = &f->roots[0], .max_age_s = -1};
}

/* One refresh as a process of its own would do it; then looks for v1. Returns the code. */
static int refresh_with(struct fixture *f, const struct refresh_options *o, struct trust_view *seen,
                        struct error *e)
{
    CLEANUP(trust_store_cleanup) struct trust_store *store = NULL;
    struct trust_view view;
    struct tuf_found found;
    f->n_log = 0;
    toy_ok(trust_store_open(f->scratch->path, "anchor", COLLECTION, &store, err));
    int rc = trust_refresh(o, store, &f->source, &view, e);
    if (rc)
        return rc;
    rc = trust_find(&view, store, &f->source, "v1", &found, e);
    if (seen)
        *seen = view;
    trust_view_done(&view);
    return rc;
}

static int refresh_at(struct fixture *f, int64_t now_s, struct trust_view *seen, struct error *e)
{
    struct refresh_options o = options_at(f, now_s);
    return refresh_with(f, &o, seen, e);
}

static void expect_log(const struct fixture *f, const char *const *names, size_t n)
{
    assert_int_equal(f->n_log, n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(f->log[i], names[i]);
}

static void only_what_changed_is_fetched(void **state)
{
    static const char *const first[] = {"2.root.json", "timestamp.json", "1.snapshot.json",
                                        "1.targets.json"};
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    expect_log(f, first, 4);
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    expect_log(f, first, 2);
}

static void recent_refresh_needs_no_request(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    struct trust_view seen;
    struct refresh_options o = options_at(f, TOY_NOW);
    o.reuse_s = 60;
    assert_int_equal(refresh_with(f, &o, &seen, &e), OK);
    assert_int_equal(seen.freshness, FRESH_ONLINE);
    o.now_s += 59;
    assert_int_equal(refresh_with(f, &o, &seen, &e), OK);
    assert_int_equal(seen.freshness, FRESH_RECENT);
    assert_int_equal(f->n_log, 0);
    o.now_s += 1;
    assert_int_equal(refresh_with(f, &o, &seen, &e), OK);
    assert_int_equal(seen.freshness, FRESH_ONLINE);
}

static void unreachable_with_nothing_stored_is_undetermined(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    f->down = E_NETWORK;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), E_NETWORK);
    f->down = E_TLS;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), E_TLS);
}

static void unreachable_uses_what_has_not_expired_and_says_so(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    struct trust_view seen;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    f->down = E_NETWORK;
    assert_int_equal(refresh_at(f, TOY_NOW + 3600, &seen, &e), OK);
    assert_int_equal(seen.freshness, FRESH_CACHED);
    assert_int_equal(seen.age_s, 3600);
    assert_int_equal(seen.offline.code, E_NETWORK);
    /* Everything expires TOY_DAY later: then nothing is usable, and nothing is "not signed". */
    assert_int_equal(refresh_at(f, TOY_NOW + TOY_DAY + 1, NULL, &e), E_STALE);
}

static void max_age_narrows_the_cache(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    f->down = E_NETWORK;
    struct refresh_options o = options_at(f, TOY_NOW + 3600);
    o.max_age_s = 3600;
    assert_int_equal(refresh_with(f, &o, NULL, &e), OK);
    o.max_age_s = 3599;
    assert_int_equal(refresh_with(f, &o, NULL, &e), E_STALE);
}

static void answers_other_than_silence_never_fall_back(void **state)
{
    static const int codes[] = {E_DENIED, E_UNAUTHORIZED, E_PROTOCOL, E_LIMIT};
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        f->down = codes[i];
        assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), codes[i]);
    }
}

static void rolled_back_timestamp_is_refused_and_not_stored(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    const struct bytes *file = &f->repo.roles[TUF_TIMESTAMP].file;
    toy_ok(bytes_append(&f->old_timestamp, file->data, file->len, err));
    toy_republish(&f->repo);
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    f->lie = "timestamp.json";
    f->lie_bytes = &f->old_timestamp;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), E_ROLLBACK);
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), E_ROLLBACK); /* still remembered */
    f->lie = NULL;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK); /* and not stuck: CVE-2025-2888 */
}

static void expired_timestamp_served_by_the_registry_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    toy_expire(&f->repo.roles[TUF_TIMESTAMP]);
    toy_bump(&f->repo.roles[TUF_TIMESTAMP]);
    toy_sign(&f->repo.roles[TUF_TIMESTAMP]);
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), E_EXPIRED);
}

static void swapped_snapshot_and_targets_are_refused(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes bad = BYTES_INIT;
    const struct bytes *file = &f->repo.roles[TUF_TARGETS].file;
    toy_ok(bytes_append(&bad, file->data, file->len, err));
    bad.data[bad.len / 2] ^= 1;
    f->lie = "1.snapshot.json";
    f->lie_bytes = &bad;
    int rc = refresh_at(f, TOY_NOW, NULL, &e);
    assert_int_equal(error_exit_status(rc), EXIT_REFUSED);
    f->lie = "1.targets.json";
    rc = refresh_at(f, TOY_NOW, NULL, &e);
    assert_int_equal(error_exit_status(rc), EXIT_REFUSED);
    f->lie = NULL;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
}

static void clock_behind_the_last_refresh_is_undetermined(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    assert_int_equal(refresh_at(f, TOY_NOW - 301, NULL, &e), E_CLOCK);
    assert_int_equal(refresh_at(f, TOY_NOW - 299, NULL, &e), OK);
}

static void root_rotation_is_followed_and_kept(void **state)
{
    static const char *const asked[] = {"2.root.json", "3.root.json", "4.root.json",
                                        "timestamp.json"};
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    /* A new timestamp key, whose first timestamp starts from version 1 again: TUF 5.3.11. */
    f->repo.roles[TUF_TIMESTAMP].signers[0] = toy_key_new(&f->repo, KEY_ED25519);
    toy_root_roles(&f->repo);
    toy_bump(&f->repo.roles[TUF_ROOT]);
    toy_publish(&f->repo);
    keep_root(f);
    /* And one more root, in the same refresh. */
    toy_bump(&f->repo.roles[TUF_ROOT]);
    toy_publish(&f->repo);
    keep_root(f);
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    assert_true(f->n_log >= 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(f->log[i], asked[i]);
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    assert_string_equal(f->log[0], "4.root.json");
}

/* C12, C18, C25: nobody can make a client take more than was signed, or than the limit. */
static void requests_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    assert_int_equal(f->n_log, 4);
    assert_int_equal(f->max[0], TUF_MAX_ROOT_BYTES);
    assert_int_equal(f->max[1], TUF_MAX_TIMESTAMP_BYTES);
    assert_int_equal(f->max[2], f->repo.roles[TUF_SNAPSHOT].file.len);
    assert_int_equal(f->max[3], f->repo.roles[TUF_TARGETS].file.len);
}

/* The first question for the next root was answered before it was published, the one for the
 * timestamp afterwards. */
static void root_between_two_answers(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    f->repo.roles[TUF_TIMESTAMP].signers[0] = toy_key_new(&f->repo, KEY_ED25519);
    toy_root_roles(&f->repo);
    toy_bump(&f->repo.roles[TUF_ROOT]);
    toy_publish(&f->repo);
    f->late = "2.root.json";
    keep_root(f);
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    assert_string_equal(f->log[0], "2.root.json");
    assert_string_equal(f->log[1], "timestamp.json");
    assert_string_equal(f->log[2], "2.root.json");
    /* With no such root the refusal stays what it was. */
    f->repo.roles[TUF_TIMESTAMP].signers[0] = toy_key_new(&f->repo, KEY_ED25519);
    toy_bump(&f->repo.roles[TUF_TIMESTAMP]);
    toy_sign(&f->repo.roles[TUF_TIMESTAMP]);
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), E_SIGNATURE);
    assert_non_null(strstr(e.message, "timestamp: 0 of 1"));
}

static void root_of_another_signer_is_refused_and_not_stored(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    struct toy_repo evil;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    toy_init(&evil, COLLECTION);
    toy_bump(&evil.roles[TUF_ROOT]);
    toy_sign(&evil.roles[TUF_ROOT]);
    f->lie = "2.root.json";
    f->lie_bytes = &evil.roles[TUF_ROOT].file;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), E_SIGNATURE);
    f->lie = NULL;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    toy_done(&evil);
}

static void no_metadata_is_undetermined(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    f->down = E_NOTFOUND;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), E_NO_TRUST);
}

static void damaged_store_files_do_not_lock_the_user_out(void **state)
{
    static const char *const names[] = {"timestamp.json", "snapshot.json", "targets.json",
                                        "last-success"};
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
        (void)snprintf(path, sizeof path, "trust/state/anchor/%s/_/%s", COLLECTION, names[i]);
        scratch_write_text(f->scratch, path, "{ cut");
        assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    }
}

static void delegated_roles_are_fetched_when_needed(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    js_remove(js_edit(toy_role(&f->repo, "targets")->tree, "targets"), "v1");
    toy_delegate(&f->repo, "targets", "releases", "v*", false);
    toy_target(&f->repo, "releases", "v1", "manifest one");
    toy_publish(&f->repo);
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    assert_string_equal(f->log[f->n_log - 1], "1.releases.json");
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    assert_int_equal(f->n_log, 2);
}

/* A bare repository may have plain names; those of delegated roles are encoded all the same. */
static void plain_names_are_encoded(void **state)
{
    static const char *const names[] = {"2.root.json", "timestamp.json", "snapshot.json",
                                        "targets.json", "a%2Fb%3F.json"};
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    struct toy_role *root = &f->repo.roles[TUF_ROOT];
    toy_delegate(&f->repo, "targets", "a/b?", "v*", false);
    js_remove(js_edit(f->repo.roles[TUF_TARGETS].tree, "targets"), "v1");
    toy_target(&f->repo, "a/b?", "v1", "manifest one");
    toy_ok(js_set(root->tree, "consistent_snapshot", js_bool_new(false), err));
    toy_publish(&f->repo);
    bytes_clear(&f->roots[0]);
    f->n_roots = 0;
    keep_root(f);
    struct refresh_options o = options_at(f, TOY_NOW);
    o.collection = NULL;
    assert_int_equal(refresh_with(f, &o, NULL, &e), OK);
    expect_log(f, names, 5);
}

/* Only with must_ask off may a stored set stand in. */
static void must_ask_never_falls_back(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    assert_int_equal(refresh_at(f, TOY_NOW, NULL, &e), OK);
    struct refresh_options o = options_at(f, TOY_NOW);
    o.must_ask = true;
    f->down = E_NETWORK;
    assert_int_equal(refresh_with(f, &o, NULL, &e), E_NETWORK);
}

/* Two first uses at once, of a registry that shows each another root: the first one stays. */
static void the_first_pin_stays(void **state)
{
    struct fixture *f = *state;
    struct error e = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes other = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes pinned = BYTES_INIT;
    const char *home = f->scratch->path;
    toy_ok(bytes_append(&other, "{}", 2, err));
    assert_int_equal(trust_pin_read(home, "r.io", "a", &pinned, &e), E_NOTFOUND);
    assert_int_equal(trust_pin_add(home, "r.io", "a", &f->roots[0], &e), OK);
    assert_int_equal(trust_pin_add(home, "r.io", "a", &f->roots[0], &e), OK);
    assert_int_equal(trust_pin_add(home, "r.io", "a", &other, &e), E_CONFLICT);
    assert_int_equal(error_exit_status(E_CONFLICT), EXIT_COULD_NOT);
    assert_int_equal(trust_pin_read(home, "r.io", "a", &pinned, &e), OK);
    assert_true(bytes_equal(pinned.data, pinned.len, f->roots[0].data, f->roots[0].len));
    assert_int_equal(trust_pin_add(home, "r.io", "a/b", &other, &e), OK);
    assert_int_equal(trust_pin_write(home, "r.io", "a", &other, &e), OK);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(only_what_changed_is_fetched),
        CASE(the_first_pin_stays),
        CASE(recent_refresh_needs_no_request),
        CASE(unreachable_with_nothing_stored_is_undetermined),
        CASE(unreachable_uses_what_has_not_expired_and_says_so),
        CASE(max_age_narrows_the_cache),
        CASE(answers_other_than_silence_never_fall_back),
        CASE(rolled_back_timestamp_is_refused_and_not_stored),
        CASE(expired_timestamp_served_by_the_registry_is_refused),
        CASE(swapped_snapshot_and_targets_are_refused),
        CASE(clock_behind_the_last_refresh_is_undetermined),
        CASE(root_between_two_answers),
        CASE(root_rotation_is_followed_and_kept),
        CASE(requests_are_bounded),
        CASE(root_of_another_signer_is_refused_and_not_stored),
        CASE(no_metadata_is_undetermined),
        CASE(damaged_store_files_do_not_lock_the_user_out),
        CASE(delegated_roles_are_fetched_when_needed),
        CASE(plain_names_are_encoded),
        CASE(must_ask_never_falls_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

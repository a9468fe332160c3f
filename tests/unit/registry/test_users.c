/* Passwords, the memory of successes, and the index's writer. */
#include "base/clock.h"
#include "registry/access.h"
#include "registry/password.h"
#include "registry/users.h"
#include "tests/support/scratch.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

struct place {
    struct scratch *dir;
    struct index *ix;
    struct token_keys *keys;
    struct users *users;
};

static int setup(void **state)
{
    static struct place p;
    void *dir = NULL;
    scratch_setup(&dir);
    p.dir = dir;
    ok(password_init(err));
    ok(index_open(p.dir->path, &p.ix, err));
    ok(index_start(p.ix, err));
    const struct token_keys_options options = {.data_dir = p.dir->path, .keep_s = 310};
    ok(token_keys_open(&options, &p.keys, err));
    ok(users_new(p.keys, &p.users, err));
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    void *dir = p->dir;
    users_free(p->users);
    token_keys_free(p->keys);
    index_cleanup(&p->ix);
    return scratch_teardown(&dir);
}

struct account {
    const char *name, *hash;
};

static int add(struct index_tx *tx, void *arg, struct error *err)
{
    const struct account *a = arg;
    return index_user_add(tx, a->name, a->hash, err);
}

static int change(struct index_tx *tx, void *arg, struct error *err)
{
    const struct account *a = arg;
    return index_user_set_password(tx, a->name, a->hash, err);
}

static int drop(struct index_tx *tx, void *arg, struct error *err)
{
    const struct account *a = arg;
    return index_user_remove(tx, a->name, err);
}

static int show(struct place *p, struct index_tx *tx, const char *authorization, char *subject)
{
    CLEANUP(access_identity_done) struct access_identity who = {.method = ACCESS_BY_NOTHING};
    struct users_proof proof = {.authorization = authorization, .address = "192.0.2.1"};
    int rc = users_authenticate(p->users, tx, &proof, &who, NULL);
    if (rc == 0)
        snprintf(subject, USER_NAME_MAX + 1, "%s", who.name);
    else
        assert_string_equal(who.name, "");
    return rc;
}

/* "Basic <base64 of text>" */
static int login(struct place *p, const char *text, char *subject)
{
    CLEANUP(bytes_done) struct bytes header = BYTES_INIT;
    struct index_tx *tx = NULL;
    ok(bytes_append_text(&header, "Basic ", err));
    ok(base64_encode(text, strlen(text), &header, err));
    ok(index_read_begin(p->ix, &tx, err));
    int rc = show(p, tx, bytes_text(&header), subject);
    index_read_end(p->ix, tx);
    return rc;
}

static void hashes(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_MAX], again[PASSWORD_HASH_MAX];
    ok(password_hash("correct horse", 13, hash, err));
    ok(password_hash("correct horse", 13, again, err));
    assert_string_not_equal(hash, again);
    assert_non_null(strstr(hash, "$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_int_equal(password_verify(hash, "correct horse", 13, NULL), 0);
    assert_int_equal(password_verify(hash, "correct hors", 12, NULL), E_UNAUTHORIZED);
    assert_int_equal(password_verify(hash, "correct horse ", 14, NULL), E_UNAUTHORIZED);
    assert_int_equal(password_verify("nonsense", "correct horse", 13, NULL), E_UNAUTHORIZED);
    char longest[PASSWORD_MAX + 2];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(password_hash("short", 5, again, NULL), E_USAGE);
    assert_int_equal(password_hash(longest, PASSWORD_MAX + 1, again, NULL), E_USAGE);
    assert_int_equal(password_verify(hash, longest, PASSWORD_MAX + 1, NULL), E_UNAUTHORIZED);
}

static void macs_cover_boundaries(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, a[PASSWORD_MAC_LEN], b[PASSWORD_MAC_LEN];
    password_mac(key, (const char *const[]){"ab", "c", "d"}, a);
    password_mac(key, (const char *const[]){"a", "bc", "d"}, b);
    assert_false(password_mac_equal(a, b));
    password_mac(key, (const char *const[]){"ab", "c", "d"}, b);
    assert_true(password_mac_equal(a, b));
}

static void headers(void **state)
{
    struct place *p = *state;
    static const char *const bad[] = {
        "",           "Basic",          "Basic ", "Basic *",     "Bearer abc",
        "Basic YWI=", "Basic YQBiOmM=", "basic",  "Basic YTpi\t"};
    char subject[USER_NAME_MAX + 1] = "kept";
    struct index_tx *tx = NULL;
    ok(index_read_begin(p->ix, &tx, err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (show(p, tx, bad[i], subject) != E_UNAUTHORIZED)
            fail_msg("'%s' was taken", bad[i]);
    assert_string_equal(subject, "kept");
    assert_int_equal(show(p, tx, NULL, subject), 0);
    assert_string_equal(subject, "anonymous");
    index_read_end(p->ix, tx);
    assert_int_equal(login(p, ":", subject), 0);
    assert_string_equal(subject, "anonymous");
    assert_int_equal(login(p, "anonymous:password", subject), E_UNAUTHORIZED);
    assert_int_equal(login(p, ":password", subject), E_UNAUTHORIZED);
}

static void success_is_remembered_until_the_user_changes(void **state)
{
    struct place *p = *state;
    char hash[PASSWORD_HASH_MAX], other[PASSWORD_HASH_MAX], subject[USER_NAME_MAX + 1];
    struct account alice = {"alice", hash};
    ok(password_hash("first password", 14, hash, err));
    ok(password_hash("second password", 15, other, err));
    ok(index_write(p->ix, add, &alice, err));
    assert_int_equal(index_write(p->ix, add, &alice, NULL), E_EXISTS);
    assert_int_equal(login(p, "alice:first password", subject), 0);
    assert_string_equal(subject, "alice");
    int64_t start = clock_monotonic_ms();
    for (int i = 0; i < 50; i++)
        assert_int_equal(login(p, "alice:first password", subject), 0);
    assert_true(clock_monotonic_ms() - start < 500); /* one computation costs 20 ms and more */
    assert_int_equal(login(p, "alice:second password", subject), E_UNAUTHORIZED);
    alice.hash = other;
    ok(index_write(p->ix, change, &alice, err));
    assert_int_equal(login(p, "alice:first password", subject), E_UNAUTHORIZED);
    assert_int_equal(login(p, "alice:second password", subject), 0);
    ok(index_write(p->ix, drop, &alice, err));
    assert_int_equal(login(p, "alice:second password", subject), E_UNAUTHORIZED);
    assert_int_equal(index_write(p->ix, change, &alice, NULL), E_NOTFOUND);
}

/* --- the writer: many threads, failures among them --- */

struct worker {
    struct place *p;
    int number, rc[20];
    pthread_t thread;
};

static int add_or_fail(struct index_tx *tx, void *arg, struct error *err)
{
    const struct account *a = arg;
    int rc = index_user_add(tx, a->name, "x", err);
    return rc == 0 && a->hash ? E_DENIED : rc;
}

static void *work(void *context)
{
    struct worker *w = context;
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "user-%d-%d", w->number, i);
        struct account a = {name, i % 2 ? "fail" : NULL};
        w->rc[i] = index_write(w->p->ix, add_or_fail, &a, NULL);
    }
    return NULL;
}

static int count(void *context, const struct index_user *user, struct error *err)
{
    (void)user, (void)err;
    ++*(int *)context;
    return 0;
}

static void group_commits(void **state)
{
    struct place *p = *state;
    struct worker workers[8];
    int n = 0;
    struct index_tx *tx = NULL;
    for (int i = 0; i < 8; i++) {
        workers[i] = (struct worker){.p = p, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(workers[i].thread, NULL);
        for (int k = 0; k < 20; k++)
            assert_int_equal(workers[i].rc[k], k % 2 ? E_DENIED : 0);
    }
    ok(index_read_begin(p->ix, &tx, err));
    ok(index_users_each(tx, count, &n, err));
    index_read_end(p->ix, tx);
    assert_int_equal(n, 80);
}

#define place_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        place_test(hashes),        cmocka_unit_test(macs_cover_boundaries),
        place_test(headers),       place_test(success_is_remembered_until_the_user_changes),
        place_test(group_commits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

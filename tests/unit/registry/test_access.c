/* Patterns, actions, and the decision over grants in a real index. */
#include "registry/access.h"
#include "registry/index_accounts.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void patterns(void **state)
{
    (void)state;
    assert_true(access_pattern_matches("*", "a"));
    assert_true(access_pattern_matches("*", "a/b/c"));
    assert_true(access_pattern_matches("acme/*", "acme/app"));
    assert_true(access_pattern_matches("acme/*", "acme/app/deep"));
    assert_true(access_pattern_matches("acme/app", "acme/app"));
    assert_false(access_pattern_matches("acme/*", "acme"));
    assert_false(access_pattern_matches("acme/*", "acme-evil/app"));
    assert_false(access_pattern_matches("acme/*", "acme/"));
    assert_false(access_pattern_matches("acme/app", "acme/app2"));
    assert_false(access_pattern_matches("acme/app", "acme/ap"));
    assert_false(access_pattern_matches("acme/app", "acme/app/x"));
    assert_false(access_pattern_matches("a", "a/b"));
}

static void pattern_grammar(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "/*",    "acme*",  "a*/b",  "*/b",
                                      "**",    "a/**",  "ACME/*", "../*",  "a//*",
                                      "a/*/b", "acme/", "/acme",  "a b/*", "acme/?"};
    static const char *const ok[] = {"*", "a", "acme/app", "acme/*", "a/b/*"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (access_pattern_check(bad[i], NULL) != E_USAGE)
            fail_msg("'%s' was taken", bad[i]);
    for (size_t i = 0; i < sizeof ok / sizeof *ok; i++)
        assert_int_equal(access_pattern_check(ok[i], NULL), 0);
}

static void actions(void **state)
{
    (void)state;
    unsigned bits = 99;
    char text[ACCESS_ACTIONS_TEXT_MAX];
    static const char *const bad[] = {"", "pull,", ",pull", "pul", "pull push", "PULL", "pulls"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(access_actions_parse(bad[i], &bits, NULL), E_USAGE);
    assert_int_equal(bits, 99);
    assert_int_equal(access_actions_parse("sign,pull", &bits, NULL), 0);
    assert_int_equal(bits, ACCESS_PULL | ACCESS_SIGN);
    assert_string_equal(access_actions_format(ACCESS_ALL, text), "pull,push,delete,sign,admin");
    assert_string_equal(access_actions_format(0, text), "");
}

static void subjects(void **state)
{
    (void)state;
    bool is_user = false;
    static const char *const bad[] = {"", "Alice", "a b", "-a", ".a", "a/b", "a:b", "a\n", "é"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(access_subject_check(bad[i], &is_user, NULL), E_USAGE);
    assert_int_equal(access_subject_check("ci-bot.1", &is_user, NULL), 0);
    assert_true(is_user);
    assert_int_equal(access_subject_check("anonymous", &is_user, NULL), 0);
    assert_false(is_user);
}

/* Every endpoint and method: the actions, or no such method. */
static void needs(void **state)
{
    (void)state;
    static const enum http_method methods[] = {HTTP_GET,   HTTP_HEAD,   HTTP_POST, HTTP_PUT,
                                               HTTP_PATCH, HTTP_DELETE, HTTP_OTHER};
    enum {
        U = ACCESS_PUSH,
        L = ACCESS_PULL,
        D = ACCESS_DELETE,
        S = ACCESS_SIGN,
        A = ACCESS_ADMIN,
        NO = -1
    };
    static const int table[][7] = {
        [ROUTE_BASE] = {0, 0, NO, NO, NO, NO, NO},
        [ROUTE_CATALOG] = {0, 0, NO, NO, NO, NO, NO},
        [ROUTE_TAGS] = {L, L, NO, NO, NO, NO, NO},
        [ROUTE_MANIFEST] = {L, L, NO, U, NO, D, NO},
        [ROUTE_BLOB] = {L, L, NO, NO, NO, D, NO},
        [ROUTE_UPLOADS] = {NO, NO, U, NO, NO, NO, NO},
        [ROUTE_UPLOAD] = {U, U, NO, U, U, U, NO},
        [ROUTE_REFERRERS] = {L, L, NO, NO, NO, NO, NO},
        [ROUTE_TRUST] = {NO, NO, S, NO, NO, NO, NO},
        [ROUTE_TRUST_FILE] = {L, L, NO, NO, NO, NO, NO},
        [ROUTE_TRUST_KEY] = {S, S, NO, NO, NO, NO, NO},
        [ROUTE_TRUST_TARGET] = {L, L, NO, NO, NO, NO, NO},
        [ROUTE_HEALTH] = {0, 0, NO, NO, NO, NO, NO},
        [ROUTE_READY] = {0, 0, NO, NO, NO, NO, NO},
        [ROUTE_METRICS] = {A, A, NO, NO, NO, NO, NO},
        [ROUTE_TOKEN] = {0, 0, 0, NO, NO, NO, NO},
    };
    for (size_t kind = 0; kind < sizeof table / sizeof *table; kind++)
        for (size_t m = 0; m < 7; m++) {
            struct route route = {.kind = (enum route_kind)kind};
            unsigned bits = 77;
            int rc = access_needed(&route, methods[m], &bits, NULL);
            if (table[kind][m] == NO ? rc != E_UNSUPPORTED || bits != 77
                                     : rc != 0 || bits != (unsigned)table[kind][m])
                fail_msg("kind %zu method %zu: %d %u", kind, m, rc, bits);
        }
}

struct place {
    struct scratch *dir;
    struct index *ix;
};

static int place_setup(void **state)
{
    static struct place p;
    void *dir = NULL;
    struct error err = ERROR_INIT;
    scratch_setup(&dir);
    p.dir = dir;
    if (index_open(p.dir->path, &p.ix, &err) != 0 || index_start(p.ix, &err) != 0)
        fail_msg("%s", err.message);
    *state = &p;
    return 0;
}

static int place_teardown(void **state)
{
    struct place *p = *state;
    void *dir = p->dir;
    index_cleanup(&p->ix);
    return scratch_teardown(&dir);
}

static int grant(struct index_tx *tx, void *arg, struct error *err)
{
    return index_grant_add(tx, arg, err);
}

static int ungrant(struct index_tx *tx, void *arg, struct error *err)
{
    return index_grant_remove(tx, arg, err);
}

static int may(struct place *p, const char *subject, const char *repository, unsigned bits)
{
    struct index_tx *tx = NULL;
    assert_int_equal(index_read_begin(p->ix, &tx, NULL), 0);
    struct access_identity who = {.method = ACCESS_BY_PASSWORD};
    snprintf(who.name, sizeof who.name, "%s", subject);
    int rc = access_check(tx, &who, repository, bits, NULL);
    index_read_end(p->ix, tx);
    return rc;
}

static void decisions(void **state)
{
    struct place *p = *state;
    struct index_grant pull = {"bob", "acme/*", ACCESS_PULL};
    struct index_grant push = {"bob", "acme/app", ACCESS_PUSH};
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_PULL), E_DENIED); /* nobody, nothing */
    assert_int_equal(index_write(p->ix, grant, &pull, NULL), 0);
    assert_int_equal(index_write(p->ix, grant, &push, NULL), 0);
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_PULL | ACCESS_PUSH), 0);
    assert_int_equal(may(p, "bob", "acme/other", ACCESS_PULL), 0);
    assert_int_equal(may(p, "bob", "acme/other", ACCESS_PUSH), E_DENIED);
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_DELETE), E_DENIED);
    assert_int_equal(may(p, "bob", "acme-evil/app", ACCESS_PULL), E_DENIED);
    assert_int_equal(may(p, "alice", "acme/app", ACCESS_PULL), E_DENIED);
    assert_int_equal(may(p, "anonymous", "acme/app", ACCESS_PULL), E_DENIED);
    assert_int_equal(index_write(p->ix, ungrant, &push, NULL), 0);
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_PUSH), E_DENIED);
    assert_int_equal(index_write(p->ix, ungrant, &push, NULL), E_NOTFOUND);
}

static void admin_is_not_everything(void **state)
{
    struct place *p = *state;
    struct index_grant admin = {"root", "*", ACCESS_ADMIN};
    assert_int_equal(index_write(p->ix, grant, &admin, NULL), 0);
    assert_int_equal(may(p, "root", "a", ACCESS_ADMIN), 0);
    assert_int_equal(may(p, "root", "a", ACCESS_PULL), E_DENIED);
    /* more actions for the same pattern add up */
    admin.actions = ACCESS_PULL;
    assert_int_equal(index_write(p->ix, grant, &admin, NULL), 0);
    assert_int_equal(may(p, "root", "a", ACCESS_PULL | ACCESS_ADMIN), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(pattern_grammar),
        cmocka_unit_test(actions),
        cmocka_unit_test(subjects),
        cmocka_unit_test(needs),
        cmocka_unit_test_setup_teardown(decisions, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(admin_is_not_everything, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Patterns, actions, and the decision over grants in a real index. */
#include "registry/access.h"
#include "registry/index_accounts.h"
#include "registry/index_content.h"
#include "registry/visible.h"
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
        [ROUTE_TRUST_KEY] = {S, S, A, NO, NO, NO, NO},
        [ROUTE_TRUST_TARGET] = {L, L, NO, NO, NO, NO, NO},
        [ROUTE_TRUST_MIRROR] = {A, A, A, NO, NO, NO, NO},
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

/* --- groups, everybody, and what narrows --- */

static int add_user(struct index_tx *tx, void *arg, struct error *err)
{
    return index_user_add(tx, arg, "x", err);
}

static int remove_user(struct index_tx *tx, void *arg, struct error *err)
{
    return index_user_remove(tx, arg, err);
}

static int add_group(struct index_tx *tx, void *arg, struct error *err)
{
    return index_group_add(tx, arg, err);
}

static int remove_group(struct index_tx *tx, void *arg, struct error *err)
{
    return index_group_remove(tx, arg, err);
}

struct pair {
    const char *group, *user;
};

static int join(struct index_tx *tx, void *arg, struct error *err)
{
    const struct pair *pair = arg;
    return index_member_add(tx, pair->group, pair->user, err);
}

static int leave(struct index_tx *tx, void *arg, struct error *err)
{
    const struct pair *pair = arg;
    return index_member_remove(tx, pair->group, pair->user, err);
}

#define write_ok(work, arg) assert_int_equal(index_write(p->ix, work, (void *)(arg), NULL), 0)

static void groups_give_rights(void **state)
{
    struct place *p = *state;
    struct pair bob = {"builders", "bob"};
    struct index_grant push = {"group:builders", "acme/*", ACCESS_PUSH};
    static char name_bob[] = "bob", name_group[] = "builders";
    write_ok(add_user, name_bob);
    assert_int_equal(index_write(p->ix, join, &bob, NULL), E_NOTFOUND);
    write_ok(add_group, name_group);
    assert_int_equal(index_write(p->ix, add_group, name_group, NULL), E_EXISTS);
    write_ok(grant, &push);
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_PUSH), E_DENIED);
    write_ok(join, &bob);
    write_ok(join, &bob);
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_PUSH), 0);
    assert_int_equal(may(p, "bob", "acme-evil/app", ACCESS_PUSH), E_DENIED);
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_PULL), E_DENIED);
    assert_int_equal(may(p, "builders", "acme/app", ACCESS_PUSH), E_DENIED);
    write_ok(leave, &bob);
    assert_int_equal(index_write(p->ix, leave, &bob, NULL), E_NOTFOUND);
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_PUSH), E_DENIED);
    /* Nothing is inherited by later ones of the same name. */
    write_ok(join, &bob);
    write_ok(remove_user, name_bob);
    write_ok(add_user, name_bob);
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_PUSH), E_DENIED);
    write_ok(join, &bob);
    write_ok(remove_group, name_group);
    write_ok(add_group, name_group);
    write_ok(join, &bob);
    assert_int_equal(may(p, "bob", "acme/app", ACCESS_PUSH), E_DENIED);
}

static void everybody_has_what_anonymous_has(void **state)
{
    struct place *p = *state;
    struct index_grant pull = {"anonymous", "public/*", ACCESS_PULL};
    write_ok(grant, &pull);
    assert_int_equal(may(p, "anonymous", "public/app", ACCESS_PULL), 0);
    assert_int_equal(may(p, "bob", "public/app", ACCESS_PULL), 0);
    assert_int_equal(may(p, "bob", "public/app", ACCESS_PUSH), E_DENIED);
    assert_int_equal(may(p, "bob", "publicity/app", ACCESS_PULL), E_DENIED);
}

static int decide(struct place *p, const struct access_identity *who, const char *repository,
                  unsigned bits)
{
    struct index_tx *tx = NULL;
    assert_int_equal(index_read_begin(p->ix, &tx, NULL), 0);
    int rc = access_check(tx, who, repository, bits, NULL);
    index_read_end(p->ix, tx);
    return rc;
}

static void an_api_token_narrows(void **state)
{
    struct place *p = *state;
    struct index_grant all = {"bob", "*", ACCESS_ALL}, public = {"anonymous", "pub", ACCESS_PULL};
    struct access_identity who = {.name = "bob",
                                  .method = ACCESS_BY_API_TOKEN,
                                  .pattern = "acme/app",
                                  .actions = ACCESS_PULL | ACCESS_PUSH};
    write_ok(grant, &public);
    assert_int_equal(decide(p, &who, "acme/app", ACCESS_PULL), E_DENIED); /* never more than bob */
    write_ok(grant, &all);
    assert_int_equal(decide(p, &who, "acme/app", ACCESS_PULL | ACCESS_PUSH), 0);
    assert_int_equal(decide(p, &who, "acme/app", ACCESS_DELETE), E_DENIED);
    assert_int_equal(decide(p, &who, "acme/apple", ACCESS_PULL), E_DENIED);
    assert_int_equal(decide(p, &who, "acme/app/x", ACCESS_PULL), E_DENIED);
    assert_int_equal(decide(p, &who, "pub", ACCESS_PULL), E_DENIED);
    assert_int_equal(decide(p, &who, "", ACCESS_ADMIN), E_DENIED);
}

static void a_scope_narrows(void **state)
{
    struct place *p = *state;
    struct index_grant all = {"bob", "acme/*", ACCESS_PULL | ACCESS_PUSH};
    struct access_identity who = {.name = "bob", .method = ACCESS_BY_BEARER};
    assert_int_equal(access_scopes_add(&who.scopes, "acme/app", ACCESS_PULL, NULL), 0);
    assert_int_equal(decide(p, &who, "acme/app", ACCESS_PULL), E_DENIED); /* revoked meanwhile */
    write_ok(grant, &all);
    assert_int_equal(decide(p, &who, "acme/app", ACCESS_PULL), 0);
    assert_int_equal(decide(p, &who, "acme/app", ACCESS_PUSH), E_UNAUTHORIZED); /* ask for more */
    assert_int_equal(decide(p, &who, "acme/apple", ACCESS_PULL), E_UNAUTHORIZED);
    assert_int_equal(decide(p, &who, "acme/ap", ACCESS_PULL), E_UNAUTHORIZED);
    assert_int_equal(decide(p, &who, "acme/app", ACCESS_DELETE), E_DENIED); /* no use in asking */
    access_identity_done(&who);
}

/* --- what is seen --- */

static int make_repository(struct index_tx *tx, void *arg, struct error *err)
{
    int64_t id = 0;
    return index_repository_make(tx, arg, &id, err);
}

struct seen {
    char text[512];
    size_t n, max;
};

static int see(void *context, const char *name, struct error *err)
{
    (void)err;
    struct seen *seen = context;
    if (seen->n == seen->max)
        return 1;
    seen->n++;
    snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text), "%s ", name);
    return 0;
}

static void sees(struct place *p, const struct access_identity *who, const char *last, size_t max,
                 const char *expected)
{
    struct seen seen = {.max = max};
    const struct index_visitor visitor = {see, &seen};
    struct index_tx *tx = NULL;
    assert_int_equal(index_read_begin(p->ix, &tx, NULL), 0);
    assert_int_equal(visible_repositories_each(tx, who, last, &visitor, NULL), 0);
    index_read_end(p->ix, tx);
    assert_string_equal(seen.text, expected);
}

static void what_is_seen(void **state)
{
    struct place *p = *state;
    static char names[][16] = {"a",    "a-b", "a.b/c", "a/b",   "a/b/c", "a/c",
                               "aa/x", "b",   "b/c",   "b/c/d", "b0",    "z/z"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        write_ok(make_repository, names[i]);
    struct access_identity who = {.name = "bob", .method = ACCESS_BY_PASSWORD};
    sees(p, &who, "", 99, "");
    struct index_grant grants[] = {{"bob", "a/*", ACCESS_PULL | ACCESS_PUSH},
                                   {"bob", "a/b/*", ACCESS_PULL},
                                   {"bob", "a/c", ACCESS_PULL},
                                   {"bob", "b", ACCESS_PUSH}, /* not to be seen */
                                   {"bob", "none", ACCESS_PULL},
                                   {"anonymous", "z/*", ACCESS_PULL},
                                   {"anonymous", "b/c", ACCESS_PULL}};
    for (size_t i = 0; i < sizeof grants / sizeof *grants; i++)
        write_ok(grant, &grants[i]);
    sees(p, &who, "", 99, "a/b a/b/c a/c b/c z/z ");
    sees(p, &who, "", 2, "a/b a/b/c ");
    sees(p, &who, "a/b/c", 2, "a/c b/c ");
    sees(p, &who, "a/bb", 99, "a/c b/c z/z ");
    sees(p, &who, "b/c", 99, "z/z ");
    sees(p, &who, "z/z", 99, "");
    sees(p, &who, "zz", 99, "");
    struct access_identity anonymous = {.name = "anonymous"};
    sees(p, &anonymous, "", 99, "b/c z/z ");
    struct access_identity token = {.name = "bob", .pattern = "a/b/*", .actions = ACCESS_PULL};
    sees(p, &token, "", 99, "a/b/c ");
    token.actions = ACCESS_PUSH;
    sees(p, &token, "", 99, "");
    struct index_grant all = {"bob", "*", ACCESS_PULL};
    write_ok(grant, &all);
    sees(p, &who, "", 99, "a a-b a.b/c a/b a/b/c a/c aa/x b b/c b/c/d b0 z/z ");
    sees(p, &who, "a/c", 3, "aa/x b b/c ");
    token.actions = ACCESS_PULL;
    sees(p, &token, "", 99, "a/b/c ");
}

static void coverings(void **state)
{
    (void)state;
    static const struct {
        const char *wide, *narrow;
        bool covers;
    } cases[] = {{"*", "*", true},        {"*", "a", true},       {"*", "a/*", true},
                 {"a/*", "*", false},     {"a/*", "a/*", true},   {"a/*", "a/b", true},
                 {"a/*", "a/b/*", true},  {"a/*", "a", false},    {"a/*", "ab/c", false},
                 {"a/b/*", "a/*", false}, {"a", "a", true},       {"a", "a/*", false},
                 {"a", "ab", false},      {"a/*", "a-b/*", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (access_pattern_covers(cases[i].wide, cases[i].narrow) != cases[i].covers)
            fail_msg("%s over %s", cases[i].wide, cases[i].narrow);
}

#define place_test(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(pattern_grammar),
        cmocka_unit_test(actions),
        cmocka_unit_test(subjects),
        cmocka_unit_test(needs),
        cmocka_unit_test(coverings),
        place_test(groups_give_rights),
        place_test(everybody_has_what_anonymous_has),
        place_test(an_api_token_narrows),
        place_test(a_scope_narrows),
        place_test(what_is_seen),
        cmocka_unit_test_setup_teardown(decisions, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(admin_is_not_everything, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

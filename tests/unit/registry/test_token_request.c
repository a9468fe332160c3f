/* What clients ask of /auth/token, as they write it. */
#include "registry/token_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *text, struct token_request *out, struct error *err)
{
    return token_request_parse(text, strlen(text), out, err);
}

static unsigned actions_of(const struct token_request *r, const char *repository)
{
    for (size_t i = 0; i < r->scopes.n; i++)
        if (strcmp(r->scopes.list[i].repository, repository) == 0)
            return r->scopes.list[i].actions;
    return 0;
}

static void a_query_of_docker(void **state)
{
    (void)state;
    CLEANUP(token_request_done) struct token_request r;
    assert_int_equal(parse("account=bob&client_id=docker&offline_token=true"
                           "&scope=repository%3Aacme%2Fapp%3Apull%2Cpush"
                           "&scope=repository%3Alibrary%2Fbase%3Apull&service=bulla-registry",
                           &r, NULL),
                     0);
    assert_string_equal(r.service, "bulla-registry");
    assert_string_equal(r.grant_type, "");
    assert_int_equal(r.scopes.n, 2);
    assert_int_equal(actions_of(&r, "acme/app"), ACCESS_PULL | ACCESS_PUSH);
    assert_int_equal(actions_of(&r, "library/base"), ACCESS_PULL);
    assert_false(r.scopes.catalog);
}

static void a_form_of_containerd(void **state)
{
    (void)state;
    CLEANUP(token_request_done) struct token_request r;
    assert_int_equal(parse("client_id=containerd-client&grant_type=password&password=p%26%2B+%C3%A9"
                           "&scope=repository%3Aacme%2Fapp%3Apull+repository%3Aacme%2Fapp%3Apush"
                           "+registry%3Acatalog%3A*&service=bulla-registry&username=bob",
                           &r, NULL),
                     0);
    assert_string_equal(r.grant_type, "password");
    assert_string_equal(r.username, "bob");
    assert_string_equal(r.password, "p&+ \xc3\xa9");
    assert_int_equal(r.scopes.n, 1);
    assert_int_equal(actions_of(&r, "acme/app"), ACCESS_PULL | ACCESS_PUSH);
    assert_true(r.scopes.catalog);
}

static void scopes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *repository;
        unsigned actions;
    } cases[] = {
        {"repository:a:*", "a", ACCESS_ALL},
        {"repository:a:sign", "a", ACCESS_SIGN},
        {"repository:a:pull,fly,push", "a", ACCESS_PULL | ACCESS_PUSH},
        {"repository:a:pull,", "a", ACCESS_PULL},
        {"repository:a:fly", "a", 0},
        {"repository:a:", "a", 0},
        {"repository:a:PULL", "a", 0},
        {"repository:A:pull", "A", 0},
        {"repository:a/*:pull", "a/*", 0},
        {"repository:*:pull", "*", 0},
        {"repository:../a:pull", "../a", 0},
        {"repository(plugin):a:pull", "a", 0},
        {"Repository:a:pull", "a", 0},
        {"repository::pull", "", 0},
        {"repository:h:5000/a:pull", "h:5000/a", 0},
        {"repository:acme/apple:pull", "acme/app", 0},
        {"  repository:a:pull  repository:b:push ", "b", ACCESS_PUSH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(token_request_done) struct token_request r;
        char text[200];
        snprintf(text, sizeof text, "scope=%s", cases[i].text);
        assert_int_equal(parse(text, &r, NULL), 0);
        if (actions_of(&r, cases[i].repository) != cases[i].actions)
            fail_msg("'%s'", cases[i].text);
        assert_false(r.scopes.catalog);
    }
}

static void what_is_no_request(void **state)
{
    (void)state;
    static const char *const bad[] = {"scope=repository",
                                      "scope=repository:a",
                                      "scope=pull",
                                      "scope=%",
                                      "scope=%4",
                                      "scope=%zz",
                                      "scope=repository:a:pull%0",
                                      "scope=repository%00:a:b",
                                      "service=a&service=b",
                                      "password=a&password=b",
                                      "username=%00",
                                      "grant_type=a&grant_type=b",
                                      "grant_type=0123456789012345678901234567890123456789"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CLEANUP(token_request_done) struct token_request r;
        if (parse(bad[i], &r, NULL) != E_INVALID)
            fail_msg("'%s' was taken", bad[i]);
    }
    static const char *const harmless[] = {"",    "&",   "=",      "&&=&",   "x",
                                           "x=%", "%=y", "scope=", "a=1&a=2"};
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        CLEANUP(token_request_done) struct token_request r;
        assert_int_equal(parse(harmless[i], &r, NULL), 0);
        assert_int_equal(r.scopes.n, 0);
    }
}

static void too_much(void **state)
{
    (void)state;
    CLEANUP(token_request_done) struct token_request r, s;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    for (unsigned i = 0; i <= ACCESS_SCOPES_MAX; i++)
        assert_int_equal(
            bytes_append_format(&text, NULL, "%sscope=repository:r%u:pull", i ? "&" : "", i), 0);
    assert_int_equal(token_request_parse(bytes_text(&text), text.len, &r, NULL), E_LIMIT);
    while (text.len <= TOKEN_REQUEST_MAX)
        assert_int_equal(bytes_append_text(&text, "&x=y", NULL), 0);
    assert_int_equal(token_request_parse(bytes_text(&text), text.len, &s, NULL), E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_of_docker),
        cmocka_unit_test(a_form_of_containerd),
        cmocka_unit_test(scopes),
        cmocka_unit_test(what_is_no_request),
        cmocka_unit_test(too_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

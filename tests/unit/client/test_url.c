/* URLs, challenges and media of peers: what is refused matters more than what is read. */
#include "client/challenge.h"
#include "client/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *text, struct url *u)
{
    struct error err = ERROR_INIT;
    return url_parse(text, strlen(text), u, &err);
}

static void good_urls_are_read(void **state)
{
    (void)state;
    struct url u;
    assert_int_equal(parse("https://Registry.Example.com:5443/v2/a?b=c", &u), OK);
    assert_true(u.https);
    assert_string_equal(u.host, "registry.example.com");
    assert_string_equal(u.authority, "Registry.Example.com:5443");
    assert_int_equal(u.port, 5443);
    assert_string_equal(u.path, "/v2/a?b=c");
    assert_int_equal(parse("http://[::1]", &u), OK);
    assert_false(u.https);
    assert_string_equal(u.host, "[::1]");
    assert_int_equal(u.port, 80);
    assert_string_equal(u.path, "/");
    assert_int_equal(parse("HTTPS://h/%2e%2e", &u), OK);
    assert_int_equal(u.port, 443);
    assert_string_equal(u.path, "/%2e%2e");
}

static void bad_urls_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "h/v2/",
        "ftp://h/",
        "https:/h/",
        "https://",
        "https:///v2",
        "https://u@h/",
        "https://u:p@h/",
        "https://good\\@evil/",
        "https://h:0/",
        "https://h:65536/",
        "https://h:/",
        "https://h:+1/",
        "https://h:1:2/",
        "https://h..x/",
        "https://.h/",
        "https://h./",
        "https://-h/",
        "https://h_x/",
        "https://h%2f/",
        "https://[::1/",
        "https://[]/",
        "https://[::1%25eth0]/",
        "https://[::1]x/",
        "https://h?x",
        "https://h#x",
        "https://h/a b",
        "https://h/a\r\nX: y",
        "https://h/a#b",
        "https://h/a\\b",
        "https://h/\xc3\xa4",
        "https://h/\x7f",
        "https://\xc3\xa4/",
    };
    struct url u;
    memset(&u, 0x55, sizeof u);
    struct url before = u;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parse(bad[i], &u) != E_INVALID)
            fail_msg("'%s' was accepted", bad[i]);
    assert_memory_equal(&u, &before, sizeof u);
    assert_int_equal(url_parse("https://h/\0x", 12, &u, NULL), E_INVALID);
}

static void long_urls_are_refused(void **state)
{
    (void)state;
    struct url u;
    char text[URL_MAX + 64];
    memset(text, 'a', sizeof text);
    memcpy(text, "https://h/", 10);
    assert_int_equal(url_parse(text, 9 + URL_MAX, &u, NULL), OK);
    assert_int_equal(strlen(u.path), URL_MAX);
    assert_int_equal(url_parse(text, 10 + URL_MAX, &u, NULL), E_INVALID);
    assert_int_equal(url_add_query(&u, "a", "b", NULL), E_LIMIT);
    memset(text + 8, 'h', 254);
    assert_int_equal(url_parse(text, 8 + 253, &u, NULL), OK);
    assert_int_equal(url_parse(text, 8 + 254, &u, NULL), E_INVALID);
}

static void locations_resolve(void **state)
{
    (void)state;
    struct url base, u;
    struct error err = ERROR_INIT;
    assert_int_equal(parse("https://r.example:5443/v2/x", &base), OK);
    assert_int_equal(url_resolve(&base, "/v2/u/1?s=2", &u, &err), OK);
    assert_true(url_same_origin(&base, &u));
    assert_string_equal(u.path, "/v2/u/1?s=2");
    assert_int_equal(url_resolve(&base, "https://R.EXAMPLE:5443/y", &u, &err), OK);
    assert_true(url_same_origin(&base, &u));
    static const char *const elsewhere[] = {"http://r.example:5443/y", "https://r.example/y",
                                            "https://r.example.evil:5443/y", "https://evil:5443/"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        assert_int_equal(url_resolve(&base, elsewhere[i], &u, &err), OK);
        assert_false(url_same_origin(&base, &u));
    }
    static const char *const bad[] = {"", "//evil/v2", "v2/u", "../x", "?x", "/\\evil", "/a b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(url_resolve(&base, bad[i], &u, &err), E_PROTOCOL);
        assert_int_equal(err.code, E_PROTOCOL);
    }
}

static void queries_are_encoded(void **state)
{
    (void)state;
    struct url u;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    assert_int_equal(parse("https://h/a", &u), OK);
    assert_int_equal(url_add_query(&u, "digest", "sha256:00", NULL), OK);
    assert_int_equal(url_add_query(&u, "s", "a b&c=\xc3\xa4\r\n", NULL), OK);
    assert_int_equal(url_format(&u, &text, NULL), OK);
    assert_string_equal(bytes_text(&text),
                        "https://h/a?digest=sha256%3A00&s=a%20b%26c%3D%C3%A4%0D%0A");
}

static int challenge(const char *text, struct challenge *ch)
{
    struct error err = ERROR_INIT;
    return challenge_parse(text, strlen(text), ch, &err);
}

static void challenges_are_read(void **state)
{
    (void)state;
    struct challenge ch;
    assert_int_equal(challenge("Bearer realm=\"https://h/auth/token\",service=\"h\", "
                               "scope=\"repository:a/b:pull,push\"",
                               &ch),
                     OK);
    assert_int_equal(ch.scheme, CHALLENGE_BEARER);
    assert_string_equal(ch.realm, "https://h/auth/token");
    assert_string_equal(ch.service, "h");
    assert_string_equal(ch.scope, "repository:a/b:pull,push");
    assert_int_equal(challenge("bASIC Realm = a\\\"b , error=\"x\"", &ch), OK);
    assert_int_equal(ch.scheme, CHALLENGE_BASIC);
    assert_string_equal(ch.realm, "a\\\"b");
    assert_string_equal(ch.scope, "");
    assert_int_equal(challenge("Bearer realm=\"a\\\"b\"", &ch), OK);
    assert_string_equal(ch.realm, "a\"b");
    assert_int_equal(challenge("Negotiate YII==", &ch), OK);
    assert_int_equal(ch.scheme, CHALLENGE_OTHER);
}

static void bad_challenges_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "  ",
                                      "\"x\"",
                                      "Bearer realm",
                                      "Bearer realm=\"x",
                                      "Bearer realm=\"x\\",
                                      "Bearer realm=\"x\" service=\"y\"",
                                      "Bearer realm=\"x\",realm=\"y\"",
                                      "Bearer realm=\"x\ny\"",
                                      "Bearer realm=\"\x80\"",
                                      "Bearer =x"};
    struct challenge ch;
    memset(&ch, 0x55, sizeof ch);
    struct challenge before = ch;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (challenge(bad[i], &ch) != E_PROTOCOL)
            fail_msg("'%s' was accepted", bad[i]);
    char text[CHALLENGE_VALUE_MAX + 32] = "Bearer realm=\"";
    memset(text + 14, 'x', CHALLENGE_VALUE_MAX + 1);
    strcpy(text + 14 + CHALLENGE_VALUE_MAX + 1, "\"");
    assert_int_equal(challenge(text, &ch), E_PROTOCOL);
    assert_memory_equal(&ch, &before, sizeof ch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls_are_read),         cmocka_unit_test(bad_urls_are_refused),
        cmocka_unit_test(long_urls_are_refused),      cmocka_unit_test(locations_resolve),
        cmocka_unit_test(queries_are_encoded),        cmocka_unit_test(challenges_are_read),
        cmocka_unit_test(bad_challenges_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

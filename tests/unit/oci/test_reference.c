#include "oci/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct good_case {
    const char *text, *host, *repository, *tag, *canonical;
};

static void accepts_and_formats(void **state)
{
    static const struct good_case cases[] = {
        {"127.0.0.1:5443/acme/app:v1", "127.0.0.1:5443", "acme/app", "v1", NULL},
        {"localhost/app", "localhost", "app", "latest", "localhost/app:latest"},
        {"[::1]:5443/a/b:x", "[::1]:5443", "a/b", "x", NULL},
        {"Registry.Example.COM/app:V1", "registry.example.com", "app", "V1",
         "registry.example.com/app:V1"},
        {"r.io/a_b/c__d/e-f/g---h.i:_t", "r.io", "a_b/c__d/e-f/g---h.i", "_t", NULL},
        {"r.io/app@sha256:" HEX64, "r.io", "app", "", NULL},
        {"r.io/app:v1@sha256:" HEX64, "r.io", "app", "v1", NULL},
        {"r.io/app@sha512:" HEX64 HEX64, "r.io", "app", "", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct reference ref;
        char text[REFERENCE_TEXT_MAX];
        assert_int_equal(reference_parse(cases[i].text, &ref, &err), OK);
        assert_string_equal(ref.host, cases[i].host);
        assert_string_equal(ref.repository, cases[i].repository);
        assert_string_equal(ref.tag, cases[i].tag);
        const char *want = cases[i].canonical ? cases[i].canonical : cases[i].text;
        assert_string_equal(reference_format(&ref, text), want);
    }
}

static void refuses_malformed_text(void **state)
{
    static const char *const cases[] = {
        "",
        "app",
        "app:v1",
        "acme/app:v1",
        "/app",
        "r.io",
        "r.io/",
        "r.io//app",
        "r.io/app/",
        "r.io/App",
        "r.io/app:",
        "r.io/app:-x",
        "r.io/app:.x",
        "r.io/app:a:b",
        "r.io/app@",
        "r.io/app@sha256:",
        "r.io/app@sha256:abc",
        "r.io/app@md5:" HEX64,
        "r.io/app@SHA256:" HEX64,
        "r.io/app@sha256:" HEX64 "0",
        "r.io/app@sha256:" HEX64 "@sha256:" HEX64,
        "r.io/../app",
        "r.io/a/../b",
        "r.io/./a",
        "r.io/a..b",
        "r.io/a___b",
        "r.io/_trust",
        "r.io/a_",
        "r.io/-a",
        "r.io/a%2fb",
        "r.io/a b",
        "r.io/a\nb",
        " r.io/a",
        "r.io/a ",
        "r..io/a",
        "-r.io/a",
        "r-.io/a",
        "r.io./a",
        "r.io:/a",
        "r.io:0/a",
        "r.io:65536/a",
        "r.io:08/a",
        "r.io:5x/a",
        "r.io:1:2/a",
        "[::1/a",
        "[::1]x/a",
        "[]/a",
        "[12]/a",
        "[::g]:1/a",
        "user@r.io/a",
        "https://r.io/a",
        "r.io/a?b",
        "r.io/\xc3\xa4",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct reference ref = {.host = "untouched"};
        int rc = reference_parse(cases[i], &ref, &err);
        if (rc != E_USAGE)
            fail_msg("'%s' gave %d", cases[i], rc);
        assert_string_equal(ref.host, "untouched");
        assert_true(strlen(err.message) > 10);
    }
}

static void limits_are_exact(void **state)
{
    char name[300];
    (void)state;
    memset(name, 'a', sizeof name);
    assert_true(repository_name_valid(name, 255));
    assert_false(repository_name_valid(name, 256));
    assert_false(repository_name_valid(name, 0));
    assert_true(tag_name_valid(name, 128));
    assert_false(tag_name_valid(name, 129));
    assert_false(tag_name_valid(name, 0));
    assert_false(repository_name_valid("a\0b", 3));
    assert_false(tag_name_valid("a\0b", 3));
}

static void longest_reference_survives(void **state)
{
    struct reference ref, again;
    char text[REFERENCE_TEXT_MAX];
    (void)state;
    memset(&ref, 0, sizeof ref);
    for (size_t i = 0; i < 253; i++)
        ref.host[i] = i % 50 == 49 ? '.' : 'h';
    memcpy(ref.host + 253, ":65535", 7);
    memset(ref.repository, 'r', REFERENCE_REPOSITORY_MAX);
    memset(ref.tag, 't', REFERENCE_TAG_MAX);
    ref.digest.alg = DIGEST_SHA512;
    assert_int_equal(reference_parse(reference_format(&ref, text), &again, NULL), OK);
    assert_memory_equal(&ref, &again, sizeof ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_and_formats),
        cmocka_unit_test(refuses_malformed_text),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(longest_reference_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

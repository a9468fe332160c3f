#include "runner/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void volumes(void **state)
{
    (void)state;
    char good[] = "/src:/dst", ro[] = "/src/a b:/dst:ro", rw[] = "/s:/d:rw";
    struct run_volume v;
    assert_int_equal(options_parse_volume(good, &v, NULL), OK);
    assert_string_equal(v.source, "/src");
    assert_string_equal(v.destination, "/dst");
    assert_false(v.read_only);
    assert_int_equal(options_parse_volume(ro, &v, NULL), OK);
    assert_string_equal(v.source, "/src/a b");
    assert_true(v.read_only);
    assert_int_equal(options_parse_volume(rw, &v, NULL), OK);
    assert_false(v.read_only);
    static const char *const bad[] = {"",          "/src",       "/src:",    "src:/dst",
                                      "/src:dst",  "/s:/d:",     "/s:/d:RO", "/s:/d:ro,rw",
                                      "/s:/d:ro:", "/s:/a/../b", "/s/..:/d", ":/d"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        struct error err = ERROR_INIT;
        struct run_volume before = {"x", "y", true};
        v = before;
        snprintf(text, sizeof text, "%s", bad[i]);
        if (options_parse_volume(text, &v, &err) != E_USAGE)
            fail_msg("'%s' passed", bad[i]);
        assert_ptr_equal(v.source, before.source);
        assert_ptr_equal(v.destination, before.destination);
    }
}

static void places_are_recognised_however_they_are_written(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct run_volume v[4];
    struct run_tmpfs t;
    char texts[4][32] = {"/a:/x/y/z", "/b:/x//", "/c:/w/", "/d:/x/y:ro"};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(options_parse_volume(texts[i], &v[i], &err), OK);
    options_sort_volumes(v, 4);
    assert_string_equal(v[0].destination, "/x");
    assert_string_equal(v[1].destination, "/w");
    assert_string_equal(v[2].destination, "/x/y");
    assert_string_equal(v[3].source, "/a");
    char slash[] = "/tmp/:size=64k", root[] = "/a:/", root_tmpfs[] = "//";
    assert_int_equal(options_parse_tmpfs(slash, &t, &err), OK);
    assert_string_equal(t.destination, "/tmp");
    assert_int_equal(options_parse_volume(root, &v[0], &err), E_USAGE);
    assert_non_null(strstr(err.message, "root"));
    assert_int_equal(options_parse_tmpfs(root_tmpfs, &t, &err), E_USAGE);
}

static void tmpfs(void **state)
{
    (void)state;
    char plain[] = "/a", full[] = "/a:size=64k,mode=0700,rw,nosuid,nodev";
    struct run_tmpfs t;
    assert_int_equal(options_parse_tmpfs(plain, &t, NULL), OK);
    assert_string_equal(t.destination, "/a");
    assert_int_equal(t.size_bytes, 0);
    assert_int_equal(t.mode, 0);
    assert_int_equal(options_parse_tmpfs(full, &t, NULL), OK);
    assert_int_equal(t.size_bytes, 65536);
    assert_int_equal(t.mode, 0700);
    static const char *const bad[] = {
        "",          "a",         "/a:",        "/a:size=",      "/a:size=x",
        "/a:size=0", "/a:mode=8", "/a:mode=",   "/a:mode=77777", "/a:exec",
        "/a:suid",   "/a:dev",    "/a:size=1,", "/../a",         "/a:uid=0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", bad[i]);
        if (options_parse_tmpfs(text, &t, NULL) != E_USAGE)
            fail_msg("'%s' passed", bad[i]);
    }
    /* Neither setuid nor more: nosuid makes it void, so it is not kept. */
    char setuid[] = "/a:mode=4755";
    assert_int_equal(options_parse_tmpfs(setuid, &t, NULL), OK);
    assert_int_equal(t.mode, 0755);
}

static void limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t milli;
    } cpus[] = {{"1", 1000},    {"1.5", 1500},     {"0.01", 10},
                {"0.125", 125}, {"4096", 4096000}, {"2.05", 2050}};
    uint32_t n = 7;
    uint64_t bytes = 7;
    for (size_t i = 0; i < sizeof cpus / sizeof cpus[0]; i++) {
        assert_int_equal(options_parse_cpus(cpus[i].text, &n, NULL), OK);
        assert_int_equal(n, cpus[i].milli);
    }
    static const char *const bad[] = {"",   "0",  "0.009", ".5",   "1.",  "1.2345",
                                      "-1", "+1", "1e1",   "4097", "1,5", "99999999999999999999",
                                      " 1", "1 "};
    n = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (options_parse_cpus(bad[i], &n, NULL) != E_USAGE)
            fail_msg("'%s' passed", bad[i]);
    assert_int_equal(n, 7);
    assert_int_equal(options_parse_memory("4m", &bytes, NULL), OK);
    assert_int_equal(bytes, 4 << 20);
    assert_int_equal(options_parse_memory("4194303", &bytes, NULL), E_USAGE);
    assert_int_equal(options_parse_memory("18446744073709551615", &bytes, NULL), E_USAGE);
    assert_int_equal(options_parse_memory("x", &bytes, NULL), E_USAGE);
    assert_int_equal(options_parse_pids("5", &n, NULL), OK);
    assert_int_equal(n, 5);
    assert_int_equal(options_parse_pids("0", &n, NULL), OK);
    assert_int_equal(n, RUN_PIDS_NO_LIMIT);
    assert_int_equal(options_parse_pids("-1", &n, NULL), OK);
    assert_int_equal(n, RUN_PIDS_NO_LIMIT);
    assert_int_equal(options_parse_pids("-2", &n, NULL), E_USAGE);
    assert_int_equal(options_parse_pids("4294967295", &n, NULL), E_USAGE);
    assert_int_equal(options_parse_pids("", &n, NULL), E_USAGE);
}

static void networks(void **state)
{
    (void)state;
    assert_int_equal(options_check_network("none", NULL), OK);
    assert_int_equal(options_check_network("private", NULL), E_UNSUPPORTED);
    assert_int_equal(options_check_network("host", NULL), E_UNSUPPORTED);
    assert_int_equal(options_check_network("container:x", NULL), E_UNSUPPORTED);
    assert_int_equal(options_check_network("bridge", NULL), E_USAGE);
    assert_int_equal(options_check_network("", NULL), E_USAGE);
}

static void paths(void **state)
{
    (void)state;
    assert_int_equal(options_check_path("/", "it", NULL), OK);
    assert_int_equal(options_check_path("/a/b..c/..d/e../...", "it", NULL), OK);
    static const char *const bad[] = {"", "a", "..", "/..", "/a/..", "/a/../b", "//..//", "/../a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (options_check_path(bad[i], "it", NULL) != E_USAGE)
            fail_msg("'%s' passed", bad[i]);
    char longest[5000];
    memset(longest, 'a', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(options_check_path(longest, "it", NULL), E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(volumes),
        cmocka_unit_test(places_are_recognised_however_they_are_written),
        cmocka_unit_test(tmpfs),
        cmocka_unit_test(limits),
        cmocka_unit_test(networks),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

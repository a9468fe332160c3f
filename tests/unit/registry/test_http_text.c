/* Escapes, queries, ranges and multipart types: what the registry reads for itself. */
#include "registry/http_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void decode_plain_and_escaped(void **state)
{
    (void)state;
    char out[16] = "kept";
    assert_int_equal(http_decode("a%2Fb%3a", 8, out, sizeof out, NULL), 0);
    assert_string_equal(out, "a/b:");
    assert_int_equal(http_decode("", 0, out, sizeof out, NULL), 0);
    assert_string_equal(out, "");
    /* once only */
    assert_int_equal(http_decode("%252e", 5, out, sizeof out, NULL), 0);
    assert_string_equal(out, "%2e");
}

static void decode_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"%",    "%2",   "%zz", "%00", "a%0a", "%7f",
                                      "\x01", "\x80", "%ff", "%+1", "% 1",  "%2"};
    char out[16];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (http_decode(bad[i], strlen(bad[i]), out, sizeof out, NULL) != E_INVALID)
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(http_decode("0123456789abcdef", 16, out, sizeof out, NULL), E_LIMIT);
    assert_int_equal(http_decode("0123456789abcde", 15, out, sizeof out, NULL), 0);
}

static void query_values(void **state)
{
    (void)state;
    char out[32];
    bool found = false;
    static const char query[] = "digest=sha256%3Aab&from=acme%2Fapp&n=&flag&nn=1";
    assert_int_equal(http_query_get(query, "digest", out, sizeof out, &found, NULL), 0);
    assert_true(found);
    assert_string_equal(out, "sha256:ab");
    assert_int_equal(http_query_get(query, "from", out, sizeof out, &found, NULL), 0);
    assert_string_equal(out, "acme/app");
    assert_int_equal(http_query_get(query, "n", out, sizeof out, &found, NULL), 0);
    assert_true(found);
    assert_string_equal(out, "");
    assert_int_equal(http_query_get(query, "flag", out, sizeof out, &found, NULL), 0);
    assert_true(found);
    assert_int_equal(http_query_get(query, "other", out, sizeof out, &found, NULL), 0);
    assert_false(found);
    assert_int_equal(http_query_get(NULL, "n", out, sizeof out, &found, NULL), 0);
    assert_false(found);
    assert_int_equal(http_query_get("n=1&n=2", "n", out, sizeof out, &found, NULL), E_INVALID);
    assert_int_equal(http_query_get("n=1&n", "n", out, sizeof out, &found, NULL), E_INVALID);
}

static void repeated_query_values(void **state)
{
    (void)state;
    char out[8];
    bool found = false;
    size_t at = 0;
    static const char query[] = "tag=a&x=1&tag=b%2Ec&tags=no&tag=&tag";
    static const char *const want[] = {"a", "b.c", "", ""};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(http_query_next(query, "tag", &at, out, sizeof out, &found, NULL), 0);
        assert_true(found);
        assert_string_equal(out, want[i]);
    }
    assert_int_equal(http_query_next(query, "tag", &at, out, sizeof out, &found, NULL), 0);
    assert_false(found);
    at = 0;
    assert_int_equal(http_query_next("tag=12345678", "tag", &at, out, sizeof out, &found, NULL),
                     E_LIMIT);
    at = 0;
    assert_int_equal(http_query_next("tag=%zz", "tag", &at, out, sizeof out, &found, NULL),
                     E_INVALID);
    at = 0;
    assert_int_equal(http_query_next(NULL, "tag", &at, out, sizeof out, &found, NULL), 0);
    assert_false(found);
}

static void entity_tags(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool strong, weak;
    } cases[] = {
        {NULL, false, false},           {"", false, false},
        {"\"a:b\"", true, true},        {"a:b", true, true},
        {"W/\"a:b\"", false, true},     {"*", true, true},
        {"\"x\", \"a:b\"", true, true}, {"\"a:bc\"", false, false},
        {"\"a:b", false, false},        {"\"x\",W/\"a:b\"", false, true},
        {"w/\"a:b\"", false, false},    {"\"\"", false, false},
        {" , ,\"a:b\" ,", true, true},  {"**", false, false},
        {"\"", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (http_etag_listed(cases[i].list, "a:b", false) != cases[i].strong ||
            http_etag_listed(cases[i].list, "a:b", true) != cases[i].weak)
            fail_msg("case %zu: %s", i, cases[i].list ? cases[i].list : "NULL");
    }
}

struct range_case {
    const char *text;
    int rc;
    bool partial;
    uint64_t offset, len;
};

static void ranges(void **state)
{
    (void)state;
    static const struct range_case cases[] = {
        {"bytes=500-1499", 0, true, 500, 1000},
        {"bytes=500-", 0, true, 500, 1500},
        {"bytes=-500", 0, true, 1500, 500},
        {"bytes=-5000", 0, true, 0, 2000},
        {"bytes=0-0", 0, true, 0, 1},
        {"bytes=1999-99999", 0, true, 1999, 1},
        {"Bytes=1-2", 0, true, 1, 2},
        {"lines=1-2", 0, false, 7, 7},
        {"bytes=2000-", E_RANGE, false, 0, 0},
        {"bytes=2000-2001", E_RANGE, false, 0, 0},
        {"bytes=5-4", E_RANGE, false, 0, 0},
        {"bytes=-0", E_RANGE, false, 0, 0},
        {"bytes=-", E_RANGE, false, 0, 0},
        {"bytes=", E_RANGE, false, 0, 0},
        {"bytes=1", E_RANGE, false, 0, 0},
        {"bytes=a-b", E_RANGE, false, 0, 0},
        {"bytes=1-2x", E_RANGE, false, 0, 0},
        {"bytes=+1-2", E_RANGE, false, 0, 0},
        {"bytes=0-,0-,0-", E_RANGE, false, 0, 0},
        {"bytes=0-1,3-4", E_RANGE, false, 0, 0},
        {"bytes=18446744073709551616-", E_RANGE, false, 0, 0},
        {"bytes=0-18446744073709551616", E_RANGE, false, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t offset = 7, len = 7;
        bool partial = true;
        int rc = http_range_parse(cases[i].text, 2000, &offset, &len, &partial, NULL);
        if (rc != cases[i].rc || (rc == 0 && partial != cases[i].partial))
            fail_msg("%s: %d", cases[i].text, rc);
        if (rc == 0 && (offset != cases[i].offset || len != cases[i].len))
            fail_msg("%s: %llu+%llu", cases[i].text, (unsigned long long)offset,
                     (unsigned long long)len);
    }
    uint64_t offset = 0, len = 0;
    bool partial = false;
    assert_int_equal(http_range_parse("bytes=0-0", 0, &offset, &len, &partial, NULL), E_RANGE);
    assert_int_equal(http_range_parse("bytes=-1", 0, &offset, &len, &partial, NULL), E_RANGE);
}

static void content_ranges(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "-",
                                      "1-",
                                      "-1",
                                      "2-1",
                                      "a-b",
                                      "1-2x",
                                      " 1-2",
                                      "1 - 2",
                                      "0x1-2",
                                      "1-99999999999999999999"};
    uint64_t first = 9, last = 9;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (http_content_range_parse(bad[i], &first, &last, NULL) != E_INVALID)
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(first, 9);
    assert_int_equal(http_content_range_parse("0-1023", &first, &last, NULL), 0);
    assert_int_equal(first, 0);
    assert_int_equal(last, 1023);
    assert_int_equal(http_content_range_parse("bytes 5-6/*", &first, &last, NULL), 0);
    assert_int_equal(first, 5);
    assert_int_equal(last, 6);
}

static void multipart_types(void **state)
{
    (void)state;
    static const char *const good[] = {"multipart/form-data; boundary=abc",
                                       "Multipart/Form-Data;boundary=\"a b\"",
                                       "multipart/form-data; boundary=----x.y_z'()+"};
    static const char *const bad[] = {"",
                                      "application/json",
                                      "multipart/form-data",
                                      "multipart/form-data;",
                                      "multipart/form-data; boundary=",
                                      "multipart/form-data; boundary=\"\"",
                                      "multipart/form-data; boundary=\"abc",
                                      "multipart/form-data; boundary=a b",
                                      "multipart/form-data; boundary=a; boundary=b",
                                      "multipart/form-data; charset=x; boundary=b",
                                      "multipart/mixed; boundary=b"};
    /* the second of the good ones has a blank, which is no token character */
    assert_int_equal(http_multipart_check(good[0], NULL), 0);
    assert_int_equal(http_multipart_check(good[1], NULL), E_INVALID);
    assert_int_equal(http_multipart_check(good[2], NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (http_multipart_check(bad[i], NULL) != E_INVALID)
            fail_msg("'%s' was taken", bad[i]);
    char text[128] = "multipart/form-data; boundary=";
    size_t at = strlen(text);
    memset(text + at, 'b', 70);
    assert_int_equal(http_multipart_check(text, NULL), 0);
    text[at + 70] = 'b';
    assert_int_equal(http_multipart_check(text, NULL), E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_plain_and_escaped),
        cmocka_unit_test(decode_refuses),
        cmocka_unit_test(query_values),
        cmocka_unit_test(repeated_query_values),
        cmocka_unit_test(entity_tags),
        cmocka_unit_test(ranges),
        cmocka_unit_test(content_ranges),
        cmocka_unit_test(multipart_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

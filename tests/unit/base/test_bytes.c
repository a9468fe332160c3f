#include "base/bytes.h"
#include "tests/support/alloc_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_buffer_grows_and_stays_terminated(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    assert_string_equal(bytes_text(&b), "");
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(bytes_append(&b, "abc", 3, &err), OK);
        assert_int_equal(b.data[b.len], 0);
    }
    assert_int_equal(b.len, 3000);
    assert_int_equal(bytes_append(&b, NULL, 0, &err), OK);
    bytes_clear(&b);
    assert_string_equal(bytes_text(&b), "");
    assert_int_equal(bytes_append_format(&b, &err, "%d-%s", 7, "x"), OK);
    assert_int_equal(bytes_append_text(&b, "!", &err), OK);
    assert_string_equal(bytes_text(&b), "7-x!");
    struct bytes moved = bytes_take(&b);
    assert_null(b.data);
    assert_int_equal(b.len + b.cap, 0);
    assert_string_equal(bytes_text(&moved), "7-x!");
    bytes_done(&moved);
    bytes_done(&moved); /* the empty value is fine */
}

static void absurd_sizes_are_out_of_memory(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    assert_int_equal(bytes_append_text(&b, "keep", &err), OK);
    assert_int_equal(bytes_reserve(&b, SIZE_MAX, &err), E_NOMEM);
    assert_int_equal(bytes_reserve(&b, SIZE_MAX - 4, &err), E_NOMEM);
    assert_int_equal(bytes_reserve(&b, SIZE_MAX / 2, &err), E_NOMEM);
    assert_string_equal(bytes_text(&b), "keep");
}

static void hex_is_exact(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    uint8_t out[4] = {9, 9, 9, 9};
    char text[9];
    hex_encode("\x00\x7f\x80\xff", 4, text);
    assert_string_equal(text, "007f80ff");
    assert_int_equal(hex_decode("007F80fF", 8, out, 4, &err), OK);
    assert_memory_equal(out, "\x00\x7f\x80\xff", 4);
    static const char *const bad[] = {"",         "007f80f",  "007f80ff0", "007f80fg",
                                      "007f80f ", "0x7f80ff", "007f80ff00"};
    memset(out, 9, sizeof out);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(hex_decode(bad[i], strlen(bad[i]), out, 4, &err), E_INVALID);
        assert_memory_equal(out, "\x09\x09\x09\x09", 4);
    }
    assert_int_equal(hex_decode("00\0f80ff", 8, out, 4, &err), E_INVALID);
}

static void base64_knows_the_vectors(void **state)
{
    (void)state;
    /* Source: RFC 4648, section 10. */
    static const struct {
        const char *plain, *text;
    } cases[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},
                 {"fooba", "Zm9vYmE="},
                 {"foobar", "Zm9vYmFy"}};
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
        assert_int_equal(base64_encode(cases[i].plain, strlen(cases[i].plain), &b, &err), OK);
        assert_string_equal(bytes_text(&b), cases[i].text);
        bytes_clear(&b);
        assert_int_equal(bytes_append_text(&b, "<", &err), OK);
        assert_int_equal(base64_decode(cases[i].text, strlen(cases[i].text), &b, &err), OK);
        assert_int_equal(b.len, 1 + strlen(cases[i].plain));
        assert_string_equal(bytes_text(&b) + 1, cases[i].plain);
    }
}

static void base64_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z",     "Zg",   "Zg=",  "Zg===",    "Zm9v\n", "Zm9 ",
                                      " Zm9",  "Zm=v", "=m9v", "====",     "Z===",   "Zm-_",
                                      "Zm9v=", "Zh==", "Zm9=", "Zg==Zg==", "Zg=v",   "Zm\xc3\xbc"};
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
        assert_int_equal(bytes_append_text(&b, "keep", &err), OK);
        assert_int_equal(base64_decode(bad[i], strlen(bad[i]), &b, &err), E_INVALID);
        assert_string_equal(bytes_text(&b), "keep");
        assert_int_equal(b.len, 4);
    }
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    assert_int_equal(base64_decode("Zm\0v", 4, &b, &err), E_INVALID);
}

static void numbers_are_digits_only(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    uint64_t n = 1;
    assert_int_equal(text_to_u64("18446744073709551615", 20, UINT64_MAX, &n, &err), OK);
    assert_true(n == UINT64_MAX);
    assert_int_equal(text_to_u64("007", 3, 7, &n, &err), OK);
    assert_int_equal(n, 7);
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "1e3",
                                      "18446744073709551616",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(text_to_u64(bad[i], strlen(bad[i]), UINT64_MAX, &n, &err), E_INVALID);
    assert_int_equal(text_to_u64("8", 1, 7, &n, &err), E_INVALID);
    assert_int_equal(n, 7);
}

static void durations_and_sizes_have_units(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    int64_t s = -1;
    uint64_t n = 1;
    static const struct {
        const char *text;
        int64_t seconds;
    } durations[] = {{"0", 0},         {"90", 90},         {"90s", 90},
                     {"15m", 15 * 60}, {"24h", 24 * 3600}, {"30d", 30 * 86400}};
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        assert_int_equal(text_to_duration(durations[i].text, &s, &err), OK);
        assert_int_equal(s, durations[i].seconds);
    }
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {{"0", 0},         {"1048576", 1048576},
                 {"64k", 65536},   {"512M", 512u << 20},
                 {"1g", 1u << 30}, {"7b", 7}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(text_to_size(sizes[i].text, &n, &err), OK);
        assert_int_equal(n, sizes[i].bytes);
    }
    static const char *const bad[] = {"",
                                      "s",
                                      "-1s",
                                      "1.5h",
                                      "1 h",
                                      "1hh",
                                      "1w",
                                      "h1",
                                      "\x80",
                                      "9223372036854775808",
                                      "106751991167301d"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(text_to_duration(bad[i], &s, &err), E_INVALID);
    assert_int_equal(s, 30 * 86400);
    assert_int_equal(text_to_size("8589934592g", &n, &err), E_INVALID);
    assert_int_equal(text_to_size("1t", &n, &err), E_INVALID);
}

static void text_helpers(void **state)
{
    (void)state;
    assert_true(text_starts("abc", "ab") && text_starts("abc", "") && !text_starts("ab", "abc"));
    assert_true(text_ends("abc", "bc") && text_ends("abc", "") && !text_ends("bc", "abc"));
    assert_true(bytes_equal("ab", 2, "ab", 2) && !bytes_equal("ab", 2, "ab", 1));
    assert_true(bytes_equal(NULL, 0, NULL, 0));
}

static int everything_that_allocates(void *context, struct error *err)
{
    (void)context;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    int rc = bytes_append_text(&b, "text", err);
    if (!rc)
        rc = bytes_append_format(&b, err, "%0200d", 7);
    if (!rc)
        rc = base64_encode(bytes_text(&b), 99, &b, err);
    if (!rc)
        rc = base64_decode("Zm9vYmFy", 8, &b, err);
    return rc;
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    alloc_fail_each(everything_that_allocates, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_grows_and_stays_terminated),
        cmocka_unit_test(absurd_sizes_are_out_of_memory),
        cmocka_unit_test(hex_is_exact),
        cmocka_unit_test(base64_knows_the_vectors),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(numbers_are_digits_only),
        cmocka_unit_test(durations_and_sizes_have_units),
        cmocka_unit_test(text_helpers),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

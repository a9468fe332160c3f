#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void dates_that_exist(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t time_s;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},          {"2000-02-29T12:00:00Z", 951825600},
        {"2024-02-29T23:59:59Z", 1709251199}, {"2026-12-08T00:00:00Z", 1796688000},
        {"2038-01-19T03:14:08Z", 2147483648}, {"9999-12-31T23:59:59Z", 253402300799},
    };
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t t = -1;
        char text[CLOCK_TEXT_MAX];
        assert_int_equal(clock_parse(cases[i].text, &t, &err), OK);
        assert_int_equal(t, cases[i].time_s);
        assert_string_equal(clock_format(t, text), cases[i].text);
    }
}

static void dates_that_do_not(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026-02-31T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z", /* a leap second has no place in Unix time */
        "9999-12-31T23:59:60Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:00:00.5Z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00z",
        "2026-1-01T00:00:00Z",
        "+026-01-01T00:00:00Z",
        "2026-01-01T00:00:00ZZ",
        " 2026-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2026-01-01T0 :00:00Z",
    };
    int64_t t = 77;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error err = ERROR_INIT;
        if (clock_parse(bad[i], &t, &err) != E_INVALID)
            fail_msg("'%s' was accepted", bad[i]);
        assert_int_equal(t, 77);
    }
}

static void local_time_zones_do_not_matter(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    int64_t t = -1;
    char text[CLOCK_TEXT_MAX];
    assert_int_equal(setenv("TZ", "America/New_York", 1), 0);
    tzset();
    assert_int_equal(clock_parse("2026-07-01T00:00:00Z", &t, &err), OK);
    assert_int_equal(t, 1782864000);
    assert_string_equal(clock_format(t, text), "2026-07-01T00:00:00Z");
    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
}

static void out_of_range_is_clamped(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_MAX];
    assert_string_equal(clock_format(-1, text), "1970-01-01T00:00:00Z");
    assert_string_equal(clock_format(INT64_MIN, text), "1970-01-01T00:00:00Z");
    assert_string_equal(clock_format(INT64_MAX, text), "9999-12-31T23:59:59Z");
}

static void tests_can_set_the_clock(void **state)
{
    (void)state;
    int64_t fixed = 12345;
    clock_use_for_test(&fixed);
    assert_int_equal(clock_now_s(), 12345);
    fixed++;
    assert_int_equal(clock_now_s(), 12346);
    clock_use_for_test(NULL);
    int64_t now = clock_now_s();
    assert_in_range(time(NULL) - now, 0, 2);
    int64_t first = clock_monotonic_ms();
    assert_int_equal(nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL), 0);
    assert_in_range(clock_monotonic_ms() - first, 4, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_that_exist),
        cmocka_unit_test(dates_that_do_not),
        cmocka_unit_test(local_time_zones_do_not_matter),
        cmocka_unit_test(out_of_range_is_clamped),
        cmocka_unit_test(tests_can_set_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

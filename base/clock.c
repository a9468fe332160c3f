#include "base/clock.h"

#include <string.h>
#include <time.h>

static const int64_t *test_source;

void clock_use_for_test(const int64_t *source)
{
    test_source = source;
}

int64_t clock_now_s(void)
{
    return test_source ? *test_source : (int64_t)time(NULL);
}

int64_t clock_monotonic_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_monotonic_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int digits(const char *text, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

int clock_parse(const char *text, int64_t *out_s, struct error *err)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
    size_t len = strlen(text);
    int good = len == sizeof shape - 1;
    for (size_t i = 0; good && i < len; i++)
        good = shape[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == shape[i];
    if (!good)
        return fail(err, E_INVALID, "'%.40s' is not a date of the form YYYY-MM-DDTHH:MM:SSZ", text);
    struct tm tm = {
        .tm_year = digits(text, 4) - 1900,
        .tm_mon = digits(text + 5, 2) - 1,
        .tm_mday = digits(text + 8, 2),
        .tm_hour = digits(text + 11, 2),
        .tm_min = digits(text + 14, 2),
        .tm_sec = digits(text + 17, 2),
    };
    struct tm normal = tm;
    time_t t = timegm(&normal);
    /* timegm accepts 31 February and makes 3 March of it; what changed did not exist. */
    if (normal.tm_mon != tm.tm_mon || normal.tm_mday != tm.tm_mday ||
        normal.tm_hour != tm.tm_hour || normal.tm_min != tm.tm_min || normal.tm_sec != tm.tm_sec)
        return fail(err, E_INVALID, "'%s' is not a date that exists", text);
    *out_s = (int64_t)t;
    return OK;
}

const char *clock_format(int64_t time_s, char out[CLOCK_TEXT_MAX])
{
    static const int64_t last = 253402300799; /* 9999-12-31T23:59:59Z */
    time_t t = (time_t)(time_s < 0 ? 0 : time_s > last ? last : time_s);
    struct tm tm;
    (void)gmtime_r(&t, &tm);
    (void)strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return out;
}

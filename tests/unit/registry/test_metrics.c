/* Counting from many threads, and the text that comes of it. */
#include "registry/metrics.h"
#include "registry/route.h"
#include "tests/support/alloc_fail.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4
#define EACH    20000

static void *count(void *context)
{
    (void)context;
    for (int i = 0; i < EACH; i++)
        metrics_add(METRICS_GC_BYTES, 3);
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint64_t before = metrics_counted(METRICS_GC_BYTES);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metrics_counted(METRICS_GC_BYTES) - before, 3 * THREADS * EACH);
}

static bool says(const struct bytes *text, const char *line)
{
    return strstr(bytes_text(text), line) != NULL;
}

static void requests_are_sorted(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    const struct metrics_request requests[] = {
        {ROUTE_BLOB, HTTP_GET, 206, 1000, 0, 7},     {ROUTE_BLOB, HTTP_GET, 200, 1001, 0, 7},
        {ROUTE_BLOB, HTTP_GET, 404, 70000000, 0, 7}, {METRICS_NO_ROUTE, HTTP_OTHER, 405, 1, 5, 0},
        {ROUTE_BLOB, HTTP_DELETE, 0, 1, 0, 0},       {1000000, HTTP_GET, 200, 1, 0, 0},
        {ROUTE_METRICS, HTTP_GET, 99999, 1, 0, 0}};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        metrics_request(&requests[i]);
    metrics_set(METRICS_OPEN_UPLOADS, 4);
    metrics_move(METRICS_OPEN_UPLOADS, -6);
    assert_int_equal(metrics_write(&text, NULL), 0);
    assert_true(
        says(&text, "bulla_requests_total{route=\"blob\",method=\"GET\",status=\"2xx\"} 2\n"));
    assert_true(
        says(&text, "bulla_requests_total{route=\"blob\",method=\"GET\",status=\"4xx\"} 1\n"));
    assert_true(
        says(&text, "bulla_requests_total{route=\"blob\",method=\"DELETE\",status=\"none\"} 1\n"));
    assert_true(says(&text, "{route=\"none\",method=\"OTHER\",status=\"4xx\"} 1\n"));
    assert_true(says(&text, "{route=\"none\",method=\"GET\",status=\"2xx\"} 1\n"));
    assert_true(says(&text, "{route=\"metrics\",method=\"GET\",status=\"none\"} 1\n"));
    assert_true(says(&text, "duration_seconds_bucket{route=\"blob\",le=\"0.001\"} 2\n"));
    assert_true(says(&text, "duration_seconds_bucket{route=\"blob\",le=\"0.0025\"} 3\n"));
    assert_true(says(&text, "duration_seconds_bucket{route=\"blob\",le=\"60\"} 3\n"));
    assert_true(says(&text, "duration_seconds_bucket{route=\"blob\",le=\"+Inf\"} 4\n"));
    assert_true(says(&text, "duration_seconds_sum{route=\"blob\"} 70.002002\n"));
    assert_true(says(&text, "bulla_received_bytes_total 5\n"));
    assert_true(says(&text, "bulla_sent_bytes_total 21\n"));
    assert_true(says(&text, "bulla_uploads_open -2\n"));
    assert_false(says(&text, "route=\"unknown\""));
}

static void labels_are_escaped(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    assert_int_equal(metrics_write_label(&text, "a", "x\"y\\z\nw", NULL), 0);
    assert_string_equal(bytes_text(&text), "a=\"x\\\"y\\\\z\\nw\"");
}

static void every_counter_has_name_and_help(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    assert_int_equal(metrics_write(&text, NULL), 0);
    assert_false(says(&text, "(null)"));
    assert_false(says(&text, "# HELP  "));
}

static int write_all(void *context, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    (void)context;
    return metrics_write(&text, err);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    alloc_fail_each(write_all, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(requests_are_sorted),
        cmocka_unit_test(labels_are_escaped),
        cmocka_unit_test(every_counter_has_name_and_help),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

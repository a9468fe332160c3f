/* The cache of small blobs: what it remembers, and that it stays small. */
#include "registry/blob_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct blob_cache *cache;

static int setup(void **state)
{
    (void)state;
    return blob_cache_new(&cache, NULL);
}

static int teardown(void **state)
{
    (void)state;
    blob_cache_free(cache);
    return 0;
}

static struct digest number(unsigned i)
{
    struct digest d;
    assert_int_equal(digest_of(DIGEST_SHA256, &i, sizeof i, &d, NULL), 0);
    return d;
}

static bool has(const struct digest *d, struct bytes *out)
{
    bool found = false;
    assert_int_equal(blob_cache_find(cache, d, BLOB_CACHE_EACH, out, &found, NULL), 0);
    return found;
}

static void keep(const struct digest *d, size_t len)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    assert_int_equal(bytes_reserve(&data, len, NULL), 0);
    memset(data.data, d->bytes[0], len);
    data.len = len;
    blob_cache_keep(cache, d, &data, blob_cache_turn(cache));
}

static void found_as_kept(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes got = BYTES_INIT;
    struct digest a = number(1), b = number(2), other = a;
    keep(&a, 100);
    keep(&b, 0);
    assert_true(has(&a, &got));
    assert_int_equal(got.len, 100);
    assert_int_equal(got.data[99], a.bytes[0]);
    assert_true(has(&b, &got));
    other.alg = DIGEST_SHA512;
    assert_false(has(&other, &got));
    other = a;
    other.bytes[31] ^= 1;
    assert_false(has(&other, &got));
    assert_int_equal(got.len, 100);
    blob_cache_forget(cache, &a);
    assert_false(has(&a, &got));
}

/* Forgotten while another thread was reading it: the reader's bytes are too old. */
static void what_was_read_before_is_not_kept(void **state)
{
    (void)state;
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    struct digest a = number(1);
    uint64_t turn = blob_cache_turn(cache);
    blob_cache_forget(cache, &a);
    assert_int_equal(bytes_append_text(&data, "old", NULL), 0);
    blob_cache_keep(cache, &a, &data, turn);
    assert_false(has(&a, &data));
}

static void memory_is_bounded_and_hot_ones_stay(void **state)
{
    (void)state;
    struct digest hot = number(0);
    size_t bytes = 0;
    keep(&hot, BLOB_CACHE_EACH + 1);
    CLEANUP(bytes_done) struct bytes got = BYTES_INIT;
    assert_false(has(&hot, &got));
    for (unsigned i = 1; i < 3000; i++) {
        struct digest d = number(i);
        keep(&d, BLOB_CACHE_EACH);
    }
    for (unsigned i = 1; i < 3000; i++) {
        struct digest d = number(i);
        bytes += has(&d, &got) ? BLOB_CACHE_EACH : 0;
        bytes_clear(&got);
    }
    assert_in_range(bytes, BLOB_CACHE_BYTES / 2, BLOB_CACHE_BYTES);
    /* Within its set the one in use outlives the others. */
    keep(&hot, 10);
    for (unsigned i = 3000; i < 6000; i++) {
        struct digest d = number(i);
        keep(&d, 10);
        assert_true(has(&hot, &got));
    }
}

#define cache_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cache_test(found_as_kept),
        cache_test(what_was_read_before_is_not_kept),
        cache_test(memory_is_bounded_and_hot_ones_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

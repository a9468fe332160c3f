/* How many bins `trust split` makes. */
#include "signer/collection_change.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_best_number_of_bins(void **state)
{
    (void)state;
    assert_int_equal(change_split_bits(0), 1);
    assert_int_equal(change_split_bits(1), 1);
    assert_int_equal(change_split_bits(1000), 5);
    assert_int_equal(change_split_bits(10000), 7);
    assert_int_equal(change_split_bits(100000), 8);
    assert_int_equal(change_split_bits(1000000), 10);
    /* The most that is published. */
    assert_int_equal(change_split_bits(100000000), 11);
    assert_int_equal(change_split_bits(UINT64_MAX), 11);
}

static void test_more_tags_never_fewer_bins(void **state)
{
    (void)state;
    unsigned last = 0;
    for (uint64_t n = 1; n < UINT64_C(1) << 32; n *= 2) {
        unsigned bits = change_split_bits(n);
        assert_true(bits >= last);
        last = bits;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_number_of_bins),
        cmocka_unit_test(test_more_tags_never_fewer_bins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

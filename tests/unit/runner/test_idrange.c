#include "base/cleanup.h"
#include "runner/idrange.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static size_t count(const bool used[IDRANGE_COUNT])
{
    size_t n = 0;
    for (size_t i = 0; i < IDRANGE_COUNT; i++)
        n += used[i];
    return n;
}

static void accounts_are_seen(void **state)
{
    (void)state;
    static bool used[IDRANGE_COUNT];
    memset(used, 0, sizeof used);
    idrange_mark_accounts("root:x:0:0::/:/\n"
                          "first:x:1879048192:5::/:/\n" /* 0x70000000 */
                          "edge:x:1879113727:5::/:/\n"  /* last of the first range */
                          "third:x:5:1879179264::/:/\n" /* primary group, 0x70020000 */
                          "garbage:x:1879244800x:5::/:/\n"
                          "big:x:99999999999999999999:5::/:/\n"
                          "short\n:::\n\n"
                          "last:x:2147483647:5::/:/", /* 0x7fffffff, no line break */
                          used);
    assert_true(used[0] && used[2] && used[IDRANGE_COUNT - 1]);
    assert_int_equal(count(used), 3);
    memset(used, 0, sizeof used);
    idrange_mark_accounts("", used);
    idrange_mark_accounts("beyond:x:2147483648:2147483648::/:/\nbelow:x:1879048191:1::/:/\n", used);
    assert_int_equal(count(used), 0);
    idrange_mark_accounts("group:x:1879048192:ann,bob\n", used);
    assert_int_equal(count(used), 1);
}

static void subordinates_are_seen(void **state)
{
    (void)state;
    static bool used[IDRANGE_COUNT];
    memset(used, 0, sizeof used);
    idrange_mark_subordinate("ann:100000:65536\n"
                             "bob:1879048191:2\n"     /* the last below and the first of ours */
                             "eve:1879179264:65537\n" /* the third, and one of the fourth */
                             "bad:1879500000\nbad:x:1\n",
                             used);
    assert_true(used[0] && used[2] && used[3]);
    assert_int_equal(count(used), 3);
    idrange_mark_subordinate("all:0:4294967295\n", used);
    assert_int_equal(count(used), IDRANGE_COUNT);
    memset(used, 0, sizeof used);
    idrange_mark_subordinate("none:1879048192:0\nover:4294967295:4294967295\n", used);
    assert_int_equal(count(used), 0);
}

static void ranges_are_exclusive(void **state)
{
    const struct scratch *s = *state;
    struct idrange one = IDRANGE_INIT, two = IDRANGE_INIT, again = IDRANGE_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(idrange_take(s->fd, &one, &err), OK);
    assert_int_equal(idrange_take(s->fd, &two, &err), OK);
    assert_int_not_equal(one.index, two.index);
    assert_int_equal(one.base, IDRANGE_FIRST + one.index * IDRANGE_SIZE);
    assert_true(one.base + IDRANGE_SIZE <= two.base || two.base + IDRANGE_SIZE <= one.base);
    assert_int_equal(idrange_take_index(s->fd, one.index, &again, &err), E_BUSY);
    assert_int_equal(again.lock_fd, -1);
    idrange_release(&one);
    assert_int_equal(one.lock_fd, -1);
    assert_int_equal(idrange_take_index(s->fd, one.index, &again, &err), OK);
    idrange_release(&again);
    idrange_release(&two);
    idrange_release(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_are_seen),
        cmocka_unit_test(subordinates_are_seen),
        cmocka_unit_test_setup_teardown(ranges_are_exclusive, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

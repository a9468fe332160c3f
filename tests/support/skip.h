/*
 * cmocka's skip(), with a reason that scripts/test.sh shows.
 */
#ifndef BULLA_TESTS_SUPPORT_SKIP_H
#define BULLA_TESTS_SUPPORT_SKIP_H

/* Ends the test as skipped. reason: a string literal, one line, without a full stop. */
#define skip_test(reason)                                                                          \
    do {                                                                                           \
        print_message("# reason: %s\n", reason);                                                   \
        skip();                                                                                    \
    } while (0)

#endif

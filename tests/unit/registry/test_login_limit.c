/* Attempts to log in: who waits, who does not, and what a full table does. */
#include "registry/login_limit.h"
#include "registry/password.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct login_limit *limit;
static int64_t now_ms;

static int setup(void **state)
{
    (void)state;
    now_ms = 1000;
    return password_init(NULL) || login_limit_new(&limit, NULL);
}

static int teardown(void **state)
{
    (void)state;
    login_limit_free(limit);
    return 0;
}

/* Seconds to wait; 0: the attempt may be made. */
static unsigned attempt(const char *user, const char *address)
{
    const struct login_attempt a = {user, address, now_ms};
    unsigned wait_s = 0;
    int rc = login_limit_take(limit, &a, &wait_s, NULL);
    assert_true(rc == 0 ? wait_s == 0 : rc == E_BUSY && wait_s > 0);
    return wait_s;
}

static void succeed(const char *user, const char *address)
{
    const struct login_attempt a = {user, address, now_ms};
    assert_int_equal(attempt(user, address), 0);
    login_limit_give_back(limit, &a, true);
}

static void guessing_is_slow_and_goes_on(void **state)
{
    (void)state;
    for (int i = 0; i < LOGIN_PAIR_BURST; i++)
        assert_int_equal(attempt("bob", "192.0.2.1"), 0);
    assert_int_equal(attempt("bob", "192.0.2.1"), LOGIN_PAIR_EVERY_MS / 1000);
    now_ms += LOGIN_PAIR_EVERY_MS - 1;
    assert_int_equal(attempt("bob", "192.0.2.1"), 1);
    now_ms += 1;
    assert_int_equal(attempt("bob", "192.0.2.1"), 0);
    assert_int_not_equal(attempt("bob", "192.0.2.1"), 0);
}

/* What one address does to a name never reaches the owner of the name elsewhere, however long. */
static void the_owner_is_not_locked_out(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++) {
        (void)attempt("bob", "192.0.2.1");
        now_ms += 200;
    }
    assert_int_equal(attempt("bob", "198.51.100.1"), 0);
    assert_int_equal(attempt("alice", "198.51.100.1"), 0);
}

/* Many addresses together use up the name for strangers, not for who was here before. */
static void many_addresses_and_one_who_is_known(void **state)
{
    (void)state;
    char address[32];
    const struct login_attempt here = {"bob", "198.51.100.1", now_ms};
    login_limit_note_known(limit, &here);
    unsigned wait = 0;
    for (int i = 0; i < LOGIN_USER_BURST + 1; i++) {
        snprintf(address, sizeof address, "192.0.2.%d", i);
        wait = attempt("bob", address);
    }
    assert_int_not_equal(wait, 0);
    assert_int_not_equal(attempt("bob", "203.0.113.1"), 0);
    for (int i = 0; i < LOGIN_PAIR_BURST; i++)
        assert_int_equal(attempt("bob", "198.51.100.1"), 0);
    assert_int_not_equal(attempt("bob", "198.51.100.1"), 0);
    now_ms += (int64_t)LOGIN_KNOWN_S * 1000 + 1;
    assert_int_equal(attempt("bob", "203.0.113.1"), 0); /* nobody is locked out for good */
}

static void one_address_tries_many_names(void **state)
{
    (void)state;
    char user[32];
    unsigned wait = 0;
    for (int i = 0; i < LOGIN_ADDRESS_BURST + 1; i++) {
        snprintf(user, sizeof user, "user%d", i);
        wait = attempt(user, "192.0.2.1");
    }
    assert_int_equal(wait, LOGIN_ADDRESS_EVERY_MS / 1000);
    assert_int_equal(attempt("user1", "192.0.2.2"), 0);
}

static void a_network_of_version_six_is_one_address(void **state)
{
    (void)state;
    char user[32], address[64];
    unsigned wait = 0;
    for (int i = 0; i < LOGIN_ADDRESS_BURST + 1; i++) {
        snprintf(user, sizeof user, "user%d", i);
        snprintf(address, sizeof address, "2001:db8:1:2::%x", i);
        wait = attempt(user, address);
    }
    assert_int_not_equal(wait, 0);
    assert_int_equal(attempt("x", "2001:db8:1:3::1"), 0);
    /* Addresses of version 4 in the other's clothes stay apart. */
    assert_int_equal(attempt("y", "::ffff:192.0.2.7"), 0);
}

static void successes_cost_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        succeed("bob", "192.0.2.1");
    for (int i = 0; i < 1000; i++) { /* not computed at all: the queue was full */
        const struct login_attempt a = {"eve", "192.0.2.9", now_ms};
        assert_int_equal(attempt("eve", "192.0.2.9"), 0);
        login_limit_give_back(limit, &a, false);
    }
}

/* A flood of names and addresses does not wash away who is being slowed. */
static void a_full_table_forgets_the_harmless_first(void **state)
{
    (void)state;
    char user[32], address[32];
    while (attempt("bob", "192.0.2.1") == 0)
        ;
    succeed("carol", "192.0.2.77");
    for (int i = 0; i < LOGIN_USER_BURST + 1; i++) {
        snprintf(address, sizeof address, "192.0.2.%d", 100 + i);
        (void)attempt("carol", address);
    }
    for (int i = 0; i < 60000; i++) {
        snprintf(user, sizeof user, "user%d", i);
        snprintf(address, sizeof address, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        (void)attempt(user, address);
    }
    assert_int_not_equal(attempt("bob", "192.0.2.1"), 0);
    assert_int_not_equal(attempt("carol", "192.0.2.78"), 0);
    assert_int_equal(attempt("carol", "192.0.2.77"), 0);
}

#define limit_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        limit_test(guessing_is_slow_and_goes_on),
        limit_test(the_owner_is_not_locked_out),
        limit_test(many_addresses_and_one_who_is_known),
        limit_test(one_address_tries_many_names),
        limit_test(a_network_of_version_six_is_one_address),
        limit_test(successes_cost_nothing),
        limit_test(a_full_table_forgets_the_harmless_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "runner/user.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "ann:x:1000:1001:Ann:/home/ann:/bin/sh\n"
                             "second:x:1000:7::/second:/bin/sh\n"
                             "77:x:0:0:digits:/:/bin/sh\n"
                             "nohome:x:5:5:::\n"
                             "relative:x:6:6::home:\n"
                             "last:x:9:10::/last:/bin/sh"; /* no line break at the end */
static const char group[] = "root:x:0:\nstaff:x:50:ann,second\nannex:x:51:annex,ann2\n"
                            "wheel:x:10:second,ann\nprimary:x:1001:ann\nempty:x:60:\n";

static int setup(void **state)
{
    if (scratch_setup(state))
        return -1;
    const struct scratch *s = *state;
    mkdirat(s->fd, "etc", 0700);
    scratch_write_text(s, "etc/passwd", passwd);
    scratch_write_text(s, "etc/group", group);
    return 0;
}

struct good {
    const char *text;
    unsigned uid, gid, groups[4];
    size_t n_groups;
    const char *home;
};

static void finds_users(void **state)
{
    static const struct good cases[] = {
        {"", 0, 0, {0}, 0, "/root"},
        {"root", 0, 0, {0}, 0, "/root"},
        {"0", 0, 0, {0}, 0, "/root"},
        {"000", 0, 0, {0}, 0, "/root"},
        {"ann", 1000, 1001, {50, 10}, 2, "/home/ann"},
        {"1000", 1000, 1001, {50, 10}, 2, "/home/ann"},
        {"second", 1000, 7, {50, 10}, 2, "/second"},
        {"ann:50", 1000, 50, {0}, 0, "/home/ann"},
        {"ann:wheel", 1000, 10, {0}, 0, "/home/ann"},
        {"ann:4000", 1000, 4000, {0}, 0, "/home/ann"},
        {"4711", 4711, 4711, {0}, 0, "/"},
        {"4711:staff", 4711, 50, {0}, 0, "/"},
        {"77", 77, 77, {0}, 0, "/"},
        {"65535:65535", 65535, 65535, {0}, 0, "/"},
        {"nohome", 5, 5, {0}, 0, "/"},
        {"relative", 6, 6, {0}, 0, "/"},
        {"last", 9, 10, {0}, 0, "/last"},
    };
    const struct scratch *s = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run_user user;
        struct error err = ERROR_INIT;
        if (user_lookup(s->fd, cases[i].text, &user, &err))
            fail_msg("'%s': %s", cases[i].text, err.message);
        assert_int_equal(user.uid, cases[i].uid);
        assert_int_equal(user.gid, cases[i].gid);
        assert_int_equal(user.n_groups, cases[i].n_groups);
        for (size_t g = 0; g < user.n_groups; g++)
            assert_int_equal(user.groups[g], cases[i].groups[g]);
        assert_string_equal(user.home, cases[i].home);
    }
}

static void refuses(const struct scratch *s, const char *text, int code)
{
    struct run_user user, before;
    struct error err = ERROR_INIT;
    memset(&user, 0x5a, sizeof user);
    memcpy(&before, &user, sizeof user);
    int rc = user_lookup(s->fd, text, &user, &err);
    if (rc != code)
        fail_msg("'%s': %d instead of %d (%s)", text, rc, code, err.message);
    assert_int_equal(err.code, code);
    assert_memory_equal(&user, &before, sizeof user);
}

static void refuses_what_it_does_not_understand(void **state)
{
    static const char *const malformed[] = {
        ":",
        ":0",
        "0:",
        "ann:",
        "ann:0:0",
        "65536",
        "4294967296",
        "ann:65536",
        "4294967295",
        "18446744073709551616",
        "ann\nroot",
        "root:0\n",
        "0:4294967296",
        "99999999999999999999999999999999999999",
    };
    static const char *const unknown[] = {
        "-1", "+0", "0x0", " 0", "0 ", "1e0", "nobody", "ann:nobody", "ro", "roott", "ann:-1", "*",
    };
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
        refuses(*state, malformed[i], E_INVALID);
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        refuses(*state, unknown[i], E_NOTFOUND);
    char longest[400];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    refuses(*state, longest, E_INVALID);
}

static void refuses_malformed_entries(void **state)
{
    const struct scratch *s = *state;
    static const char *const lines[] = {
        "ann:x:4294967296:0::/:/bin/sh\n",
        "ann:x:-1:0::/:/bin/sh\n",
        "ann:x::0::/:/bin/sh\n",
        "ann:x:0x0:0::/:/bin/sh\n",
        "ann:x:1:65536::/:/\n",
        "ann:x:1:::/:/\n",
        "ann:x:1:1::/\n",
        "ann:x:1:1::/:/:/\n",
        "ann\n",
        "ann:\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        scratch_write_text(s, "etc/passwd", lines[i]);
        refuses(s, "ann", E_INVALID);
    }
    scratch_write(s, "etc/passwd", "ann:x:1:1:\0:/:/\n", 17);
    refuses(s, "ann", E_INVALID);
    scratch_write_text(s, "etc/passwd", passwd);
    static const char *const groups[] = {"staff:x:4294967296:ann\n", "staff:x::ann\n",
                                         "staff:x:-1:ann\n"};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        scratch_write_text(s, "etc/group", groups[i]);
        refuses(s, "ann:staff", E_INVALID);
        refuses(s, "ann", E_INVALID);
    }
}

static void limits(void **state)
{
    const struct scratch *s = *state;
    char text[8192] = "";
    for (int i = 0; i < USER_MAX_GROUPS + 1; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "g%d:x:%d:ann\n", i, 100 + i);
    scratch_write_text(s, "etc/group", text);
    refuses(s, "ann", E_LIMIT);
    /* One fewer is fine. */
    *strrchr(text, 'g') = '\0';
    scratch_write_text(s, "etc/group", text);
    struct run_user user;
    struct error err = ERROR_INIT;
    assert_int_equal(user_lookup(s->fd, "ann", &user, &err), OK);
    assert_int_equal(user.n_groups, USER_MAX_GROUPS);
    snprintf(text, sizeof text, "ann:x:1:1::/%0300d:/\n", 0);
    scratch_write_text(s, "etc/passwd", text);
    refuses(s, "ann", E_LIMIT);
}

static void files_of_other_kinds(void **state)
{
    const struct scratch *s = *state;
    unlinkat(s->fd, "etc/passwd", 0);
    refuses(s, "ann", E_NOTFOUND);
    struct run_user user;
    assert_int_equal(user_lookup(s->fd, "12", &user, NULL), OK);
    assert_int_equal(user.gid, 12);
    assert_int_equal(mkfifoat(s->fd, "etc/passwd", 0600), 0);
    refuses(s, "ann", E_INVALID);
    unlinkat(s->fd, "etc/passwd", 0);
    assert_int_equal(symlinkat("/etc/group", s->fd, "etc/passwd"), 0);
    /* Inside the root: the image's own group file, in which root is malformed as a user. */
    refuses(s, "root", E_INVALID);
    unlinkat(s->fd, "etc/passwd", 0);
    assert_int_equal(symlinkat("../../../../../../../../../../etc/passwd", s->fd, "etc/passwd"), 0);
    refuses(s, "root", E_SYS);
}

static int look_up(void *context, struct error *err)
{
    const struct scratch *s = context;
    struct run_user user;
    return user_lookup(s->fd, "ann:wheel", &user, err);
}

static void memory_runs_out(void **state)
{
    alloc_fail_each(look_up, *state, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_users, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(refuses_what_it_does_not_understand, setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(refuses_malformed_entries, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(limits, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(files_of_other_kinds, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(memory_runs_out, setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

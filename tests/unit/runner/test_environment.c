#include "runner/environment.h"
#include "runner/run.h"
#include "tests/support/alloc_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *value(char **env, const char *name)
{
    const char *found = NULL;
    size_t len = strlen(name);
    for (; *env; env++) {
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=') {
            assert_null(found); /* no name twice */
            found = *env + len + 1;
        }
    }
    return found;
}

static void later_wins(void **state)
{
    (void)state;
    setenv("BULLA_TEST_LEAK", "1", 1);
    static const char *const set[] = {"A=1", "AB=2", "PATH=/x", "A=3", "EMPTY=", "EQ=a=b", NULL};
    char **env = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(environment_new(set, "/home", "box", &env, &err), OK);
    assert_string_equal(value(env, "A"), "3");
    assert_string_equal(value(env, "AB"), "2");
    assert_string_equal(value(env, "PATH"), "/x");
    assert_string_equal(value(env, "HOME"), "/home");
    assert_string_equal(value(env, "HOSTNAME"), "box");
    assert_string_equal(value(env, "EMPTY"), "");
    assert_string_equal(value(env, "EQ"), "a=b");
    assert_null(value(env, "BULLA_TEST_LEAK"));
    environment_free(env);
    assert_int_equal(environment_new(NULL, "/", "box", &env, &err), OK);
    assert_non_null(strstr(value(env, "PATH"), "/bin"));
    environment_free(env);
    environment_free(NULL);
}

static void refuses(void **state)
{
    (void)state;
    static const char *const bad[][2] = {{"NAME", NULL}, {"=x", NULL}, {"", NULL}};
    char **env = (char **)0x1;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(environment_new(bad[i], "/", "box", &env, NULL), E_INVALID);
    static const char *many[RUN_MAX_ENV + 2];
    for (size_t i = 0; i <= RUN_MAX_ENV; i++)
        many[i] = "A=1";
    assert_int_equal(environment_new(many, "/", "box", &env, NULL), E_LIMIT);
    assert_ptr_equal(env, (char **)0x1);
}

static int make(void *context, struct error *err)
{
    static const char *const set[] = {"A=1", "B=2", "A=3", NULL};
    (void)context;
    char **env = NULL;
    int rc = environment_new(set, "/", "box", &env, err);
    environment_free(env);
    return rc;
}

static void memory_runs_out(void **state)
{
    (void)state;
    alloc_fail_each(make, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_wins),
        cmocka_unit_test(refuses),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Limits of a run on which several policy files have a say. */
#include "cli/run_limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void add_file(struct policy *p, const char *name, const char *run)
{
    char text[256];
    struct error err = ERROR_INIT;
    snprintf(text, sizeof text, "{\"version\":1,\"scopes\":{\"r.io\":{\"run\":{%s}}}}", run);
    if (policy_file_parse(text, strlen(text), name, &p->files[p->n_files], &err) != OK)
        fail_msg("%s", err.message);
    p->paths[p->n_files] = strdup(name);
    p->n_files++;
}

static struct run_limits constrained(const char *first, const char *second, uint64_t asked,
                                     int want)
{
    struct policy p = {.n_files = 0};
    struct error err = ERROR_INIT;
    struct reference ref;
    struct decision decision;
    struct run_plan plan = {.spec = {.limits = {.memory_bytes = asked}}};
    add_file(&p, "system", first);
    add_file(&p, "user", second);
    p.is_system[0] = true;
    assert_int_equal(reference_parse("r.io/a/b:v1", &ref, &err), OK);
    assert_int_equal(policy_decide(&p, &ref, &decision, &err), OK);
    assert_int_equal(run_plan_constrain(&plan, &decision, &err), want);
    policy_done(&p);
    return plan.spec.limits;
}

static void the_narrower_limit_holds_in_any_order(void **state)
{
    (void)state;
    const uint64_t mib = 1u << 20;
    const char *wide = "\"memory\":\"512m\",\"pids\":256", *narrow = "\"memory\":\"256m\"";
    assert_int_equal(constrained(wide, narrow, 0, OK).memory_bytes, 256 * mib);
    assert_int_equal(constrained(narrow, wide, 0, OK).memory_bytes, 256 * mib);
    assert_int_equal(constrained(wide, "\"pids\":100", 0, OK).pids, 100);
    assert_int_equal(constrained("\"pids\":100", wide, 0, OK).pids, 100);
}

static void what_the_caller_asked_for_is_refused_beyond_it(void **state)
{
    (void)state;
    const uint64_t mib = 1u << 20;
    const char *wide = "\"memory\":\"512m\"", *narrow = "\"memory\":\"256m\"";
    assert_int_equal(constrained(wide, narrow, 128 * mib, OK).memory_bytes, 128 * mib);
    (void)constrained(wide, narrow, 300 * mib, E_POLICY);
    (void)constrained(narrow, wide, 300 * mib, E_POLICY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_narrower_limit_holds_in_any_order),
        cmocka_unit_test(what_the_caller_asked_for_is_refused_beyond_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

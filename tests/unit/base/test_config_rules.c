/* The lists in registry.yaml: what they become, and that every fault is named with its line. */
#include "base/config.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int load(const struct scratch *s, const char *text, struct server_config *out,
                struct error *err)
{
    scratch_write_text(s, "f.yaml", text);
    return server_config_load(scratch_name(s, "f.yaml"), out, err);
}

static const char all[] = "tags:\n"
                          "  immutable:\n"
                          "    - repository: \"acme/*\"\n"
                          "      pattern: \"v*\"\n"
                          "    - {repository: one, pattern: \"*\"}\n"
                          "retention:\n"
                          "  - repository: ci/app\n"
                          "    keepLast: 10\n"
                          "    keepWithin: 30d\n"
                          "    keepTags: [\"release-*\", stable]\n"
                          "  - repository: \"*\"\n"
                          "    deleteUntagged: 0s\n"
                          "quotas:\n"
                          "  - prefix: acme\n"
                          "    bytes: 10g\n"
                          "  - prefix: \"*\"\n"
                          "    repositories: 50\n"
                          "mirrors:\n"
                          "  - repository: copies/app\n"
                          "    collection: acme/app\n"
                          "    root: /etc/acme.root.json\n"
                          "  - repository: \"hub/*\"\n"
                          "    collection: \"*\"\n"
                          "    root: hub.json\n"
                          "  - repository: \"*\"\n"
                          "    root: a/b.json\n";

static void lists_are_read(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(server_config_done) struct server_config c = {0};
    assert_int_equal(load(s, all, &c, &err), OK);
    const struct config_rules *r = &c.rules;
    assert_int_equal(r->n_immutable, 2);
    assert_string_equal(r->immutable[0].repository, "acme/*");
    assert_string_equal(r->immutable[1].pattern, "*");
    assert_int_equal(r->n_retention, 2);
    assert_int_equal(r->retention[0].keep_last, 10);
    assert_int_equal(r->retention[0].keep_within_s, 30 * 86400);
    assert_int_equal(r->retention[0].n_keep_tags, 2);
    assert_string_equal(r->retention[0].keep_tags[1], "stable");
    assert_int_equal(r->retention[0].delete_untagged_s, -1);
    assert_int_equal(r->retention[1].keep_last, 0);
    assert_int_equal(r->retention[1].keep_within_s, -1);
    assert_int_equal(r->retention[1].delete_untagged_s, 0);
    assert_int_equal(r->n_quotas, 2);
    assert_int_equal(r->quotas[0].bytes, 10ull << 30);
    assert_int_equal(r->quotas[0].repositories, 0);
    assert_string_equal(r->quotas[1].prefix, "");
    assert_int_equal(r->quotas[1].repositories, 50);
    assert_int_equal(r->n_mirrors, 3);
    assert_string_equal(r->mirrors[0].repository, "copies/app");
    assert_string_equal(r->mirrors[0].collection, "acme/app");
    assert_string_equal(r->mirrors[0].root, "/etc/acme.root.json");
    assert_string_equal(r->mirrors[1].collection, "*");
    assert_string_equal(r->mirrors[1].root, scratch_name(s, "hub.json"));
    assert_string_equal(r->mirrors[2].collection, "*");
}

static void without_lists_there_are_none(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(server_config_done) struct server_config c = {0};
    assert_int_equal(load(s, "listen: 127.0.0.1:1\nretention: []\n", &c, &err), OK);
    assert_int_equal(c.rules.n_immutable + c.rules.n_retention + c.rules.n_quotas, 0);
}

static void faults_are_named_with_their_line(void **state)
{
    const struct scratch *s = *state;
    static const struct {
        const char *text, *line, *what;
    } cases[] = {
        {"tags:\n  immutable:\n    - pattern: v*\n", "line 3:", "immutable.repository: is missing"},
        {"tags:\n  immutable:\n    - repository: a\n", "line 3:", "immutable.pattern: is missing"},
        {"tags:\n  immutable:\n    - repository: a\n      pattern: v*\n    - repository: a\n"
         "      pattern: v/1\n",
         "line 6:", "no pattern of tags"},
        {"tags:\n  immutable:\n    - repository: A/*\n      pattern: v*\n", "line 3:", "'A/*'"},
        {"tags:\n  immutable:\n    - repository: a*\n      pattern: v*\n", "line 3:", "'a*'"},
        {"tags:\n  mutable: []\n", "line 2:", "unknown key 'mutable'"},
        {"retention:\n  - repository: a\n", "line 2:", "says nothing"},
        {"retention:\n  - repository: a\n    keepLast: 0\n", "line 3:", "too small"},
        {"retention:\n  - repository: a\n    keepLast: many\n", "line 3:", "keepLast"},
        {"retention:\n  - repository: a\n    keepLast: 1\n\n# more\n  - repository: b\n"
         "    keepWithin: 3x\n",
         "line 7:", "keepWithin"},
        {"retention:\n  - repository: a\n    keepWithin: 9999999d\n", "line 3:", "too large"},
        {"retention:\n  - repository: a\n    keepTags: [x]\n", "line 3:", "needs keepLast"},
        {"retention:\n  - repository: a\n    keepLast: 1\n    keepTags:\n      - x\n      - "
         "\"#\"\n",
         "line 4:", "no pattern of tags"},
        {"retention:\n  - keepLast: 1\n", "line 2:", "repository: is missing"},
        {"retention: [{repository: a, keepLast: -1}]\n", "line 1:", "keepLast"},
        {"quotas:\n  - bytes: 1g\n", "line 2:", "prefix: is missing"},
        {"quotas:\n  - prefix: a/*\n    bytes: 1g\n", "line 2:", "'a/*'"},
        {"quotas:\n  - prefix: a\n", "line 2:", "bytes: is missing"},
        {"quotas:\n  - prefix: a\n    bytes: 0\n", "line 3:", "too small"},
        {"quotas:\n  - prefix: a\n    bytes: 1g\n  - prefix: a\n    repositories: 1\n",
         "line 4:", "given twice"},
        {"quotas: {prefix: a}\n", "line 1", ""},
        {"mirrors:\n  - collection: a\n    root: r\n", "line 2:", "repository: is missing"},
        {"mirrors:\n  - repository: a\n", "line 2:", "root: is missing"},
        {"mirrors:\n  - repository: a\n    collection: A\n    root: r\n", "line 3:", "'A'"},
        {"mirrors:\n  - repository: a/*\n    collection: b\n    root: r\n", "line 3:", "both"},
        {"mirrors:\n  - repository: a\n    collection: b/*\n    root: r\n", "line 3:", "both"},
        {"mirrors:\n  - repository: \"a*\"\n    root: r\n", "line 2:", "'a*'"},
        {"mirrors:\n  - repository: a\n    roots: r\n", "line 3:", "unknown key 'roots'"},
        {"mirrors:\n  - repository: a\n    root: r\n    root: s\n", "line", "twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = ERROR_INIT;
        struct server_config c = {0};
        if (load(s, cases[i].text, &c, &err) != E_INVALID || !strstr(err.message, cases[i].line) ||
            !strstr(err.message, cases[i].what))
            fail_msg("%s\nsaid: %s", cases[i].text, err.message);
    }
}

static int load_all(void *context, struct error *err)
{
    CLEANUP(server_config_done) struct server_config c = {0};
    return server_config_load(scratch_name(context, "f.yaml"), &c, err);
}

static void running_out_of_memory_is_an_error(void **state)
{
    struct scratch *s = *state;
    scratch_write_text(s, "f.yaml", all);
    alloc_fail_each(load_all, s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_are_read, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(without_lists_there_are_none, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(faults_are_named_with_their_line, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(running_out_of_memory_is_an_error, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "oci/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ID     "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define BASE   "\"os\":\"linux\",\"architecture\":\"amd64\""
#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" ID "\"]}"

static int parse(const char *text, struct image_config **c)
{
    struct error err = ERROR_INIT;
    *c = NULL;
    int rc = image_config_parse(text, strlen(text), c, &err);
    assert_true(rc == err.code && (rc == OK || !*c));
    return rc;
}

static void reads_everything_the_runner_needs(void **state)
{
    CLEANUP(image_config_cleanup) struct image_config *c = NULL;
    (void)state;
    assert_int_equal(
        parse("{" BASE ",\"variant\":\"v2\"," ROOTFS
              ",\"x\":1.5,\"config\":{\"User\":\"1000:1000\","
              "\"WorkingDir\":\"/srv\",\"StopSignal\":\"SIGINT\",\"Entrypoint\":[\"/a\",\"b\"],"
              "\"Cmd\":[\"c\"],\"Env\":[\"A=1\",\"B=\"]},\"history\":[{\"empty_layer\":true},{}]}",
              &c),
        OK);
    assert_string_equal(c->os, "linux");
    assert_string_equal(c->variant, "v2");
    assert_int_equal(c->n_diff_ids, 1);
    assert_string_equal(c->user, "1000:1000");
    assert_string_equal(c->working_dir, "/srv");
    assert_string_equal(c->stop_signal, "SIGINT");
    assert_string_equal(c->entrypoint[1], "b");
    assert_null(c->entrypoint[2]);
    assert_string_equal(c->cmd[0], "c");
    assert_string_equal(c->env[1], "B=");
    assert_null(c->env[2]);
}

static void absent_and_null_are_empty(void **state)
{
    static const char *const cases[] = {
        "{" BASE "," ROOTFS "}",
        "{" BASE "," ROOTFS ",\"config\":null,\"history\":null}",
        "{" BASE "," ROOTFS
        ",\"config\":{\"User\":null,\"Entrypoint\":null,\"Cmd\":null,\"Env\":null}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(image_config_cleanup) struct image_config *c = NULL;
        assert_int_equal(parse(cases[i], &c), OK);
        assert_string_equal(c->user, "");
        assert_string_equal(c->working_dir, "");
        assert_string_equal(c->stop_signal, "");
        assert_null(c->entrypoint[0]);
        assert_null(c->cmd[0]);
        assert_null(c->env[0]);
    }
}

static void refuses_ambiguity_and_wrong_types(void **state)
{
    static const char *const cases[] = {
        "",
        "[]",
        "{}",
        "{" BASE "}",
        "{\"os\":\"linux\"," ROOTFS "}",
        "{\"architecture\":\"amd64\"," ROOTFS "}",
        "{" BASE "," ROOTFS ",\"config\":[]}",
        /* a number with a fraction is not "absent": it would mean root */
        "{" BASE "," ROOTFS ",\"config\":{\"User\":1.5}}",
        "{" BASE "," ROOTFS ",\"config\":{\"User\":0}}",
        "{" BASE "," ROOTFS ",\"config\":{\"user\":\"1000\"}}",
        "{" BASE "," ROOTFS ",\"config\":{\"User\":\"1000\",\"uSer\":\"0\"}}",
        "{" BASE "," ROOTFS ",\"config\":{\"User\":\"1000\",\"User\":\"0\"}}",
        "{" BASE "," ROOTFS ",\"config\":{\"User\":\"a\\u0000b\"}}",
        "{" BASE "," ROOTFS ",\"Config\":{}}",
        "{" BASE "," ROOTFS ",\"config\":{\"Entrypoint\":\"/bin/sh\"}}",
        "{" BASE "," ROOTFS ",\"config\":{\"Cmd\":[1]}}",
        "{" BASE "," ROOTFS ",\"config\":{\"Env\":[\"NOVALUE\"]}}",
        "{" BASE "," ROOTFS ",\"config\":{\"Env\":[\"=x\"]}}",
        "{" BASE ",\"rootfs\":{\"type\":\"tree\",\"diff_ids\":[]}}",
        "{" BASE ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[7]}}",
        "{" BASE ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:..\"]}}",
        "{" BASE ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":{}}}",
        "{" BASE ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[],\"Diff_IDs\":[]}}",
        /* two steps made layers, one is there */
        "{" BASE "," ROOTFS ",\"history\":[{},{}]}",
        "{" BASE "," ROOTFS ",\"history\":[7]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(image_config_cleanup) struct image_config *c = NULL;
        int rc = parse(cases[i], &c);
        if (rc != E_INVALID)
            fail_msg("case %zu gave %d: %s", i, rc, cases[i]);
    }
}

static void refuses_too_many_layers(void **state)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(image_config_cleanup) struct image_config *c = NULL;
    (void)state;
    assert_int_equal(
        bytes_append_text(
            &text, "{" BASE ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" ID "\"", NULL),
        OK);
    for (int i = 0; i < MANIFEST_MAX_LAYERS; i++)
        assert_int_equal(bytes_append_text(&text, ",\"" ID "\"", NULL), OK);
    assert_int_equal(bytes_append_text(&text, "]}}", NULL), OK);
    assert_int_equal(parse(bytes_text(&text), &c), E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_everything_the_runner_needs),
        cmocka_unit_test(absent_and_null_are_empty),
        cmocka_unit_test(refuses_ambiguity_and_wrong_types),
        cmocka_unit_test(refuses_too_many_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What lies where: secrets apart from data, and where new certificates appear. */
#include "registry/deployment.h"
#include "tests/support/scratch.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void load(const struct scratch *s, const char *text, struct server_config *out)
{
    scratch_write_text(s, "registry.yaml", text);
    assert_int_equal(server_config_load(scratch_name(s, "registry.yaml"), out, NULL), 0);
}

static void secrets_stay_out_of_the_data_folder(void **state)
{
    const struct scratch *s = *state;
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"listen: 127.0.0.1:1\n", 0},
        {"dataDir: tls\n", E_INVALID},
        {"dataDir: .\n", E_INVALID},
        {"dataDir: /\n", E_INVALID},
        {"dataDir: sig\n", 0}, /* a prefix, but no folder above */
        {"dataDir: signer\n", E_INVALID},
        {"dataDir: data\nsigner: {dataDir: ../x/data/deep/er}\n", 0},
        {"dataDir: data\nsigner: {dataDir: link/x}\n", E_INVALID},
        {"dataDir: link\ntls: {key: data/k}\n", E_INVALID},
        {"dataDir: data\ntls: {key: missing/../data/k}\n", E_INVALID},
    };
    assert_int_equal(mkdirat(s->fd, "data", 0700), 0);
    assert_int_equal(mkdirat(s->fd, "missing", 0700), 0);
    assert_int_equal(symlinkat("data", s->fd, "link"), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(server_config_done) struct server_config config = {0};
        struct error err = ERROR_INIT;
        load(s, cases[i].text, &config);
        if (deployment_check(&config, &err) != cases[i].rc)
            fail_msg("%s: %s", cases[i].text, err.message);
    }
}

static void folders(const struct scratch *s, const char *text, struct deployment_folders *out)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    load(s, text, &config);
    assert_int_equal(deployment_tls_folders(&config, out, NULL), 0);
}

static void links_are_followed_to_where_files_appear(void **state)
{
    const struct scratch *s = *state;
    struct deployment_folders f;
    folders(s, "listen: 127.0.0.1:1\n", &f);
    assert_true(f.watched);
    assert_string_equal(f.names[0], scratch_name(s, "tls"));
    assert_null(f.names[1]);
    deployment_folders_done(&f);
    assert_int_equal(mkdirat(s->fd, "live", 0700), 0);
    assert_int_equal(mkdirat(s->fd, "archive", 0700), 0);
    scratch_write_text(s, "archive/key1", "x");
    assert_int_equal(symlinkat("../archive/key1", s->fd, "live/key"), 0);
    folders(s, "tls: {certificate: live/crt, key: live/key}\n", &f);
    assert_string_equal(f.names[0], scratch_name(s, "live"));
    assert_string_equal(f.names[1], scratch_name(s, "archive"));
    assert_null(f.names[2]);
    deployment_folders_done(&f);
}

static void a_folder_with_the_signers_secrets_is_not_opened(void **state)
{
    const struct scratch *s = *state;
    struct deployment_folders f;
    folders(s, "tls: {certificate: tls/c, key: k}\n", &f); /* beside signer/ */
    assert_false(f.watched);
    assert_string_equal(f.names[0], scratch_name(s, "tls"));
    assert_null(f.names[1]);
    deployment_folders_done(&f);
    folders(s, "tls: {certificate: a/c, key: a/k}\nsigner: {passphraseFile: a/p}\n", &f);
    assert_false(f.watched);
    assert_null(f.names[0]);
    deployment_folders_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(secrets_stay_out_of_the_data_folder, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(links_are_followed_to_where_files_appear, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_folder_with_the_signers_secrets_is_not_opened,
                                        scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

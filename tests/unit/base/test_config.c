#include "base/config.h"
#include "base/file.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static int load(const struct scratch *s, const char *text, struct server_config *config,
                struct error *err)
{
    scratch_write_text(s, CONFIG_FILE_NAME, text);
    return server_config_load(scratch_name(s, CONFIG_FILE_NAME), config, err);
}

static void the_default_file_says_the_defaults(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(server_config_done) struct server_config written = {0};
    CLEANUP(server_config_done) struct server_config missing = {0};
    assert_int_equal(server_config_write_default(s->fd, "127.0.0.1", 5443, &err), OK);
    assert_int_equal(server_config_write_default(s->fd, "127.0.0.1", 1, &err), E_EXISTS);
    struct stat st;
    assert_int_equal(fstatat(s->fd, CONFIG_FILE_NAME, &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    const char *name = scratch_name(s, CONFIG_FILE_NAME);
    assert_int_equal(server_config_load(name, &written, &err), OK);
    assert_string_equal(written.file, name);
    assert_string_equal(written.listen_address, "127.0.0.1");
    assert_int_equal(written.listen_port, 5443);
    assert_string_equal(written.data_dir, scratch_name(s, "data"));
    assert_string_equal(written.tls.certificate, scratch_name(s, "tls/server.crt"));
    assert_string_equal(written.tls.key, scratch_name(s, "tls/server.key"));
    assert_string_equal(written.signer.socket, scratch_name(s, "run/signer.sock"));
    assert_string_equal(written.signer.data_dir, scratch_name(s, "signer"));
    assert_string_equal(written.signer.passphrase_file, scratch_name(s, "signer/passphrase"));
    assert_null(written.user);
    assert_null(written.tls.client_ca);
    assert_null(written.access.public_host);
    assert_int_equal(written.access.token_lifetime_s, 300);
    assert_int_equal(written.access.token_key_lifetime_s, 30 * 86400);
    assert_int_equal(written.access.api_token_max_lifetime_s, 90 * 86400);
    assert_null(written.signer.user);
    assert_null(written.signer.token);
    assert_null(written.metrics.socket);
    assert_int_equal(written.limits.stop_grace_s, 30);
    assert_true(written.limits.connections >= 5000);
    assert_int_equal(written.signer.timestamp_lifetime_s, 24 * 3600);
    assert_int_equal(written.signer.snapshot_lifetime_s, 30 * 86400);
    assert_int_equal(written.limits.manifest_bytes, 4 << 20);
    assert_int_equal(written.log.level, LOG_LEVEL_INFO);
    assert_int_equal(written.log.form, LOG_TEXT);
    assert_int_equal(written.scrub.interval_s, 7 * 86400);
    assert_int_equal(written.scrub.rate_bytes_s, 16u << 20);
    assert_int_equal(written.audit.level, CONFIG_AUDIT_ALL);
    assert_int_equal(written.audit.access_bytes, 1u << 30);
    assert_int_equal(load(s, "listen: 127.0.0.1:5443\n", &missing, &err), OK);
    assert_memory_equal(&written.limits, &missing.limits, sizeof written.limits);
    assert_string_equal(written.signer.socket, missing.signer.socket);
    assert_int_equal(written.signer.snapshot_lifetime_s, missing.signer.snapshot_lifetime_s);
}

static void everything_can_be_set(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(server_config_done) struct server_config c = {0};
    static const char text[] =
        "---\n# comment\nlisten: \"[::1]:0\"\ndataDir: /srv/data\nuser: bulla\n"
        "tls: {certificate: a.crt, key: ../b.key, clientCa: c.crt}\n"
        "access: {publicUrl: \"https://[::1]:5443/\", tokenLifetime: 60s, tokenKeyLifetime: 2h,\n"
        "  apiTokenMaxLifetime: 1d}\n"
        "signer:\n  socket: /run/s\n  dataDir: s\n  passphraseFile: p\n  user: signer\n"
        "  token: my token\n  tokenModule: m.so\n  tokenPinFile: pin\n  tokenCollections: 'a/*'\n"
        "  timestampLifetime: 90s\n  snapshotLifetime: 2h\n"
        "limits:\n  connections: 10\n  connectionsPerAddress: 99\n  uploadsPerUser: 3\n"
        "  manifestSize: 1m\n  blobSize: 2g\n  minimumRate: 0\n  idleTimeout: 5\n"
        "  stopGrace: 7s\n  bodyMemory: 64m\nmetrics:\n  socket: m.sock\n"
        "log:\n  level: debug\n  format: json\n...\n# the end\n";
    assert_int_equal(load(s, text, &c, &err), OK);
    assert_string_equal(c.listen_address, "::1");
    assert_int_equal(c.listen_port, 0);
    assert_string_equal(c.data_dir, "/srv/data");
    assert_string_equal(c.user, "bulla");
    assert_string_equal(c.tls.key, scratch_name(s, "../b.key"));
    assert_string_equal(c.tls.client_ca, scratch_name(s, "c.crt"));
    assert_string_equal(c.access.public_host, "[::1]:5443");
    assert_int_equal(c.access.token_lifetime_s, 60);
    assert_int_equal(c.access.token_key_lifetime_s, 7200);
    assert_int_equal(c.access.api_token_max_lifetime_s, 86400);
    assert_string_equal(c.signer.socket, "/run/s");
    assert_string_equal(c.signer.user, "signer");
    assert_string_equal(c.signer.token, "my token");
    assert_string_equal(c.signer.token_module, scratch_name(s, "m.so"));
    assert_string_equal(c.signer.token_pin_file, scratch_name(s, "pin"));
    assert_string_equal(c.signer.token_collections, "a/*");
    assert_int_equal(c.signer.timestamp_lifetime_s, 90);
    assert_int_equal(c.signer.snapshot_lifetime_s, 7200);
    assert_int_equal(c.limits.connections, 10);
    assert_int_equal(c.limits.connections_per_address, 10); /* never more than in all */
    assert_int_equal(c.limits.uploads_per_user, 3);
    assert_int_equal(c.limits.manifest_bytes, 1 << 20);
    assert_int_equal(c.limits.blob_bytes, 2ull << 30);
    assert_int_equal(c.limits.rate_bytes_s, 0);
    assert_int_equal(c.limits.idle_timeout_s, 5);
    assert_int_equal(c.limits.stop_grace_s, 7);
    assert_int_equal(c.limits.body_bytes, 64 << 20);
    assert_string_equal(c.metrics.socket, scratch_name(s, "m.sock"));
    assert_int_equal(c.log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(c.log.form, LOG_JSON);
}

static void authorities(void **state)
{
    (void)state;
    static const char *const good[] = {"a",     "r.example:5443",  "127.0.0.1", "127.0.0.1:1",
                                       "[::1]", "[fe80::1]:65535", "xn--a.B-c"};
    static const char *const bad[] = {"",     ":1",   "a:",     "a:0",      "a:65536", "a:b",
                                      "a b",  "a\"b", "a,b",    "a/b",      "u@a",     "a\r\nb",
                                      "::1",  "[::1", "[::1]x", "[a]",      "[::1]:",  "a%20b",
                                      "a\\b", "é",    "[]",     "[::1%lo]", "a:1:2"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!config_authority_valid(good[i]))
            fail_msg("'%s' was refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (config_authority_valid(bad[i]))
            fail_msg("'%s' was taken", bad[i]);
}

static void relative_names_start_at_the_file(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(server_config_done) struct server_config c = {0};
    char here[512];
    assert_non_null(getcwd(here, sizeof here));
    scratch_write_text(s, CONFIG_FILE_NAME, "user: x\n");
    assert_int_equal(chdir(s->path), 0);
    int rc = server_config_load(CONFIG_FILE_NAME, &c, &err);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(rc, OK);
    assert_string_equal(c.data_dir, scratch_name(s, "data"));
}

static void faults_name_their_line(void **state)
{
    static const struct {
        const char *text, *line, *word;
    } cases[] = {
        {"listen: 127.0.0.1:1\nbogus: b\n", "line 2:", "unknown key 'bogus'"},
        {"# bogus\nuser: bogus\nbogus: b\n", "line 3:", "unknown key 'bogus'"},
        {"user: a\nuser: b\n", "line 2:", "'user' is given twice"},
        {"user: a\n\nsigner:\n  user: b\n  dataDir: c\n  user: d\n",
         "line 6:", "'user' is given twice"},
        {"signer:\n  user: x\nsigner:\n  user: y\n", "line 3:", "'signer' is given twice"},
        {"signer: {user: x, user: y}\n", "line 1:", "'user' is given twice"},
        {"signer:\n  user: x\n  passphrase: y\n", "line 3:", "unknown key 'passphrase'"},
        {"Listen: 127.0.0.1:1\n", "line 1:", "unknown key 'Listen'"},
        {"user: x\n---\nuser: y\n", "line 2:", "second document"},
        {"user: x\n--- {user: y}\n", "line 2:", "second document"},
        {"user: x\n...\nlisten: y\n", "line 3:", "second document"},
        {"user: x\n...\n---\n", "line 3:", "second document"},
        {"---\n---\nuser: x\n", "line 2:", "second document"},
        {"user: |\n  text\n---\nlisten: y\n", "line 3:", "second document"},
        {"user: \"a\n--- b\"\n", "line 2:", "second document"},
        {"user: x\r---\rlisten: y\n", "line 1:", "carriage return"},
        {"user: x\xc2\x85---\xc2\x85listen: y\n", "line 1:", "not allowed"},
        {"user: x\xe2\x80\xa8---\n", "line 1:", "not allowed"},
        {"user: \"a\\0b\"\n", "line 1:", "not allowed"},
        {"user: &a x\ndataDir: *a\n", "line 2:", "alias"},
        {"signer: x\n", "line 1:", "MAPPING"},
        {"signer:\n", "line 1:", "MAPPING"},
        {"user: [a, b]\n", "line 1:", "STRING"},
        {"user: {a: b}\n", "line 1:", "STRING"},
        {"user:\n", "line 1:", "too short"},
        {"user: ''\n", "line 1:", "too short"},
        {"listen: localhost:5443\n", "line 1:", "ADDRESS:PORT"},
        {"access:\n  publicUrl: http://r.example\n", "line 2: access.publicUrl:", "https://HOST"},
        {"access:\n  publicUrl: https://u@r.example\n", "line 2:", "https://HOST"},
        {"access:\n  publicUrl: https://r.example/v2/\n", "line 2:", "https://HOST"},
        {"access:\n  tokenLifetime: 59s\n", "line 2: access.tokenLifetime:", "too small"},
        {"access:\n  tokenLifetime: 2h\n", "line 2: access.tokenLifetime:", "too large"},
        {"listen: 127.0.0.1\n", "line 1:", "ADDRESS:PORT"},
        {"listen: 127.0.0.1:65536\n", "line 1:", "ADDRESS:PORT"},
        {"listen: 127.0.0.1:-1\n", "line 1:", "ADDRESS:PORT"},
        {"listen: \"::1:5443\"\n", "line 1:", "ADDRESS:PORT"},
        {"listen: \"[127.0.0.1]:5443\"\n", "line 1:", "ADDRESS:PORT"},
        {"\nlog:\n  level: loud\n", "line 3: log.level:", "'loud' is not one of error, warn"},
        {"audit:\n  level: nothing\n", "line 2: audit.level:", "not one of all, changes"},
        {"audit:\n  accessSize: 1m\n", "line 2: audit.accessSize:", "too small"},
        {"log:\n  format: xml\n", "line 2: log.format:", "not one of text, json"},
        {"signer:\n  timestampLifetime: 24x\n", "line 2: signer.timestampLifetime:", "unit"},
        {"signer:\n  timestampLifetime: 0\n", "line 2:", "too small"},
        {"signer:\n  snapshotLifetime: 9999d\n", "line 2:", "too large"},
        {"limits:\n  connections: 0\n", "line 2: limits.connections:", "too small"},
        {"limits:\n  connections: 1k\n", "line 2:", "not a number"},
        {"limits:\n  manifestSize: 1g\n", "line 2:", "too large"},
        {"limits:\n  blobSize: -1\n", "line 2:", "not a number"},
        {"user: x\n\tlisten: y\n", "line", "tab"},
    };
    const struct server_config untouched = {.listen_port = 77};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct server_config c = untouched;
        int rc = load(*state, cases[i].text, &c, &err);
        if (rc != E_INVALID || !strstr(err.message, cases[i].line) ||
            !strstr(err.message, cases[i].word))
            fail_msg("%s\ngave %d '%s'; wanted '%s' and '%s'", cases[i].text, rc, err.message,
                     cases[i].line, cases[i].word);
        assert_memory_equal(&c, &untouched, sizeof c);
        assert_true(text_starts(err.message, scratch_name(*state, CONFIG_FILE_NAME)));
    }
}

static void what_is_no_configuration_is_refused(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    struct server_config c;
    const char *name = scratch_name(s, CONFIG_FILE_NAME);
    assert_int_equal(server_config_load(name, &c, &err), E_NOTFOUND);
    static const char *const bad[] = {"",
                                      "\n",
                                      "# only a comment\n",
                                      "---\n",
                                      "just text\n",
                                      "[]\n",
                                      "? [a]\n: b\n",
                                      "{",
                                      "\"",
                                      "%YAML 9.9\n---\nuser: x\n",
                                      "user: \xff\n",
                                      "\x01\n",
                                      "- user\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (load(s, bad[i], &c, &err) != E_INVALID)
            fail_msg("'%s' was accepted", bad[i]);
    scratch_write(s, CONFIG_FILE_NAME, "user: x\0y\n", 10);
    assert_int_equal(server_config_load(name, &c, &err), E_INVALID);
    CLEANUP(cleanup_free) char *large = malloc(CONFIG_FILE_MAX + 1);
    memset(large, '#', CONFIG_FILE_MAX + 1);
    scratch_write(s, CONFIG_FILE_NAME, large, CONFIG_FILE_MAX + 1);
    assert_int_equal(server_config_load(name, &c, &err), E_LIMIT);
    /* Deep nesting is refused where it starts. */
    memset(large, '[', CONFIG_FILE_MAX);
    scratch_write(s, CONFIG_FILE_NAME, large, CONFIG_FILE_MAX);
    assert_int_equal(server_config_load(name, &c, &err), E_INVALID);
    assert_int_equal(server_config_load(s->path, &c, &err), E_INVALID); /* a folder */
}

static void socket_names_must_fit(void **state)
{
    struct error err = ERROR_INIT;
    struct server_config c;
    char text[256] = "signer:\n  socket: /";
    memset(text + strlen(text), 's', 107); /* 108 characters; 107 and a NUL fit */
    assert_int_equal(load(*state, text, &c, &err), E_INVALID);
    assert_non_null(strstr(err.message, "107"));
    text[strlen(text) - 1] = '\0';
    assert_int_equal(load(*state, text, &c, &err), OK);
    server_config_done(&c);
}

static void only_addresses_are_written(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(server_config_done) struct server_config c = {0};
    assert_int_equal(server_config_write_default(s->fd, "localhost", 1, &err), E_INVALID);
    assert_int_equal(server_config_write_default(s->fd, "x\"\nuser: evil", 1, &err), E_INVALID);
    assert_int_equal(server_config_write_default(s->fd, "", 1, &err), E_INVALID);
    assert_int_equal(faccessat(s->fd, CONFIG_FILE_NAME, F_OK, 0), -1);
    assert_int_equal(server_config_write_default(s->fd, "::", 0, &err), OK);
    assert_int_equal(server_config_load(scratch_name(s, CONFIG_FILE_NAME), &c, &err), OK);
    assert_string_equal(c.listen_address, "::");
}

static int load_and_write(void *context, struct error *err)
{
    const struct scratch *s = context;
    CLEANUP(server_config_done) struct server_config c = {0};
    (void)unlinkat(s->fd, CONFIG_FILE_NAME, 0);
    int rc = server_config_write_default(s->fd, "::1", 5443, err);
    return rc ? rc : server_config_load(scratch_name(s, CONFIG_FILE_NAME), &c, err);
}

static void running_out_of_memory_is_an_error(void **state)
{
    alloc_fail_each(load_and_write, *state, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_default_file_says_the_defaults),
        CASE(everything_can_be_set),
        CASE(relative_names_start_at_the_file),
        CASE(faults_name_their_line),
        cmocka_unit_test(authorities),
        CASE(what_is_no_configuration_is_refused),
        CASE(socket_names_must_fit),
        CASE(only_addresses_are_written),
        CASE(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

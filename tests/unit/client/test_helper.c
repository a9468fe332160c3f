/* Credential helpers: small shell scripts stand for docker-credential-*. */
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "client/helper.h"
#include "client/remote.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static int set_up(void **state)
{
    int rc = scratch_setup(state);
    const struct scratch *s = *state;
    CLEANUP(cleanup_free) char *path = text_format("%s:/usr/bin:/bin", s->path);
    (void)setenv("PATH", path, 1);
    (void)setenv("HELPER_DIR", s->path, 1);
    (void)unsetenv("REGISTRY_AUTH_FILE");
    return rc;
}

static void install(const struct scratch *s, const char *name, const char *script)
{
    CLEANUP(cleanup_free) char *file = text_format("docker-credential-%s", name);
    CLEANUP(cleanup_free) char *text = text_format("#!/bin/sh\n%s\n", script);
    scratch_write_text(s, file, text);
    assert_int_equal(fchmodat(s->fd, file, 0755, 0), 0);
}

static const char *content(const struct scratch *s, const char *name)
{
    static struct bytes text = BYTES_INIT;
    bytes_clear(&text);
    assert_int_equal(file_read(s->fd, name, 65536, &text, NULL), OK);
    return bytes_text(&text);
}

static void helpers_are_asked_stored_into_and_erased(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(credentials_done) struct credentials c = CREDENTIALS_INIT;
    install(s, "own",
            "echo \"$#:$1\" > $HELPER_DIR/args; cat > $HELPER_DIR/in\n"
            "[ $1 = get ] && echo '{\"ServerURL\":\"h\",\"Username\":\"anna\","
            "\"Secret\":\"p:a ss\"}'\nexit 0");
    assert_int_equal(helper_get("own", "h:1", &c, &err), OK);
    assert_string_equal(c.user, "anna");
    assert_string_equal(c.password, "p:a ss");
    assert_string_equal(content(s, "args"), "1:get\n");
    assert_string_equal(content(s, "in"), "h:1");
    assert_int_equal(helper_store("own", "h:1", "bert", "qu\"ote\n", &err), OK);
    assert_string_equal(content(s, "args"), "1:store\n");
    CLEANUP(js_cleanup) struct js *o = NULL;
    assert_int_equal(js_parse(content(s, "in"), strlen(content(s, "in")), &o, &err), OK);
    assert_string_equal(js_text(js_get(o, "ServerURL")), "h:1");
    assert_string_equal(js_text(js_get(o, "Username")), "bert");
    assert_string_equal(js_text(js_get(o, "Secret")), "qu\"ote\n");
    assert_int_equal(helper_erase("own", "h:1", &err), OK);
    assert_string_equal(content(s, "args"), "1:erase\n");
    assert_string_equal(content(s, "in"), "h:1");
}

static void tokens_and_unknown_hosts(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(credentials_done) struct credentials c = CREDENTIALS_INIT;
    install(s, "token", "echo '{\"Username\":\"<token>\",\"Secret\":\"t0k\"}'");
    assert_int_equal(helper_get("token", "h", &c, &err), OK);
    assert_null(c.user);
    assert_string_equal(c.identity, "t0k");
    credentials_done(&c);
    install(s, "none", "echo 'credentials not found in native keychain'; exit 1");
    assert_int_equal(helper_get("none", "h", &c, &err), OK);
    assert_null(c.user);
    assert_null(c.identity);
    assert_int_equal(helper_erase("none", "h", &err), OK);
}

static void failures_are_told_without_secrets(void **state)
{
    const struct scratch *s = *state;
    static const struct {
        const char *script;
        int code;
        const char *says;
    } cases[] = {
        {"echo 'keychain is locked' >&2; exit 1", E_SYS, "keychain is locked"},
        {"printf 'a\\033[2Jb\\nsecond' >&2; exit 2", E_SYS, "a\\x1b[2Jb"},
        {"echo 'plain words'; exit 1", E_SYS, "plain words"},
        {"echo '{\"Secret\":\"geheim\"}'; exit 1", E_SYS, "it says nothing"},
        {"exit 3", E_SYS, "status 3"},
        {"kill -9 $$", E_SYS, "status 137"},
        {"echo '{\"Secret\":\"geheim\"}'", E_INVALID, "Username"},
        {"echo '{\"Username\":\"geheim\"}'", E_INVALID, "Secret"},
        {"echo 'geheim'", E_INVALID, "no JSON"},
        {"echo '{\"Username\":7,\"Secret\":\"geheim\"}'", E_INVALID, "Username"},
        {"true", E_INVALID, "no JSON"},
        {"head -c 100000 /dev/zero | tr '\\0' x", E_LIMIT, "more than 65536"},
        {"head -c 20000 /dev/zero | tr '\\0' x | sed 's/.*/{\"Username\":\"u\",\"Secret\":\"&\"}/'",
         E_LIMIT, "longer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct credentials c = CREDENTIALS_INIT;
        install(s, "bad", cases[i].script);
        int rc = helper_get("bad", "h", &c, &err);
        if (rc != cases[i].code || !strstr(err.message, cases[i].says))
            fail_msg("%s: got %s (%s)", cases[i].script, error_name(rc), err.message);
        assert_non_null(strstr(err.message, "'bad'"));
        assert_null(strstr(err.message, "geheim"));
        assert_null(strstr(err.message, "second"));
        assert_null(c.user);
        assert_null(c.identity);
    }
}

static void names_stay_names(void **state)
{
    const struct scratch *s = *state;
    static const char *const bad[] = {"",    "../x", "a/b", "-x",    ".x", "a b",
                                      "a;b", "a\nb", "$x",  "a\xc3", NULL};
    for (size_t i = 0; bad[i]; i++) {
        struct error err = ERROR_INIT;
        struct credentials c = CREDENTIALS_INIT;
        assert_false(helper_name_valid(bad[i]));
        assert_int_equal(helper_get(bad[i], "h", &c, &err), E_USAGE);
    }
    (void)s;
    assert_true(helper_name_valid("ecr-login"));
    assert_true(helper_name_valid("osxkeychain.2_x"));
}

/* The current folder belongs to whoever made it: a relative entry of PATH is none. */
static void relative_folders_are_not_searched(void **state)
{
    const struct scratch *s = *state;
    static const char *const paths[] = {"", ".", ":", "./", "sub", ".:sub::", "sub/../.", NULL};
    CLEANUP(cleanup_fd) int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(cleanup_free) char *found = NULL;
    struct error err = ERROR_INIT;
    install(s, "here", "exit 0");
    assert_int_equal(mkdirat(s->fd, "sub", 0755), 0);
    assert_int_equal(
        linkat(s->fd, "docker-credential-here", s->fd, "sub/docker-credential-here", 0), 0);
    assert_int_equal(fchdir(s->fd), 0);
    for (size_t i = 0; paths[i]; i++)
        assert_int_equal(helper_find("here", paths[i], &found, &err), E_NOTFOUND);
    assert_int_equal(fchdir(before), 0);
    CLEANUP(cleanup_free) char *path = text_format("nowhere::%s", s->path);
    assert_int_equal(helper_find("here", path, &found, &err), OK);
    assert_string_equal(found, scratch_name(s, "docker-credential-here"));
    /* What is there but no program. */
    assert_int_equal(fchmodat(s->fd, "docker-credential-here", 0644, 0), 0);
    assert_int_equal(mkdirat(s->fd, "docker-credential-folder", 0755), 0);
    cleanup_free(&found);
    assert_int_equal(helper_find("here", s->path, &found, &err), E_NOTFOUND);
    assert_int_equal(helper_find("folder", s->path, &found, &err), E_NOTFOUND);
    assert_non_null(strstr(err.message, "docker-credential-folder' is not installed"));
}

static void silence_is_bounded(void **state)
{
    const struct scratch *s = *state;
    static const char *const scripts[] = {"exec sleep 30",
                                          "echo $$ > $HELPER_DIR/pid; exec >&-; exec sleep 30",
                                          "while echo x >&2; do :; done"};
    for (size_t i = 0; i < 3; i++) {
        struct error err = ERROR_INIT;
        CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
        CLEANUP(bytes_done) struct bytes words = BYTES_INIT;
        install(s, "slow", scripts[i]);
        struct helper_run run = {.program = scratch_name(s, "docker-credential-slow"),
                                 .verb = "get",
                                 .input = "h",
                                 .input_len = 1,
                                 .time_ms = 500,
                                 .out = &out,
                                 .words = &words};
        int64_t before = clock_monotonic_ms();
        assert_int_equal(helper_run(&run, &err), E_BUSY);
        assert_in_range(clock_monotonic_ms() - before, 400, 10000);
        assert_in_range(words.len, 0, 4096);
    }
    /* It was ended, not left behind. */
    pid_t pid = (pid_t)atoi(content(s, "pid"));
    assert_true(pid > 1);
    assert_int_equal(kill(pid, 0), -1);
}

/* A helper that does not read what it is given, with more than a pipe holds. */
static void deaf_helpers_do_no_harm(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_free) char *large = calloc(1, 60001);
    memset(large, 'p', 60000);
    install(s, "deaf", "exec <&-; exit 0");
    assert_int_equal(helper_store("deaf", "h", "u", large, &err), OK);
    install(s, "deaf", "exec <&-; exit 1");
    assert_int_equal(helper_store("deaf", "h", "u", large, &err), E_SYS);
}

/* --- by way of the file --- */

static void files_name_helpers(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    const char *file = scratch_name(s, "auth.json");
    CLEANUP(credentials_done) struct credentials c = CREDENTIALS_INIT;
    CLEANUP(cleanup_free) char *helper = NULL;
    install(s, "kept",
            "read -r host; case $1 in\n"
            "get) [ -e $HELPER_DIR/kept ] || { echo 'credentials not found in native "
            "keychain'; exit 1; }; echo '{\"Username\":\"u\",\"Secret\":\"s\"}';;\n"
            "store) echo x > $HELPER_DIR/kept;;\nerase) rm -f $HELPER_DIR/kept;;\nesac");
    static const char *const files[] = {"{\"credHelpers\":{\"h:1\":\"kept\"}}",
                                        "{\"credsStore\":\"kept\"}"};
    for (size_t i = 0; i < 2; i++) {
        scratch_write_text(s, "auth.json", files[i]);
        assert_int_equal(auth_find(file, "h:1", "a", &c, &err), OK);
        assert_null(c.user);
        assert_int_equal(auth_store(file, "h:1", "u", "geheim", &helper, &err), OK);
        assert_string_equal(helper, "kept");
        cleanup_free(&helper);
        assert_null(strstr(content(s, "auth.json"), "geheim"));
        assert_null(strstr(content(s, "auth.json"), "dTpnZWhlaW0=")); /* u:geheim */
        assert_int_equal(auth_find(file, "h:1", "a", &c, &err), OK);
        assert_string_equal(c.user, "u");
        assert_string_equal(c.password, "s");
        credentials_done(&c);
        assert_int_equal(auth_erase(file, "h:1", &helper, &err), OK);
        cleanup_free(&helper);
        assert_int_equal(faccessat(s->fd, "kept", F_OK, 0), -1);
        assert_int_equal(auth_find(file, "h:1", "a", &c, &err), OK);
        assert_null(c.user);
    }
    /* A helper that refuses: nothing is stored, and the file stays as it is. */
    install(s, "kept", "echo locked >&2; exit 1");
    scratch_write_text(s, "auth.json", files[0]);
    assert_int_equal(auth_store(file, "h:1", "u", "geheim", &helper, &err), E_SYS);
    assert_non_null(strstr(err.message, "locked"));
    assert_string_equal(content(s, "auth.json"), files[0]);
    assert_null(helper);
    /* One that is missing is said, not passed over: it may hold the only right password. */
    scratch_write_text(s, "auth.json", "{\"credHelpers\":{\"h:1\":\"gone\"}}");
    assert_int_equal(auth_find(file, "h:1", NULL, &c, &err), E_NOTFOUND);
    assert_non_null(strstr(err.message, "docker-credential-gone' is not installed"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_teardown)
    const struct CMUnitTest tests[] = {
        CASE(helpers_are_asked_stored_into_and_erased),
        CASE(tokens_and_unknown_hosts),
        CASE(failures_are_told_without_secrets),
        CASE(names_stay_names),
        CASE(relative_folders_are_not_searched),
        CASE(silence_is_bounded),
        CASE(deaf_helpers_do_no_harm),
        CASE(files_name_helpers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

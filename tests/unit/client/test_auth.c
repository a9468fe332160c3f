#include "base/file.h"
#include "base/json.h"
#include "client/auth.h"
#include "client/certs.h"
#include "client/remote.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const char *const variables[] = {"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",
                                        "DOCKER_CONFIG", "HOME"};

/* Nothing of the machine's own files may decide a test. */
static int set_up(void **state)
{
    int rc = scratch_setup(state);
    const struct scratch *s = *state;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        (void)unsetenv(variables[i]);
    (void)setenv("HOME", s->path, 1);
    (void)setenv("XDG_RUNTIME_DIR", scratch_name(s, "run"), 1);
    return rc;
}

static int find(const char *file, const char *host, struct credentials *c, struct error *err)
{
    *c = (struct credentials)CREDENTIALS_INIT;
    return auth_find(file, host, NULL, c, err);
}

static void expect(const char *file, const char *host, const char *user, const char *password)
{
    struct error err = ERROR_INIT;
    CLEANUP(credentials_done) struct credentials c = CREDENTIALS_INIT;
    if (find(file, host, &c, &err))
        fail_msg("%s", err.message);
    if (!user) {
        assert_null(c.user);
        assert_null(c.password);
        return;
    }
    assert_non_null(c.user);
    assert_string_equal(c.user, user);
    assert_string_equal(c.password, password);
}

static void what_is_stored_is_found(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    struct stat st;
    const char *file = scratch_name(s, "new/folder/auth.json");
    expect(file, "h:1", NULL, NULL);
    assert_int_equal(auth_store(file, "h:1", "anna", "p:a s\xc3\xa4", NULL, &err), OK);
    assert_int_equal(auth_store(file, "h:2", "bert", "", NULL, &err), OK);
    assert_int_equal(auth_store(file, "h:1", "anna", "new", NULL, &err), OK);
    expect(file, "h:1", "anna", "new");
    expect(file, "h:2", "bert", "");
    expect(file, "h", NULL, NULL);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(auth_erase(file, "h:1", NULL, &err), OK);
    assert_int_equal(auth_erase(file, "h:1", NULL, &err), E_NOTFOUND);
    expect(file, "h:1", NULL, NULL);
    expect(file, "h:2", "bert", "");
}

static void other_entries_survive(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *root = NULL;
    scratch_write_text(s, "a.json",
                       "{\"credHelpers\":{\"gcr.io\":\"gcloud\"},\"x\":[1,null,\"\\u00e4\"],"
                       "\"auths\":{\"quay.io/ns\":{\"auth\":\"YTpi\",\"y\":true}}}");
    assert_int_equal(auth_store(scratch_name(s, "a.json"), "h", "u", "p", NULL, &err), OK);
    assert_int_equal(file_read(s->fd, "a.json", 4096, &text, &err), OK);
    assert_int_equal(js_parse(text.data, text.len, &root, &err), OK);
    assert_string_equal(js_text(js_get(js_get(root, "credHelpers"), "gcr.io")), "gcloud");
    assert_int_equal(js_count(js_get(root, "x")), 3);
    const struct js *other = js_get(js_get(root, "auths"), "quay.io/ns");
    assert_string_equal(js_text(js_get(other, "auth")), "YTpi");
    assert_int_equal(js_number(js_get(other, "y")), 1);
    assert_string_equal(js_text(js_get(js_get(js_get(root, "auths"), "h"), "auth")), "dTpw");
}

/* A file that cannot be kept exactly is not rewritten. */
static void odd_files_are_left_alone(void **state)
{
    const struct scratch *s = *state;
    static const char *const odd[] = {"{",
                                      "[]",
                                      "{\"auths\":[]}",
                                      "{\"auths\":{}} x",
                                      "{\"auths\":{},\"auths\":{}}",
                                      "{\"scale\":1.5}"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct error err = ERROR_INIT;
        CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
        scratch_write_text(s, "odd.json", odd[i]);
        assert_int_equal(auth_store(scratch_name(s, "odd.json"), "h", "u", "secret", NULL, &err),
                         E_INVALID);
        assert_null(strstr(err.message, "secret"));
        assert_int_equal(file_read(s->fd, "odd.json", 4096, &text, &err), OK);
        assert_string_equal(bytes_text(&text), odd[i]);
    }
}

static int parse(const char *text, const char *host, const char *repository, struct auth_entry *out,
                 struct error *err)
{
    *out = (struct auth_entry){CREDENTIALS_INIT, NULL};
    return auth_parse(text, strlen(text), host, repository, out, err);
}

static void unusable_entries_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"{\"credHelpers\":{\"h\":\"../geheim\"}}", "no name of a credential helper"},
        {"{\"credHelpers\":{\"h\":\"-x\"}}", "no name of a credential helper"},
        {"{\"credHelpers\":{\"h\":7}}", "'h' must be"},
        {"{\"credHelpers\":7}", "credHelpers"},
        {"{\"credsStore\":\"a b\",\"auths\":{\"h\":{}}}", "no name of a credential helper"},
        {"{\"auths\":{\"h\":{\"auth\":\"geheim\"}}}", "auth"},
        {"{\"auths\":{\"h\":{\"auth\":\"Z2VoZWlt\"}}}", "user:password"},
        {"{\"auths\":{\"h\":{\"auth\":\"OnA=\"}}}", "user:password"},
        {"{\"auths\":{\"h\":{\"auth\":\"dTpwAHg=\"}}}", "user:password"},
        {"{\"auths\":{\"h\":{\"auth\":7}}}", "auth"},
        {"{\"auths\":{\"h\":{\"identitytoken\":7}}}", "identitytoken"},
        {"{\"auths\":{\"h\":[]}}", "object"},
        {"{\"auths\":7}", "auths"},
        {"7", "object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct auth_entry e;
        assert_int_equal(parse(cases[i].text, "h", NULL, &e, &err), E_INVALID);
        if (!strstr(err.message, cases[i].says))
            fail_msg("%s: '%s'", cases[i].text, err.message);
        assert_true(i < 2 || !strstr(err.message, "geheim"));
        assert_null(e.credentials.user);
        assert_null(e.helper);
    }
}

static void entries_have_every_form(void **state)
{
    (void)state;
    static const char a[] =
        "{\"credsStore\":\"desktop\",\"HttpHeaders\":{\"x\":1.5},"
        "\"credHelpers\":{\"gcr.example\":\"gcloud\"},"
        "\"auths\":{\"h\":{\"auth\":\"aDpo\"},\"h/a\":{\"auth\":\"YTph\"},"
        "\"h/a/"
        "b\":{\"auth\":\"Yjpi\"},\"kept\":{},\"ident\":{\"auth\":\"\",\"identitytoken\":\"t0k\"},"
        "\"https://old.example/v1/\":{\"auth\":\"bzpv\"},"
        "\"https://index.docker.io/v1/\":{\"auth\":\"ZDpk\"},"
        "\"https://u@evil.example/v1/\":{\"auth\":\"ZTpl\"}}}";
    static const struct {
        const char *host, *repository, *user, *identity, *helper;
    } cases[] = {
        {"h", NULL, "h", NULL, NULL},
        {"h", "x/y", "h", NULL, NULL},
        {"h", "a", "a", NULL, NULL},
        {"h", "a/x", "a", NULL, NULL},
        {"h", "ab", "h", NULL, NULL},
        {"h", "a/b", "b", NULL, NULL},
        {"h", "a/b/c/d", "b", NULL, NULL},
        {"h:1", "a/b", NULL, NULL, NULL},
        {"kept", "a", NULL, NULL, "desktop"},
        {"gcr.example", "a", NULL, NULL, "gcloud"},
        {"ident", NULL, NULL, "t0k", NULL},
        {"old.example", "a", "o", NULL, NULL},
        {"registry-1.docker.io", "library/x", "d", NULL, NULL},
        {"evil.example", NULL, NULL, NULL, NULL},
        {"nobody", NULL, NULL, NULL, NULL}, /* an unlisted host starts no helper */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        CLEANUP(auth_entry_done) struct auth_entry e;
        assert_int_equal(parse(a, cases[i].host, cases[i].repository, &e, &err), OK);
        const char *got[] = {e.credentials.user, e.credentials.identity, e.helper};
        const char *want[] = {cases[i].user, cases[i].identity, cases[i].helper};
        for (int k = 0; k < 3; k++)
            if (!got[k] != !want[k] || (got[k] && strcmp(got[k], want[k]) != 0))
                fail_msg("%s/%s: got '%s', want '%s'", cases[i].host,
                         cases[i].repository ? cases[i].repository : "", got[k] ? got[k] : "-",
                         want[k] ? want[k] : "-");
    }
}

static void the_usual_files_are_asked_in_order(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_free) char *path = NULL;
    assert_int_equal(auth_store(scratch_name(s, ".docker/config.json"), "h", "d", "4", NULL, &err),
                     OK);
    expect(NULL, "h", "d", "4");
    assert_int_equal(
        auth_store(scratch_name(s, ".config/containers/auth.json"), "h", "c", "3", NULL, &err), OK);
    expect(NULL, "h", "c", "3");
    assert_int_equal(
        auth_store(scratch_name(s, "run/containers/auth.json"), "h", "r", "2", NULL, &err), OK);
    expect(NULL, "h", "r", "2");
    assert_int_equal(auth_file_path(&path, &err), OK);
    assert_string_equal(path, scratch_name(s, "run/containers/auth.json"));
    (void)setenv("REGISTRY_AUTH_FILE", scratch_name(s, "named.json"), 1);
    expect(NULL, "h", NULL, NULL);
    scratch_write_text(s, "named.json", "");
    expect(NULL, "h", NULL, NULL);
    cleanup_free(&path);
    assert_int_equal(auth_file_path(&path, &err), OK);
    assert_string_equal(path, scratch_name(s, "named.json"));
    (void)unsetenv("REGISTRY_AUTH_FILE");
    (void)unsetenv("XDG_RUNTIME_DIR");
    cleanup_free(&path);
    assert_int_equal(auth_file_path(&path, &err), OK);
    assert_string_equal(path, scratch_name(s, ".config/containers/auth.json"));
}

static void user_names_are_checked(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(auth_wipe) struct bytes basic = BYTES_INIT;
    const char *file = scratch_name(s, "u.json");
    assert_int_equal(auth_store(file, "h", "", "p", NULL, &err), E_USAGE);
    assert_int_equal(auth_store(file, "h", "a:b", "p", NULL, &err), E_USAGE);
    assert_int_equal(access(file, F_OK), -1);
    assert_int_equal(auth_basic("Aladdin", "open sesame", &basic, &err), OK);
    assert_string_equal(bytes_text(&basic), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="); /* RFC 7617 2 */
}

static void a_registrys_own_ca_is_found(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes pem = BYTES_INIT;
    const char *const folders[] = {scratch_name(s, "first"), scratch_name(s, "second"), NULL};
    const char *good = "-----BEGIN CERTIFICATE-----\nsecond\n";
    assert_int_equal(certs_find(NULL, folders, "h:1", &pem, &err), OK);
    assert_int_equal(pem.len, 0);
    assert_int_equal(mkdirat(s->fd, "second", 0700) | mkdirat(s->fd, "second/h:1", 0700), 0);
    scratch_write_text(s, "second/h:1/ca.crt", good);
    assert_int_equal(certs_find(NULL, folders, "h:2", &pem, &err), OK);
    assert_int_equal(pem.len, 0);
    assert_int_equal(certs_find(NULL, folders, "h:1", &pem, &err), OK);
    assert_string_equal(bytes_text(&pem), good);
    bytes_clear(&pem);
    scratch_write_text(s, "own.crt", "no certificate");
    assert_int_equal(certs_find(scratch_name(s, "own.crt"), folders, "h:1", &pem, &err), E_INVALID);
    assert_int_equal(certs_find(scratch_name(s, "none.crt"), folders, "h:1", &pem, &err),
                     E_NOTFOUND);
    assert_non_null(strstr(err.message, "none.crt"));
    assert_int_equal(pem.len, 0);
}

static int store_and_find(void *context, struct error *err)
{
    const struct scratch *s = context;
    CLEANUP(credentials_done) struct credentials c = CREDENTIALS_INIT;
    int rc = auth_store(scratch_name(s, "run/containers/auth.json"), "h", "u", "p", NULL, err);
    return rc ? rc : auth_find(NULL, "h", "a", &c, err);
}

static void failing_allocations_are_errors(void **state)
{
    alloc_fail_each(store_and_find, *state, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_is_stored_is_found),        CASE(other_entries_survive),
        CASE(odd_files_are_left_alone),       CASE(unusable_entries_say_why),
        CASE(entries_have_every_form),        CASE(the_usual_files_are_asked_in_order),
        CASE(user_names_are_checked),         CASE(a_registrys_own_ca_is_found),
        CASE(failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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
    *c = (struct credentials){NULL, NULL};
    return auth_find(file, host, c, err);
}

static void expect(const char *file, const char *host, const char *user, const char *password)
{
    struct error err = ERROR_INIT;
    CLEANUP(credentials_done) struct credentials c = {NULL, NULL};
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
    assert_int_equal(auth_store(file, "h:1", "anna", "p:a s\xc3\xa4", &err), OK);
    assert_int_equal(auth_store(file, "h:2", "bert", "", &err), OK);
    assert_int_equal(auth_store(file, "h:1", "anna", "new", &err), OK);
    expect(file, "h:1", "anna", "new");
    expect(file, "h:2", "bert", "");
    expect(file, "h", NULL, NULL);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(auth_erase(file, "h:1", &err), OK);
    assert_int_equal(auth_erase(file, "h:1", &err), E_NOTFOUND);
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
    assert_int_equal(auth_store(scratch_name(s, "a.json"), "h", "u", "p", &err), OK);
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
        assert_int_equal(auth_store(scratch_name(s, "odd.json"), "h", "u", "secret", &err),
                         E_INVALID);
        assert_null(strstr(err.message, "secret"));
        assert_int_equal(file_read(s->fd, "odd.json", 4096, &text, &err), OK);
        assert_string_equal(bytes_text(&text), odd[i]);
    }
}

static void unusable_entries_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *says;
    } cases[] = {
        {"{\"credHelpers\":{\"h\":\"pass\"}}", E_UNSUPPORTED, "pass"},
        {"{\"credsStore\":\"desktop\",\"auths\":{\"h\":{}}}", E_UNSUPPORTED, "desktop"},
        {"{\"auths\":{\"h\":{\"identitytoken\":\"geheim\"}}}", E_UNSUPPORTED, "identity token"},
        {"{\"auths\":{\"h\":{\"auth\":\"geheim\"}}}", E_INVALID, "auth"},
        {"{\"auths\":{\"h\":{\"auth\":\"Z2VoZWlt\"}}}", E_INVALID, "user:password"},
        {"{\"auths\":{\"h\":{\"auth\":\"OnA=\"}}}", E_INVALID, "user:password"},
        {"{\"auths\":{\"h\":{\"auth\":\"dTpwAHg=\"}}}", E_INVALID, "user:password"},
        {"{\"auths\":{\"h\":{\"auth\":7}}}", E_INVALID, "auth"},
        {"{\"auths\":{\"h\":[]}}", E_INVALID, "object"},
        {"{\"auths\":7}", E_INVALID, "auths"},
        {"7", E_INVALID, "object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct credentials c = {NULL, NULL};
        assert_int_equal(auth_parse(cases[i].text, strlen(cases[i].text), "h", &c, &err),
                         cases[i].code);
        assert_non_null(strstr(err.message, cases[i].says));
        assert_null(strstr(err.message, "geheim"));
        assert_null(c.user);
    }
    struct credentials c = {NULL, NULL};
    const char *other = "{\"credsStore\":\"desktop\",\"HttpHeaders\":{\"x\":1.5},\"auths\":{}}";
    assert_int_equal(auth_parse(other, strlen(other), "h", &c, NULL), OK);
    assert_null(c.user);
}

static void the_usual_files_are_asked_in_order(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_free) char *path = NULL;
    assert_int_equal(auth_store(scratch_name(s, ".docker/config.json"), "h", "d", "4", &err), OK);
    expect(NULL, "h", "d", "4");
    assert_int_equal(
        auth_store(scratch_name(s, ".config/containers/auth.json"), "h", "c", "3", &err), OK);
    expect(NULL, "h", "c", "3");
    assert_int_equal(auth_store(scratch_name(s, "run/containers/auth.json"), "h", "r", "2", &err),
                     OK);
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
    assert_int_equal(auth_store(file, "h", "", "p", &err), E_USAGE);
    assert_int_equal(auth_store(file, "h", "a:b", "p", &err), E_USAGE);
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
    CLEANUP(credentials_done) struct credentials c = {NULL, NULL};
    int rc = auth_store(scratch_name(s, "run/containers/auth.json"), "h", "u", "p", err);
    return rc ? rc : auth_find(NULL, "h", &c, err);
}

static void failing_allocations_are_errors(void **state)
{
    alloc_fail_each(store_and_find, *state, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_is_stored_is_found),
        CASE(other_entries_survive),
        CASE(odd_files_are_left_alone),
        CASE(unusable_entries_say_why),
        CASE(the_usual_files_are_asked_in_order),
        CASE(user_names_are_checked),
        CASE(a_registrys_own_ca_is_found),
        CASE(failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

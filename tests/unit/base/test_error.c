#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* cmocka's; ours is under test */

static void the_message_is_formatted(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    assert_int_equal(fail(&err, E_DIGEST, "layer %u of '%s'", 3u, "a/b"), E_DIGEST);
    assert_int_equal(err.code, E_DIGEST);
    assert_int_equal(err.sys, 0);
    assert_string_equal(err.message, "layer 3 of 'a/b'");
    assert_int_equal(fail(NULL, E_LIMIT, "nobody listens"), E_LIMIT);
}

static void outside_bytes_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain 'text' \\ \"", "plain 'text' \\ \""},
        {"line\nbreak\r\t", "line\\x0abreak\\x0d\\x09"},
        {"\x1b[2J", "\\x1b[2J"},
        {"\x7f", "\\x7f"},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x82",
         "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x82"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"}, /* C1 control sequence introducer */
        {"\x9b"
         "31m",
         "\\x9b"
         "31m"}, /* the same as a bare byte */
        {"\xe2\x80\xae"
         "gpj.exe",
         "\\xe2\\x80\\xaegpj.exe"},          /* right-to-left override */
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"}, /* line separator */
        {"\xc3", "\\xc3"},                   /* cut short */
        {"\xe2\x82", "\\xe2\\x82"},
        {"\xc0\xaf", "\\xc0\\xaf"}, /* overlong */
        {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond U+10FFFF */
        {"\xff\xfe", "\\xff\\xfe"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        (void)fail(&err, E_INVALID, "%s", cases[i].in);
        assert_string_equal(err.message, cases[i].out);
        /* Context is escaped alike, and what is escaped stays as it is. */
        struct error wrapped = ERROR_INIT;
        (void)fail(&wrapped, E_INVALID, "%s", cases[i].in);
        (void)wrap(&wrapped, E_INVALID, "%s", cases[i].in);
        char both[256];
        (void)snprintf(both, sizeof both, "%s: %s", cases[i].out, cases[i].out);
        assert_string_equal(wrapped.message, both);
    }
}

static void long_messages_are_cut_at_characters(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    for (size_t shift = 0; shift < 4; shift++) {
        char text[3 * ERROR_MESSAGE_MAX + 8];
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4);
        (void)fail(&err, E_INVALID, "%s", text);
        size_t len = strlen(err.message);
        assert_in_range(len, ERROR_MESSAGE_MAX - 16, ERROR_MESSAGE_MAX - 1);
        (void)wrap(&err, E_INVALID, "%s", text);
        assert_true(strlen(err.message) < ERROR_MESSAGE_MAX);
        /* No lone byte of a cut character stays unescaped: escaping again changes nothing. */
        struct error again = ERROR_INIT;
        (void)fail(&again, E_INVALID, "%s", err.message);
        assert_string_equal(again.message, err.message);
    }
    memset(err.message, 0, sizeof err.message);
    char controls[ERROR_MESSAGE_MAX];
    memset(controls, 1, sizeof controls - 1);
    controls[sizeof controls - 1] = '\0';
    (void)fail(&err, E_INVALID, "%s", controls);
    assert_int_equal(strlen(err.message) % 4, 0);
}

static void system_errors_keep_their_number(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    assert_int_equal(fail_sys(&err, EACCES, "open '%s'", "x"), E_SYS);
    assert_int_equal(err.sys, EACCES);
    assert_string_equal(err.message, "open 'x': Permission denied");
    assert_int_equal(fail_sys(&err, ENOENT, "x"), E_NOTFOUND);
    assert_int_equal(err.sys, ENOENT);
    assert_int_equal(fail_sys(&err, EEXIST, "x"), E_EXISTS);
    assert_int_equal(fail_sys(&err, ENOMEM, "x"), E_NOMEM);
    assert_int_equal(fail_nomem(&err), E_NOMEM);
    assert_int_equal(err.sys, ENOMEM);
    char name[2000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    (void)fail_sys(&err, ENOSPC, "write '%s'", name);
    assert_non_null(strstr(err.message, "No space left on device"));
}

static void context_is_added_in_front(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    int rc = fail_sys(&err, EIO, "read");
    rc = wrap(&err, rc, "layer %d", 2);
    rc = wrap(&err, rc, "pull '%s'", "h/r:t");
    assert_int_equal(rc, E_SYS);
    assert_int_equal(err.code, E_SYS);
    assert_int_equal(err.sys, EIO);
    assert_string_equal(err.message, "pull 'h/r:t': layer 2: read: Input/output error");
    struct error untouched = ERROR_INIT;
    assert_int_equal(wrap(&untouched, OK, "nothing happened"), OK);
    assert_string_equal(untouched.message, "");
    assert_int_equal(wrap(NULL, E_LIMIT, "x"), E_LIMIT);
}

static void every_code_has_a_row(void **state)
{
    (void)state;
    for (int code = E_INTERNAL; code <= OK; code++) {
        assert_string_not_equal(error_name(code), "unknown");
        for (int other = E_INTERNAL; other < code; other++)
            assert_string_not_equal(error_name(code), error_name(other));
    }
    assert_string_equal(error_name(1), "unknown");
    assert_string_equal(error_name(E_INTERNAL - 1), "unknown");
    assert_int_equal(error_exit_status(12345), EXIT_COULD_NOT);
    assert_int_equal(error_http_status(12345), 500);
}

static void could_not_is_never_refused(void **state)
{
    (void)state;
    static const int refused[] = {E_DIGEST,   E_SIGNATURE, E_EXPIRED,     E_ROLLBACK, E_BINDING,
                                  E_UNSIGNED, E_BANNED,    E_POLICY,      E_DENIED,   E_TAMPERED,
                                  E_INVALID,  E_LIMIT,     E_UNAUTHORIZED};
    static const int could_not[] = {E_NOMEM,    E_SYS,   E_NOTFOUND,   E_NETWORK,    E_TLS,
                                    E_PROTOCOL, E_TOKEN, E_PASSPHRASE, E_NO_TRUST,   E_CLOCK,
                                    E_STALE,    E_BUSY,  E_INTERNAL,   E_INTERRUPTED};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(error_exit_status(refused[i]), EXIT_REFUSED);
        assert_string_equal(error_verdict(refused[i]), "refused");
    }
    for (size_t i = 0; i < sizeof could_not / sizeof could_not[0]; i++) {
        assert_int_equal(error_exit_status(could_not[i]), EXIT_COULD_NOT);
        assert_string_equal(error_verdict(could_not[i]), "undetermined");
    }
    assert_int_equal(error_exit_status(OK), EXIT_DONE);
    assert_string_equal(error_verdict(OK), "valid");
    assert_int_equal(error_exit_status(E_USAGE), EXIT_USAGE);
    assert_int_equal(error_http_status(E_UNAUTHORIZED), 401);
    assert_int_equal(error_http_status(E_DENIED), 403);
    assert_int_equal(error_http_status(E_LIMIT), 413);
    assert_int_equal(error_http_status(E_CONFLICT), 409);
    assert_int_equal(error_http_status(E_RANGE), 416);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_message_is_formatted),
        cmocka_unit_test(outside_bytes_are_escaped),
        cmocka_unit_test(long_messages_are_cut_at_characters),
        cmocka_unit_test(system_errors_keep_their_number),
        cmocka_unit_test(context_is_added_in_front),
        cmocka_unit_test(every_code_has_a_row),
        cmocka_unit_test(could_not_is_never_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

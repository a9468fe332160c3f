/* The pair in use, and what may and may not replace it. */
#include "registry/devca.h"
#include "registry/http_certificate.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/scratch.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void write_pair(const struct scratch *s, struct devca *ca)
{
    assert_int_equal(devca_make("127.0.0.1", ca, NULL), 0);
    scratch_write(s, "crt", ca->certificate.data, ca->certificate.len);
    scratch_write(s, "key", ca->key.data, ca->key.len);
}

static struct http_certificate *open_pair(const struct scratch *s)
{
    struct http_certificate *c = NULL;
    assert_int_equal(
        http_certificate_open(scratch_name(s, "crt"), scratch_name(s, "key"), &c, NULL), 0);
    return c;
}

static void what_is_no_pair_is_refused(void **state)
{
    const struct scratch *s = *state;
    struct devca one = {BYTES_INIT, BYTES_INIT, BYTES_INIT, BYTES_INIT}, other = one;
    struct http_certificate *c = NULL;
    struct error err = ERROR_INIT;
    const char *crt = scratch_name(s, "crt"), *key = scratch_name(s, "key");
    assert_int_equal(http_certificate_open(crt, key, &c, &err), E_NOTFOUND);
    write_pair(s, &one);
    write_pair(s, &other);
    scratch_write(s, "crt", one.certificate.data, one.certificate.len);
    assert_int_equal(http_certificate_open(crt, key, &c, &err), E_TLS);
    assert_non_null(strstr(err.message, "do not belong together"));
    scratch_write_text(s, "crt", "");
    assert_int_equal(http_certificate_open(crt, key, &c, &err), E_TLS);
    scratch_write(s, "crt", other.certificate.data, other.certificate.len / 2);
    assert_int_equal(http_certificate_open(crt, key, &c, &err), E_TLS);
    scratch_write(s, "crt", other.certificate.data, other.certificate.len);
    scratch_write(s, "key", other.key.data, other.key.len / 2);
    assert_int_equal(http_certificate_open(crt, key, &c, &err), E_TLS);
    assert_null(c);
    devca_done(&one);
    devca_done(&other);
}

/* A handshake goes on with the pair it began with; a failed reload changes nothing. */
static void a_new_pair_leaves_handshakes_alone(void **state)
{
    const struct scratch *s = *state;
    struct devca first = {BYTES_INIT, BYTES_INIT, BYTES_INIT, BYTES_INIT}, second = first;
    struct gnutls_pcert_st *chain[3] = {NULL};
    struct gnutls_privkey_st *key[3] = {NULL};
    unsigned n = 0;
    struct error err = ERROR_INIT;
    write_pair(s, &first);
    struct http_certificate *c = open_pair(s);
    struct http_certificate_pair *held = http_certificate_use(c, &chain[0], &n, &key[0]);
    assert_true(n >= 1);
    write_pair(s, &second);
    scratch_write_text(s, "key", "nonsense");
    assert_int_equal(http_certificate_reload(c, &err), E_TLS);
    struct http_certificate_pair *again = http_certificate_use(c, &chain[1], &n, &key[1]);
    assert_ptr_equal(again, held);
    http_certificate_release(c, again);
    scratch_write(s, "key", second.key.data, second.key.len);
    assert_int_equal(http_certificate_reload(c, &err), 0);
    struct http_certificate_pair *fresh = http_certificate_use(c, &chain[2], &n, &key[2]);
    assert_ptr_not_equal(fresh, held);
    assert_ptr_not_equal(key[2], key[0]);
    http_certificate_release(c, held); /* frees it: sanitizers watch */
    http_certificate_release(c, fresh);
    http_certificate_close(c);
    devca_done(&first);
    devca_done(&second);
}

static void an_expired_pair_does_not_replace_a_good_one(void **state)
{
    const struct scratch *s = *state;
    struct devca ca = {BYTES_INIT, BYTES_INIT, BYTES_INIT, BYTES_INIT};
    struct error err = ERROR_INIT;
    write_pair(s, &ca);
    struct http_certificate *c = open_pair(s);
    int64_t later = http_certificate_expires_s(c);
    assert_true(later > clock_now_s());
    clock_use_for_test(&later);
    assert_int_equal(http_certificate_reload(c, &err), E_EXPIRED);
    later--;
    assert_int_equal(http_certificate_reload(c, &err), 0);
    clock_use_for_test(NULL);
    http_certificate_close(c);
    devca_done(&ca);
}

static void changes_are_seen_once_and_when_settled(void **state)
{
    const struct scratch *s = *state;
    struct devca ca = {BYTES_INIT, BYTES_INIT, BYTES_INIT, BYTES_INIT};
    write_pair(s, &ca);
    struct http_certificate *c = open_pair(s);
    assert_false(http_certificate_changed(c));
    scratch_write_text(s, "crt", "one file");
    assert_false(http_certificate_changed(c)); /* just now */
    scratch_write_text(s, "key", "and the other");
    assert_false(http_certificate_changed(c));
    assert_true(http_certificate_changed(c));
    assert_false(http_certificate_changed(c));
    http_certificate_close(c);
    devca_done(&ca);
}

static int open_and_reload(void *context, struct error *err)
{
    const struct scratch *s = context;
    struct http_certificate *c = NULL;
    int rc = http_certificate_open(scratch_name(s, "crt"), scratch_name(s, "key"), &c, err);
    if (rc == 0)
        rc = http_certificate_reload(c, err);
    http_certificate_close(c);
    return rc;
}

static void memory_may_run_out(void **state)
{
    struct devca ca = {BYTES_INIT, BYTES_INIT, BYTES_INIT, BYTES_INIT};
    write_pair(*state, &ca);
    alloc_fail_each(open_and_reload, *state, E_TLS);
    devca_done(&ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_no_pair_is_refused, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_new_pair_leaves_handshakes_alone, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(an_expired_pair_does_not_replace_a_good_one, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(changes_are_seen_once_and_when_settled, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(memory_may_run_out, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

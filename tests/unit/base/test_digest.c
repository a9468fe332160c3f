#include "base/digest.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define EMPTY_256 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_256   "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_512                                                                                    \
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                      \
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static void known_vectors(void **state)
{
    (void)state;
    /* Source: FIPS 180-4 examples. */
    static const struct {
        enum digest_alg alg;
        const char *data, *text;
    } cases[] = {{DIGEST_SHA256, "", EMPTY_256},
                 {DIGEST_SHA256, "abc", ABC_256},
                 {DIGEST_SHA512, "abc", ABC_512}};
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct digest d, parsed;
        char text[DIGEST_TEXT_MAX];
        assert_int_equal(digest_of(cases[i].alg, cases[i].data, strlen(cases[i].data), &d, &err),
                         OK);
        assert_string_equal(digest_format(&d, text), cases[i].text);
        assert_string_equal(digest_hex(&d, text), cases[i].text + 7);
        assert_int_equal(digest_parse_text(cases[i].text, &parsed, &err), OK);
        assert_true(digest_equal(&d, &parsed));
        assert_string_equal(digest_alg_name(d.alg), i == 2 ? "sha512" : "sha256");
    }
    assert_int_equal(digest_len(DIGEST_NONE), 0);
}

static void malformed_text_is_refused(void **state)
{
    (void)state;
    static const char hex[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    static const struct {
        const char *before, *hex, *behind;
        int code;
    } cases[] = {
        {"", "", "", E_INVALID},
        {"", hex, "", E_INVALID},
        {"sha256", "", "", E_INVALID},
        {"sha256:", "", "", E_INVALID},
        {":", hex, "", E_INVALID},
        {"SHA256:", hex, "", E_INVALID},
        {"sha256-", hex, "", E_INVALID},
        {"sha256:", hex, "0", E_INVALID},    /* 65 digits */
        {"sha256:", hex + 1, "", E_INVALID}, /* 63 digits */
        {"sha256:", hex, "\n", E_INVALID},
        {" sha256:", hex, "", E_INVALID},
        {"sha256: ", hex + 1, "", E_INVALID},
        {"sha256:", hex + 1, "A", E_INVALID}, /* upper case */
        {"sha256:", hex + 1, "g", E_INVALID},
        {"sha256:../../", hex + 6, "", E_INVALID},
        {"sha512:", hex, "", E_INVALID}, /* too short for its algorithm */
        {"sha256::", hex, "", E_INVALID},
        {"sha256:sha256:", hex, "", E_INVALID},
        {"+sha256:", hex, "", E_INVALID},
        {"sha256+:", hex, "", E_INVALID},
        {"sha256++b64:", hex, "", E_INVALID},
        {"sha-256 :", hex, "", E_INVALID},
        {"sha384:", hex, "", E_UNSUPPORTED},
        {"md5:", "d41d8cd98f00b204e9800998ecf8427e", "", E_UNSUPPORTED},
        {"sha256+b64:", "LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", "", E_UNSUPPORTED},
        {"totallywrong", "", "", E_INVALID},
        {"sha256:totallywrong", "", "", E_INVALID},
    };
    struct digest out = {.alg = DIGEST_SHA512, .bytes = {7}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        char text[256];
        (void)snprintf(text, sizeof text, "%s%s%s", cases[i].before, cases[i].hex, cases[i].behind);
        int rc = digest_parse_text(text, &out, &err);
        if (rc != cases[i].code)
            fail_msg("'%s': %d %s", text, rc, err.message);
        assert_int_equal(out.alg, DIGEST_SHA512);
        assert_int_equal(out.bytes[0], 7);
    }
    struct error err = ERROR_INIT;
    char with_nul[] = ABC_256;
    with_nul[20] = '\0';
    assert_int_equal(digest_parse(with_nul, sizeof with_nul - 1, &out, &err), E_INVALID);
    assert_int_equal(digest_parse(ABC_256, strlen(ABC_256) - 1, &out, &err), E_INVALID);
    assert_int_equal(digest_parse(ABC_256 "trailing", strlen(ABC_256), &out, &err), OK);
}

static void every_bit_counts_in_a_comparison(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    static const enum digest_alg algs[] = {DIGEST_SHA256, DIGEST_SHA512};
    for (size_t a = 0; a < 2; a++) {
        struct digest d;
        assert_int_equal(digest_of(algs[a], "abc", 3, &d, &err), OK);
        for (size_t bit = 0; bit < digest_len(algs[a]) * 8; bit++) {
            struct digest other = d;
            other.bytes[bit / 8] = (uint8_t)(other.bytes[bit / 8] ^ (1u << bit % 8));
            assert_false(digest_equal(&d, &other));
        }
    }
    struct digest a = {.alg = DIGEST_SHA256}, b = {.alg = DIGEST_SHA512}, none = {0};
    assert_false(digest_equal(&a, &b));
    assert_false(digest_equal(&none, &none));
    b.alg = DIGEST_SHA256;
    b.bytes[40] = 1; /* behind its length: does not count */
    assert_true(digest_equal(&a, &b));
}

static void a_stream_can_be_looked_at_on_the_way(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    CLEANUP(digest_stream_cleanup) struct digest_stream *s = NULL;
    struct digest d;
    char text[DIGEST_TEXT_MAX];
    assert_int_equal(digest_stream_new(DIGEST_SHA256, &s, &err), OK);
    assert_int_equal(digest_stream_peek(s, &d, &err), OK);
    assert_string_equal(digest_format(&d, text), EMPTY_256);
    assert_int_equal(digest_stream_update(s, "a", 1, &err), OK);
    assert_int_equal(digest_stream_peek(s, &d, &err), OK);
    assert_int_equal(digest_stream_update(s, "bc", 2, &err), OK);
    assert_int_equal(digest_stream_peek(s, &d, &err), OK);
    assert_string_equal(digest_format(&d, text), ABC_256);
    struct digest_stream *none = NULL;
    assert_int_equal(digest_stream_new(DIGEST_NONE, &none, &err), E_INTERNAL);
    assert_null(none);
    assert_int_equal(digest_of(DIGEST_NONE, "", 0, &d, &err), E_INTERNAL);
}

static void a_file_is_hashed_from_its_position(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    scratch_write_text(s, "f", "xyzabc");
    CLEANUP(cleanup_fd) int fd = openat(s->fd, "f", O_RDONLY | O_CLOEXEC);
    assert_int_equal(lseek(fd, 3, SEEK_SET), 3);
    struct digest d;
    uint64_t len = 0;
    char text[DIGEST_TEXT_MAX];
    assert_int_equal(digest_of_fd(DIGEST_SHA256, fd, &d, &len, &err), OK);
    assert_int_equal(len, 3);
    assert_string_equal(digest_format(&d, text), ABC_256);
    assert_int_equal(digest_of_fd(DIGEST_SHA256, fd, &d, NULL, &err), OK);
    assert_string_equal(digest_format(&d, text), EMPTY_256);
    memset(&d, 7, sizeof d);
    assert_int_equal(digest_of_fd(DIGEST_SHA256, s->fd, &d, &len, &err), E_SYS);
    assert_int_equal(d.bytes[0], 7);
}

static int hash_in_a_stream(void *context, struct error *err)
{
    (void)context;
    CLEANUP(digest_stream_cleanup) struct digest_stream *s = NULL;
    struct digest d;
    int rc = digest_stream_new(DIGEST_SHA256, &s, err);
    if (!rc)
        rc = digest_stream_update(s, "abc", 3, err);
    return rc ? rc : digest_stream_peek(s, &d, err);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    /* OpenSSL says only that it failed. */
    alloc_fail_each(hash_in_a_stream, NULL, E_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors),
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(every_bit_counts_in_a_comparison),
        cmocka_unit_test(a_stream_can_be_looked_at_on_the_way),
        cmocka_unit_test_setup_teardown(a_file_is_hashed_from_its_position, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

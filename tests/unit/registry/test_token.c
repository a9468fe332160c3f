/* Bearer tokens: what is issued can be read, and nothing else can. Keys and their rotation. */
#include "base/clock.h"
#include "base/file.h"
#include "keys/secret.h"
#include "registry/password.h"
#include "registry/token.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define NOW      INT64_C(1800000000)
#define LIFETIME 300

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

struct place {
    struct scratch *dir;
    struct token_keys *keys;
    int64_t now;
};

static int setup(void **state)
{
    static struct place p;
    void *dir = NULL;
    scratch_setup(&dir);
    p = (struct place){.dir = dir, .now = NOW};
    clock_use_for_test(&p.now);
    ok(password_init(err));
    const struct token_keys_options options = {
        .data_dir = p.dir->path, .rotate_after_s = 86400, .keep_s = LIFETIME + TOKEN_SKEW_S};
    ok(token_keys_open(&options, &p.keys, err));
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    void *dir = p->dir;
    token_keys_free(p->keys);
    clock_use_for_test(NULL);
    return scratch_teardown(&dir);
}

/* The keys look at their folder once a second. */
static void let_keys_look(void)
{
    struct timespec pause = {1, 50 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

static struct access_identity bob(void)
{
    return (struct access_identity){.name = "bob", .method = ACCESS_BY_PASSWORD, .serial = 77};
}

/* A token of bob for acme/app. */
static void issue(struct place *p, struct bytes *out)
{
    struct access_identity who = bob();
    struct access_scopes scopes = {NULL, 0, true};
    ok(access_scopes_add(&scopes, "acme/app", ACCESS_PULL | ACCESS_PUSH, err));
    const struct token_order order = {&who, &scopes, p->now, LIFETIME};
    bytes_clear(out);
    ok(token_issue(p->keys, &order, out, err));
    access_scopes_done(&scopes);
}

/* The code; outputs are left alone on failure. What is refused is refused again: failures are not
 * remembered as successes are. */
static int read_at(struct place *p, const char *text, int64_t now, struct error *err)
{
    struct access_identity who = {.name = "kept"};
    int rc = token_read(p->keys, text, now, &who, err);
    if (rc != 0)
        assert_string_equal(who.name, "kept");
    access_identity_done(&who);
    struct access_identity again = {.name = "kept"};
    assert_int_equal(token_read(p->keys, text, now, &again, err), rc);
    access_identity_done(&again);
    return rc;
}

static void what_was_issued_is_read(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct access_identity who = {.method = ACCESS_BY_NOTHING};
    issue(p, &text);
    ok(token_read(p->keys, bytes_text(&text), NOW, &who, err));
    assert_string_equal(who.name, "bob");
    assert_int_equal(who.method, ACCESS_BY_BEARER);
    assert_int_equal(who.serial, 77);
    assert_string_equal(who.api_token, "");
    assert_string_equal(who.pattern, "");
    assert_int_equal(who.scopes.n, 1);
    assert_string_equal(who.scopes.list[0].repository, "acme/app");
    assert_int_equal(who.scopes.list[0].actions, ACCESS_PULL | ACCESS_PUSH);
    assert_true(who.scopes.catalog);
    access_identity_done(&who);
}

static void times_are_bounds(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct error err = ERROR_INIT;
    issue(p, &text);
    assert_int_equal(read_at(p, bytes_text(&text), NOW + LIFETIME - 1, NULL), 0);
    assert_int_equal(read_at(p, bytes_text(&text), NOW + LIFETIME, &err), E_UNAUTHORIZED);
    assert_non_null(strstr(err.message, "expired"));
    assert_int_equal(read_at(p, bytes_text(&text), NOW - TOKEN_SKEW_S, NULL), 0);
    assert_int_equal(read_at(p, bytes_text(&text), NOW - TOKEN_SKEW_S - 1, &err), E_UNAUTHORIZED);
    assert_non_null(strstr(err.message, "not valid yet"));
    assert_int_equal(read_at(p, bytes_text(&text), 0, NULL), E_UNAUTHORIZED);
    assert_int_equal(read_at(p, bytes_text(&text), INT64_MAX / 4, NULL), E_UNAUTHORIZED);
}

/* Every bit of every byte, also once the good one is remembered. */
static void no_bit_can_be_changed(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    issue(p, &text);
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), 0);
    for (size_t i = 0; i < text.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            text.data[i] = (uint8_t)(text.data[i] ^ 1 << bit);
            if (read_at(p, bytes_text(&text), NOW, NULL) != E_UNAUTHORIZED)
                fail_msg("bit %d of byte %zu changes nothing", bit, i);
            text.data[i] = (uint8_t)(text.data[i] ^ 1 << bit);
        }
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), 0);
}

static void cut_short_long_and_huge(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    static const char *const bad[] = {
        "",     ".",    "..",       "...",         "a.b.c", "....", "e30",
        "e30.", ".e30", "e30.e30.", "e30.e30.e30", "=.=.=", " . . "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(read_at(p, bad[i], NOW, NULL), E_UNAUTHORIZED);
    issue(p, &text);
    for (size_t len = 0; len < text.len; len++) {
        CLEANUP(bytes_done) struct bytes part = BYTES_INIT;
        ok(bytes_append(&part, text.data, len, err));
        assert_int_equal(read_at(p, bytes_text(&part), NOW, NULL), E_UNAUTHORIZED);
    }
    static const char *const tails[] = {"=", "A", ".", ".AAAA", " ", "\n"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t before = text.len;
        ok(bytes_append_text(&text, tails[i], err));
        assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), E_UNAUTHORIZED);
        text.data[text.len = before] = '\0';
    }
    while (text.len <= TOKEN_TEXT_MAX)
        ok(bytes_append_text(&text, "AAAAAAAAAAAAAAAA", err));
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), E_UNAUTHORIZED);
}

/* --- tokens of any shape, signed by the right key --- */

static void add_part(struct bytes *out, const void *data, size_t len)
{
    size_t start = out->len;
    ok(base64_encode(data, len, out, err));
    while (out->len > start && out->data[out->len - 1] == '=')
        out->data[--out->len] = '\0';
    for (size_t i = start; i < out->len; i++)
        out->data[i] = out->data[i] == '+' ? '-' : out->data[i] == '/' ? '_' : out->data[i];
}

/* $K in header becomes the key's id. */
static int forge(struct place *p, const char *header, const char *claims, struct error *err_out)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes head = BYTES_INIT;
    char id[TOKEN_KEY_ID_LEN + 1];
    uint8_t sig[TOKEN_SIGNATURE_LEN];
    ok(token_keys_current(p->keys, id, err));
    const char *at = strstr(header, "$K");
    ok(bytes_append(&head, header, at ? (size_t)(at - header) : strlen(header), err));
    if (at) {
        ok(bytes_append_text(&head, id, err));
        ok(bytes_append_text(&head, at + 2, err));
    }
    add_part(&text, head.data, head.len);
    ok(bytes_append_text(&text, ".", err));
    add_part(&text, claims, strlen(claims));
    ok(token_keys_sign(p->keys, id, text.data, text.len, sig, err));
    ok(bytes_append_text(&text, ".", err));
    add_part(&text, sig, sizeof sig);
    return read_at(p, bytes_text(&text), NOW, err_out);
}

#define HEADER "{\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"JWT\"}"
#define ENDS   "\"jti\":\"x\",\"access\":[]}"
#define TIMES  "\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000300,"
#define NAMES  "\"iss\":\"bulla-registry\",\"aud\":\"bulla-registry\",\"sub\":\"bob\","
#define REST   "\"serial\":77,\"api\":\"\","

static void headers_of_every_kind(void **state)
{
    struct place *p = *state;
    static const char claims[] = "{" NAMES REST TIMES ENDS;
    static const char *const bad[] = {
        "{\"alg\":\"none\",\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":\"None\",\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":\"eddsa\",\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":\"EdDSA \",\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":\"\",\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":null,\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":[\"EdDSA\"],\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"\",\"typ\":\"JWT\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K0\",\"typ\":\"JWT\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"../$K\",\"typ\":\"JWT\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"000000000000000000000000\",\"typ\":\"JWT\"}",
        "{\"alg\":\"EdDSA\",\"kid\":7,\"typ\":\"JWT\"}",
        "{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"JWT\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"JWT\",\"jwk\":{\"kty\":\"OKP\"}}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"JWT\",\"jku\":\"https://x/\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"JWT\",\"x5c\":[\"AAAA\"]}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"JWT\",\"x5u\":\"https://x/\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"JWT\",\"crit\":[]}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"JWT\",\"zip\":\"DEF\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"$K\",\"typ\":\"JWT\"} ,",
        "[\"EdDSA\",\"$K\"]",
        "\"$K\"",
        "",
        "{",
        "null"};
    ok(forge(p, HEADER, claims, err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (forge(p, bad[i], claims, NULL) != E_UNAUTHORIZED)
            fail_msg("header %s was taken", bad[i]);
}

static void claims_of_every_kind(void **state)
{
    struct place *p = *state;
    static const char *const bad[] = {
        "{\"iss\":\"other\",\"aud\":\"bulla-registry\",\"sub\":\"bob\"," REST TIMES ENDS,
        "{\"iss\":\"bulla-registry\",\"aud\":\"other\",\"sub\":\"bob\"," REST TIMES ENDS,
        "{\"iss\":\"bulla-registry\",\"aud\":[\"bulla-registry\"],\"sub\":\"bob\"," REST TIMES ENDS,
        "{\"aud\":\"bulla-registry\",\"sub\":\"bob\"," REST TIMES ENDS,
        "{\"iss\":\"bulla-registry\",\"sub\":\"bob\"," REST TIMES ENDS,
        "{\"iss\":\"bulla-registry\",\"aud\":\"bulla-registry\"," REST TIMES ENDS,
        "{\"iss\":\"bulla-registry\",\"aud\":\"bulla-registry\",\"sub\":\"Bob\"," REST TIMES ENDS,
        "{\"iss\":\"bulla-registry\",\"aud\":\"bulla-registry\",\"sub\":\"\"," REST TIMES ENDS,
        "{" NAMES "\"sub\":\"admin\"," REST TIMES ENDS, /* twice */
        "{" NAMES REST TIMES TIMES ENDS,
        "{" NAMES REST TIMES "\"extra\":1," ENDS,
        "{" NAMES "\"api\":\"\"," TIMES ENDS,
        "{" NAMES "\"serial\":-1,\"api\":\"\"," TIMES ENDS,
        "{" NAMES "\"serial\":\"77\",\"api\":\"\"," TIMES ENDS,
        "{" NAMES "\"serial\":77.0,\"api\":\"\"," TIMES ENDS,
        "{" NAMES "\"serial\":77," TIMES ENDS,
        "{" NAMES "\"serial\":77,\"api\":\"00112233445566778\"," TIMES ENDS,
        "{" NAMES REST "\"nbf\":1800000000,\"exp\":1800000300," ENDS,
        "{" NAMES REST "\"iat\":1800000000,\"exp\":1800000300," ENDS,
        "{" NAMES REST "\"iat\":1800000000,\"nbf\":1800000000," ENDS,
        "{" NAMES REST "\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800000000," ENDS,
        "{" NAMES REST "\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1900000000," ENDS,
        "{" NAMES REST "\"iat\":1800000000,\"nbf\":1800000000,\"exp\":9223372036854775807," ENDS,
        "{" NAMES REST "\"iat\":1800000000,\"nbf\":1800000011,\"exp\":1800000300," ENDS,
        "{" NAMES REST "\"iat\":1800000011,\"nbf\":1800000000,\"exp\":1800000300," ENDS,
        "{" NAMES REST "\"iat\":-1,\"nbf\":-1,\"exp\":1800000300," ENDS,
        "{" NAMES REST TIMES "\"access\":[]}", /* no jti */
        "{" NAMES REST TIMES "\"jti\":\"x\"}",
        "{" NAMES REST TIMES "\"jti\":\"x\",\"access\":{}}",
        "{" NAMES REST TIMES "\"jti\":\"x\",\"access\":[1]}",
        "{" NAMES REST TIMES "\"jti\":\"x\",\"access\":[{}]}",
        "{" NAMES REST TIMES "\"jti\":\"x\",\"access\":[{\"type\":\"repository\",\"name\":\"*\","
        "\"actions\":[\"pull\"]}]}",
        "{" NAMES REST TIMES "\"jti\":\"x\",\"access\":[{\"type\":\"repository\",\"name\":\"a/*\","
        "\"actions\":[\"pull\"]}]}",
        "{" NAMES REST TIMES "\"jti\":\"x\",\"access\":[{\"type\":\"repository\",\"name\":\"a\","
        "\"actions\":[\"*\"]}]}",
        "{" NAMES REST TIMES "\"jti\":\"x\",\"access\":[{\"type\":\"repository\",\"name\":\"a\","
        "\"actions\":\"pull\"}]}",
        "{" NAMES REST TIMES "\"jti\":\"x\",\"access\":[{\"type\":\"repository\",\"name\":\"a\","
        "\"actions\":[\"pull\"],\"class\":\"x\"}]}",
        "{" NAMES REST TIMES "\"jti\":\"x\",\"access\":[{\"type\":\"registry\",\"name\":\"x\","
        "\"actions\":[]}]}",
        "{}",
        "[]",
        "",
        "null"};
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (forge(p, HEADER, bad[i], &err) != E_UNAUTHORIZED)
            fail_msg("claims %s were taken", bad[i]);
    assert_int_equal(forge(p, HEADER, bad[0], &err), E_UNAUTHORIZED);
    assert_non_null(strstr(err.message, "another service"));
}

/* Signed by another key, under its own id and under ours. With the public half as an HMAC's secret
 * there is nothing that would compute one: the algorithm is not asked of the token. */
static void foreign_keys_do_not_sign(void **state)
{
    struct place *p = *state;
    void *dir = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    char id[TOKEN_KEY_ID_LEN + 1], other_id[TOKEN_KEY_ID_LEN + 1], name[64];
    uint8_t seed[32];
    struct error why = ERROR_INIT;
    scratch_setup(&dir);
    const struct scratch *other = dir;
    struct place q = {.now = NOW};
    const struct token_keys_options options = {.data_dir = other->path, .keep_s = LIFETIME};
    ok(token_keys_open(&options, &q.keys, err));
    issue(&q, &text);
    assert_int_equal(read_at(p, bytes_text(&text), NOW, &why), E_UNAUTHORIZED);
    assert_non_null(strstr(why.message, "not in use"));
    ok(token_keys_current(q.keys, other_id, err));
    token_keys_free(q.keys);
    snprintf(name, sizeof name, TOKEN_KEYS_FOLDER "/%s.key", other_id);
    assert_int_equal(unlinkat(other->fd, name, 0), 0);
    ok(token_keys_current(p->keys, id, err));
    snprintf(name, sizeof name, TOKEN_KEYS_FOLDER "/%s.key", id);
    password_random(seed, sizeof seed);
    scratch_write(other, name, seed, sizeof seed);
    ok(token_keys_open(&options, &q.keys, err));
    ok(token_keys_current(q.keys, other_id, err));
    assert_string_equal(other_id, id);
    issue(&q, &text);
    assert_int_equal(read_at(&q, bytes_text(&text), NOW, NULL), 0);
    assert_int_equal(read_at(p, bytes_text(&text), NOW, &why), E_UNAUTHORIZED);
    assert_non_null(strstr(why.message, "forged"));
    token_keys_free(q.keys);
    scratch_teardown(&dir);
}

/* --- keys --- */

static void keys_are_for_their_owner_and_stay(void **state)
{
    struct place *p = *state;
    char id[TOKEN_KEY_ID_LEN + 1], again[TOKEN_KEY_ID_LEN + 1], name[64];
    struct stat st;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    issue(p, &text);
    ok(token_keys_current(p->keys, id, err));
    snprintf(name, sizeof name, TOKEN_KEYS_FOLDER "/%s.key", id);
    assert_int_equal(stat(scratch_name(p->dir, name), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 32);
    assert_int_equal(stat(scratch_name(p->dir, TOKEN_KEYS_FOLDER), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    /* The next process reads what this one issued. */
    token_keys_free(p->keys);
    const struct token_keys_options options = {.data_dir = p->dir->path, .keep_s = LIFETIME};
    ok(token_keys_open(&options, &p->keys, err));
    ok(token_keys_current(p->keys, again, err));
    assert_string_equal(id, again);
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), 0);
}

/* Another process rotates: this one signs with the new key, still reads what the old one signed,
 * until that cannot be valid any more; then the old file is gone. */
static void rotation_reaches_a_running_server(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes old = BYTES_INIT, fresh = BYTES_INIT;
    char id[TOKEN_KEY_ID_LEN + 1], now_id[TOKEN_KEY_ID_LEN + 1], name[64];
    struct stat st;
    issue(p, &old);
    ok(token_keys_current(p->keys, now_id, err));
    snprintf(name, sizeof name, TOKEN_KEYS_FOLDER "/%s.key", now_id);
    ok(token_keys_rotate(p->dir->path, id, err));
    let_keys_look();
    ok(token_keys_current(p->keys, now_id, err));
    assert_string_equal(now_id, id);
    issue(p, &fresh);
    assert_int_equal(read_at(p, bytes_text(&old), NOW, NULL), 0);
    assert_int_equal(read_at(p, bytes_text(&fresh), NOW, NULL), 0);
    p->now = NOW + 2 * LIFETIME;
    let_keys_look();
    assert_int_equal(read_at(p, bytes_text(&old), NOW, NULL), E_UNAUTHORIZED);
    assert_int_equal(read_at(p, bytes_text(&fresh), NOW, NULL), 0);
    assert_int_not_equal(stat(scratch_name(p->dir, name), &st), 0);
}

/* A key that somebody may have seen is taken away: what it signed is void within a second, although
 * it was remembered as good. */
static void a_removed_key_is_forgotten(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    char id[TOKEN_KEY_ID_LEN + 1], name[64];
    issue(p, &text);
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), 0);
    ok(token_keys_current(p->keys, id, err));
    snprintf(name, sizeof name, TOKEN_KEYS_FOLDER "/%s.key", id);
    assert_int_equal(unlink(scratch_name(p->dir, name)), 0);
    let_keys_look();
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), E_UNAUTHORIZED);
    issue(p, &text);
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), 0);
}

static void old_keys_are_replaced(void **state)
{
    struct place *p = *state;
    char first[TOKEN_KEY_ID_LEN + 1], second[TOKEN_KEY_ID_LEN + 1];
    ok(token_keys_current(p->keys, first, err));
    p->now = NOW + 86400;
    ok(token_keys_current(p->keys, second, err));
    assert_string_equal(first, second);
    p->now = NOW + 86401;
    ok(token_keys_current(p->keys, second, err));
    assert_string_not_equal(first, second);
    assert_true(strcmp(first, second) < 0);
}

/* Files that are none of ours, or broken, take nothing else with them. */
static void odd_files_in_the_folder(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    char id[TOKEN_KEY_ID_LEN + 1];
    issue(p, &text);
    scratch_write_text(p->dir, TOKEN_KEYS_FOLDER "/ffffffffffff000000000000.key", "short");
    scratch_write_text(p->dir, TOKEN_KEYS_FOLDER "/README", "x");
    scratch_write_text(p->dir, TOKEN_KEYS_FOLDER "/../x.key", "x");
    assert_int_equal(
        symlinkat("/etc/passwd", p->dir->fd, TOKEN_KEYS_FOLDER "/fffffffffffe000000000000.key"), 0);
    let_keys_look();
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), 0);
    ok(token_keys_current(p->keys, id, err));
    issue(p, &text);
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), 0);
}

static void many_scopes(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct access_scopes scopes = {NULL, 0, false};
    struct access_identity who = bob();
    char name[256];
    for (unsigned i = 0; i < ACCESS_SCOPES_MAX; i++) {
        snprintf(name, sizeof name, "r/%u", i);
        ok(access_scopes_add(&scopes, name, ACCESS_PULL, err));
    }
    assert_int_equal(access_scopes_add(&scopes, "one/more", ACCESS_PULL, NULL), E_LIMIT);
    ok(access_scopes_add(&scopes, "r/3", ACCESS_PUSH, err));
    const struct token_order order = {&who, &scopes, NOW, LIFETIME};
    ok(token_issue(p->keys, &order, &text, err));
    assert_int_equal(read_at(p, bytes_text(&text), NOW, NULL), 0);
    access_scopes_done(&scopes);
    for (unsigned i = 0; i < ACCESS_SCOPES_MAX; i++) {
        snprintf(name, sizeof name, "%0250u", i);
        ok(access_scopes_add(&scopes, name, ACCESS_ALL, err));
    }
    bytes_clear(&text);
    assert_int_equal(token_issue(p->keys, &order, &text, NULL), E_LIMIT);
    assert_int_equal(text.len, 0);
    access_scopes_done(&scopes);
}

#define place_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        place_test(what_was_issued_is_read),
        place_test(times_are_bounds),
        place_test(no_bit_can_be_changed),
        place_test(cut_short_long_and_huge),
        place_test(headers_of_every_kind),
        place_test(claims_of_every_kind),
        place_test(foreign_keys_do_not_sign),
        place_test(keys_are_for_their_owner_and_stay),
        place_test(rotation_reaches_a_running_server),
        place_test(a_removed_key_is_forgotten),
        place_test(old_keys_are_replaced),
        place_test(odd_files_in_the_folder),
        place_test(many_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Bearer tokens, API tokens and certificates become users, and stop being them with their user. */
#include "base/clock.h"
#include "registry/api_token.h"
#include "registry/login_limit.h"
#include "registry/password.h"
#include "registry/token.h"
#include "registry/users.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

struct place {
    struct scratch *dir;
    struct index *ix;
    struct token_keys *keys;
    struct users *users;
    int64_t now;
};

static int setup(void **state)
{
    static struct place p;
    void *dir = NULL;
    scratch_setup(&dir);
    p = (struct place){.dir = dir, .now = INT64_C(1800000000)};
    clock_use_for_test(&p.now);
    ok(password_init(err));
    ok(index_open(p.dir->path, &p.ix, err));
    ok(index_start(p.ix, err));
    const struct token_keys_options options = {.data_dir = p.dir->path, .keep_s = 310};
    ok(token_keys_open(&options, &p.keys, err));
    ok(users_new(p.keys, &p.users, err));
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    void *dir = p->dir;
    users_free(p->users);
    token_keys_free(p->keys);
    index_cleanup(&p->ix);
    clock_use_for_test(NULL);
    return scratch_teardown(&dir);
}

/* --- changes --- */

enum deed { ADD, REMOVE, PASSWD, DISABLE, ENABLE };

struct change {
    enum deed deed;
    const char *name;
};

static int apply(struct index_tx *tx, void *arg, struct error *err)
{
    const struct change *c = arg;
    switch (c->deed) {
    case ADD:
        return index_user_add(tx, c->name, "x", err);
    case REMOVE:
        return index_user_remove(tx, c->name, err);
    case PASSWD:
        return index_user_set_password(tx, c->name, "y", err);
    case DISABLE:
    case ENABLE:
        return index_user_set_disabled(tx, c->name, c->deed == DISABLE, err);
    }
    return E_INTERNAL;
}

static void change(struct place *p, enum deed deed, const char *name)
{
    struct change c = {deed, name};
    ok(index_write(p->ix, apply, &c, err));
}

static int add_token(struct index_tx *tx, void *arg, struct error *err)
{
    return index_api_token_add(tx, arg, err);
}

static int drop_token(struct index_tx *tx, void *arg, struct error *err)
{
    return index_api_token_remove(tx, arg, err);
}

static void make_token(struct place *p, const char *user, struct index_api_token *out,
                       char text[API_TOKEN_TEXT_LEN + 1])
{
    *out = (struct index_api_token){
        .actions = ACCESS_PULL, .created_s = p->now, .expires_s = p->now + 3600};
    snprintf(out->user, sizeof out->user, "%s", user);
    snprintf(out->pattern, sizeof out->pattern, "acme/*");
    api_token_make(out, text);
    ok(index_write(p->ix, add_token, out, err));
}

/* --- asking --- */

static int ask(struct place *p, struct users_proof *proof, struct access_identity *who)
{
    struct index_tx *tx = NULL;
    proof->address = "192.0.2.1";
    access_identity_done(who);
    *who = (struct access_identity){.method = ACCESS_BY_NOTHING};
    ok(index_read_begin(p->ix, &tx, err));
    int rc = users_authenticate(p->users, tx, proof, who, NULL);
    index_read_end(p->ix, tx);
    return rc;
}

static int ask_basic(struct place *p, const char *name, const char *password,
                     struct access_identity *who)
{
    CLEANUP(bytes_done) struct bytes pair = BYTES_INIT, header = BYTES_INIT;
    ok(bytes_append_format(&pair, err, "%s:%s", name, password));
    ok(bytes_append_text(&header, "Basic ", err));
    ok(base64_encode(pair.data, pair.len, &header, err));
    struct users_proof proof = {.authorization = bytes_text(&header)};
    return ask(p, &proof, who);
}

static int ask_bearer(struct place *p, const struct bytes *token, struct access_identity *who)
{
    CLEANUP(bytes_done) struct bytes header = BYTES_INIT;
    ok(bytes_append_format(&header, err, "Bearer %s", bytes_text(token)));
    struct users_proof proof = {.authorization = bytes_text(&header)};
    int rc = ask(p, &proof, who);
    assert_true(proof.bearer);
    return rc;
}

static void issue(struct place *p, const struct access_identity *who, struct bytes *out)
{
    const struct access_scopes none = {NULL, 0, false};
    const struct token_order order = {who, &none, p->now, 300};
    bytes_clear(out);
    ok(token_issue(p->keys, &order, out, err));
}

/* A token for the user as it is now. */
static void log_in(struct place *p, const char *name, struct bytes *out)
{
    struct index_tx *tx = NULL;
    struct index_user user;
    ok(index_read_begin(p->ix, &tx, err));
    ok(index_user_find(tx, name, &user, err));
    index_read_end(p->ix, tx);
    struct access_identity who = {.method = ACCESS_BY_PASSWORD, .serial = user.serial};
    snprintf(who.name, sizeof who.name, "%s", name);
    issue(p, &who, out);
}

/* Whatever is done to the user voids what was handed out before, and nothing that comes later. */
static void bearer_tokens_end_with_the_user(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes token = BYTES_INIT;
    CLEANUP(access_identity_done) struct access_identity who = {.method = ACCESS_BY_NOTHING};
    change(p, ADD, "bob");
    log_in(p, "bob", &token);
    assert_int_equal(ask_bearer(p, &token, &who), 0);
    assert_string_equal(who.name, "bob");
    assert_int_equal(who.method, ACCESS_BY_BEARER);
    change(p, PASSWD, "bob");
    assert_int_equal(ask_bearer(p, &token, &who), E_UNAUTHORIZED);
    assert_string_equal(who.name, "");
    log_in(p, "bob", &token);
    assert_int_equal(ask_bearer(p, &token, &who), 0);
    change(p, DISABLE, "bob");
    assert_int_equal(ask_bearer(p, &token, &who), E_UNAUTHORIZED);
    change(p, ENABLE, "bob");
    assert_int_equal(ask_bearer(p, &token, &who), E_UNAUTHORIZED);
    log_in(p, "bob", &token);
    assert_int_equal(ask_bearer(p, &token, &who), 0);
    change(p, REMOVE, "bob");
    assert_int_equal(ask_bearer(p, &token, &who), E_UNAUTHORIZED);
    change(p, ADD, "bob"); /* another bob */
    assert_int_equal(ask_bearer(p, &token, &who), E_UNAUTHORIZED);
}

static void a_token_is_not_exchanged(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes token = BYTES_INIT, header = BYTES_INIT;
    struct access_identity who = {.method = ACCESS_BY_NOTHING};
    change(p, ADD, "bob");
    log_in(p, "bob", &token);
    ok(bytes_append_format(&header, err, "bearer %s", bytes_text(&token)));
    struct users_proof proof = {.authorization = bytes_text(&header), .only_passwords = true};
    assert_int_equal(ask(p, &proof, &who), E_UNAUTHORIZED);
    proof.only_passwords = false;
    assert_int_equal(ask(p, &proof, &who), 0);
    access_identity_done(&who);
}

static void strangers_have_tokens_too(void **state)
{
    struct place *p = *state;
    CLEANUP(bytes_done) struct bytes token = BYTES_INIT;
    struct access_identity anonymous = {.name = "anonymous"};
    CLEANUP(access_identity_done) struct access_identity who = {.method = ACCESS_BY_NOTHING};
    issue(p, &anonymous, &token);
    assert_int_equal(ask_bearer(p, &token, &who), 0);
    assert_true(access_is_anonymous(&who));
}

static void api_tokens(void **state)
{
    struct place *p = *state;
    struct index_api_token row;
    char text[API_TOKEN_TEXT_LEN + 1], id[API_TOKEN_ID_LEN + 1];
    CLEANUP(access_identity_done) struct access_identity who = {.method = ACCESS_BY_NOTHING};
    change(p, ADD, "bob");
    change(p, ADD, "eve");
    make_token(p, "bob", &row, text);
    assert_true(api_token_parse(text, id));
    assert_string_equal(id, row.id);
    assert_int_equal(ask_basic(p, "bob", text, &who), 0);
    assert_string_equal(who.name, "bob");
    assert_int_equal(who.method, ACCESS_BY_API_TOKEN);
    assert_string_equal(who.pattern, "acme/*");
    assert_int_equal(who.actions, ACCESS_PULL);
    assert_int_equal(ask_basic(p, "", text, &who), 0);
    assert_int_equal(ask_basic(p, "eve", text, &who), E_UNAUTHORIZED);
    for (size_t i = 0; i < API_TOKEN_TEXT_LEN; i++) { /* every character counts */
        char kept = text[i];
        text[i] = kept == 'a' ? 'b' : 'a';
        assert_int_equal(ask_basic(p, "bob", text, &who), E_UNAUTHORIZED);
        text[i] = kept;
    }
    p->now += 3599;
    assert_int_equal(ask_basic(p, "bob", text, &who), 0);
    p->now += 1;
    assert_int_equal(ask_basic(p, "bob", text, &who), E_UNAUTHORIZED);
}

/* An API token dies with its user, when it is revoked and when it expires, and so does every Bearer
 * token that came from it. */
static void what_comes_from_an_api_token_dies_with_it(void **state)
{
    struct place *p = *state;
    struct index_api_token row;
    char text[API_TOKEN_TEXT_LEN + 1];
    CLEANUP(bytes_done) struct bytes token = BYTES_INIT;
    CLEANUP(access_identity_done) struct access_identity who = {.method = ACCESS_BY_NOTHING};
    change(p, ADD, "bob");
    make_token(p, "bob", &row, text);
    assert_int_equal(ask_basic(p, "bob", text, &who), 0);
    issue(p, &who, &token);
    assert_int_equal(ask_bearer(p, &token, &who), 0);
    assert_string_equal(who.pattern, "acme/*"); /* it stays as narrow */
    assert_int_equal(who.actions, ACCESS_PULL);
    ok(index_write(p->ix, drop_token, row.id, err));
    assert_int_equal(index_write(p->ix, drop_token, row.id, NULL), E_NOTFOUND);
    assert_int_equal(ask_basic(p, "bob", text, &who), E_UNAUTHORIZED);
    assert_int_equal(ask_bearer(p, &token, &who), E_UNAUTHORIZED);
    make_token(p, "bob", &row, text);
    change(p, PASSWD, "bob"); /* a new password is no reason to change programs */
    assert_int_equal(ask_basic(p, "bob", text, &who), 0);
    issue(p, &who, &token);
    row.expires_s = p->now;
    p->now += 3600;
    assert_int_equal(ask_bearer(p, &token, &who), E_UNAUTHORIZED);
    make_token(p, "bob", &row, text);
    change(p, DISABLE, "bob");
    assert_int_equal(ask_basic(p, "bob", text, &who), E_UNAUTHORIZED);
    change(p, ENABLE, "bob");
    assert_int_equal(ask_basic(p, "bob", text, &who), 0);
    change(p, REMOVE, "bob");
    change(p, ADD, "bob");
    assert_int_equal(ask_basic(p, "bob", text, &who), E_UNAUTHORIZED);
}

static void api_tokens_are_bounded(void **state)
{
    struct place *p = *state;
    struct index_api_token row;
    char text[API_TOKEN_TEXT_LEN + 1];
    change(p, ADD, "bob");
    for (int i = 0; i < API_TOKENS_PER_USER; i++)
        make_token(p, "bob", &row, text);
    api_token_make(&row, text);
    assert_int_equal(index_write(p->ix, add_token, &row, NULL), E_LIMIT);
    p->now += 3600; /* expired ones make room */
    row.expires_s = p->now + 1;
    assert_int_equal(index_write(p->ix, add_token, &row, NULL), 0);
    snprintf(row.user, sizeof row.user, "nobody");
    api_token_make(&row, text);
    assert_int_equal(index_write(p->ix, add_token, &row, NULL), E_NOTFOUND);
}

/* --- certificates --- */

struct certificate {
    struct digest fingerprint;
    const char *user;
};

static int add_certificate(struct index_tx *tx, void *arg, struct error *err)
{
    const struct certificate *c = arg;
    return index_certificate_add(tx, &c->fingerprint, c->user, err);
}

static int drop_certificate(struct index_tx *tx, void *arg, struct error *err)
{
    const struct certificate *c = arg;
    return index_certificate_remove(tx, &c->fingerprint, err);
}

static void certificates(void **state)
{
    struct place *p = *state;
    struct certificate c = {.fingerprint = {.alg = DIGEST_SHA256, .bytes = {1}}, .user = "bob"};
    struct users_proof proof = {.certificate = &c.fingerprint};
    CLEANUP(access_identity_done) struct access_identity who = {.method = ACCESS_BY_NOTHING};
    assert_int_equal(index_write(p->ix, add_certificate, &c, NULL), E_NOTFOUND);
    change(p, ADD, "bob");
    assert_int_equal(ask(p, &proof, &who), 0);
    assert_true(access_is_anonymous(&who)); /* it stands for nobody */
    ok(index_write(p->ix, add_certificate, &c, err));
    assert_int_equal(index_write(p->ix, add_certificate, &c, NULL), E_EXISTS);
    assert_int_equal(ask(p, &proof, &who), 0);
    assert_string_equal(who.name, "bob");
    assert_int_equal(who.method, ACCESS_BY_CERTIFICATE);
    proof.authorization = "Basic Ym9iOndyb25n"; /* what is said counts, not what is shown */
    assert_int_equal(ask(p, &proof, &who), E_UNAUTHORIZED);
    proof.authorization = NULL;
    change(p, DISABLE, "bob");
    assert_int_equal(ask(p, &proof, &who), E_UNAUTHORIZED);
    change(p, ENABLE, "bob");
    ok(index_write(p->ix, drop_certificate, &c, err));
    assert_int_equal(ask(p, &proof, &who), 0);
    assert_true(access_is_anonymous(&who));
    ok(index_write(p->ix, add_certificate, &c, err));
    change(p, REMOVE, "bob");
    change(p, ADD, "bob");
    assert_int_equal(ask(p, &proof, &who), 0);
    assert_true(access_is_anonymous(&who));
}

/* --- guessing --- */

static int set_hash(struct index_tx *tx, void *arg, struct error *err)
{
    return index_user_set_password(tx, "bob", arg, err);
}

/* Wrong passwords run into the limit; what was right a moment ago does not. */
static void guesses_are_counted(void **state)
{
    struct place *p = *state;
    char hash[PASSWORD_HASH_MAX];
    CLEANUP(access_identity_done) struct access_identity who = {.method = ACCESS_BY_NOTHING};
    change(p, ADD, "bob");
    ok(password_hash("a good password", 15, hash, err));
    ok(index_write(p->ix, set_hash, hash, err));
    assert_int_equal(ask_basic(p, "bob", "a good password", &who), 0);
    int n = 0;
    while (n < 2 * LOGIN_PAIR_BURST && ask_basic(p, "bob", "wrong password", &who) != E_BUSY)
        n++;
    assert_in_range(n, LOGIN_PAIR_BURST, LOGIN_PAIR_BURST + 1);
    assert_int_equal(ask_basic(p, "bob", "a good password", &who), 0);
    assert_int_equal(ask_basic(p, "bob", "a good passworD", &who), E_BUSY);
    change(p, DISABLE, "bob"); /* nor does the memory outlive the right to log in */
    assert_int_equal(ask_basic(p, "bob", "a good password", &who), E_BUSY);
}

#define place_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        place_test(bearer_tokens_end_with_the_user),
        place_test(a_token_is_not_exchanged),
        place_test(strangers_have_tokens_too),
        place_test(api_tokens),
        place_test(what_comes_from_an_api_token_dies_with_it),
        place_test(api_tokens_are_bounded),
        place_test(certificates),
        place_test(guesses_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

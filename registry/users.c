#include "registry/users.h"

#include "base/clock.h"
#include "keys/secret.h"
#include "registry/api_token.h"
#include "registry/login_limit.h"
#include "registry/password.h"
#include "registry/token.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

#define CACHE_SLOTS       256u
#define AUTHORIZATION_MAX 1024u /* of Basic */

struct remembered {
    uint8_t mac[PASSWORD_MAC_LEN];
    int64_t until_ms; /* monotonic; 0: empty */
};

struct users {
    pthread_mutex_t lock;
    struct token_keys *keys;
    struct login_limit *limit;
    uint8_t key[32];
    char dummy[PASSWORD_HASH_MAX];
    struct remembered cache[CACHE_SLOTS];
};

int users_new(struct token_keys *keys, struct users **out, struct error *err)
{
    struct users *u = calloc(1, sizeof *u);
    if (!u)
        return fail_nomem(err);
    u->keys = keys;
    pthread_mutex_init(&u->lock, NULL);
    password_random(u->key, sizeof u->key);
    int rc = password_dummy(u->dummy, err);
    if (rc == 0)
        rc = login_limit_new(&u->limit, err);
    if (rc != 0)
        users_free(u);
    else
        *out = u;
    return rc;
}

void users_free(struct users *u)
{
    if (!u)
        return;
    login_limit_free(u->limit);
    pthread_mutex_destroy(&u->lock);
    secret_wipe(u, sizeof *u);
    free(u);
}

/* --- successes that are remembered --- */

/* A MAC has one place: a collision forgets the older success, which costs one computation. */
static struct remembered *slot_of(struct users *u, const uint8_t mac[PASSWORD_MAC_LEN])
{
    return &u->cache[mac[0] % CACHE_SLOTS];
}

static bool is_remembered(struct users *u, const uint8_t mac[PASSWORD_MAC_LEN])
{
    pthread_mutex_lock(&u->lock);
    const struct remembered *slot = slot_of(u, mac);
    bool found = slot->until_ms > clock_monotonic_ms() && password_mac_equal(slot->mac, mac);
    pthread_mutex_unlock(&u->lock);
    return found;
}

static void remember(struct users *u, const uint8_t mac[PASSWORD_MAC_LEN])
{
    pthread_mutex_lock(&u->lock);
    struct remembered *slot = slot_of(u, mac);
    memcpy(slot->mac, mac, PASSWORD_MAC_LEN);
    slot->until_ms = clock_monotonic_ms() + (int64_t)USERS_CACHE_S * 1000;
    pthread_mutex_unlock(&u->lock);
}

/* --- who it is --- */

static void set_anonymous(struct access_identity *who)
{
    memcpy(who->name, ACCESS_ANONYMOUS, sizeof ACCESS_ANONYMOUS);
    who->method = ACCESS_BY_NOTHING;
    who->serial = 0;
}

static void set_user(struct access_identity *who, const struct index_user *user,
                     enum access_method method)
{
    memcpy(who->name, user->name, strlen(user->name) + 1);
    who->method = method;
    who->serial = user->serial;
}

static int wrong(struct error *err)
{
    return fail(err, E_UNAUTHORIZED, "wrong user name or password");
}

/* A user who may log in now. E_UNAUTHORIZED where there is none. */
static int find_active(struct index_tx *tx, const char *name, struct index_user *out,
                       struct error *err)
{
    int rc = index_user_find(tx, name, out, err);
    if (rc == E_NOTFOUND || (rc == 0 && out->disabled))
        return wrong(err);
    return rc;
}

/* --- passwords --- */

/* user: NULL where there is none of that name: the same work for the same answer, so that neither
 * tells whom there is. */
static int compute(struct users *u, struct users_login *login, const struct index_user *user,
                   struct error *err)
{
    const struct login_attempt attempt = {login->name, login->address, clock_monotonic_ms()};
    int rc = login_limit_take(u->limit, &attempt, &login->retry_after_s, err);
    if (rc != 0)
        return rc;
    rc = password_verify(user ? user->hash : u->dummy, login->password, strlen(login->password),
                         err);
    if (rc == 0 && (!user || user->disabled))
        rc = wrong(err);
    if (rc != E_UNAUTHORIZED)
        login_limit_give_back(u->limit, &attempt, rc == 0);
    return rc;
}

static int check_password(struct users *u, struct index_tx *tx, struct users_login *login,
                          struct access_identity *who, struct error *err)
{
    struct index_user user;
    int found = index_user_find(tx, login->name, &user, err);
    if (found == E_NOTFOUND)
        return compute(u, login, NULL, err);
    if (found != 0)
        return found;
    uint8_t mac[PASSWORD_MAC_LEN];
    password_mac(u->key, (const char *const[]){login->name, login->password, user.hash}, mac);
    if (is_remembered(u, mac) && !user.disabled) {
        const struct login_attempt a = {login->name, login->address, clock_monotonic_ms()};
        login_limit_note_known(u->limit, &a);
    } else {
        int rc = compute(u, login, &user, err);
        if (rc != 0)
            return rc;
        remember(u, mac);
    }
    set_user(who, &user, ACCESS_BY_PASSWORD);
    return 0;
}

/* --- API tokens --- */

/* A token that is good now, and its user. */
static int find_api_token(struct index_tx *tx, const char *id, struct index_api_token *token,
                          struct index_user *user, struct error *err)
{
    int rc = index_api_token_find(tx, id, token, err);
    if (rc == E_NOTFOUND)
        return wrong(err);
    if (rc == 0 && token->expires_s <= clock_now_s())
        return fail(err, E_UNAUTHORIZED, "the API token is expired");
    return rc == 0 ? find_active(tx, token->user, user, err) : rc;
}

static void narrow(struct access_identity *who, const struct index_api_token *token)
{
    memcpy(who->api_token, token->id, sizeof token->id);
    memcpy(who->pattern, token->pattern, sizeof token->pattern);
    who->actions = (unsigned)token->actions;
}

static int check_api_token(struct index_tx *tx, const struct users_login *login, const char *id,
                           struct access_identity *who, struct error *err)
{
    struct index_api_token token;
    struct index_user user;
    int rc = index_api_token_find(tx, id, &token, err);
    /* Nothing is said of a token to who does not have it. */
    if (rc == E_NOTFOUND || (rc == 0 && !api_token_matches(&token, login->password)))
        return wrong(err);
    if (rc == 0)
        rc = find_api_token(tx, id, &token, &user, err);
    if (rc == 0 && login->name[0] && strcmp(login->name, token.user) != 0)
        return fail(err, E_UNAUTHORIZED, "the API token is another user's");
    if (rc != 0)
        return rc;
    set_user(who, &user, ACCESS_BY_API_TOKEN);
    narrow(who, &token);
    return 0;
}

int users_login(struct users *u, struct index_tx *tx, struct users_login *login,
                struct access_identity *who, struct error *err)
{
    char id[API_TOKEN_ID_LEN + 1];
    bool is_user = false;
    if (api_token_parse(login->password, id))
        return check_api_token(tx, login, id, who, err);
    /* A name that cannot be one is looked up as such: the same work again. */
    if (access_subject_check(login->name, &is_user, NULL) != 0 || !is_user)
        login->name = "";
    return check_password(u, tx, login, who, err);
}

/* --- headers --- */

static int unreadable(struct error *err)
{
    return fail(err, E_UNAUTHORIZED, "credentials are not readable");
}

/* "user:password" in text, decoded from base64. */
static int decode_basic(const char *encoded, struct bytes *text, struct error *err)
{
    if (strlen(encoded) > AUTHORIZATION_MAX ||
        base64_decode(encoded, strlen(encoded), text, NULL) != 0)
        return unreadable(err);
    return text->len && memchr(text->data, '\0', text->len) ? unreadable(err) : 0;
}

static int by_basic(struct users *u, struct index_tx *tx, struct users_proof *proof,
                    struct access_identity *who, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    const char *encoded = proof->authorization + 6 + strspn(proof->authorization + 6, " ");
    int rc = decode_basic(encoded, &text, err);
    char *name = (char *)text.data, *colon = name ? strchr(name, ':') : NULL;
    if (rc == 0 && !colon) {
        rc = unreadable(err);
    } else if (rc == 0 && text.len == 1) {
        set_anonymous(who);
    } else if (rc == 0) {
        *colon = '\0';
        struct users_login login = {name, colon + 1, proof->address, 0};
        rc = users_login(u, tx, &login, who, err);
        proof->retry_after_s = login.retry_after_s;
    }
    if (text.data)
        secret_wipe(text.data, text.cap);
    return rc;
}

/* A token says who logged in; whether that user, and the API token it came from, are still the
 * same is asked at each use. */
static int by_bearer(struct users *u, struct index_tx *tx, struct users_proof *proof,
                     struct access_identity *who, struct error *err)
{
    struct index_user user;
    struct index_api_token token;
    const char *text = proof->authorization + 7 + strspn(proof->authorization + 7, " ");
    proof->bearer = true;
    if (proof->only_passwords)
        return fail(err, E_UNAUTHORIZED, "a token is not exchanged for another");
    int rc = token_read(u->keys, text, clock_now_s(), who, err);
    if (rc != 0 || access_is_anonymous(who))
        return rc;
    rc = find_active(tx, who->name, &user, err);
    if (rc == E_UNAUTHORIZED || (rc == 0 && user.serial != who->serial))
        return fail(err, E_UNAUTHORIZED, "the token is void: its user changed");
    if (rc != 0 || !who->api_token[0])
        return rc;
    rc = find_api_token(tx, who->api_token, &token, &user, err);
    if (rc == E_UNAUTHORIZED || (rc == 0 && strcmp(token.user, who->name) != 0))
        return fail(err, E_UNAUTHORIZED, "the token is void: its API token is gone");
    if (rc == 0)
        narrow(who, &token);
    return rc;
}

static int by_certificate(struct index_tx *tx, const struct digest *fingerprint,
                          struct access_identity *who, struct error *err)
{
    char name[USER_NAME_MAX + 1];
    struct index_user user;
    int rc = index_certificate_find(tx, fingerprint, name, err);
    if (rc == E_NOTFOUND) {
        set_anonymous(who);
        return 0;
    }
    if (rc == 0)
        rc = find_active(tx, name, &user, err);
    if (rc == E_UNAUTHORIZED)
        return fail(err, E_UNAUTHORIZED, "the certificate's user is disabled");
    if (rc == 0)
        set_user(who, &user, ACCESS_BY_CERTIFICATE);
    return rc;
}

static int authenticate(struct users *u, struct index_tx *tx, struct users_proof *proof,
                        struct access_identity *who, struct error *err)
{
    const char *authorization = proof->authorization;
    if (authorization && strncasecmp(authorization, "Basic ", 6) == 0)
        return by_basic(u, tx, proof, who, err);
    if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0)
        return by_bearer(u, tx, proof, who, err);
    if (authorization)
        return fail(err, E_UNAUTHORIZED, "only Basic and Bearer credentials are understood");
    if (proof->certificate)
        return by_certificate(tx, proof->certificate, who, err);
    set_anonymous(who);
    return 0;
}

int users_authenticate(struct users *u, struct index_tx *tx, struct users_proof *proof,
                       struct access_identity *who, struct error *err)
{
    int rc = authenticate(u, tx, proof, who, err);
    if (rc != 0) /* nobody's name is on what was refused */
        who->name[0] = '\0';
    return rc;
}

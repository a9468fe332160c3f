#include "registry/users.h"

#include "base/clock.h"
#include "keys/secret.h"
#include "registry/password.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

#define CACHE_SLOTS       256u
#define AUTHORIZATION_MAX 1024u

struct remembered {
    uint8_t mac[PASSWORD_MAC_LEN];
    int64_t until_ms; /* monotonic; 0: empty */
};

struct users {
    pthread_mutex_t lock;
    uint8_t key[32];
    char dummy[PASSWORD_HASH_MAX];
    struct remembered cache[CACHE_SLOTS];
};

int users_new(struct users **out, struct error *err)
{
    struct users *u = calloc(1, sizeof *u);
    if (!u)
        return fail_nomem(err);
    password_random(u->key, sizeof u->key);
    int rc = password_dummy(u->dummy, err);
    if (rc != 0) {
        free(u);
        return rc;
    }
    pthread_mutex_init(&u->lock, NULL);
    *out = u;
    return 0;
}

void users_free(struct users *u)
{
    if (!u)
        return;
    pthread_mutex_destroy(&u->lock);
    secret_wipe(u, sizeof *u);
    free(u);
}

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

static int check(struct users *u, struct index_tx *tx, const char *name, const char *password,
                 struct error *err)
{
    char hash[PASSWORD_HASH_MAX];
    int found = index_user_find(tx, name, hash, err);
    if (found != 0 && found != E_NOTFOUND)
        return found;
    if (found == E_NOTFOUND) {
        /* The same work as for a known user: neither answer nor time tells them apart. */
        int rc = password_verify(u->dummy, password, strlen(password), err);
        return rc == E_BUSY ? rc : fail(err, E_UNAUTHORIZED, "wrong user name or password");
    }
    uint8_t mac[PASSWORD_MAC_LEN];
    password_mac(u->key, (const char *const[]){name, password, hash}, mac);
    if (is_remembered(u, mac))
        return 0;
    int rc = password_verify(hash, password, strlen(password), err);
    if (rc == 0)
        remember(u, mac);
    return rc;
}

static int unreadable(struct error *err)
{
    return fail(err, E_UNAUTHORIZED, "credentials are not readable");
}

/* "user:password" in text, decoded from the header's base64. */
static int decode_basic(const char *authorization, struct bytes *text, struct error *err)
{
    size_t len = strlen(authorization);
    if (len > AUTHORIZATION_MAX || strncasecmp(authorization, "Basic ", 6) != 0)
        return fail(err, E_UNAUTHORIZED, "only Basic credentials are understood");
    const char *encoded = authorization + 6 + strspn(authorization + 6, " ");
    if (base64_decode(encoded, strlen(encoded), text, NULL) != 0)
        return unreadable(err);
    return text->len && memchr(text->data, '\0', text->len) ? unreadable(err) : 0;
}

int users_authenticate(struct users *u, struct index_tx *tx, const char *authorization,
                       char *subject, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    if (authorization) {
        int rc = decode_basic(authorization, &text, err);
        if (rc != 0)
            return rc;
    }
    char *name = (char *)text.data, *colon = name ? strchr(name, ':') : NULL;
    if (!authorization || (text.len == 1 && colon)) {
        memcpy(subject, ACCESS_ANONYMOUS, sizeof ACCESS_ANONYMOUS);
        return 0;
    }
    bool is_user = false;
    int rc = E_UNAUTHORIZED;
    if (!colon) {
        rc = unreadable(err);
    } else {
        *colon = '\0';
        /* A name that cannot be one is looked up as such: the same work again. */
        if (access_subject_check(name, &is_user, NULL) != 0 || !is_user)
            *name = '\0';
        rc = check(u, tx, name, colon + 1, err);
    }
    if (rc == 0)
        memcpy(subject, name, strlen(name) + 1);
    secret_wipe(text.data, text.len);
    return rc;
}

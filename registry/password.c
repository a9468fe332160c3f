#include "registry/password.h"

#include <semaphore.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define PASSES 2u
#define MEMORY ((size_t)19 << 20)

static sem_t slots;
static atomic_uint n_waiting;

int password_init(struct error *err)
{
    if (sodium_init() < 0)
        return fail(err, E_INTERNAL, "libsodium cannot start");
    if (sem_init(&slots, 0, PASSWORD_PARALLEL) != 0)
        return fail_sys(err, errno, "semaphore");
    return 0;
}

static int no_slot(struct error *err)
{
    return fail(err, E_BUSY, "too many logins at once, try again");
}

static int take_slot(struct error *err)
{
    struct timespec until;
    if (sem_trywait(&slots) == 0)
        return 0;
    /* Each of them holds a connection, its thread and a view of the index. */
    if (atomic_fetch_add(&n_waiting, 1) >= PASSWORD_QUEUE) {
        atomic_fetch_sub(&n_waiting, 1);
        return no_slot(err);
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PASSWORD_WAIT_S;
    int rc;
    do
        rc = sem_clockwait(&slots, CLOCK_MONOTONIC, &until);
    while (rc != 0 && errno == EINTR);
    atomic_fetch_sub(&n_waiting, 1);
    return rc == 0 ? 0 : no_slot(err);
}

static int compute_hash(const char *password, size_t len, char *out, struct error *err)
{
    int rc = take_slot(err);
    if (rc != 0)
        return rc;
    char text[crypto_pwhash_STRBYTES];
    rc = crypto_pwhash_str_alg(text, password, len, PASSES, MEMORY, crypto_pwhash_ALG_ARGON2ID13);
    sem_post(&slots);
    if (rc != 0)
        return fail_nomem(err);
    snprintf(out, PASSWORD_HASH_MAX, "%s", text);
    return 0;
}

int password_hash(const char *password, size_t len, char *out, struct error *err)
{
    if (len < PASSWORD_MIN || len > PASSWORD_MAX)
        return fail(err, E_USAGE, "a password has %d to %d bytes", PASSWORD_MIN, PASSWORD_MAX);
    return compute_hash(password, len, out, err);
}

int password_verify(const char *hash, const char *password, size_t len, struct error *err)
{
    if (len > PASSWORD_MAX)
        return fail(err, E_UNAUTHORIZED, "wrong user name or password");
    int rc = take_slot(err);
    if (rc != 0)
        return rc;
    rc = crypto_pwhash_str_verify(hash, password, len);
    sem_post(&slots);
    return rc == 0 ? 0 : fail(err, E_UNAUTHORIZED, "wrong user name or password");
}

int password_dummy(char *out, struct error *err)
{
    char secret[PASSWORD_MAX / 4];
    randombytes_buf(secret, sizeof secret);
    int rc = compute_hash(secret, sizeof secret, out, err);
    sodium_memzero(secret, sizeof secret);
    return rc;
}

void password_mac_parts(const uint8_t key[32], const struct password_part parts[3],
                        uint8_t mac[PASSWORD_MAC_LEN])
{
    crypto_auth_hmacsha512256_state state;
    crypto_auth_hmacsha512256_init(&state, key, 32);
    for (int i = 0; i < 3; i++) {
        uint64_t len = parts[i].len;
        crypto_auth_hmacsha512256_update(&state, (const uint8_t *)&len, sizeof len);
        crypto_auth_hmacsha512256_update(&state, parts[i].data, len);
    }
    crypto_auth_hmacsha512256_final(&state, mac);
    sodium_memzero(&state, sizeof state);
}

void password_mac(const uint8_t key[32], const char *const texts[3], uint8_t mac[PASSWORD_MAC_LEN])
{
    struct password_part parts[3];
    for (int i = 0; i < 3; i++)
        parts[i] = (struct password_part){texts[i], strlen(texts[i])};
    password_mac_parts(key, parts, mac);
}

bool password_mac_equal(const uint8_t a[PASSWORD_MAC_LEN], const uint8_t b[PASSWORD_MAC_LEN])
{
    return sodium_memcmp(a, b, PASSWORD_MAC_LEN) == 0;
}

void password_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

/*
 * Password hashes and keyed hashes: the registry's adapter over libsodium.
 *
 * Argon2id with 19 MiB and two passes; at most PASSWORD_PARALLEL computations at a time, because
 * their memory is what an attacker without credentials could fill. Thread-safe after password_init.
 */
#ifndef BULLA_REGISTRY_PASSWORD_H
#define BULLA_REGISTRY_PASSWORD_H

#include "base/bytes.h"
#include "registry/index_accounts.h"

#define PASSWORD_MAX      256 /* bytes */
#define PASSWORD_MIN      8
#define PASSWORD_PARALLEL 2
#define PASSWORD_QUEUE    32 /* callers that wait for one of them; the next is told to come back */
#define PASSWORD_WAIT_S   10 /* …and so is who waited for so long */
#define PASSWORD_MAC_LEN  32

int password_init(struct error *err) MUST_CHECK;
/* out: PASSWORD_HASH_MAX bytes, NUL-terminated. E_USAGE: too short or too long. */
int password_hash(const char *password, size_t len, char *out, struct error *err) MUST_CHECK;
/* 0, or E_UNAUTHORIZED. E_BUSY: too many others wait. */
int password_verify(const char *hash, const char *password, size_t len,
                    struct error *err) MUST_CHECK;
/* A hash that nothing matches and that costs as much as any. */
int password_dummy(char *out, struct error *err) MUST_CHECK;

struct password_part {
    const void *data;
    size_t len;
};
/* HMAC-SHA-512/256 of three parts, lengths included, under a 32-byte key. */
void password_mac_parts(const uint8_t key[32], const struct password_part parts[3],
                        uint8_t mac[PASSWORD_MAC_LEN]);
/* HMAC-SHA-512/256 of three texts, lengths included, under a 32-byte key. */
void password_mac(const uint8_t key[32], const char *const texts[3], uint8_t mac[PASSWORD_MAC_LEN]);
bool password_mac_equal(const uint8_t a[PASSWORD_MAC_LEN], const uint8_t b[PASSWORD_MAC_LEN]);
void password_random(void *out, size_t len);

#endif

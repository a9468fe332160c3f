/*
 * How often logins may be tried.
 *
 * Three buckets per attempt: the address (an IPv6 network of 64 bits counts as one), the user from
 * that address, and the user from anywhere. The last fills faster than the second can drain it, so
 * one address that guesses for a user never locks that user out elsewhere; and who logged in from
 * an address lately is, there, measured by the second alone. Attempts count when they begin, so
 * that many at once are no way around; a success gives them back.
 *
 * A fixed table: where it is full the least suspicious entry makes room. Places follow a keyed
 * hash, so nobody can choose whose. Thread-safe.
 */
#ifndef BULLA_REGISTRY_LOGIN_LIMIT_H
#define BULLA_REGISTRY_LOGIN_LIMIT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define LOGIN_LIMIT_ENTRIES 4096u
/* Attempts at once, and milliseconds until the next one. */
#define LOGIN_PAIR_BURST       10
#define LOGIN_PAIR_EVERY_MS    6000
#define LOGIN_USER_BURST       40
#define LOGIN_USER_EVERY_MS    2000
#define LOGIN_ADDRESS_BURST    40
#define LOGIN_ADDRESS_EVERY_MS 2000
#define LOGIN_KNOWN_S          86400 /* how long a success speaks for an address */

struct login_limit;
struct login_attempt {
    const char *user, *address;
    int64_t now_ms; /* monotonic */
};

int login_limit_new(struct login_limit **out, struct error *err) MUST_CHECK;
void login_limit_free(struct login_limit *l);

/* Counts one attempt. E_BUSY: too many; then *wait_s seconds will do. */
int login_limit_take(struct login_limit *l, const struct login_attempt *a, unsigned *wait_s,
                     struct error *err) MUST_CHECK;
/* The attempt taken was no guess: it counts no more. known: it was a success. */
void login_limit_give_back(struct login_limit *l, const struct login_attempt *a, bool known);
/* A success that no attempt was taken for: the user is known at that address. */
void login_limit_note_known(struct login_limit *l, const struct login_attempt *a);

#endif

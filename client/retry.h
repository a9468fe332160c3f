/*
 * What is tried again, how often and after how long.
 *
 * Tried again is what may go better next time: lost or stalled connections, and the statuses 429,
 * 502, 503 and 504. Never what the registry refused (other 4xx), what it did wrong, or a
 * certificate. A registry that has not answered once is not waited for: it is probably down or
 * misspelt. Waits double, half of each is random so that many clients do not come back together,
 * and a Retry-After counts up to a bound. Values; thread-safe.
 * Source: RFC 9110 10.2.3 (Retry-After), RFC 6585 4 (429).
 */
#ifndef BULLA_CLIENT_RETRY_H
#define BULLA_CLIENT_RETRY_H

#include "client/http.h"

struct retry_policy {
    unsigned tries;       /* in all; 0 and 1: once */
    unsigned first_ms;    /* the first wait */
    unsigned max_ms;      /* no wait by our own reckoning is longer */
    unsigned max_asked_s; /* a longer Retry-After ends the work instead */
};

/* Patience of push and pull: some 30 s of a registry that restarts. */
extern const struct retry_policy retry_transfers;

/* Where notices go ("trying again in 2 s"): from any thread; text is one line without newline. */
struct retry_notice {
    void (*say)(void *ctx, const char *text); /* NULL: nobody listens */
    void *ctx;
};

/* Whether a request that ended like this is worth another. answered: the registry has answered
 * before. */
bool retry_useful(int rc, const struct http_response *response, bool answered);
/* The wait before the next try; `failed` tries (≥ 1) are over. -1: not worth it. */
int64_t retry_wait_ms(const struct retry_policy *policy, unsigned failed,
                      const struct http_response *response);
/* Sleeps, at most a fifth of a second beyond *stop (may be NULL) becoming true: E_INTERRUPTED. */
int retry_sleep(int64_t ms, const atomic_bool *stop, struct error *err) MUST_CHECK;

#endif

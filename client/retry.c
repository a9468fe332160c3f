#include "client/retry.h"

#include <sys/random.h>
#include <time.h>

#define SLICE_MS 200

const struct retry_policy retry_transfers = {
    .tries = 6, .first_ms = 500, .max_ms = 15 * 1000, .max_asked_s = 60};

bool retry_useful(int rc, const struct http_response *response, bool answered)
{
    if (rc == E_NETWORK)
        return answered || response->reached;
    return rc == OK && (response->status == 429 || response->status == 502 ||
                        response->status == 503 || response->status == 504);
}

int64_t retry_wait_ms(const struct retry_policy *policy, unsigned failed,
                      const struct http_response *response)
{
    uint32_t random = 0;
    int64_t wait = policy->first_ms;
    if (failed >= policy->tries)
        return -1;
    for (unsigned i = 1; i < failed && wait < policy->max_ms; i++)
        wait *= 2;
    if (wait > policy->max_ms)
        wait = policy->max_ms;
    /* Not secret; without random bytes clients only meet more often. */
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        random = 0;
    wait = wait / 2 + (wait ? random % (wait / 2 + 1) : 0);
    if (response->retry_after_s > (int64_t)policy->max_asked_s)
        return -1;
    int64_t asked = response->retry_after_s > 0 ? response->retry_after_s * 1000 : 0;
    return asked > wait ? asked : wait;
}

int retry_sleep(int64_t ms, const atomic_bool *stop, struct error *err)
{
    while (ms > 0) {
        if (stop && atomic_load(stop))
            return fail(err, E_INTERRUPTED, "stopped");
        int64_t slice = ms < SLICE_MS ? ms : SLICE_MS;
        struct timespec t = {.tv_sec = slice / 1000, .tv_nsec = slice % 1000 * 1000000};
        (void)nanosleep(&t, NULL);
        ms -= slice;
    }
    return OK;
}

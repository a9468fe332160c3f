#include "signer/service_limit.h"

#include <string.h>

#define MINUTE_MS 60000.0

static void refill(struct service_bucket *b, double most, int64_t now_ms)
{
    if (now_ms > b->at_ms)
        b->left += (double)(now_ms - b->at_ms) * most / MINUTE_MS;
    if (b->left > most)
        b->left = most;
    b->at_ms = now_ms;
}

bool service_bucket_take(struct service_bucket *bucket, double most, int64_t now_ms)
{
    refill(bucket, most, now_ms);
    if (bucket->left < 1)
        return false;
    bucket->left -= 1;
    return true;
}

void service_limit_init(struct service_limit *limit, int64_t now_ms)
{
    memset(limit, 0, sizeof *limit);
    limit->all = (struct service_bucket){SERVICE_LIMIT_ALL, now_ms};
}

/* The slot of the collection, or the one whose bucket has had most time to fill. */
static struct service_bucket *bucket_of(struct service_limit *limit, const char *collection,
                                        int64_t now_ms)
{
    struct service_limit_slot *oldest = &limit->slots[0];
    for (size_t i = 0; i < SERVICE_LIMIT_SLOTS; i++) {
        struct service_limit_slot *slot = &limit->slots[i];
        if (strcmp(slot->collection, collection) == 0)
            return &slot->bucket;
        if (!slot->collection[0] || slot->bucket.at_ms < oldest->bucket.at_ms)
            oldest = slot;
        if (!slot->collection[0])
            break; /* slots fill in order */
    }
    (void)snprintf(oldest->collection, sizeof oldest->collection, "%s", collection);
    oldest->bucket = (struct service_bucket){SERVICE_LIMIT_COLLECTION, now_ms};
    return &oldest->bucket;
}

/* Its own bucket first: who has emptied that must not empty everybody's. */
int service_limit_take(struct service_limit *limit, const char *collection, int64_t now_ms,
                       struct error *err)
{
    if (!service_bucket_take(bucket_of(limit, collection, now_ms), SERVICE_LIMIT_COLLECTION,
                             now_ms))
        return fail(err, E_BUSY,
                    "the signing service signs for '%s' %u times a minute at most: try again later",
                    collection, SERVICE_LIMIT_COLLECTION);
    if (!service_bucket_take(&limit->all, SERVICE_LIMIT_ALL, now_ms))
        return fail(err, E_BUSY,
                    "the signing service signs %u times a minute at most: try again later",
                    SERVICE_LIMIT_ALL);
    return OK;
}

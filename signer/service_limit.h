/*
 * How much the signing service signs: a registry that was taken over must not wear out a token,
 * fill the disk or keep everybody else from being signed for.
 *
 * Token buckets: one for all, one for each of the collections asked for last. What is signed of the
 * service's own accord, as timestamps grow old, is not counted. One thread per object.
 */
#ifndef BULLA_SIGNER_SERVICE_LIMIT_H
#define BULLA_SIGNER_SERVICE_LIMIT_H

#include "oci/reference.h"

/* A minute; at once, too. People and builds sign a tag at a time, each takes a second. */
#define SERVICE_LIMIT_ALL        1200u
#define SERVICE_LIMIT_COLLECTION 240u
#define SERVICE_LIMIT_SLOTS      256u /* collections remembered; `all` bounds those that are not */

struct service_limit {
    struct service_bucket {
        double left;
        int64_t at_ms;
    } all;
    struct service_limit_slot {
        char collection[REFERENCE_REPOSITORY_MAX + 1];
        struct service_bucket bucket;
    } slots[SERVICE_LIMIT_SLOTS];
};

/* All buckets are full. */
void service_limit_init(struct service_limit *limit, int64_t now_ms);
/* One request that signs, or makes keys. now_ms: monotonic. E_BUSY. */
int service_limit_take(struct service_limit *limit, const char *collection, int64_t now_ms,
                       struct error *err) MUST_CHECK;
/* Takes one from a bucket that holds `most` and gets so many back a minute. */
bool service_bucket_take(struct service_bucket *bucket, double most, int64_t now_ms);

#endif

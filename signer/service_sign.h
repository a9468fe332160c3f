/*
 * Making the two files that the signing service signs itself: snapshot and timestamp.
 *
 * Pure but for the keys: nothing is stored here. Versions only ever go up, also when a root has
 * replaced the online keys: clients forget what they knew then (TUF 5.3.11), so whatever a thief of
 * the old keys made them believe, the next version is acceptable, and no version means two files.
 * Only a version that no history can reach is not followed by the next one, but by 1.
 */
#ifndef BULLA_SIGNER_SERVICE_SIGN_H
#define BULLA_SIGNER_SERVICE_SIGN_H

#include "signer/service_store.h"

struct service_lifetimes {
    int64_t snapshot_s, timestamp_s;
};

/* The unlocked key of a collection for TUF_SNAPSHOT or TUF_TIMESTAMP; borrowed from the ring. */
int service_sign_key(struct service_keyring *ring, const struct service_collection *c,
                     enum tuf_type role, struct signing_key **out, struct error *err) MUST_CHECK;

struct service_sign {
    struct service_keyring *ring;
    struct service_lifetimes lifetimes;
    int64_t now_s;
    const struct service_collection *old; /* what was signed last, and with which keys */
    struct service_collection *next;      /* what is going to be in force, and the keys for it */
};

/* Adds the next version of "snapshot" to next->set, which holds root, targets and delegated roles
 * and no snapshot. Roles that have gone keep their entry (TUF 5.5.5). E_ROLLBACK: a role would go
 * back, or two different files have one version. E_LIMIT. */
int service_sign_snapshot(const struct service_sign *s, struct error *err) MUST_CHECK;
/* Adds the next version of "timestamp" for the snapshot in next->set. */
int service_sign_timestamp(const struct service_sign *s, struct error *err) MUST_CHECK;

#endif

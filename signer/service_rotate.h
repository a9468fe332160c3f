/*
 * Replacing the keys that the signing service holds for a collection.
 *
 * A new key is made first and waits; it signs from the publication on whose root lists it, and the
 * old one is forgotten in the same transaction. Until then the old one signs, however long that
 * takes: a change that is staged and never published costs nothing. One key waits per role, so
 * asking twice gives the same one and two owners at once mean the same change.
 * One thread per object. Source: TUF 1.0.34, 5.3.11, 6.1.
 */
#ifndef BULLA_SIGNER_SERVICE_ROTATE_H
#define BULLA_SIGNER_SERVICE_ROTATE_H

#include "signer/service_sign.h"

/* Gives the collection a key of the role: the one that waits, or before anything was published the
 * one in force. It is one of the token where the ring has one that serves the collection (E_TOKEN:
 * none is left on it), else an encrypted one. Saving c makes it lasting. */
int service_rotate_make(struct service_store *store, struct service_keyring *ring,
                        struct service_collection *c, enum tuf_type role,
                        struct error *err) MUST_CHECK;

struct service_rotate_wish {
    enum tuf_type role;
    bool another;
};

/* The key that the collection's next root is to list for TUF_SNAPSHOT or TUF_TIMESTAMP: the waiting
 * one, made and stored if need be; before anything was published the one in force. `another`: not
 * the one waiting so far, which is forgotten (somebody may have it). *out is the caller's. */
int service_rotate_offer(struct service_store *store, struct service_keyring *ring,
                         struct service_collection *c, struct service_rotate_wish wish,
                         struct public_key **out, struct error *err) MUST_CHECK;

/* The public half of the key in force; the caller's. */
int service_rotate_public(struct service_keyring *ring, const struct service_collection *c,
                          enum tuf_type role, struct public_key **out,
                          struct error *err) MUST_CHECK;

/* Gives `next` the keys that sign under `root`, and those that go on waiting. E_INVALID: the root
 * lists no key of this service for one of the roles, or with another threshold than 1. */
int service_rotate_choose(struct service_keyring *ring, const struct service_collection *old,
                          const struct tuf_metadata *root, struct service_collection *next,
                          struct error *err) MUST_CHECK;

#endif

/*
 * Keeping step with the signing service: it remembers what it signed last, whatever becomes of this
 * registry's index, and this registry knows what was published, whatever becomes of its database.
 *
 * The index keeps the place in the service's log up to which everything is stored here. What the
 * service changed behind that place is fetched; where its log is not the one that was known, one of
 * the two was restored, and all collections are compared. Thread-safe.
 */
#ifndef BULLA_REGISTRY_TRUST_SYNC_H
#define BULLA_REGISTRY_TRUST_SYNC_H

#include "registry/api.h"

/* Fetches all that is newer in the service. One collection that cannot be is logged and passed
 * over. E_NETWORK: the service is away. */
int trust_sync_run(struct registry *r, const atomic_bool *end, struct error *err) MUST_CHECK;

/* Until trust_sync_run has come to an end once, what is stored may be that of a backup: brings this
 * repository up to date. What goes wrong is logged. Not within a read transaction. */
void trust_sync_one(struct registry *r, const char *repository);

/* Shows the service all that is published here of the repository. *adopted as signer_link_show.
 * E_STALE as there; E_NOTFOUND: nothing is published here. */
int trust_sync_show(struct registry *r, const char *repository, bool *adopted,
                    struct error *err) MUST_CHECK;

#endif

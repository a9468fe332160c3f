/*
 * What the registry holds, shown to the signing service: proof that the service has forgotten
 * something, and the way back for what it has forgotten.
 *
 * A set is taken over only when it verifies from the service's own root (from its first root where
 * nothing of the collection is remembered) and is exactly what a local admin stated. One thread.
 */
#ifndef BULLA_SIGNER_SERVICE_SHOW_H
#define BULLA_SIGNER_SERVICE_SHOW_H

#include "signer/service_store.h"
#include "tuf/accept.h"

struct service_show {
    struct service_store *store;
    struct service_keyring *ring;
    const char *collection;
    /* All roots in order, and the files in force with "snapshot" and "timestamp". */
    const struct tuf_file *files;
    size_t n_files;
    int64_t now_s;
};

/* *adopted: the set is the service's memory now. False: nothing new was shown. E_STALE: something
 * newer was; what to do is said. What does not verify changes nothing: the codes of tuf_trusted_*,
 * E_INVALID. */
int service_show(const struct service_show *show, bool *adopted, struct error *err) MUST_CHECK;

#endif

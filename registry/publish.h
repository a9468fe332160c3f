/*
 * Publishing trust metadata, and keeping what was published fresh.
 *
 * The rules are tuf_accept's; here is what they need: the stored set, the manifests that new
 * targets name, the signing service, one transaction. Thread-safe.
 */
#ifndef BULLA_REGISTRY_PUBLISH_H
#define BULLA_REGISTRY_PUBLISH_H

#include "registry/api.h"

/*
 * Takes the changed roles all or nothing and returns when everything is durable and visible.
 * may_found: the caller may publish the first root of a repository (else E_DENIED). E_CONFLICT:
 * version is not current + 1; E_SIGNATURE, E_EXPIRED, E_BINDING, E_INVALID, E_LIMIT: see
 * tuf_accept; E_NOTFOUND never; E_NETWORK: the signing service cannot be reached.
 */
struct publication {
    const char *repository;
    const struct tuf_file *changes;
    size_t n_changes;
    bool may_found;
};
int publish_changes(struct registry *r, const struct publication *p, struct error *err) MUST_CHECK;

/* Fetches the service's current set and stores it where it is newer: a timestamp with at least half
 * its life left, and publications whose storing was cut off. */
int publish_refresh(struct registry *r, const char *repository, struct error *err) MUST_CHECK;

/* E_INVALID with what is wrong where the file is Docker Notary v1's form; else 0. */
int publish_check_form(const void *data, size_t len, struct error *err) MUST_CHECK;

#endif

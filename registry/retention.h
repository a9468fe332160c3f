/*
 * Retention: removing tags and manifests by the configuration's rules.
 *
 * The first rule that fits a repository is its rule. Of its tags stay: the newest `keepLast`, those
 * set within `keepWithin`, those that a pattern of `keepTags` fits, signed and immutable ones, and
 * lists of referrers. With `deleteUntagged`, a manifest goes that for so long no tag, no index and
 * no signature named, that refers to nothing that is here, and on which there is no lease. Every
 * removal is checked again in the transaction that makes it. What only it needed is then garbage.
 */
#ifndef BULLA_REGISTRY_RETENTION_H
#define BULLA_REGISTRY_RETENTION_H

#include "base/config.h"
#include "registry/index_retention.h"

#include <stdatomic.h>

struct retention_item {
    const char *repository;
    const char *tag; /* NULL: the manifest itself */
    const struct digest *digest;
    size_t rule; /* from 1, in the order of the file */
    char why[96];
};

struct retention {
    struct index *index;
    const struct config_rules *rules;
    int64_t lease_s;
    bool dry_run;           /* nothing is removed */
    const atomic_bool *end; /* true: stop soon; may be NULL */
    /* Called for everything that was (dry run: would be) removed, after it is durable. */
    int (*visit)(void *context, const struct retention_item *item, struct error *err);
    void *context;
};

int retention_run(const struct retention *r, struct error *err) MUST_CHECK;

#endif

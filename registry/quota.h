/*
 * Quotas: how much the repositories below a name may hold together.
 *
 * Asked before and while bytes come in (an estimate: others push, too), and again in the write
 * transaction that records them, where it is exact. What does not add anything is never refused,
 * also where a quota was lowered below what is used. Costs one look-up per quota that covers the
 * repository.
 */
#ifndef BULLA_REGISTRY_QUOTA_H
#define BULLA_REGISTRY_QUOTA_H

#include "base/config.h"
#include "registry/index_usage.h"

#include <stdbool.h>

/* Which quota said no; prefix NULL: none did. */
struct quota_excess {
    const char *prefix; /* the configuration's */
    const char *what;   /* static: "bytes", "repositories" */
    uint64_t used, limit;
};

/* *room: bytes that may still come; UINT64_MAX where no quota covers the repository. excess: whose
 * room that is. */
int quota_room(struct index_tx *tx, const struct config_rules *rules, const char *repository,
               uint64_t *room, struct quota_excess *excess, struct error *err) MUST_CHECK;
/* E_DENIED with the numbers. */
int quota_fail(const struct quota_excess *excess, struct error *err) MUST_CHECK;

/* Before the change, in its transaction… */
int quota_before(struct index_tx *tx, const struct config_rules *rules, const char *repository,
                 struct index_usage *out, struct error *err) MUST_CHECK;
/* …and behind it. E_DENIED: *excess says why, and the change must be undone. */
int quota_check(struct index_tx *tx, const struct config_rules *rules, const char *repository,
                const struct index_usage *before, struct quota_excess *excess,
                struct error *err) MUST_CHECK;

#endif

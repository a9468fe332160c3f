/*
 * How much every part of the name space holds, kept by triggers: asking costs the same however much
 * that is. A blob counts once in every repository that links it, a manifest in every repository
 * that has it.
 */
#ifndef BULLA_REGISTRY_INDEX_USAGE_H
#define BULLA_REGISTRY_INDEX_USAGE_H

#include "registry/index.h"

struct index_usage {
    int64_t bytes, repositories;
};
/* Of the repository `prefix` and all below it; "": of all. Nothing there: zeros. */
int index_usage_find(struct index_tx *tx, const char *prefix, struct index_usage *out,
                     struct error *err) MUST_CHECK;

#endif

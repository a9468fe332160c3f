/*
 * What every database behind the index must do: one suite of cases, run over whatever opens a
 * struct index.
 *
 * A place is where one case's data lives; opening it again is what a restart does. Not thread-safe;
 * one suite per process at a time.
 */
#ifndef BULLA_TESTS_UNIT_REGISTRY_CONTRACT_INDEX_H
#define BULLA_TESTS_UNIT_REGISTRY_CONTRACT_INDEX_H

#include "registry/index.h"

struct contract_index {
    const char *name;
    void *(*place_new)(void);
    void (*place_free)(void *place);
    int (*open)(void *place, struct index **out, struct error *err);
    /* Bytes the data may take; UINT64_MAX: any. NULL, or false: cannot be had here. */
    bool (*set_room)(void *place, uint64_t bytes);
    bool (*set_read_only)(void *place, bool on);
};

/* Runs all cases: with work that is done once, and with work that is undone and repeated, as where
 * several writers collide. Returns the number that failed. */
int contract_index_run(const struct contract_index *implementation);

#endif

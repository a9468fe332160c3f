/*
 * A storage that stops dead: passes everything on to another one until `left` operations were made,
 * then fails every further one without passing it on, as if the process had ended there; or only
 * one, as a network does.
 */
#ifndef BULLA_TESTS_UNIT_REGISTRY_CONTRACT_CRASH_H
#define BULLA_TESTS_UNIT_REGISTRY_CONTRACT_CRASH_H

#include "registry/blob_store.h"

struct contract_crash {
    struct blob_store inner;
    unsigned left; /* operations until the end */
    bool dead;     /* it was reached */
    bool recovers; /* after one failure */
};

/* *crash is the caller's and outlives the store; crash->inner is set. */
struct blob_store contract_crash_store(struct contract_crash *crash);

#endif

/*
 * What every storage of blobs must do: one suite of cases, run over whatever makes a struct blobs.
 *
 * The cases know nothing of files. A place is where one case's blobs live; opening it again is what
 * a restart does. Not thread-safe; one suite per process at a time.
 */
#ifndef BULLA_TESTS_UNIT_REGISTRY_CONTRACT_BLOBS_H
#define BULLA_TESTS_UNIT_REGISTRY_CONTRACT_BLOBS_H

#include "registry/blobs.h"

struct contract_blobs {
    const char *name;
    void *(*place_new)(void);
    void (*place_free)(void *place);
    int (*open)(void *place, struct blob_store *out, struct error *err);
    /* Changes one byte of a stored blob behind the storage's back. */
    void (*damage)(void *place, const struct digest *d);
    /* Bytes that may still be written; UINT64_MAX: any. NULL, or false: cannot be had here. */
    bool (*set_room)(void *place, uint64_t bytes);
    bool (*set_read_only)(void *place, bool on);
};

/* Runs all cases, without and with worker threads. Returns the number that failed. */
int contract_blobs_run(const struct contract_blobs *implementation);

#endif

/*
 * Blobs in memory: a second implementation of the storage interface, for tests only.
 *
 * It has no files, no descriptors and no renames, as an object store has none.
 */
#ifndef BULLA_TESTS_UNIT_REGISTRY_CONTRACT_MEMORY_H
#define BULLA_TESTS_UNIT_REGISTRY_CONTRACT_MEMORY_H

#include "tests/unit/registry/contract_blobs.h"

extern const struct contract_blobs contract_memory;

#endif

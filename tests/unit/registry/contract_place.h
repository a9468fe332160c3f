/*
 * Where implementations that keep files live during one case: a file system in memory of its own,
 * which can be made small or read-only, where mounts are allowed; else an ordinary folder.
 *
 * Call contract_place_new while the process has one thread. Not thread-safe.
 */
#ifndef BULLA_TESTS_UNIT_REGISTRY_CONTRACT_PLACE_H
#define BULLA_TESTS_UNIT_REGISTRY_CONTRACT_PLACE_H

#include <stdbool.h>
#include <stdint.h>

/* A struct contract_place, as the contracts' `place`. */
void *contract_place_new(void);
void contract_place_free(void *place);
/* Absolute path of the folder. */
const char *contract_place_path(const void *place);
/* At most this many bytes in all; UINT64_MAX: enough. False: cannot be had here. */
bool contract_place_set_room(void *place, uint64_t bytes);
bool contract_place_set_read_only(void *place, bool on);

#endif

/*
 * Id ranges: each container gets 65,536 host ids that no one else has.
 *
 * Ranges lie in 0x70000000–0x7fffffff, which no common allocation uses (systemd's "UIDS-GIDS" calls
 * it unused), and are skipped where /etc/passwd, /etc/group, /etc/subuid or /etc/subgid names an id
 * inside. A range is held by a lock on a file in the runner's state folder; the kernel releases it
 * with the process, however that ends.
 */
#ifndef BULLA_RUNNER_IDRANGE_H
#define BULLA_RUNNER_IDRANGE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define IDRANGE_SIZE  65536u
#define IDRANGE_FIRST 0x70000000u
#define IDRANGE_COUNT 4096u

struct idrange {
    uint32_t index; /* < IDRANGE_COUNT; also names the container's cgroups */
    uint32_t base;  /* first host id */
    int lock_fd;    /* -1: none held */
};

#define IDRANGE_INIT                                                                               \
    {                                                                                              \
        0, 0, -1                                                                                   \
    }

/* Takes the first free range. state_fd: the runner's state folder. E_BUSY: none is left. */
int idrange_take(int state_fd, struct idrange *out, struct error *err) MUST_CHECK;
/* Takes range `index` if nobody holds it: E_BUSY otherwise. For sweeping what a killed runner left.
 */
int idrange_take_index(int state_fd, uint32_t index, struct idrange *out,
                       struct error *err) MUST_CHECK;
void idrange_release(struct idrange *r);

/* Marks in `used` the ranges that a host file of one of the two forms touches. Pure; for
 * idrange_take and its test. Lines that do not parse are passed over: they grant nothing. */
void idrange_mark_accounts(const char *text, bool used[IDRANGE_COUNT]);    /* passwd, group */
void idrange_mark_subordinate(const char *text, bool used[IDRANGE_COUNT]); /* subuid, subgid */

#endif

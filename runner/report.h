/*
 * What bulla-init tells the runner, over the one descriptor it inherits.
 *
 * Shared with the static bulla-init, which links nothing but libc: constants and a struct only. The
 * descriptor is closed (by close-on-exec) when the command has started; silence means success.
 */
#ifndef BULLA_RUNNER_REPORT_H
#define BULLA_RUNNER_REPORT_H

#include <stdint.h>

#define REPORT_FD    3
#define REPORT_MAGIC 0x62656c31u

struct report_exec_failed {
    uint32_t magic;
    int32_t sys; /* errno of the failed exec, > 0 */
};

#endif

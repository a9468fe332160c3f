/*
 * The set-up process: it becomes the container.
 *
 * Runs in the new namespaces, as their root, on the container's behalf: whatever it reads of the
 * image it reads without the host's privileges. Ends as bulla-init, or reports the failed step to
 * the parent and exits.
 */
#ifndef BULLA_RUNNER_CHILD_H
#define BULLA_RUNNER_CHILD_H

#include "runner/mounts.h"
#include "runner/run.h"

#define CHILD_MAX_TMPFS (RUN_MAX_MOUNTS + 3)

/* All the child needs, made by the parent before; borrowed. */
struct child_plan {
    const struct run_spec *spec;
    const char *hostname;
    const char *workdir; /* an existing folder of the host to mount the new root on */
    struct run_tmpfs tmpfs[CHILD_MAX_TMPFS];
    size_t n_tmpfs;
    const struct mount_point *volume_points;
    int init_fd;
    int sock;           /* the child's end of the channel */
    uint32_t soft_pids; /* processes allowed by rlimit; 0: leave it */
};

_Noreturn void child_main(const struct child_plan *plan);

#endif

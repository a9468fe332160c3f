/*
 * Limits of a container: memory, CPU time, number of processes, through cgroup v1 controllers.
 *
 * A container's cgroups are `bulla/range-N` in each hierarchy it needs, N being its id range:
 * whoever holds the range's lock owns them, so what a killed runner left can be swept by the next.
 * Not thread-safe per object.
 */
#ifndef BULLA_RUNNER_CGROUP_H
#define BULLA_RUNNER_CGROUP_H

#include "runner/idrange.h"
#include "runner/run.h"

#include <sys/types.h>

enum cgroup_controller { CGROUP_PIDS, CGROUP_MEMORY, CGROUP_CPU, CGROUP_N };

struct cgroup {
    int hierarchy_fd[CGROUP_N]; /* folder `bulla` of each hierarchy in use; -1: not in use */
    char name[32];
};

#define CGROUP_INIT                                                                                \
    {                                                                                              \
        {-1, -1, -1}, ""                                                                           \
    }

/*
 * Makes the cgroups and sets the limits. Also removes cgroups whose runner is gone. A limit that
 * was asked for and cannot be set is E_UNSUPPORTED. The default number of processes is not asked
 * for: where there is no pids controller *soft_pids says how many to allow by rlimit (0: none
 * needed).
 */
int cgroup_make(const struct run_limits *limits, const struct idrange *range, int state_fd,
                struct cgroup *out, uint32_t *soft_pids, struct error *err) MUST_CHECK;
/* Moves a process (of one thread) in. */
int cgroup_enter(const struct cgroup *c, pid_t pid, struct error *err) MUST_CHECK;
/* Removes the cgroups, killing what should not be there any more. */
void cgroup_remove(struct cgroup *c);

/* The mount point of a v1 controller in the text of /proc/PID/mountinfo, copied to out (size
 * bytes); false where it is not mounted. Pure. Source: proc(5), cgroups(7). */
bool cgroup_find_v1(const char *mountinfo, const char *controller, char *out, size_t size);

#endif

/*
 * /dev of a container: a small tmpfs with the host's harmless devices, a terminal namespace of its
 * own, shared memory and message queues. Runs in the set-up process, before the root changes.
 */
#ifndef BULLA_RUNNER_DEVICES_H
#define BULLA_RUNNER_DEVICES_H

#include "base/error.h"

/* Mounts it at /dev below root_fd. E_UNSUPPORTED: a host device is not what its name says. */
int devices_mount(int root_fd, struct error *err) MUST_CHECK;
/* A detached copy of the host's /dev/null, checked to be it; for masking files. */
int devices_copy_null(int *fd, struct error *err) MUST_CHECK;

#endif

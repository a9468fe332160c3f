/*
 * What of /proc and /sys a container does not see, or sees read-only. Runs in the set-up process,
 * before the root changes.
 */
#ifndef BULLA_RUNNER_MASKS_H
#define BULLA_RUNNER_MASKS_H

#include "base/error.h"

/* proc_fd, sys_fd: the mounts made for the container, so that nothing of an image is walked through
 * (CVE-2019-16884, CVE-2025-52881). Files are covered by the host's /dev/null, folders by an empty
 * read-only one. What this kernel does not have is passed over. */
int masks_apply(int proc_fd, int sys_fd, struct error *err) MUST_CHECK;

#endif

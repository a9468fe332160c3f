/*
 * The program that becomes PID 1, bulla-init, as a sealed file in memory.
 *
 * A copy, so that nothing in the container reaches the file on the host (CVE-2019-5736); sealed, so
 * that nothing can change it; not readable, so that the kernel lets no one in the container trace
 * the process that runs it.
 */
#ifndef BULLA_RUNNER_INIT_H
#define BULLA_RUNNER_INIT_H

#include "base/error.h"

/* *fd: to be executed with execveat. E_NOTFOUND: it is not installed; E_SYS. */
int init_prepare(int *fd, struct error *err) MUST_CHECK;

#endif

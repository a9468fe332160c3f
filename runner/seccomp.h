/*
 * Puts a process under the default system call filter of containers (seccomp_profile.h), which was
 * compiled when Bulla was built: compiling it costs more than all other steps of a start together.
 */
#ifndef BULLA_RUNNER_SECCOMP_H
#define BULLA_RUNNER_SECCOMP_H

#include "base/error.h"

/* Needs no_new_privs or CAP_SYS_ADMIN; the last thing before exec. */
int seccomp_install(struct error *err) MUST_CHECK;

#endif

/*
 * The default system call filter of containers: the adapter over libseccomp. Used while building.
 *
 * Two BPF programs, both installed; the kernel takes the stricter answer. The first knows every
 * system call up to the profile's newest: allowed, or EPERM; all others, and clone3, are ENOSYS, so
 * that C libraries fall back. The second denies by argument: libseccomp cannot say "anything but"
 * in an allowing rule, and the kernel looks at 32 of an argument's 64 bits where it takes an int,
 * so comparing all 64 would be open to a set upper half. Calls of any other architecture (also x32)
 * kill the process.
 */
#ifndef BULLA_RUNNER_SECCOMP_PROFILE_H
#define BULLA_RUNNER_SECCOMP_PROFILE_H

#include "base/bytes.h"

enum seccomp_program { SECCOMP_BY_CALL, SECCOMP_BY_ARGUMENT };

/* Appends the program for the native architecture: struct sock_filter, one after another. */
int seccomp_compile(enum seccomp_program which, struct bytes *out, struct error *err) MUST_CHECK;

#endif

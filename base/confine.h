/*
 * Giving up what a server program does not need: user, privileges, file access, system calls.
 *
 * Order at start: open listeners and fork helpers → confine_become → confine_no_new_privs →
 * confine_not_dumpable → confine_landlock → confine_seccomp → only then start threads. Every step
 * binds the calling thread and the threads and children it makes afterwards, and cannot be undone:
 * call them while the process has one thread.
 *
 * Confined programs cannot signal other processes (end a helper by closing a pipe it watches;
 * PR_SET_PDEATHSIG does not reach it once Landlock scopes signals), cannot open network sockets
 * (listeners are opened before), and cannot start programs or load libraries.
 */
#ifndef BULLA_BASE_CONFINE_H
#define BULLA_BASE_CONFINE_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* A file, or a folder with everything below it. */
struct confine_path {
    const char *path;
    bool write;    /* read and change, make, rename and remove below; else read only */
    bool optional; /* missing is fine; else missing is E_NOTFOUND */
};

enum confine_purpose {
    CONFINE_SERVER, /* bulla-registry: serves accepted connections, asks a Unix socket */
    CONFINE_SIGNER, /* bulla-signer: serves accepted connections, makes no sockets itself */
};

/* What a kernel could give; for the start-up log line and `config check`. */
struct confine_report {
    int landlock_abi;        /* 0: this kernel has no Landlock, files are not confined */
    bool landlock_rename;    /* renames between folders are checked (ABI 2) */
    bool landlock_truncate;  /* so is truncation (ABI 3) */
    bool landlock_tcp;       /* no new TCP listeners or connections (ABI 4) */
    bool landlock_processes; /* no signals and abstract sockets to others (ABI 6) */
};

/* Account to run as. E_NOTFOUND where there is none of that name. */
int confine_find_user(const char *name, uid_t *uid, gid_t *gid, struct error *err) MUST_CHECK;

/*
 * From root to uid:gid with no supplementary groups, for real, effective and saved ids, and checks
 * that there is no way back. uid and gid must not be 0 (E_USAGE). As a process that is uid:gid
 * already it only checks. E_SYS (EPERM) for everybody else.
 */
int confine_become(uid_t uid, gid_t gid, struct error *err) MUST_CHECK;

/* No set-user-id program gives privileges back. Needed by the next ones. E_SYS. */
int confine_no_new_privs(struct error *err) MUST_CHECK;

/* No core dumps, no ptrace by processes of the same user, /proc/self belongs to root. E_SYS. */
int confine_not_dumpable(struct error *err) MUST_CHECK;

/*
 * Only the named paths stay reachable by name (open descriptors stay open), never for execution; no
 * new TCP connections. As much as this kernel can: what it could goes to *report (may be NULL). A
 * kernel without Landlock is not a failure: landlock_abi is 0 and nothing is confined. E_NOTFOUND
 * (a path that is not optional), E_SYS.
 */
int confine_landlock(const struct confine_path *paths, size_t n, struct confine_report *report,
                     struct error *err) MUST_CHECK;

/*
 * Allows the system calls that the purpose needs. Starting programs, tracing, mounting, loading
 * modules, keyrings, bpf and the like end the process (SIGSYS); other calls fail with EPERM, calls
 * that this build does not know with ENOSYS. No memory becomes executable, so no library can be
 * loaded either. E_UNSUPPORTED where the kernel has no seccomp filters.
 */
int confine_seccomp(enum confine_purpose purpose, struct error *err) MUST_CHECK;

#endif

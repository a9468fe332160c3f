#include "runner/seccomp.h"

/* Written by bulla-filter while building: seccomp_by_call[], seccomp_by_argument[]. */
#include "runner/seccomp_programs.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

static int install(const struct sock_filter *program, size_t n, struct error *err)
{
    /* The kernel only reads it, but its interface is older than const. */
    union {
        const struct sock_filter *given;
        struct sock_filter *wanted;
    } filter = {program};
    struct sock_fprog whole = {(unsigned short)n, filter.wanted};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole, 0, 0))
        return fail_sys(err, errno, "install the system call filter");
    return OK;
}

int seccomp_install(struct error *err)
{
    /* The long one last: while the other is being installed it would judge prctl, for nothing. */
    int rc = install(seccomp_by_argument,
                     sizeof seccomp_by_argument / sizeof seccomp_by_argument[0], err);
    if (!rc)
        rc = install(seccomp_by_call, sizeof seccomp_by_call / sizeof seccomp_by_call[0], err);
    return rc;
}

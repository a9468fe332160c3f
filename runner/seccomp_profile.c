#include "runner/seccomp_profile.h"

#include "base/file.h"

#include <asm/ioctls.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* Every native call up to this one is judged here; what is newer does not exist for a container. */
#define NEWEST_CALL "set_mempolicy_home_node" /* Linux 5.17 */

/*
 * Calls without which programs do not work and that need no capability to be safe. Absent, so
 * EPERM: mounts and namespaces (mount, umount2, pivot_root, unshare, setns, open_tree, fsopen …),
 * the kernel's keyrings (not namespaced: keyctl, add_key, request_key), bpf and perf_event_open,
 * io_uring (outside this filter's sight), userfaultfd (wins races), kexec, modules, ports, clocks,
 * swap, quota, accounting, syslog, fanotify_init, open_by_handle_at (leaves a bind mount), NUMA
 * placement, process_madvise, pidfd_getfd, kcmp, vhangup, sethostname, and dead calls.
 */
static const char *const allowed[] = {
    /* files */
    "access",
    "chdir",
    "chmod",
    "chown",
    "chroot",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "ioctl",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "name_to_handle_at",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "vmsplice",
    "write",
    "writev",
    /* waiting and asynchronous input and output */
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_setup",
    "io_submit",
    "poll",
    "ppoll",
    "pselect6",
    "select",
    "signalfd",
    "signalfd4",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    /* memory */
    "brk",
    "madvise",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "process_mrelease",
    "remap_file_pages",
    /* processes and threads */
    "arch_prctl",
    "capget",
    "capset",
    "clone",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "futex",
    "futex_waitv",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrlimit",
    "getrusage",
    "getsid",
    "gettid",
    "ioprio_get",
    "ioprio_set",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "modify_ldt",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "restart_syscall",
    "rseq",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setpgid",
    "setpriority",
    "setrlimit",
    "setsid",
    "tgkill",
    "tkill",
    "vfork",
    "wait4",
    "waitid",
    "waitpid",
    /* users */
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getresgid",
    "getresuid",
    "getuid",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
    /* signals */
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sigaltstack",
    /* time */
    "adjtimex",
    "alarm",
    "clock_adjtime",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "getitimer",
    "gettimeofday",
    "nanosleep",
    "setitimer",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "times",
    /* sockets: which families, see deny_by_argument */
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socket",
    "socketpair",
    /* System V and POSIX inter-process communication: in a namespace of its own */
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    /* the system */
    "getrandom",
    "sysinfo",
    "uname",
};
#define N_ALLOWED (sizeof allowed / sizeof allowed[0])

/* Linux, Linux with a smaller address space and the like; others switch off protections. */
static const uint32_t personalities[] = {0, 0x8, 0x20000, 0x20008, 0xffffffff};

#define LOW_WORD 0xffffffffu
#define CLONE_NAMESPACES                                                                           \
    ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
                CLONE_NEWPID | CLONE_NEWNET))

static bool is_allowed(int call)
{
    for (size_t i = 0; i < N_ALLOWED; i++)
        if (seccomp_syscall_resolve_name(allowed[i]) == call)
            return true;
    return false;
}

/* Returns a negative errno of libseccomp, or 0. */
static int rules_by_call(scmp_filter_ctx ctx)
{
    int newest = seccomp_syscall_resolve_name(NEWEST_CALL);
    int clone3 = seccomp_syscall_resolve_name("clone3");
    int personality = seccomp_syscall_resolve_name("personality");
    for (size_t i = 0; i < N_ALLOWED; i++) {
        int call = seccomp_syscall_resolve_name(allowed[i]);
        /* Pseudo numbers (below zero) are calls of other architectures. */
        int rc = call < 0 ? 0 : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < sizeof personalities / sizeof personalities[0]; i++) {
        int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, personality, 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, LOW_WORD, personalities[i]));
        if (rc)
            return rc;
    }
    for (int call = 0; call <= newest; call++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
        bool known = name != NULL;
        free(name);
        if (!known || call == clone3 || call == personality || is_allowed(call))
            continue;
        int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), call, 0);
        if (rc)
            return rc;
    }
    return 0;
}

struct denial {
    const char *call;
    unsigned argument;
    uint64_t value;
    int error;
};

static const struct denial denials[] = {
    /* Fakes input on a terminal, which the shell outside would run. */
    {"ioctl", 1, TIOCSTI, EPERM},
    {"ioctl", 1, 0x541c /* TIOCLINUX: pastes the console's selection */, EPERM},
    /* The kernel's crypto sockets: much code, not namespaced, a steady source of holes.
     * EAFNOSUPPORT as from a kernel built without, for which programs have a fall-back. */
    {"socket", 0, AF_ALG, EAFNOSUPPORT},
    {"socketpair", 0, AF_ALG, EAFNOSUPPORT},
    /* Not namespaced: reaches the hypervisor and other containers. */
    {"socket", 0, AF_VSOCK, EAFNOSUPPORT},
    {"socketpair", 0, AF_VSOCK, EAFNOSUPPORT},
};

static int rules_by_argument(scmp_filter_ctx ctx)
{
    for (size_t i = 0; i < sizeof denials / sizeof denials[0]; i++) {
        const struct denial *d = &denials[i];
        struct scmp_arg_cmp cmp = SCMP_CMP(d->argument, SCMP_CMP_MASKED_EQ, LOW_WORD, d->value);
        int rc = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO((uint32_t)d->error),
                                        seccomp_syscall_resolve_name(d->call), 1, &cmp);
        if (rc)
            return rc;
    }
    /* One rule per flag: any of them is enough to deny. Flags are the first argument on all
     * architectures but s390. */
    for (unsigned bit = 0; bit < 32; bit++) {
        uint64_t flag = (uint64_t)1 << bit;
        if (!(CLONE_NAMESPACES & flag))
            continue;
        int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
        if (rc)
            return rc;
    }
    return 0;
}

/* 0 or a negative errno. */
static int build(enum seccomp_program which, scmp_filter_ctx ctx)
{
    int rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (!rc)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
    /* A binary tree: the kernel runs the program once per call when it is installed, and in a list
     * of all calls that is most of the cost. */
    if (!rc)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, which == SECCOMP_BY_CALL ? 2 : 1);
    if (!rc)
        rc = which == SECCOMP_BY_CALL ? rules_by_call(ctx) : rules_by_argument(ctx);
    return rc;
}

int seccomp_compile(enum seccomp_program which, struct bytes *out, struct error *err)
{
    scmp_filter_ctx ctx =
        seccomp_init(which == SECCOMP_BY_CALL ? SCMP_ACT_ERRNO(ENOSYS) : SCMP_ACT_ALLOW);
    if (!ctx)
        return fail_nomem(err);
    CLEANUP(cleanup_fd) int fd = memfd_create("filter", MFD_CLOEXEC);
    int rc = fd < 0 ? -errno : build(which, ctx);
    if (!rc)
        rc = seccomp_export_bpf(ctx, fd);
    seccomp_release(ctx);
    if (rc)
        return fail_sys(err, -rc, "compile the system call filter");
    if (lseek(fd, 0, SEEK_SET))
        return fail_sys(err, errno, "read the system call filter");
    return file_read_fd(fd, BPF_MAXINSNS * sizeof(struct sock_filter), out, err);
}

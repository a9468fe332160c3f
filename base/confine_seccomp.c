#include "base/confine.h"

#include "base/cleanup.h"
#include "base/sanitized.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Added to the headers after Debian 12. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* glibc names its heaps with it where the kernel can */
#endif

/* One name a line would hide the groups. */
/* clang-format off */

/* Calls that both programs need with any arguments. */
static const char *const plain[] = {
    /* bytes in and out */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2",
    "pwritev2", "lseek", "sendfile", "copy_file_range",
    /* files; Landlock says which */
    "open", "openat", "openat2", "close", "close_range", "creat", "stat", "fstat", "lstat",
    "newfstatat", "fstatat64", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
    "getdents64", "getcwd", "readlink", "readlinkat", "rename", "renameat", "renameat2", "link",
    "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat",
    "truncate", "ftruncate", "fallocate", "fadvise64", "fsync", "fdatasync", "sync_file_range",
    "fcntl", "flock", "dup", "dup2", "dup3", "umask", "utimensat",
    /* memory */
    "munmap", "mremap", "madvise", "brk", "mlock", "mlock2", "munlock", "msync", "mincore",
    "membarrier",
    /* waiting */
    "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "pipe", "pipe2", "signalfd4",
    "timerfd_create", "timerfd_settime", "timerfd_gettime", "nanosleep", "clock_nanosleep",
    "pause", "futex", "futex_waitv", "wait4", "waitid",
    /* accepted connections */
    "accept", "accept4", "listen", "shutdown", "getsockname", "getpeername", "getsockopt",
    "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
    /* threads and signals of this process */
    "exit", "exit_group", "set_robust_list", "get_robust_list", "rseq", "set_tid_address",
    "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "arch_prctl",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigsuspend",
    "rt_sigpending", "sigaltstack", "restart_syscall",
    /* questions */
    "gettid", "getpid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getresuid",
    "getresgid", "getgroups", "getpgrp", "getpgid", "uname", "sysinfo", "getrandom", "getcpu",
    "clock_gettime", "clock_getres", "gettimeofday", "time", "times", "getrusage", "getrlimit",
#ifdef BULLA_SANITIZED
    /* The leak checker stops its own threads from a helper, by tracing them. */
    "ptrace", "clone", "prctl", "kill", "tgkill", "process_vm_readv", "getdents",
#endif
};

/* Nothing here is ever called by honest code after the start: who calls it has taken the process
 * over, and is stopped rather than refused. */
static const char *const deadly[] = {
    "execve", "execveat", "process_vm_writev", "pidfd_getfd", "mount", "umount2", "pivot_root",
    "chroot", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick",
    "mount_setattr", "init_module", "finit_module", "delete_module", "kexec_load",
    "kexec_file_load", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key",
    "request_key", "setns", "unshare", "open_by_handle_at", "reboot", "swapon", "swapoff", "iopl",
    "ioperm", "io_uring_setup", "io_uring_enter", "io_uring_register",
#ifndef BULLA_SANITIZED
    "ptrace", "process_vm_readv",
#endif
};

/* clang-format on */

/* Calls allowed for some arguments only. `mask` 0: the argument equals value. */
struct conditional {
    const char *name;
    unsigned argument;
    uint64_t mask, value;
};

#define NAMESPACE_FLAGS                                                                            \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

static const struct conditional conditionals[] = {
    /* No code but what was loaded at the start. */
    {"mmap", 2, PROT_EXEC, 0},
    {"mprotect", 2, PROT_EXEC, 0},
    {"socketpair", 0, 0, AF_UNIX},
    {"prlimit64", 0, 0, 0},
    {"ioctl", 1, 0, FIONBIO},
    {"ioctl", 1, 0, FIONREAD},
    {"ioctl", 1, 0, TCGETS},
    {"ioctl", 1, 0, TIOCGWINSZ},
#ifndef BULLA_SANITIZED
    /* Threads, but no processes. */
    {"clone", 0, CLONE_THREAD | NAMESPACE_FLAGS, CLONE_THREAD},
    {"prctl", 0, 0, PR_SET_NAME},
    {"prctl", 0, 0, PR_GET_NAME},
    {"prctl", 0, 0, PR_GET_DUMPABLE},
    {"prctl", 0, 0, PR_SET_VMA},
#endif
};

/* The registry asks bulla-signer through its Unix socket. */
static const struct conditional server_conditionals[] = {{"socket", 0, 0, AF_UNIX}};
static const char *const server_plain[] = {"connect"};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* First number with one meaning on all architectures; what glibc tries first and does without when
 * it hears ENOSYS lies above. Source: Linux 5.1, "unify system call numbers". */
#define FIRST_COMMON_CALL 424
#define LAST_COMMON_CALL  600

static int add_rules(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n)
{
    int got = 0;
    for (size_t i = 0; !got && i < n; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number != __NR_SCMP_ERROR) /* else: not known to this libseccomp, so not allowed */
            got = seccomp_rule_add_array(filter, action, number, 0, NULL);
    }
    return got;
}

static int add_conditionals(scmp_filter_ctx filter, const struct conditional *rules, size_t n)
{
    int got = 0;
    for (size_t i = 0; !got && i < n; i++) {
        const struct conditional *r = &rules[i];
        struct scmp_arg_cmp compare = {.arg = r->argument,
                                       .op = r->mask ? SCMP_CMP_MASKED_EQ : SCMP_CMP_EQ,
                                       .datum_a = r->mask ? r->mask : r->value,
                                       .datum_b = r->mask ? r->value : 0};
        int number = seccomp_syscall_resolve_name(r->name);
        if (number != __NR_SCMP_ERROR)
            got = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &compare);
    }
    return got;
}

/* raise, abort and pthread_kill; other processes are out of reach. */
static int add_own_signals(scmp_filter_ctx filter)
{
#ifdef BULLA_SANITIZED
    (void)filter;
    return 0;
#else
    const struct conditional own[] = {{"kill", 0, 0, (uint64_t)getpid()},
                                      {"tgkill", 0, 0, (uint64_t)getpid()}};
    return add_conditionals(filter, own, COUNT(own));
#endif
}

/* clone3 hides its flags in memory where a filter cannot see them; glibc goes back to clone. Calls
 * younger than libseccomp get the answer an older kernel would give, not a refusal. */
static int add_unknown(scmp_filter_ctx filter)
{
    static const char *const clone3[] = {"clone3"};
    int got = add_rules(filter, SCMP_ACT_ERRNO(ENOSYS), clone3, 1);
    for (int number = FIRST_COMMON_CALL; !got && number <= LAST_COMMON_CALL; number++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
        if (!name)
            got = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0, NULL);
        free(name);
    }
    return got;
}

/* libseccomp's convention: 0 or a negative errno. */
static int fill(scmp_filter_ctx filter, enum confine_purpose purpose)
{
    int got = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (!got) /* binary search; the kernel remembers the calls that are always allowed */
        got = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (!got)
        got = add_rules(filter, SCMP_ACT_ALLOW, plain, COUNT(plain));
    if (!got)
        got = add_rules(filter, SCMP_ACT_KILL_PROCESS, deadly, COUNT(deadly));
    if (!got)
        got = add_conditionals(filter, conditionals, COUNT(conditionals));
    if (!got)
        got = add_own_signals(filter);
    if (!got)
        got = add_unknown(filter);
    if (!got && purpose == CONFINE_SERVER)
        got = add_rules(filter, SCMP_ACT_ALLOW, server_plain, COUNT(server_plain));
    if (!got && purpose == CONFINE_SERVER)
        got = add_conditionals(filter, server_conditionals, COUNT(server_conditionals));
    return got;
}

int confine_seccomp(enum confine_purpose purpose, struct error *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return fail_nomem(err);
    int got = fill(filter, purpose);
    if (!got)
        got = seccomp_load(filter);
    seccomp_release(filter);
    if (got == -EINVAL || got == -ENOSYS || got == -EOPNOTSUPP)
        return fail(err, E_UNSUPPORTED, "this kernel has no system call filters");
    return got ? fail_sys(err, got == -ECANCELED ? errno : -got, "install the system call filter")
               : OK;
}

/* The compiled filter's answers, by running it over made-up system calls. */
#include "base/cleanup.h"
#include "runner/seccomp_profile.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cmocka.h>

#define DENIED(e) (SECCOMP_RET_ERRNO | (e))

static struct bytes programs[2];

static int setup(void **state)
{
    (void)state;
    return seccomp_compile(SECCOMP_BY_CALL, &programs[0], NULL) ||
           seccomp_compile(SECCOMP_BY_ARGUMENT, &programs[1], NULL);
}

static int teardown(void **state)
{
    (void)state;
    bytes_done(&programs[0]);
    bytes_done(&programs[1]);
    return 0;
}

static bool jumps(const struct sock_filter *f, uint32_t a)
{
    switch (BPF_OP(f->code)) {
    case BPF_JEQ:
        return a == f->k;
    case BPF_JGT:
        return a > f->k;
    case BPF_JGE:
        return a >= f->k;
    case BPF_JSET:
        return a & f->k;
    default:
        fail_msg("unknown jump %x", f->code);
        return false;
    }
}

static uint32_t evaluate(const struct bytes *program, const struct seccomp_data *data)
{
    size_t n = program->len / sizeof(struct sock_filter);
    uint32_t a = 0;
    for (size_t pc = 0; pc < n; pc++) {
        struct sock_filter f;
        memcpy(&f, program->data + pc * sizeof f, sizeof f);
        switch (BPF_CLASS(f.code)) {
        case BPF_LD:
            assert_true(f.k + 4 <= sizeof *data);
            memcpy(&a, (const char *)data + f.k, 4);
            break;
        case BPF_ALU:
            assert_int_equal(BPF_OP(f.code), BPF_AND);
            a &= f.k;
            break;
        case BPF_JMP:
            if (BPF_OP(f.code) == BPF_JA)
                pc += f.k;
            else
                pc += jumps(&f, a) ? f.jt : f.jf;
            break;
        case BPF_RET:
            return f.k;
        default:
            fail_msg("unknown instruction %x", f.code);
        }
    }
    fail_msg("the program has no end");
    return 0;
}

/* The kernel takes the stricter of the two; for these actions that is the lower. */
static uint32_t answer(const struct seccomp_data *data)
{
    uint32_t one = evaluate(&programs[0], data), two = evaluate(&programs[1], data);
    return (one & SECCOMP_RET_ACTION_FULL) <= (two & SECCOMP_RET_ACTION_FULL) ? one : two;
}

#ifdef __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

static uint32_t call(long nr, uint64_t first, uint64_t second)
{
    const struct seccomp_data data = {.nr = (int)nr, .arch = ARCH, .args = {first, second}};
    return answer(&data);
}

static void every_call_has_its_answer(void **state)
{
    (void)state;
    static const long allowed[] = {SYS_read,   SYS_openat, SYS_execve,     SYS_execveat,
                                   SYS_futex,  SYS_mmap,   SYS_kill,       SYS_chroot,
                                   SYS_ptrace, SYS_rseq,   SYS_prctl,      SYS_wait4,
                                   SYS_statx,  SYS_setuid, SYS_exit_group, SYS_close_range};
    static const long denied[] = {SYS_mount,
                                  SYS_umount2,
                                  SYS_pivot_root,
                                  SYS_unshare,
                                  SYS_setns,
                                  SYS_bpf,
                                  SYS_keyctl,
                                  SYS_add_key,
                                  SYS_request_key,
                                  SYS_reboot,
                                  SYS_init_module,
                                  SYS_finit_module,
                                  SYS_delete_module,
                                  SYS_kexec_load,
                                  SYS_open_by_handle_at,
                                  SYS_perf_event_open,
                                  SYS_userfaultfd,
                                  SYS_io_uring_setup,
                                  SYS_io_uring_enter,
                                  SYS_io_uring_register,
                                  SYS_open_tree,
                                  SYS_move_mount,
                                  SYS_fsopen,
                                  SYS_fsconfig,
                                  SYS_fsmount,
                                  SYS_fspick,
                                  SYS_mount_setattr,
                                  SYS_settimeofday,
                                  SYS_clock_settime,
                                  SYS_sethostname,
                                  SYS_setdomainname,
                                  SYS_swapon,
                                  SYS_swapoff,
                                  SYS_acct,
                                  SYS_quotactl,
                                  SYS_syslog,
                                  SYS_pidfd_getfd,
                                  SYS_kcmp,
                                  SYS_fanotify_init,
                                  SYS_process_madvise,
                                  SYS_vhangup};
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (call(allowed[i], 0, 0) != SECCOMP_RET_ALLOW)
            fail_msg("call %ld is not allowed", allowed[i]);
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++)
        if (call(denied[i], 0, 0) != DENIED(EPERM))
            fail_msg("call %ld is not denied", denied[i]);
    assert_int_equal(call(SYS_clone3, 0, 0), DENIED(ENOSYS));
    for (long nr = 451; nr < 2000; nr++)
        if (call(nr, 0, 0) != DENIED(ENOSYS))
            fail_msg("call %ld exists", nr);
    for (long nr = 0; nr < 451; nr++) {
        uint32_t got = call(nr, 0, 0);
        if (got != SECCOMP_RET_ALLOW && got != DENIED(EPERM) && got != DENIED(ENOSYS))
            fail_msg("call %ld is answered %x", nr, got);
    }
}

static void other_architectures_kill(void **state)
{
    (void)state;
    struct seccomp_data data = {.nr = SYS_read, .arch = AUDIT_ARCH_I386};
    assert_int_equal(answer(&data), SECCOMP_RET_KILL_PROCESS);
    data.arch = AUDIT_ARCH_ARM;
    assert_int_equal(answer(&data), SECCOMP_RET_KILL_PROCESS);
#ifdef __x86_64__
    for (int nr = 0; nr < 600; nr++) {
        data = (struct seccomp_data){.nr = nr | 0x40000000, .arch = ARCH};
        assert_int_equal(answer(&data), SECCOMP_RET_KILL_PROCESS);
    }
#endif
}

static void arguments_count(void **state)
{
    (void)state;
    const uint64_t high[] = {0, (uint64_t)1 << 32, (uint64_t)0xffffffff << 32};
    static const uint64_t flags[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                     CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};
    for (size_t i = 0; i < 3; i++) {
        /* The kernel ignores the upper half of these arguments, and so must the filter. */
        assert_int_equal(call(SYS_ioctl, 0, high[i] | TIOCSTI), DENIED(EPERM));
        assert_int_equal(call(SYS_ioctl, 0, high[i] | 0x541c), DENIED(EPERM));
        assert_int_equal(call(SYS_ioctl, 0, high[i] | TIOCGWINSZ), SECCOMP_RET_ALLOW);
        assert_int_equal(call(SYS_socket, high[i] | AF_ALG, 0), DENIED(EAFNOSUPPORT));
        assert_int_equal(call(SYS_socket, high[i] | AF_VSOCK, 0), DENIED(EAFNOSUPPORT));
        assert_int_equal(call(SYS_socketpair, high[i] | AF_VSOCK, 0), DENIED(EAFNOSUPPORT));
        assert_int_equal(call(SYS_socket, high[i] | AF_UNIX, 0), SECCOMP_RET_ALLOW);
        assert_int_equal(call(SYS_socket, high[i] | AF_INET6, 0), SECCOMP_RET_ALLOW);
        for (size_t f = 0; f < sizeof flags / sizeof flags[0]; f++) {
            assert_int_equal(call(SYS_clone, high[i] | flags[f], 0), DENIED(EPERM));
            assert_int_equal(call(SYS_clone, high[i] | flags[f] | SIGCHLD | CLONE_VM, 0),
                             DENIED(EPERM));
        }
        assert_int_equal(call(SYS_clone, high[i] | CLONE_VM | CLONE_THREAD | SIGCHLD, 0),
                         SECCOMP_RET_ALLOW);
        assert_int_equal(call(SYS_personality, high[i], 0), SECCOMP_RET_ALLOW);
        assert_int_not_equal(call(SYS_personality, high[i] | 0x40000, 0), SECCOMP_RET_ALLOW);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_has_its_answer),
        cmocka_unit_test(other_architectures_kill),
        cmocka_unit_test(arguments_count),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

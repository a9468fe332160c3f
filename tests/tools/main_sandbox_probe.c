/*
 * sandbox-probe: tries one thing from inside a container and says what the kernel answered.
 *
 * Usage: sandbox-probe NAME [ARGUMENT]. Prints "allowed", or the errno's name (EPERM), and exits 0
 * in both cases: the test compares the word. Static and free of the project's libraries: it runs on
 * an image's root. What it tries would harm a host, so outside a user namespace it refuses to run
 * (but for serve-abstract, the host's part of a test).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_alg.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIGH_BITS ((long)1 << 40) /* the kernel ignores them where an argument is an int */

/* Each returns -1 with errno, or anything else for success. */
typedef long (*attempt)(const char *argument);

static long try_keyctl(const char *argument)
{
    (void)argument;
    return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1);
}

static long try_add_key(const char *argument)
{
    (void)argument;
    return syscall(SYS_add_key, "user", "probe", "x", 1, KEY_SPEC_SESSION_KEYRING);
}

static long try_mount(const char *argument)
{
    (void)argument;
    return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static long try_remount(const char *argument)
{
    (void)argument;
    return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL);
}

static long try_umount(const char *argument)
{
    return umount2(argument, MNT_DETACH);
}

static long try_open_tree(const char *argument)
{
    (void)argument;
    return syscall(SYS_open_tree, AT_FDCWD, "/", 1);
}

static long try_unshare_user(const char *argument)
{
    (void)argument;
    return unshare(CLONE_NEWUSER);
}

static long try_clone_user(const char *argument)
{
    (void)argument;
    long pid = syscall(SYS_clone, (unsigned long)CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return pid;
}

static long try_clone3(const char *argument)
{
    (void)argument;
    struct clone_args args = {.exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(0);
    return pid;
}

static long try_fork(const char *argument)
{
    (void)argument;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid;
}

static long try_setns(const char *argument)
{
    (void)argument;
    int fd = open("/proc/self/ns/mnt", O_RDONLY);
    return fd < 0 ? -1 : setns(fd, 0);
}

static long try_bpf(const char *argument)
{
    (void)argument;
    union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY};
    attr.key_size = 4;
    attr.value_size = 4;
    attr.max_entries = 1;
    return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
}

static long try_perf(const char *argument)
{
    (void)argument;
    char attr[128] = {0};
    return syscall(SYS_perf_event_open, attr, 0, -1, -1, 0);
}

static long try_io_uring(const char *argument)
{
    (void)argument;
    char params[120] = {0};
    return syscall(SYS_io_uring_setup, 1, params);
}

static long try_userfaultfd(const char *argument)
{
    (void)argument;
    return syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */);
}

static long try_raw_socket(const char *argument)
{
    (void)argument;
    return socket(AF_INET, SOCK_RAW, 1);
}

static long try_packet_socket(const char *argument)
{
    (void)argument;
    return socket(AF_PACKET, SOCK_RAW, 0);
}

static long try_inet_socket(const char *argument)
{
    (void)argument;
    return socket(AF_INET, SOCK_STREAM, 0);
}

static long try_alg_socket(const char *argument)
{
    (void)argument;
    return socket(AF_ALG, SOCK_SEQPACKET, 0);
}

static long try_alg_socket_high(const char *argument)
{
    (void)argument;
    return syscall(SYS_socket, HIGH_BITS | AF_ALG, SOCK_SEQPACKET, 0);
}

static long try_vsock(const char *argument)
{
    (void)argument;
    return socket(AF_VSOCK, SOCK_STREAM, 0);
}

static int open_terminal(void)
{
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    return master;
}

static long try_terminal(const char *argument)
{
    (void)argument;
    return open_terminal();
}

static long try_tiocsti(const char *argument)
{
    (void)argument;
    char c = 'x';
    int fd = open_terminal();
    return fd < 0 ? -1 : ioctl(fd, TIOCSTI, &c);
}

static long try_tiocsti_high(const char *argument)
{
    (void)argument;
    char c = 'x';
    int fd = open_terminal();
    return fd < 0 ? -1 : syscall(SYS_ioctl, fd, HIGH_BITS | TIOCSTI, &c);
}

static long try_tioclinux(const char *argument)
{
    (void)argument;
    char c = 3;
    int fd = open_terminal();
    return fd < 0 ? -1 : ioctl(fd, 0x541c, &c);
}

static long try_ptrace(const char *argument)
{
    return ptrace(PTRACE_ATTACH, atoi(argument), NULL, NULL);
}

static long try_ptrace_own(const char *argument)
{
    (void)argument;
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    long got = ptrace(PTRACE_ATTACH, pid, NULL, NULL);
    int failed = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    errno = failed;
    return got;
}

static long try_read(const char *argument)
{
    char byte;
    int fd = open(argument, O_RDONLY | O_NONBLOCK);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, &byte, 1);
    if (n == 0) {
        printf("empty\n");
        exit(0);
    }
    return n;
}

static long try_write(const char *argument)
{
    int fd = open(argument, O_WRONLY | O_NONBLOCK);
    return fd < 0 ? -1 : write(fd, "h", 1);
}

static long try_open_write(const char *argument)
{
    return open(argument, O_WRONLY | O_NONBLOCK);
}

static long try_create(const char *argument)
{
    int fd = open(argument, O_WRONLY | O_CREAT | O_EXCL, 0644);
    return fd < 0 ? -1 : write(fd, "x", 1);
}

static long try_readlink(const char *argument)
{
    char target[4096];
    return readlink(argument, target, sizeof target);
}

static long try_mknod(const char *argument)
{
    return mknod(argument, S_IFCHR | 0666, makedev(1, 3));
}

static long try_chroot(const char *argument)
{
    return chroot(argument);
}

static long try_handle(const char *argument)
{
    (void)argument;
    char handle[160] = {0};
    return syscall(SYS_open_by_handle_at, AT_FDCWD, handle, O_RDONLY);
}

static long try_module(const char *argument)
{
    (void)argument;
    return syscall(SYS_init_module, "", 0, "");
}

static long try_reboot(const char *argument)
{
    (void)argument;
    return syscall(SYS_reboot, 0, 0, 0, 0);
}

static long try_hostname(const char *argument)
{
    return sethostname(argument, strlen(argument));
}

static long try_personality(const char *argument)
{
    return personality(strtoul(argument, NULL, 0));
}

/* A system call by its number: what no profile knows. */
static long try_call(const char *argument)
{
    return syscall(strtol(argument, NULL, 0), -1, 0, 0, 0, 0, 0);
}

static long try_setuid(const char *argument)
{
    return setuid((uid_t)atoi(argument));
}

/* Whose rights does a program have? (For copies of this one with the setuid bit.) */
static long show_ids(const char *argument)
{
    (void)argument;
    printf("%u %u %u %u\n", getuid(), geteuid(), getgid(), getegid());
    exit(0);
}

static long show_groups(const char *argument)
{
    gid_t groups[128];
    (void)argument;
    int n = getgroups(128, groups);
    for (int i = 0; i < n; i++)
        printf("%s%u", i ? " " : "", groups[i]);
    printf("\n");
    exit(0);
}

static long try_abstract(const char *argument)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(argument);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || len + 1 > sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path + 1, argument, len);
    return connect(fd, (struct sockaddr *)&address,
                   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len));
}

/* Listens on an abstract name and connects to it: in one network namespace that works. */
static long try_abstract_own(const char *argument)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(argument);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path + 1, argument, len);
    if (bind(fd, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) ||
        listen(fd, 4))
        return -1;
    return try_abstract(argument);
}

/* Serves that name for some seconds, on the host. */
static long serve_abstract(const char *argument)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(argument);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path + 1, argument, len);
    if (bind(fd, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) ||
        listen(fd, 4))
        return -1;
    printf("listening\n");
    fflush(stdout);
    sleep(60);
    exit(0);
}

/* Makes processes until the kernel says no; prints how many. */
static long fork_bomb(const char *argument)
{
    (void)argument;
    int n = 0;
    while (n < 5000) {
        pid_t pid = fork();
        if (pid < 0)
            break;
        if (pid == 0) {
            pause();
            _exit(0);
        }
        n++;
    }
    printf("%d %s\n", n, n < 5000 ? strerrorname_np(errno) : "none");
    exit(0);
}

/* Touches so many MiB. */
static long use_memory(const char *argument)
{
    size_t size = (size_t)atoi(argument) << 20;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -1;
    for (size_t i = 0; i < size; i += 4096)
        p[i] = 1;
    return 0;
}

/* Open descriptors, one line; without the one this loop would need. */
static long show_descriptors(const char *argument)
{
    (void)argument;
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("%d ", fd);
    printf("\n");
    exit(0);
}

/* Which signals are blocked or ignored at start. */
static long show_signals(const char *argument)
{
    sigset_t set;
    int bad = 0;
    (void)argument;
    sigprocmask(SIG_BLOCK, NULL, &set);
    for (int s = 1; s < 32; s++) {
        struct sigaction action;
        if (sigismember(&set, s) ||
            (sigaction(s, NULL, &action) == 0 && action.sa_handler != SIG_DFL))
            bad++;
    }
    printf("%d\n", bad);
    exit(0);
}

static const struct {
    const char *name;
    attempt run;
} attempts[] = {
    {"keyctl", try_keyctl},
    {"add-key", try_add_key},
    {"mount", try_mount},
    {"remount", try_remount},
    {"umount", try_umount},
    {"open-tree", try_open_tree},
    {"unshare-user", try_unshare_user},
    {"clone-user", try_clone_user},
    {"clone3", try_clone3},
    {"fork", try_fork},
    {"setns", try_setns},
    {"bpf", try_bpf},
    {"perf", try_perf},
    {"io-uring", try_io_uring},
    {"userfaultfd", try_userfaultfd},
    {"raw-socket", try_raw_socket},
    {"packet-socket", try_packet_socket},
    {"inet-socket", try_inet_socket},
    {"alg-socket", try_alg_socket},
    {"alg-socket-high", try_alg_socket_high},
    {"vsock", try_vsock},
    {"terminal", try_terminal},
    {"tiocsti", try_tiocsti},
    {"tiocsti-high", try_tiocsti_high},
    {"tioclinux", try_tioclinux},
    {"ptrace", try_ptrace},
    {"ptrace-own", try_ptrace_own},
    {"read", try_read},
    {"write", try_write},
    {"open-write", try_open_write},
    {"create", try_create},
    {"readlink", try_readlink},
    {"mknod", try_mknod},
    {"chroot", try_chroot},
    {"handle", try_handle},
    {"module", try_module},
    {"reboot", try_reboot},
    {"hostname", try_hostname},
    {"personality", try_personality},
    {"call", try_call},
    {"setuid", try_setuid},
    {"ids", show_ids},
    {"groups", show_groups},
    {"abstract", try_abstract},
    {"abstract-own", try_abstract_own},
    {"serve-abstract", serve_abstract},
    {"fork-bomb", fork_bomb},
    {"memory", use_memory},
    {"descriptors", show_descriptors},
    {"signals", show_signals},
};

/* The first user namespace maps all ids to themselves. */
static int on_the_host(void)
{
    unsigned inside = 0, outside = 0;
    FILE *f = fopen("/proc/self/uid_map", "r");
    if (!f)
        return 1;
    int n = fscanf(f, "%u %u", &inside, &outside);
    fclose(f);
    return n != 2 || inside == outside;
}

int main(int argc, char **argv)
{
    if (on_the_host() && !(argc > 1 && strcmp(argv[1], "serve-abstract") == 0)) {
        fprintf(stderr, "sandbox-probe: only for containers\n");
        return 2;
    }
    for (size_t i = 0; argc > 1 && i < sizeof attempts / sizeof attempts[0]; i++) {
        if (strcmp(argv[1], attempts[i].name) != 0)
            continue;
        errno = 0;
        long got = attempts[i].run(argc > 2 ? argv[2] : "");
        printf("%s\n", got == -1 ? strerrorname_np(errno) : "allowed");
        return 0;
    }
    fprintf(stderr, "usage: sandbox-probe NAME [ARGUMENT]\n");
    return 2;
}

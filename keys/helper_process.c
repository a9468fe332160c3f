#include "keys/helper_process.h"

#include "base/clock.h"
#include "keys/token_host.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define HELPER_NAME "bulla-pkcs11"
/* libykcs11 resets the card when it is finalised; that takes a moment. */
#define STOP_WAIT_MS 2000

static const char *path_for_test;

void token_helper_path_for_test(const char *path)
{
    path_for_test = path;
}

/* No environment variable may change what is executed. */
static int find_helper(char *out, size_t size, struct error *err)
{
    char self[PATH_MAX];
    if (path_for_test) {
        (void)snprintf(out, size, "%s", path_for_test);
        return OK;
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return fail_sys(err, errno, "find the running program");
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    static const char *const places[] = {"", "/../libexec/bulla"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int len = snprintf(out, size, "%s%s/" HELPER_NAME, self, places[i]);
        if (len > 0 && (size_t)len < size && access(out, X_OK) == 0)
            return OK;
    }
    return fail(err, E_TOKEN,
                "the helper '" HELPER_NAME "' is neither in '%s' nor in '%s/../libexec/bulla'",
                self, self);
}

static int add_actions(posix_spawn_file_actions_t *actions, int socket)
{
    const char *debug = getenv("BULLA_PKCS11_DEBUG");
    int failed = posix_spawn_file_actions_adddup2(actions, socket, STDIN_FILENO);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(actions, socket, STDOUT_FILENO);
    if (!failed && !(debug && strcmp(debug, "1") == 0))
        failed = posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    /* Everything of ours is O_CLOEXEC; libraries may be less careful. */
    if (!failed)
        failed = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    return failed;
}

static int set_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int failed = posix_spawnattr_setsigmask(attributes, &none);
    if (!failed)
        failed = posix_spawnattr_setsigdefault(attributes, &all);
    if (!failed)
        failed =
            posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return failed;
}

static int spawn(const char *path, int socket, pid_t *pid, struct error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char name[] = HELPER_NAME;
    char *argv[] = {name, NULL};
    if (posix_spawn_file_actions_init(&actions))
        return fail_nomem(err);
    if (posix_spawnattr_init(&attributes)) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return fail_nomem(err);
    }
    int failed = add_actions(&actions, socket);
    if (!failed)
        failed = set_signals(&attributes);
    if (!failed)
        failed = posix_spawn(pid, path, &actions, &attributes, argv, environ);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return fail(err, E_TOKEN, "the helper '%s' cannot be started: %s", path,
                    strerrordesc_np(failed));
    return OK;
}

int helper_process_spawn(int *fd, pid_t *pid, struct error *err)
{
    char path[PATH_MAX + 64];
    int pair[2];
    int rc = find_helper(path, sizeof path, err);
    if (rc)
        return rc;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return fail_sys(err, errno, "make a socket pair");
    CLEANUP(cleanup_fd) int ours = pair[0];
    CLEANUP(cleanup_fd) int theirs = pair[1];
    rc = spawn(path, theirs, pid, err);
    if (!rc)
        *fd = TAKE_FD(ours);
    return rc;
}

int helper_process_start(struct token_host *host, struct helper_process *process, struct error *err)
{
    struct helper_process made = HELPER_PROCESS_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    made.host = host;
    int rc = host ? token_host_spawn(host, &fd, &made.pid, err)
                  : helper_process_spawn(&fd, &made.pid, err);
    if (rc)
        return rc;
    rc = pkcs11_channel_init(&made.channel, fd, err);
    if (rc) {
        cleanup_fd(&fd);
        helper_process_stop(&made);
        return rc;
    }
    (void)TAKE_FD(fd);
    *process = made;
    return OK;
}

/* Waits until the child has ended. A descriptor of the process instead of a handler for SIGCHLD:
 * that signal belongs to the program. */
static void await_end(pid_t pid, int timeout_ms)
{
    CLEANUP(cleanup_fd) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd wait = {fd, POLLIN, 0};
    if (fd >= 0) {
        (void)poll(&wait, 1, timeout_ms);
        return;
    }
    /* No pidfd_open (seccomp, kernel before 5.3): look now and then. */
    siginfo_t info = {.si_pid = 0};
    int64_t until = clock_monotonic_ms() + timeout_ms;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0 &&
           clock_monotonic_ms() < until)
        (void)nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
}

/* Kills unless it has ended already; -1 where its status is not to be had. */
static int reap(struct helper_process *process)
{
    int status = -1;
    pid_t pid = process->pid;
    process->pid = 0;
    /* Not reaped yet, so the number is still ours even if the process has ended. */
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

void helper_process_stop(struct helper_process *process)
{
    int saved = errno;
    pkcs11_channel_done(&process->channel);
    if (process->pid > 0 && process->host) {
        token_host_end(process->host, process->pid, false);
        process->pid = 0;
    }
    if (process->pid > 0) {
        await_end(process->pid, STOP_WAIT_MS);
        (void)reap(process);
    }
    errno = saved;
}

int helper_process_fail(struct helper_process *process, const char *what, struct error *err)
{
    char message[ERROR_MESSAGE_MAX];
    (void)snprintf(message, sizeof message, "%s", what);
    pkcs11_channel_done(&process->channel);
    if (process->pid > 0 && process->host) {
        token_host_end(process->host, process->pid, true);
        process->pid = 0;
    }
    if (process->pid <= 0)
        return fail(err, E_TOKEN, "PKCS#11 helper: %s", message);
    /* A crash closes the connection a moment before the process is over. */
    await_end(process->pid, 200);
    int status = reap(process);
    if (status != -1 && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
        return fail(err, E_TOKEN, "PKCS#11 helper crashed (%s): the token's module may be faulty",
                    sigdescr_np(WTERMSIG(status)));
    return fail(err, E_TOKEN, "PKCS#11 helper ended or hung: %s", message);
}

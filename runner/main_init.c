/*
 * bulla-init: PID 1 of a container.
 *
 * Starts the command, passes signals on to it, reaps what it leaves behind, and ends with the
 * command's status (128 + n for a signal). Usage: bulla-init COMMAND [ARGUMENT…], with every signal
 * blocked and REPORT_FD open. Static, and run from a sealed memfd: it belongs to the trusted base,
 * not to the image. It has the command's own user, capabilities and seccomp filter, and cannot be
 * traced by it (not dumpable: nobody in the container may read the memfd, so the kernel marks the
 * process itself).
 */
#include "runner/report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

extern char **environ;

/* Tries `dir`/`name`; returns errno. An empty dir is the working folder, as in POSIX. */
static int exec_in(const char *dir, size_t dir_len, char **argv)
{
    char path[4096];
    size_t name_len = strlen(argv[0]);
    if (dir_len + name_len + 2 > sizeof path)
        return ENAMETOOLONG;
    memcpy(path, dir, dir_len);
    if (dir_len)
        path[dir_len++] = '/';
    memcpy(path + dir_len, argv[0], name_len + 1);
    execve(path, argv, environ);
    return errno;
}

/* Looks the command up in the container's PATH, as a shell does; returns errno. */
static int exec_command(char **argv)
{
    if (!*argv[0])
        return ENOENT;
    if (strchr(argv[0], '/')) {
        execve(argv[0], argv, environ);
        return errno;
    }
    const char *dirs = getenv("PATH");
    if (!dirs)
        dirs = DEFAULT_PATH;
    int worst = ENOENT;
    for (;;) {
        size_t len = strcspn(dirs, ":");
        int failed = exec_in(dirs, len, argv);
        /* A file that may not be executed is worth more as a reason than one that is not there,
         * but a later folder may still have a good one. */
        if (failed == EACCES)
            worst = EACCES;
        else if (failed != ENOENT && failed != ENOTDIR)
            return failed;
        if (!dirs[len])
            return worst;
        dirs += len + 1;
    }
}

static _Noreturn void be_the_command(char **argv)
{
    /* A session of its own: a signal the command sends to its process group must not come back to
     * it through us. */
    setsid();
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct report_exec_failed report = {REPORT_MAGIC, exec_command(argv)};
    ssize_t told = write(REPORT_FD, &report, sizeof report);
    (void)told;
    _exit(report.sys == ENOENT ? 127 : 126);
}

/* Reaps all that ended; returns the command's exit status, or -1 while it runs. */
static int reap(pid_t command)
{
    int result = -1;
    for (;;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return result;
        if (pid == command)
            result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 126;
    prctl(PR_SET_DUMPABLE, 0);
    if (fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC))
        return 126;
    sigset_t all;
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, NULL))
        return 126;
    pid_t command = fork();
    if (command < 0) {
        struct report_exec_failed report = {REPORT_MAGIC, errno};
        ssize_t told = write(REPORT_FD, &report, sizeof report);
        (void)told;
        return 126;
    }
    if (command == 0)
        be_the_command(argv + 1);
    /* Who reads the command's output must see its end when the command closes it, not when we do;
     * and with the report's last copy gone, the runner knows that the command has started. */
    for (int fd = 0; fd <= REPORT_FD; fd++)
        close(fd);
    for (;;) {
        siginfo_t info;
        int s = sigwaitinfo(&all, &info);
        if (s == SIGCHLD) {
            int status = reap(command);
            if (status >= 0)
                return status;
        } else if (s > 0) {
            kill(command, s);
        }
    }
}

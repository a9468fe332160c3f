#include "registry/signer_child.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define PROGRAM "bulla-signer"

bool signer_child_answers(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    CLEANUP(cleanup_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
}

static int find_program(char **out, struct error *err)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return fail_sys(err, errno, "find the running program");
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    *out = text_format("%.*s/" PROGRAM, slash ? (int)(slash - self) : 0, self);
    if (!*out)
        return fail_nomem(err);
    return access(*out, X_OK) == 0 ? 0 : fail_sys(err, errno, "signing service '%s'", *out);
}

/*
 * The child's standard input is a pipe that only we hold open: when we end, however we end, the
 * kernel sends the child SIGTERM. PR_SET_PDEATHSIG alone does not do it: that signal counts as
 * ours, and from Linux 6.12 on our Landlock domain may not signal anybody outside. This one counts
 * as the child's own, which asks for it here, before there is a domain.
 */
static bool watch_parent(int life_fd)
{
    return dup2(life_fd, STDIN_FILENO) >= 0 && fcntl(STDIN_FILENO, F_SETOWN, getpid()) == 0 &&
           fcntl(STDIN_FILENO, F_SETSIG, SIGTERM) == 0 &&
           fcntl(STDIN_FILENO, F_SETFL, O_ASYNC | O_NONBLOCK) == 0;
}

/* Only calls that are safe between fork and exec. */
static void run_child(const char *program, char *const *arguments, int life_fd, int out_fd)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (watch_parent(life_fd) && dup2(out_fd, STDOUT_FILENO) >= 0)
        execv(program, arguments);
    _exit(127);
}

static int start(const struct server_config *config, int life_fd, int out_fd, pid_t *pid,
                 struct error *err)
{
    CLEANUP(cleanup_free) char *program = NULL;
    char name[] = PROGRAM, serve[] = "serve", config_option[] = "--config", parent[] = "--parent";
    char self[24];
    snprintf(self, sizeof self, "%ld", (long)getpid());
    char *const arguments[] = {name, serve, config_option, config->file, parent, self, NULL};
    int rc = find_program(&program, err);
    if (rc != 0)
        return rc;
    pid_t child = fork();
    if (child < 0)
        return fail_sys(err, errno, "fork");
    if (child == 0)
        run_child(program, arguments, life_fd, out_fd);
    *pid = child;
    return 0;
}

static int no_signer(struct error *err)
{
    return fail(err, E_NETWORK, "the signing service ended at once");
}

/* Its socket takes connections, or it has said something, or has ended. */
static int wait_for_socket(const char *socket_path, int out_fd, struct error *err)
{
    int64_t until = clock_monotonic_ms() + SIGNER_CHILD_WAIT_MS;
    while (clock_monotonic_ms() < until) {
        struct pollfd p = {out_fd, POLLIN, 0};
        if (signer_child_answers(socket_path))
            return 0;
        if (poll(&p, 1, 1) > 0 && !(p.revents & POLLIN))
            return no_signer(err);
    }
    return fail(err, E_NETWORK, "the signing service does not come up");
}

int signer_child_check_ended(struct signer_child *child, struct error *err)
{
    static const char wanted[] = "listening on ";
    char line[sizeof wanted] = "";
    size_t len = 0;
    ssize_t n = 1;
    if (child->out_fd < 0)
        return 0;
    while (n > 0 && len < sizeof wanted - 1) {
        n = read(child->out_fd, line + len, sizeof wanted - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    cleanup_fd(&child->out_fd);
    return strcmp(line, wanted) == 0 ? 0 : no_signer(err);
}

void signer_child_done(struct signer_child *child)
{
    cleanup_fd(&child->life_fd);
    cleanup_fd(&child->out_fd);
}

static int make_pipe(int *read_fd, int *write_fd, struct error *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return fail_sys(err, errno, "pipe");
    *read_fd = fds[0];
    *write_fd = fds[1];
    return 0;
}

int signer_child_start(const struct server_config *config, struct signer_child *out,
                       struct error *err)
{
    CLEANUP(cleanup_fd) int out_read = -1;
    CLEANUP(cleanup_fd) int out_write = -1;
    CLEANUP(cleanup_fd) int life_read = -1;
    CLEANUP(cleanup_fd) int life_write = -1;
    pid_t child = 0;
    if (signer_child_answers(config->signer.socket))
        return 0;
    int rc = make_pipe(&out_read, &out_write, err);
    if (rc == 0)
        rc = make_pipe(&life_read, &life_write, err);
    if (rc == 0)
        rc = start(config, life_read, out_write, &child, err);
    cleanup_fd(&out_write);
    cleanup_fd(&life_read);
    if (rc == 0)
        rc = wait_for_socket(config->signer.socket, out_read, err);
    if (rc != 0) {
        cleanup_fd(&life_write);
        if (child > 0)
            waitpid(child, NULL, 0);
        return rc;
    }
    *out = (struct signer_child){TAKE_FD(life_write), TAKE_FD(out_read)};
    return 0;
}

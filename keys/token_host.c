#include "keys/token_host.h"

#include "base/clock.h"
#include "keys/helper_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define START_WAIT_MS 10000 /* for a process that only forks and executes */
#define END_WAIT_MS   2000  /* libykcs11 resets the card when it is finalised */
#define HELPERS_MAX   64

enum what { START, END, KILL };

struct question {
    int32_t what; /* enum what */
    int32_t pid;
};

struct answer {
    int32_t pid;   /* with a descriptor; 0: why says why not */
    char why[256]; /* NUL-terminated */
};

struct token_host {
    int fd;
    pid_t pid;
};

/* --- the process --- */

struct helper {
    pid_t pid;       /* 0: free */
    int64_t kill_ms; /* 0: it may live */
};

static void send_answer(int to, const struct answer *answer, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct answer copy = *answer;
    struct iovec iov = {&copy, sizeof copy};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    (void)sendmsg(to, &message, MSG_NOSIGNAL);
}

static struct helper *find(struct helper helpers[static HELPERS_MAX], pid_t pid)
{
    for (size_t i = 0; i < HELPERS_MAX; i++)
        if (helpers[i].pid == pid)
            return &helpers[i];
    return NULL;
}

static void start_one(int to, struct helper helpers[static HELPERS_MAX])
{
    struct answer answer = {.pid = 0};
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    pid_t pid = 0;
    struct helper *place = find(helpers, 0);
    int rc = place ? helper_process_spawn(&fd, &pid, &err)
                   : fail(&err, E_TOKEN, "too many PKCS#11 helpers run already");
    if (rc)
        (void)snprintf(answer.why, sizeof answer.why, "%s", err.message);
    else
        *place = (struct helper){.pid = pid};
    answer.pid = rc ? 0 : (int32_t)pid;
    send_answer(to, &answer, fd);
}

/* Only its own children are ended, whatever the number that was said. */
static void end_one(const struct question *q, struct helper helpers[static HELPERS_MAX])
{
    struct helper *helper = q->pid > 0 ? find(helpers, (pid_t)q->pid) : NULL;
    if (helper && q->what == KILL)
        (void)kill(helper->pid, SIGKILL);
    else if (helper)
        helper->kill_ms = clock_monotonic_ms() + END_WAIT_MS;
}

/* Ended ones give their place back; returns how long to wait for the next one, -1: no matter. */
static int tend(struct helper helpers[static HELPERS_MAX])
{
    int64_t now_ms = clock_monotonic_ms();
    int wait_ms = -1;
    for (size_t i = 0; i < HELPERS_MAX; i++) {
        struct helper *helper = &helpers[i];
        if (!helper->pid)
            continue;
        if (helper->kill_ms && helper->kill_ms <= now_ms)
            (void)kill(helper->pid, SIGKILL);
        if (waitpid(helper->pid, NULL, WNOHANG) == helper->pid)
            *helper = (struct helper){.pid = 0};
        else
            wait_ms = 200;
    }
    return wait_ms;
}

static void serve(int fd)
{
    struct helper helpers[HELPERS_MAX] = {{0}};
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        struct question q;
        int n = poll(&p, 1, tend(helpers));
        if (n == 0 || (n < 0 && errno == EINTR))
            continue;
        if (n < 0 || recv(fd, &q, sizeof q, MSG_DONTWAIT) != (ssize_t)sizeof q)
            return; /* the server has ended; helpers end as their connections do */
        if (q.what == START)
            start_one(fd, helpers);
        else
            end_one(&q, helpers);
    }
}

/* Of all that the server has open nothing may stay open here: its lock, its sockets. */
static int keep_only(int fd)
{
    CLEANUP(cleanup_fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        return -1;
    if (dup3(fd, STDERR_FILENO + 1, O_CLOEXEC) < 0 && fd != STDERR_FILENO + 1)
        return -1;
    (void)TAKE_FD(null);
    closefrom(STDERR_FILENO + 2);
    return STDERR_FILENO + 1;
}

static _Noreturn void run(const struct token_host_options *options, int fd)
{
    struct answer ready = {.pid = 1};
    struct error err = ERROR_INIT;
    (void)prctl(PR_SET_NAME, "bulla-tokens");
    fd = keep_only(fd);
    int rc = options->become ? options->become(options->context, &err) : OK;
    if (!rc && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)))
        rc = fail_sys(&err, errno, "harden the process that starts PKCS#11 helpers");
    if (rc) {
        ready.pid = 0;
        (void)snprintf(ready.why, sizeof ready.why, "%s", err.message);
    }
    send_answer(fd, &ready, -1);
    if (!rc)
        serve(fd);
    _exit(rc ? 1 : 0);
}

/* --- the server's end --- */

static int host_lost(struct token_host *host, struct error *err)
{
    cleanup_fd(&host->fd);
    return fail(err, E_TOKEN,
                "the process that starts PKCS#11 helpers has ended: restart the service");
}

static int receive(struct token_host *host, struct answer *out, int *fd, struct error *err)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct iovec iov = {out, sizeof *out};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.space};
    struct pollfd p = {.fd = host->fd, .events = POLLIN};
    int n = 0;
    do
        n = poll(&p, 1, START_WAIT_MS);
    while (n < 0 && errno == EINTR);
    if (n != 1 || recvmsg(host->fd, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof *out)
        return host_lost(host, err);
    out->why[sizeof out->why - 1] = '\0';
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof *fd))
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return OK;
}

int token_host_start(const struct token_host_options *options, struct token_host **out,
                     struct error *err)
{
    int pair[2], ignored = -1;
    struct answer ready;
    CLEANUP(token_host_cleanup) struct token_host *host = calloc(1, sizeof *host);
    if (!host)
        return fail_nomem(err);
    host->fd = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return fail_sys(err, errno, "make a socket pair");
    host->fd = pair[0];
    CLEANUP(cleanup_fd) int theirs = pair[1];
    host->pid = fork();
    if (host->pid < 0)
        return fail_sys(err, errno, "start the process for PKCS#11 helpers");
    if (host->pid == 0)
        run(options, theirs);
    cleanup_fd(&theirs); /* the end of the other process must be seen here */
    int rc = receive(host, &ready, &ignored, err);
    if (!rc && !ready.pid)
        rc = fail(err, E_SYS, "%s", ready.why);
    if (!rc)
        *out = TAKE_PTR(host);
    return rc;
}

void token_host_stop(struct token_host *host)
{
    if (!host)
        return;
    cleanup_fd(&host->fd);
    /* It ends by itself; where that cannot be awaited (seccomp), the end of this process does. */
    if (host->pid > 0)
        while (waitpid(host->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    free(host);
}

void token_host_cleanup(struct token_host **host)
{
    int saved = errno;
    token_host_stop(*host);
    *host = NULL;
    errno = saved;
}

static int ask(struct token_host *host, enum what what, pid_t pid)
{
    const struct question q = {(int32_t)what, (int32_t)pid};
    return host->fd >= 0 && send(host->fd, &q, sizeof q, MSG_NOSIGNAL) == (ssize_t)sizeof q
               ? OK
               : E_TOKEN;
}

int token_host_spawn(struct token_host *host, int *fd, pid_t *pid, struct error *err)
{
    struct answer answer;
    int got = -1;
    if (ask(host, START, 0))
        return host_lost(host, err);
    int rc = receive(host, &answer, &got, err);
    if (rc)
        return rc;
    if (answer.pid <= 0 || got < 0) {
        cleanup_fd(&got);
        return fail(err, E_TOKEN, "%s", answer.why);
    }
    *fd = got;
    *pid = (pid_t)answer.pid;
    return OK;
}

void token_host_end(struct token_host *host, pid_t pid, bool at_once)
{
    (void)ask(host, at_once ? KILL : END, pid);
}

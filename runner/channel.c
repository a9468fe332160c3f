#include "runner/channel.h"

#include "base/cleanup.h"
#include "runner/report.h"

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

int channel_open(int *parent_end, int *child_end, struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return fail_sys(err, errno, "make a socket pair for the container");
    *parent_end = pair[0];
    *child_end = pair[1];
    return OK;
}

union fd_space {
    struct cmsghdr header; /* alignment */
    char bytes[CMSG_SPACE(CHANNEL_MAX_FDS * sizeof(int))];
};

int channel_send(int sock, const struct channel_message *m, const int *fds, size_t n_fds,
                 struct error *err)
{
    struct channel_message copy = *m;
    struct iovec part = {&copy, sizeof copy};
    union fd_space space;
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (n_fds > CHANNEL_MAX_FDS)
        return fail(err, E_LIMIT, "more than %d descriptors for the container", CHANNEL_MAX_FDS);
    if (n_fds) {
        memset(&space, 0, sizeof space);
        header.msg_control = &space;
        header.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(sock, &header, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return fail_sys(err, errno, "talk to the container's set-up process");
    return OK;
}

/* Moves the descriptors of a received header out; more than `max` or a second set are closed. */
static size_t take_fds(struct msghdr *header, int *fds, size_t max)
{
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (n < max)
                fds[n++] = fd;
            else
                cleanup_fd(&fd);
        }
    }
    return n;
}

static int exec_failed(const void *packet, struct error *err)
{
    struct report_exec_failed report;
    memcpy(&report, packet, sizeof report);
    if (report.magic != REPORT_MAGIC || report.sys <= 0 || report.sys > 4095)
        return fail(err, E_INTERNAL, "an unknown report from the container's init");
    switch (report.sys) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
        fail_sys(err, report.sys, "execute it");
        if (err)
            err->code = E_NO_COMMAND;
        return E_NO_COMMAND;
    case EACCES:
    case EPERM:
    case ENOEXEC:
    case EISDIR:
    case ETXTBSY:
    case EINVAL:
        fail_sys(err, report.sys, "execute it");
        if (err)
            err->code = E_NOT_EXECUTABLE;
        return E_NOT_EXECUTABLE;
    default:
        return fail_sys(err, report.sys, "execute it");
    }
}

/* E_INTERRUPTED at end of file: the peer is gone without a word. */
static int check_packet(ssize_t got, struct channel_message *m, enum channel_kind kind,
                        struct error *err)
{
    if (got < 0)
        return fail_sys(err, errno, "hear from the container's set-up process");
    if (got == 0)
        return fail(err, E_INTERRUPTED, "the container's set-up process ended without a word");
    if (got == (ssize_t)sizeof(struct report_exec_failed))
        return exec_failed(m, err);
    if (got != (ssize_t)sizeof *m)
        return fail(err, E_INTERNAL, "a message of wrong size from the container");
    m->text[sizeof m->text - 1] = '\0';
    if (m->kind == CHANNEL_FAILED && m->code < 0) {
        fail(err, m->code, "%s", m->text);
        if (err)
            err->sys = m->sys;
        return m->code;
    }
    if (m->kind != kind)
        return fail(err, E_INTERNAL, "message %u from the container where %d was due", m->kind,
                    (int)kind);
    return OK;
}

int channel_receive(int sock, enum channel_kind kind, struct channel_message *m, int *fds,
                    size_t n_fds, struct error *err)
{
    struct channel_message in = {0};
    struct iovec part = {&in, sizeof in};
    union fd_space space;
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = sizeof space};
    int got_fds[CHANNEL_MAX_FDS];
    ssize_t got;
    /* A peer that ended with our messages unread leaves one ECONNRESET in front of its own. */
    bool reset = false;
    do {
        got = recvmsg(sock, &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && (errno == EINTR || (errno == ECONNRESET && !reset && (reset = true))));
    size_t n = got < 0 ? 0 : take_fds(&header, got_fds, CHANNEL_MAX_FDS);
    int rc = check_packet(got, &in, kind, err);
    if (!rc && n != n_fds)
        rc = fail(err, E_INTERNAL, "%zu descriptors instead of %zu with message %d", n, n_fds,
                  (int)kind);
    if (rc) {
        for (size_t i = 0; i < n; i++)
            cleanup_fd(&got_fds[i]);
        return rc;
    }
    if (n)
        memcpy(fds, got_fds, n * sizeof *fds);
    *m = in;
    return OK;
}

void channel_report(int sock, const struct error *err)
{
    struct channel_message m = {.kind = CHANNEL_FAILED, .code = err->code, .sys = err->sys};
    memcpy(m.text, err->message, sizeof m.text);
    /* Nobody is left to hear of a failure to report. */
    int rc = channel_send(sock, &m, NULL, 0, NULL);
    (void)rc;
}

#include "keys/secret_prompt.h"

#include "base/file.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>

/* Everything the terminal was changed for, to be undone. */
struct quiet_terminal {
    int fd;
    int signals; /* signalfd: readable when a signal waits */
    struct termios before;
    sigset_t mask_before;
};

/* Signals wait while the echo is off, instead of being handled: no handler, no global state, and
 * the default action happens after the terminal is restored. */
static void hold_signals(sigset_t *held)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGPIPE};
    (void)sigemptyset(held);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++)
        (void)sigaddset(held, ending[i]);
}

static int quiet_begin(struct quiet_terminal *t, struct error *err)
{
    sigset_t ending, held;
    hold_signals(&ending);
    held = ending;
    /* Ctrl-Z waits too, but does not end the question. */
    (void)sigaddset(&held, SIGTSTP);
    t->fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (t->fd < 0)
        return fail(err, E_PASSPHRASE,
                    "no terminal to ask on; an option that names a file gives it, or "
                    "--password-stdin: see --help");
    if (tcgetattr(t->fd, &t->before))
        return fail_sys(err, errno, "read the terminal's settings");
    t->signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
    if (t->signals < 0)
        return fail_sys(err, errno, "watch for signals");
    if (pthread_sigmask(SIG_BLOCK, &held, &t->mask_before))
        return fail(err, E_INTERNAL, "signals could not be held back");
    struct termios quiet = t->before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    quiet.c_lflag |= ICANON | ISIG;
    if (tcsetattr(t->fd, TCSAFLUSH, &quiet)) {
        int why = errno;
        (void)pthread_sigmask(SIG_SETMASK, &t->mask_before, NULL);
        return fail_sys(err, why, "turn the terminal's echo off");
    }
    return OK;
}

static void quiet_end(struct quiet_terminal *t)
{
    (void)tcsetattr(t->fd, TCSAFLUSH, &t->before);
    struct error ignored = ERROR_INIT;
    /* The person's own newline was not echoed. */
    (void)!file_write_fd(t->fd, "\n", 1, &ignored);
    (void)pthread_sigmask(SIG_SETMASK, &t->mask_before, NULL);
}

static int wait_for_input(const struct quiet_terminal *t, struct error *err)
{
    struct pollfd both[] = {{t->fd, POLLIN, 0}, {t->signals, POLLIN, 0}};
    while (poll(both, 2, -1) < 0)
        if (errno != EINTR)
            return fail_sys(err, errno, "wait for the terminal");
    return both[1].revents ? fail(err, E_INTERRUPTED, "interrupted") : OK;
}

static int read_line(const struct quiet_terminal *t, struct secret *line, size_t *len,
                     struct error *err)
{
    size_t used = 0;
    for (;;) {
        int rc = wait_for_input(t, err);
        if (rc)
            return rc;
        ssize_t n = read(t->fd, line->data + used, line->len - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "read from the terminal");
        if (n == 0)
            return fail(err, E_PASSPHRASE, "nothing was typed");
        used += (size_t)n;
        if (line->data[used - 1] == '\n') {
            *len = used - 1;
            return OK;
        }
        if (used == line->len)
            return fail(err, E_LIMIT, "more than %d bytes were typed", SECRET_MAX);
    }
}

int secret_prompt(const char *prompt, struct secret *out, struct error *err)
{
    struct quiet_terminal t = {.fd = -1, .signals = -1};
    CLEANUP(secret_done) struct secret line = SECRET_INIT;
    size_t len = 0;
    int rc = secret_new(SECRET_MAX, &line, err);
    if (rc)
        return rc;
    rc = quiet_begin(&t, err);
    if (!rc) {
        char question[320];
        (void)snprintf(question, sizeof question, "%s: ", prompt);
        rc = file_write_fd(t.fd, question, strlen(question), err);
        if (!rc)
            rc = read_line(&t, &line, &len, err);
        quiet_end(&t);
    }
    cleanup_fd(&t.signals);
    cleanup_fd(&t.fd);
    if (rc)
        return wrap(err, rc, "%s", prompt);
    return secret_copy(line.data, len, out, err);
}

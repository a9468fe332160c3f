#include "client/helper.h"

#include "base/clock.h"
#include "base/json.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PREFIX       "docker-credential-"
#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"
#define WORDS_MAX    4096
#define POLL_MS      20

bool helper_name_valid(const char *name)
{
    size_t len = strnlen(name, HELPER_NAME_MAX + 1);
    if (len == 0 || len > HELPER_NAME_MAX || *name == '-' || *name == '.')
        return false;
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              strchr("_-.", *p)))
            return false;
    return true;
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

int helper_find(const char *name, const char *path, char **out, struct error *err)
{
    if (!helper_name_valid(name))
        return fail(err, E_USAGE, "'%.80s' is no name of a credential helper", name);
    while (*path) {
        size_t len = strcspn(path, ":");
        /* "" and "." mean the current folder: whoever made it would get the password. */
        if (len && *path == '/') {
            CLEANUP(cleanup_free)
            char *program = text_format("%.*s/" PREFIX "%s", (int)len, path, name);
            if (!program)
                return fail_nomem(err);
            if (is_program(program)) {
                *out = TAKE_PTR(program);
                return OK;
            }
        }
        path += len + (path[len] == ':');
    }
    return fail(err, E_NOTFOUND,
                "the credential helper '" PREFIX "%s' is not installed (in an absolute folder of "
                "PATH)",
                name);
}

/* --- running --- */

struct child {
    pid_t pid;
    int in, out, err; /* our ends */
};

static void child_done(struct child *c)
{
    cleanup_fd(&c->in);
    cleanup_fd(&c->out);
    cleanup_fd(&c->err);
    if (c->pid > 0) {
        (void)kill(c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    c->pid = 0;
}

/* In the child, between fork and exec: async-signal-safe calls only. */
static void become(const struct helper_run *run, int in, int out, int error)
{
    char *const argv[] = {(char *)(uintptr_t)run->program, (char *)(uintptr_t)run->verb, NULL};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(error, 2) == 2) /* others are CLOEXEC */
        (void)execv(run->program, argv);
    _exit(127);
}

static int start(const struct helper_run *run, struct child *c, struct error *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, error[2] = {-1, -1};
    /* A socket for its input: writing to a helper that has ended must not raise SIGPIPE. */
    bool good = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) == 0 &&
                pipe2(out, O_CLOEXEC) == 0 && pipe2(error, O_CLOEXEC) == 0;
    pid_t pid = good ? fork() : -1;
    if (pid == 0)
        become(run, in[1], out[1], error[1]);
    int why = errno;
    cleanup_fd(&in[1]);
    cleanup_fd(&out[1]);
    cleanup_fd(&error[1]);
    *c = (struct child){.pid = pid, .in = in[0], .out = out[0], .err = error[0]};
    return pid > 0 ? OK : fail_sys(err, why, "start '%s'", run->program);
}

static int feed(struct child *c, struct helper_run *run, struct error *err)
{
    ssize_t n = send(c->in, run->input, run->input_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return OK;
    if (n < 0 && errno != EPIPE && errno != ECONNRESET)
        return fail_sys(err, errno, "write to '%s'", run->program);
    run->input = (const char *)run->input + (n > 0 ? n : 0);
    run->input_len = n > 0 ? run->input_len - (size_t)n : 0; /* gone: its status will tell */
    if (!run->input_len)
        cleanup_fd(&c->in);
    return OK;
}

/* Beyond max: an error for its output, silence for its words. */
static int take(int *fd, struct bytes *to, size_t max, bool must_fit, struct error *err)
{
    char block[4096];
    ssize_t n = read(*fd, block, sizeof block);
    int rc = OK;
    if (n < 0 && errno == EINTR)
        return OK;
    if (n <= 0) {
        cleanup_fd(fd);
        return OK;
    }
    size_t room = max - to->len, len = (size_t)n;
    if (len > room && must_fit)
        rc = fail(err, E_LIMIT, "it printed more than %zu bytes", max);
    if (!rc)
        rc = bytes_append(to, block, len < room ? len : room, err);
    explicit_bzero(block, sizeof block);
    return rc;
}

/* Until its output ends. */
static int converse(struct child *c, struct helper_run *run, int64_t until_ms, struct error *err)
{
    int rc = OK;
    if (!run->input_len)
        cleanup_fd(&c->in);
    while (!rc && c->out >= 0) {
        struct pollfd fds[3] = {{.fd = c->in, .events = POLLOUT},
                                {.fd = c->out, .events = POLLIN},
                                {.fd = c->err, .events = POLLIN}};
        int64_t left = until_ms - clock_monotonic_ms();
        if (left <= 0)
            return fail(err, E_BUSY, "it did not answer within %d s", run->time_ms / 1000);
        int n = poll(fds, 3, (int)(left < 1000 ? left : 1000));
        if (n < 0 && errno != EINTR)
            return fail_sys(err, errno, "wait for '%s'", run->program);
        if (n > 0 && fds[0].revents)
            rc = feed(c, run, err);
        if (n > 0 && !rc && fds[1].revents)
            rc = take(&c->out, run->out, HELPER_OUTPUT_MAX, true, err);
        if (n > 0 && !rc && fds[2].revents)
            rc = take(&c->err, run->words, WORDS_MAX, false, err);
    }
    return rc;
}

static int reap(struct child *c, struct helper_run *run, int64_t until_ms, struct error *err)
{
    int status = 0;
    for (;;) {
        pid_t pid = waitpid(c->pid, &status, WNOHANG);
        if (pid == c->pid)
            break;
        if (pid < 0 && errno != EINTR)
            return fail_sys(err, errno, "wait for '%s'", run->program);
        if (clock_monotonic_ms() > until_ms)
            return fail(err, E_BUSY, "it did not end within %d s", run->time_ms / 1000);
        struct pollfd words = {.fd = c->err, .events = POLLIN};
        if (poll(&words, 1, POLL_MS) > 0 && take(&c->err, run->words, WORDS_MAX, false, NULL))
            cleanup_fd(&c->err);
    }
    c->pid = 0;
    run->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    struct pollfd words = {.fd = c->err, .events = POLLIN};
    while (c->err >= 0 && poll(&words, 1, 0) > 0 && run->words->len < WORDS_MAX)
        if (take(&c->err, run->words, WORDS_MAX, false, NULL))
            break;
    return OK;
}

int helper_run(struct helper_run *run, struct error *err)
{
    CLEANUP(child_done) struct child c = {.pid = 0, .in = -1, .out = -1, .err = -1};
    int64_t until_ms = clock_monotonic_ms() + run->time_ms;
    /* All room at once: buffers that grow leave copies of secrets behind. */
    int rc = bytes_reserve(run->out, HELPER_OUTPUT_MAX, err);
    if (!rc)
        rc = start(run, &c, err);
    if (!rc)
        rc = converse(&c, run, until_ms, err);
    return rc ? rc : reap(&c, run, until_ms, err);
}

/* --- the protocol --- */

#define NOT_FOUND "credentials not found in native keychain"

/* Its first line, on standard error or, as docker's own helpers do it, on standard output; but
 * nothing that looks like an answer, which holds a secret. */
static const char *its_words(const struct bytes *out, struct bytes *words)
{
    const char *text = bytes_text(words);
    if (!*text && !strchr(bytes_text(out), '{'))
        text = bytes_text(out);
    return *text ? text : "it says nothing";
}

static int ask(const char *name, const char *verb, const struct bytes *input, struct bytes *out,
               bool *found, struct error *err)
{
    CLEANUP(cleanup_free) char *program = NULL;
    CLEANUP(auth_wipe) struct bytes words = BYTES_INIT;
    const char *path = secure_getenv("PATH");
    int rc = helper_find(name, path ? path : DEFAULT_PATH, &program, err);
    if (rc)
        return rc;
    struct helper_run run = {.program = program,
                             .verb = verb,
                             .input = input->data,
                             .input_len = input->len,
                             .time_ms = HELPER_TIME_MS,
                             .out = out,
                             .words = &words};
    rc = helper_run(&run, err);
    *found = !rc && run.status == 0;
    if (!rc && run.status != 0 && !strstr(bytes_text(out), NOT_FOUND) &&
        !strstr(bytes_text(&words), NOT_FOUND)) {
        const char *said = its_words(out, &words);
        rc = fail(err, E_SYS, "it failed with status %d: %.*s", run.status,
                  (int)strcspn(said, "\r\n") < 200 ? (int)strcspn(said, "\r\n") : 200, said);
    }
    return wrap(err, rc, "credential helper '%s'", name);
}

static int parse_answer(const struct bytes *answer, struct credentials *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = NULL;
    CLEANUP(credentials_done) struct credentials c = CREDENTIALS_INIT;
    const char *user = NULL, *secret = NULL;
    if (js_parse_lax(answer->data, answer->len, &root, NULL))
        return fail(err, E_INVALID, "its answer is no JSON");
    int rc = js_want_text(root, "Username", &user, err);
    if (!rc)
        rc = js_want_text(root, "Secret", &secret, err);
    if (rc)
        return rc;
    if (strlen(secret) > AUTH_PASSWORD_MAX)
        return fail(err, E_LIMIT, "its secret is longer than %u bytes", AUTH_PASSWORD_MAX);
    if (strcmp(user, "<token>") == 0) {
        c.identity = strdup(secret);
    } else {
        c.user = strdup(user);
        c.password = strdup(secret);
    }
    if (!c.identity && (!c.user || !c.password))
        return fail_nomem(err);
    *out = c;
    c = (struct credentials)CREDENTIALS_INIT;
    return OK;
}

int helper_get(const char *name, const char *host, struct credentials *out, struct error *err)
{
    CLEANUP(auth_wipe) struct bytes answer = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes input = BYTES_INIT;
    bool found = false;
    int rc = bytes_append_text(&input, host, err);
    if (!rc)
        rc = ask(name, "get", &input, &answer, &found, err);
    if (!rc && found)
        rc = wrap(err, parse_answer(&answer, out, err), "credential helper '%s'", name);
    return rc;
}

int helper_store(const char *name, const char *host, const char *user, const char *password,
                 struct error *err)
{
    CLEANUP(auth_wipe) struct bytes answer = BYTES_INIT;
    CLEANUP(auth_wipe) struct bytes input = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    bool found = false;
    int rc = o ? js_set(o, "ServerURL", js_text_new(host), err) : fail_nomem(err);
    if (!rc)
        rc = js_set(o, "Username", js_text_new(user), err);
    if (!rc)
        rc = js_set(o, "Secret", js_text_new(password), err);
    if (!rc)
        rc = bytes_reserve(&input, HELPER_OUTPUT_MAX, err);
    if (!rc)
        rc = js_write(o, false, &input, err);
    return rc ? rc : ask(name, "store", &input, &answer, &found, err);
}

int helper_erase(const char *name, const char *host, struct error *err)
{
    CLEANUP(auth_wipe) struct bytes answer = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes input = BYTES_INIT;
    bool found = false;
    int rc = bytes_append_text(&input, host, err);
    return rc ? rc : ask(name, "erase", &input, &answer, &found, err);
}

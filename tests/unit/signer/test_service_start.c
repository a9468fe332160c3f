/*
 * The whole program: start, confinement, the ways it ends, and what it says when it cannot start.
 */
#include "base/file.h"
#include "signer/service_start.h"
#include "tests/unit/signer/service_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct program {
    struct scratch *dir;
    pid_t pid;
    pid_t other; /* one more, perhaps no child of ours; ended where a test fails before it does */
    int out;     /* its standard output */
    struct bytes errors;
};

static const char config_text[] = "dataDir: data\n"
                                  "signer:\n"
                                  "  socket: run/s.sock\n"
                                  "  dataDir: signer\n"
                                  "  passphraseFile: passphrase\n";

static void write_config(struct program *p, const char *more)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    toy_ok(bytes_append_format(&text, err, "%s%s", config_text, more));
    scratch_write(p->dir, "registry.yaml", text.data, text.len);
}

static void write_passphrase(struct program *p, const char *text, mode_t mode)
{
    scratch_write_text(p->dir, "passphrase", text);
    assert_int_equal(chmod(scratch_name(p->dir, "passphrase"), mode), 0);
}

static int program_setup(void **state)
{
    struct program *p = calloc(1, sizeof *p);
    void *dir = NULL;
    assert_non_null(p);
    scratch_setup(&dir);
    p->dir = dir;
    p->out = -1;
    write_config(p, "");
    write_passphrase(p, FX_PASSPHRASE "\n", 0600);
    *state = p;
    return 0;
}

static int program_teardown(void **state)
{
    struct program *p = *state;
    void *dir = p->dir;
    if (p->pid > 0) {
        (void)kill(p->pid, SIGKILL);
        (void)waitpid(p->pid, NULL, 0);
    }
    if (p->other > 0) {
        (void)kill(p->other, SIGKILL);
        (void)waitpid(p->other, NULL, 0);
    }
    cleanup_fd(&p->out);
    bytes_done(&p->errors);
    free(p);
    return scratch_teardown(&dir);
}

/* Starts bulla-signer with these arguments; standard error goes to a file. */
static void program_run(struct program *p, const char *const *args)
{
    char *argv[8] = {(char[]){"bulla-signer"}};
    int out[2];
    for (size_t i = 0; args[i]; i++)
        argv[i + 1] = strdup(args[i]);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        int log = open(scratch_name(p->dir, "log"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (dup2(out[1], 1) < 0 || dup2(log, 2) < 0)
            _exit(90);
        (void)execv(TEST_BIN "/bulla-signer", argv);
        _exit(91);
    }
    for (size_t i = 1; argv[i]; i++)
        free(argv[i]);
    close(out[1]);
    cleanup_fd(&p->out);
    p->out = out[0];
}

static void program_serve(struct program *p)
{
    const char *const args[] = {"serve", "--config", scratch_name(p->dir, "registry.yaml"), NULL};
    program_run(p, args);
}

/* What it wrote to standard output until it closed it or paused for long. */
static const char *program_says(struct program *p)
{
    static char text[4096];
    struct pollfd ready = {.fd = p->out, .events = POLLIN};
    ssize_t n = poll(&ready, 1, 20000) == 1 ? read(p->out, text, sizeof text - 1) : -1;
    text[n > 0 ? n : 0] = 0;
    return text;
}

static int program_wait(struct program *p)
{
    int status = 0;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static const char *program_errors(struct program *p)
{
    bytes_clear(&p->errors);
    toy_ok(file_read(p->dir->fd, "log", 1u << 20, &p->errors, err));
    return bytes_text(&p->errors);
}

/* One line that holds `part`, and this status. */
static void assert_ends(struct program *p, int status, const char *part)
{
    assert_int_equal(program_wait(p), status);
    const char *errors = program_errors(p);
    if (!strstr(errors, part))
        fail_msg("'%s' is not in: %s", part, errors);
    const char *newline = strchr(errors, '\n');
    assert_non_null(newline);
    assert_int_equal(newline[1], 0);
}

static void assert_serving(struct program *p)
{
    CLEANUP(cleanup_free) char *line = text_format("listening on %s/run/s.sock\n", p->dir->path);
    assert_string_equal(program_says(p), line);
}

static int ask(struct program *p, struct bytes *json, struct error *err)
{
    struct signer_link *link = NULL;
    int rc = signer_link_new(scratch_name(p->dir, "run/s.sock"), &link, err);
    if (!rc)
        rc = signer_link_key(link, FX_COLLECTION, TUF_SNAPSHOT, json, err);
    signer_link_free(link);
    return rc;
}

static bool status_has(pid_t pid, const char *line)
{
    CLEANUP(cleanup_free) char *name = text_format("/proc/%d/status", (int)pid);
    char text[8192];
    CLEANUP(cleanup_fd) int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    text[n > 0 ? n : 0] = 0;
    return strstr(text, line) != NULL;
}

/* --- living and ending --- */

static void serves_confined_and_ends(void **state)
{
    struct program *p = *state;
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes again = BYTES_INIT;
    struct stat st;
    program_serve(p);
    assert_serving(p);
    assert_true(status_has(p->pid, "NoNewPrivs:\t1\n"));
    assert_true(status_has(p->pid, "Seccomp:\t2\n"));
    toy_ok(ask(p, &json, err)); /* makes keys and writes the database, all of it confined */
    assert_int_equal(stat(scratch_name(p->dir, "signer/signer.db"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(kill(p->pid, SIGTERM), 0);
    assert_int_equal(program_wait(p), 0);
    assert_null(strstr(program_errors(p), FX_PASSPHRASE));
    program_serve(p);
    assert_serving(p);
    toy_ok(ask(p, &again, err));
    assert_string_equal(bytes_text(&json), bytes_text(&again));
}

static void second_one_is_refused(void **state)
{
    struct program *p = *state;
    write_config(p, "log:\n  level: error\n"); /* both write into one file */
    program_serve(p);
    assert_serving(p);
    p->other = p->pid;
    program_serve(p);
    assert_ends(p, EXIT_COULD_NOT, "another signing service");
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    toy_ok(ask(p, &json, err));
}

/* The registry in between dies without a word. */
static void ends_with_its_parent(void **state)
{
    struct program *p = *state;
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        CLEANUP(cleanup_free) char *number = text_format("%d", (int)getpid());
        const char *const args[] = {"serve",    "--config", scratch_name(p->dir, "registry.yaml"),
                                    "--parent", number,     NULL};
        program_run(p, args);
        const char *line = program_says(p);
        (void)!write(out[1], &p->pid, sizeof p->pid);
        (void)!write(out[1], line, strlen(line));
        pause();
        _exit(0);
    }
    close(out[1]);
    p->out = out[0];
    assert_int_equal(read(p->out, &p->other, sizeof p->other), (ssize_t)sizeof p->other);
    assert_serving(p);
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    toy_ok(ask(p, &json, err));
    assert_int_equal(kill(parent, SIGKILL), 0);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    int rc = OK;
    for (int i = 0; i < 100 && rc == OK; i++) {
        struct error err_ = ERROR_INIT;
        usleep(50000);
        rc = ask(p, &json, &err_);
    }
    assert_int_equal(rc, E_NETWORK);
    p->other = 0;
}

static void dead_parent_is_noticed(void **state)
{
    struct program *p = *state;
    const char *const args[] = {"serve",    "--config", scratch_name(p->dir, "registry.yaml"),
                                "--parent", "1",        NULL};
    if (getpid() == 1)
        skip();
    program_run(p, args);
    assert_ends(p, EXIT_COULD_NOT, "parent process has ended");
}

/* As root: another account for the signer, and a third for the registry. */
static void gives_up_root(void **state)
{
    struct program *p = *state;
    struct stat st;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(p->dir->path, 0755), 0);
    write_config(p, "  user: nobody\nuser: daemon\n");
    program_serve(p);
    assert_serving(p);
    assert_true(status_has(p->pid, "Uid:\t65534\t65534\t65534\t65534\n"));
    assert_int_equal(lstat(scratch_name(p->dir, "run/s.sock"), &st), 0);
    assert_int_equal(st.st_uid, 1); /* daemon: may connect; nobody else but root may */
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(scratch_name(p->dir, "signer/signer.db"), &st), 0);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(stat(scratch_name(p->dir, "signer/lock"), &st), 0);
    assert_int_equal(st.st_uid, 65534);
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    toy_ok(ask(p, &json, err));
    assert_int_equal(kill(p->pid, SIGTERM), 0);
    assert_int_equal(program_wait(p), 0);
    program_serve(p); /* and again over what it left behind */
    assert_serving(p);
}

/* Dumpable as any program before service_start: only what that does is seen. */
static int start_as_nobody(struct program *p, int out)
{
    struct error err = ERROR_INIT;
    CLEANUP(server_config_done) struct server_config config = {0};
    if (dup2(out, 1) < 0 || setgid(65534) || setuid(65534) || prctl(PR_SET_DUMPABLE, 1))
        return 90;
    int rc = server_config_load(scratch_name(p->dir, "registry.yaml"), &config, &err);
    const struct service_start start = {.config = &config};
    return rc || service_start(&start, &err);
}

static void cannot_be_dumped(void **state)
{
    struct program *p = *state;
    struct stat st;
    int out[2];
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(p->dir->path, 65534, 65534), 0);
    assert_int_equal(chown(scratch_name(p->dir, "passphrase"), 65534, 65534), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0)
        _exit(start_as_nobody(p, out[1]));
    close(out[1]);
    p->out = out[0];
    assert_serving(p);
    /* The kernel gives the files in /proc of what may not be dumped to root. Source: proc(5). */
    CLEANUP(cleanup_free) char *name = text_format("/proc/%d/environ", (int)p->pid);
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_uid, 0);
}

/* --- not starting --- */

static void open_passphrase_file(void **state)
{
    struct program *p = *state;
    static const mode_t modes[] = {0644, 0640, 0604};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        write_passphrase(p, FX_PASSPHRASE "\n", modes[i]);
        program_serve(p);
        assert_ends(p, EXIT_COULD_NOT, "passphrase");
    }
}

static void wrong_passphrase_file(void **state)
{
    struct program *p = *state;
    program_serve(p);
    assert_serving(p);
    assert_int_equal(kill(p->pid, SIGTERM), 0);
    assert_int_equal(program_wait(p), 0);
    write_passphrase(p, "something else\n", 0600);
    program_serve(p);
    assert_int_equal(program_wait(p), EXIT_COULD_NOT);
    assert_non_null(strstr(program_errors(p), "passphrase file"));
    assert_null(strstr(program_errors(p), "something else"));
    assert_string_equal(program_says(p), "");
    assert_int_equal(unlink(scratch_name(p->dir, "passphrase")), 0);
    program_serve(p);
    assert_ends(p, EXIT_COULD_NOT, "passphrase");
}

static void words_are_checked(void **state)
{
    struct program *p = *state;
    static const struct {
        const char *args[6];
        const char *part;
    } cases[] = {
        {{NULL}, "--help"},
        {{"serv", NULL}, "serv"},
        {{"--what", NULL}, "--what"},
        {{"serve", NULL}, "--config"},
        {{"serve", "--config", NULL}, "needs a value"},
        {{"serve", "--confg", "x", NULL}, "--confg"},
        {{"serve", "--config", "x", "--config", "y", NULL}, "twice"},
        {{"serve", "--config", "x", "--parent", "-4", NULL}, "-4"},
        {{"serve", "--config", "x", "more", NULL}, "more"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        program_run(p, cases[i].args);
        assert_ends(p, EXIT_USAGE, cases[i].part);
    }
    static const char *const help[] = {"--help", NULL};
    program_run(p, help);
    assert_non_null(strstr(program_says(p), "usage: bulla-signer serve"));
    assert_int_equal(program_wait(p), 0);
    assert_string_equal(program_errors(p), "");
}

static void bad_configuration(void **state)
{
    struct program *p = *state;
    write_config(p, "  lifetime: 3h\n");
    program_serve(p);
    assert_int_equal(program_wait(p), error_exit_status(E_INVALID));
    assert_non_null(strstr(program_errors(p), "line 6"));
    assert_int_equal(unlink(scratch_name(p->dir, "registry.yaml")), 0);
    program_serve(p);
    assert_ends(p, EXIT_COULD_NOT, "registry.yaml");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, program_setup, program_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(serves_confined_and_ends), CASE(second_one_is_refused), CASE(ends_with_its_parent),
        CASE(dead_parent_is_noticed),   CASE(gives_up_root),         CASE(cannot_be_dumped),
        CASE(open_passphrase_file),     CASE(wrong_passphrase_file), CASE(words_are_checked),
        CASE(bad_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

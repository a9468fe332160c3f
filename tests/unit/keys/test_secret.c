/* Locked memory, secret files, and questions on a terminal (a real pseudo-terminal). */
#include "base/file.h"
#include "keys/secret.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include <cmocka.h>

static void memory(void **state)
{
    (void)state;
    struct secret s = SECRET_INIT;
    assert_int_equal(secret_new(SECRET_MAX + 1, &s, NULL), E_LIMIT);
    assert_null(s.data);
    assert_int_equal(secret_new(SECRET_MAX, &s, NULL), OK);
    for (size_t i = 0; i <= s.len; i++)
        assert_int_equal(s.data[i], 0);
    secret_done(&s);
    assert_null(s.data);
    secret_done(&s);
    assert_int_equal(secret_copy(NULL, 0, &s, NULL), OK);
    assert_int_equal(s.len, 0);
    secret_done(&s);
    assert_int_equal(secret_copy("abc", 3, &s, NULL), OK);
    assert_memory_equal(s.data, "abc", 4);
    struct secret taken = secret_take(&s);
    assert_null(s.data);
    assert_int_equal(taken.len, 3);
    secret_done(&taken);
    char word[] = "word";
    secret_wipe(word, 4);
    assert_memory_equal(word, "\0\0\0\0", 5);
}

static int without_mlock(void *context)
{
    (void)context;
    struct rlimit none = {0, 0};
    struct secret s = SECRET_INIT;
    return setrlimit(RLIMIT_MEMLOCK, &none) || secret_copy("abc", 3, &s, NULL) ||
           memcmp(s.data, "abc", 4) != 0;
}

static void works_without_locked_memory(void **state)
{
    (void)state;
    assert_int_equal(scratch_child(without_mlock, NULL), 0);
}

static int overrun(void *context)
{
    (void)context;
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)signal(SIGSEGV, SIG_DFL); /* sanitizers catch it, too */
    struct secret s = SECRET_INIT;
    if (secret_new(8, &s, NULL))
        return 1;
    ((volatile uint8_t *)s.data)[9] = 1;
    return 0;
}

static void reading_past_the_end_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(scratch_child(overrun, NULL), 1000 + SIGSEGV);
}

/* --- files --- */

static int ask(const char *file, struct secret *out, struct error *err)
{
    struct secret_source source;
    secret_source_init(&source, file);
    return source.ask(&source, "passphrase for key 'alice'", false, out, err);
}

static void write_secret(const struct scratch *s, const char *text, size_t len, mode_t mode)
{
    scratch_write(s, "word", text, len);
    assert_int_equal(fchmodat(s->fd, "word", mode, 0), 0);
}

static void expect_word(const struct scratch *s, const char *text, size_t len, const char *want)
{
    CLEANUP(secret_done) struct secret got = SECRET_INIT;
    write_secret(s, text, len, 0600);
    assert_int_equal(ask(scratch_name(s, "word"), &got, NULL), OK);
    assert_int_equal(got.len, strlen(want));
    assert_string_equal((char *)got.data, want);
}

static void expect_failure(const struct scratch *s, int code)
{
    struct secret got = SECRET_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(ask(scratch_name(s, "word"), &got, &err), code);
    assert_null(got.data);
    assert_non_null(strstr(err.message, "passphrase for key 'alice': "));
    assert_null(strstr(err.message, "sesame"));
}

static void first_line_of_a_file(void **state)
{
    const struct scratch *s = *state;
    expect_word(s, "sesame", 6, "sesame");
    expect_word(s, "sesame\n", 7, "sesame");
    expect_word(s, "sesame\nsecond\n", 14, "sesame");
    expect_word(s, " se same \n", 10, " se same ");
    char line[SECRET_MAX + 1];
    memset(line, 'x', sizeof line);
    line[SECRET_MAX - 1] = '\n';
    CLEANUP(secret_done) struct secret got = SECRET_INIT;
    write_secret(s, line, sizeof line, 0400);
    assert_int_equal(ask(scratch_name(s, "word"), &got, NULL), OK);
    assert_int_equal(got.len, SECRET_MAX - 1);
}

static void unusable_files(void **state)
{
    const struct scratch *s = *state;
    expect_failure(s, E_PASSPHRASE); /* missing */
    static const mode_t open_modes[] = {0640, 0604, 0644, 0620, 0602, 0610, 0601, 0660, 0777};
    for (size_t i = 0; i < sizeof open_modes / sizeof open_modes[0]; i++) {
        write_secret(s, "sesame\n", 7, open_modes[i]);
        expect_failure(s, E_PASSPHRASE);
    }
    write_secret(s, "", 0, 0600);
    expect_failure(s, E_PASSPHRASE);
    write_secret(s, "\nsesame\n", 8, 0600);
    expect_failure(s, E_PASSPHRASE);
    write_secret(s, "ses\0ame\n", 8, 0600);
    expect_failure(s, E_PASSPHRASE);
    CLEANUP(cleanup_free) char *large = malloc(3 * SECRET_MAX);
    memset(large, 'x', 3 * SECRET_MAX);
    write_secret(s, large, 3 * SECRET_MAX, 0600);
    expect_failure(s, E_LIMIT);
    assert_int_equal(unlinkat(s->fd, "word", 0), 0);
    assert_int_equal(mkfifoat(s->fd, "word", 0600), 0);
    expect_failure(s, E_PASSPHRASE); /* and does not hang */
    assert_int_equal(unlinkat(s->fd, "word", 0), 0);
    assert_int_equal(mkdirat(s->fd, "word", 0700), 0);
    expect_failure(s, E_PASSPHRASE);
}

/* --- the terminal --- */

/* What the child does at its own pseudo-terminal, and the result it reports. */
struct session {
    bool confirm;
    int code;
    const char *word; /* expected */
};

static int child_asks(const struct session *session)
{
    struct secret_source source;
    CLEANUP(secret_done) struct secret got = SECRET_INIT;
    struct error err = ERROR_INIT;
    secret_source_init(&source, NULL);
    int rc = source.ask(&source, "word", session->confirm, &got, &err);
    if (rc != session->code)
        return 2;
    return rc == OK && strcmp((char *)got.data, session->word) != 0 ? 3 : 0;
}

/* Forks a child whose controlling terminal is a new pseudo-terminal; *master is the other end. */
static pid_t start_session(const struct session *session, int *master, int *slave)
{
    char name[64];
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(*master >= 0);
    assert_int_equal(grantpt(*master), 0);
    assert_int_equal(unlockpt(*master), 0);
    assert_int_equal(ptsname_r(*master, name, sizeof name), 0);
    *slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(*slave >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        /* A failed test must not leave a child behind that waits for ever. */
        (void)alarm(20);
        close(*master);
        if (setsid() < 0 || ioctl(*slave, TIOCSCTTY, 0))
            _exit(9);
        _exit(child_asks(session));
    }
    assert_true(pid > 0);
    return pid;
}

static bool echoes(int slave)
{
    struct termios t;
    assert_int_equal(tcgetattr(slave, &t), 0);
    return t.c_lflag & ECHO;
}

/* Everything the terminal shows until `text` was shown. Returns false after 5 s. */
static bool shown(int master, const char *text, char *seen, size_t size)
{
    size_t used = strlen(seen);
    while (!strstr(seen, text)) {
        struct pollfd wait = {master, POLLIN, 0};
        if (used + 1 >= size || poll(&wait, 1, 5000) <= 0)
            return false;
        ssize_t n = read(master, seen + used, size - used - 1);
        if (n <= 0)
            return false;
        used += (size_t)n;
        seen[used] = '\0';
    }
    return true;
}

static int end_of(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void type(int master, const char *text)
{
    assert_int_equal(write(master, text, strlen(text)), (ssize_t)strlen(text));
}

static void asks_without_echo(void **state)
{
    (void)state;
    struct session session = {.code = OK, .word = "sesame"};
    int master, slave;
    char seen[512] = "";
    pid_t pid = start_session(&session, &master, &slave);
    assert_true(shown(master, "word: ", seen, sizeof seen));
    assert_false(echoes(slave));
    type(master, "sesame\n");
    assert_int_equal(end_of(pid), 0);
    assert_true(echoes(slave));
    assert_true(shown(master, "\n", seen, sizeof seen));
    assert_null(strstr(seen, "sesame"));
    close(master);
    close(slave);
}

static void asks_twice_for_new_ones(void **state)
{
    (void)state;
    static const struct {
        struct session session;
        const char *typed[6];
    } cases[] = {
        {{true, OK, "one"}, {"one\n", "one\n"}},
        {{true, OK, "two"}, {"one\n", "other\n", "two\n", "two\n"}},
        {{true, E_PASSPHRASE, NULL}, {"a\n", "b\n", "c\n", "d\n", "e\n", "f\n"}},
        {{true, E_PASSPHRASE, NULL}, {"\n"}},
        {{true, E_PASSPHRASE, NULL}, {"\x04"}},
        {{false, E_PASSPHRASE, NULL}, {"\x04"}},
        {{false, OK, ""}, {"\n"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int master, slave;
        pid_t pid = start_session(&cases[i].session, &master, &slave);
        for (size_t j = 0; j < 6 && cases[i].typed[j]; j++) {
            char seen[512] = "";
            assert_true(shown(master, ": ", seen, sizeof seen));
            type(master, cases[i].typed[j]);
        }
        assert_int_equal(end_of(pid), 0);
        assert_true(echoes(slave));
        close(master);
        close(slave);
    }
}

static void interrupted_by(int (*how)(pid_t pid, int master), int want)
{
    struct session session = {.code = OK};
    int master, slave;
    char seen[512] = "";
    pid_t pid = start_session(&session, &master, &slave);
    assert_true(shown(master, "word: ", seen, sizeof seen));
    assert_false(echoes(slave));
    assert_int_equal(how(pid, master), 0);
    assert_int_equal(end_of(pid), want);
    /* The shell behind us would otherwise type blindly. */
    assert_true(echoes(slave));
    close(master);
    close(slave);
}

static int by_ctrl_c(pid_t pid, int master)
{
    (void)pid;
    return write(master, "\x03", 1) != 1;
}

static int by_sigterm(pid_t pid, int master)
{
    (void)master;
    return kill(pid, SIGTERM);
}

static int by_sighup(pid_t pid, int master)
{
    (void)master;
    return kill(pid, SIGHUP);
}

static void restores_the_terminal_on_signals(void **state)
{
    (void)state;
    interrupted_by(by_ctrl_c, 1000 + SIGINT);
    interrupted_by(by_sigterm, 1000 + SIGTERM);
    interrupted_by(by_sighup, 1000 + SIGHUP);
}

static int asks_nobody(void *context)
{
    struct error err = ERROR_INIT;
    struct secret got = SECRET_INIT;
    (void)context;
    if (setsid() < 0)
        return 9;
    return ask(NULL, &got, &err) == E_PASSPHRASE && strstr(err.message, "no terminal") ? 0 : 1;
}

static void needs_a_terminal_or_a_file(void **state)
{
    (void)state;
    assert_int_equal(scratch_child(asks_nobody, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory),
        cmocka_unit_test(works_without_locked_memory),
        cmocka_unit_test(reading_past_the_end_ends_the_process),
        cmocka_unit_test_setup_teardown(first_line_of_a_file, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(unusable_files, scratch_setup, scratch_teardown),
        cmocka_unit_test(asks_without_echo),
        cmocka_unit_test(asks_twice_for_new_ones),
        cmocka_unit_test(restores_the_terminal_on_signals),
        cmocka_unit_test(needs_a_terminal_or_a_file),
    };
    return cmocka_run_group_tests_name("keys: secret", tests, NULL, NULL);
}

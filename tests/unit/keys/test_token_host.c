/* Helpers that another process starts, as a confined server has it done. */
#include "keys/helper_process.h"
#include "keys/token_host.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char folder[64], slow[96];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/bulla-host.XXXXXX");
    assert_non_null(mkdtemp(folder));
    /* A helper that takes the question and never answers. */
    static const char script[] = "#!/bin/sh\nexec sleep 1000\n";
    (void)snprintf(slow, sizeof slow, "%s/slow", folder);
    CLEANUP(cleanup_fd) int fd = open(slow, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_true(fd >= 0);
    assert_int_equal(file_write_fd(fd, script, strlen(script), NULL), OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    token_helper_path_for_test(NULL);
    CLEANUP(cleanup_fd) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return path_remove_tree(tmp, folder + strlen("/tmp/"), NULL);
}

static struct token_host *start(const char *helper)
{
    const struct token_host_options options = {.become = NULL};
    struct token_host *host = NULL;
    token_helper_path_for_test(helper);
    assert_int_equal(token_host_start(&options, &host, NULL), OK);
    return host;
}

static pid_t first_child(pid_t of)
{
    char path[64], text[64] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)of, (int)of);
    CLEANUP(cleanup_file) FILE *f = fopen(path, "re");
    return f && fgets(text, sizeof text, f) ? (pid_t)strtol(text, NULL, 10) : 0;
}

static void await_no_child(pid_t of)
{
    for (int i = 0; i < 500 && first_child(of); i++)
        (void)usleep(10000);
    assert_int_equal(first_child(of), 0);
}

static void no_children_left(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* --- */

static void a_silent_helper_is_given_up_and_ended(void **state)
{
    (void)state;
    CLEANUP(token_host_cleanup) struct token_host *host = start(slow);
    const struct token_terms terms = {.module = "", .host = host, .patience_ms = 300};
    struct token_key *keys = NULL;
    struct error err = ERROR_INIT;
    size_t n = 0;
    int64_t before = clock_monotonic_ms();
    assert_int_equal(token_list_on(&terms, &keys, &n, &err), E_TOKEN);
    assert_true(clock_monotonic_ms() - before < 5000);
    assert_null(keys);
    await_no_child(first_child(getpid()));
}

static void what_cannot_be_started_is_said(void **state)
{
    (void)state;
    CLEANUP(token_host_cleanup) struct token_host *host = start("/nonexistent/helper");
    const struct token_terms terms = {.module = "", .host = host, .patience_ms = 300};
    struct token_key *keys = NULL;
    struct error err = ERROR_INIT;
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        err = (struct error)ERROR_INIT;
        assert_int_equal(token_list_on(&terms, &keys, &n, &err), E_TOKEN);
        assert_non_null(strstr(err.message, "/nonexistent/helper"));
    }
}

static void a_host_that_ended_is_said_and_nothing_hangs(void **state)
{
    (void)state;
    CLEANUP(token_host_cleanup) struct token_host *host = start(slow);
    const struct token_terms terms = {.module = "", .host = host, .patience_ms = 300};
    struct token_key *keys = NULL;
    size_t n = 0;
    assert_int_equal(kill(first_child(getpid()), SIGKILL), 0);
    for (int i = 0; i < 2; i++) {
        struct error err = ERROR_INIT;
        assert_int_equal(token_list_on(&terms, &keys, &n, &err), E_TOKEN);
        assert_non_null(strstr(err.message, "restart the service"));
    }
}

static int refuse(void *context, struct error *err)
{
    (void)context;
    return (fail)(err, E_SYS, "not who I wanted to be");
}

static void who_cannot_become_starts_nothing(void **state)
{
    (void)state;
    const struct token_host_options options = {.become = refuse};
    struct token_host *host = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(token_host_start(&options, &host, &err), E_SYS);
    assert_non_null(strstr(err.message, "not who I wanted to be"));
    assert_null(host);
    no_children_left();
}

/* No lock and no socket of the server outlives it there. */
static void the_host_keeps_nothing_open(void **state)
{
    (void)state;
    char path[64];
    int pair[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    struct token_host *host = start(slow);
    (void)close(pair[1]);
    char byte;
    assert_int_equal(read(pair[0], &byte, 1), 0); /* would wait for the other holder */
    (void)close(pair[0]);
    (void)snprintf(path, sizeof path, "/proc/%d/fd/4", (int)first_child(getpid()));
    assert_int_equal(faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW), -1);
    token_host_stop(host);
    no_children_left();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_helper_is_given_up_and_ended),
        cmocka_unit_test(what_cannot_be_started_is_said),
        cmocka_unit_test(a_host_that_ended_is_said_and_nothing_hangs),
        cmocka_unit_test(who_cannot_become_starts_nothing),
        cmocka_unit_test(the_host_keeps_nothing_open),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

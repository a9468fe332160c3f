#include "base/cleanup.h"
#include "runner/channel.h"
#include "runner/report.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

struct pair {
    int parent, child;
};

static int setup(void **state)
{
    static struct pair p;
    *state = &p;
    return channel_open(&p.parent, &p.child, NULL);
}

static int teardown(void **state)
{
    struct pair *p = *state;
    cleanup_fd(&p->parent);
    cleanup_fd(&p->child);
    return 0;
}

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void passes_messages_and_descriptors(void **state)
{
    struct pair *p = *state;
    struct channel_message m = {.kind = CHANNEL_USER, .a = 1, .b = 2}, got;
    int fds[3] = {open("/", O_PATH), open("/dev", O_PATH), open("/proc", O_PATH)}, in[3];
    assert_int_equal(channel_send(p->child, &m, NULL, 0, NULL), OK);
    assert_int_equal(channel_send(p->child, &m, fds, 3, NULL), OK);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, NULL, 0, NULL), OK);
    assert_int_equal(got.a, 1);
    assert_int_equal(got.b, 2);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, in, 3, NULL), OK);
    for (int i = 0; i < 3; i++) {
        struct stat a, b;
        assert_int_equal(fstat(fds[i], &a), 0);
        assert_int_equal(fstat(in[i], &b), 0);
        assert_int_equal(a.st_dev, b.st_dev);
        assert_int_equal(a.st_ino, b.st_ino);
        assert_true(fcntl(in[i], F_GETFD) & FD_CLOEXEC);
        cleanup_fd(&in[i]);
        cleanup_fd(&fds[i]);
    }
    assert_int_equal(channel_send(p->child, &m, fds, CHANNEL_MAX_FDS + 1, NULL), E_LIMIT);
}

static void wrong_messages_are_refused(void **state)
{
    struct pair *p = *state;
    struct channel_message m = {.kind = CHANNEL_USER}, got;
    int fd = open("/", O_PATH);
    int before = open_descriptors();
    int in[2];
    assert_int_equal(channel_send(p->child, &m, NULL, 0, NULL), OK);
    assert_int_equal(channel_receive(p->parent, CHANNEL_GO, &got, NULL, 0, NULL), E_INTERNAL);
    /* Descriptors that nobody asked for are closed, not kept. */
    assert_int_equal(channel_send(p->child, &m, &fd, 1, NULL), OK);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, NULL, 0, NULL), E_INTERNAL);
    assert_int_equal(channel_send(p->child, &m, &fd, 1, NULL), OK);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, in, 2, NULL), E_INTERNAL);
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(send(p->child, "short", 5, 0), 5);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, NULL, 0, NULL), E_INTERNAL);
    /* A failure that says it is none. */
    m = (struct channel_message){.kind = CHANNEL_FAILED, .code = 0};
    assert_int_equal(channel_send(p->child, &m, NULL, 0, NULL), OK);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, NULL, 0, NULL), E_INTERNAL);
    cleanup_fd(&fd);
}

static void failures_travel(void **state)
{
    struct pair *p = *state;
    struct error sent = ERROR_INIT, err = ERROR_INIT;
    struct channel_message got;
    fail_sys(&sent, EROFS, "mount '%s'", "/x");
    channel_report(p->child, &sent);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, NULL, 0, &err), E_SYS);
    assert_int_equal(err.sys, EROFS);
    assert_string_equal(err.message, sent.message);
    /* Text without an end, with a terminal escape. */
    struct channel_message m = {.kind = CHANNEL_FAILED, .code = E_INVALID};
    memset(m.text, 'x', sizeof m.text);
    m.text[0] = '\x1b';
    assert_int_equal(channel_send(p->child, &m, NULL, 0, NULL), OK);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, NULL, 0, &err), E_INVALID);
    assert_null(strchr(err.message, '\x1b'));
}

static void exec_reports(void **state)
{
    static const struct {
        int sys, code;
    } cases[] = {{ENOENT, E_NO_COMMAND},      {ENOTDIR, E_NO_COMMAND}, {EACCES, E_NOT_EXECUTABLE},
                 {ENOEXEC, E_NOT_EXECUTABLE}, {E2BIG, E_SYS},          {ENOMEM, E_NOMEM}};
    struct pair *p = *state;
    struct channel_message got;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct report_exec_failed report = {REPORT_MAGIC, cases[i].sys};
        assert_int_equal(send(p->child, &report, sizeof report, 0), sizeof report);
        assert_int_equal(channel_receive(p->parent, CHANNEL_FAILED, &got, NULL, 0, NULL),
                         cases[i].code);
    }
    struct report_exec_failed wrong[] = {
        {1, ENOENT}, {REPORT_MAGIC, 0}, {REPORT_MAGIC, -2}, {REPORT_MAGIC, 5000}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(send(p->child, &wrong[i], sizeof wrong[i], 0), sizeof wrong[i]);
        assert_int_equal(channel_receive(p->parent, CHANNEL_FAILED, &got, NULL, 0, NULL),
                         E_INTERNAL);
    }
}

static void a_peer_that_is_gone(void **state)
{
    struct pair *p = *state;
    struct channel_message m = {.kind = CHANNEL_GO}, got;
    struct error sent = ERROR_INIT, err = ERROR_INIT;
    /* It reports and ends without having read what we sent: the report is still heard. */
    assert_int_equal(channel_send(p->parent, &m, NULL, 0, NULL), OK);
    fail_sys(&sent, ENOENT, "no user");
    channel_report(p->child, &sent);
    cleanup_fd(&p->child);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, NULL, 0, &err), E_NOTFOUND);
    assert_int_equal(channel_receive(p->parent, CHANNEL_USER, &got, NULL, 0, &err), E_INTERRUPTED);
    assert_int_equal(channel_send(p->parent, &m, NULL, 0, &err), E_SYS);
    assert_int_equal(err.sys, EPIPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(passes_messages_and_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_messages_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_travel, setup, teardown),
        cmocka_unit_test_setup_teardown(exec_reports, setup, teardown),
        cmocka_unit_test_setup_teardown(a_peer_that_is_gone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

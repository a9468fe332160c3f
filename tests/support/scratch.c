#include "tests/support/scratch.h"

#include "base/path.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

int scratch_setup(void **state)
{
    struct scratch *s = calloc(1, sizeof *s);
    assert_non_null(s);
    strcpy(s->path, "/tmp/bulla-test-XXXXXX");
    assert_non_null(mkdtemp(s->path));
    s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(s->fd >= 0);
    *state = s;
    return 0;
}

int scratch_teardown(void **state)
{
    struct scratch *s = *state;
    struct error err = ERROR_INIT;
    cleanup_fd(&s->fd);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = path_remove_tree(tmp, s->path + strlen("/tmp/"), &err);
    cleanup_fd(&tmp);
    free(s);
    if (rc)
        (void)fprintf(stderr, "# %s\n", err.message);
    return rc;
}

const char *scratch_name(const struct scratch *s, const char *name)
{
    static char buffers[4][512];
    static unsigned turn;
    char *out = buffers[turn++ % 4];
    (void)snprintf(out, sizeof buffers[0], "%s/%s", s->path, name);
    return out;
}

void scratch_write(const struct scratch *s, const char *name, const void *data, size_t len)
{
    int fd = openat(s->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    assert_int_equal(close(fd), 0);
}

void scratch_write_text(const struct scratch *s, const char *name, const char *text)
{
    scratch_write(s, name, text, strlen(text));
}

int scratch_child(int (*body)(void *context), void *context)
{
    /* What is buffered must not be written twice. */
    assert_int_equal(fflush(NULL), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(body(context));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

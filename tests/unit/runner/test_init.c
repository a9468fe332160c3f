#include "runner/init.h"
#include "runner/run.h"
#include "tests/support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int teardown(void **state)
{
    run_use_init_for_test(NULL);
    return scratch_teardown(state);
}

static void is_sealed(void **state)
{
    const struct scratch *s = *state;
    struct stat st;
    int fd = -1;
    char content[16] = "";
    scratch_write_text(s, "init", "a program");
    run_use_init_for_test(scratch_name(s, "init"));
    assert_int_equal(init_prepare(&fd, NULL), OK);
    assert_int_equal(pread(fd, content, sizeof content, 0), 9);
    assert_string_equal(content, "a program");
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 1), -1);
    assert_int_equal(ftruncate(fd, 100), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
    assert_ptr_equal(mmap(NULL, 9, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    /* To be executed, not read. */
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0111);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void what_is_no_program(void **state)
{
    const struct scratch *s = *state;
    int fd = -1;
    run_use_init_for_test(scratch_name(s, "missing"));
    assert_int_equal(init_prepare(&fd, NULL), E_NOTFOUND);
    scratch_write_text(s, "empty", "");
    run_use_init_for_test(scratch_name(s, "empty"));
    assert_int_equal(init_prepare(&fd, NULL), E_INVALID);
    run_use_init_for_test(s->path);
    assert_int_equal(init_prepare(&fd, NULL), E_INVALID);
    assert_int_equal(fd, -1);
}

static void exit_statuses(void **state)
{
    (void)state;
    assert_int_equal(run_exit_status(E_NO_COMMAND), 127);
    assert_int_equal(run_exit_status(E_NOT_EXECUTABLE), 126);
    assert_int_equal(run_exit_status(E_SYS), 125);
    assert_int_equal(run_exit_status(E_POLICY), 125);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_sealed, scratch_setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_program, scratch_setup, teardown),
        cmocka_unit_test(exit_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

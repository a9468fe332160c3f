#include "base/clock.h"
#include "base/file.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static void reads_are_bounded(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    scratch_write_text(s, "f", "12345");
    assert_int_equal(bytes_append_text(&b, "<", &err), OK);
    assert_int_equal(file_read(s->fd, "f", 5, &b, &err), OK);
    assert_string_equal(bytes_text(&b), "<12345");
    assert_int_equal(file_read(s->fd, "f", 4, &b, &err), E_LIMIT);
    assert_string_equal(bytes_text(&b), "<12345");
    assert_int_equal(file_read(s->fd, "f", 0, &b, &err), E_LIMIT);
    scratch_write_text(s, "empty", "");
    assert_int_equal(file_read(s->fd, "empty", 0, &b, &err), OK);
    assert_int_equal(b.len, 6);
    CLEANUP(cleanup_free) char *large = malloc(200000);
    memset(large, 'x', 200000);
    scratch_write(s, "large", large, 200000);
    bytes_clear(&b);
    assert_int_equal(file_read(s->fd, "large", 199999, &b, &err), E_LIMIT);
    assert_int_equal(b.len, 0);
    assert_int_equal(file_read(s->fd, "large", 200000, &b, &err), OK);
    assert_int_equal(b.len, 200000);
    assert_memory_equal(b.data, large, b.len);
    bytes_clear(&b);
    assert_int_equal(file_read(s->fd, "large", SIZE_MAX, &b, &err), OK);
    assert_int_equal(file_read(s->fd, "none", 9, &b, &err), E_NOTFOUND);
}

static void other_things_than_files_are_refused(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    assert_int_equal(mkfifoat(s->fd, "fifo", 0600), 0);
    (void)alarm(10); /* a fifo without writer would hang forever */
    assert_int_equal(file_read(s->fd, "fifo", 9, &b, &err), E_INVALID);
    (void)alarm(0);
    assert_int_equal(file_read(s->fd, ".", 9, &b, &err), E_INVALID);
    assert_int_equal(file_read(AT_FDCWD, "/dev/zero", 9, &b, &err), E_INVALID);
    assert_int_equal(b.len, 0);
}

static unsigned count_entries(const struct scratch *s)
{
    CLEANUP(cleanup_dir) DIR *dir = opendir(s->path);
    unsigned n = 0;
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    return n;
}

static void files_are_replaced_and_made(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    mode_t before = umask(0077);
    assert_int_equal(file_write_atomic(s->fd, "f", "one", 3, 0644, &err), OK);
    assert_int_equal(file_write_atomic(s->fd, "f", "two!", 4, 0600, &err), OK);
    assert_int_equal(file_create_atomic(s->fd, "f", "three", 5, 0644, &err), E_EXISTS);
    assert_int_equal(file_create_atomic(s->fd, "g", "", 0, 0644, &err), OK);
    (void)umask(before);
    assert_int_equal(file_read(s->fd, "f", 99, &b, &err), OK);
    assert_string_equal(bytes_text(&b), "two!");
    struct stat st;
    assert_int_equal(fstatat(s->fd, "f", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(fstatat(s->fd, "g", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0644); /* whatever the umask */
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(count_entries(s), 2);
    /* A link is replaced, not written through. */
    scratch_write_text(s, "target", "kept");
    assert_int_equal(symlinkat("target", s->fd, "link"), 0);
    assert_int_equal(file_write_atomic(s->fd, "link", "new", 3, 0600, &err), OK);
    bytes_clear(&b);
    assert_int_equal(file_read(s->fd, "target", 99, &b, &err), OK);
    assert_string_equal(bytes_text(&b), "kept");
    assert_int_equal(symlinkat("nowhere", s->fd, "dangling"), 0);
    assert_int_equal(file_create_atomic(s->fd, "dangling", "x", 1, 0600, &err), E_EXISTS);
    /* Names in a folder below, and names that are none. */
    assert_int_equal(mkdirat(s->fd, "sub", 0700), 0);
    assert_int_equal(file_write_atomic(s->fd, "sub/f", "x", 1, 0600, &err), OK);
    assert_int_equal(file_write_atomic(s->fd, "none/f", "x", 1, 0600, &err), E_NOTFOUND);
    assert_int_not_equal(file_write_atomic(s->fd, "sub/", "x", 1, 0600, &err), OK);
    assert_int_not_equal(file_write_atomic(s->fd, "sub", "x", 1, 0600, &err), OK);
    assert_int_equal(count_entries(s), 6);
    char longest[256];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(file_write_atomic(s->fd, longest, "x", 1, 0600, &err), OK);
}

/* RLIMIT_FSIZE stands for the disk that fills up in the middle of a write. */
static int write_over_a_limit(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    (void)signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {1000, 1000};
    CLEANUP(cleanup_free) char *large = calloc(1, 5000);
    if (!large || setrlimit(RLIMIT_FSIZE, &small))
        return 1;
    int rc = file_write_atomic(s->fd, "f", large, 5000, 0600, &err);
    if (rc != E_SYS || err.sys != EFBIG)
        return 2;
    return file_create_atomic(s->fd, "g", large, 5000, 0600, &err) == E_SYS ? 0 : 3;
}

static void a_failed_write_changes_nothing(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    scratch_write_text(s, "f", "old");
    assert_int_equal(scratch_child(write_over_a_limit, *state), 0);
    assert_int_equal(file_read(s->fd, "f", 99, &b, &err), OK);
    assert_string_equal(bytes_text(&b), "old");
    assert_int_equal(count_entries(s), 1); /* no temporary file stays behind, no "g" */
}

enum { COULD_NOT_MOUNT = 77 };

static int mount_over(const struct scratch *s, unsigned long flags, const char *options)
{
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return -1;
    return mount("tmpfs", scratch_name(s, "disk"), "tmpfs", flags, options);
}

static int fill_a_disk(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    if (mount_over(s, 0, "size=64k"))
        return COULD_NOT_MOUNT;
    CLEANUP(cleanup_fd)
    int disk = open(scratch_name(s, "disk"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(cleanup_free) char *large = calloc(1, 100000);
    if (!large || file_write_atomic(disk, "f", "old", 3, 0600, &err))
        return 1;
    if (file_write_atomic(disk, "f", large, 100000, 0600, &err) != E_SYS || err.sys != ENOSPC)
        return 2;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    if (file_read(disk, "f", 99, &b, &err) || strcmp(bytes_text(&b), "old") != 0)
        return 3;
    /* The room is free again: nothing was left behind. */
    return file_write_atomic(disk, "g", large, 40000, 0600, &err) ? 4 : 0;
}

static int write_to_a_read_only_disk(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    if (mount_over(s, MS_RDONLY, "size=64k"))
        return COULD_NOT_MOUNT;
    CLEANUP(cleanup_fd)
    int disk = open(scratch_name(s, "disk"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return file_write_atomic(disk, "f", "x", 1, 0600, &err) == E_SYS && err.sys == EROFS ? 0 : 1;
}

static void full_and_read_only_disks_are_reported(void **state)
{
    const struct scratch *s = *state;
    assert_int_equal(mkdirat(s->fd, "disk", 0700), 0);
    int full = scratch_child(fill_a_disk, *state);
    if (full == COULD_NOT_MOUNT)
        skip_test("needs the right to mount");
    assert_int_equal(full, 0);
    assert_int_equal(scratch_child(write_to_a_read_only_disk, *state), 0);
}

static int write_until_killed(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    char text[4096];
    for (unsigned i = 0;; i++) {
        memset(text, 'a' + (int)(i % 26), sizeof text);
        if (file_write_atomic(s->fd, "f", text, sizeof text, 0600, &err))
            return 1;
    }
}

static void readers_see_old_or_new_also_when_the_writer_is_killed(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    char first[4096];
    memset(first, '0', sizeof first);
    scratch_write(s, "f", first, sizeof first);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(fflush(NULL), 0);
        pid_t pid = fork();
        if (pid == 0)
            _exit(write_until_killed(*state));
        int64_t until = clock_monotonic_ms() + round + 1;
        bool last = false;
        while (!last) { /* while it writes, and once more after its end */
            last = clock_monotonic_ms() >= until;
            if (last) {
                assert_int_equal(kill(pid, SIGKILL), 0);
                assert_int_equal(waitpid(pid, NULL, 0), pid);
            }
            bytes_clear(&b);
            assert_int_equal(file_read(s->fd, "f", 9999, &b, &err), OK);
            assert_int_equal(b.len, sizeof first);
            for (size_t i = 1; i < b.len; i++)
                assert_int_equal(b.data[i], b.data[0]);
        }
    }
    assert_int_not_equal(b.data[0], '0');
}

static int take_lock_briefly(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    int fd = -1;
    return file_lock(s->fd, "lock", 0, &fd, &err) == E_BUSY && fd == -1 ? 0 : 1;
}

static void a_lock_has_one_holder(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_fd) int first = -1;
    CLEANUP(cleanup_fd) int second = -1;
    assert_int_equal(file_lock(s->fd, "lock", 0, &first, &err), OK);
    assert_int_equal(scratch_child(take_lock_briefly, *state), 0);
    int64_t start = clock_monotonic_ms();
    assert_int_equal(file_lock(s->fd, "lock", 100, &second, &err), E_BUSY);
    assert_in_range(clock_monotonic_ms() - start, 95, 5000);
    assert_int_equal(second, -1);
    cleanup_fd(&first);
    assert_int_equal(file_lock(s->fd, "lock", 0, &second, &err), OK);
    struct stat st;
    assert_int_equal(fstat(second, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

/* Whoever may write to a folder could point the lock at a file that must not appear. */
static void a_lock_is_not_made_through_a_link(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    int fd = -1;
    struct stat st;
    assert_int_equal(symlinkat("elsewhere", s->fd, "lock"), 0);
    assert_int_equal(file_lock(s->fd, "lock", 0, &fd, &err), E_SYS);
    assert_int_equal(err.sys, ELOOP);
    assert_int_equal(fstatat(s->fd, "elsewhere", &st, AT_SYMLINK_NOFOLLOW), -1);
}

static void folders_are_opened_and_made(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    assert_int_equal(file_open_dir(scratch_name(s, "a/b"), false, &fd, &err), E_NOTFOUND);
    assert_int_equal(file_open_dir(scratch_name(s, "a/b//c"), true, &fd, &err), OK);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(file_sync_dir(fd, &err), OK);
    cleanup_fd(&fd);
    assert_int_equal(file_open_dir("/", true, &fd, &err), OK);
    cleanup_fd(&fd);
    assert_int_equal(file_open_dir("", true, &fd, &err), E_USAGE);
    scratch_write_text(s, "f", "");
    assert_int_equal(file_open_dir(scratch_name(s, "f"), false, &fd, &err), E_SYS);
    assert_int_equal(file_open_dir(scratch_name(s, "f/x"), true, &fd, &err), E_SYS);
    assert_int_equal(fd, -1);
}

static int read_and_write(void *context, struct error *err)
{
    const struct scratch *s = context;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = file_open_dir(s->path, true, &fd, err);
    if (!rc)
        rc = file_write_atomic(fd, "f", "x", 1, 0600, err);
    return rc ? rc : file_read(fd, "f", 9, &b, err);
}

static void running_out_of_memory_is_an_error(void **state)
{
    alloc_fail_each(read_and_write, *state, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reads_are_bounded),
        CASE(other_things_than_files_are_refused),
        CASE(files_are_replaced_and_made),
        CASE(a_failed_write_changes_nothing),
        CASE(full_and_read_only_disks_are_reported),
        CASE(readers_see_old_or_new_also_when_the_writer_is_killed),
        CASE(a_lock_has_one_holder),
        CASE(a_lock_is_not_made_through_a_link),
        CASE(folders_are_opened_and_made),
        CASE(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

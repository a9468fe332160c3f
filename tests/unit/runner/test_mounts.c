/* Places for mounts, and which sources are never shown. What needs a namespace is tested end to end
 * (tests/e2e/sandbox-*.bats). */
#include "runner/mounts.h"
#include "runner/volumes.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void makes_places(void **state)
{
    const struct scratch *s = *state;
    struct stat st;
    const struct mount_point deep = {"a/b//c/", false}, file = {"a/file", true};
    assert_int_equal(mkdirat(s->fd, "root", 0700), 0);
    int root = openat(s->fd, "root", O_PATH | O_DIRECTORY);
    assert_int_equal(mounts_check_point(root, &deep, NULL), E_NOTFOUND);
    assert_int_equal(mounts_make_point(root, &deep, getuid(), NULL), OK);
    assert_int_equal(mounts_check_point(root, &deep, NULL), OK);
    assert_int_equal(fstatat(root, "a/b/c", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(mounts_make_point(root, &deep, getuid(), NULL), OK);
    assert_int_equal(mounts_make_point(root, &file, getuid(), NULL), OK);
    assert_int_equal(fstatat(root, "a/file", &st, 0), 0);
    assert_true(S_ISREG(st.st_mode));
    /* The root itself is always there. */
    assert_int_equal(mounts_check_point(root, &(struct mount_point){"", false}, NULL), OK);
    assert_int_equal(mounts_make_point(root, &(struct mount_point){"", false}, 0, NULL), OK);
    close(root);
}

static void places_of_the_wrong_kind(void **state)
{
    const struct scratch *s = *state;
    scratch_write_text(s, "file", "");
    assert_int_equal(mkdirat(s->fd, "dir", 0700), 0);
    assert_int_equal(mounts_check_point(s->fd, &(struct mount_point){"file", false}, NULL),
                     E_INVALID);
    assert_int_equal(mounts_check_point(s->fd, &(struct mount_point){"dir", true}, NULL),
                     E_INVALID);
    assert_int_equal(mounts_make_point(s->fd, &(struct mount_point){"file/x", false}, 0, NULL),
                     E_INVALID);
}

static void places_stay_inside(void **state)
{
    const struct scratch *s = *state;
    struct stat st;
    assert_int_equal(mkdirat(s->fd, "root", 0700), 0);
    assert_int_equal(symlinkat("../../..", s->fd, "root/up"), 0);
    assert_int_equal(symlinkat("nowhere", s->fd, "root/dangling"), 0);
    int root = openat(s->fd, "root", O_PATH | O_DIRECTORY);
    assert_int_equal(
        mounts_make_point(root, &(struct mount_point){"up/made", false}, getuid(), NULL), OK);
    assert_int_equal(fstatat(root, "made", &st, 0), 0);
    assert_int_not_equal(fstatat(s->fd, "made", &st, 0), 0);
    assert_int_equal(
        mounts_make_point(root, &(struct mount_point){"dangling", false}, getuid(), NULL),
        E_INVALID);
    assert_int_equal(
        mounts_make_point(root, &(struct mount_point){"dangling/x", false}, getuid(), NULL),
        E_INVALID);
    assert_int_not_equal(fstatat(root, "nowhere", &st, 0), 0);
    close(root);
}

static void overlaps(void **state)
{
    (void)state;
    assert_true(volumes_overlap("/proc", "/proc"));
    assert_true(volumes_overlap("/proc/1", "/proc"));
    assert_true(volumes_overlap("/", "/proc"));
    assert_true(volumes_overlap("/run", "/run/bulla"));
    assert_true(volumes_overlap("/run", "/run/bulla/"));
    assert_true(volumes_overlap("/home", "/"));
    assert_false(volumes_overlap("/process", "/proc"));
    assert_false(volumes_overlap("/pro", "/proc"));
    assert_false(volumes_overlap("/srv/proc", "/proc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_places, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(places_of_the_wrong_kind, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(places_stay_inside, scratch_setup, scratch_teardown),
        cmocka_unit_test(overlaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

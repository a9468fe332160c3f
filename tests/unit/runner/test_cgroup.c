#include "runner/cgroup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char mountinfo[] =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "30 25 0:9 / /not/cgroup rw - tmpfs cgroup rw,pids\n"
    "31 23 0:28 / /sys/fs/cgroup rw shared:4 - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:5 master:1 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "34 31 0:31 / /odd\\040place rw - cgroup cgroup rw,memory\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,pids\n"
    "broken line\n- cgroup\n - cgroup cgroup\n"
    "37 31 0:38 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=blkio";

static void finds_hierarchies(void **state)
{
    (void)state;
    char point[64] = "";
    assert_true(cgroup_find_v1(mountinfo, "cpu", point, sizeof point));
    assert_string_equal(point, "/sys/fs/cgroup/cpu,cpuacct");
    assert_true(cgroup_find_v1(mountinfo, "cpuacct", point, sizeof point));
    assert_true(cgroup_find_v1(mountinfo, "cpuset", point, sizeof point));
    assert_string_equal(point, "/sys/fs/cgroup/cpuset");
    assert_true(cgroup_find_v1(mountinfo, "memory", point, sizeof point));
    assert_string_equal(point, "/sys/fs/cgroup/memory");
    /* Only in v2, on another file system, or as a name. */
    assert_false(cgroup_find_v1(mountinfo, "pids", point, sizeof point));
    assert_false(cgroup_find_v1(mountinfo, "blkio", point, sizeof point));
    assert_false(cgroup_find_v1(mountinfo, "", point, sizeof point));
    assert_false(cgroup_find_v1("", "cpu", point, sizeof point));
    /* Too long for the buffer: not cut. */
    char small[8] = "";
    assert_false(cgroup_find_v1(mountinfo, "cpuset", small, sizeof small));
    assert_string_equal(small, "");
}

static void nothing_to_remove(void **state)
{
    (void)state;
    struct cgroup c = CGROUP_INIT;
    cgroup_remove(&c);
    cgroup_remove(&c);
    assert_int_equal(c.hierarchy_fd[CGROUP_PIDS], -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_hierarchies),
        cmocka_unit_test(nothing_to_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

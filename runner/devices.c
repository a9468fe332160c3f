#include "runner/devices.h"

#include "base/path.h"
#include "runner/mounts.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct device {
    const char *name;
    unsigned major, minor;
};

/* Source: Linux admin-guide/devices. */
static const struct device devices[] = {
    {"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};
#define N_DEVICES (sizeof devices / sizeof devices[0])

struct link {
    const char *name, *target;
};

static const struct link links[] = {
    {"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"},
};

/* The node comes from the host: a user namespace cannot make one. Its number is checked, not its
 * name (CVE-2025-31133: a /dev/null that was something else). */
static int copy_device(const struct device *d, int *fd, struct error *err)
{
    char path[32];
    struct stat st;
    snprintf(path, sizeof path, "/dev/%s", d->name);
    CLEANUP(cleanup_fd) int copy = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (copy < 0 || fstat(copy, &st))
        return fail_sys(err, errno, "open the host's '%s'", path);
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(d->major, d->minor))
        return fail(err, E_UNSUPPORTED, "the host's '%s' is not device %u:%u", path, d->major,
                    d->minor);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
                              .propagation = MS_PRIVATE};
    if (mount_setattr(copy, "", AT_EMPTY_PATH, &attr, sizeof attr))
        return fail_sys(err, errno, "restrict '%s'", path);
    *fd = TAKE_FD(copy);
    return OK;
}

int devices_copy_null(int *fd, struct error *err)
{
    return copy_device(&devices[0], fd, err);
}

static int add_device(int dev_fd, const struct device *d, struct error *err)
{
    CLEANUP(cleanup_fd) int copy = -1;
    CLEANUP(cleanup_fd) int place = -1;
    int rc = copy_device(d, &copy, err);
    if (!rc && mknodat(dev_fd, d->name, S_IFREG | 0444, 0))
        rc = fail_sys(err, errno, "make '/dev/%s' in the container", d->name);
    if (!rc)
        rc = path_open(dev_fd, d->name, PATH_NO_SYMLINKS, O_PATH, 0, &place, err);
    return rc ? rc : mounts_attach(copy, place, d->name, err);
}

struct sub_mount {
    const char *name;
    const char *type;
    unsigned attr;
    struct mount_option options[4];
};

static const struct sub_mount sub_mounts[] = {
    /* Own instance: the container sees no terminal of the host's. */
    {"pts", "devpts", MOUNT_ATTR_NOEXEC, {{"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}}},
    {"shm", "tmpfs", MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV, {{"size", "64m"}, {"mode", "1777"}}},
    {"mqueue", "mqueue", MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV, {{NULL, NULL}}},
};

static int add_mount(int dev_fd, const struct sub_mount *m, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    if (mkdirat(dev_fd, m->name, 0755))
        return fail_sys(err, errno, "make '/dev/%s' in the container", m->name);
    int rc = mounts_new(m->type, m->options, m->attr, &fd, err);
    return rc ? rc : mounts_attach_strict(fd, dev_fd, m->name, err);
}

int devices_mount(int root_fd, struct error *err)
{
    static const struct mount_option options[] = {
        {"mode", "0755"}, {"size", "64k"}, {"nr_inodes", "64"}, {NULL, NULL}};
    CLEANUP(cleanup_fd) int dev = -1;
    int rc = mounts_new("tmpfs", options, MOUNT_ATTR_NOEXEC, &dev, err);
    if (!rc)
        rc = mounts_attach_strict(dev, root_fd, "dev", err);
    for (size_t i = 0; !rc && i < N_DEVICES; i++)
        rc = add_device(dev, &devices[i], err);
    for (size_t i = 0; !rc && i < sizeof sub_mounts / sizeof sub_mounts[0]; i++)
        rc = add_mount(dev, &sub_mounts[i], err);
    for (size_t i = 0; !rc && i < sizeof links / sizeof links[0]; i++)
        if (symlinkat(links[i].target, dev, links[i].name))
            rc = fail_sys(err, errno, "make '/dev/%s' in the container", links[i].name);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    if (!rc && mount_setattr(dev, "", AT_EMPTY_PATH, &attr, sizeof attr))
        rc = fail_sys(err, errno, "make '/dev' read-only");
    return rc;
}

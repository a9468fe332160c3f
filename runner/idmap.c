#include "runner/idmap.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int write_map(pid_t pid, const char *file, const uint32_t line[static 3], struct error *err)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int len = snprintf(text, sizeof text, "%u %u %u\n", line[0], line[1], line[2]);
    CLEANUP(cleanup_fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        return fail_sys(err, errno, "write the id map of the container ('%s')", file);
    return OK;
}

int idmap_write(pid_t pid, const struct idmap *map, struct error *err)
{
    const uint32_t uids[3] = {map->inside_uid, map->outside_uid, map->count};
    const uint32_t gids[3] = {map->inside_gid, map->outside_gid, map->count};
    int rc = write_map(pid, "uid_map", uids, err);
    return rc ? rc : write_map(pid, "gid_map", gids, err);
}

int idmap_open_namespace(pid_t pid, int *fd, struct error *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? fail_sys(err, errno, "open the container's user namespace") : OK;
}

/* A process that does nothing but be in a new user namespace until the pipe closes. */
static pid_t start_holder(int pipe_read, int pipe_write)
{
    struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        char byte;
        close(pipe_write);
        ssize_t n = read(pipe_read, &byte, 1);
        _exit(n == 0 ? 0 : 1);
    }
    return pid;
}

int idmap_make_namespace(const struct idmap *map, int *fd, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return fail_sys(err, errno, "make a pipe");
    CLEANUP(cleanup_fd) int pipe_read = ends[0];
    CLEANUP(cleanup_fd) int pipe_write = ends[1];
    pid_t pid = start_holder(pipe_read, pipe_write);
    if (pid < 0)
        return fail_sys(err, errno, "make a user namespace");
    int rc = idmap_write(pid, map, err);
    if (!rc)
        rc = idmap_open_namespace(pid, fd, err);
    cleanup_fd(&pipe_write);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return rc;
}

int idmap_copy_mount(int fd, int *mount_fd, struct error *err)
{
    /* Not recursive: what else is mounted below is not what was verified or named. */
    CLEANUP(cleanup_fd)
    int copy = open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    /* The copy is in the original's peer group: mounts inside would appear on the host. */
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                              .propagation = MS_PRIVATE};
    if (copy < 0 || mount_setattr(copy, "", AT_EMPTY_PATH, &attr, sizeof attr))
        return fail_sys(err, errno, "copy a mount");
    *mount_fd = TAKE_FD(copy);
    return OK;
}

int idmap_shift_mount(int mount_fd, int userns_fd, bool read_only, struct error *err)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP | (read_only ? MOUNT_ATTR_RDONLY : 0),
                              .userns_fd = (unsigned)userns_fd};
    if (mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0)
        return OK;
    if (errno == EINVAL)
        return fail(err, E_UNSUPPORTED,
                    "the file system cannot shift owners (id-mapped mounts: ext4, xfs, btrfs; "
                    "tmpfs from Linux 6.3)");
    return fail_sys(err, errno, "shift the owners of a mount");
}

#include "runner/mounts.h"

#include "base/bytes.h"
#include "base/path.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int mounts_new(const char *type, const struct mount_option *options, unsigned attr, int *fd,
               struct error *err)
{
    CLEANUP(cleanup_fd) int context = fsopen(type, FSOPEN_CLOEXEC);
    if (context < 0)
        return fail_sys(err, errno, "open file system '%s'", type);
    for (; options && options->key; options++)
        if (fsconfig(context, FSCONFIG_SET_STRING, options->key, options->value, 0))
            return fail_sys(err, errno, "set '%s=%s' of file system '%s'", options->key,
                            options->value, type);
    if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        return fail_sys(err, errno, "make file system '%s'", type);
    *fd = fsmount(context, FSMOUNT_CLOEXEC, attr | MOUNT_ATTR_NOSUID);
    return *fd < 0 ? fail_sys(err, errno, "mount file system '%s'", type) : OK;
}

int mounts_attach(int mount_fd, int target_fd, const char *what, struct error *err)
{
    if (move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
        return fail_sys(err, errno, "mount '%s' in the container", what);
    return OK;
}

int mounts_attach_strict(int mount_fd, int root_fd, const char *path, struct error *err)
{
    CLEANUP(cleanup_fd) int target = -1;
    int rc = path_open(root_fd, path, PATH_NO_SYMLINKS, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                       &target, err);
    if (rc == E_SYS && err && (err->sys == ELOOP || err->sys == ENOTDIR))
        return fail(err, E_INVALID, "the image has something other than a folder at '/%s'", path);
    return rc ? rc : mounts_attach(mount_fd, target, path, err);
}

int mounts_copy(int fd, unsigned attr, int *copy_fd, struct error *err)
{
    CLEANUP(cleanup_fd)
    int copy = open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    struct mount_attr change = {.attr_set = attr, .propagation = MS_PRIVATE};
    if (copy < 0 || mount_setattr(copy, "", AT_EMPTY_PATH, &change, sizeof change))
        return fail_sys(err, errno, "copy a mount");
    *copy_fd = TAKE_FD(copy);
    return OK;
}

static int check_kind(int fd, const struct mount_point *point, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return fail_sys(err, errno, "look at '/%s'", point->path);
    if (point->is_file ? !S_ISREG(st.st_mode) : !S_ISDIR(st.st_mode))
        return fail(err, E_INVALID, "'/%s' in the image is not a %s", point->path,
                    point->is_file ? "file" : "folder");
    return OK;
}

int mounts_check_point(int root_fd, const struct mount_point *point, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc =
        path_open(root_fd, *point->path ? point->path : ".", PATH_IN_ROOT, O_PATH, 0, &fd, err);
    return rc ? rc : check_kind(fd, point, err);
}

static int make_last(int root_fd, const char *path, bool is_file, uid_t owner, struct error *err)
{
    CLEANUP(cleanup_fd) int parent = -1;
    const char *name;
    int rc = path_open_parent(root_fd, path, PATH_IN_ROOT, &parent, &name, err);
    if (rc)
        return rc;
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return fail(err, E_INVALID, "'/%s' in the image is a link that leads nowhere", path);
    if (is_file) {
        CLEANUP(cleanup_fd)
        int fd = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
            return fail_sys(err, errno, "make file '/%s' in the container", path);
    } else if (mkdirat(parent, name, 0755)) {
        return fail_sys(err, errno, "make folder '/%s' in the container", path);
    }
    if (fchownat(parent, name, owner, owner, AT_SYMLINK_NOFOLLOW))
        return fail_sys(err, errno, "set the owner of '/%s' in the container", path);
    return OK;
}

int mounts_make_point(int root_fd, const struct mount_point *point, uid_t owner, struct error *err)
{
    CLEANUP(cleanup_free) char *path = strdup(point->path);
    if (!path)
        return fail_nomem(err);
    int rc = OK;
    for (char *end = path; !rc && *end;) {
        end += strspn(end, "/");
        end += strcspn(end, "/");
        char saved = *end;
        *end = '\0';
        bool last = saved == '\0' || end[1] == '\0';
        struct mount_point part = {path, last && point->is_file};
        rc = mounts_check_point(root_fd, &part, err);
        if (rc == E_NOTFOUND)
            rc = make_last(root_fd, path, part.is_file, owner, err);
        *end = saved;
    }
    return rc;
}

int mounts_pivot(int root_fd, struct error *err)
{
    /* The new root on top of the old, then the old one detached from below it: no folder for the
     * old root is needed inside. */
    if (fchdir(root_fd))
        return fail_sys(err, errno, "enter the container's root");
    if (syscall(SYS_pivot_root, ".", "."))
        return fail_sys(err, errno, "change to the container's root");
    if (umount2(".", MNT_DETACH))
        return fail_sys(err, errno, "let go of the host's root");
    if (chdir("/"))
        return fail_sys(err, errno, "enter the container's root");
    return OK;
}

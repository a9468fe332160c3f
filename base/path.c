#include "base/path.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static uint64_t resolve_flags(enum path_how how)
{
    switch (how) {
    case PATH_IN_ROOT:
        return RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    case PATH_BENEATH:
        return RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    case PATH_NO_SYMLINKS:
        break;
    }
    return RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
}

int path_open(int root_fd, const char *path, enum path_how how, int flags, mode_t mode, int *fd,
              struct error *err)
{
    bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how open_how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = creates ? mode : 0,
        .resolve = resolve_flags(how),
    };
    long got;
    /* EAGAIN: a rename raced with the resolution of ".."; the kernel asks for another try. */
    int tries = 0;
    do {
        got = syscall(SYS_openat2, root_fd, path, &open_how, sizeof open_how);
    } while (got < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < 32)));
    if (got < 0)
        return fail_sys(err, errno, "open '%s'", path);
    *fd = (int)got;
    return OK;
}

int path_open_parent(int root_fd, const char *path, enum path_how how, int *parent_fd,
                     const char **last, struct error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return fail(err, E_INVALID, "path '%s' has no usable last component", path);
    if (!slash) {
        int rc = path_open(root_fd, ".", how, O_PATH | O_DIRECTORY, 0, parent_fd, err);
        if (!rc)
            *last = name;
        return rc;
    }
    CLEANUP(cleanup_free) char *parent = strndup(path, (size_t)(slash - path) + (slash == path));
    if (!parent)
        return fail_nomem(err);
    int rc = path_open(root_fd, parent, how, O_PATH | O_DIRECTORY, 0, parent_fd, err);
    if (!rc)
        *last = name;
    return rc;
}

int path_make_dirs(int root_fd, const char *path, mode_t mode, struct error *err)
{
    CLEANUP(cleanup_free) char *copy = strdup(path);
    CLEANUP(cleanup_fd) int at = -1;
    if (!copy)
        return fail_nomem(err);
    int rc = path_open(root_fd, ".", PATH_NO_SYMLINKS, O_PATH | O_DIRECTORY, 0, &at, err);
    char *rest = copy;
    for (char *name = strsep(&rest, "/"); !rc && name; name = strsep(&rest, "/")) {
        if (!*name)
            continue;
        if (mkdirat(at, name, mode) && errno != EEXIST)
            return fail_sys(err, errno, "make folder '%s'", path);
        int next = -1;
        rc = path_open(at, name, PATH_NO_SYMLINKS, O_PATH | O_DIRECTORY, 0, &next, err);
        if (!rc) {
            cleanup_fd(&at);
            at = next;
        }
    }
    return rc;
}

/* Depth is bounded by descriptors: each level holds one, and EMFILE is reported like any failure.
 */
static int remove_content(int dir_fd, struct error *err)
{
    int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return fail_sys(err, errno, "open folder to remove");
    CLEANUP(cleanup_dir) DIR *dir = fdopendir(copy);
    if (!dir) {
        cleanup_fd(&copy);
        return fail_sys(err, errno, "read folder to remove");
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? fail_sys(err, errno, "read folder to remove") : OK;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int rc = path_remove_tree(dir_fd, entry->d_name, err);
        if (rc)
            return rc;
    }
}

int path_remove_tree(int dir_fd, const char *name, struct error *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return OK;
    if (errno != EISDIR && errno != EPERM)
        return fail_sys(err, errno, "remove '%s'", name);
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open(dir_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (!rc)
        rc = remove_content(fd, err);
    if (!rc && unlinkat(dir_fd, name, AT_REMOVEDIR))
        rc = fail_sys(err, errno, "remove folder '%s'", name);
    return rc;
}

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

/*
 * Each level below holds one descriptor, so a hostile tree could exhaust them. What lies deeper
 * than this is first moved up into the topmost folder, which is emptied again until nothing is
 * left.
 */
#define MAX_REMOVE_DEPTH 64

struct removal {
    int top_fd;
    unsigned n_moved;
};

static int empty_folder(struct removal *removal, int *fd, int depth, struct error *err);

static int move_up(struct removal *removal, int dir_fd, const char *name, struct error *err)
{
    for (;;) {
        char up[32];
        (void)snprintf(up, sizeof up, ".deep-%u", removal->n_moved++);
        if (renameat2(dir_fd, name, removal->top_fd, up, RENAME_NOREPLACE) == 0)
            return OK;
        if (errno != EEXIST)
            return fail_sys(err, errno, "remove '%s'", name);
    }
}

static int remove_entry(struct removal *removal, int dir_fd, const char *name, int depth,
                        struct error *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return OK;
    if (errno != EISDIR)
        return fail_sys(err, errno, "remove '%s'", name);
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return OK;
    if (depth >= MAX_REMOVE_DEPTH)
        return move_up(removal, dir_fd, name, err);
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open(dir_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (!rc)
        rc = empty_folder(removal, &fd, depth + 1, err);
    if (!rc && unlinkat(dir_fd, name, AT_REMOVEDIR))
        rc = fail_sys(err, errno, "remove folder '%s'", name);
    return rc;
}

/* Takes *fd. */
static int empty_folder(struct removal *removal, int *fd, int depth, struct error *err)
{
    CLEANUP(cleanup_dir) DIR *dir = fdopendir(*fd);
    if (!dir)
        return fail_sys(err, errno, "read folder to remove");
    *fd = -1;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? fail_sys(err, errno, "read folder to remove") : OK;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int rc = remove_entry(removal, dirfd(dir), entry->d_name, depth, err);
        if (rc)
            return rc;
    }
}

static int remove_folder(int parent_fd, const char *name, struct error *err)
{
    CLEANUP(cleanup_fd) int top_fd = -1;
    int rc = path_open(parent_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &top_fd, err);
    struct removal removal = {.top_fd = top_fd, .n_moved = 0};
    unsigned n_before;
    do {
        CLEANUP(cleanup_fd) int fd = -1;
        n_before = removal.n_moved;
        if (!rc)
            rc = path_open(top_fd, ".", PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
        if (!rc)
            rc = empty_folder(&removal, &fd, 1, err);
    } while (!rc && removal.n_moved != n_before);
    if (!rc && unlinkat(parent_fd, name, AT_REMOVEDIR))
        rc = fail_sys(err, errno, "remove folder '%s'", name);
    return rc;
}

int path_remove_tree(int dir_fd, const char *name, struct error *err)
{
    CLEANUP(cleanup_fd) int parent_fd = -1;
    const char *last;
    int rc = path_open_parent(dir_fd, name, PATH_NO_SYMLINKS, &parent_fd, &last, err);
    if (rc)
        return rc == E_NOTFOUND ? OK : rc;
    if (unlinkat(parent_fd, last, 0) == 0 || errno == ENOENT)
        return OK;
    if (errno != EISDIR)
        return fail_sys(err, errno, "remove '%s'", name);
    rc = remove_folder(parent_fd, last, err);
    return rc == E_NOTFOUND ? OK : rc;
}

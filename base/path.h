/*
 * Opening paths below a trusted folder: the one openat2 wrapper.
 *
 * Every path that comes from outside (archives, names, the registry's URLs) is opened through here
 * and nowhere else. Thread-safe.
 */
#ifndef BULLA_BASE_PATH_H
#define BULLA_BASE_PATH_H

#include "base/bytes.h"

#include <sys/types.h>

enum path_how {
    PATH_NO_SYMLINKS, /* below root, no symbolic link anywhere, no mount crossing rules */
    PATH_BENEATH,     /* links are followed while they stay below root; leaving fails */
    PATH_IN_ROOT,     /* as if root were "/": absolute links and ".." resolve inside (containers) */
};

/*
 * Opens `path` (relative; a leading '/' is allowed only with PATH_IN_ROOT) below the folder
 * root_fd. flags as for open(2), O_CLOEXEC is added; mode only with O_CREAT or O_TMPFILE. Magic
 * links
 * (/proc/PID/fd) are never followed. *fd is owned by the caller. E_SYS (ELOOP: a link was met;
 * EXDEV: the path leaves root), E_NOTFOUND, E_EXISTS.
 */
int path_open(int root_fd, const char *path, enum path_how how, int flags, mode_t mode, int *fd,
              struct error *err) MUST_CHECK;

/*
 * Opens the folder that holds the last component of `path` (O_PATH) and says where that component
 * starts: for mkdirat, unlinkat, linkat. Refuses empty, ".", ".." as last component (E_INVALID).
 */
int path_open_parent(int root_fd, const char *path, enum path_how how, int *parent_fd,
                     const char **last, struct error *err) MUST_CHECK;

/* Makes `path` and its missing parents below root_fd, each with `mode`; present folders are fine.
 */
int path_make_dirs(int root_fd, const char *path, mode_t mode, struct error *err) MUST_CHECK;

/* Removes `name` (relative, below dir_fd) and everything below it; never follows links, never
 * leaves the tree, however deep. Missing is fine. E_INVALID, E_SYS (what could be removed is gone).
 */
int path_remove_tree(int dir_fd, const char *name, struct error *err) MUST_CHECK;

#endif

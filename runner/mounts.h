/*
 * Mounts by descriptor: made detached, put at a place that was opened before, never by a path
 * twice.
 *
 * The adapter over the kernel's mount interface (Linux 5.12). Thread-safe; acts on the calling
 * thread's mount namespace.
 */
#ifndef BULLA_RUNNER_MOUNTS_H
#define BULLA_RUNNER_MOUNTS_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* A place where something will be mounted. path: relative to the container's root. */
struct mount_point {
    const char *path;
    bool is_file;
};

struct mount_option {
    const char *key;
    const char *value;
};

/* A new, detached mount of a file system without source. options end with a NULL key. attr:
 * MOUNT_ATTR_ flags; NOSUID is always added. */
int mounts_new(const char *type, const struct mount_option *options, unsigned attr, int *fd,
               struct error *err) MUST_CHECK;
/* Puts a detached mount on top of what target_fd (O_PATH) names. what: for messages. */
int mounts_attach(int mount_fd, int target_fd, const char *what, struct error *err) MUST_CHECK;
/* The same at a path below root_fd that must exist and must not lead through a symbolic link. */
int mounts_attach_strict(int mount_fd, int root_fd, const char *path, struct error *err) MUST_CHECK;
/* A detached copy of one mount of fd with these flags added; not recursive. */
int mounts_copy(int fd, unsigned attr, int *copy_fd, struct error *err) MUST_CHECK;

/* Is `path` missing below root_fd, links resolved inside? OK, E_NOTFOUND, E_INVALID (a file where a
 * folder is needed or the reverse). */
int mounts_check_point(int root_fd, const struct mount_point *point, struct error *err) MUST_CHECK;
/* Makes what is missing of the point and its parents, owned by `owner`. */
int mounts_make_point(int root_fd, const struct mount_point *point, uid_t owner,
                      struct error *err) MUST_CHECK;
/* Makes the mount at root_fd the root of this namespace and lets go of all that was there before.
 */
int mounts_pivot(int root_fd, struct error *err) MUST_CHECK;

#endif

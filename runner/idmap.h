/*
 * Id maps of user namespaces, and mounts whose owners are shifted through them.
 *
 * Needs CAP_SYS_ADMIN in the first user namespace. Thread-safe.
 */
#ifndef BULLA_RUNNER_IDMAP_H
#define BULLA_RUNNER_IDMAP_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct idmap {
    uint32_t inside_uid, outside_uid;
    uint32_t inside_gid, outside_gid;
    uint32_t count; /* of both */
};

/* Writes the maps of process pid, which is in a new user namespace. */
int idmap_write(pid_t pid, const struct idmap *map, struct error *err) MUST_CHECK;
/* A descriptor of process pid's user namespace. */
int idmap_open_namespace(pid_t pid, int *fd, struct error *err) MUST_CHECK;
/* A user namespace of its own with this map, that no process is in. */
int idmap_make_namespace(const struct idmap *map, int *fd, struct error *err) MUST_CHECK;

/* A detached copy of the mount at fd (a folder or a file): no setuid, no devices, nothing mounted
 * below comes along, nothing mounted in it shows elsewhere. */
int idmap_copy_mount(int fd, int *mount_fd, struct error *err) MUST_CHECK;
/* Shows a detached mount through userns_fd, once: an owner that is `inside` on disk appears as
 * `outside`. E_UNSUPPORTED: the file system cannot do it. */
int idmap_shift_mount(int mount_fd, int userns_fd, bool read_only, struct error *err) MUST_CHECK;

#endif

/*
 * Volumes: folders and files of the host that the user shows to a container.
 *
 * A source is opened once, checked by what was opened, and copied from that descriptor as a
 * detached mount (at once: later the runner may have left the mount namespace it belongs to); its
 * owner appears as the container's user, other owners as nobody. Some places are never shown: `/`,
 * /proc, /sys, /dev, the runner's state, sockets.
 */
#ifndef BULLA_RUNNER_VOLUMES_H
#define BULLA_RUNNER_VOLUMES_H

#include "base/error.h"
#include "runner/run.h"

#include <sys/types.h>

struct volume_source {
    int mount_fd; /* detached copy; -1: none */
    uid_t uid;
    gid_t gid;
    bool is_file;
};

/* protected_paths: NULL-terminated, may be NULL. E_POLICY (never shown), E_USAGE (no absolute
 * path), E_NOTFOUND, E_INVALID (neither file nor folder), E_SYS. */
int volumes_open(const struct run_volume *v, const char *const *protected_paths,
                 struct volume_source *out, struct error *err) MUST_CHECK;
/* Makes the source's owner appear as host user uid, group gid; once per source. */
int volumes_shift(const struct volume_source *s, bool read_only, uid_t uid, gid_t gid,
                  struct error *err) MUST_CHECK;

/* Is `path` (absolute, resolved) the same as, above or below `place`? Pure. */
bool volumes_overlap(const char *path, const char *place);

#endif

/*
 * The container's root: the verified layers, each seen through the container's id map, stacked
 * where there is more than one. Made by the parent, because shifting owners needs the first user
 * namespace; handed over as one detached mount.
 */
#ifndef BULLA_RUNNER_ROOTFS_H
#define BULLA_RUNNER_ROOTFS_H

#include "base/error.h"
#include "runner/mounts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rootfs_request {
    const int *layer_fds; /* lowest first */
    size_t n_layers;
    int userns_fd;                    /* the container's user namespace, its maps written */
    uint32_t base;                    /* host id of the container's root */
    bool writable;                    /* changes go to memory and vanish */
    const char *workdir;              /* a folder of the host to mount on, in a private namespace */
    const struct mount_point *points; /* places that must exist */
    size_t n_points;
};

/*
 * One layer that has all places is taken as it is. Otherwise an overlay: read-only layers below,
 * and one in memory above that gets the missing places, after which all of it becomes read-only
 * (unless writable); the calling thread moves to a private copy of its mount namespace for that, so
 * that nothing is left on the host however the process ends. *root_fd is read-only unless writable;
 * nosuid, nodev. E_UNSUPPORTED, E_INVALID (a place that cannot be), E_SYS.
 */
int rootfs_assemble(const struct rootfs_request *r, int *root_fd, struct error *err) MUST_CHECK;

#endif

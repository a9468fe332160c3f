#include "runner/rootfs.h"

#include "base/bytes.h"
#include "base/file.h"
#include "runner/idmap.h"
#include "runner/run.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* The layer in memory: enough for a program's own files, not for a host's memory. */
#define UPPER_SIZE "1g"

struct stack {
    int mounts[RUN_MAX_LAYERS]; /* idmapped copies, lowest first */
    size_t n;
};

static void stack_done(struct stack *s)
{
    for (size_t i = 0; i < s->n; i++)
        cleanup_fd(&s->mounts[i]);
}

static int copy_layers(const struct rootfs_request *r, struct stack *s, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < r->n_layers; i++) {
        rc = idmap_copy_mount(r->layer_fds[i], &s->mounts[i], err);
        if (!rc) {
            s->n++;
            rc = idmap_shift_mount(s->mounts[i], r->userns_fd, true, err);
        }
        wrap(err, rc, "layer %zu", i + 1);
    }
    return rc;
}

/* E_NOTFOUND if any place is missing. */
static int check_points(const struct rootfs_request *r, int root_fd, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < r->n_points; i++)
        rc = mounts_check_point(root_fd, &r->points[i], err);
    return rc;
}

static int enter_private_namespace(struct error *err)
{
    if (unshare(CLONE_NEWNS))
        return fail_sys(err, errno, "make a private mount namespace");
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
        return fail_sys(err, errno, "keep mounts from the host");
    return OK;
}

/* The folders `upper` (with owner and mode of the topmost layer's root: it becomes the root),
 * `work` and `merged`, and one per layer, on a file system in memory mounted at workdir. */
static int make_work_folders(const struct rootfs_request *r, const struct stack *s, int *work_fd,
                             struct error *err)
{
    static const struct mount_option options[] = {
        {"mode", "0700"}, {"size", UPPER_SIZE}, {NULL, NULL}};
    struct stat top;
    CLEANUP(cleanup_fd) int fd = -1;
    if (fstat(s->mounts[s->n - 1], &top))
        return fail_sys(err, errno, "look at the topmost layer");
    int rc = mounts_new("tmpfs", options, MOUNT_ATTR_NODEV, &fd, err);
    if (rc)
        return rc;
    if (move_mount(fd, "", AT_FDCWD, r->workdir, MOVE_MOUNT_F_EMPTY_PATH))
        return fail_sys(err, errno, "mount at '%s'", r->workdir);
    if (mkdirat(fd, "upper", 0755) || mkdirat(fd, "work", 0755) || mkdirat(fd, "merged", 0755) ||
        fchownat(fd, "upper", top.st_uid, top.st_gid, AT_SYMLINK_NOFOLLOW) ||
        fchmodat(fd, "upper", top.st_mode & 01777, 0))
        return fail_sys(err, errno, "make folders for the container's root");
    *work_fd = TAKE_FD(fd);
    return OK;
}

/* Kernels before 6.13 take layers by path only: each copy gets a place in our namespace, and the
 * path leads through its descriptor, so that it is this very mount. */
static int attach_layers(const struct stack *s, int work_fd, struct bytes *lower, struct error *err)
{
    int rc = bytes_append_text(lower, "lowerdir=", err);
    for (size_t i = 0; !rc && i < s->n; i++) {
        char name[16];
        snprintf(name, sizeof name, "%zu", i);
        if (mkdirat(work_fd, name, 0700) ||
            move_mount(s->mounts[i], "", work_fd, name, MOVE_MOUNT_F_EMPTY_PATH))
            return fail_sys(err, errno, "place layer %zu", i + 1);
    }
    /* Overlay names the topmost first. */
    for (size_t i = s->n; !rc && i > 0; i--)
        rc = bytes_append_format(lower, err, "%s/proc/self/fd/%d", i == s->n ? "" : ":",
                                 s->mounts[i - 1]);
    return rc;
}

static int mount_overlay(const struct rootfs_request *r, const struct stack *s, int work_fd,
                         const char *merged, struct error *err)
{
    CLEANUP(bytes_done) struct bytes options = BYTES_INIT;
    int rc = attach_layers(s, work_fd, &options, err);
    /* No redirects and no metadata-only copies: they follow attributes of files in the layers. */
    if (!rc)
        rc = bytes_append_format(&options, err,
                                 ",redirect_dir=nofollow,metacopy=off,index=off,"
                                 "upperdir=%s/upper,workdir=%s/work",
                                 r->workdir, r->workdir);
    if (!rc && mount("overlay", merged, "overlay", MS_NOSUID | MS_NODEV, bytes_text(&options)))
        rc = fail_sys(err, errno, "stack %zu layers", s->n);
    return rc;
}

/* Makes missing places; then the whole file system, not only this mount of it, becomes read-only.
 */
static int complete_overlay(const struct rootfs_request *r, const char *merged, int *root_fd,
                            struct error *err)
{
    CLEANUP(cleanup_fd) int root = -1;
    int rc = file_open_dir(merged, false, &root, err);
    for (size_t i = 0; !rc && i < r->n_points; i++)
        rc = mounts_make_point(root, &r->points[i], r->base, err);
    if (rc)
        return rc;
    if (!r->writable &&
        mount(NULL, merged, NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL))
        return fail_sys(err, errno, "make the container's root read-only");
    unsigned attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (r->writable ? 0 : MOUNT_ATTR_RDONLY);
    return mounts_copy(root, attr, root_fd, err);
}

static int assemble_overlay(const struct rootfs_request *r, const struct stack *s, int *root_fd,
                            struct error *err)
{
    CLEANUP(cleanup_fd) int work_fd = -1;
    CLEANUP(cleanup_free) char *merged = text_format("%s/merged", r->workdir);
    if (!merged)
        return fail_nomem(err);
    int rc = enter_private_namespace(err);
    if (!rc)
        rc = make_work_folders(r, s, &work_fd, err);
    if (!rc)
        rc = mount_overlay(r, s, work_fd, merged, err);
    return rc ? rc : complete_overlay(r, merged, root_fd, err);
}

int rootfs_assemble(const struct rootfs_request *r, int *root_fd, struct error *err)
{
    CLEANUP(stack_done) struct stack s = {.n = 0};
    if (r->n_layers == 0 || r->n_layers > RUN_MAX_LAYERS)
        return fail(err, E_LIMIT, "%zu layers: from 1 to %d are possible", r->n_layers,
                    RUN_MAX_LAYERS);
    int rc = copy_layers(r, &s, err);
    if (rc)
        return rc;
    if (s.n == 1 && !r->writable) {
        rc = check_points(r, s.mounts[0], err);
        if (!rc)
            *root_fd = TAKE_FD(s.mounts[0]);
        if (rc != E_NOTFOUND)
            return rc;
    }
    return assemble_overlay(r, &s, root_fd, err);
}

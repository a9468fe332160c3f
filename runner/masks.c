#include "runner/masks.h"

#include "base/bytes.h"
#include "base/path.h"
#include "runner/devices.h"
#include "runner/mounts.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* Kernel memory, other people's keys, hardware and its timing: side channels or plain leaks. */
static const char *const masked_proc[] = {
    "acpi",          "asound",      "interrupts", "kallsyms",   "kcore",       "keys", "kmsg",
    "latency_stats", "sched_debug", "scsi",       "timer_list", "timer_stats", NULL,
};
/* Power readings (PLATYPUS, GHSA-jq35-85cj-fj4p), firmware tables, the host's security modules. */
static const char *const masked_sys[] = {
    "devices/virtual/powercap", "firmware",       "fs/selinux", "kernel/debug",
    "kernel/security",          "kernel/tracing", NULL,
};
/* Switches of the host. */
static const char *const read_only_proc[] = {"bus", "fs", "irq", "sys", "sysrq-trigger", NULL};

/*
 * One kind of cover: /dev/null, or an empty folder. The original goes onto the last target, copies
 * onto those before: throwing a detached mount away makes the kernel wait for all its CPUs, which
 * takes longer than everything else here.
 */
struct cover {
    int original;
    int target; /* found, not covered yet; -1: none */
};

struct covers {
    struct cover file, folder;
};

static void covers_done(struct covers *c)
{
    cleanup_fd(&c->file.original);
    cleanup_fd(&c->file.target);
    cleanup_fd(&c->folder.original);
    cleanup_fd(&c->folder.target);
}

static int open_optional(int fd, const char *path, int *target, struct error *err)
{
    int rc = path_open(fd, path, PATH_NO_SYMLINKS, O_PATH, 0, target, err);
    return rc == E_NOTFOUND ? OK : rc;
}

/* Covers the target that waits, and makes `target` (owned, -1: none) the one that does. */
static int cover_previous(struct cover *c, int target, struct error *err)
{
    CLEANUP(cleanup_fd) int previous = c->target;
    CLEANUP(cleanup_fd) int copy = -1;
    c->target = target;
    if (previous < 0)
        return OK;
    if (target < 0)
        return mounts_attach(c->original, previous, "cover", err);
    int rc = mounts_copy(c->original, MOUNT_ATTR_RDONLY, &copy, err);
    return rc ? rc : mounts_attach(copy, previous, "cover", err);
}

static int mask(int fs_fd, const char *path, struct covers *covers, struct error *err)
{
    CLEANUP(cleanup_fd) int target = -1;
    struct stat st;
    int rc = open_optional(fs_fd, path, &target, err);
    if (rc || target < 0)
        return rc;
    if (fstat(target, &st))
        return fail_sys(err, errno, "look at '%s'", path);
    rc =
        cover_previous(S_ISDIR(st.st_mode) ? &covers->folder : &covers->file, TAKE_FD(target), err);
    return wrap(err, rc, "hide a path before '%s'", path);
}

static int make_read_only(int fs_fd, const char *path, struct error *err)
{
    CLEANUP(cleanup_fd) int target = -1;
    CLEANUP(cleanup_fd) int cover = -1;
    int rc = open_optional(fs_fd, path, &target, err);
    if (rc || target < 0)
        return rc;
    rc = mounts_copy(target,
                     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
                     &cover, err);
    return rc ? rc : mounts_attach(cover, target, path, err);
}

/* How often each CPU ran hot tells what others compute (GHSA-6fw5-f8r9-fgfm). */
static int mask_thermal(int sys_fd, struct covers *covers, struct error *err)
{
    CLEANUP(cleanup_fd) int cpus = -1;
    int rc = path_open(sys_fd, "devices/system/cpu", PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0,
                       &cpus, err);
    if (rc)
        return rc == E_NOTFOUND ? OK : rc;
    int copy = dup(cpus);
    CLEANUP(cleanup_dir) DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) {
        cleanup_fd(&copy);
        return fail_sys(err, errno, "list the CPUs in '/sys'");
    }
    for (struct dirent *e = readdir(dir); !rc && e; e = readdir(dir)) {
        char path[300];
        if (!text_starts(e->d_name, "cpu") || e->d_name[3] < '0' || e->d_name[3] > '9')
            continue;
        snprintf(path, sizeof path, "%s/thermal_throttle", e->d_name);
        rc = mask(cpus, path, covers, err);
    }
    return rc;
}

int masks_apply(int proc_fd, int sys_fd, struct error *err)
{
    static const struct mount_option empty[] = {
        {"mode", "0555"}, {"size", "4k"}, {"nr_inodes", "1"}, {NULL, NULL}};
    CLEANUP(covers_done) struct covers covers = {{-1, -1}, {-1, -1}};
    int rc = devices_copy_null(&covers.file.original, err);
    if (!rc)
        rc = mounts_new("tmpfs", empty, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
                        &covers.folder.original, err);
    for (const char *const *p = masked_proc; !rc && *p; p++)
        rc = mask(proc_fd, *p, &covers, err);
    for (const char *const *p = masked_sys; !rc && *p; p++)
        rc = mask(sys_fd, *p, &covers, err);
    if (!rc)
        rc = mask_thermal(sys_fd, &covers, err);
    if (!rc)
        rc = cover_previous(&covers.file, -1, err);
    if (!rc)
        rc = cover_previous(&covers.folder, -1, err);
    for (const char *const *p = read_only_proc; !rc && *p; p++)
        rc = make_read_only(proc_fd, *p, err);
    return rc;
}

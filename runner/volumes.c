#include "runner/volumes.h"

#include "base/cleanup.h"
#include "runner/idmap.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* What lies at, below or above these is not shown: whoever reaches them has the host. Engine
 * sockets are covered by their folders and by refusing sockets as such. */
static const char *const never[] = {
    "/proc",           "/sys",           "/dev",      "/run/bulla", "/run/docker.sock",
    "/run/containerd", "/run/podman",    "/run/crio", "/run/user",  "/run/dbus",
    "/run/systemd",    "/var/lib/bulla", NULL,
};

static bool is_or_below(const char *path, const char *place)
{
    size_t len = strlen(place);
    while (len > 1 && place[len - 1] == '/')
        len--;
    if (len == 1)
        return true; /* all is below "/" */
    return strncmp(path, place, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

bool volumes_overlap(const char *path, const char *place)
{
    return is_or_below(path, place) || is_or_below(place, path);
}

static int check_place(const char *path, const char *const *places, struct error *err)
{
    for (; places && *places; places++)
        if (volumes_overlap(path, *places))
            return fail(err, E_POLICY,
                        "volume source '%s' is never shown to containers: it is, "
                        "holds or lies in '%s'",
                        path, *places);
    return OK;
}

/* The path of what was opened, links resolved. */
static int resolved_path(int fd, char out[static PATH_MAX], struct error *err)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, out, PATH_MAX - 1);
    if (len <= 0 || len >= PATH_MAX - 1)
        return fail_sys(err, len < 0 ? errno : ENAMETOOLONG, "resolve a volume's source");
    out[len] = '\0';
    if (out[0] != '/')
        return fail(err, E_INVALID, "a volume's source has no path: '%s'", out);
    return OK;
}

int volumes_open(const struct run_volume *v, const char *const *protected_paths,
                 struct volume_source *out, struct error *err)
{
    char path[PATH_MAX];
    struct stat st;
    if (v->source[0] != '/')
        return fail(err, E_USAGE, "volume source '%s' is not an absolute path", v->source);
    CLEANUP(cleanup_fd) int fd = open(v->source, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return fail_sys(err, errno, "open volume source '%s'", v->source);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return fail(err, E_POLICY, "volume source '%s' is neither a folder nor a file", v->source);
    int rc = resolved_path(fd, path, err);
    if (!rc)
        rc = check_place(path, never, err);
    if (!rc)
        rc = check_place(path, protected_paths, err);
    if (rc)
        return rc;
    int mount_fd = -1;
    rc = idmap_copy_mount(fd, &mount_fd, err);
    if (!rc)
        *out = (struct volume_source){mount_fd, st.st_uid, st.st_gid, S_ISREG(st.st_mode)};
    return wrap(err, rc, "volume '%s'", v->source);
}

int volumes_shift(const struct volume_source *s, bool read_only, uid_t uid, gid_t gid,
                  struct error *err)
{
    const struct idmap map = {s->uid, uid, s->gid, gid, 1};
    CLEANUP(cleanup_fd) int userns = -1;
    int rc = idmap_make_namespace(&map, &userns, err);
    return rc ? rc : idmap_shift_mount(s->mount_fd, userns, read_only, err);
}

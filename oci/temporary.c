#include "oci/temporary.h"

#include "base/path.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define NAME_PREFIX "work-"
#define KEPT_PREFIX "part-"

static int random_name(char *out, size_t size, struct error *err)
{
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return fail_sys(err, errno, "get random bytes");
    (void)snprintf(out, size, NAME_PREFIX "%016llx", (unsigned long long)number);
    return OK;
}

/* 1: ours, 0: a sweep that ran between making and locking took it for abandoned, try again. */
static int lock_fresh(int fd, const char *name, int tmp_fd)
{
    struct stat held, named;
    if (flock(fd, LOCK_EX | LOCK_NB))
        return 0;
    return fstat(fd, &held) == 0 && fstatat(tmp_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

static int open_fresh(int tmp_fd, const char *name, bool folder, int *fd, struct error *err)
{
    if (folder && mkdirat(tmp_fd, name, 0700))
        return fail_sys(err, errno, "make temporary folder");
    int flags = folder ? O_RDONLY | O_DIRECTORY : O_RDWR | O_CREAT | O_EXCL;
    int rc = path_open(tmp_fd, name, PATH_NO_SYMLINKS, flags, 0600, fd, err);
    /* swept between mkdir and open: the caller tries again */
    return rc == E_NOTFOUND && folder ? OK : rc;
}

static int make(int tmp_fd, bool folder, struct temporary *out, struct error *err)
{
    for (int tries = 0; tries < 100; tries++) {
        CLEANUP(cleanup_fd) int fd = -1;
        char name[sizeof out->name];
        int rc = random_name(name, sizeof name, err);
        if (!rc)
            rc = open_fresh(tmp_fd, name, folder, &fd, err);
        if (rc)
            return rc;
        if (fd >= 0 && lock_fresh(fd, name, tmp_fd)) {
            memcpy(out->name, name, sizeof name);
            out->parent_fd = tmp_fd;
            out->fd = TAKE_FD(fd);
            return OK;
        }
    }
    return fail(err, E_BUSY, "cannot hold a temporary file");
}

int temporary_file(int tmp_fd, struct temporary *out, struct error *err)
{
    return make(tmp_fd, false, out, err);
}

int temporary_folder(int tmp_fd, struct temporary *out, struct error *err)
{
    return make(tmp_fd, true, out, err);
}

int temporary_kept(int tmp_fd, const char *what, struct temporary *out, struct error *err)
{
    for (int tries = 0; tries < 100; tries++) {
        CLEANUP(cleanup_fd) int fd = -1;
        struct stat st;
        char name[sizeof out->name];
        (void)snprintf(name, sizeof name, KEPT_PREFIX "%s", what);
        int rc = path_open(tmp_fd, name, PATH_NO_SYMLINKS, O_RDWR | O_CREAT, 0600, &fd, err);
        if (rc)
            return rc;
        if (fstat(fd, &st) || !S_ISREG(st.st_mode))
            return fail(err, E_INVALID, "'%s' is not a regular file", name);
        if (flock(fd, LOCK_EX | LOCK_NB))
            return fail(err, E_BUSY, "somebody else works on '%s'", name);
        if (!lock_fresh(fd, name, tmp_fd)) /* finished and moved away meanwhile */
            continue;
        memcpy(out->name, name, sizeof name);
        out->parent_fd = tmp_fd;
        out->fd = TAKE_FD(fd);
        return OK;
    }
    return fail(err, E_BUSY, "cannot hold a temporary file");
}

int64_t temporary_kept_size(int tmp_fd, const char *what)
{
    char name[TEMPORARY_NAME_MAX];
    struct stat st;
    (void)snprintf(name, sizeof name, KEPT_PREFIX "%s", what);
    return fstatat(tmp_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_size : 0;
}

void temporary_keep(struct temporary *t)
{
    t->name[0] = '\0';
    cleanup_fd(&t->fd);
}

int temporary_move(struct temporary *t, int to_fd, const char *name, bool replace,
                   struct error *err)
{
    unsigned flags = replace ? 0 : RENAME_NOREPLACE;
    if (renameat2(t->parent_fd, t->name, to_fd, name, flags))
        return fail_sys(err, errno, "rename to '%s'", name);
    t->name[0] = '\0';
    return OK;
}

void temporary_done(struct temporary *t)
{
    int saved = errno;
    /* What cannot be removed now is swept later. */
    int rc = t->name[0] ? path_remove_tree(t->parent_fd, t->name, NULL) : OK;
    (void)rc;
    t->name[0] = '\0';
    cleanup_fd(&t->fd);
    errno = saved;
}

/* For a while what was kept may be of use yet. */
static bool is_young(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && time(NULL) - st.st_mtime < TEMPORARY_KEEP_S;
}

static int sweep_one(int tmp_fd, const char *name, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open(tmp_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_NONBLOCK, 0, &fd, NULL);
    /* Gone meanwhile, or held by its maker: none of our business. Young ones are not even locked:
     * that would get into the way of who wants to go on with them. */
    if (rc || (text_starts(name, KEPT_PREFIX) && is_young(fd)) || !lock_fresh(fd, name, tmp_fd))
        return OK;
    return path_remove_tree(tmp_fd, name, err);
}

int temporary_sweep(int tmp_fd, struct error *err)
{
    int copy = openat(tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return fail_sys(err, errno, "open folder of temporary files");
    CLEANUP(cleanup_dir) DIR *dir = fdopendir(copy);
    if (!dir) {
        cleanup_fd(&copy);
        return fail_sys(err, errno, "read folder of temporary files");
    }
    int rc = OK;
    for (struct dirent *entry = readdir(dir); !rc && entry; entry = readdir(dir))
        if (text_starts(entry->d_name, NAME_PREFIX) || text_starts(entry->d_name, KEPT_PREFIX))
            rc = sweep_one(tmp_fd, entry->d_name, err);
    return wrap(err, rc, "sweep temporary files");
}

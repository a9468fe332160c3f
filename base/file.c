#include "base/file.h"

#include "base/clock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define READ_STEP 65536u

int file_read_fd(int fd, size_t max, struct bytes *out, struct error *err)
{
    size_t before = out->len;
    int rc = OK;
    for (;;) {
        size_t got_so_far = out->len - before;
        /* One byte over the limit is asked for, so that "exactly max" and "more" differ. */
        size_t want = max - got_so_far < READ_STEP ? max - got_so_far + 1 : READ_STEP;
        rc = bytes_reserve(out, want, err);
        if (rc)
            break;
        ssize_t n = read(fd, out->data + out->len, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            rc = fail_sys(err, errno, "read");
            break;
        }
        out->len += (size_t)n;
        out->data[out->len] = 0;
        if (n == 0)
            return OK;
        if (out->len - before > max) {
            rc = fail(err, E_LIMIT, "file is larger than %zu bytes", max);
            break;
        }
    }
    out->len = before;
    if (out->data)
        out->data[before] = 0;
    return rc;
}

int file_read(int dir_fd, const char *name, size_t max, struct bytes *out, struct error *err)
{
    /* O_NONBLOCK: opening a fifo must not hang before its type is known. */
    CLEANUP(cleanup_fd) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail_sys(err, errno, "open '%s'", name);
    struct stat st;
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat '%s'", name);
    if (!S_ISREG(st.st_mode))
        return fail(err, E_INVALID, "'%s' is not a regular file", name);
    return wrap(err, file_read_fd(fd, max, out, err), "'%s'", name);
}

int file_write_fd(int fd, const void *data, size_t len, struct error *err)
{
    const uint8_t *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "write");
        if (n == 0) /* no errno says why; going on would never end */
            return fail_sys(err, EIO, "write");
        p += n;
        len -= (size_t)n;
    }
    return OK;
}

int file_sync_dir(int dir_fd, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_sys(err, errno, "open folder to sync");
    if (fsync(fd))
        return fail_sys(err, errno, "sync folder");
    return OK;
}

/* "folder/" part of name, "." without one. */
static int open_folder_of(int dir_fd, const char *name, int *fd, struct error *err)
{
    const char *slash = strrchr(name, '/');
    CLEANUP(cleanup_free)
    char *folder = slash ? strndup(name, (size_t)(slash - name) + 1) : strdup(".");
    if (!folder)
        return fail_nomem(err);
    *fd = openat(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? fail_sys(err, errno, "open folder '%s'", folder) : OK;
}

/* A fixed prefix only: with the name in it, a long one would overflow NAME_MAX. */
static int temporary_name(char *out, size_t size, struct error *err)
{
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return fail_sys(err, errno, "get random bytes");
    (void)snprintf(out, size, ".tmp-%016llx", (unsigned long long)random);
    return OK;
}

static int write_temporary(int folder, const char *temporary, const void *data, size_t len,
                           mode_t mode, struct error *err)
{
    CLEANUP(cleanup_fd)
    int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return fail_sys(err, errno, "make temporary file");
    int rc = file_write_fd(fd, data, len, err);
    if (!rc && fchmod(fd, mode))
        rc = fail_sys(err, errno, "set mode");
    if (!rc && fsync(fd))
        rc = fail_sys(err, errno, "sync");
    return rc;
}

static int write_file(int dir_fd, const char *name, const void *data, size_t len, mode_t mode,
                      bool replace, struct error *err)
{
    CLEANUP(cleanup_fd) int folder = -1;
    char temporary[32];
    int rc = open_folder_of(dir_fd, name, &folder, err);
    if (!rc)
        rc = temporary_name(temporary, sizeof temporary, err);
    if (rc)
        return wrap(err, rc, "write '%s'", name);
    const char *slash = strrchr(name, '/');
    const char *last = slash ? slash + 1 : name;
    rc = write_temporary(folder, temporary, data, len, mode, err);
    if (!rc && replace && renameat(folder, temporary, folder, last))
        rc = fail_sys(err, errno, "rename");
    if (!rc && !replace && linkat(folder, temporary, folder, last, 0))
        rc = fail_sys(err, errno, "create");
    if (rc || !replace)
        (void)unlinkat(folder, temporary, 0);
    if (!rc)
        rc = file_sync_dir(folder, err);
    return wrap(err, rc, "write '%s'", name);
}

int file_write_atomic(int dir_fd, const char *name, const void *data, size_t len, mode_t mode,
                      struct error *err)
{
    return write_file(dir_fd, name, data, len, mode, true, err);
}

int file_create_atomic(int dir_fd, const char *name, const void *data, size_t len, mode_t mode,
                       struct error *err)
{
    return write_file(dir_fd, name, data, len, mode, false, err);
}

int file_lock(int dir_fd, const char *name, int wait_ms, int *fd, struct error *err)
{
    CLEANUP(cleanup_fd)
    int lock = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (lock < 0)
        return fail_sys(err, errno, "open lock '%s'", name);
    int64_t until = clock_monotonic_ms() + wait_ms;
    while (flock(lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fail_sys(err, errno, "lock '%s'", name);
        if (clock_monotonic_ms() >= until)
            return fail(err, E_BUSY, "'%s' is locked by another process; try again later", name);
        (void)nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    *fd = TAKE_FD(lock);
    return OK;
}

static int make_with_parents(const char *path, struct error *err)
{
    CLEANUP(cleanup_free) char *copy = strdup(path);
    if (!copy)
        return fail_nomem(err);
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, 0700) && errno != EEXIST)
            return fail_sys(err, errno, "make folder '%s'", copy);
        *p = '/';
    }
    if (mkdir(copy, 0700) && errno != EEXIST)
        return fail_sys(err, errno, "make folder '%s'", copy);
    return OK;
}

int file_open_dir(const char *path, bool make, int *fd, struct error *err)
{
    if (!*path)
        return fail(err, E_USAGE, "folder name is empty");
    if (make) {
        int rc = make_with_parents(path, err);
        if (rc)
            return rc;
    }
    int got = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (got < 0)
        return fail_sys(err, errno, "open folder '%s'", path);
    *fd = got;
    return OK;
}

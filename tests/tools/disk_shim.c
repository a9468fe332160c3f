/*
 * A library to preload into the registry (LD_PRELOAD) that stands between it and the disk and the
 * clock:
 *
 *   DISK_SHIM_ROOT=DIR       only files below DIR count
 *   DISK_SHIM_CONTROL=FILE   16 bytes, read at each call, changed by the test while the program
 *                            runs: int32 errno that every change of the disk fails with (0: none);
 *                            int32 at which change or message the program dies, counted down (0:
 *                            never); int64 seconds that the wall clock is ahead
 *   DISK_SHIM_LOG=FILE       each change of the disk in the order in which it happened, and each
 *                            message to a peer: "OP PATH PATH2 OFFSET LENGTH\n", then LENGTH bytes
 *
 * What the program may open is decided before it confines itself: both files are opened at once.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))
/* The next library's function of the same name. */
#define NEXT(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

struct control {
    _Atomic int32_t fault;
    _Atomic int32_t steps_left;
    _Atomic int64_t clock_offset_s;
};

static struct control *control;
static char root[PATH_MAX];
static size_t root_len;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void start(void)
{
    const char *name = getenv("DISK_SHIM_ROOT");
    if (!name || !realpath(name, root))
        return;
    root_len = strlen(root);
    name = getenv("DISK_SHIM_CONTROL");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        control = page == MAP_FAILED ? NULL : page;
        (void)close(fd);
    }
    name = getenv("DISK_SHIM_LOG");
    if (name)
        log_fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* --- what is meant --- */

static bool below(const char *path)
{
    return root_len > 0 && strncmp(path, root, root_len) == 0 &&
           (path[root_len] == '/' || path[root_len] == '\0');
}

static bool path_of(int fd, char out[PATH_MAX])
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 && below(out);
}

static bool path_at(int dir_fd, const char *name, char out[PATH_MAX])
{
    char dir[PATH_MAX] = "";
    if (name[0] == '/')
        (void)snprintf(out, PATH_MAX, "%s", name);
    else if (dir_fd != AT_FDCWD && path_of(dir_fd, dir) &&
             strlen(dir) + strlen(name) + 2 <= PATH_MAX)
        (void)strcat(strcat(strcpy(out, dir), "/"), name);
    else
        out[0] = '\0';
    return below(out);
}

/* As kill -9 before this change. Without a system call: the program may have given kill(2) up. */
static void step(void)
{
    if (control && atomic_load(&control->steps_left) > 0 &&
        atomic_fetch_sub(&control->steps_left, 1) == 1)
        __builtin_trap();
}

/* Whether the call is to fail; errno says why. */
static bool faulty(void)
{
    int fault = control ? atomic_load(&control->fault) : 0;
    if (fault)
        errno = fault;
    return fault != 0;
}

/* A sync fails for want of the disk, not of space. */
static bool sync_faulty(void)
{
    return faulty() && errno != ENOSPC && errno != EDQUOT;
}

struct change {
    const char *op, *path, *path2;
    int64_t offset;
    const void *data;
    size_t len;
};

/* One write, so that no other process's record lies within it. Under the lock. */
static void record_locked(const struct change *c)
{
    char head[2 * PATH_MAX + 64];
    size_t len = c->data ? c->len : 0;
    int n = snprintf(head, sizeof head, "%s %s %s %lld %zu\n", c->op, c->path,
                     c->path2 ? c->path2 : "-", (long long)c->offset, len);
    struct iovec parts[] = {{head, n > 0 ? (size_t)n : 0}, {(void *)(uintptr_t)c->data, len}};
    if (writev(log_fd, parts, 2) != n + (ssize_t)len)
        abort(); /* a recording with a hole proves nothing */
}

/*
 * The call and its record are one step: what is recorded later happened later. `call` is an
 * expression whose negative value means failure, with errno.
 */
#define RECORDED(type, known, call, ...)                                                           \
    do {                                                                                           \
        if (!(known))                                                                              \
            return (call);                                                                         \
        step();                                                                                    \
        if (faulty())                                                                              \
            return -1;                                                                             \
        if (log_fd < 0)                                                                            \
            return (call);                                                                         \
        pthread_mutex_lock(&lock);                                                                 \
        type result = (call);                                                                      \
        int saved = errno;                                                                         \
        if (result >= 0)                                                                           \
            record_locked(&(struct change){__VA_ARGS__});                                          \
        pthread_mutex_unlock(&lock);                                                               \
        errno = saved;                                                                             \
        return result;                                                                             \
    } while (0)

/* --- bytes --- */

PUBLIC ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    char path[PATH_MAX];
    RECORDED(ssize_t, path_of(fd, path), NEXT(pwrite64)(fd, data, len, offset), "write", path, NULL,
             offset, data, (size_t)result);
}

PUBLIC ssize_t write(int fd, const void *data, size_t len)
{
    char path[PATH_MAX];
    RECORDED(ssize_t, fd != log_fd && path_of(fd, path), NEXT(write)(fd, data, len), "write", path,
             NULL, lseek(fd, 0, SEEK_CUR) - result, data, (size_t)result);
}

PUBLIC int ftruncate64(int fd, off64_t len)
{
    char path[PATH_MAX];
    RECORDED(int, path_of(fd, path), NEXT(ftruncate64)(fd, len), "truncate", path, NULL, len, NULL,
             0);
}

PUBLIC int fsync(int fd)
{
    char path[PATH_MAX];
    if (path_of(fd, path) && sync_faulty())
        return -1;
    RECORDED(int, path_of(fd, path) && !faulty(), NEXT(fsync)(fd), "sync", path, NULL, 0, NULL, 0);
}

PUBLIC int fdatasync(int fd)
{
    char path[PATH_MAX];
    if (path_of(fd, path) && sync_faulty())
        return -1;
    RECORDED(int, path_of(fd, path) && !faulty(), NEXT(fdatasync)(fd), "sync", path, NULL, 0, NULL,
             0);
}

/* --- names --- */

static bool makes(int flags)
{
    return (flags & (O_CREAT | O_TRUNC)) != 0;
}

static bool changes(int flags)
{
    return makes(flags) || (flags & O_ACCMODE) != O_RDONLY;
}

static int opened(int fd, bool known, int flags)
{
    char path[PATH_MAX];
    if (fd >= 0 && known && log_fd >= 0 && makes(flags) && path_of(fd, path)) {
        pthread_mutex_lock(&lock);
        record_locked(
            &(struct change){flags & O_TRUNC ? "truncate" : "create", path, NULL, 0, NULL, 0});
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

PUBLIC int open64(const char *name, int flags, ...)
{
    char path[PATH_MAX];
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    bool known = path_at(AT_FDCWD, name, path) && changes(flags);
    if (known && faulty())
        return -1;
    return opened(NEXT(open64)(name, flags, mode), known, flags);
}

PUBLIC int openat64(int dir_fd, const char *name, int flags, ...)
{
    char path[PATH_MAX];
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    bool known = path_at(dir_fd, name, path) && changes(flags);
    if (known && faulty())
        return -1;
    return opened(NEXT(openat64)(dir_fd, name, flags, mode), known, flags);
}

/* openat2 has no function of its own. */
PUBLIC long syscall(long number, ...)
{
    long a[6];
    char path[PATH_MAX];
    va_list args;
    va_start(args, number);
    for (size_t i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    const struct open_how *how = number == SYS_openat2 ? (const struct open_how *)a[2] : NULL;
    int flags = how ? (int)how->flags : 0;
    bool known = how && path_at((int)a[0], (const char *)a[1], path) && changes(flags);
    if (known && faulty())
        return -1;
    long result = NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return known ? opened((int)result, known, flags) : result;
}

PUBLIC int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    char a[PATH_MAX], b[PATH_MAX];
    bool known = path_at(from_fd, from, a), also = path_at(to_fd, to, b);
    RECORDED(int, known &&also, NEXT(renameat)(from_fd, from, to_fd, to), "rename", a, b, 0, NULL,
             0);
}

PUBLIC int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    char a[PATH_MAX], b[PATH_MAX];
    bool known = path_at(from_fd, from, a), also = path_at(to_fd, to, b);
    RECORDED(int, known &&also, NEXT(renameat2)(from_fd, from, to_fd, to, flags), "rename", a, b, 0,
             NULL, 0);
}

PUBLIC int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    char a[PATH_MAX], b[PATH_MAX];
    bool known = path_at(from_fd, from, a), also = path_at(to_fd, to, b);
    RECORDED(int, known &&also, NEXT(linkat)(from_fd, from, to_fd, to, flags), "link", a, b, 0,
             NULL, 0);
}

PUBLIC int unlinkat(int dir_fd, const char *name, int flags)
{
    char path[PATH_MAX];
    RECORDED(int, path_at(dir_fd, name, path), NEXT(unlinkat)(dir_fd, name, flags), "unlink", path,
             NULL, 0, NULL, 0);
}

PUBLIC int unlink(const char *name)
{
    char path[PATH_MAX];
    RECORDED(int, path_at(AT_FDCWD, name, path), NEXT(unlink)(name), "unlink", path, NULL, 0, NULL,
             0);
}

PUBLIC int mkdirat(int dir_fd, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    RECORDED(int, path_at(dir_fd, name, path), NEXT(mkdirat)(dir_fd, name, mode), "mkdir", path,
             NULL, 0, NULL, 0);
}

/* --- what peers are told --- */

/* What is recorded are answers over the network, not what services say to each other meanwhile. */
static bool is_recorded(int fd)
{
    int domain = AF_UNIX;
    socklen_t len = sizeof domain;
    return log_fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
           domain != AF_UNIX;
}

PUBLIC ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (log_fd < 0)
        step(); /* a message is no change of the disk: it never fails */
    RECORDED(ssize_t, is_recorded(fd), NEXT(sendmsg)(fd, message, flags), "send", "-", NULL, 0,
             NULL, 0);
}

PUBLIC ssize_t send(int fd, const void *data, size_t len, int flags)
{
    if (log_fd < 0)
        step();
    RECORDED(ssize_t, is_recorded(fd), NEXT(send)(fd, data, len, flags), "send", "-", NULL, 0, NULL,
             0);
}

/* --- the clock --- */

PUBLIC time_t time(time_t *out)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

PUBLIC int clock_gettime(clockid_t id, struct timespec *out)
{
    int rc = NEXT(clock_gettime)(id, out);
    if (rc == 0 && id == CLOCK_REALTIME && control)
        out->tv_sec += atomic_load(&control->clock_offset_s);
    return rc;
}

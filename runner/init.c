#include "runner/init.h"

#include "base/bytes.h"
#include "runner/run.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u /* Linux 6.3 */
#endif

#define INIT_NAME     "bulla-init"
#define MAX_INIT_SIZE ((off_t)16 << 20)

static const char *test_path;

void run_use_init_for_test(const char *path)
{
    test_path = path;
}

/* In the build tree it lies beside the program, installed in ../libexec/bulla. */
static int open_beside(int *fd, struct error *err)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0)
        return fail_sys(err, errno, "find this program's folder");
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return fail(err, E_INTERNAL, "this program has no path");
    *slash = '\0';
    static const char *const places[] = {"", "/../libexec/bulla"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        CLEANUP(cleanup_free) char *path = text_format("%s%s/%s", self, places[i], INIT_NAME);
        if (!path)
            return fail_nomem(err);
        *fd = open(path, O_RDONLY | O_CLOEXEC);
        if (*fd >= 0)
            return OK;
        if (errno != ENOENT && errno != ENOTDIR)
            return fail_sys(err, errno, "open '%s'", path);
    }
    return fail(err, E_NOTFOUND, "'%s' is neither in '%s' nor in '%s/../libexec/bulla'", INIT_NAME,
                self, self);
}

static int make_memfd(int *fd, struct error *err)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    *fd = memfd_create(INIT_NAME, flags | MFD_EXEC);
    if (*fd < 0 && errno == EINVAL)
        *fd = memfd_create(INIT_NAME, flags);
    return *fd < 0 ? fail_sys(err, errno, "make a file in memory for %s", INIT_NAME) : OK;
}

static int copy_all(int to, int from, off_t size, struct error *err)
{
    off_t at = 0;
    while (at < size) {
        ssize_t n = sendfile(to, from, &at, (size_t)(size - at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "copy %s", INIT_NAME);
        if (n == 0)
            return fail(err, E_SYS, "%s became shorter while it was read", INIT_NAME);
    }
    return OK;
}

int init_prepare(int *fd, struct error *err)
{
    CLEANUP(cleanup_fd) int file = -1;
    CLEANUP(cleanup_fd) int memory = -1;
    struct stat st;
    int rc = OK;
    if (!test_path)
        rc = open_beside(&file, err);
    else if ((file = open(test_path, O_RDONLY | O_CLOEXEC)) < 0)
        rc = fail_sys(err, errno, "open '%s'", test_path);
    if (!rc)
        rc = make_memfd(&memory, err);
    if (rc)
        return rc;
    if (fstat(file, &st))
        return fail_sys(err, errno, "look at %s", INIT_NAME);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > MAX_INIT_SIZE)
        return fail(err, E_INVALID, "%s is not a program of a sane size", INIT_NAME);
    rc = copy_all(memory, file, st.st_size, err);
    if (rc)
        return rc;
    if (fchmod(memory, 0111) ||
        fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
        return fail_sys(err, errno, "seal %s", INIT_NAME);
    *fd = TAKE_FD(memory);
    return OK;
}

#include "registry/listener.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 1024

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t fill(union address *a, const char *text, uint16_t port)
{
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, text, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(port);
        return sizeof a->v4;
    }
    if (inet_pton(AF_INET6, text, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(port);
        return sizeof a->v6;
    }
    return 0;
}

int listener_open(const char *address, uint16_t *port, int *fd, struct error *err)
{
    union address a;
    socklen_t len = fill(&a, address, *port);
    if (len == 0)
        return fail(err, E_INVALID, "'%s' is no IP address", address);
    CLEANUP(cleanup_fd) int s = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(s, &a.any, len) != 0 || listen(s, BACKLOG) != 0)
        return fail_sys(err, errno, "listen on %s port %u", address, (unsigned)*port);
    if (getsockname(s, &a.any, &len) != 0)
        return fail_sys(err, errno, "getsockname");
    *port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    *fd = TAKE_FD(s);
    return 0;
}

/* --- Unix --- */

static int unix_address(const char *path, struct sockaddr_un *out, struct error *err)
{
    size_t len = strlen(path);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len >= sizeof out->sun_path)
        return fail(err, E_INVALID, "socket '%s' is longer than %zu bytes", path,
                    sizeof out->sun_path - 1);
    memcpy(out->sun_path, path, len + 1);
    return 0;
}

/* Only what is a socket, and only if nobody answers on it. */
static int remove_stale(const struct sockaddr_un *a, struct error *err)
{
    struct stat st;
    if (lstat(a->sun_path, &st) != 0)
        return errno == ENOENT ? 0 : fail_sys(err, errno, "socket '%s'", a->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return fail(err, E_EXISTS, "'%s' is there and no socket", a->sun_path);
    CLEANUP(cleanup_fd) int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return fail_sys(err, errno, "socket");
    if (connect(probe, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN)
        return fail(err, E_BUSY, "another process listens on '%s'", a->sun_path);
    return unlink(a->sun_path) == 0 || errno == ENOENT
               ? 0
               : fail_sys(err, errno, "remove '%s'", a->sun_path);
}

static int make_folder_of(const char *path, struct error *err)
{
    CLEANUP(cleanup_free) char *dir = strdup(path);
    char *slash = dir ? strrchr(dir, '/') : NULL;
    if (!slash)
        return fail_nomem(err);
    *slash = '\0';
    if (*dir && mkdir(dir, 0755) != 0 && errno != EEXIST)
        return fail_sys(err, errno, "make '%s'", dir);
    return 0;
}

int listener_open_unix(const char *path, uid_t uid, gid_t gid, int *fd, struct error *err)
{
    struct sockaddr_un a;
    int rc = unix_address(path, &a, err);
    if (rc == 0)
        rc = make_folder_of(path, err);
    if (rc == 0)
        rc = remove_stale(&a, err);
    if (rc != 0)
        return rc;
    CLEANUP(cleanup_fd) int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Nobody may connect before it has its mode: it does not listen yet. Through no link that
     * somebody put in its place. */
    if (s < 0 || bind(s, (const struct sockaddr *)&a, sizeof a) != 0 ||
        fchmodat(AT_FDCWD, path, 0660, AT_SYMLINK_NOFOLLOW) != 0 ||
        (uid != (uid_t)-1 && lchown(path, uid, gid) != 0) || listen(s, SOMAXCONN) != 0)
        return fail_sys(err, errno, "listen on '%s'", path);
    *fd = TAKE_FD(s);
    return 0;
}

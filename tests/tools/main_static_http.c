/*
 * static-http: serves the files below a folder over plain HTTP/1.0 on 127.0.0.1, for the tests of
 * bulla-tuf-client.
 *
 * Usage: static-http FOLDER LOG
 *
 * One request per connection, one connection after the other; answers have Content-Length and no
 * Content-Type; what is missing is a 404 with an HTML body. Each request's path becomes a line of
 * LOG before it is answered. A path names its file as it stands: percent-encoding is not decoded.
 * Prints "listening on 127.0.0.1:PORT"; ends on SIGTERM, or with the process that started it.
 */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/path.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#define MAX_HEAD   8192
#define MAX_FILE   (64u << 20)
#define PATIENCE_S 10

static int listen_on_any(int *out, struct error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    CLEANUP(cleanup_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 16) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        return fail_sys(err, errno, "listen");
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    *out = TAKE_FD(fd);
    return OK;
}

/* Up to the empty line; false where the client does not come to the point. */
static bool read_head(int fd, char head[MAX_HEAD])
{
    size_t used = 0;
    while (used < MAX_HEAD - 1) {
        ssize_t n = recv(fd, head + used, MAX_HEAD - 1 - used, 0);
        if (n <= 0)
            return false;
        used += (size_t)n;
        head[used] = '\0';
        if (strstr(head, "\r\n\r\n"))
            return true;
    }
    return false;
}

/* The path of "GET /path HTTP/1.x", cut out of head; NULL for anything else. */
static char *path_of(char *head)
{
    if (strncmp(head, "GET /", 5) != 0)
        return NULL;
    char *path = head + 4, *end = strchr(path, ' ');
    if (!end || strncmp(end, " HTTP/1.", 8) != 0)
        return NULL;
    *end = '\0';
    return path;
}

static int send_answer(int fd, const char *status, const void *body, size_t len, struct error *err)
{
    char head[128];
    int n = snprintf(head, sizeof head, "HTTP/1.0 %s\r\nContent-Length: %zu\r\n\r\n", status, len);
    int rc = file_write_fd(fd, head, (size_t)n, err);
    return rc ? rc : file_write_fd(fd, body, len, err);
}

static int answer(int folder, int log, int fd, struct error *err)
{
    static const char missing[] = "<!DOCTYPE html><html><body><h1>404</h1></body></html>\n";
    char head[MAX_HEAD];
    CLEANUP(cleanup_fd) int file = -1;
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    char *path = read_head(fd, head) ? path_of(head) : NULL;
    if (!path)
        return send_answer(fd, "400 Bad Request", "", 0, err);
    if (dprintf(log, "%s\n", path) < 0)
        return fail_sys(err, errno, "write the log");
    if (path_open(folder, path + 1, PATH_NO_SYMLINKS, O_RDONLY, 0, &file, err) ||
        file_read_fd(file, MAX_FILE, &body, err))
        return send_answer(fd, "404 Not Found", missing, sizeof missing - 1, err);
    return send_answer(fd, "200 OK", body.data, body.len, err);
}

static int serve(int folder, int log, int listener, struct error *err)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    for (;;) {
        CLEANUP(cleanup_fd) int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct error why = ERROR_INIT;
        if (fd < 0)
            return fail_sys(err, errno, "accept");
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        /* A client that went away is its own affair. */
        if (answer(folder, log, fd, &why))
            (void)fprintf(stderr, "static-http: %s\n", why.message);
    }
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_fd) int folder = -1;
    CLEANUP(cleanup_fd) int log = -1;
    CLEANUP(cleanup_fd) int listener = -1;
    if (argc != 3) {
        (void)fprintf(stderr, "usage: static-http FOLDER LOG\n");
        return 2;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)signal(SIGPIPE, SIG_IGN);
    log = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int rc = log < 0 ? fail_sys(&err, errno, "open '%s'", argv[2])
                     : file_open_dir(argv[1], false, &folder, &err);
    if (!rc)
        rc = listen_on_any(&listener, &err);
    if (!rc)
        rc = serve(folder, log, listener, &err);
    (void)fprintf(stderr, "static-http: %s\n", err.message);
    return rc ? 3 : 0;
}

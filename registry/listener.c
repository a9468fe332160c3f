#include "registry/listener.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

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

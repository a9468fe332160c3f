#include "signer/service_server.h"

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define READ_STEP   (256u << 10) /* per connection and round, so that all move on together */
#define EVICT_MS    1000 /* when all places are taken, who has been silent for so long goes */
#define FAREWELL_MS 1000 /* for a refusal to be read */

/* --- the listening socket --- */

/* A socket file that nobody listens on any more is in the way; anything else is not ours. */
static int clear_path(const struct sockaddr_un *address, struct error *err)
{
    const char *path = address->sun_path;
    struct stat st;
    if (lstat(path, &st))
        return errno == ENOENT ? OK : fail_sys(err, errno, "look at '%s'", path);
    if (!S_ISSOCK(st.st_mode))
        return fail(err, E_EXISTS, "'%s' exists and is no socket", path);
    CLEANUP(cleanup_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_sys(err, errno, "make a socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN)
        return fail(err, E_BUSY, "another signing service listens on '%s'", path);
    if (errno != ECONNREFUSED)
        return fail_sys(err, errno, "look who listens on '%s'", path);
    if (unlink(path) && errno != ENOENT)
        return fail_sys(err, errno, "remove the old socket '%s'", path);
    return OK;
}

static int give_socket(const char *path, uid_t owner, struct error *err)
{
    if (owner == geteuid())
        return OK;
    if (geteuid() == 0) {
        if (lchown(path, owner, (gid_t)-1))
            return fail_sys(err, errno, "give '%s' to its user", path);
        return OK;
    }
    return fchmodat(AT_FDCWD, path, 0666, AT_SYMLINK_NOFOLLOW)
               ? fail_sys(err, errno, "open '%s' to its user", path)
               : OK;
}

int service_server_listen(const char *path, uid_t owner, int *out, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address.sun_path)
        return fail(err, E_INVALID, "'%s' does not fit a Unix socket's address", path);
    memcpy(address.sun_path, path, len + 1);
    int rc = clear_path(&address, err);
    if (rc)
        return rc;
    CLEANUP(cleanup_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_sys(err, errno, "make a socket");
    mode_t before = umask(0177);
    int failed = bind(fd, (const struct sockaddr *)&address, sizeof address);
    int saved = errno;
    (void)umask(before);
    if (failed)
        return fail_sys(err, saved, "bind '%s'", path);
    rc = give_socket(path, owner, err);
    if (rc)
        return rc;
    if (listen(fd, 128))
        return fail_sys(err, errno, "listen on '%s'", path);
    *out = TAKE_FD(fd);
    return OK;
}

/* --- connections --- */

enum state { STATE_FREE = 0, STATE_READING, STATE_WRITING };

struct connection {
    enum state state;
    int fd;
    int64_t deadline_ms; /* of this state */
    int64_t moved_ms;    /* when a byte came or went last */
    uint8_t header[PROTOCOL_HEADER_BYTES];
    size_t header_len;
    size_t payload_len; /* known once the header is there */
    struct bytes in;    /* payload so far */
    struct bytes out;
    size_t sent;
};

struct server {
    const struct service_server_options *options;
    struct connection connections[SERVICE_SERVER_CONNECTIONS];
    int64_t renew_at_ms;
};

static void connection_end(struct connection *c)
{
    cleanup_fd(&c->fd);
    bytes_done(&c->in);
    bytes_done(&c->out);
    *c = (struct connection){.state = STATE_FREE, .fd = -1};
}

static void connection_send(struct connection *c)
{
    while (c->sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break; /* the client went away; what was signed stays signed */
        c->sent += (size_t)n;
        c->moved_ms = clock_monotonic_ms();
    }
    connection_end(c);
}

static void connection_answer(struct connection *c, int64_t timeout_ms)
{
    bytes_done(&c->in);
    c->state = STATE_WRITING;
    c->moved_ms = clock_monotonic_ms();
    c->deadline_ms = c->moved_ms + timeout_ms;
    connection_send(c);
}

/* Says why, and lets go of everything the request took. */
static void connection_refuse(struct connection *c, const struct error *failure)
{
    log_debug("request dropped: %s", failure->message);
    bytes_clear(&c->out);
    if (protocol_write_failure(failure, &c->out, NULL))
        connection_end(c);
    else
        connection_answer(c, FAREWELL_MS);
}

static unsigned connections_open(const struct server *server)
{
    unsigned n = 0;
    for (size_t i = 0; i < SERVICE_SERVER_CONNECTIONS; i++)
        n += server->connections[i].state != STATE_FREE;
    return n;
}

static void connection_handle(const struct server *server, struct connection *c)
{
    struct error err = ERROR_INIT;
    service_set_connections(server->options->service, connections_open(server));
    int rc = service_answer(server->options->service, c->in.data, c->in.len, &c->out, &err);
    if (rc) {
        log_error("answer a request: %s", err.message);
        connection_end(c);
        return;
    }
    connection_answer(c, server->options->io_timeout_ms);
}

static size_t memory_used(const struct server *server)
{
    size_t used = 0;
    for (size_t i = 0; i < SERVICE_SERVER_CONNECTIONS; i++)
        used += server->connections[i].in.cap + server->connections[i].out.cap;
    return used;
}

/* Room for what comes next: memory follows the bytes that came, not the length that was said. */
static int connection_room(const struct server *server, struct connection *c, size_t *step,
                           struct error *err)
{
    size_t left = c->payload_len - c->in.len;
    *step = left < READ_STEP ? left : READ_STEP;
    if (c->in.cap - c->in.len <= *step && memory_used(server) > SERVICE_SERVER_MEMORY)
        return fail(err, E_BUSY, "too many large requests at once");
    return bytes_reserve(&c->in, *step, err);
}

/* One recv(2): *n is 0 where nothing is there yet. */
static int receive_some(struct connection *c, void *to, size_t len, size_t *n, struct error *err)
{
    ssize_t got = recv(c->fd, to, len, 0);
    *n = 0;
    if (got > 0) {
        *n = (size_t)got;
        c->moved_ms = clock_monotonic_ms();
        return OK;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return OK;
    if (got < 0)
        return fail_sys(err, errno, "read a request");
    return fail(err, E_PROTOCOL, "the request ends early");
}

static int receive_header(struct connection *c, struct error *err)
{
    size_t n = 0;
    int rc = receive_some(c, c->header + c->header_len, sizeof c->header - c->header_len, &n, err);
    c->header_len += n;
    if (!rc && n && c->header_len == sizeof c->header)
        rc = protocol_read_header(c->header, &c->payload_len, err);
    return rc;
}

static int receive_payload(const struct server *server, struct connection *c, struct error *err)
{
    size_t step = 0, n = 0;
    int rc = connection_room(server, c, &step, err);
    if (!rc)
        rc = receive_some(c, c->in.data + c->in.len, step, &n, err);
    c->in.len += n;
    return rc;
}

static void connection_read(const struct server *server, struct connection *c)
{
    struct error err = ERROR_INIT;
    int rc = OK;
    if (c->header_len < sizeof c->header)
        rc = receive_header(c, &err);
    else if (c->in.len < c->payload_len)
        rc = receive_payload(server, c, &err);
    if (rc && c->header_len == 0) {
        connection_end(c); /* came and went without a word */
        return;
    }
    if (rc)
        connection_refuse(c, &err);
    else if (c->header_len == sizeof c->header && c->in.len == c->payload_len)
        connection_handle(server, c);
}

/* --- places --- */

static bool peer_allowed(const struct service_server_options *options, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) || len != sizeof peer)
        return false;
    bool allowed = peer.uid == 0;
    for (size_t i = 0; i < SERVICE_SERVER_PEERS; i++)
        allowed = allowed || peer.uid == options->peers[i];
    if (!allowed)
        log_warn("user %u is not allowed to ask the signing service", (unsigned)peer.uid);
    return allowed;
}

static struct connection *free_place(struct server *server)
{
    for (size_t i = 0; i < SERVICE_SERVER_CONNECTIONS; i++)
        if (server->connections[i].state == STATE_FREE)
            return &server->connections[i];
    return NULL;
}

static void accept_one(struct server *server, struct connection *c)
{
    int fd = accept4(server->options->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return; /* gone again, or out of descriptors: the next round tries again */
    int64_t now_ms = clock_monotonic_ms();
    *c = (struct connection){.state = STATE_READING,
                             .fd = fd,
                             .moved_ms = now_ms,
                             .deadline_ms = now_ms + server->options->io_timeout_ms};
    if (!peer_allowed(server->options, fd)) {
        struct error refusal = ERROR_INIT;
        (void)fail(&refusal, E_DENIED, "this account may not ask the signing service");
        connection_refuse(c, &refusal);
    }
}

/* Somebody waits and all places are taken: the one that has been silent longest makes room. */
static void evict_one(struct server *server)
{
    struct connection *idlest = &server->connections[0];
    for (size_t i = 1; i < SERVICE_SERVER_CONNECTIONS; i++)
        if (server->connections[i].moved_ms < idlest->moved_ms)
            idlest = &server->connections[i];
    if (clock_monotonic_ms() - idlest->moved_ms < EVICT_MS)
        return;
    struct error refusal = ERROR_INIT;
    (void)fail(&refusal, E_BUSY, "the signing service needed the place of a silent connection");
    if (idlest->state == STATE_READING)
        connection_refuse(idlest, &refusal);
    connection_end(idlest);
}

static void end_overdue(struct server *server)
{
    struct error late = ERROR_INIT;
    (void)fail(&late, E_PROTOCOL, "the request did not arrive in time");
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < SERVICE_SERVER_CONNECTIONS; i++) {
        struct connection *c = &server->connections[i];
        if (c->state == STATE_FREE || c->deadline_ms > now_ms)
            continue;
        if (c->state == STATE_READING)
            connection_refuse(c, &late);
        else
            connection_end(c);
    }
}

/* --- the loop --- */

static void renew_due(struct server *server)
{
    struct error err = ERROR_INIT;
    bool more = false;
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms < server->renew_at_ms)
        return;
    int rc = service_renew_one(server->options->service, &more, &err);
    if (rc)
        log_error("%s", err.message);
    /* One at a time: requests come between two renewals. */
    server->renew_at_ms = more ? now_ms : now_ms + server->options->renew_every_ms;
}

static int64_t wait_ms(const struct server *server, bool full)
{
    int64_t now_ms = clock_monotonic_ms(), until_ms = server->renew_at_ms;
    for (size_t i = 0; i < SERVICE_SERVER_CONNECTIONS; i++) {
        const struct connection *c = &server->connections[i];
        if (c->state != STATE_FREE && c->deadline_ms < until_ms)
            until_ms = c->deadline_ms;
    }
    int64_t wait = until_ms > now_ms ? until_ms - now_ms : 0;
    /* With all places taken the listener is always ready; look again a little later. */
    return full && wait > EVICT_MS / 10 ? EVICT_MS / 10 : wait;
}

#define FIRST_CONNECTION 2

/* Returns whether all places are taken; then the listener is looked at apart. */
static bool fill_poll(const struct server *server, struct pollfd *p)
{
    bool full = true;
    p[0] = (struct pollfd){.fd = server->options->stop_fd, .events = POLLIN};
    for (size_t i = 0; i < SERVICE_SERVER_CONNECTIONS; i++) {
        const struct connection *c = &server->connections[i];
        p[FIRST_CONNECTION + i] = (struct pollfd){
            .fd = c->state == STATE_FREE ? -1 : c->fd,
            .events = c->state == STATE_WRITING ? POLLOUT : POLLIN,
        };
        full = full && c->state != STATE_FREE;
    }
    p[1] = (struct pollfd){.fd = full ? -1 : server->options->listen_fd, .events = POLLIN};
    return full;
}

static void serve_connections(struct server *server, const struct pollfd *p)
{
    for (size_t i = 0; i < SERVICE_SERVER_CONNECTIONS; i++) {
        struct connection *c = &server->connections[i];
        if (!p[i].revents || c->state == STATE_FREE)
            continue;
        if (c->state == STATE_READING)
            connection_read(server, c);
        else
            connection_send(c);
    }
}

static bool somebody_waits(int listen_fd)
{
    struct pollfd p = {.fd = listen_fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* One round; *stop: the end was asked for. */
static int serve_round(struct server *server, bool *stop, struct error *err)
{
    struct pollfd p[FIRST_CONNECTION + SERVICE_SERVER_CONNECTIONS];
    bool full = fill_poll(server, p);
    int n = poll(p, FIRST_CONNECTION + SERVICE_SERVER_CONNECTIONS, (int)wait_ms(server, full));
    if (n < 0 && errno != EINTR)
        return fail_sys(err, errno, "wait for requests");
    if (n > 0) {
        *stop = p[0].revents != 0;
        serve_connections(server, p + FIRST_CONNECTION);
        if (p[1].revents & (POLLERR | POLLNVAL))
            return fail(err, E_SYS, "the listening socket failed");
        struct connection *place = p[1].revents ? free_place(server) : NULL;
        if (place)
            accept_one(server, place);
    }
    end_overdue(server);
    if (full && !free_place(server) && somebody_waits(server->options->listen_fd))
        evict_one(server);
    if (!*stop)
        renew_due(server);
    return OK;
}

int service_server_run(const struct service_server_options *options, struct error *err)
{
    CLEANUP(cleanup_free) struct server *server = calloc(1, sizeof *server);
    if (!server)
        return fail_nomem(err);
    server->options = options;
    for (size_t i = 0; i < SERVICE_SERVER_CONNECTIONS; i++)
        server->connections[i].fd = -1;
    bool stop = false;
    int rc = OK;
    while (!rc && !stop)
        rc = serve_round(server, &stop, err);
    /* Answers on their way get a last chance; whoever misses one asks again and gets the same. */
    for (size_t i = 0; i < SERVICE_SERVER_CONNECTIONS; i++) {
        struct connection *c = &server->connections[i];
        if (c->state == STATE_WRITING)
            connection_send(c);
        if (c->state != STATE_FREE)
            connection_end(c);
    }
    return rc;
}

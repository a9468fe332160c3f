#include "tests/support/script_server.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <cmocka.h>

#define MAX_CONNECTIONS 128
#define MAX_BODY        (256u << 20)

struct script_server {
    script_handler *handler;
    void *ctx;
    int listen_fd;
    char host[32];
    pthread_t acceptor;
    pthread_mutex_t lock;
    size_t cut;        /* 0: bodies are read whole */
    int n_connections; /* accepted; fds and threads below are filled up to here */
    int fds[MAX_CONNECTIONS];
    pthread_t threads[MAX_CONNECTIONS];
};

struct connection {
    struct script_server *server;
    int fd;
};

bool script_send(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

bool script_printf(int fd, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    bool good = n >= 0 && script_send(fd, text, (size_t)n);
    free(n >= 0 ? text : NULL);
    return good;
}

bool script_reply(int fd, int status, const char *headers, const char *body)
{
    return script_printf(fd, "HTTP/1.1 %d Scripted\r\nContent-Length: %zu\r\n%s\r\n%s", status,
                         strlen(body), headers, body);
}

bool script_is(const struct script_request *request, const char *method, const char *target_prefix)
{
    return strcmp(request->method, method) == 0 && text_starts(request->target, target_prefix);
}

const char *script_header(const struct script_request *request, const char *name, char *out,
                          size_t size)
{
    size_t len = strlen(name);
    out[0] = '\0';
    for (const char *line = strstr(request->head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *value = line + len + 1 + strspn(line + len + 1, " ");
            (void)snprintf(out, size, "%.*s", (int)strcspn(value, "\r"), value);
            break;
        }
    }
    return out;
}

/* Header block, byte by byte: nothing of the next request may be taken. */
static bool read_head(int fd, struct script_request *q)
{
    size_t n = 0;
    while (n + 1 < sizeof q->head) {
        ssize_t got = recv(fd, q->head + n, 1, 0);
        if (got <= 0)
            return false;
        q->head[++n] = '\0';
        if (n >= 4 && memcmp(q->head + n - 4, "\r\n\r\n", 4) == 0)
            return sscanf(q->head, "%15s %4095s", q->method, q->target) == 2;
    }
    return false;
}

/* How much of a body of len bytes is read. */
static unsigned long long wanted(struct script_server *s, unsigned long long len)
{
    (void)pthread_mutex_lock(&s->lock);
    if (s->cut && len > s->cut) {
        len = s->cut;
        s->cut = 0;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return len;
}

static void read_body(struct script_server *s, int fd, struct script_request *q)
{
    char value[32], block[65536];
    unsigned long long all =
        strtoull(script_header(q, "Content-Length", value, sizeof value), NULL, 10);
    unsigned long long read = wanted(s, all), left = read;
    while (left && q->body.len < MAX_BODY) {
        ssize_t got = recv(fd, block, left < sizeof block ? left : sizeof block, 0);
        if (got <= 0 || bytes_append(&q->body, block, (size_t)got, NULL))
            break;
        left -= (size_t)got;
    }
    q->body_complete = left == 0 && read == all;
}

static void *serve(void *argument)
{
    CLEANUP(cleanup_free) struct connection *c = argument;
    CLEANUP(cleanup_free) struct script_request *q = calloc(1, sizeof *q);
    bool go_on = q != NULL;
    while (go_on && read_head(c->fd, q)) {
        read_body(c->server, c->fd, q);
        go_on = c->server->handler(c->server->ctx, c->fd, q);
        bytes_clear(&q->body);
    }
    if (q)
        bytes_done(&q->body);
    /* The number stays taken until stop(), which must not end a stranger's connection. */
    (void)shutdown(c->fd, SHUT_RDWR);
    return NULL;
}

static void *accept_all(void *argument)
{
    struct script_server *s = argument;
    for (;;) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        struct connection *c = malloc(sizeof *c);
        (void)pthread_mutex_lock(&s->lock);
        int i = s->n_connections;
        if (c && i < MAX_CONNECTIONS) {
            *c = (struct connection){s, fd};
            s->fds[i] = fd;
            if (pthread_create(&s->threads[i], NULL, serve, c) == 0) {
                s->n_connections++;
                c = NULL;
                fd = -1;
            }
        }
        (void)pthread_mutex_unlock(&s->lock);
        free(c);
        cleanup_fd(&fd);
    }
}

struct script_server *script_server_start(script_handler *handler, void *ctx)
{
    struct script_server *s = calloc(1, sizeof *s);
    assert_non_null(s);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    s->handler = handler;
    s->ctx = ctx;
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listen_fd >= 0);
    assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listen_fd, 16), 0);
    assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(s->host, sizeof s->host, "127.0.0.1:%u", ntohs(address.sin_port));
    (void)pthread_mutex_init(&s->lock, NULL);
    assert_int_equal(pthread_create(&s->acceptor, NULL, accept_all, s), 0);
    return s;
}

const char *script_server_host(const struct script_server *s)
{
    return s->host;
}

int script_server_connections(struct script_server *s)
{
    (void)pthread_mutex_lock(&s->lock);
    int n = s->n_connections;
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

void script_server_cut_body(struct script_server *s, size_t bytes)
{
    (void)pthread_mutex_lock(&s->lock);
    s->cut = bytes;
    (void)pthread_mutex_unlock(&s->lock);
}

void script_server_stop(struct script_server *s)
{
    if (!s)
        return;
    (void)shutdown(s->listen_fd, SHUT_RDWR);
    (void)pthread_join(s->acceptor, NULL);
    for (int i = 0; i < s->n_connections; i++) {
        (void)shutdown(s->fds[i], SHUT_RDWR);
        (void)pthread_join(s->threads[i], NULL);
        cleanup_fd(&s->fds[i]);
    }
    cleanup_fd(&s->listen_fd);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

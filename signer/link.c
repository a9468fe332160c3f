#include "signer/link.h"

#include "base/clock.h"
#include "signer/protocol.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Longer than the service gives one request, its queue included; a publication of 32 MiB takes
 * about a second. */
#define LINK_TIMEOUT_MS 30000

struct signer_link {
    struct sockaddr_un address;
};

int signer_link_new(const char *socket_path, struct signer_link **out, struct error *err)
{
    size_t len = strlen(socket_path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (len == 0 || len >= sizeof address.sun_path)
        return fail(err, E_INVALID, "'%s' does not fit a Unix socket's address", socket_path);
    memcpy(address.sun_path, socket_path, len + 1);
    struct signer_link *link = malloc(sizeof *link);
    if (!link)
        return fail_nomem(err);
    link->address = address;
    *out = link;
    return OK;
}

void signer_link_free(struct signer_link *link)
{
    free(link);
}

void signer_link_cleanup(struct signer_link **link)
{
    signer_link_free(*link);
    *link = NULL;
}

void signer_set_done(struct signer_set *set)
{
    for (size_t i = 0; i < set->n_files; i++) {
        cleanup_free(&set->files[i].role);
        bytes_done(&set->files[i].data);
    }
    cleanup_free(&set->files);
    set->n_files = 0;
}

static int link_connect(const struct signer_link *link, int *out, struct error *err)
{
    const char *path = link->address.sun_path;
    CLEANUP(cleanup_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail_sys(err, errno, "make a socket");
    /* connect(2) waits while the service's queue is full; this bounds it (then EAGAIN). */
    struct timeval wait = {.tv_sec = LINK_TIMEOUT_MS / 1000};
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait))
        return fail_sys(err, errno, "set a socket's time-out");
    if (connect(fd, (const struct sockaddr *)&link->address, sizeof link->address)) {
        if (errno == EAGAIN)
            return fail(err, E_BUSY, "the signing service at '%s' is overloaded", path);
        int saved = errno;
        (void)fail_sys(err, saved, "the signing service at '%s' is not running", path);
        if (err)
            err->code = E_NETWORK;
        return E_NETWORK;
    }
    *out = TAKE_FD(fd);
    return OK;
}

/* Waits for `events`; E_NETWORK when the deadline passes first. */
static int link_wait(int fd, short events, int64_t deadline_ms, struct error *err)
{
    for (;;) {
        int64_t left = deadline_ms - clock_monotonic_ms();
        if (left <= 0)
            return fail(err, E_NETWORK, "the signing service did not answer in time");
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, (int)left);
        if (n > 0)
            return OK;
        if (n < 0 && errno != EINTR)
            return fail_sys(err, errno, "wait for the signing service");
    }
}

static int link_lost(struct error *err)
{
    return fail(err, E_NETWORK, "the signing service closed the connection without an answer");
}

/* A service that refuses early answers and closes before it has read everything: a broken pipe is
 * no failure yet, the answer tells. */
static int link_send(int fd, const struct bytes *frame, int64_t deadline_ms, struct error *err)
{
    size_t sent = 0;
    while (sent < frame->len) {
        ssize_t n = send(fd, frame->data + sent, frame->len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += (size_t)n;
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET)
            return OK;
        if (errno != EAGAIN && errno != EINTR)
            return fail_sys(err, errno, "ask the signing service");
        int rc = link_wait(fd, POLLOUT, deadline_ms, err);
        if (rc)
            return rc;
    }
    return OK;
}

static int link_receive(int fd, void *out, size_t len, int64_t deadline_ms, struct error *err)
{
    uint8_t *at = out;
    while (len > 0) {
        ssize_t n = recv(fd, at, len, MSG_DONTWAIT);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
            continue;
        }
        if (n == 0 || errno == ECONNRESET)
            return link_lost(err);
        if (errno != EAGAIN && errno != EINTR)
            return fail_sys(err, errno, "read the signing service's answer");
        int rc = link_wait(fd, POLLIN, deadline_ms, err);
        if (rc)
            return rc;
    }
    return OK;
}

/* One request, one answer; answer receives the payload. */
static int ask_within(const struct signer_link *link, const struct protocol_request *request,
                      int64_t timeout_ms, struct bytes *answer, struct error *err)
{
    CLEANUP(bytes_done) struct bytes frame = BYTES_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = protocol_write_request(request, &frame, err);
    if (!rc)
        rc = link_connect(link, &fd, err);
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    if (!rc)
        rc = link_send(fd, &frame, deadline_ms, err);
    uint8_t header[PROTOCOL_HEADER_BYTES];
    size_t len = 0;
    if (!rc)
        rc = link_receive(fd, header, sizeof header, deadline_ms, err);
    if (!rc)
        rc = protocol_read_header(header, &len, err);
    if (!rc)
        rc = bytes_reserve(answer, len, err);
    if (!rc)
        rc = link_receive(fd, answer->data, len, deadline_ms, err);
    if (!rc)
        answer->len = len;
    return rc;
}

static int link_ask(const struct signer_link *link, const struct protocol_request *request,
                    struct bytes *answer, struct error *err)
{
    return ask_within(link, request, LINK_TIMEOUT_MS, answer, err);
}

static int request_init(enum protocol_kind kind, const char *collection,
                        struct protocol_request *out, struct error *err)
{
    size_t len = strlen(collection);
    if (!repository_name_valid(collection, len))
        return fail(err, E_INVALID, "'%s' is not the name of a collection", collection);
    *out = (struct protocol_request){.kind = kind};
    memcpy(out->collection, collection, len + 1);
    return OK;
}

static int ask_key(const struct signer_link *link, const struct protocol_request *request,
                   struct bytes *json, struct error *err)
{
    CLEANUP(bytes_done) struct bytes answer = BYTES_INIT;
    int rc = link_ask(link, request, &answer, err);
    return rc ? rc : protocol_read_key(request->kind, answer.data, answer.len, json, err);
}

int signer_link_key(const struct signer_link *link, const char *collection, enum tuf_type role,
                    struct bytes *json, struct error *err)
{
    struct protocol_request request;
    int rc = request_init(PROTOCOL_KEY, collection, &request, err);
    request.role = role;
    return rc ? rc : ask_key(link, &request, json, err);
}

int signer_link_new_key(const struct signer_link *link, const char *collection,
                        const struct signer_new_key *wanted, struct bytes *json, struct error *err)
{
    struct protocol_request request;
    int rc = request_init(PROTOCOL_NEW_KEY, collection, &request, err);
    request.role = wanted->role;
    request.another = wanted->another;
    return rc ? rc : ask_key(link, &request, json, err);
}

static int ask_set(const struct signer_link *link, const struct protocol_request *request,
                   struct signer_set *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes answer = BYTES_INIT;
    int rc = link_ask(link, request, &answer, err);
    return rc ? rc : protocol_read_set(request->kind, answer.data, answer.len, out, err);
}

/* Requests are only read when they are written: the files stay the caller's. *list is borrowed by
 * the request; free it. */
static int set_files(struct protocol_request *request, const struct tuf_file *files, size_t n,
                     struct tuf_file **list, struct error *err)
{
    *list = calloc(n ? n : 1, sizeof **list);
    if (!*list)
        return fail_nomem(err);
    if (n)
        memcpy(*list, files, n * sizeof **list);
    request->changes = *list;
    request->n_changes = n;
    return OK;
}

int signer_link_publish(const struct signer_link *link, const char *collection,
                        const struct tuf_file *changes, size_t n, struct signer_set *out,
                        struct error *err)
{
    struct protocol_request request;
    int rc = request_init(PROTOCOL_PUBLISH, collection, &request, err);
    if (rc)
        return rc;
    CLEANUP(cleanup_free) struct tuf_file *list = NULL;
    rc = set_files(&request, changes, n, &list, err);
    return rc ? rc : ask_set(link, &request, out, err);
}

int signer_link_refresh(const struct signer_link *link, const char *collection,
                        struct signer_set *out, struct error *err)
{
    struct protocol_request request;
    int rc = request_init(PROTOCOL_REFRESH, collection, &request, err);
    return rc ? rc : ask_set(link, &request, out, err);
}

int signer_link_files(const struct signer_link *link, const char *collection,
                      const char *const *names, size_t n, struct signer_set *out, struct error *err)
{
    struct protocol_request request;
    int rc = request_init(PROTOCOL_FILES, collection, &request, err);
    if (rc)
        return rc;
    CLEANUP(cleanup_free) struct tuf_file *list = calloc(n ? n : 1, sizeof *list);
    if (!list)
        return fail_nomem(err);
    for (size_t i = 0; i < n; i++)
        list[i] = (struct tuf_file){.role = names[i], .data = ""};
    request.changes = list;
    request.n_changes = n;
    return ask_set(link, &request, out, err);
}

int signer_link_roots(const struct signer_link *link, const char *collection, int64_t since,
                      struct signer_set *out, struct error *err)
{
    struct protocol_request request;
    int rc = request_init(PROTOCOL_ROOTS, collection, &request, err);
    request.since = since;
    return rc ? rc : ask_set(link, &request, out, err);
}

/* --- about its memory --- */

void signer_status_done(struct signer_status *status)
{
    bytes_done(&status->metrics);
}

void signer_changes_done(struct signer_changes *changes)
{
    for (size_t i = 0; i < changes->n; i++)
        free(changes->items[i].collection);
    cleanup_free(&changes->items);
    changes->n = 0;
}

static int ask_object(const struct signer_link *link, const struct protocol_request *request,
                      int64_t timeout_ms, struct js **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes answer = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    int rc = ask_within(link, request, timeout_ms, &answer, err);
    if (!rc)
        rc = protocol_read_object(request->kind, answer.data, answer.len, &json, err);
    return rc ? rc : js_parse(json.data, json.len, out, err);
}

static int copy_text(const struct js *object, const char *key, char *out, size_t size,
                     struct error *err)
{
    const char *text = NULL;
    int rc = js_want_text(object, key, &text, err);
    if (!rc && strlen(text) >= size)
        rc = fail(err, E_PROTOCOL, "the signing service's '%s' is too long", key);
    if (!rc)
        memcpy(out, text, strlen(text) + 1);
    return rc;
}

int signer_link_status(const struct signer_link *link, int64_t timeout_ms,
                       struct signer_status *out, struct error *err)
{
    const struct protocol_request request = {.kind = PROTOCOL_STATUS};
    CLEANUP(signer_status_done) struct signer_status s = {.metrics = BYTES_INIT};
    CLEANUP(js_cleanup) struct js *o = NULL;
    const char *metrics = NULL;
    int rc = ask_object(link, &request, timeout_ms, &o, err);
    if (!rc)
        rc = copy_text(o, "identity", s.identity, sizeof s.identity, err);
    if (!rc)
        rc = copy_text(o, "hash", s.hash, sizeof s.hash, err);
    if (!rc)
        rc = js_want_int(o, "number", 0, INT64_MAX, &s.number, err);
    if (!rc)
        rc = js_want_int(o, "doubtedCollections", 0, INT64_MAX, &s.n_doubted, err);
    if (!rc)
        rc = js_want_bool(o, "doubted", &s.doubted, err);
    if (!rc)
        rc = js_want_bool(o, "tokenFailing", &s.token_failing, err);
    if (!rc)
        rc = js_want_text(o, "metrics", &metrics, err);
    if (!rc)
        rc = bytes_append_text(&s.metrics, metrics, err);
    if (rc)
        return rc;
    *out = s;
    s.metrics = (struct bytes)BYTES_INIT;
    return OK;
}

static int read_change(const struct js *item, struct signer_change *out, struct error *err)
{
    const char *name = NULL;
    int rc = js_want_text(item, "name", &name, err);
    if (!rc && !repository_name_valid(name, strlen(name)))
        rc = fail(err, E_PROTOCOL, "'%s' is not the name of a collection", name);
    if (!rc)
        rc = js_want_int(item, "number", 0, INT64_MAX, &out->number, err);
    if (!rc)
        rc = js_want_int(item, "root", 0, TUF_MAX_VERSION, &out->root, err);
    if (!rc)
        rc = js_want_int(item, "timestamp", 0, TUF_MAX_VERSION, &out->timestamp, err);
    if (!rc && !(out->collection = strdup(name)))
        rc = fail_nomem(err);
    return rc;
}

static int read_changes(const struct js *list, struct signer_changes *out, struct error *err)
{
    size_t n = js_count(list);
    int rc = OK;
    if (n > SIGNER_PAGE)
        return fail(err, E_PROTOCOL, "the signing service names %zu collections at once", n);
    out->items = calloc(n ? n : 1, sizeof *out->items);
    if (!out->items)
        return fail_nomem(err);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = read_change(js_at(list, i), &out->items[i], err);
        out->n += !rc;
    }
    return rc;
}

int signer_link_changed(const struct signer_link *link, int64_t since, struct signer_changes *out,
                        struct error *err)
{
    const struct protocol_request request = {.kind = PROTOCOL_CHANGED, .since = since};
    CLEANUP(signer_changes_done) struct signer_changes c = {.items = NULL};
    CLEANUP(js_cleanup) struct js *o = NULL;
    const struct js *list = NULL;
    int rc = ask_object(link, &request, LINK_TIMEOUT_MS, &o, err);
    if (!rc)
        rc = copy_text(o, "identity", c.identity, sizeof c.identity, err);
    if (!rc)
        rc = js_want_int(o, "number", 0, INT64_MAX, &c.number, err);
    if (!rc)
        rc = js_want_int(o, "last", 0, INT64_MAX, &c.last, err);
    if (!rc)
        rc = copy_text(o, "hash", c.hash, sizeof c.hash, err);
    if (!rc)
        rc = copy_text(o, "sinceHash", c.since_hash, sizeof c.since_hash, err);
    if (!rc)
        rc = js_want_bool(o, "whole", &c.whole, err);
    if (!rc)
        rc = js_want_array(o, "collections", &list, err);
    if (!rc)
        rc = read_changes(list, &c, err);
    if (rc)
        return rc;
    *out = c;
    c = (struct signer_changes){.items = NULL};
    return OK;
}

int signer_link_show(const struct signer_link *link, const char *collection,
                     const struct tuf_file *files, size_t n, bool *adopted, struct error *err)
{
    struct protocol_request request;
    CLEANUP(js_cleanup) struct js *o = NULL;
    int rc = request_init(PROTOCOL_SHOW, collection, &request, err);
    if (rc)
        return rc;
    CLEANUP(cleanup_free) struct tuf_file *list = NULL;
    rc = set_files(&request, files, n, &list, err);
    if (!rc)
        rc = ask_object(link, &request, LINK_TIMEOUT_MS, &o, err);
    return rc ? rc : js_want_bool(o, "adopted", adopted, err);
}

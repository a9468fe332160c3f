/*
 * What the parts of the HTTPS server share: server, connection, request, reply.
 */
#ifndef BULLA_REGISTRY_HTTP_INTERNAL_H
#define BULLA_REGISTRY_HTTP_INTERNAL_H

#include "registry/http_form.h"
#include "registry/http_watch.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdatomic.h>

struct http_server {
    struct http_app app;
    struct MHD_Daemon *daemon;
    struct http_watch *watch;
    struct http_certificate *certificate; /* NULL: plain */
    bool asks_certificates;               /* of clients */
    atomic_uint_fast64_t next_id;
    uint64_t body_bytes; /* at most this much of each of the next two */
    atomic_uint_fast64_t bytes_in, bytes_out;
    atomic_bool closing;
};

struct http_connection {
    struct http_server *server;
    struct http_watch_entry *watch;
    struct http_certificate_pair *pair; /* held by the handshake */
};

struct reply {
    unsigned status;
    struct bytes headers; /* name NUL value NUL … */
    struct bytes body;
    struct http_stream stream; /* read NULL: body */
    uint64_t offset;
    uint64_t len; /* of either */
};

struct http_request {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_watch_entry *watch;
    uint64_t id;
    char id_text[HTTP_ID_TEXT_MAX];
    int64_t start_us;
    enum http_method method;
    const char *method_name; /* static */
    char *path, *query;      /* one allocation: path */
    uintptr_t target_end;    /* where the target ends in the library's memory */
    char address[INET6_ADDRSTRLEN];
    bool seen;    /* the first call has happened */
    bool begun;   /* app.begin has been called, so app.end must be */
    bool refused; /* a reply is set; the rest of the body is of no interest */
    uint64_t received, sent;
    uint64_t length;                 /* of the body, 0: unknown */
    bool batched;                    /* large reads only */
    uint64_t drained;                /* of what was received: since it is of no interest */
    uint64_t reserved, reserved_out; /* of the server's bytes_in and bytes_out */
    struct http_form *form;
    struct reply reply;
    void *call;
};

/* Takes n more of what all requests may hold at once; false: there is not as much. */
bool http_budget_take(struct http_server *s, atomic_uint_fast64_t *used, uint64_t n);
/* Queues what the request's reply says. close_after: the connection ends with it. */
enum MHD_Result http_reply_send(struct http_request *r, bool close_after);

#endif

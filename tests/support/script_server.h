/*
 * A peer that does as a test tells it: an HTTP server on 127.0.0.1 whose every answer is raw bytes
 * written by the test's handler, so that it can break each rule. Not a real server.
 *
 * Each connection has its own thread, so handlers of several connections run at the same time.
 */
#ifndef BULLA_TESTS_SUPPORT_SCRIPT_SERVER_H
#define BULLA_TESTS_SUPPORT_SCRIPT_SERVER_H

#include "base/bytes.h"

struct script_request {
    char method[16];
    char target[4096];
    char head[16384]; /* request line and headers */
    struct bytes body;
    bool body_complete; /* false: the client left before the end of its body */
};

/* Writes the answer to fd. False: the connection is closed. */
typedef bool script_handler(void *ctx, int fd, const struct script_request *request);

struct script_server;

/* Ends the test where that fails. */
struct script_server *script_server_start(script_handler *handler, void *ctx);
/* "127.0.0.1:PORT" */
const char *script_server_host(const struct script_server *s);
/* Ends all connections, waits for the threads. */
void script_server_stop(struct script_server *s);
/* Connections accepted so far. */
int script_server_connections(struct script_server *s);

/* The next body longer than `bytes` is read up to there only: the handler gets it incomplete, and
 * closing then breaks the connection under the client. Once; 0: not. */
void script_server_cut_body(struct script_server *s, size_t bytes);

/* --- for handlers --- */

/* Writes all of it; false where the client has gone. */
bool script_send(int fd, const void *data, size_t len);
bool script_printf(int fd, const char *format, ...) PRINTF_LIKE(2, 3);
/* A whole answer with Content-Length and `headers` ("A: b\r\n…"); keeps the connection. */
bool script_reply(int fd, int status, const char *headers, const char *body);
bool script_is(const struct script_request *request, const char *method, const char *target_prefix);
/* Value of a header ("" where absent) into out. */
const char *script_header(const struct script_request *request, const char *name, char *out,
                          size_t size);

#endif

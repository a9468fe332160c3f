/*
 * The signing service's socket: one thread, one poll loop, one request per connection.
 *
 * Requests are handled one after the other; reading and answering never wait for one client. A
 * client that stalls, lies about a length or goes away costs its own connection only.
 */
#ifndef BULLA_SIGNER_SERVICE_SERVER_H
#define BULLA_SIGNER_SERVICE_SERVER_H

#include "signer/service.h"

#include <sys/types.h>

#define SERVICE_SERVER_CONNECTIONS 64u
/* All requests that are being received or answered at a time. */
#define SERVICE_SERVER_MEMORY (4u * PROTOCOL_MAX_BYTES)
#define SERVICE_SERVER_PEERS  2u

/* Binds and listens on `path` (close-on-exec, non-blocking). What a dead service left there is
 * replaced; E_BUSY where a living one answers, E_EXISTS where the file is no socket. The socket is
 * 0600 and belongs to `owner` if that is another account than ours: made as root it is given to it;
 * else every account may connect and only the check of each peer decides. While there is one thread
 * only (umask). */
int service_server_listen(const char *path, uid_t owner, int *fd, struct error *err) MUST_CHECK;

struct service_server_options {
    struct service *service;
    int listen_fd;
    int stop_fd;                       /* readable: come to an end */
    uid_t peers[SERVICE_SERVER_PEERS]; /* accounts that may ask, beside root */
    int64_t io_timeout_ms;  /* for the whole request to arrive, and for the answer to go */
    int64_t renew_every_ms; /* between two searches for what is due */
};

/* Serves until stop_fd is readable (0) or the socket fails. */
int service_server_run(const struct service_server_options *options, struct error *err) MUST_CHECK;

#endif

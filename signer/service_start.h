/*
 * From a configuration to a confined, running signing service.
 *
 * Order: lock, passphrase and socket while the process may still reach them → the service's own
 * user → database and keys → no new privileges, no dumps, Landlock, seccomp → first request.
 */
#ifndef BULLA_SIGNER_SERVICE_START_H
#define BULLA_SIGNER_SERVICE_START_H

#include "base/config.h"

#include <sys/types.h>

struct service_start {
    const struct server_config *config;
    pid_t parent; /* end when this process, our parent, ends; 0: live on */
};

/* Runs until SIGTERM or SIGINT (0) or a failure. Writes "listening on SOCKET" to standard output
 * when requests can come. The process can do nothing else afterwards. E_BUSY: another one runs on
 * this data. E_PASSPHRASE: file readable by others, or not the one the database was made with. */
int service_start(const struct service_start *start, struct error *err) MUST_CHECK;

#endif

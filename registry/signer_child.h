/*
 * Starting bulla-signer as a child of the registry: the default set-up.
 */
#ifndef BULLA_REGISTRY_SIGNER_CHILD_H
#define BULLA_REGISTRY_SIGNER_CHILD_H

#include "base/config.h"

#include <stdbool.h>

#include <sys/types.h>

#define SIGNER_CHILD_WAIT_MS 20000 /* it derives a key from its passphrase first */

/*
 * Starts the bulla-signer that lies beside the running program and waits until it listens. Where
 * one answers on the socket already (its own service unit), that one is used and *life_fd stays as
 * it is. Otherwise *life_fd is owned by the caller: when it is closed, be it by the end of this
 * process, the child gets SIGTERM. To be called while the process has one thread. E_NOTFOUND: no
 * such program; E_NETWORK: it did not come up, its own lines say why.
 */
int signer_child_start(const struct server_config *config, int *life_fd,
                       struct error *err) MUST_CHECK;

/* Whether anybody takes connections on that socket; never waits. */
bool signer_child_answers(const char *socket_path);

#endif

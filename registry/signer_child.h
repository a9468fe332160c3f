/*
 * Starting bulla-signer as a child of the registry: the default set-up.
 */
#ifndef BULLA_REGISTRY_SIGNER_CHILD_H
#define BULLA_REGISTRY_SIGNER_CHILD_H

#include "base/config.h"

#include <sys/types.h>

#define SIGNER_CHILD_WAIT_MS 20000 /* it derives a key from its passphrase first */

/*
 * Starts the bulla-signer that lies beside the running program and waits until it listens. Where
 * one answers on the socket already (its own service unit), that one is used and *pid is 0. The
 * child watches its parent and ends with it. To be called while the process has one thread.
 * E_NOTFOUND: no such program; E_NETWORK: it did not come up, its own lines say why.
 */
int signer_child_start(const struct server_config *config, pid_t *pid,
                       struct error *err) MUST_CHECK;

#endif

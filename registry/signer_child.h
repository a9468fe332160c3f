/*
 * Starting bulla-signer as a child of the registry: the default set-up.
 */
#ifndef BULLA_REGISTRY_SIGNER_CHILD_H
#define BULLA_REGISTRY_SIGNER_CHILD_H

#include "base/config.h"

#include <stdbool.h>

#include <sys/types.h>

#define SIGNER_CHILD_WAIT_MS 20000

/* Both -1: none was started. */
struct signer_child {
    int life_fd; /* when it is closed, be it by the end of this process, the child gets SIGTERM */
    int out_fd;  /* what the child says */
};

/*
 * Starts the bulla-signer that lies beside the running program and waits until its socket takes
 * connections. It answers them once it has derived a key from its passphrase: nobody who only reads
 * has to wait for that. Where one answers on the socket already (its own service unit), that one is
 * used and *out stays as it is; otherwise signer_child_done ends the child. To be called while the
 * process has one thread. E_NOTFOUND: no such program; E_NETWORK: it did not come up, its own lines
 * say why.
 */
int signer_child_start(const struct server_config *config, struct signer_child *out,
                       struct error *err) MUST_CHECK;
/* After a child has ended. E_NETWORK: it never got as far as answering. */
int signer_child_check_ended(struct signer_child *child, struct error *err) MUST_CHECK;
void signer_child_done(struct signer_child *child);

/* Whether anybody takes connections on that socket; never waits. */
bool signer_child_answers(const char *socket_path);

#endif

/*
 * The registry's parts, put together: storage, index, sessions, users, link to the signing service.
 */
#ifndef BULLA_REGISTRY_SERVICE_H
#define BULLA_REGISTRY_SERVICE_H

#include "registry/api.h"

#define SERVICE_LOCK_NAME    "serve.lock"
#define SERVICE_LOCK_WAIT_MS 3000 /* a server that was just ended may still be writing */

/* Opens storage and index; starts no thread, so that the process can still be confined. config must
 * outlive it. E_BUSY where another server has the data folder. */
int registry_open(const struct server_config *config, struct registry *out,
                  struct error *err) MUST_CHECK;
/* Starts the index's writer and what needs it. */
int registry_start(struct registry *r, struct error *err) MUST_CHECK;
void registry_close(struct registry *r);

#endif

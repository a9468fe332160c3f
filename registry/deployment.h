/*
 * Whether a configuration holds together on this machine: what lies where, and who can read what.
 *
 * For `config check` and the start of the server; needs the rights the process was started with.
 */
#ifndef BULLA_REGISTRY_DEPLOYMENT_H
#define BULLA_REGISTRY_DEPLOYMENT_H

#include "base/config.h"

#include <stdbool.h>

/* Secrets must not lie in the data folder, which the confined server may read and write as a
 * whole. E_INVALID names the one that does. */
int deployment_check(const struct server_config *config, struct error *err) MUST_CHECK;

/* dataDir holds a registry: where its disk is not mounted, an empty one must not come up in its
 * place, nor a command make one that is root's. E_NOTFOUND. */
int deployment_check_initialised(const struct server_config *config, struct error *err) MUST_CHECK;

/* E_INVALID where `path`, there or not, lies in the data folder. what: its name in the message. */
int deployment_outside(const struct server_config *config, const char *what, const char *path,
                       struct error *err) MUST_CHECK;

/* Folders where new certificates and keys will appear: those of the names, and of the files that
 * the names lead to. A folder that holds more secrets than the server's own is left out: then
 * *watched is false and a new certificate needs a restart. Owned by the caller. */
#define DEPLOYMENT_FOLDERS 4
struct deployment_folders {
    char *names[DEPLOYMENT_FOLDERS]; /* NULL behind the last */
    bool watched;
};
int deployment_tls_folders(const struct server_config *config, struct deployment_folders *out,
                           struct error *err) MUST_CHECK;
void deployment_folders_done(struct deployment_folders *folders);

/* Whether the account `user` (NULL: this process) can read both TLS files. Tried in a child that
 * becomes that account. */
int deployment_tls_readable(const struct server_config *config, bool *out,
                            struct error *err) MUST_CHECK;

#endif

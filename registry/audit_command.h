/*
 * Changes that a command makes beside a running or stopped server, recorded like the server's own.
 */
#ifndef BULLA_REGISTRY_AUDIT_COMMAND_H
#define BULLA_REGISTRY_AUDIT_COMMAND_H

#include "registry/audit.h"

/* The local account that runs a command, as `who`: "root", "root (login uid 1000)". Returns out. */
#define AUDIT_WHO_MAX 96
const char *audit_local_who(char out[AUDIT_WHO_MAX]);

struct audit_command {
    const char *data_dir;
    struct index *index;                      /* started */
    const char *event;                        /* "user.add" */
    const char *object, *repository, *detail; /* may be NULL */
    int (*work)(struct index_tx *tx, void *arg, struct error *err);
    void *arg;
};
/* Records the change as begun, makes it in one transaction, records its result. The work's code;
 * E_SYS, E_BUSY: the log cannot be written and nothing was done. */
int audit_command(const struct audit_command *c, struct error *err) MUST_CHECK;

#endif

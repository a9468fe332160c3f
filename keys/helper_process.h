/*
 * The child process bulla-pkcs11: starting, ending, and saying how it ended. Private to keys/.
 *
 * One thread per object. The child's standard error goes to /dev/null, since modules like to
 * print; BULLA_PKCS11_DEBUG=1 lets it through.
 */
#ifndef BULLA_KEYS_HELPER_PROCESS_H
#define BULLA_KEYS_HELPER_PROCESS_H

#include "keys/pkcs11_protocol.h"

#include <sys/types.h>

struct token_host;

struct helper_process {
    pid_t pid; /* 0: none */
    struct pkcs11_channel channel;
    struct token_host *host; /* whose child it is; NULL: ours */
};

#define HELPER_PROCESS_INIT                                                                        \
    {                                                                                              \
        0, {-1, SECRET_INIT}, NULL                                                                 \
    }

/* Looks for bulla-pkcs11 beside the running program, then in ../libexec/bulla, and has it started
 * by the host (NULL: here). E_TOKEN. */
int helper_process_start(struct token_host *host, struct helper_process *process,
                         struct error *err) MUST_CHECK;
/* The same as a plain child with a connection, both the caller's. */
int helper_process_spawn(int *fd, pid_t *pid, struct error *err) MUST_CHECK;
/* Closes the connection, gives the child 2 s to release the token, then kills it; reaps it. */
void helper_process_stop(struct helper_process *process);
/* After a broken conversation: kills and reaps the child, and says in err (E_TOKEN) how it ended
 * beside `what` happened. Returns E_TOKEN. */
int helper_process_fail(struct helper_process *process, const char *what, struct error *err);

/* Unit tests only, whose program does not lie beside the helper: this path instead; NULL ends it.
 * The name is borrowed. */
void token_helper_path_for_test(const char *path);

#endif

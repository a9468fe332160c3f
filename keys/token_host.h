/*
 * A small process that starts bulla-pkcs11 for a program that can start nothing itself any more.
 *
 * A server confines itself, while a vendor's module needs files, sockets and devices of its own and
 * must be started anew after a fault. So the server forks this process first; it hands out the
 * connection to each helper it starts, ends helpers when told to, and ends with its server. It
 * never sees a PIN. One thread per object.
 */
#ifndef BULLA_KEYS_TOKEN_HOST_H
#define BULLA_KEYS_TOKEN_HOST_H

#include "keys/signing_key.h"

struct token_host;

/* Runs in the new process, before anything else: gives up what the caller has and it needs not. */
struct token_host_options {
    int (*become)(void *context, struct error *err); /* NULL: stay who we are */
    void *context;
};

/* Forks: while the process has one thread, and best before it knows a secret. E_SYS, and what
 * `become` says. */
int token_host_start(const struct token_host_options *options, struct token_host **out,
                     struct error *err) MUST_CHECK;
void token_host_stop(struct token_host *host);
void token_host_cleanup(struct token_host **host);

/* How to reach tokens; everything is borrowed and outlives the keys opened with it. */
struct token_terms {
    const char *module;         /* as for token_list */
    struct secret_source *pins; /* as for token_open */
    struct token_host *host;    /* NULL: start helpers here */
    int patience_ms;            /* for each answer; 0: as long as a person needs */
};
/* As token_list and token_open. */
int token_list_on(const struct token_terms *terms, struct token_key **out, size_t *n,
                  struct error *err) MUST_CHECK;
int token_open_on(const struct token_terms *terms, const char *uri, struct signing_key **out,
                  struct error *err) MUST_CHECK;

/* --- for helper_process.c --- */

/* *fd is the caller's. E_TOKEN: the helper cannot be started, or the host has ended. */
int token_host_spawn(struct token_host *host, int *fd, pid_t *pid, struct error *err) MUST_CHECK;
/* Gives the helper a moment to release the token (its connection is closed), or none. */
void token_host_end(struct token_host *host, pid_t pid, bool at_once);

#endif

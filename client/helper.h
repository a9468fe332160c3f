/*
 * Credential helpers: programs docker-credential-NAME that keep registry passwords.
 *
 * A helper is started without a shell, from an absolute folder of PATH only, with nothing but its
 * verb as argument; secrets go through its standard input and output. Its time, output and error
 * text are bounded. Its name comes from a file and is checked before it becomes part of a path.
 * Thread-safe. Source: docker/docker-credential-helpers, "Development".
 */
#ifndef BULLA_CLIENT_HELPER_H
#define BULLA_CLIENT_HELPER_H

#include "client/auth.h"

#define HELPER_NAME_MAX   64
#define HELPER_OUTPUT_MAX (64u << 10)
#define HELPER_TIME_MS    (60 * 1000) /* a person may have to type a passphrase */

/* What the helper has for host, into user and password or identity ("<token>" for a user name means
 * an identity token). Nothing known: success with all NULL. E_USAGE (name), E_NOTFOUND (no such
 * program), E_INVALID (its answer), E_SYS (it failed; with its own words), E_BUSY (too slow). */
int helper_get(const char *name, const char *host, struct credentials *out,
               struct error *err) MUST_CHECK;
int helper_store(const char *name, const char *host, const char *user, const char *password,
                 struct error *err) MUST_CHECK;
/* Erasing what is not there is fine. */
int helper_erase(const char *name, const char *host, struct error *err) MUST_CHECK;

/* Letters, digits, '_', '-' and '.', not first a '-' or '.'. */
bool helper_name_valid(const char *name);
/* Path of the program in `path` (the form of PATH; entries that are not absolute are skipped). */
int helper_find(const char *name, const char *path, char **out, struct error *err) MUST_CHECK;
/* Runs program VERB with the input; *status is its exit status. out and words (its standard error)
 * are appended to, wiped by the caller. */
struct helper_run {
    const char *program, *verb;
    const void *input;
    size_t input_len;
    int time_ms;
    struct bytes *out, *words;
    int status; /* out */
};
int helper_run(struct helper_run *run, struct error *err) MUST_CHECK;

#endif

/*
 * From an Authorization header to a subject.
 *
 * A success is remembered for at most USERS_CACHE_S under an HMAC with a key of this process; the
 * MAC covers the stored password hash, so a user whose password changes or who is removed, in this
 * or any other process, is forgotten at once. An unknown user costs what a wrong password costs.
 * Thread-safe.
 */
#ifndef BULLA_REGISTRY_USERS_H
#define BULLA_REGISTRY_USERS_H

#include "registry/access.h"
#include "registry/index_accounts.h"

#define USERS_CACHE_S 300

struct users;

/* password_init must have been called. */
int users_new(struct users **out, struct error *err) MUST_CHECK;
void users_free(struct users *u);

/*
 * authorization: the header, NULL where there is none. subject (USER_NAME_MAX + 1 bytes) receives
 * the user's name, or "anonymous" where no credentials, or empty ones, were sent. E_UNAUTHORIZED:
 * wrong or unreadable credentials. E_BUSY. Never logs the header.
 */
int users_authenticate(struct users *u, struct index_tx *tx, const char *authorization,
                       char *subject, struct error *err) MUST_CHECK;

#endif

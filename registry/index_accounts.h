/*
 * Users and grants in the index.
 *
 * Functions that change something need a transaction from index_write; the others work in any.
 */
#ifndef BULLA_REGISTRY_INDEX_ACCOUNTS_H
#define BULLA_REGISTRY_INDEX_ACCOUNTS_H

#include "registry/index.h"

#define USER_NAME_MAX     64
#define PASSWORD_HASH_MAX 128 /* what libsodium writes for Argon2id */

/* E_EXISTS. */
int index_user_add(struct index_tx *tx, const char *name, const char *password_hash,
                   struct error *err) MUST_CHECK;
/* E_NOTFOUND. */
int index_user_set_password(struct index_tx *tx, const char *name, const char *password_hash,
                            struct error *err) MUST_CHECK;
/* With the grants the user has. E_NOTFOUND. */
int index_user_remove(struct index_tx *tx, const char *name, struct error *err) MUST_CHECK;
/* hash: PASSWORD_HASH_MAX bytes. E_NOTFOUND. */
int index_user_find(struct index_tx *tx, const char *name, char *hash,
                    struct error *err) MUST_CHECK;
/* Names in byte order. */
int index_users_each(struct index_tx *tx,
                     int (*visit)(void *context, const char *name, struct error *err),
                     void *context, struct error *err) MUST_CHECK;

struct index_grant {
    const char *subject, *pattern;
    int64_t actions; /* bits of enum access_action */
};
/* Adds the actions to those the subject has for the pattern. */
int index_grant_add(struct index_tx *tx, const struct index_grant *grant,
                    struct error *err) MUST_CHECK;
/* Takes the actions away. E_NOTFOUND: there is no grant of that subject and pattern. */
int index_grant_remove(struct index_tx *tx, const struct index_grant *grant,
                       struct error *err) MUST_CHECK;
/* Grants of `subject` (NULL: of all), ordered; strings live during the call. visit returns 0 to go
 * on, 1 to stop, or a code. */
int index_grants_each(struct index_tx *tx, const char *subject,
                      int (*visit)(void *context, const struct index_grant *grant,
                                   struct error *err),
                      void *context, struct error *err) MUST_CHECK;

#endif

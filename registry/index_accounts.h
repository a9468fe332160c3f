/*
 * Users, groups and grants in the index.
 *
 * Functions that change something need a transaction from index_write; the others work in any. What
 * belongs to a user or a group goes with it in the same transaction, so that a later one of the
 * same name inherits nothing.
 */
#ifndef BULLA_REGISTRY_INDEX_ACCOUNTS_H
#define BULLA_REGISTRY_INDEX_ACCOUNTS_H

#include "registry/index.h"

#define USER_NAME_MAX     64
#define PASSWORD_HASH_MAX 128 /* what libsodium writes for Argon2id */

struct index_user {
    char name[USER_NAME_MAX + 1];
    char hash[PASSWORD_HASH_MAX];
    /* Random, new whenever the user is made, changed or disabled: what was handed out for another
     * one (tokens) is void. */
    int64_t serial;
    int64_t created_s;
    bool disabled;
};

/* E_EXISTS. */
int index_user_add(struct index_tx *tx, const char *name, const char *password_hash,
                   struct error *err) MUST_CHECK;
/* E_NOTFOUND. */
int index_user_set_password(struct index_tx *tx, const char *name, const char *password_hash,
                            struct error *err) MUST_CHECK;
/* E_NOTFOUND. Nothing changes where it is so already. */
int index_user_set_disabled(struct index_tx *tx, const char *name, bool disabled,
                            struct error *err) MUST_CHECK;
/* With grants, memberships, API tokens and certificates of the user. E_NOTFOUND. */
int index_user_remove(struct index_tx *tx, const char *name, struct error *err) MUST_CHECK;
/* E_NOTFOUND. */
int index_user_find(struct index_tx *tx, const char *name, struct index_user *out,
                    struct error *err) MUST_CHECK;
/* In byte order of their names; visit returns 0 to go on, or a code. */
int index_users_each(struct index_tx *tx,
                     int (*visit)(void *context, const struct index_user *user, struct error *err),
                     void *context, struct error *err) MUST_CHECK;

/* --- groups --- */

/* E_EXISTS. */
int index_group_add(struct index_tx *tx, const char *name, struct error *err) MUST_CHECK;
/* With its grants and memberships. E_NOTFOUND. */
int index_group_remove(struct index_tx *tx, const char *name, struct error *err) MUST_CHECK;
/* E_NOTFOUND. */
int index_group_find(struct index_tx *tx, const char *name, struct error *err) MUST_CHECK;
/* Present ones are fine. E_NOTFOUND: no such group or user. */
int index_member_add(struct index_tx *tx, const char *group, const char *user,
                     struct error *err) MUST_CHECK;
/* E_NOTFOUND: the user is no member. */
int index_member_remove(struct index_tx *tx, const char *group, const char *user,
                        struct error *err) MUST_CHECK;
/* Pairs in order; user is NULL for a group without members. group NULL: of all groups. */
int index_members_each(struct index_tx *tx, const char *group,
                       int (*visit)(void *context, const char *group, const char *user,
                                    struct error *err),
                       void *context, struct error *err) MUST_CHECK;

/* --- grants --- */

struct index_grant {
    const char *subject, *pattern; /* subject: a user, "group:NAME", "anonymous" */
    int64_t actions;               /* bits of enum access_action */
};
typedef int index_grant_visit(void *context, const struct index_grant *grant, struct error *err);

/* Adds the actions to those the subject has for the pattern. */
int index_grant_add(struct index_tx *tx, const struct index_grant *grant,
                    struct error *err) MUST_CHECK;
/* Takes the actions away. E_NOTFOUND: there is no grant of that subject and pattern. */
int index_grant_remove(struct index_tx *tx, const struct index_grant *grant,
                       struct error *err) MUST_CHECK;
/* Grants of exactly `subject` (NULL: of all), ordered; strings live during the call. visit returns
 * 0 to go on, 1 to stop, or a code. */
int index_grants_each(struct index_tx *tx, const char *subject, index_grant_visit *visit,
                      void *context, struct error *err) MUST_CHECK;
/* Those a user has through groups, and those of everybody ("anonymous"); likewise. */
int index_grants_shared_each(struct index_tx *tx, const char *user, index_grant_visit *visit,
                             void *context, struct error *err) MUST_CHECK;

#endif

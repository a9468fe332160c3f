#include "registry/index_accounts.h"

#include "base/clock.h"
#include "registry/index_internal.h"

#include <string.h>

static int no_user(struct error *err, const char *name)
{
    return fail(err, E_NOTFOUND, "no user '%s'", name);
}

int index_user_add(struct index_tx *tx, const char *name, const char *password_hash,
                   struct error *err)
{
    int rc = index_change(tx, "INSERT INTO user(name, password, created_s) VALUES(?1, ?2, ?3)",
                          NULL, err, "tti", name, password_hash, clock_now_s());
    return rc == E_EXISTS ? fail(err, E_EXISTS, "user '%s' exists already", name) : rc;
}

int index_user_set_password(struct index_tx *tx, const char *name, const char *password_hash,
                            struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "UPDATE user SET password = ?2 WHERE name = ?1", &n, err, "tt", name,
                          password_hash);
    return rc == 0 && n == 0 ? no_user(err, name) : rc;
}

int index_user_remove(struct index_tx *tx, const char *name, struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "DELETE FROM user WHERE name = ?1", &n, err, "t", name);
    if (rc == 0 && n == 0)
        return no_user(err, name);
    /* A later user of the same name must not inherit. */
    if (rc == 0)
        rc = index_change(tx, "DELETE FROM rights WHERE subject = ?1", NULL, err, "t", name);
    return rc;
}

int index_user_find(struct index_tx *tx, const char *name, char *hash, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx, "SELECT password FROM user WHERE name = ?1", &stmt, err, "t", name);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    const char *text = rc == 0 && row ? db_column_text(stmt, 0) : NULL;
    if (rc == 0 && !row)
        rc = no_user(err, name);
    else if (rc == 0 && (!text || strlen(text) >= PASSWORD_HASH_MAX))
        rc = fail(err, E_TAMPERED, "the index holds a password hash that is none");
    if (rc == 0)
        memcpy(hash, text, strlen(text) + 1);
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_users_each(struct index_tx *tx,
                     int (*visit)(void *context, const char *name, struct error *err),
                     void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = index_query(tx, "SELECT name FROM user ORDER BY name", &stmt, err, "");
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        const char *name = db_column_text(stmt, 0);
        rc = name ? visit(context, name, err) : fail_nomem(err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_grant_add(struct index_tx *tx, const struct index_grant *grant, struct error *err)
{
    return index_change(tx,
                        "INSERT INTO rights(subject, pattern, actions) VALUES(?1, ?2, ?3)"
                        " ON CONFLICT(subject, pattern) DO UPDATE"
                        " SET actions = rights.actions | ?3",
                        NULL, err, "tti", grant->subject, grant->pattern, grant->actions);
}

int index_grant_remove(struct index_tx *tx, const struct index_grant *grant, struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx,
                          "UPDATE rights SET actions = actions & ~?3"
                          " WHERE subject = ?1 AND pattern = ?2",
                          &n, err, "tti", grant->subject, grant->pattern, grant->actions);
    if (rc == 0 && n == 0)
        return fail(err, E_NOTFOUND, "'%s' has no grant for '%s'", grant->subject, grant->pattern);
    if (rc == 0)
        rc = index_change(tx, "DELETE FROM rights WHERE actions = 0", NULL, err, "");
    return rc;
}

int index_grants_each(struct index_tx *tx, const char *subject,
                      int (*visit)(void *context, const struct index_grant *grant,
                                   struct error *err),
                      void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = subject ? index_query(tx,
                                   "SELECT subject, pattern, actions FROM rights"
                                   " WHERE subject = ?1 ORDER BY pattern",
                                   &stmt, err, "t", subject)
                     : index_query(tx,
                                   "SELECT subject, pattern, actions FROM rights"
                                   " ORDER BY subject, pattern",
                                   &stmt, err, "");
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        struct index_grant grant = {db_column_text(stmt, 0), db_column_text(stmt, 1),
                                    db_column_int(stmt, 2)};
        rc = grant.subject && grant.pattern ? visit(context, &grant, err) : fail_nomem(err);
    }
    if (stmt)
        db_reset(stmt);
    return rc > 0 ? 0 : rc;
}

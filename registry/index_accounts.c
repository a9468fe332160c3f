#include "registry/index_accounts.h"

#include "base/clock.h"
#include "registry/index_internal.h"

#include <string.h>

/* Fits every JSON reader's numbers. */
#define NEW_SERIAL "(abs(random() % 9007199254740991))"

static int no_user(struct error *err, const char *name)
{
    return fail(err, E_NOTFOUND, "no user '%s'", name);
}

int index_user_add(struct index_tx *tx, const char *name, const char *password_hash,
                   struct error *err)
{
    int rc = index_change(tx,
                          "INSERT INTO user(name, password, created_s, serial)"
                          " VALUES(?1, ?2, ?3, " NEW_SERIAL ")",
                          NULL, err, "tti", name, password_hash, clock_now_s());
    return rc == E_EXISTS ? fail(err, E_EXISTS, "user '%s' exists already", name) : rc;
}

int index_user_set_password(struct index_tx *tx, const char *name, const char *password_hash,
                            struct error *err)
{
    int64_t n = 0;
    int rc =
        index_change(tx, "UPDATE user SET password = ?2, serial = " NEW_SERIAL " WHERE name = ?1",
                     &n, err, "tt", name, password_hash);
    return rc == 0 && n == 0 ? no_user(err, name) : rc;
}

int index_user_set_disabled(struct index_tx *tx, const char *name, bool disabled, struct error *err)
{
    struct index_user user;
    int rc = index_user_find(tx, name, &user, err);
    if (rc != 0 || user.disabled == disabled)
        return rc;
    return index_change(tx,
                        "UPDATE user SET disabled = ?2, serial = " NEW_SERIAL " WHERE name = ?1",
                        NULL, err, "ti", name, (int64_t)disabled);
}

int index_user_remove(struct index_tx *tx, const char *name, struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "DELETE FROM user WHERE name = ?1", &n, err, "t", name);
    if (rc == 0 && n == 0)
        return no_user(err, name);
    /* A later user of the same name must not inherit; what has a foreign key went already. */
    if (rc == 0)
        rc = index_change(tx, "DELETE FROM rights WHERE subject = ?1", NULL, err, "t", name);
    return rc;
}

static int read_user(struct db_stmt *stmt, struct index_user *out, struct error *err)
{
    const char *name = db_column_text(stmt, 0), *hash = db_column_text(stmt, 1);
    if (!name || strlen(name) > USER_NAME_MAX || !hash || strlen(hash) >= PASSWORD_HASH_MAX)
        return fail(err, E_TAMPERED, "the index holds a user that is none");
    memcpy(out->name, name, strlen(name) + 1);
    memcpy(out->hash, hash, strlen(hash) + 1);
    out->serial = db_column_int(stmt, 2);
    out->disabled = db_column_int(stmt, 3) != 0;
    out->created_s = db_column_int(stmt, 4);
    return 0;
}

int index_user_find(struct index_tx *tx, const char *name, struct index_user *out,
                    struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(
        tx, "SELECT name, password, serial, disabled, created_s FROM user WHERE name = ?1", &stmt,
        err, "t", name);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0)
        rc = row ? read_user(stmt, out, err) : no_user(err, name);
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_users_each(struct index_tx *tx,
                     int (*visit)(void *context, const struct index_user *user, struct error *err),
                     void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    struct index_user user;
    bool row = true;
    int rc = index_query(
        tx, "SELECT name, password, serial, disabled, created_s FROM user ORDER BY name", &stmt,
        err, "");
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        rc = read_user(stmt, &user, err);
        if (rc == 0)
            rc = visit(context, &user, err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

/* --- groups --- */

static int no_group(struct error *err, const char *name)
{
    return fail(err, E_NOTFOUND, "no group '%s'", name);
}

int index_group_add(struct index_tx *tx, const char *name, struct error *err)
{
    int rc = index_change(tx, "INSERT INTO user_group(name, created_s) VALUES(?1, ?2)", NULL, err,
                          "ti", name, clock_now_s());
    return rc == E_EXISTS ? fail(err, E_EXISTS, "group '%s' exists already", name) : rc;
}

int index_group_remove(struct index_tx *tx, const char *name, struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "DELETE FROM user_group WHERE name = ?1", &n, err, "t", name);
    if (rc == 0 && n == 0)
        return no_group(err, name);
    if (rc == 0)
        rc = index_change(tx, "DELETE FROM rights WHERE subject = 'group:' || ?1", NULL, err, "t",
                          name);
    return rc;
}

int index_group_find(struct index_tx *tx, const char *name, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx, "SELECT 1 FROM user_group WHERE name = ?1", &stmt, err, "t", name);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (stmt)
        db_reset(stmt);
    return rc == 0 && !row ? no_group(err, name) : rc;
}

int index_member_add(struct index_tx *tx, const char *group, const char *user, struct error *err)
{
    struct index_user found;
    int rc = index_group_find(tx, group, err);
    if (rc == 0)
        rc = index_user_find(tx, user, &found, err);
    if (rc != 0)
        return rc;
    return index_change(tx,
                        "INSERT INTO member(user, user_group) VALUES(?1, ?2) ON CONFLICT DO "
                        "NOTHING",
                        NULL, err, "tt", user, group);
}

int index_member_remove(struct index_tx *tx, const char *group, const char *user, struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "DELETE FROM member WHERE user = ?1 AND user_group = ?2", &n, err,
                          "tt", user, group);
    if (rc == 0 && n == 0)
        return fail(err, E_NOTFOUND, "'%s' is no member of a group '%s'", user, group);
    return rc;
}

int index_members_each(struct index_tx *tx, const char *group,
                       int (*visit)(void *context, const char *group, const char *user,
                                    struct error *err),
                       void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = index_query(tx,
                         "SELECT g.name, m.user FROM user_group g LEFT JOIN member m"
                         " ON m.user_group = g.name WHERE ?1 = '' OR g.name = ?1"
                         " ORDER BY g.name, m.user",
                         &stmt, err, "t", group ? group : "");
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        const char *name = db_column_text(stmt, 0);
        const char *user = db_column_is_null(stmt, 1) ? NULL : db_column_text(stmt, 1);
        rc = name ? visit(context, name, user, err) : fail_nomem(err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

/* --- grants --- */

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

static int visit_grants(struct db_stmt *stmt, index_grant_visit *visit, void *context,
                        struct error *err)
{
    bool row = true;
    int rc = 0;
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        struct index_grant grant = {db_column_text(stmt, 0), db_column_text(stmt, 1),
                                    db_column_int(stmt, 2)};
        rc = grant.subject && grant.pattern ? visit(context, &grant, err) : fail_nomem(err);
    }
    db_reset(stmt);
    return rc > 0 ? 0 : rc;
}

int index_grants_each(struct index_tx *tx, const char *subject, index_grant_visit *visit,
                      void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = subject ? index_query(tx,
                                   "SELECT subject, pattern, actions FROM rights"
                                   " WHERE subject = ?1 ORDER BY pattern",
                                   &stmt, err, "t", subject)
                     : index_query(tx,
                                   "SELECT subject, pattern, actions FROM rights"
                                   " ORDER BY subject, pattern",
                                   &stmt, err, "");
    return rc == 0 ? visit_grants(stmt, visit, context, err) : rc;
}

int index_grants_shared_each(struct index_tx *tx, const char *user, index_grant_visit *visit,
                             void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = index_query(tx,
                         "SELECT subject, pattern, actions FROM rights WHERE subject IN"
                         " (SELECT 'anonymous' UNION ALL"
                         " SELECT 'group:' || user_group FROM member WHERE user = ?1)",
                         &stmt, err, "t", user);
    return rc == 0 ? visit_grants(stmt, visit, context, err) : rc;
}

#include "registry/index_credentials.h"

#include "base/clock.h"
#include "registry/index_internal.h"

#include <string.h>

/* --- API tokens --- */

static int count_of_user(struct index_tx *tx, const char *user, int64_t *n, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc =
        index_query(tx, "SELECT count(*) FROM api_token WHERE user = ?1", &stmt, err, "t", user);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0)
        *n = row ? db_column_int(stmt, 0) : 0;
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_api_token_add(struct index_tx *tx, const struct index_api_token *token, struct error *err)
{
    struct index_user user;
    int64_t n = 0;
    struct bytes hash = {(uint8_t *)(uintptr_t)token->hash, sizeof token->hash, 0};
    int rc = index_change(tx, "DELETE FROM api_token WHERE expires_s <= ?1", NULL, err, "i",
                          clock_now_s());
    if (rc == 0)
        rc = index_user_find(tx, token->user, &user, err);
    if (rc == 0)
        rc = count_of_user(tx, token->user, &n, err);
    if (rc == 0 && n >= API_TOKENS_PER_USER)
        rc = fail(err, E_LIMIT, "'%s' has %d API tokens already: revoke one", token->user,
                  API_TOKENS_PER_USER);
    if (rc != 0)
        return rc;
    return index_change(tx,
                        "INSERT INTO api_token(id, user, hash, pattern, actions, created_s,"
                        " expires_s) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                        NULL, err, "ttbtiii", token->id, token->user, &hash, token->pattern,
                        token->actions, token->created_s, token->expires_s);
}

int index_api_token_remove(struct index_tx *tx, const char *id, struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "DELETE FROM api_token WHERE id = ?1", &n, err, "t", id);
    return rc == 0 && n == 0 ? fail(err, E_NOTFOUND, "no API token '%s'", id) : rc;
}

static bool copy_text(struct db_stmt *stmt, int column, char *out, size_t size)
{
    const char *text = db_column_text(stmt, column);
    size_t len = text ? strlen(text) : size;
    if (len < size)
        memcpy(out, text, len + 1);
    return len < size;
}

static int read_api_token(struct db_stmt *stmt, struct index_api_token *out, struct error *err)
{
    size_t len = 0;
    const void *hash = db_column_blob(stmt, 2, &len);
    if (!copy_text(stmt, 0, out->id, sizeof out->id) ||
        !copy_text(stmt, 1, out->user, sizeof out->user) ||
        !copy_text(stmt, 3, out->pattern, sizeof out->pattern) || !hash || len != sizeof out->hash)
        return fail(err, E_TAMPERED, "the index holds an API token that is none");
    memcpy(out->hash, hash, len);
    out->actions = db_column_int(stmt, 4);
    out->created_s = db_column_int(stmt, 5);
    out->expires_s = db_column_int(stmt, 6);
    return 0;
}

#define API_TOKEN_COLUMNS "SELECT id, user, hash, pattern, actions, created_s, expires_s"

int index_api_token_find(struct index_tx *tx, const char *id, struct index_api_token *out,
                         struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc =
        index_query(tx, API_TOKEN_COLUMNS " FROM api_token WHERE id = ?1", &stmt, err, "t", id);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0)
        rc = row ? read_api_token(stmt, out, err) : fail(err, E_NOTFOUND, "no API token '%s'", id);
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_api_tokens_each(struct index_tx *tx,
                          int (*visit)(void *context, const struct index_api_token *token,
                                       struct error *err),
                          void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    struct index_api_token token;
    bool row = true;
    int rc = index_query(tx, API_TOKEN_COLUMNS " FROM api_token ORDER BY user, created_s, id",
                         &stmt, err, "");
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        rc = read_api_token(stmt, &token, err);
        if (rc == 0)
            rc = visit(context, &token, err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

/* --- client certificates --- */

int index_certificate_add(struct index_tx *tx, const struct digest *fingerprint, const char *user,
                          struct error *err)
{
    struct index_user found;
    int rc = index_user_find(tx, user, &found, err);
    if (rc != 0)
        return rc;
    rc = index_change(tx,
                      "INSERT INTO certificate(fingerprint, user, created_s)"
                      " VALUES(?1, ?2, ?3)",
                      NULL, err, "dti", fingerprint, user, clock_now_s());
    return rc == E_EXISTS ? fail(err, E_EXISTS, "this certificate stands for a user already") : rc;
}

int index_certificate_remove(struct index_tx *tx, const struct digest *fingerprint,
                             struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "DELETE FROM certificate WHERE fingerprint = ?1", &n, err, "d",
                          fingerprint);
    return rc == 0 && n == 0 ? fail(err, E_NOTFOUND, "this certificate stands for no user") : rc;
}

int index_certificate_find(struct index_tx *tx, const struct digest *fingerprint, char *user,
                           struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx, "SELECT user FROM certificate WHERE fingerprint = ?1", &stmt, err, "d",
                         fingerprint);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0 && !row)
        rc = fail(err, E_NOTFOUND, "this certificate stands for no user");
    if (rc == 0 && !copy_text(stmt, 0, user, USER_NAME_MAX + 1))
        rc = fail(err, E_TAMPERED, "the index holds a user that is none");
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_certificates_each(struct index_tx *tx,
                            int (*visit)(void *context, const char *fingerprint, const char *user,
                                         struct error *err),
                            void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = index_query(tx, "SELECT fingerprint, user FROM certificate ORDER BY user, fingerprint",
                         &stmt, err, "");
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        const char *fingerprint = db_column_text(stmt, 0), *user = db_column_text(stmt, 1);
        rc = fingerprint && user ? visit(context, fingerprint, user, err) : fail_nomem(err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

#include "registry/index_scrub.h"

#include "base/clock.h"
#include "registry/index_internal.h"

#include <string.h>

int index_scrub_get(struct index_tx *tx, struct index_scrub_state *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx, "SELECT cursor, started_s, finished_s FROM scrub WHERE id = 1", &stmt,
                         err, "");
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    const char *cursor = rc == 0 && row ? db_column_text(stmt, 0) : "";
    if (rc == 0 && (!row || !cursor || strlen(cursor) >= sizeof out->cursor))
        rc = fail(err, E_TAMPERED, "the index does not say where scrubbing is");
    if (rc == 0) {
        memcpy(out->cursor, cursor, strlen(cursor) + 1);
        out->started_s = db_column_int(stmt, 1);
        out->finished_s = db_column_int(stmt, 2);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_scrub_set(struct index_tx *tx, const struct index_scrub_state *state, struct error *err)
{
    return index_change(tx,
                        "UPDATE scrub SET cursor = ?1, started_s = ?2, finished_s = ?3"
                        " WHERE id = 1",
                        NULL, err, "tii", state->cursor, state->started_s, state->finished_s);
}

int index_blobs_after(struct index_tx *tx, const char *cursor, struct index_blob *out, size_t max,
                      size_t *n, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = true;
    size_t count = 0;
    int rc = index_query(tx,
                         "SELECT b.digest, b.size,"
                         " CASE WHEN EXISTS (SELECT 1 FROM damaged d WHERE d.digest = b.digest)"
                         " THEN 1 ELSE 0 END"
                         " FROM blob b WHERE b.digest > ?1 ORDER BY b.digest LIMIT ?2",
                         &stmt, err, "ti", cursor, (int64_t)max);
    while (rc == 0 && count < max) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        rc = index_column_digest(stmt, 0, &out[count].digest, err);
        out[count].size = (uint64_t)db_column_int(stmt, 1);
        out[count].damaged = db_column_int(stmt, 2) != 0;
        count += rc == 0;
    }
    if (stmt)
        db_reset(stmt);
    if (rc == 0)
        *n = count;
    return rc;
}

int index_blob_is_known(struct index_tx *tx, const struct digest *d, bool *known, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx, "SELECT 1 FROM blob WHERE digest = ?1", &stmt, err, "d", d);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (stmt)
        db_reset(stmt);
    if (rc == 0)
        *known = row;
    return rc;
}

int index_damaged_add(struct index_tx *tx, const struct digest *d, const char *reason,
                      struct error *err)
{
    return index_change(tx,
                        "INSERT INTO damaged(digest, reason, found_s)"
                        " SELECT digest, ?2, ?3 FROM blob WHERE digest = ?1"
                        " ON CONFLICT(digest) DO UPDATE SET reason = ?2",
                        NULL, err, "dti", d, reason, clock_now_s());
}

int index_damaged_remove(struct index_tx *tx, const struct digest *d, struct error *err)
{
    return index_change(tx, "DELETE FROM damaged WHERE digest = ?1", NULL, err, "d", d);
}

int index_blob_users(struct index_tx *tx, const struct digest *d, size_t max,
                     const struct index_user_visitor *visitor, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = index_query(
        tx,
        "WITH RECURSIVE up(repository, digest) AS ("
        " SELECT repository, digest FROM link WHERE digest = ?1"
        " UNION SELECT repository, digest FROM manifest WHERE digest = ?1"
        " UNION SELECT f.repository, f.parent FROM up JOIN reference f"
        "  ON f.repository = up.repository AND f.child = up.digest)"
        " SELECT DISTINCT r.name, t.name FROM up JOIN repository r ON r.id = up.repository"
        " LEFT JOIN tag t ON t.repository = up.repository AND t.digest = up.digest"
        " ORDER BY r.name, t.name LIMIT ?2",
        &stmt, err, "di", d, (int64_t)max);
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        const char *repository = db_column_text(stmt, 0);
        const char *tag = db_column_is_null(stmt, 1) ? NULL : db_column_text(stmt, 1);
        rc = repository ? visitor->visit(visitor->context, repository, tag, err) : fail_nomem(err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

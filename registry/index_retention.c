#include "registry/index_retention.h"

#include "registry/index_internal.h"

#include <string.h>

int index_tags_above(struct index_tx *tx, const char *repository, const struct digest *d,
                     const struct index_visitor *visitor, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = index_query(tx,
                         "WITH RECURSIVE r(id) AS (SELECT id FROM repository WHERE name = ?1),"
                         " up(digest) AS (SELECT ?2 UNION"
                         " SELECT f.parent FROM reference f JOIN up ON f.child = up.digest"
                         " WHERE f.repository = (SELECT id FROM r))"
                         " SELECT t.name FROM up JOIN tag t ON t.digest = up.digest"
                         " AND t.repository = (SELECT id FROM r)",
                         &stmt, err, "td", repository, d);
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        const char *name = db_column_text(stmt, 0);
        rc = name ? visitor->visit(visitor->context, name, err) : fail_nomem(err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

/* --- tags --- */

#define NO_FALLBACK " AND substr(t.name, 1, 7) NOT IN ('sha256-', 'sha512-')"

static int read_tag(struct db_stmt *stmt, struct index_tag *out, struct error *err)
{
    const char *name = db_column_text(stmt, 0);
    if (!name)
        return fail_nomem(err);
    if (strlen(name) > REFERENCE_TAG_MAX)
        return fail(err, E_TAMPERED, "the index holds a tag that is none");
    memcpy(out->name, name, strlen(name) + 1);
    out->updated_s = db_column_int(stmt, 2);
    return index_column_digest(stmt, 1, &out->digest, err);
}

int index_tag_nth(struct index_tx *tx, int64_t repository, int64_t n, struct index_tag *out,
                  struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(
        tx,
        "SELECT t.name, t.digest, t.updated_s FROM tag t WHERE t.repository = ?1" NO_FALLBACK
        " ORDER BY t.updated_s DESC, t.name DESC LIMIT 1 OFFSET ?2",
        &stmt, err, "ii", repository, n - 1);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0)
        rc = row ? read_tag(stmt, out, err) : fail(err, E_NOTFOUND, "there are fewer tags");
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_tags_older(struct index_tx *tx, int64_t repository, const struct index_tag *behind,
                     struct index_tag *out, size_t max, size_t *n, struct error *err)
{
    struct db_stmt *stmt = NULL;
    size_t count = 0;
    bool row = true;
    int rc =
        index_query(tx,
                    "SELECT t.name, t.digest, t.updated_s FROM tag t WHERE t.repository = ?1"
                    " AND (t.updated_s, t.name) < (?2, ?3)" NO_FALLBACK
                    " ORDER BY t.updated_s DESC, t.name DESC LIMIT ?4",
                    &stmt, err, "iiti", repository, behind->updated_s, behind->name, (int64_t)max);
    while (rc == 0 && count < max) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        rc = read_tag(stmt, &out[count], err);
        count += rc == 0;
    }
    if (stmt)
        db_reset(stmt);
    if (rc == 0)
        *n = count;
    return rc;
}

/* Whether the query has a row. */
static int has_row(struct db_stmt *stmt, bool *out, struct error *err)
{
    int rc = db_step(stmt, out, err);
    db_reset(stmt);
    return rc;
}

int index_tag_is_signed(struct index_tx *tx, int64_t repository, const struct index_tag *tag,
                        bool *is_signed, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = index_query(tx,
                         "SELECT 1 FROM trust_target WHERE repository = ?1 AND name = ?2"
                         " UNION ALL SELECT 1 FROM trust_target WHERE repository = ?1"
                         " AND digest = ?3 LIMIT 1",
                         &stmt, err, "itd", repository, tag->name, &tag->digest);
    return rc == 0 ? has_row(stmt, is_signed, err) : rc;
}

int index_tag_remove_same(struct index_tx *tx, int64_t repository, const struct index_tag *tag,
                          bool *removed, struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx,
                          "DELETE FROM tag WHERE repository = ?1 AND name = ?2 AND digest = ?3"
                          " AND updated_s = ?4",
                          &n, err, "itdi", repository, tag->name, &tag->digest, tag->updated_s);
    if (rc == 0)
        *removed = n > 0;
    return rc;
}

/* --- manifests that nothing names --- */

int index_untagged_page(struct index_tx *tx, int64_t repository, int64_t since_s,
                        const struct index_untagged *behind, struct index_untagged *out, size_t max,
                        size_t *n, struct error *err)
{
    static const struct digest none = {.alg = DIGEST_NONE};
    struct db_stmt *stmt = NULL;
    size_t count = 0;
    bool row = true;
    char last[DIGEST_TEXT_MAX] = "";
    if (behind && behind->digest.alg != none.alg)
        digest_format(&behind->digest, last);
    int rc = index_query(tx,
                         "SELECT digest, since_s FROM untagged WHERE repository = ?1"
                         " AND since_s <= ?2 AND (since_s, digest) > (?3, ?4)"
                         " ORDER BY since_s, digest LIMIT ?5",
                         &stmt, err, "iiiti", repository, since_s,
                         behind ? behind->since_s : (int64_t)-1, last, (int64_t)max);
    while (rc == 0 && count < max) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        out[count].since_s = db_column_int(stmt, 1);
        rc = index_column_digest(stmt, 0, &out[count].digest, err);
        count += rc == 0;
    }
    if (stmt)
        db_reset(stmt);
    if (rc == 0)
        *n = count;
    return rc;
}

int index_untagged_hold(struct index_tx *tx, int64_t repository, const struct digest *d,
                        int64_t due_s, enum index_hold *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool named = false, waits = false;
    int rc = index_query(
        tx,
        "SELECT 1 FROM tag WHERE repository = ?1 AND digest = ?2"
        " UNION ALL SELECT 1 FROM reference WHERE repository = ?1 AND child = ?2"
        " UNION ALL SELECT 1 FROM trust_target WHERE repository = ?1 AND digest = ?2"
        " UNION ALL SELECT 1 FROM manifest m JOIN manifest s ON s.repository = m.repository"
        "  AND s.digest = m.subject WHERE m.repository = ?1 AND m.digest = ?2 LIMIT 1",
        &stmt, err, "id", repository, d);
    if (rc == 0)
        rc = has_row(stmt, &named, err);
    if (rc == 0)
        rc = index_query(tx,
                         "SELECT 1 FROM gc_candidate WHERE repository = ?1 AND digest = ?2"
                         " AND touched_s > ?3 UNION ALL SELECT 1 FROM trust_hold"
                         " WHERE repository = ?1 AND digest = ?2 LIMIT 1",
                         &stmt, err, "idi", repository, d, due_s);
    if (rc == 0)
        rc = has_row(stmt, &waits, err);
    if (rc == 0)
        *out = named ? INDEX_HOLD_NAMED : waits ? INDEX_HOLD_WAIT : INDEX_HOLD_NONE;
    return rc;
}

int index_untagged_done(struct index_tx *tx, int64_t repository, const struct digest *d,
                        struct error *err)
{
    return index_change(tx, "DELETE FROM untagged WHERE repository = ?1 AND digest = ?2", NULL, err,
                        "id", repository, d);
}

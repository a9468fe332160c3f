#include "registry/index_gc.h"

#include "registry/index_internal.h"

/* The answer of a query that has one row with one number; *found: whether it had a row at all. */
static int one_number(struct db_stmt *stmt, bool *found, int64_t *number, struct error *err)
{
    int rc = db_step(stmt, found, err);
    if (rc == 0 && *found)
        *number = db_column_int(stmt, 0);
    db_reset(stmt);
    return rc;
}

/* --- leases --- */

int index_lease_is_fresh(struct index_tx *tx, const char *repository, const struct digest *d,
                         int64_t since_s, bool *fresh, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int64_t one = 0;
    int rc = index_query(tx,
                         "SELECT 1 FROM gc_candidate WHERE digest = ?2 AND touched_s >= ?3"
                         " AND repository = (SELECT id FROM repository WHERE name = ?1)",
                         &stmt, err, "tdi", repository, d, since_s);
    return rc == 0 ? one_number(stmt, fresh, &one, err) : rc;
}

int index_lease_begin(struct index_tx *tx, const char *repository, const struct digest *d,
                      int64_t now_s, struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx,
                          "INSERT INTO gc_candidate SELECT r.id, ?2, ?3 FROM repository r"
                          " WHERE r.name = ?1 AND (EXISTS (SELECT 1 FROM link l WHERE"
                          " l.repository = r.id AND l.digest = ?2) OR EXISTS (SELECT 1 FROM"
                          " manifest m WHERE m.repository = r.id AND m.digest = ?2))"
                          " ON CONFLICT(repository, digest) DO UPDATE SET touched_s = ?3",
                          &n, err, "tdi", repository, d, now_s);
    return rc == 0 && n == 0 ? fail(err, E_NOTFOUND, "not known in this repository") : rc;
}

/* --- candidates --- */

int index_gc_due(struct index_tx *tx, int64_t due_s, struct index_candidate *out, size_t max,
                 size_t *n, struct error *err)
{
    struct db_stmt *stmt = NULL;
    size_t count = 0;
    bool row = true;
    int rc = index_query(tx,
                         "SELECT repository, digest FROM gc_candidate WHERE touched_s <= ?1"
                         " ORDER BY touched_s LIMIT ?2",
                         &stmt, err, "ii", due_s, (int64_t)max);
    while (rc == 0 && count < max) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        out[count].repository = db_column_int(stmt, 0);
        rc = index_column_digest(stmt, 1, &out[count].digest, err);
        count += rc == 0;
    }
    if (stmt)
        db_reset(stmt);
    if (rc == 0)
        *n = count;
    return rc;
}

int index_gc_done(struct index_tx *tx, const struct index_candidate *c, struct error *err)
{
    return index_change(tx, "DELETE FROM gc_candidate WHERE repository = ?1 AND digest = ?2", NULL,
                        err, "id", c->repository, &c->digest);
}

int index_gc_suspect(struct index_tx *tx, const struct digest *d, struct error *err)
{
    return index_change(tx, "INSERT INTO gc_candidate VALUES(0, ?1, 0) ON CONFLICT DO NOTHING",
                        NULL, err, "d", d);
}

int index_gc_fix_clock(struct index_tx *tx, int64_t now_s, struct error *err)
{
    return index_change(tx, "UPDATE gc_candidate SET touched_s = ?1 WHERE touched_s > ?1", NULL,
                        err, "i", now_s);
}

int index_gc_unlink(struct index_tx *tx, const struct index_candidate *c, bool *removed,
                    int64_t *size, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int64_t bytes = 0;
    bool loose = false;
    int rc = index_query(tx,
                         "SELECT b.size FROM link l JOIN blob b ON b.digest = l.digest"
                         " WHERE l.repository = ?1 AND l.digest = ?2 AND NOT EXISTS (SELECT 1 FROM"
                         " reference f WHERE f.repository = ?1 AND f.child = ?2)",
                         &stmt, err, "id", c->repository, &c->digest);
    if (rc == 0)
        rc = one_number(stmt, &loose, &bytes, err);
    if (rc == 0 && loose)
        rc = index_change(tx, "DELETE FROM link WHERE repository = ?1 AND digest = ?2", NULL, err,
                          "id", c->repository, &c->digest);
    if (rc != 0)
        return rc;
    *removed = loose;
    *size = bytes;
    return 0;
}

int index_gc_is_held(struct index_tx *tx, const struct digest *d, bool *held, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int64_t one = 0;
    int rc = index_query(tx,
                         "SELECT 1 WHERE EXISTS (SELECT 1 FROM link WHERE digest = ?1)"
                         " OR EXISTS (SELECT 1 FROM manifest WHERE digest = ?1)",
                         &stmt, err, "d", d);
    return rc == 0 ? one_number(stmt, held, &one, err) : rc;
}

int index_gc_is_known(struct index_tx *tx, const struct digest *d, bool *known, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int64_t one = 0;
    int rc = index_query(tx, "SELECT 1 FROM blob WHERE digest = ?1", &stmt, err, "d", d);
    return rc == 0 ? one_number(stmt, known, &one, err) : rc;
}

int index_gc_forget(struct index_tx *tx, const struct digest *d, int64_t *size, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int64_t bytes = 0;
    bool found = false;
    int rc = index_query(tx, "SELECT size FROM blob WHERE digest = ?1", &stmt, err, "d", d);
    if (rc == 0)
        rc = one_number(stmt, &found, &bytes, err);
    if (rc == 0 && found)
        rc = index_change(tx, "DELETE FROM blob WHERE digest = ?1", NULL, err, "d", d);
    if (rc == 0)
        *size = bytes;
    return rc;
}

/* --- what would be removed --- */

/* A link that a run would remove: ?1 is when leases that ended began at the latest. */
#define LOOSE_LINK                                                                                 \
    "gc_candidate c JOIN link l ON l.repository = c.repository AND l.digest = c.digest"            \
    " WHERE c.touched_s <= ?1 AND NOT EXISTS (SELECT 1 FROM reference f"                           \
    " WHERE f.repository = l.repository AND f.child = l.digest)"

static int each_preview(struct db_stmt *stmt, const struct index_gc_visitor *visitor,
                        struct error *err)
{
    int rc = 0;
    for (bool row = true; rc == 0;) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        const struct index_gc_preview p = {db_column_text(stmt, 0), db_column_text(stmt, 1),
                                           db_column_int(stmt, 2)};
        rc = p.digest ? visitor->preview(visitor->context, &p, err) : fail_nomem(err);
    }
    db_reset(stmt);
    return rc;
}

int index_gc_preview(struct index_tx *tx, int64_t due_s, const struct index_gc_visitor *visitor,
                     struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = index_query(tx,
                         "SELECT r.name, x.digest, b.size FROM (SELECT l.repository, l.digest"
                         " FROM " LOOSE_LINK ") x JOIN repository r ON r.id = x.repository"
                         " JOIN blob b ON b.digest = x.digest",
                         &stmt, err, "i", due_s);
    if (rc == 0)
        rc = each_preview(stmt, visitor, err);
    /* Links without a candidate have a manifest that needs them: they hold the blob, too. */
    if (rc == 0)
        rc = index_query(tx,
                         "SELECT NULL, b.digest, b.size FROM (SELECT DISTINCT digest"
                         " FROM gc_candidate WHERE touched_s <= ?1) d"
                         " JOIN blob b ON b.digest = d.digest"
                         " WHERE NOT EXISTS (SELECT 1 FROM manifest m WHERE m.digest = b.digest)"
                         " AND NOT EXISTS (SELECT 1 FROM link k WHERE k.digest = b.digest"
                         " AND NOT EXISTS (SELECT 1 FROM " LOOSE_LINK
                         " AND l.repository = k.repository AND l.digest = k.digest))",
                         &stmt, err, "i", due_s);
    return rc == 0 ? each_preview(stmt, visitor, err) : rc;
}

/* --- what holds a digest --- */

/* ?1: the digest, ?2: when leases that ended began at the latest. `up` is the digest in every
 * repository that has it, and all manifests there that need it, through others or directly. */
static const char why[] =
    "WITH RECURSIVE up(repository, digest) AS ("
    " SELECT repository, digest FROM link WHERE digest = ?1"
    " UNION SELECT repository, digest FROM manifest WHERE digest = ?1"
    " UNION SELECT f.repository, f.parent FROM reference f JOIN up"
    "  ON f.repository = up.repository AND f.child = up.digest)"
    " SELECT r.name, w.kind, w.name, w.digest, w.at FROM ("
    " SELECT up.repository, 'tag' AS kind, t.name, up.digest, 0 AS at FROM up JOIN tag t"
    "  ON t.repository = up.repository AND t.digest = up.digest"
    " UNION ALL SELECT up.repository, 'signed', t.name, up.digest, 0 FROM up JOIN trust_target t"
    "  ON t.repository = up.repository AND t.digest = up.digest"
    " UNION ALL SELECT up.repository, 'referrer', m.subject, up.digest, 0 FROM up"
    "  JOIN manifest m ON m.repository = up.repository AND m.digest = up.digest"
    "  JOIN manifest s ON s.repository = m.repository AND s.digest = m.subject"
    " UNION ALL SELECT up.repository, 'untagged', '', up.digest, 0 FROM up"
    "  JOIN manifest m ON m.repository = up.repository AND m.digest = up.digest WHERE"
    "  NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository = m.repository AND t.digest = m.digest)"
    "  AND NOT EXISTS (SELECT 1 FROM reference f WHERE f.repository = m.repository"
    "  AND f.child = m.digest) AND NOT EXISTS (SELECT 1 FROM trust_target t"
    "  WHERE t.repository = m.repository AND t.digest = m.digest) AND NOT EXISTS (SELECT 1 FROM"
    "  manifest s WHERE s.repository = m.repository AND s.digest = m.subject)"
    " UNION ALL SELECT up.repository, 'lease', '', up.digest, c.touched_s FROM up"
    "  JOIN gc_candidate c ON c.repository = up.repository AND c.digest = up.digest"
    "  WHERE c.touched_s > ?2"
    " UNION ALL SELECT up.repository, 'publication', '', up.digest, max(h.until_s) FROM up"
    "  JOIN trust_hold h ON h.repository = up.repository AND h.digest = up.digest"
    "  GROUP BY up.repository, up.digest) w JOIN repository r ON r.id = w.repository"
    " ORDER BY 1, 2, 3, 4";

int index_gc_why(struct index_tx *tx, const struct digest *d, int64_t due_s,
                 const struct index_reason_visitor *visitor, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = index_query(tx, why, &stmt, err, "di", d, due_s);
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        const struct index_reason reason = {db_column_text(stmt, 0), db_column_text(stmt, 1),
                                            db_column_text(stmt, 2), db_column_text(stmt, 3),
                                            db_column_int(stmt, 4)};
        rc = reason.repository && reason.kind && reason.name && reason.digest
                 ? visitor->visit(visitor->context, &reason, err)
                 : fail_nomem(err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

#include "registry/index_content.h"

#include "base/clock.h"
#include "registry/index_internal.h"
#include "registry/index_scrub.h"

#include <string.h>

/* First row of a query, or E_NOTFOUND with this message and the statement reset. */
static int first_row(struct db_stmt *stmt, const char *missing, struct error *err)
{
    bool row = false;
    int rc = db_step(stmt, &row, err);
    if (rc == 0 && !row)
        rc = fail(err, E_NOTFOUND, "%s", missing);
    if (rc != 0)
        db_reset(stmt);
    return rc;
}

int index_repository_find(struct index_tx *tx, const char *name, int64_t *id, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = index_query(tx, "SELECT id FROM repository WHERE name = ?1", &stmt, err, "t", name);
    if (rc == 0)
        rc = first_row(stmt, "no such repository", err);
    if (rc != 0)
        return rc;
    *id = db_column_int(stmt, 0);
    db_reset(stmt);
    return 0;
}

int index_repository_make(struct index_tx *tx, const char *name, int64_t *id, struct error *err)
{
    int rc = index_repository_find(tx, name, id, err);
    if (rc != E_NOTFOUND)
        return rc;
    struct db_stmt *stmt = NULL;
    rc = index_query(tx, "INSERT INTO repository(name, created_s) VALUES(?1, ?2) RETURNING id",
                     &stmt, err, "ti", name, clock_now_s());
    if (rc == 0)
        rc = first_row(stmt, "the repository was not made", err);
    if (rc != 0)
        return rc;
    *id = db_column_int(stmt, 0);
    db_reset(stmt);
    return 0;
}

static int put_blob(struct index_tx *tx, const struct digest *d, int64_t size, struct error *err)
{
    int rc = index_change(tx,
                          "INSERT INTO blob(digest, size, stored_s) VALUES(?1, ?2, ?3)"
                          " ON CONFLICT DO NOTHING",
                          NULL, err, "dii", d, size, clock_now_s());
    return rc == 0 ? index_damaged_remove(tx, d, err) : rc;
}

int index_link_add(struct index_tx *tx, int64_t repository, const struct digest *d, int64_t size,
                   struct error *err)
{
    int rc = put_blob(tx, d, size, err);
    if (rc != 0)
        return rc;
    return index_change(
        tx, "INSERT INTO link(repository, digest) VALUES(?1, ?2) ON CONFLICT DO NOTHING", NULL, err,
        "id", repository, d);
}

int index_link_find(struct index_tx *tx, const char *repository, const struct digest *d,
                    int64_t *size, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = index_query(tx,
                         "SELECT b.size, CASE WHEN EXISTS (SELECT 1 FROM damaged d"
                         " WHERE d.digest = ?2) THEN 1 ELSE 0 END"
                         " FROM repository r JOIN blob b ON b.digest = ?2"
                         " WHERE r.name = ?1 AND (EXISTS (SELECT 1 FROM link l WHERE"
                         " l.repository = r.id AND l.digest = ?2) OR EXISTS (SELECT 1 FROM manifest"
                         " m WHERE m.repository = r.id AND m.digest = ?2))",
                         &stmt, err, "td", repository, d);
    if (rc == 0)
        rc = first_row(stmt, "blob is not known in this repository", err);
    if (rc != 0)
        return rc;
    int64_t found = db_column_int(stmt, 0);
    bool damaged = db_column_int(stmt, 1) != 0;
    db_reset(stmt);
    if (damaged)
        return fail(err, E_NOTFOUND,
                    "the registry's copy of this blob is damaged or lost: push it again");
    if (size)
        *size = found;
    return 0;
}

static int removed(int rc, int64_t n, const char *missing, struct error *err)
{
    return rc == 0 && n == 0 ? fail(err, E_NOTFOUND, "%s", missing) : rc;
}

int index_link_remove(struct index_tx *tx, int64_t repository, const struct digest *d,
                      struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "DELETE FROM link WHERE repository = ?1 AND digest = ?2", &n, err,
                          "id", repository, d);
    return removed(rc, n, "blob is not known in this repository", err);
}

int index_reference_find(struct index_tx *tx, int64_t repository, const struct digest *child,
                         struct digest *parent, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        index_query(tx, "SELECT parent FROM reference WHERE repository = ?1 AND child = ?2 LIMIT 1",
                    &stmt, err, "id", repository, child);
    if (rc == 0)
        rc = first_row(stmt, "nothing names this digest", err);
    if (rc != 0)
        return rc;
    rc = index_column_digest(stmt, 0, parent, err);
    db_reset(stmt);
    return rc;
}

/* --- manifests --- */

static int put_reference(struct index_tx *tx, int64_t repository, const struct digest *parent,
                         const struct descriptor *child, struct error *err)
{
    if (child->digest.alg == DIGEST_NONE)
        return 0;
    return index_change(tx,
                        "INSERT INTO reference(repository, parent, child) VALUES(?1, ?2, ?3)"
                        " ON CONFLICT DO NOTHING",
                        NULL, err, "idd", repository, parent, &child->digest);
}

static int put_references(struct index_tx *tx, int64_t repository, const struct digest *parent,
                          const struct manifest *m, struct error *err)
{
    int rc = put_reference(tx, repository, parent, &m->config, err);
    for (size_t i = 0; rc == 0 && i < m->n_layers; i++)
        rc = put_reference(tx, repository, parent, &m->layers[i], err);
    for (size_t i = 0; rc == 0 && i < m->n_manifests; i++)
        rc = put_reference(tx, repository, parent, &m->manifests[i], err);
    return rc;
}

/* All columns that follow from the bytes and their type are those of this push: the same bytes may
 * have come before as a type that names nothing. */
static int put_manifest_row(struct index_tx *tx, int64_t repository,
                            const struct index_manifest *row, const struct manifest *m,
                            struct error *err)
{
    CLEANUP(bytes_done) struct bytes annotations = BYTES_INIT;
    char subject[DIGEST_TEXT_MAX];
    bool has_subject = m->has_subject;
    int rc = m->annotations ? js_write(m->annotations, false, &annotations, err) : 0;
    if (rc != 0)
        return rc;
    return index_change(tx,
                        "INSERT INTO manifest(repository, digest, media_type, size, subject,"
                        " artifact_type, annotations, pushed_s)"
                        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                        " ON CONFLICT(repository, digest) DO UPDATE SET media_type = ?3, size = ?4,"
                        " subject = ?5, artifact_type = ?6, annotations = ?7",
                        NULL, err, "idtittti", repository, &row->digest, row->media_type, row->size,
                        has_subject ? digest_format(&m->subject.digest, subject) : NULL,
                        m->artifact_type, annotations.len ? bytes_text(&annotations) : NULL,
                        clock_now_s());
}

int index_manifest_put(struct index_tx *tx, int64_t repository, const struct index_manifest *row,
                       const struct manifest *m, struct error *err)
{
    int rc = put_blob(tx, &row->digest, row->size, err);
    if (rc == 0)
        rc = put_manifest_row(tx, repository, row, m, err);
    if (rc == 0)
        rc = index_change(tx, "DELETE FROM reference WHERE repository = ?1 AND parent = ?2", NULL,
                          err, "id", repository, &row->digest);
    return rc == 0 ? put_references(tx, repository, &row->digest, m, err) : rc;
}

static int read_manifest_row(struct db_stmt *stmt, struct index_manifest *out, struct error *err)
{
    struct index_manifest row = {.size = db_column_int(stmt, 2)};
    const char *type = db_column_text(stmt, 1);
    int rc = index_column_digest(stmt, 0, &row.digest, err);
    if (rc == 0 && (!type || strlen(type) > MEDIA_TYPE_MAX))
        rc = fail(err, E_TAMPERED, "the index holds a media type that is none");
    if (rc == 0) {
        memcpy(row.media_type, type, strlen(type) + 1);
        *out = row;
    }
    db_reset(stmt);
    return rc;
}

int index_manifest_find(struct index_tx *tx, const char *repository, const struct digest *d,
                        struct index_manifest *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = index_query(tx,
                         "SELECT m.digest, m.media_type, m.size FROM repository r JOIN manifest m"
                         " ON m.repository = r.id AND m.digest = ?2 WHERE r.name = ?1",
                         &stmt, err, "td", repository, d);
    if (rc == 0)
        rc = first_row(stmt, "manifest is not known in this repository", err);
    return rc == 0 ? read_manifest_row(stmt, out, err) : rc;
}

int index_manifest_remove(struct index_tx *tx, int64_t repository, const struct digest *d,
                          struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "DELETE FROM manifest WHERE repository = ?1 AND digest = ?2", &n, err,
                          "id", repository, d);
    return removed(rc, n, "manifest is not known in this repository", err);
}

/* --- tags --- */

int index_tag_set(struct index_tx *tx, int64_t repository, const char *tag, const struct digest *d,
                  struct error *err)
{
    return index_change(tx,
                        "INSERT INTO tag(repository, name, digest, updated_s)"
                        " VALUES(?1, ?2, ?3, ?4)"
                        " ON CONFLICT(repository, name) DO UPDATE SET digest = ?3, updated_s = ?4",
                        NULL, err, "itdi", repository, tag, d, clock_now_s());
}

int index_tag_find(struct index_tx *tx, const char *repository, const char *tag,
                   struct index_manifest *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = index_query(tx,
                         "SELECT m.digest, m.media_type, m.size FROM repository r"
                         " JOIN tag t ON t.repository = r.id AND t.name = ?2"
                         " JOIN manifest m ON m.repository = r.id AND m.digest = t.digest"
                         " WHERE r.name = ?1",
                         &stmt, err, "tt", repository, tag);
    if (rc == 0)
        rc = first_row(stmt, "no such tag in this repository", err);
    return rc == 0 ? read_manifest_row(stmt, out, err) : rc;
}

int index_tag_remove(struct index_tx *tx, int64_t repository, const char *tag, struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx, "DELETE FROM tag WHERE repository = ?1 AND name = ?2", &n, err, "it",
                          repository, tag);
    return removed(rc, n, "no such tag in this repository", err);
}

/* --- lists --- */

static int each_row(struct db_stmt *stmt, const struct index_visitor *visitor, struct error *err)
{
    int rc = 0;
    for (bool row = true; rc == 0;) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        const char *text = db_column_text(stmt, 0);
        rc = text ? visitor->visit(visitor->context, text, err) : fail_nomem(err);
    }
    db_reset(stmt);
    return rc > 0 ? 0 : rc;
}

int index_tags_each(struct index_tx *tx, int64_t repository, const char *last,
                    const struct index_visitor *visitor, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        index_query(tx, "SELECT name FROM tag WHERE repository = ?1 AND name > ?2 ORDER BY name",
                    &stmt, err, "it", repository, last);
    return rc == 0 ? each_row(stmt, visitor, err) : rc;
}

int index_repositories_between(struct index_tx *tx, const char *after, const char *until,
                               const struct index_visitor *visitor, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        index_query(tx, "SELECT name FROM repository WHERE name > ?1 AND name < ?2 ORDER BY name",
                    &stmt, err, "tt", after, until);
    return rc == 0 ? each_row(stmt, visitor, err) : rc;
}

/* The descriptor of a referrer: media_type, digest, size, artifact_type, annotations. */
static int write_descriptor(struct db_stmt *stmt, struct bytes *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    struct js *annotations = NULL;
    const char *text = db_column_text(stmt, 4);
    int rc = js_set(root, "mediaType", js_text_new(db_column_text(stmt, 0)), err);
    if (rc == 0)
        rc = js_set(root, "digest", js_text_new(db_column_text(stmt, 1)), err);
    if (rc == 0)
        rc = js_set(root, "size", js_int_new(db_column_int(stmt, 2)), err);
    if (rc == 0)
        rc = js_set(root, "artifactType", js_text_new(db_column_text(stmt, 3)), err);
    if (rc == 0 && text)
        rc = js_parse(text, strlen(text), &annotations, err);
    if (rc == 0 && annotations)
        rc = js_set(root, "annotations", annotations, err);
    return rc == 0 ? js_write(root, false, out, err) : rc;
}

int index_referrers_each(struct index_tx *tx, int64_t repository, const struct index_referrers *q,
                         const struct index_visitor *visitor, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = index_query(tx,
                         "SELECT media_type, digest, size, artifact_type, annotations"
                         " FROM manifest WHERE repository = ?1 AND subject = ?2"
                         " AND (?3 = '' OR artifact_type = ?3) AND digest > ?4"
                         " ORDER BY digest",
                         &stmt, err, "idtt", repository, q->subject, q->artifact_type, q->last);
    if (rc != 0)
        return rc;
    for (bool row = true; rc == 0;) {
        CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        rc = write_descriptor(stmt, &text, err);
        if (rc == 0)
            rc = visitor->visit(visitor->context, bytes_text(&text), err);
    }
    db_reset(stmt);
    return rc > 0 ? 0 : rc;
}

#include "registry/index_mirror.h"

#include "registry/index_internal.h"

int index_mirror_find(struct index_tx *tx, const char *repository, struct bytes *out,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx,
                         "SELECT m.collection FROM repository r JOIN trust_mirror m"
                         " ON m.repository = r.id WHERE r.name = ?1",
                         &stmt, err, "t", repository);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0 && !row)
        rc = fail(err, E_NOTFOUND, "'%s' is no mirror", repository);
    if (rc == 0 && out) {
        const char *name = db_column_text(stmt, 0);
        rc = name ? bytes_append_text(out, name, err) : fail_nomem(err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_mirror_check_none(struct index_tx *tx, const char *repository, struct error *err)
{
    CLEANUP(bytes_done) struct bytes collection = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = index_mirror_find(tx, repository, &collection, &why);
    if (rc == E_NOTFOUND)
        return 0;
    if (rc != 0)
        return fail(err, rc, "%s", why.message);
    return fail(err, E_CONFLICT,
                "'%s' is a mirror of collection '%s': publish where that is signed, then copy",
                repository, bytes_text(&collection));
}

int index_mirror_put(struct index_tx *tx, int64_t repository, const char *collection,
                     struct error *err)
{
    int rc = index_change(tx,
                          "INSERT INTO trust_mirror(repository, collection) VALUES(?1, ?2)"
                          " ON CONFLICT(repository) DO UPDATE SET collection = ?2",
                          NULL, err, "it", repository, collection);
    if (rc != 0)
        return rc;
    return index_change(tx, "DELETE FROM trust_timestamp WHERE repository = ?1", NULL, err, "i",
                        repository);
}

int index_mirror_clear(struct index_tx *tx, int64_t repository, struct error *err)
{
    int rc = index_change(tx, "DELETE FROM trust_target WHERE repository = ?1", NULL, err, "i",
                          repository);
    if (rc != 0)
        return rc;
    return index_change(tx, "DELETE FROM trust_file WHERE repository = ?1", NULL, err, "i",
                        repository);
}

int index_mirror_keep(struct index_tx *tx, int64_t repository, const char *role, int64_t version,
                      struct error *err)
{
    int64_t n = 0;
    int rc = index_change(tx,
                          "UPDATE trust_file SET current = 1"
                          " WHERE repository = ?1 AND role = ?2 AND version = ?3",
                          &n, err, "iti", repository, role, version);
    if (rc == 0 && n == 0)
        rc = fail(err, E_NOTFOUND, "'%s' of this version is not stored", role);
    return rc;
}

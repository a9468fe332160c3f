#include "registry/index_trust.h"

#include "base/clock.h"
#include "base/json.h"
#include "registry/index_internal.h"

#include <string.h>

int index_trust_find(struct index_tx *tx, const char *repository, const char *role, int64_t version,
                     struct bytes *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx,
                         "SELECT f.data FROM repository r JOIN trust_file f ON f.repository = r.id"
                         " WHERE r.name = ?1 AND f.role = ?2 AND"
                         " CASE WHEN ?3 = 0 THEN f.current = 1 ELSE f.version = ?3 END",
                         &stmt, err, "tti", repository, role, version);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0 && !row)
        rc = fail(err, E_NOTFOUND, "no such trust metadata in this repository");
    if (rc == 0) {
        size_t len = 0;
        const void *data = db_column_blob(stmt, 0, &len);
        rc = bytes_append(out, data, len, err);
    }
    if (stmt)
        db_reset(stmt);
    return rc;
}

void index_trust_files_free(struct index_trust_file *files, size_t n)
{
    for (size_t i = 0; files && i < n; i++) {
        free(files[i].role);
        bytes_done(&files[i].data);
    }
    free(files);
}

static int read_file_row(struct db_stmt *stmt, struct index_trust_file *out, struct error *err)
{
    size_t len = 0;
    const char *role = db_column_text(stmt, 0);
    const void *data = db_column_blob(stmt, 2, &len);
    out->role = role ? strdup(role) : NULL;
    out->version = db_column_int(stmt, 1);
    if (!out->role)
        return fail_nomem(err);
    return data ? bytes_append(&out->data, data, len, err) : 0;
}

static int grow(struct index_trust_file **files, size_t n, struct error *err)
{
    if (n & (n - 1)) /* room is always the next power of two */
        return 0;
    size_t room = n ? 2 * n : 1;
    struct index_trust_file *more = reallocarray(*files, room, sizeof **files);
    if (!more)
        return fail_nomem(err);
    memset(more + n, 0, (room - n) * sizeof *more);
    *files = more;
    return 0;
}

static int read_files(struct index_tx *tx, const char *sql, const char *repository,
                      struct index_trust_file **out, size_t *n, struct error *err)
{
    struct db_stmt *stmt = NULL;
    struct index_trust_file *files = NULL;
    size_t count = 0;
    bool row = true;
    int rc = index_query(tx, sql, &stmt, err, "t", repository);
    while (rc == 0) {
        rc = db_step(stmt, &row, err);
        if (rc != 0 || !row)
            break;
        rc = grow(&files, count, err);
        if (rc == 0)
            rc = read_file_row(stmt, &files[count++], err);
    }
    if (stmt)
        db_reset(stmt);
    if (rc != 0) {
        index_trust_files_free(files, count);
        return rc;
    }
    *out = files;
    *n = count;
    return 0;
}

#define IN_FORCE                                                                                   \
    " FROM repository r JOIN trust_file f ON f.repository = r.id AND f.current = 1"                \
    " WHERE r.name = ?1 ORDER BY f.role"

int index_trust_current(struct index_tx *tx, const char *repository, struct index_trust_file **out,
                        size_t *n, struct error *err)
{
    return read_files(tx, "SELECT f.role, f.version, f.data" IN_FORCE, repository, out, n, err);
}

int index_trust_names(struct index_tx *tx, const char *repository, struct index_trust_file **out,
                      size_t *n, struct error *err)
{
    return read_files(tx, "SELECT f.role, f.version, NULL" IN_FORCE, repository, out, n, err);
}

/* For metrics only: 0 where it cannot be told. */
static int64_t expires_of(const struct bytes *data)
{
    CLEANUP(js_cleanup) struct js *file = NULL;
    int64_t expires = 0;
    if (js_parse(data->data, data->len, &file, NULL) != 0)
        return 0;
    const char *text = js_text(js_get(js_get(file, "signed"), "expires"));
    return text && clock_parse(text, &expires, NULL) == 0 ? expires : 0;
}

int index_trust_retire_role(struct index_tx *tx, int64_t repository, const char *role,
                            struct error *err)
{
    return index_change(tx,
                        "UPDATE trust_file SET current = 0"
                        " WHERE repository = ?1 AND role = ?2 AND current = 1",
                        NULL, err, "it", repository, role);
}

int index_trust_put(struct index_tx *tx, int64_t repository, const char *role, int64_t version,
                    const struct bytes *data, struct error *err)
{
    int rc = index_trust_retire_role(tx, repository, role, err);
    if (rc != 0)
        return rc;
    return index_change(tx,
                        "INSERT INTO trust_file(repository, role, version, data, current,"
                        "  expires_s) VALUES(?1, ?2, ?3, ?4, 1, ?5)"
                        " ON CONFLICT(repository, role, version)"
                        " DO UPDATE SET data = ?4, current = 1, expires_s = ?5",
                        NULL, err, "itibi", repository, role, version, data, expires_of(data));
}

int index_trust_retire(struct index_tx *tx, int64_t repository, struct error *err)
{
    return index_change(tx,
                        "UPDATE trust_file SET current = 0 WHERE repository = ?1 AND current = 1",
                        NULL, err, "i", repository);
}

int index_trust_set_timestamp(struct index_tx *tx, int64_t repository, int64_t issued_s,
                              int64_t expires_s, struct error *err)
{
    return index_change(tx,
                        "INSERT INTO trust_timestamp(repository, issued_s, expires_s)"
                        " VALUES(?1, ?2, ?3)"
                        " ON CONFLICT(repository) DO UPDATE SET issued_s = ?2, expires_s = ?3,"
                        " retry_s = 0, failures = 0",
                        NULL, err, "iii", repository, issued_s, expires_s);
}

int index_trust_target_add(struct index_tx *tx, int64_t repository, const char *role,
                           const struct index_trust_target *target, struct error *err)
{
    return index_change(tx,
                        "INSERT INTO trust_target(repository, role, name, digest)"
                        " VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                        NULL, err, "ittd", repository, role, target->name, &target->digest);
}

int index_trust_target_remove(struct index_tx *tx, int64_t repository, const char *role,
                              const struct index_trust_target *target, struct error *err)
{
    return index_change(tx,
                        "DELETE FROM trust_target WHERE repository = ?1 AND role = ?2"
                        " AND name = ?3 AND digest = ?4",
                        NULL, err, "ittd", repository, role, target->name, &target->digest);
}

int index_trust_targets_prune(struct index_tx *tx, int64_t repository, struct error *err)
{
    return index_change(tx,
                        "DELETE FROM trust_target WHERE repository = ?1 AND role NOT IN"
                        " (SELECT role FROM trust_file WHERE repository = ?1 AND current = 1)",
                        NULL, err, "i", repository);
}

/* 0 where the query has a row; `missing` where it has none. */
static int expect_row(struct db_stmt *stmt, int missing, struct error *err)
{
    bool row = false;
    int rc = db_step(stmt, &row, err);
    db_reset(stmt);
    return rc == 0 && !row ? missing : rc;
}

int index_trust_target_find(struct index_tx *tx, const char *repository, const char *name,
                            const struct digest *d, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = index_query(tx,
                         "SELECT 1 FROM repository r JOIN trust_target t ON t.repository = r.id"
                         " AND t.name = ?2 AND t.digest = ?3 WHERE r.name = ?1 LIMIT 1",
                         &stmt, err, "ttd", repository, name, d);
    if (rc == 0)
        rc = expect_row(stmt, E_NOTFOUND, err);
    return rc == E_NOTFOUND ? fail(err, rc, "no such signed target") : rc;
}

/* The digest ?2 and all that need it. */
#define NEEDS                                                                                      \
    "up(digest) AS (SELECT ?2 UNION SELECT f.parent FROM reference f JOIN up"                      \
    " ON f.child = up.digest WHERE f.repository = ?1) "

int index_trust_check_unsigned(struct index_tx *tx, int64_t repository, const char *tag,
                               const struct digest *d, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = tag[0] ? index_query(tx,
                                  "SELECT 1 FROM trust_target WHERE repository = ?1"
                                  " AND name = ?2 LIMIT 1",
                                  &stmt, err, "it", repository, tag)
                    : index_query(tx,
                                  "WITH RECURSIVE " NEEDS "SELECT 1 FROM up JOIN trust_target t"
                                  " ON t.repository = ?1 AND t.digest = up.digest LIMIT 1",
                                  &stmt, err, "id", repository, d);
    if (rc == 0)
        rc = expect_row(stmt, E_NOTFOUND, err);
    if (rc == 0)
        return fail(err, E_DENIED, "it is signed: revoke first");
    if (rc != E_NOTFOUND || tag[0])
        return rc == E_NOTFOUND ? 0 : rc;
    rc = index_query(tx,
                     "WITH RECURSIVE " NEEDS "SELECT 1 FROM up JOIN trust_hold h"
                     " ON h.repository = ?1 AND h.digest = up.digest LIMIT 1",
                     &stmt, err, "id", repository, d);
    if (rc == 0)
        rc = expect_row(stmt, E_NOTFOUND, err);
    if (rc == 0)
        return fail(err, E_CONFLICT,
                    "a publication that may sign it is under way: try again later");
    return rc == E_NOTFOUND ? 0 : rc;
}

int index_trust_all_due(struct index_tx *tx, struct error *err)
{
    return index_change(tx,
                        "UPDATE trust_timestamp SET issued_s = 0, expires_s = 0, retry_s = 0,"
                        " failures = 0",
                        NULL, err, "");
}

int index_trust_due(struct index_tx *tx, int64_t now_s, size_t max,
                    int (*visit)(void *context, const char *repository, struct error *err),
                    void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = index_query(tx,
                         "SELECT r.name FROM trust_timestamp t JOIN repository r"
                         " ON r.id = t.repository"
                         " WHERE t.next_s < ?1 ORDER BY t.next_s LIMIT ?2",
                         &stmt, err, "ii", now_s, (int64_t)max);
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

int index_trust_put_off(struct index_tx *tx, const char *repository, int64_t now_s,
                        struct error *err)
{
    static const int64_t shift_max = 12; /* 10 s << 12: eleven hours */
    return index_change(tx,
                        "UPDATE trust_timestamp SET retry_s = ?2 + (10 << failures),"
                        " failures = CASE WHEN failures < ?3 AND"
                        " (20 << failures) < (expires_s - issued_s) / 20"
                        " THEN failures + 1 ELSE failures END"
                        " WHERE next_s < ?2"
                        " AND repository = (SELECT id FROM repository WHERE name = ?1)",
                        NULL, err, "tii", repository, now_s, shift_max);
}

int index_trust_roots(struct index_tx *tx, const char *repository, struct index_trust_file **out,
                      size_t *n, struct error *err)
{
    return read_files(tx,
                      "SELECT f.role, f.version, f.data FROM repository r JOIN trust_file f"
                      " ON f.repository = r.id AND f.role = 'root' WHERE r.name = ?1"
                      " ORDER BY f.version",
                      repository, out, n, err);
}

int index_trust_version(struct index_tx *tx, const char *repository, const char *role,
                        int64_t *version, struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx,
                         "SELECT f.version FROM repository r JOIN trust_file f"
                         " ON f.repository = r.id AND f.role = ?2 AND f.current = 1"
                         " WHERE r.name = ?1",
                         &stmt, err, "tt", repository, role);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0)
        *version = row ? db_column_int(stmt, 0) : 0;
    if (stmt)
        db_reset(stmt);
    return rc;
}

/* --- the signing service's log --- */

static int read_place(struct db_stmt *stmt, struct index_trust_place *out, struct error *err)
{
    const char *identity = db_column_text(stmt, 0), *hash = db_column_text(stmt, 2);
    if (!identity || !hash)
        return fail_nomem(err);
    if (strlen(identity) >= sizeof out->identity || strlen(hash) >= sizeof out->hash)
        return fail(err, E_TAMPERED, "the index holds an impossible place in a log");
    memcpy(out->identity, identity, strlen(identity) + 1);
    memcpy(out->hash, hash, strlen(hash) + 1);
    out->number = db_column_int(stmt, 1);
    return 0;
}

int index_trust_place(struct index_tx *tx, struct index_trust_place *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    struct index_trust_place place = {.number = 0};
    bool row = false;
    int rc = index_query(tx, "SELECT identity, number, hash FROM trust_place", &stmt, err, "");
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0 && row)
        rc = read_place(stmt, &place, err);
    if (stmt)
        db_reset(stmt);
    if (rc == 0)
        *out = place;
    return rc;
}

int index_trust_set_place(struct index_tx *tx, const struct index_trust_place *place,
                          struct error *err)
{
    return index_change(tx,
                        "INSERT INTO trust_place(id, identity, number, hash) VALUES(1, ?1, ?2, ?3)"
                        " ON CONFLICT(id) DO UPDATE SET identity = ?1, number = ?2, hash = ?3",
                        NULL, err, "tit", place->identity, place->number, place->hash);
}

/* --- publications under way --- */

int index_trust_hold(struct index_tx *tx, const struct index_trust_hold *hold,
                     const struct digest *d, struct error *err)
{
    return index_change(tx,
                        "INSERT INTO trust_hold(repository, digest, publication, until_s)"
                        " SELECT id, ?2, ?3, ?4 FROM repository WHERE name = ?1"
                        " ON CONFLICT DO NOTHING",
                        NULL, err, "tdii", hold->repository, d, hold->publication, hold->until_s);
}

int index_trust_release(struct index_tx *tx, int64_t publication, struct error *err)
{
    return index_change(tx, "DELETE FROM trust_hold WHERE publication = ?1", NULL, err, "i",
                        publication);
}

int index_trust_release_old(struct index_tx *tx, int64_t now_s, struct error *err)
{
    return index_change(tx, "DELETE FROM trust_hold WHERE until_s <= ?1", NULL, err, "i", now_s);
}

/* What the service says of its memory; see service_memory.h. */
#include "signer/service_audit.h"
#include "signer/service_memory.h"

#include <string.h>

static int read_service(struct db *db, struct service_memory_status *s, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    size_t len = 0;
    int rc = db_prepare(db,
                        "SELECT identity, open_epoch < epoch, why, (SELECT count(*) FROM"
                        "  collection), (SELECT count(*) FROM collection WHERE epoch <"
                        "  (SELECT epoch FROM service)) FROM service",
                        &stmt, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    if (rc || !row)
        return rc;
    const void *identity = db_column_blob(stmt, 0, &len);
    const char *why = db_column_text(stmt, 2);
    if (len != SERVICE_MEMORY_ID_LEN || !why)
        return fail(err, E_NOTFOUND, "the signing service has not been started yet");
    hex_encode(identity, len, s->identity);
    s->n_collections = db_column_int(stmt, 3);
    s->n_doubted = db_column_int(stmt, 4);
    s->doubted = db_column_int(stmt, 1) || s->n_doubted;
    if (s->doubted)
        snprintf(s->why, sizeof s->why, "%s", why);
    return OK;
}

int service_memory_status(struct db *db, struct service_memory_status *out, struct error *err)
{
    struct service_memory_status s = {.identity = ""};
    int rc = read_service(db, &s, err);
    if (!rc)
        rc = service_audit_last(db, &s.last, err);
    if (!rc)
        *out = s;
    return rc;
}

#define OWN(role)                                                                                  \
    "(SELECT version FROM file f WHERE f.collection = n.name AND f.role = '" role "' AND gone = "  \
    "0)"

static int visit_row(struct db_stmt *stmt,
                     int (*visit)(void *context, const struct service_memory_row *row,
                                  struct error *err),
                     void *context, struct error *err)
{
    const struct service_memory_row r = {
        .collection = db_column_text(stmt, 0),
        .own = {db_column_int(stmt, 1), db_column_int(stmt, 2)},
        .shown = {db_column_int(stmt, 3), db_column_int(stmt, 4)},
        .stated = {db_column_int(stmt, 5), db_column_int(stmt, 6)},
        .known = db_column_int(stmt, 7) != 0,
        .doubted = db_column_int(stmt, 8) != 0,
    };
    return r.collection ? visit(context, &r, err) : fail_nomem(err);
}

int service_memory_rows(struct db *db,
                        int (*visit)(void *context, const struct service_memory_row *row,
                                     struct error *err),
                        void *context, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = db_prepare(
        db,
        "SELECT n.name, " OWN("snapshot") ", " OWN(
            "timestamp") ","
                         " shown.snapshot, shown.timestamp, stated.snapshot, stated.timestamp,"
                         " c.name IS NOT NULL, c.name IS NULL OR c.epoch < service.epoch"
                         " FROM service, (SELECT name FROM collection UNION SELECT collection"
                         "   FROM shown UNION SELECT collection FROM stated ORDER BY 1) n"
                         " LEFT JOIN collection c ON c.name = n.name"
                         " LEFT JOIN shown ON shown.collection = n.name"
                         " LEFT JOIN stated ON stated.collection = n.name ORDER BY n.name",
        &stmt, err);
    while (!rc) {
        rc = db_step(stmt, &row, err);
        if (rc || !row)
            break;
        rc = visit_row(stmt, visit, context, err);
    }
    return rc;
}

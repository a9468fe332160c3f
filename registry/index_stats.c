#include "registry/index_stats.h"

#include "registry/index_internal.h"

#include <string.h>

int index_stats_read(struct index_tx *tx, struct index_stats *out, struct error *err)
{
    struct index_stats stats = {0, 0, 0, 0, 0};
    const struct {
        const char *name;
        int64_t *to;
    } known[] = {{"blobs", &stats.blobs},
                 {"blob-bytes", &stats.blob_bytes},
                 {"repositories", &stats.repositories},
                 {"tags", &stats.tags},
                 {"manifests", &stats.manifests}};
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx, "SELECT name, value FROM total", &stmt, err, "");
    if (rc != 0)
        return rc;
    while ((rc = db_step(stmt, &row, err)) == 0 && row) {
        const char *name = db_column_text(stmt, 0);
        for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
            if (strcmp(known[i].name, name) == 0)
                *known[i].to = db_column_int(stmt, 1);
    }
    db_reset(stmt);
    if (rc == 0)
        *out = stats;
    return rc;
}

struct visitor {
    size_t max;
    int (*visit)(void *context, const struct index_expiry *e, struct error *err);
    void *context;
};

/* What the index of the schema sorts by; the query must say the same words. */
#define KIND_OF                                                                                    \
    "CASE WHEN t.role IN ('root', 'targets', 'snapshot', 'timestamp') THEN t.role"                 \
    " ELSE 'delegated' END"
static int visit_kind(struct index_tx *tx, const char *kind, const struct visitor *v,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx,
                         "SELECT r.name, t.role, t.expires_s"
                         " FROM trust_file t JOIN repository r ON r.id = t.repository"
                         " WHERE t.current = 1 AND " KIND_OF " = ?1 AND t.expires_s > 0"
                         " ORDER BY t.expires_s LIMIT ?2",
                         &stmt, err, "ti", kind, (int64_t)v->max);
    if (rc != 0)
        return rc;
    while ((rc = db_step(stmt, &row, err)) == 0 && row) {
        const struct index_expiry e = {kind, db_column_text(stmt, 1), db_column_text(stmt, 0),
                                       db_column_int(stmt, 2)};
        if (!e.role || !e.repository)
            continue;
        rc = v->visit(v->context, &e, err);
        if (rc != 0)
            break;
    }
    db_reset(stmt);
    return rc;
}

int index_stats_expiries(struct index_tx *tx, size_t max,
                         int (*visit)(void *context, const struct index_expiry *e,
                                      struct error *err),
                         void *context, struct error *err)
{
    static const char *const kinds[] = {"root", "targets", "snapshot", "timestamp", "delegated"};
    const struct visitor v = {max, visit, context};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof kinds / sizeof *kinds; i++)
        rc = visit_kind(tx, kinds[i], &v, err);
    return rc;
}

int index_stats_touch(struct index_tx *tx, void *arg, struct error *err)
{
    (void)arg;
    return index_change(tx, "UPDATE total SET value = value WHERE name = 'blobs'", NULL, err, "");
}

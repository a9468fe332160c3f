#include "registry/index_usage.h"

#include "registry/index_internal.h"

int index_usage_find(struct index_tx *tx, const char *prefix, struct index_usage *out,
                     struct error *err)
{
    struct db_stmt *stmt = NULL;
    struct index_usage usage = {0, 0};
    bool row = false;
    int rc = index_query(tx, "SELECT bytes, repositories FROM usage WHERE prefix = ?1", &stmt, err,
                         "t", prefix);
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0 && row) {
        usage.bytes = db_column_int(stmt, 0);
        usage.repositories = db_column_int(stmt, 1);
    }
    if (stmt)
        db_reset(stmt);
    if (rc == 0)
        *out = usage;
    return rc;
}

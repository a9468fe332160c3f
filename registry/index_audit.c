#include "registry/index_audit.h"

#include "registry/index_internal.h"

#include <string.h>

static int column_hash(struct db_stmt *stmt, int column, uint8_t out[AUDIT_HASH_LEN],
                       struct error *err)
{
    const char *hex = db_column_text(stmt, column);
    if (!hex || hex_decode(hex, strlen(hex), out, AUDIT_HASH_LEN, NULL) != 0)
        return fail(err, E_TAMPERED, "the index holds an audit record's hash that is none");
    return 0;
}

static int read_anchor(struct db_stmt *stmt, struct index_audit_anchor *out, struct error *err)
{
    int64_t numbers[4];
    static const int columns[4] = {0, 2, 3, 4};
    for (int i = 0; i < 4; i++) {
        numbers[i] = db_column_int(stmt, columns[i]);
        if (numbers[i] < 0)
            return fail(err, E_TAMPERED, "the index holds an audit record's number that is none");
    }
    struct index_audit_anchor a = {.head = {.link = {.seq = (uint64_t)numbers[0]},
                                            .segment = (uint64_t)numbers[1],
                                            .offset = (uint64_t)numbers[2]},
                                   .base = {.seq = (uint64_t)numbers[3]}};
    int rc = column_hash(stmt, 1, a.head.link.hash, err);
    if (rc == 0)
        rc = column_hash(stmt, 5, a.base.hash, err);
    if (rc == 0)
        *out = a;
    return rc;
}

int index_audit_get(struct index_tx *tx, enum audit_chain chain, struct index_audit_anchor *out,
                    struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx,
                         "SELECT seq, hash, segment, place, base_seq, base_hash"
                         " FROM audit_anchor WHERE log = ?1",
                         &stmt, err, "t", audit_chain_name(chain));
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    if (rc == 0)
        rc = row ? read_anchor(stmt, out, err)
                 : fail(err, E_NOTFOUND, "the index knows no audit log '%s'",
                        audit_chain_name(chain));
    if (stmt)
        db_reset(stmt);
    return rc;
}

int index_audit_set(struct index_tx *tx, enum audit_chain chain,
                    const struct index_audit_anchor *anchor, bool force, struct error *err)
{
    char head[AUDIT_HASH_HEX + 1], base[AUDIT_HASH_HEX + 1];
    hex_encode(anchor->head.link.hash, AUDIT_HASH_LEN, head);
    hex_encode(anchor->base.hash, AUDIT_HASH_LEN, base);
    return index_change(
        tx,
        "INSERT INTO audit_anchor(log, seq, hash, segment, place, base_seq,"
        " base_hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(log) DO UPDATE SET"
        " seq = ?2, hash = ?3, segment = ?4, place = ?5 "
        " WHERE ?8 = 1 OR audit_anchor.seq < ?2",
        NULL, err, "titiiiti", audit_chain_name(chain), (int64_t)anchor->head.link.seq, head,
        (int64_t)anchor->head.segment, (int64_t)anchor->head.offset, (int64_t)anchor->base.seq,
        base, (int64_t)force);
}

int index_audit_set_base(struct index_tx *tx, enum audit_chain chain, const struct audit_link *base,
                         struct error *err)
{
    char hex[AUDIT_HASH_HEX + 1];
    hex_encode(base->hash, AUDIT_HASH_LEN, hex);
    return index_change(tx, "UPDATE audit_anchor SET base_seq = ?2, base_hash = ?3 WHERE log = ?1",
                        NULL, err, "tit", audit_chain_name(chain), (int64_t)base->seq, hex);
}

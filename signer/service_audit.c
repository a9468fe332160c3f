#include "signer/service_audit.h"

#include <inttypes.h>
#include <string.h>

#define REMOVE_STEP 1000u /* removing is recorded, so it happens in steps */

static int read_link(struct db_stmt *stmt, struct audit_link *out, struct error *err)
{
    size_t len = 0;
    const void *hash = db_column_blob(stmt, 1, &len);
    if (len != sizeof out->hash)
        return fail(err, E_TAMPERED, "a record of the log has no hash");
    out->seq = (uint64_t)db_column_int(stmt, 0);
    memcpy(out->hash, hash, len);
    return OK;
}

int service_audit_last(struct db *db, struct audit_link *out, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    struct audit_link last = {0};
    int rc = db_prepare(db, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", &stmt, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    if (!rc && row)
        rc = read_link(stmt, &last, err);
    if (!rc)
        *out = last;
    return rc;
}

static int insert(struct db *db, const struct audit_link *link, const char *line, size_t len,
                  struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(db, "INSERT INTO audit (seq, hash, line) VALUES (?1, ?2, ?3)", &stmt, err);
    if (!rc)
        rc = db_bind_int(stmt, 1, (int64_t)link->seq, err);
    if (!rc)
        rc = db_bind_blob(stmt, 2, link->hash, sizeof link->hash, err);
    if (!rc)
        rc = db_bind_blob(stmt, 3, line, len, err);
    return rc ? rc : db_run(stmt, err);
}

static int run_with(struct db *db, const char *sql, uint64_t value, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(db, sql, &stmt, err);
    if (!rc)
        rc = db_bind_int(stmt, 1, (int64_t)value, err);
    return rc ? rc : db_run(stmt, err);
}

/* Which records were removed on purpose is remembered: any other that is missing was not. */
static int shorten(struct db *db, uint64_t last, uint64_t keep, struct error *err)
{
    if (last % REMOVE_STEP || last <= keep)
        return OK;
    int rc = run_with(db, "DELETE FROM audit WHERE seq <= ?1", last - keep, err);
    return rc ? rc
              : run_with(db, "UPDATE service SET audit_removed = max(audit_removed, ?1)",
                         last - keep, err);
}

int service_audit_append(struct db *db, const struct audit_event *e, uint64_t keep,
                         struct audit_link *out, struct error *err)
{
    struct audit_link at;
    char line[AUDIT_LINE_MAX + 1];
    int rc = service_audit_last(db, &at, err);
    if (rc)
        return rc;
    size_t len = audit_record_write(AUDIT_SIGNER, e, &at, line, err);
    rc = len ? insert(db, &at, line, len - 1, err) : E_INTERNAL;
    if (!rc)
        rc = shorten(db, at.seq, keep, err);
    if (!rc)
        *out = at;
    return rc;
}

int service_audit_note(struct db *db, const struct audit_event *e, uint64_t keep, struct error *err)
{
    struct audit_link at;
    int rc = db_begin(db, err);
    if (!rc)
        rc = service_audit_append(db, e, keep, &at, err);
    if (!rc)
        rc = db_commit(db, err);
    if (rc)
        db_rollback(db);
    return wrap(err, rc, "the signing service's log");
}

static int read_removed(struct db *db, uint64_t *out, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = db_prepare(db, "SELECT audit_removed FROM service", &stmt, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    if (!rc)
        *out = row ? (uint64_t)db_column_int(stmt, 0) : 0;
    return rc;
}

static int find(struct db *db, uint64_t seq, bool *found, struct audit_link *out, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(db, "SELECT seq, hash FROM audit WHERE seq = ?1", &stmt, err);
    if (!rc)
        rc = db_bind_int(stmt, 1, (int64_t)seq, err);
    if (!rc)
        rc = db_step(stmt, found, err);
    return !rc && *found ? read_link(stmt, out, err) : rc;
}

int service_audit_has(struct db *db, const struct audit_link *link, bool *out, struct error *err)
{
    struct audit_link there = {0};
    uint64_t removed = 0;
    bool found = false;
    int rc = read_removed(db, &removed, err);
    if (!rc)
        rc = find(db, link->seq, &found, &there, err);
    if (!rc)
        *out = found ? audit_link_equal(&there, link) : link->seq <= removed;
    return rc;
}

int service_audit_hash(struct db *db, uint64_t seq, char hex[static AUDIT_HASH_HEX + 1],
                       struct error *err)
{
    struct audit_link there = {0};
    bool found = false;
    int rc = find(db, seq, &found, &there, err);
    hex[0] = 0;
    if (!rc && found)
        hex_encode(there.hash, sizeof there.hash, hex);
    return rc;
}

/* --- reading all of it --- */

struct scan {
    const struct service_audit_walk *walk;
    struct service_audit_result result;
    bool head_seen;
};

static int bad(struct error *err, uint64_t seq, const char *why)
{
    return fail(err, E_TAMPERED, "record %" PRIu64 " of the signing service's log: %s", seq, why);
}

static int take_record(struct scan *s, struct db_stmt *stmt, struct error *err)
{
    size_t len = 0;
    const char *line = db_column_blob(stmt, 2, &len);
    struct audit_link row = {0}, before = {0}, link = {0};
    struct error why = ERROR_INIT;
    int rc = read_link(stmt, &row, err);
    if (rc)
        return rc;
    if (audit_record_check(AUDIT_SIGNER, line ? line : "", len, &before, &link, &why))
        return bad(err, row.seq, why.message);
    if (!audit_link_equal(&row, &link))
        return bad(err, row.seq, "it stands in another's place");
    if (s->result.n_records && !audit_link_equal(&before, &s->result.last))
        return bad(err, row.seq, "what stands before it is not what it follows");
    if (!s->result.n_records)
        s->result.first = link.seq;
    s->result.n_records++;
    s->result.last = link;
    if (s->walk->head && memcmp(s->walk->head, link.hash, sizeof link.hash) == 0)
        s->head_seen = true;
    return s->walk->visit ? s->walk->visit(s->walk->context, line, len, err) : OK;
}

static int check_ends(const struct scan *s, uint64_t removed, struct error *err)
{
    if (s->result.n_records && s->result.first != removed + 1)
        return bad(err, removed + 1, "it is missing");
    if (s->walk->head && !s->head_seen)
        return fail(err, E_TAMPERED, "no record of the signing service's log has that hash");
    return OK;
}

static int scan_records(struct scan *s, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    uint64_t removed = 0;
    bool row = true;
    int rc = read_removed(s->walk->db, &removed, err);
    if (!rc)
        rc = db_prepare(s->walk->db, "SELECT seq, hash, line FROM audit ORDER BY seq", &stmt, err);
    while (!rc) {
        rc = db_step(stmt, &row, err);
        if (rc || !row)
            break;
        rc = take_record(s, stmt, err);
    }
    return rc ? rc : check_ends(s, removed, err);
}

int service_audit_scan(const struct service_audit_walk *walk, struct service_audit_result *out,
                       struct error *err)
{
    struct scan s = {.walk = walk};
    int rc = db_begin_read(walk->db, err);
    if (!rc)
        rc = scan_records(&s, err);
    db_rollback(walk->db);
    if (!rc)
        *out = s.result;
    return rc;
}

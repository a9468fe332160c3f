#include "signer/service_tell.h"

#include "base/json.h"
#include "signer/link.h"
#include "signer/service_audit.h"
#include "signer/service_memory.h"

static int set_common(struct js *o, const struct service_memory_status *s, int64_t number,
                      struct error *err)
{
    int rc = js_set(o, "identity", js_text_new(s->identity), err);
    return rc ? rc : js_set(o, "number", js_int_new(number), err);
}

static int fill_status(struct js *o, const struct service_memory_status *s, bool token_failing,
                       const struct bytes *metrics, struct error *err)
{
    char hash[AUDIT_HASH_HEX + 1];
    hex_encode(s->last.hash, sizeof s->last.hash, hash);
    int rc = set_common(o, s, (int64_t)s->last.seq, err);
    if (!rc)
        rc = js_set(o, "hash", js_text_new(hash), err);
    if (!rc)
        rc = js_set(o, "doubtedCollections", js_int_new(s->n_doubted), err);
    if (!rc)
        rc = js_set(o, "doubted", js_bool_new(s->doubted), err);
    if (!rc)
        rc = js_set(o, "tokenFailing", js_bool_new(token_failing), err);
    return rc ? rc : js_set(o, "metrics", js_text_new(bytes_text(metrics)), err);
}

int service_tell_status(const struct service_stats *stats, struct db *db, int64_t now_s,
                        struct bytes *out, struct error *err)
{
    struct service_memory_status s;
    CLEANUP(bytes_done) struct bytes metrics = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? service_memory_status(db, &s, err) : fail_nomem(err);
    if (!rc)
        rc = service_stats_write(stats, db, now_s, &metrics, err);
    if (!rc)
        rc = fill_status(o, &s, stats->token_failing, &metrics, err);
    return rc ? rc : js_write(o, false, out, err);
}

/* --- changes --- */

static int push_change(struct js *list, struct db_stmt *stmt, struct error *err)
{
    const char *name = db_column_text(stmt, 0);
    CLEANUP(js_cleanup) struct js *item = js_object_new();
    if (!name || !item)
        return fail_nomem(err);
    int rc = js_set(item, "name", js_text_new(name), err);
    if (!rc)
        rc = js_set(item, "number", js_int_new(db_column_int(stmt, 1)), err);
    if (!rc)
        rc = js_set(item, "root", js_int_new(db_column_int(stmt, 2)), err);
    if (!rc)
        rc = js_set(item, "timestamp", js_int_new(db_column_int(stmt, 3)), err);
    return rc ? rc : js_push(list, TAKE_PTR(item), err);
}

#define VERSION(role)                                                                              \
    "(SELECT version FROM file WHERE collection = name AND role = '" role "' AND gone = 0)"

/* Collections that have keys only and files none are of no interest. */
static int read_changes(struct db *db, int64_t since, struct js *list, int64_t *last,
                        struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = db_prepare(
        db,
        "SELECT name, changed, " VERSION("root") ", " VERSION(
            "timestamp") " FROM collection WHERE changed > ?1 AND timestamp_expires_s IS NOT NULL"
                         " ORDER BY changed LIMIT ?2",
        &stmt, err);
    if (!rc)
        rc = db_bind_int(stmt, 1, since, err);
    if (!rc)
        rc = db_bind_int(stmt, 2, SIGNER_PAGE, err);
    while (!rc) {
        rc = db_step(stmt, &row, err);
        if (rc || !row)
            break;
        *last = db_column_int(stmt, 1);
        rc = push_change(list, stmt, err);
    }
    return rc;
}

static int set_hash(struct js *o, const char *key, struct db *db, int64_t seq, struct error *err)
{
    char hex[AUDIT_HASH_HEX + 1];
    int rc = service_audit_hash(db, (uint64_t)seq, hex, err);
    return rc ? rc : js_set(o, key, js_text_new(hex), err);
}

static int set_places(struct js *o, struct db *db, const struct service_memory_status *s,
                      const int64_t from_to[2], struct error *err)
{
    int rc = set_common(o, s, from_to[1], err);
    if (!rc)
        rc = js_set(o, "last", js_int_new((int64_t)s->last.seq), err);
    if (!rc)
        rc = set_hash(o, "sinceHash", db, from_to[0], err);
    return rc ? rc : set_hash(o, "hash", db, from_to[1], err);
}

int service_tell_changes(struct db *db, int64_t since, struct bytes *out, struct error *err)
{
    struct service_memory_status s;
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    int64_t last = since;
    int rc = o && list ? service_memory_status(db, &s, err) : fail_nomem(err);
    if (!rc)
        rc = read_changes(db, since, list, &last, err);
    if (rc)
        return rc;
    bool whole = js_count(list) < SIGNER_PAGE;
    const int64_t from_to[] = {since, whole ? (int64_t)s.last.seq : last};
    rc = set_places(o, db, &s, from_to, err);
    if (!rc)
        rc = js_set(o, "whole", js_bool_new(whole), err);
    if (!rc)
        rc = js_set(o, "collections", TAKE_PTR(list), err);
    return rc ? rc : js_write(o, false, out, err);
}

#include "signer/service_memory.h"

#include "base/file.h"
#include "base/log.h"
#include "signer/service_audit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#define MARK_MAX 256u

struct service_memory {
    struct db *db;
    int dir_fd;
    uint8_t identity[SERVICE_MEMORY_ID_LEN];
    struct audit_link last; /* appended by this object */
};

/* --- small statements --- */

/* Runs sql with ?1 = text (NULL: none) and ?2, ?3 = numbers where n says so. */
struct arguments {
    const char *text;
    const int64_t *numbers;
    int n;
};

static int prepare(struct db *db, const char *sql, const struct arguments *a, struct db_stmt **out,
                   struct error *err)
{
    int rc = db_prepare(db, sql, out, err);
    if (!rc && a->text)
        rc = db_bind_text(*out, 1, a->text, err);
    for (int i = 0; i < a->n && !rc; i++)
        rc = db_bind_int(*out, i + 2, a->numbers[i], err);
    return rc;
}

static int run(struct db *db, const char *sql, const struct arguments *a, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = prepare(db, sql, a, &stmt, err);
    return rc ? rc : db_run(stmt, err);
}

static int run_text(struct db *db, const char *sql, const char *text, struct error *err)
{
    return run(db, sql, &(struct arguments){text, NULL, 0}, err);
}

/* The first two columns of the first row; E_NOTFOUND without a message where there is none. */
static int ask(struct db *db, const char *sql, const char *text, int64_t out[2], struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = prepare(db, sql, &(struct arguments){text, NULL, 0}, &stmt, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    if (rc || !row)
        return rc ? rc : E_NOTFOUND;
    out[0] = db_column_int(stmt, 0);
    out[1] = db_column_int(stmt, 1);
    return OK;
}

static int finish(struct db *db, int rc, struct error *err)
{
    if (!rc)
        rc = db_commit(db, err);
    if (rc)
        db_rollback(db);
    return rc;
}

/* --- the mark --- */

struct mark {
    bool there, readable;
    uint8_t identity[SERVICE_MEMORY_ID_LEN];
    struct audit_link last;
};

static const char mark_form[] = "bulla-signer mark 1\n";

static bool parse_mark(const struct bytes *text, struct mark *out)
{
    const size_t form = sizeof mark_form - 1;
    const char *p = bytes_text(text) + form, *space = NULL;
    if (text->len < form + SERVICE_MEMORY_ID_HEX + 1 || strlen(bytes_text(text)) != text->len ||
        memcmp(bytes_text(text), mark_form, form) != 0 ||
        hex_decode(p, SERVICE_MEMORY_ID_HEX, out->identity, sizeof out->identity, NULL))
        return false;
    p += SERVICE_MEMORY_ID_HEX;
    if (*p++ != ' ' || !(space = strchr(p, ' ')) ||
        text_to_u64(p, (size_t)(space - p), INT64_MAX, &out->last.seq, NULL))
        return false;
    return strlen(space + 1) == AUDIT_HASH_HEX + 1 && space[1 + AUDIT_HASH_HEX] == '\n' &&
           hex_decode(space + 1, AUDIT_HASH_HEX, out->last.hash, sizeof out->last.hash, NULL) == 0;
}

static int read_mark(const struct service_memory *m, struct mark *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct mark mark = {.there = true};
    int rc = file_read(m->dir_fd, SERVICE_MEMORY_MARK, MARK_MAX, &text, err);
    if (rc == E_NOTFOUND)
        mark.there = false;
    else if (!rc)
        mark.readable = parse_mark(&text, &mark);
    else if (rc != E_LIMIT)
        return rc;
    *out = mark;
    return OK;
}

int service_memory_mark(struct service_memory *m, struct error *err)
{
    char id[SERVICE_MEMORY_ID_HEX + 1], hash[AUDIT_HASH_HEX + 1], text[MARK_MAX];
    hex_encode(m->identity, sizeof m->identity, id);
    hex_encode(m->last.hash, sizeof m->last.hash, hash);
    int n = snprintf(text, sizeof text, "%s%s %" PRIu64 " %s\n", mark_form, id, m->last.seq, hash);
    return wrap(err, file_write_atomic(m->dir_fd, SERVICE_MEMORY_MARK, text, (size_t)n, 0600, err),
                "remember what was signed last");
}

/* --- doubts --- */

static int append(struct db *db, const struct audit_event *e, struct audit_link *at,
                  struct error *err)
{
    return service_audit_append(db, e, SERVICE_AUDIT_KEEP, at, err);
}

static int begin_doubt(struct service_memory *m, const char *collection, const char *why,
                       struct error *err)
{
    const struct audit_event e = {
        .event = "memory.doubt", .result = "done", .repository = collection, .detail = why};
    int rc = run_text(m->db, "UPDATE service SET epoch = epoch + 1, copy = 0, why = ?1", why, err);
    if (!rc)
        rc = append(m->db, &e, &m->last, err);
    if (!rc)
        log_error("%s: nothing is signed until a local admin states what was published last: "
                  "see 'bulla-signer state --config FILE'",
                  why);
    return rc;
}

int service_memory_doubt(struct service_memory *m, const char *collection, const char *why,
                         struct error *err)
{
    int rc = service_memory_check(m, collection, NULL);
    if (rc)
        return rc == E_STALE ? OK : rc;
    rc = db_begin(m->db, err);
    if (rc)
        return rc;
    return finish(m->db, begin_doubt(m, collection, why, err), err);
}

/* NULL where nothing speaks against the database. */
static int judge(const struct service_memory *m, const struct mark *mark, bool copy, bool marked,
                 const char **why, struct error *err)
{
    bool has = true;
    *why = NULL;
    if (copy)
        *why = "the database is a copy that 'bulla-signer backup' made";
    else if (!mark->there && marked)
        *why = "the database was put here without the file '" SERVICE_MEMORY_MARK "' beside it";
    else if (mark->there && !mark->readable)
        *why = "the file '" SERVICE_MEMORY_MARK "' beside the database cannot be read";
    else if (mark->there && memcmp(mark->identity, m->identity, sizeof m->identity) != 0)
        *why = "this is not the database that signed last here";
    if (*why || !mark->there)
        return OK;
    int rc = service_audit_has(m->db, &mark->last, &has, err);
    if (!rc && !has)
        *why = "the database is older than what was signed last here";
    return rc;
}

static int read_identity(struct service_memory *m, bool *copy, bool *marked, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    size_t len = 0;
    int rc = db_prepare(m->db, "SELECT identity, copy, marked FROM service", &stmt, err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    if (rc || !row)
        return rc ? rc : fail(err, E_INTERNAL, "the database has no record key yet");
    const void *identity = db_column_blob(stmt, 0, &len);
    if (len != 0 && len != sizeof m->identity)
        return fail(err, E_TAMPERED, "the database has an impossible identity");
    if (len)
        memcpy(m->identity, identity, len);
    else if (getrandom(m->identity, sizeof m->identity, 0) != (ssize_t)sizeof m->identity)
        return fail_sys(err, errno, "getrandom");
    *copy = db_column_int(stmt, 1) != 0;
    *marked = db_column_int(stmt, 2) != 0;
    return OK;
}

static int write_identity(struct service_memory *m, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(m->db, "UPDATE service SET identity = ?1", &stmt, err);
    if (!rc)
        rc = db_bind_blob(stmt, 1, m->identity, sizeof m->identity, err);
    return rc ? rc : db_run(stmt, err);
}

static int begin(struct service_memory *m, struct error *err)
{
    struct mark mark = {0};
    bool copy = false, marked = false;
    const char *why = NULL;
    int rc = read_identity(m, &copy, &marked, err);
    if (!rc)
        rc = read_mark(m, &mark, err);
    if (!rc)
        rc = judge(m, &mark, copy, marked, &why, err);
    if (!rc)
        rc = service_audit_last(m->db, &m->last, err);
    if (!rc)
        rc = write_identity(m, err);
    return !rc && why ? begin_doubt(m, NULL, why, err) : rc;
}

static int open_folder(const char *database, int *fd, struct error *err)
{
    const char *slash = strrchr(database, '/');
    CLEANUP(cleanup_free)
    char *folder = slash ? strndup(database, (size_t)(slash - database) + 1) : strdup(".");
    return folder ? file_open_dir(folder, false, fd, err) : fail_nomem(err);
}

int service_memory_open(struct db *db, const char *database, struct service_memory **out,
                        struct error *err)
{
    struct service_memory *m = calloc(1, sizeof *m);
    if (!m)
        return fail_nomem(err);
    *m = (struct service_memory){.db = db, .dir_fd = -1};
    int rc = open_folder(database, &m->dir_fd, err);
    if (!rc)
        rc = db_begin(db, err);
    if (!rc)
        rc = finish(db, begin(m, err), err);
    if (!rc)
        rc = service_memory_mark(m, err);
    if (!rc) /* not before it is there: killed in between, the next start must not miss it */
        rc = db_exec(db, "UPDATE service SET marked = 1 WHERE marked = 0", err);
    if (rc)
        service_memory_close(m);
    else
        *out = m;
    return rc;
}

void service_memory_close(struct service_memory *m)
{
    if (!m)
        return;
    cleanup_fd(&m->dir_fd);
    free(m);
}

/* --- records --- */

int service_memory_record(struct service_memory *m, const struct audit_event *e, struct error *err)
{
    struct audit_link at = {0};
    int rc = append(m->db, e, &at, err);
    if (rc)
        return rc;
    const int64_t seq = (int64_t)at.seq;
    /* A collection that an admin has spoken of is in doubt until it is what he said. */
    rc = run(m->db,
             "UPDATE collection SET changed = ?2, epoch = CASE WHEN changed = 0 AND NOT EXISTS"
             "  (SELECT 1 FROM stated WHERE collection = ?1)"
             "  THEN (SELECT epoch FROM service) ELSE epoch END WHERE name = ?1",
             &(struct arguments){e->repository, &seq, 1}, err);
    if (!rc)
        m->last = at;
    return rc;
}

int service_memory_note(struct service_memory *m, const struct audit_event *e, struct error *err)
{
    return service_audit_note(m->db, e, SERVICE_AUDIT_KEEP, err);
}

int service_memory_check(struct service_memory *m, const char *collection, struct error *err)
{
    int64_t v[2] = {0, 0};
    int rc =
        ask(m->db, "SELECT c.epoch < s.epoch, 0 FROM service s, collection c WHERE c.name = ?1",
            collection, v, err);
    if (rc == E_NOTFOUND)
        rc = ask(m->db,
                 "SELECT open_epoch < epoch AND NOT EXISTS"
                 " (SELECT 1 FROM stated WHERE collection = ?1), 0 FROM service",
                 collection, v, err);
    if (rc || !v[0])
        return rc;
    return fail(err, E_STALE,
                "the signing service was restored and may have forgotten what it signed for '%s': "
                "it signs nothing until its admin runs 'bulla-signer state' and 'bulla-signer "
                "resume' on its machine",
                collection);
}

int service_memory_shown(struct service_memory *m, const char *collection,
                         const struct service_versions *shown, struct error *err)
{
    const int64_t v[] = {shown->snapshot, shown->timestamp};
    return run(m->db,
               "INSERT INTO shown (collection, snapshot, timestamp) SELECT ?1, ?2, ?3"
               /* Anybody can make a set under a name that is not known here. */
               " WHERE EXISTS (SELECT 1 FROM collection WHERE name = ?1)"
               " OR (SELECT count(*) FROM shown) < 100000"
               " ON CONFLICT (collection) DO UPDATE SET snapshot = ?2, timestamp = ?3"
               " WHERE snapshot < ?2 OR timestamp < ?3",
               &(struct arguments){collection, v, 2}, err);
}

int service_memory_stated(struct service_memory *m, const char *collection,
                          struct service_versions *out, struct error *err)
{
    int64_t v[2] = {0, 0};
    int rc = ask(m->db, "SELECT snapshot, timestamp FROM stated WHERE collection = ?1", collection,
                 v, err);
    if (rc == E_NOTFOUND)
        return fail(err, rc, "nothing was stated for '%s'", collection);
    if (!rc)
        *out = (struct service_versions){v[0], v[1]};
    return rc;
}

/* --- out of doubt --- */

/* Once the last one is out of doubt, new collections are welcome again. */
static int settle(struct db *db, const char *collection, const char *detail, struct error *err)
{
    struct audit_link at = {0};
    const struct audit_event e = {
        .event = "memory.settle", .result = "done", .repository = collection, .detail = detail};
    int rc =
        run_text(db, "UPDATE collection SET epoch = (SELECT epoch FROM service) WHERE name = ?1",
                 collection, err);
    if (!rc)
        rc = run_text(db, "DELETE FROM stated WHERE collection = ?1", collection, err);
    if (!rc)
        rc = run_text(db, "DELETE FROM shown WHERE collection = ?1", collection, err);
    if (!rc)
        rc = db_exec(db,
                     "UPDATE service SET open_epoch = epoch WHERE NOT EXISTS"
                     " (SELECT 1 FROM collection WHERE epoch < service.epoch)"
                     " AND NOT EXISTS (SELECT 1 FROM stated)",
                     err);
    return rc ? rc : append(db, &e, &at, err);
}

int service_memory_settle(struct service_memory *m, const char *collection, const char *detail,
                          struct error *err)
{
    int rc = db_begin(m->db, err);
    return rc ? rc : finish(m->db, settle(m->db, collection, detail, err), err);
}

#define OWN_VERSION(role)                                                                          \
    "ifnull((SELECT version FROM file WHERE collection = name AND role = '" role                   \
    "' AND gone = 0), 0)"

static int write_stated(struct db *db, const char *collection, const struct service_versions *v,
                        struct error *err)
{
    struct audit_link at = {0};
    char detail[96];
    const int64_t numbers[] = {v->snapshot, v->timestamp};
    const struct audit_event e = {
        .event = "memory.state", .result = "done", .repository = collection, .detail = detail};
    snprintf(detail, sizeof detail, "snapshot %" PRId64 ", timestamp %" PRId64, v->snapshot,
             v->timestamp);
    int rc = run(db,
                 "INSERT INTO stated (collection, snapshot, timestamp) VALUES (?1, ?2, ?3)"
                 " ON CONFLICT (collection) DO UPDATE SET snapshot = ?2, timestamp = ?3",
                 &(struct arguments){collection, numbers, 2}, err);
    return rc ? rc : append(db, &e, &at, err);
}

static int write_floor(struct db *db, const char *collection, const struct service_versions *v,
                       struct error *err)
{
    const int64_t numbers[] = {v->snapshot, v->timestamp};
    return run(db,
               "UPDATE collection SET floor_snapshot = max(floor_snapshot, ?2),"
               " floor_timestamp = max(floor_timestamp, ?3) WHERE name = ?1",
               &(struct arguments){collection, numbers, 2}, err);
}

static int check_statement(const struct service_statement *s, bool known, const int64_t own[2],
                           bool doubted, struct error *err)
{
    if (known && own[1] && !doubted)
        return fail(err, E_CONFLICT,
                    "'%s' is in no doubt: the service signs for it, and there is nothing to state",
                    s->collection);
    if (s->versions.snapshot < own[0] || s->versions.timestamp < own[1])
        return fail(err, E_CONFLICT,
                    "'%s': snapshot %" PRId64 " and timestamp %" PRId64
                    " were signed here: the highest published versions cannot be lower",
                    s->collection, own[0], own[1]);
    if (s->set_lost && !own[1])
        return fail(err, E_CONFLICT,
                    "'%s': nothing of it is remembered here: without a set from the registry "
                    "there is nothing to go on from",
                    s->collection);
    return OK;
}

static int state(struct db *db, const struct service_statement *s, bool *settled, struct error *err)
{
    int64_t own[2] = {0, 0};
    struct service_memory m = {.db = db};
    int rc = ask(db,
                 "SELECT " OWN_VERSION("snapshot") ", " OWN_VERSION(
                     "timestamp") " FROM collection WHERE name = ?1",
                 s->collection, own, err);
    if (rc && rc != E_NOTFOUND)
        return rc;
    int doubt = service_memory_check(&m, s->collection, NULL);
    rc = check_statement(s, rc == OK, own, doubt == E_STALE, err);
    *settled = s->set_lost || (own[0] == s->versions.snapshot && own[1] == s->versions.timestamp);
    if (!rc)
        rc = write_stated(db, s->collection, &s->versions, err);
    if (!rc && s->set_lost)
        rc = write_floor(db, s->collection, &s->versions, err);
    return !rc && *settled ? settle(db, s->collection, "as stated", err) : rc;
}

int service_memory_state(struct db *db, const struct service_statement *statement, bool *settled,
                         struct error *err)
{
    int rc = db_begin(db, err);
    return rc ? rc : finish(db, state(db, statement, settled, err), err);
}

/* --- all at once --- */

#define SHOWN(version) "ifnull((SELECT " version " FROM shown WHERE collection = name), 0)"
#define NOTHING_NEWER                                                                              \
    SHOWN("snapshot")                                                                              \
    " <= " OWN_VERSION("snapshot") " AND " SHOWN("timestamp") " <= " OWN_VERSION("timestamp")

/* What the registry showed that is newer, or unknown here, is waited for. */
static const char state_shown[] =
    "INSERT INTO stated SELECT collection, snapshot, timestamp FROM shown WHERE true"
    " ON CONFLICT (collection) DO UPDATE SET snapshot = excluded.snapshot,"
    "  timestamp = excluded.timestamp;";
static const char settle_rest[] = "UPDATE collection SET epoch = (SELECT epoch FROM service)"
                                  " WHERE epoch < (SELECT epoch FROM service) AND " NOTHING_NEWER;
static const char clean_up[] =
    "DELETE FROM stated WHERE collection IN"
    " (SELECT name FROM collection WHERE epoch = (SELECT epoch FROM service));"
    "DELETE FROM shown WHERE collection IN"
    " (SELECT name FROM collection WHERE epoch = (SELECT epoch FROM service));"
    "UPDATE service SET open_epoch = epoch;";

static int leave_out(struct db *db, int64_t ahead, struct error *err)
{
    const int64_t numbers[] = {ahead};
    return run(db,
               "UPDATE collection SET floor_snapshot = max(floor_snapshot, ?2 +"
               " max(" OWN_VERSION("snapshot") ", " SHOWN(
                   "snapshot") ")),"
                               " floor_timestamp = max(floor_timestamp, ?2 +"
                               " max(" OWN_VERSION("timestamp") ", " SHOWN(
                                   "timestamp") "))"
                                                " WHERE epoch < (SELECT epoch FROM service)",
               &(struct arguments){NULL, numbers, 1}, err);
}

static int state_all(struct db *db, int64_t ahead, int64_t *n_settled, int64_t *n_waiting,
                     struct error *err)
{
    char detail[96];
    struct audit_link at = {0};
    const struct audit_event e = {.event = "memory.state", .result = "done", .detail = detail};
    int64_t v[2] = {0, 0};
    snprintf(detail, sizeof detail, "all as remembered or shown, %" PRId64 " versions left out",
             ahead);
    int rc = db_exec(db, state_shown, err);
    if (!rc && ahead)
        rc = leave_out(db, ahead, err);
    if (!rc)
        rc = db_exec(db, settle_rest, err);
    if (!rc)
        *n_settled = db_changes(db);
    if (!rc)
        rc = db_exec(db, clean_up, err);
    if (!rc)
        rc = ask(db, "SELECT count(*), 0 FROM stated", NULL, v, err);
    *n_waiting = v[0];
    return rc ? rc : append(db, &e, &at, err);
}

int service_memory_state_all(struct db *db, int64_t ahead, int64_t *n_settled, int64_t *n_waiting,
                             struct error *err)
{
    int rc = db_begin(db, err);
    return rc ? rc : finish(db, state_all(db, ahead, n_settled, n_waiting, err), err);
}

int service_memory_set_copy(struct db *db, struct error *err)
{
    return db_exec(db, "UPDATE service SET copy = 1", err);
}

#include "registry/index.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "registry/index_internal.h"
#include "registry/index_mirror.h"
#include "registry/index_schema.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#define APPLICATION_ID   0x42756c72 /* "Bulr" */
#define MAX_STATEMENTS   192u
#define MAX_IDLE_READERS 16u /* connections kept for the next request */
#define MAX_GROUP        64u /* writes that share one commit */

static const char *const schema[] = {
    /* 1 */
    "CREATE TABLE repository(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    "  created_s INTEGER NOT NULL) STRICT;"
    "CREATE TABLE blob(digest TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL,"
    "  stored_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE link(repository INTEGER NOT NULL REFERENCES repository(id),"
    "  digest TEXT NOT NULL REFERENCES blob(digest), PRIMARY KEY(repository, digest))"
    "  STRICT, WITHOUT ROWID;"
    "CREATE INDEX link_digest ON link(digest);"
    "CREATE TABLE manifest(repository INTEGER NOT NULL REFERENCES repository(id),"
    "  digest TEXT NOT NULL REFERENCES blob(digest), media_type TEXT NOT NULL,"
    "  size INTEGER NOT NULL, subject TEXT, artifact_type TEXT NOT NULL, annotations TEXT,"
    "  pushed_s INTEGER NOT NULL, PRIMARY KEY(repository, digest)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX manifest_digest ON manifest(digest);"
    "CREATE INDEX manifest_subject ON manifest(repository, subject) WHERE subject IS NOT NULL;"
    "CREATE TABLE reference(repository INTEGER NOT NULL, parent TEXT NOT NULL,"
    "  child TEXT NOT NULL, PRIMARY KEY(repository, parent, child),"
    "  FOREIGN KEY(repository, parent) REFERENCES manifest(repository, digest)"
    "  ON DELETE CASCADE) STRICT, WITHOUT ROWID;"
    "CREATE INDEX reference_child ON reference(repository, child);"
    "CREATE TABLE tag(repository INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,"
    "  updated_s INTEGER NOT NULL, PRIMARY KEY(repository, name),"
    "  FOREIGN KEY(repository, digest) REFERENCES manifest(repository, digest)"
    "  ON DELETE CASCADE) STRICT, WITHOUT ROWID;"
    "CREATE INDEX tag_digest ON tag(repository, digest);"
    "CREATE TABLE trust_file(repository INTEGER NOT NULL REFERENCES repository(id),"
    "  role TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,"
    "  current INTEGER NOT NULL, PRIMARY KEY(repository, role, version)) STRICT;"
    "CREATE UNIQUE INDEX trust_current ON trust_file(repository, role) WHERE current = 1;"
    "CREATE TABLE trust_target(repository INTEGER NOT NULL REFERENCES repository(id),"
    "  role TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,"
    "  PRIMARY KEY(repository, name, digest, role))"
    "  STRICT, WITHOUT ROWID;"
    "CREATE INDEX trust_target_digest ON trust_target(repository, digest);"
    "CREATE TABLE trust_timestamp(repository INTEGER NOT NULL PRIMARY KEY"
    "  REFERENCES repository(id), issued_s INTEGER NOT NULL, expires_s INTEGER NOT NULL) STRICT;"
    "CREATE INDEX trust_expiry ON trust_timestamp(expires_s);"
    "CREATE TABLE user(name TEXT NOT NULL PRIMARY KEY, password TEXT NOT NULL,"
    "  created_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE rights(subject TEXT NOT NULL, pattern TEXT NOT NULL,"
    "  actions INTEGER NOT NULL, PRIMARY KEY(subject, pattern)) STRICT, WITHOUT ROWID;",
    /* Totals for metrics, which must not count; and what expires first. */
    "CREATE TABLE total(name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL)"
    "  STRICT, WITHOUT ROWID;"
    "INSERT INTO total SELECT 'blobs', count(*) FROM blob;"
    "INSERT INTO total SELECT 'blob-bytes', ifnull(sum(size), 0) FROM blob;"
    "INSERT INTO total SELECT 'repositories', count(*) FROM repository;"
    "INSERT INTO total SELECT 'tags', count(*) FROM tag;"
    "INSERT INTO total SELECT 'manifests', count(*) FROM manifest;"
    "CREATE TRIGGER blob_in AFTER INSERT ON blob BEGIN"
    "  UPDATE total SET value = value + 1 WHERE name = 'blobs';"
    "  UPDATE total SET value = value + NEW.size WHERE name = 'blob-bytes'; END;"
    "CREATE TRIGGER blob_out AFTER DELETE ON blob BEGIN"
    "  UPDATE total SET value = value - 1 WHERE name = 'blobs';"
    "  UPDATE total SET value = value - OLD.size WHERE name = 'blob-bytes'; END;"
    "CREATE TRIGGER blob_size AFTER UPDATE OF size ON blob BEGIN"
    "  UPDATE total SET value = value + NEW.size - OLD.size WHERE name = 'blob-bytes'; END;"
    "CREATE TRIGGER repository_in AFTER INSERT ON repository BEGIN"
    "  UPDATE total SET value = value + 1 WHERE name = 'repositories'; END;"
    "CREATE TRIGGER repository_out AFTER DELETE ON repository BEGIN"
    "  UPDATE total SET value = value - 1 WHERE name = 'repositories'; END;"
    "CREATE TRIGGER tag_in AFTER INSERT ON tag BEGIN"
    "  UPDATE total SET value = value + 1 WHERE name = 'tags'; END;"
    "CREATE TRIGGER tag_out AFTER DELETE ON tag BEGIN"
    "  UPDATE total SET value = value - 1 WHERE name = 'tags'; END;"
    "CREATE TRIGGER manifest_in AFTER INSERT ON manifest BEGIN"
    "  UPDATE total SET value = value + 1 WHERE name = 'manifests'; END;"
    "CREATE TRIGGER manifest_out AFTER DELETE ON manifest BEGIN"
    "  UPDATE total SET value = value - 1 WHERE name = 'manifests'; END;"
    "ALTER TABLE trust_file ADD COLUMN expires_s INTEGER NOT NULL DEFAULT 0;"
    "UPDATE trust_file SET expires_s = ifnull(CAST(strftime('%s',"
    "  json_extract(CAST(data AS TEXT), '$.signed.expires')) AS INTEGER), 0)"
    "  WHERE current = 1 AND json_valid(CAST(data AS TEXT));"
    "CREATE INDEX trust_expires ON trust_file("
    "  CASE WHEN role IN ('root', 'targets', 'snapshot', 'timestamp') THEN role"
    "  ELSE 'delegated' END, expires_s) WHERE current = 1;",
    /* Which registry this is; the audit log's heads; what scrub found and where it is */
    "CREATE TABLE identity(id TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;"
    "INSERT INTO identity(id) VALUES(lower(hex(randomblob(16))));"
    "CREATE TABLE audit_anchor(log TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL,"
    "  hash TEXT NOT NULL, segment INTEGER NOT NULL, place INTEGER NOT NULL,"
    "  base_seq INTEGER NOT NULL, base_hash TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE damaged(digest TEXT NOT NULL PRIMARY KEY REFERENCES blob(digest)"
    "  ON DELETE CASCADE, reason TEXT NOT NULL, found_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE scrub(id INTEGER PRIMARY KEY CHECK(id = 1), cursor TEXT NOT NULL,"
    "  started_s INTEGER NOT NULL, finished_s INTEGER NOT NULL) STRICT;"
    "INSERT INTO scrub(id, cursor, started_s, finished_s) VALUES(1, '', 0, 0);",
    /* groups, API tokens, client certificates */
    "ALTER TABLE user ADD COLUMN serial INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE user ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE user_group(name TEXT NOT NULL PRIMARY KEY, created_s INTEGER NOT NULL)"
    "  STRICT, WITHOUT ROWID;"
    "CREATE TABLE member(user TEXT NOT NULL REFERENCES user(name) ON DELETE CASCADE,"
    "  user_group TEXT NOT NULL REFERENCES user_group(name) ON DELETE CASCADE,"
    "  PRIMARY KEY(user, user_group)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX member_group ON member(user_group);"
    "CREATE TABLE api_token(id TEXT NOT NULL PRIMARY KEY,"
    "  user TEXT NOT NULL REFERENCES user(name) ON DELETE CASCADE, hash BLOB NOT NULL,"
    "  pattern TEXT NOT NULL, actions INTEGER NOT NULL, created_s INTEGER NOT NULL,"
    "  expires_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX api_token_user ON api_token(user);"
    "CREATE TABLE certificate(fingerprint TEXT NOT NULL PRIMARY KEY,"
    "  user TEXT NOT NULL REFERENCES user(name) ON DELETE CASCADE, created_s INTEGER NOT NULL)"
    "  STRICT, WITHOUT ROWID;"
    "CREATE INDEX certificate_user ON certificate(user);",
    INDEX_SCHEMA_GC, INDEX_SCHEMA_WAITING, INDEX_SCHEMA_USAGE, INDEX_SCHEMA_MIRROR,
    INDEX_SCHEMA_PLACE};

struct cached {
    const char *sql;
    struct db_stmt *stmt;
};

struct index_tx {
    struct db *db;
    struct cached statements[MAX_STATEMENTS];
    size_t n_statements;
    struct index_tx *next; /* in the pool */
};

struct job {
    int (*work)(struct index_tx *tx, void *arg, struct error *err);
    void *arg;
    int rc;
    struct error err;
    bool done;
    struct job *next;
};

struct index {
    char *path;
    pthread_mutex_t lock;
    pthread_cond_t work_to_do, work_done;
    struct job *first, *last;
    struct index_tx *writer;
    pthread_t thread;
    bool running, stop;
    bool rehearsal; /* every piece of work is undone and repeated */
    struct index_tx *idle_readers;
    size_t n_idle;
};

/* --- connections and statements --- */

static void tx_free(struct index_tx *tx)
{
    if (!tx)
        return;
    for (size_t i = 0; i < tx->n_statements; i++)
        db_stmt_free(tx->statements[i].stmt);
    db_close(tx->db);
    free(tx);
}

static int tx_new(const char *path, unsigned flags, struct index_tx **out, struct error *err)
{
    struct index_tx *tx = calloc(1, sizeof *tx);
    if (!tx)
        return fail_nomem(err);
    int rc = db_open(path, flags, &tx->db, err);
    if (rc != 0)
        free(tx);
    else
        *out = tx;
    return rc;
}

static int cached_statement(struct index_tx *tx, const char *sql, struct db_stmt **out,
                            struct error *err)
{
    for (size_t i = 0; i < tx->n_statements; i++)
        if (tx->statements[i].sql == sql) {
            *out = tx->statements[i].stmt;
            return 0;
        }
    if (tx->n_statements == MAX_STATEMENTS)
        return fail(err, E_INTERNAL, "more than %u statements in the index", MAX_STATEMENTS);
    struct cached *slot = &tx->statements[tx->n_statements];
    int rc = db_prepare(tx->db, sql, &slot->stmt, err);
    if (rc != 0)
        return rc;
    slot->sql = sql;
    tx->n_statements++;
    *out = slot->stmt;
    return 0;
}

static int bind_one(struct db_stmt *stmt, int index, char type, va_list *args, struct error *err)
{
    if (type == 'i')
        return db_bind_int(stmt, index, va_arg(*args, int64_t), err);
    if (type == 't')
        return db_bind_text(stmt, index, va_arg(*args, const char *), err);
    if (type == 'd') {
        char text[DIGEST_TEXT_MAX];
        return db_bind_text(stmt, index, digest_format(va_arg(*args, const struct digest *), text),
                            err);
    }
    const struct bytes *blob = va_arg(*args, const struct bytes *);
    return db_bind_blob(stmt, index, blob->data, blob->len, err);
}

static int query(struct index_tx *tx, const char *sql, const char *types, va_list *args,
                 struct db_stmt **out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = cached_statement(tx, sql, &stmt, err);
    for (int i = 0; rc == 0 && types[i]; i++)
        rc = bind_one(stmt, i + 1, types[i], args, err);
    if (rc != 0) {
        if (stmt)
            db_reset(stmt);
        return rc;
    }
    *out = stmt;
    return 0;
}

int index_query(struct index_tx *tx, const char *sql, struct db_stmt **out, struct error *err,
                const char *types, ...)
{
    va_list args;
    va_start(args, types);
    int rc = query(tx, sql, types, &args, out, err);
    va_end(args);
    return rc;
}

int index_change(struct index_tx *tx, const char *sql, int64_t *n_changed, struct error *err,
                 const char *types, ...)
{
    struct db_stmt *stmt = NULL;
    va_list args;
    va_start(args, types);
    int rc = query(tx, sql, types, &args, &stmt, err);
    va_end(args);
    if (rc == 0)
        rc = db_run(stmt, err);
    if (rc == 0 && n_changed)
        *n_changed = db_changes(tx->db);
    return rc;
}

int index_column_digest(struct db_stmt *stmt, int column, struct digest *out, struct error *err)
{
    const char *text = db_column_text(stmt, column);
    if (!text || digest_parse_text(text, out, NULL) != 0)
        return fail(err, E_TAMPERED, "the index holds a digest that is none");
    return 0;
}

int index_plans_each(struct index_tx *tx,
                     int (*visit)(void *context, const char *sql, const char *step,
                                  struct error *err),
                     void *context, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < tx->n_statements; i++) {
        const char *sql = tx->statements[i].sql;
        CLEANUP(cleanup_free) char *explain = text_format("EXPLAIN QUERY PLAN %s", sql);
        CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
        rc = explain ? db_prepare(tx->db, explain, &stmt, err) : fail_nomem(err);
        for (bool row = true; rc == 0;) {
            rc = db_step(stmt, &row, err);
            if (rc != 0 || !row)
                break;
            rc = visit(context, sql, db_column_text(stmt, 3), err);
        }
    }
    return rc;
}

/* --- the writer --- */

/* One request inside the group's transaction; its failure undoes only its own changes. */
static int run_once(struct index_tx *tx, struct job *job, bool keep)
{
    struct error *err = &job->err;
    int rc = index_change(tx, "SAVEPOINT one", NULL, err, "");
    if (rc != 0)
        return rc;
    rc = job->work(tx, job->arg, err);
    if (rc == 0 && keep)
        return index_change(tx, "RELEASE one", NULL, err, "");
    struct error undo = ERROR_INIT;
    if (db_in_transaction(tx->db) && (index_change(tx, "ROLLBACK TO one", NULL, &undo, "") != 0 ||
                                      index_change(tx, "RELEASE one", NULL, &undo, "") != 0)) {
        log_error("index: %s", undo.message);
        db_rollback(tx->db); /* what cannot be undone alone must not stay with what others did */
    }
    return rc;
}

static int run_job(struct index *ix, struct job *job)
{
    struct index_tx *tx = ix->writer;
    if (!ix->rehearsal)
        return run_once(tx, job, true);
    int first = run_once(tx, job, false);
    if (!db_in_transaction(tx->db))
        return first != 0 ? first : fail(&job->err, E_INTERNAL, "the index lost a transaction");
    struct error said = job->err;
    job->err = (struct error)ERROR_INIT;
    int rc = run_once(tx, job, true);
    if (rc == first)
        return rc;
    return fail(&job->err, E_INTERNAL, "work on the index ended with %s, then with %s (%s)",
                error_name(first), error_name(rc), said.message);
}

/* Jobs from `first` up to, not with, `end`. */
static void fail_all(struct job *first, const struct job *end, const struct error *err)
{
    for (struct job *job = first; job != end; job = job->next)
        if (job->rc == 0) {
            job->rc = err->code;
            job->err = *err;
        }
}

/* In one transaction. False: it was lost with everything in it, by a job that found the disk full
 * or the file damaged, or at its end. */
static bool run_jobs(struct index *ix, struct job *first, const struct job *end)
{
    struct db *db = ix->writer->db;
    struct error err = ERROR_INIT;
    for (struct job *job = first; job != end; job = job->next) {
        job->rc = 0;
        job->err = (struct error)ERROR_INIT;
    }
    int rc = db_begin(db, &err);
    for (struct job *job = first; rc == 0 && job != end; job = job->next) {
        job->rc = run_job(ix, job);
        if (!db_in_transaction(db)) {
            err = job->err;
            rc = job->rc;
        }
    }
    if (rc == 0)
        rc = db_commit(db, &err);
    if (rc != 0)
        fail_all(first, end, &err);
    return rc == 0;
}

/* What one job could not do is no reason for the others to fail: alone each has its own end. */
static void run_group(struct index *ix, struct job *group)
{
    if (run_jobs(ix, group, NULL) || !group->next)
        return;
    for (struct job *job = group; job; job = job->next)
        (void)run_jobs(ix, job, job->next);
}

/* Under the lock: cuts at most MAX_GROUP jobs off the queue. */
static struct job *take_group(struct index *ix)
{
    struct job *group = ix->first, *last = group;
    for (size_t n = 1; last && last->next && n < MAX_GROUP; n++)
        last = last->next;
    if (last) {
        ix->first = last->next;
        last->next = NULL;
        if (!ix->first)
            ix->last = NULL;
    }
    return group;
}

static void *writer_main(void *context)
{
    struct index *ix = context;
    pthread_mutex_lock(&ix->lock);
    for (;;) {
        while (!ix->first && !ix->stop)
            pthread_cond_wait(&ix->work_to_do, &ix->lock);
        struct job *group = take_group(ix);
        if (!group)
            break;
        pthread_mutex_unlock(&ix->lock);
        run_group(ix, group);
        pthread_mutex_lock(&ix->lock);
        while (group) {
            struct job *next = group->next; /* the job's memory ends once it is done */
            group->done = true;
            group = next;
        }
        pthread_cond_broadcast(&ix->work_done);
    }
    pthread_mutex_unlock(&ix->lock);
    return NULL;
}

int index_write(struct index *ix, int (*work)(struct index_tx *tx, void *arg, struct error *err),
                void *arg, struct error *err)
{
    struct job job = {.work = work, .arg = arg, .rc = 0, .err = ERROR_INIT};
    pthread_mutex_lock(&ix->lock);
    if (!ix->running || ix->stop) {
        pthread_mutex_unlock(&ix->lock);
        return fail(err, E_INTERRUPTED, "the index is closed for writing");
    }
    if (ix->last)
        ix->last->next = &job;
    else
        ix->first = &job;
    ix->last = &job;
    pthread_cond_signal(&ix->work_to_do);
    while (!job.done)
        pthread_cond_wait(&ix->work_done, &ix->lock);
    pthread_mutex_unlock(&ix->lock);
    if (job.rc != 0 && err)
        *err = job.err;
    return job.rc;
}

/* --- readers --- */

int index_read_begin(struct index *ix, struct index_tx **out, struct error *err)
{
    pthread_mutex_lock(&ix->lock);
    struct index_tx *tx = ix->idle_readers;
    if (tx) {
        ix->idle_readers = tx->next;
        ix->n_idle--;
    }
    pthread_mutex_unlock(&ix->lock);
    int rc = tx ? 0 : tx_new(ix->path, DB_READ_ONLY, &tx, err);
    if (rc == 0)
        rc = db_begin_read(tx->db, err);
    if (rc != 0) {
        tx_free(tx);
        return wrap(err, rc, "index");
    }
    *out = tx;
    return 0;
}

void index_read_end(struct index *ix, struct index_tx *tx)
{
    if (!tx)
        return;
    db_rollback(tx->db);
    pthread_mutex_lock(&ix->lock);
    bool keep = ix->n_idle < MAX_IDLE_READERS;
    if (keep) {
        tx->next = ix->idle_readers;
        ix->idle_readers = tx;
        ix->n_idle++;
    }
    pthread_mutex_unlock(&ix->lock);
    if (!keep)
        tx_free(tx);
}

/* --- life --- */

int index_open(const char *data_dir, struct index **out, struct error *err)
{
    struct index *ix = calloc(1, sizeof *ix);
    if (!ix)
        return fail_nomem(err);
#ifdef BULLA_REHEARSE
    ix->rehearsal = true;
#endif
    pthread_mutex_init(&ix->lock, NULL);
    pthread_cond_init(&ix->work_to_do, NULL);
    pthread_cond_init(&ix->work_done, NULL);
    ix->path = text_format("%s/%s", data_dir, INDEX_FILE_NAME);
    int rc = ix->path ? 0 : fail_nomem(err);
    if (rc == 0)
        rc = tx_new(ix->path, DB_CREATE, &ix->writer, err);
    if (rc == 0)
        rc =
            db_migrate(ix->writer->db, APPLICATION_ID, schema, sizeof schema / sizeof *schema, err);
    if (rc != 0) {
        index_close(ix);
        return wrap(err, rc, "index");
    }
    *out = ix;
    return 0;
}

int index_copy_to(struct index *ix, const char *path, struct error *err)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    int rc = db_open(ix->path, 0, &db, err);
    return rc == 0 ? db_backup_to(db, path, err) : rc;
}

int index_identity(struct index_tx *tx, char out[33], struct error *err)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = index_query(tx, "SELECT id FROM identity", &stmt, err, "");
    if (rc == 0)
        rc = db_step(stmt, &row, err);
    const char *id = rc == 0 && row ? db_column_text(stmt, 0) : NULL;
    if (rc == 0 && (!id || strlen(id) != 32))
        rc = fail(err, E_TAMPERED, "the index does not say which registry it is of");
    if (rc == 0)
        memcpy(out, id, 33);
    if (stmt)
        db_reset(stmt);
    return rc;
}

void index_set_rehearsal(struct index *ix, bool on)
{
    ix->rehearsal = on;
}

int index_start(struct index *ix, struct error *err)
{
    int rc = pthread_create(&ix->thread, NULL, writer_main, ix);
    if (rc != 0)
        return fail_sys(err, rc, "start the index writer");
    ix->running = true;
    return 0;
}

void index_close(struct index *ix)
{
    if (!ix)
        return;
    pthread_mutex_lock(&ix->lock);
    ix->stop = true;
    pthread_cond_signal(&ix->work_to_do);
    pthread_mutex_unlock(&ix->lock);
    if (ix->running)
        pthread_join(ix->thread, NULL);
    while (ix->idle_readers) {
        struct index_tx *tx = ix->idle_readers;
        ix->idle_readers = tx->next;
        tx_free(tx);
    }
    tx_free(ix->writer);
    pthread_cond_destroy(&ix->work_to_do);
    pthread_cond_destroy(&ix->work_done);
    pthread_mutex_destroy(&ix->lock);
    free(ix->path);
    free(ix);
}

void index_cleanup(struct index **ix)
{
    index_close(*ix);
    *ix = NULL;
}

#include "base/db.h"

#include "base/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

struct db {
    sqlite3 *handle;
    bool read_only;
};

struct db_stmt {
    sqlite3_stmt *handle; /* knows its connection: sqlite3_db_handle */
};

/* --- errors --- */

static int fail_constraint(sqlite3 *handle, int extended, struct error *err)
{
    switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        return fail(err, E_EXISTS, "database: %s", sqlite3_errmsg(handle));
    case SQLITE_CONSTRAINT_FOREIGNKEY:
        return fail(err, E_CONFLICT, "database: %s", sqlite3_errmsg(handle));
    default:
        return fail(err, E_INTERNAL, "database: %s", sqlite3_errmsg(handle));
    }
}

/* Only for failures of input and output; the rest says it better in SQLite's words. */
static int fail_io(sqlite3 *handle, const char *what, struct error *err)
{
    int errnum = sqlite3_system_errno(handle);
    return fail_sys(err, errnum ? errnum : EIO, "database: %s", what);
}

/* code: what a sqlite3 call returned. SQLite's conventions end here. */
static int fail_db(sqlite3 *handle, int code, struct error *err)
{
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return fail_nomem(err);
    case SQLITE_FULL:
        return fail_sys(err, ENOSPC, "database: write");
    case SQLITE_READONLY:
        return fail_sys(err, EROFS, "database: write");
    case SQLITE_IOERR:
        return fail_io(handle, "read or write", err);
    case SQLITE_CANTOPEN:
        return fail_io(handle, "open", err);
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return fail_sys(err, EACCES, "database: open");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail(err, E_BUSY, "database is locked by another process; try again later");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return fail(err, E_TAMPERED, "database: %s: it is damaged, restore it from a backup",
                    sqlite3_errmsg(handle));
    case SQLITE_CONSTRAINT:
        return fail_constraint(handle, code, err);
    case SQLITE_TOOBIG:
        return fail(err, E_LIMIT, "database: value is larger than %u bytes", DB_MAX_VALUE);
    case SQLITE_INTERRUPT:
        return fail(err, E_INTERRUPTED, "database: interrupted");
    default:
        return fail(err, E_INTERNAL, "database: %s", sqlite3_errmsg(handle));
    }
}

/* --- connections --- */

/* SQLite's memory statistics take one process-wide lock per allocation; nothing here reads them. */
static void configure_library(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

/*
 * SQLite would make the file 0644. Only ever with O_EXCL: closing a second descriptor of a database
 * that is open in this process would drop its POSIX locks.
 */
static int make_private_file(const char *path, struct error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_sys(err, errno, "make '%s'", path);
    cleanup_fd(&fd);
    return OK;
}

static void harden(sqlite3 *handle)
{
    static const struct {
        int option, value;
    } switches[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},   {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},     {SQLITE_DBCONFIG_DQS_DML, 0},
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
    };
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        (void)sqlite3_db_config(handle, switches[i].option, switches[i].value, NULL);
    /* 32 KiB of small slots instead of 120: there is one connection per thread. */
    (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_LOOKASIDE, NULL, 512, 64);
    (void)sqlite3_extended_result_codes(handle, 1);
    (void)sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, (int)DB_MAX_VALUE);
    (void)sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 1); /* VACUUM INTO attaches its target */
}

/* First integer or text of the first row; the text goes to `text` where that is not NULL. */
static int query_one(sqlite3 *handle, const char *sql, int64_t *number, struct bytes *text,
                     struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(stmt);
    int rc = OK;
    if (code != SQLITE_ROW) {
        rc = code == SQLITE_DONE ? fail(err, E_INTERNAL, "database: no answer to '%s'", sql)
                                 : fail_db(handle, code, err);
    } else if (text) {
        const char *got = (const char *)sqlite3_column_text(stmt, 0);
        rc = got ? bytes_append_text(text, got, err) : fail_nomem(err);
    } else {
        *number = sqlite3_column_int64(stmt, 0);
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* The answer says which mode holds now: file systems without shared memory keep another one. */
static int enter_wal(sqlite3 *handle, struct error *err)
{
    CLEANUP(bytes_done) struct bytes mode = BYTES_INIT;
    int rc = query_one(handle, "PRAGMA journal_mode = WAL", NULL, &mode, err);
    if (!rc && strcmp(bytes_text(&mode), "wal") != 0)
        rc = fail(err, E_UNSUPPORTED, "this file system cannot carry a write-ahead log");
    return rc;
}

static int set_up(struct db *db, struct error *err)
{
    static const char pragmas[] = "PRAGMA cell_size_check = ON;"
                                  "PRAGMA synchronous = FULL;"
                                  "PRAGMA cache_size = -512;"
                                  "PRAGMA mmap_size = 0;"
                                  "PRAGMA temp_store = MEMORY;"
                                  "PRAGMA journal_size_limit = 16777216;";
    harden(db->handle);
    int code = sqlite3_busy_timeout(db->handle, DB_BUSY_MS);
    if (code != SQLITE_OK)
        return fail_db(db->handle, code, err);
    int rc = db_exec(db, pragmas, err);
    int64_t ignored;
    /* Opening reads nothing; a file that is no database is to be found now, not later. */
    if (!rc)
        rc = query_one(db->handle, "SELECT count(*) FROM sqlite_schema", &ignored, NULL, err);
    /* SQLite falls back to reading where it may not write. */
    if (!rc && !db->read_only && sqlite3_db_readonly(db->handle, "main") == 1)
        rc = fail_sys(err, EROFS, "database: open for writing");
    return rc || db->read_only ? rc : enter_wal(db->handle, err);
}

/* Where a folder belongs to another account, that account chooses what lies in it: a link in the
 * database's place would have root write into whatever it names. Links above it are the
 * administrator's, and SQLite can only refuse all of them or none: they are resolved here. */
static int real_place(const char *path, char **out, struct error *err)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(cleanup_free)
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    CLEANUP(cleanup_free) char *real = folder ? realpath(folder, NULL) : NULL;
    if (!folder)
        return fail_nomem(err);
    if (!real)
        return fail_sys(err, errno, "open folder '%s'", folder);
    *out = text_format("%s/%s", strcmp(real, "/") == 0 ? "" : real, slash ? slash + 1 : path);
    return *out ? OK : fail_nomem(err);
}

static int open_handle(const char *path, unsigned flags, struct db *db, struct error *err)
{
    int mode = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    CLEANUP(cleanup_free) char *real = NULL;
    mode |= flags & DB_READ_ONLY ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    db->read_only = (flags & DB_READ_ONLY) != 0;
    int rc = real_place(path, &real, err);
    if (rc)
        return rc;
    int code = sqlite3_open_v2(real, &db->handle, mode, NULL);
    if (code == SQLITE_OK || sqlite3_extended_errcode(db->handle) != SQLITE_CANTOPEN_SYMLINK)
        return code == SQLITE_OK ? OK : fail_db(db->handle, code, err);
    return fail(err, E_INVALID, "database: a symbolic link lies in its place");
}

int db_open(const char *path, unsigned flags, struct db **out, struct error *err)
{
    static pthread_once_t configured = PTHREAD_ONCE_INIT;
    (void)pthread_once(&configured, configure_library);
    if (!*path || *path == ':' || ((flags & DB_READ_ONLY) && (flags & DB_CREATE)))
        return fail(err, E_USAGE, "'%s' cannot be opened as a database this way", path);
    if (flags & DB_CREATE) {
        int made = make_private_file(path, err);
        if (made && made != E_EXISTS)
            return made;
    }
    CLEANUP(db_cleanup) struct db *db = calloc(1, sizeof *db);
    if (!db)
        return fail_nomem(err);
    int rc = open_handle(path, flags, db, err);
    if (!rc)
        rc = set_up(db, err);
    if (rc)
        return wrap(err, rc, "'%s'", path);
    *out = TAKE_PTR(db);
    return OK;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    int saved = errno;
    /* v2: a statement freed after its database is still freed properly. */
    (void)sqlite3_close_v2(db->handle);
    free(db);
    errno = saved;
}

void db_cleanup(struct db **db)
{
    db_close(*db);
    *db = NULL;
}

int db_exec(struct db *db, const char *sql, struct error *err)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? OK : fail_db(db->handle, code, err);
}

int64_t db_changes(struct db *db)
{
    return sqlite3_changes64(db->handle);
}

int64_t db_last_rowid(struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

/* --- transactions --- */

int db_begin(struct db *db, struct error *err)
{
    return db_exec(db, "BEGIN IMMEDIATE", err);
}

int db_begin_read(struct db *db, struct error *err)
{
    int rc = db_exec(db, "BEGIN DEFERRED", err);
    if (rc)
        return rc;
    /* BEGIN alone takes no snapshot; the first read does. */
    int64_t ignored;
    rc = query_one(db->handle, "SELECT count(*) FROM sqlite_schema", &ignored, NULL, err);
    if (rc)
        db_rollback(db);
    return rc;
}

int db_commit(struct db *db, struct error *err)
{
    int rc = db_exec(db, "COMMIT", err);
    if (rc)
        db_rollback(db);
    return rc;
}

void db_rollback(struct db *db)
{
    int saved = errno;
    /* SQLite has rolled back by itself after a full disk or a failed write. */
    if (!sqlite3_get_autocommit(db->handle))
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    errno = saved;
}

bool db_in_transaction(struct db *db)
{
    return !sqlite3_get_autocommit(db->handle);
}

/* --- migrations --- */

static int set_header(struct db *db, const char *field, int64_t value, struct error *err)
{
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA %s = %" PRId64, field, value);
    return db_exec(db, sql, err);
}

/* *version: where the schema stands. An empty file belongs to nobody yet. */
static int check_owner(struct db *db, int32_t application_id, int64_t *version, struct error *err)
{
    int64_t owner, tables;
    int rc = query_one(db->handle, "PRAGMA application_id", &owner, NULL, err);
    if (!rc)
        rc = query_one(db->handle, "PRAGMA user_version", version, NULL, err);
    if (!rc)
        rc = query_one(db->handle, "SELECT count(*) FROM sqlite_schema", &tables, NULL, err);
    if (rc)
        return rc;
    bool empty = owner == 0 && *version == 0 && tables == 0;
    if (owner != application_id && !empty)
        return fail(err, E_INVALID, "database belongs to another application");
    return *version < 0 ? fail(err, E_TAMPERED, "database has no valid version") : OK;
}

static int run_steps(struct db *db, int32_t application_id, const char *const *steps, size_t n,
                     struct error *err)
{
    int64_t version;
    /* Asked again under the write lock: another process may have been quicker. */
    int rc = check_owner(db, application_id, &version, err);
    for (size_t i = rc ? n : (size_t)version; !rc && i < n; i++)
        rc = wrap(err, db_exec(db, steps[i], err), "migrate to version %zu", i + 1);
    if (!rc && version < (int64_t)n)
        rc = set_header(db, "user_version", (int64_t)n, err);
    if (!rc)
        rc = set_header(db, "application_id", application_id, err);
    return rc;
}

int db_migrate(struct db *db, int32_t application_id, const char *const *steps, size_t n,
               struct error *err)
{
    int64_t version;
    int rc = check_owner(db, application_id, &version, err);
    if (rc)
        return rc;
    if (version > (int64_t)n)
        return fail(err, E_UNSUPPORTED,
                    "database has version %" PRId64
                    ", this program knows versions up to %zu: use a newer program",
                    version, n);
    if (version == (int64_t)n && n > 0)
        return OK;
    if (db->read_only)
        return fail(err, E_UNSUPPORTED, "database has version %" PRId64 " and needs %zu", version,
                    n);
    rc = db_begin(db, err);
    if (!rc)
        rc = run_steps(db, application_id, steps, n, err);
    if (!rc)
        return db_commit(db, err);
    db_rollback(db);
    return rc;
}

/* --- statements --- */

int db_prepare(struct db *db, const char *sql, struct db_stmt **out, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = calloc(1, sizeof *stmt);
    if (!stmt)
        return fail_nomem(err);
    const char *rest = NULL;
    int code =
        sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt->handle, &rest);
    if (code != SQLITE_OK)
        return fail_db(db->handle, code, err);
    if (!stmt->handle || rest[strspn(rest, "; \t\n")])
        return fail(err, E_INTERNAL, "database: '%s' is not one statement", sql);
    *out = TAKE_PTR(stmt);
    return OK;
}

void db_stmt_free(struct db_stmt *stmt)
{
    if (!stmt)
        return;
    int saved = errno;
    (void)sqlite3_finalize(stmt->handle);
    free(stmt);
    errno = saved;
}

void db_stmt_cleanup(struct db_stmt **stmt)
{
    db_stmt_free(*stmt);
    *stmt = NULL;
}

static int checked(struct db_stmt *stmt, int code, struct error *err)
{
    return code == SQLITE_OK ? OK : fail_db(sqlite3_db_handle(stmt->handle), code, err);
}

int db_bind_int(struct db_stmt *stmt, int index, int64_t value, struct error *err)
{
    return checked(stmt, sqlite3_bind_int64(stmt->handle, index, value), err);
}

int db_bind_text(struct db_stmt *stmt, int index, const char *text, struct error *err)
{
    if (!text)
        return db_bind_null(stmt, index, err);
    int code =
        sqlite3_bind_text64(stmt->handle, index, text, strlen(text), SQLITE_TRANSIENT, SQLITE_UTF8);
    return checked(stmt, code, err);
}

int db_bind_blob(struct db_stmt *stmt, int index, const void *data, size_t len, struct error *err)
{
    /* A NULL pointer would bind NULL, which an empty blob is not. */
    int code = sqlite3_bind_blob64(stmt->handle, index, len ? data : "", len, SQLITE_TRANSIENT);
    return checked(stmt, code, err);
}

int db_bind_null(struct db_stmt *stmt, int index, struct error *err)
{
    return checked(stmt, sqlite3_bind_null(stmt->handle, index), err);
}

int db_step(struct db_stmt *stmt, bool *row, struct error *err)
{
    int code = sqlite3_step(stmt->handle);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return fail_db(sqlite3_db_handle(stmt->handle), code, err);
    *row = code == SQLITE_ROW;
    return OK;
}

int db_run(struct db_stmt *stmt, struct error *err)
{
    bool row = true;
    int rc = OK;
    while (!rc && row)
        rc = db_step(stmt, &row, err);
    db_reset(stmt);
    return rc;
}

void db_reset(struct db_stmt *stmt)
{
    /* Both report the failure of the last step once more, which db_step has told already. */
    (void)sqlite3_reset(stmt->handle);
    (void)sqlite3_clear_bindings(stmt->handle);
}

int64_t db_column_int(struct db_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt->handle, column);
}

const char *db_column_text(struct db_stmt *stmt, int column)
{
    return (const char *)sqlite3_column_text(stmt->handle, column);
}

const void *db_column_blob(struct db_stmt *stmt, int column, size_t *len)
{
    /* In this order: asking for the value may convert it and so change its length. */
    const void *data = sqlite3_column_blob(stmt->handle, column);
    *len = data ? (size_t)sqlite3_column_bytes(stmt->handle, column) : 0;
    return data;
}

bool db_column_is_null(struct db_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt->handle, column) == SQLITE_NULL;
}

/* --- whole databases --- */

int db_check(struct db *db, struct error *err)
{
    CLEANUP(bytes_done) struct bytes verdict = BYTES_INIT;
    int rc = query_one(db->handle, "PRAGMA integrity_check(1)", NULL, &verdict, err);
    if (!rc && strcmp(bytes_text(&verdict), "ok") != 0)
        rc = fail(err, E_TAMPERED, "database: %s", bytes_text(&verdict));
    return rc;
}

static int copy_into(struct db *db, const char *path, struct error *err)
{
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    int rc = db_prepare(db, "VACUUM INTO ?1", &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, path, err);
    return rc ? rc : db_run(stmt, err);
}

/* VACUUM INTO does not sync what it writes. */
static int sync_file(const char *path, struct error *err)
{
    CLEANUP(cleanup_free) char *folder = strdup(path);
    CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    CLEANUP(cleanup_fd) int folder_fd = -1;
    if (!folder)
        return fail_nomem(err);
    if (fd < 0 || fsync(fd))
        return fail_sys(err, errno, "sync '%s'", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[1] = '\0';
    int rc = file_open_dir(slash ? folder : ".", false, &folder_fd, err);
    return rc ? rc : file_sync_dir(folder_fd, err);
}

int db_backup_to(struct db *db, const char *path, struct error *err)
{
    if (!*path || *path == ':')
        return fail(err, E_USAGE, "'%s' cannot be a backup's name", path);
    int rc = make_private_file(path, err);
    if (rc)
        return rc;
    rc = copy_into(db, path, err);
    if (!rc)
        rc = sync_file(path, err);
    if (rc)
        (void)unlink(path);
    return wrap(err, rc, "back up to '%s'", path);
}

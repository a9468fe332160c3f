/*
 * Databases in one file: the adapter over SQLite; no sqlite3 type leaves db.c.
 *
 * Every connection: write-ahead log, synchronous=FULL (what db_commit acknowledged survives power
 * loss), foreign keys on, a busy time-out of DB_BUSY_MS, untrusted schema, a cache of 512 KiB, no
 * memory mapping, temporary tables in memory (so a confined process needs no /tmp).
 *
 * Threads: a struct db and its statements belong to one thread at a time (SQLITE_OPEN_NOMUTEX).
 * Several threads or processes each open their own connection to the same file: readers never wait
 * for the writer, writers wait for each other up to DB_BUSY_MS.
 *
 * Codes of every function that asks the database: E_SYS with `sys` ENOSPC (disk full), EROFS
 * (read-only) or the errno of a failed read or write; E_BUSY (locked for longer than DB_BUSY_MS);
 * E_TAMPERED (file corrupted, or no database at all); E_EXISTS (a UNIQUE or PRIMARY KEY rule);
 * E_CONFLICT (a FOREIGN KEY rule); E_LIMIT (value over DB_MAX_VALUE); E_NOMEM; E_INTERNAL (our SQL
 * is wrong).
 */
#ifndef BULLA_BASE_DB_H
#define BULLA_BASE_DB_H

#include "base/bytes.h"

#define DB_BUSY_MS   5000
#define DB_MAX_VALUE (32u << 20) /* the largest metadata file is 5 MB; one value, in bytes */

struct db;
struct db_stmt;

enum db_flags {
    DB_READ_ONLY = 1, /* the file must exist; every change fails with EROFS */
    DB_CREATE = 2,    /* make the file (0600) where it is missing */
};

/* Opens the database file `path` (relative to the working folder; not a URI, not ":memory:").
 * *out is owned: db_close. E_NOTFOUND where the file is missing and DB_CREATE is not given;
 * E_UNSUPPORTED where the file system cannot carry a write-ahead log. */
int db_open(const char *path, unsigned flags, struct db **out, struct error *err) MUST_CHECK;
/* Statements must have been freed. A transaction still open is rolled back. NULL is fine. */
void db_close(struct db *db);
void db_cleanup(struct db **db);

/*
 * Brings the schema to version n: steps[i] (one or more statements) leads from version i to i + 1.
 * All missing steps happen in one transaction or not at all; of two processes that migrate at once
 * the second finds the work done. application_id (not 0) marks whose database it is. E_UNSUPPORTED:
 * the database is newer than n, or older and this connection is read-only; E_INVALID: it belongs to
 * another application.
 */
int db_migrate(struct db *db, int32_t application_id, const char *const *steps, size_t n,
               struct error *err) MUST_CHECK;

/* Runs statements without parameters or results. Never built from outside text. */
int db_exec(struct db *db, const char *sql, struct error *err) MUST_CHECK;

/* Write transaction (BEGIN IMMEDIATE: a writer waits here, not in the middle). Not nested. */
int db_begin(struct db *db, struct error *err) MUST_CHECK;
/* Read transaction: everything read until db_commit or db_rollback is of one moment. */
int db_begin_read(struct db *db, struct error *err) MUST_CHECK;
/* Durable when it returns 0; on failure the transaction has been rolled back. */
int db_commit(struct db *db, struct error *err) MUST_CHECK;
/* Does nothing where no transaction is open, so it fits every error path. */
void db_rollback(struct db *db);
/* False, too, after a failure that undid the whole transaction: a full disk, a damaged file. */
bool db_in_transaction(struct db *db);

/* Compiles one statement; anything behind it is E_INTERNAL. *out is owned: db_stmt_free, before
 * its db is closed. Keep statements that run often. */
int db_prepare(struct db *db, const char *sql, struct db_stmt **out, struct error *err) MUST_CHECK;
void db_stmt_free(struct db_stmt *stmt);
void db_stmt_cleanup(struct db_stmt **stmt);

/* Parameters count from 1 (?1, ?2, …). Values are copied. NULL text binds NULL. */
int db_bind_int(struct db_stmt *stmt, int index, int64_t value, struct error *err) MUST_CHECK;
int db_bind_text(struct db_stmt *stmt, int index, const char *text, struct error *err) MUST_CHECK;
int db_bind_blob(struct db_stmt *stmt, int index, const void *data, size_t len,
                 struct error *err) MUST_CHECK;
int db_bind_null(struct db_stmt *stmt, int index, struct error *err) MUST_CHECK;

/* *row: true where a row is there to be read, false at the end. After a failure only db_reset or
 * db_stmt_free may follow. */
int db_step(struct db_stmt *stmt, bool *row, struct error *err) MUST_CHECK;
/* For statements without results: steps to the end, then resets; bindings are cleared. */
int db_run(struct db_stmt *stmt, struct error *err) MUST_CHECK;
/* Ready for another round: ends the reading (and with it the read lock), clears all bindings. */
void db_reset(struct db_stmt *stmt);

/* Columns of the current row count from 0. Borrowed results live until the next db_step, db_run,
 * db_reset or db_stmt_free of this statement. NULL reads as 0, NULL text, NULL blob of length 0. */
int64_t db_column_int(struct db_stmt *stmt, int column);
/* NULL where memory is out, too: check db_column_is_null first where the difference matters. */
const char *db_column_text(struct db_stmt *stmt, int column);
const void *db_column_blob(struct db_stmt *stmt, int column, size_t *len);
bool db_column_is_null(struct db_stmt *stmt, int column);

/* Rows changed by the last INSERT, UPDATE or DELETE on this connection. */
int64_t db_changes(struct db *db);
int64_t db_last_rowid(struct db *db);

/* Structural check of the whole file; E_TAMPERED names the first fault. Reads everything. */
int db_check(struct db *db, struct error *err) MUST_CHECK;
/* A consistent copy of the running database as a new file `path` (0600); E_EXISTS where it exists.
 * A failure leaves no file. */
int db_backup_to(struct db *db, const char *path, struct error *err) MUST_CHECK;

#endif

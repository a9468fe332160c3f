#include "base/db.h"
#include "base/file.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { APPLICATION = 0x62756c6c };

static const char *const steps[] = {
    "CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER NOT NULL CHECK (size >= 0)) STRICT",
    ("CREATE TABLE part (item TEXT NOT NULL REFERENCES item (name), data BLOB) STRICT;"
     "CREATE INDEX part_item ON part (item)"),
    "ALTER TABLE item ADD COLUMN note TEXT",
};

static struct db *opened(const struct scratch *s, unsigned flags)
{
    struct error err = ERROR_INIT;
    struct db *db = NULL;
    if (db_open(scratch_name(s, "x.db"), flags, &db, &err))
        fail_msg("%s", err.message);
    return db;
}

static struct db *migrated(const struct scratch *s)
{
    struct error err = ERROR_INIT;
    struct db *db = opened(s, DB_CREATE);
    if (db_migrate(db, APPLICATION, steps, 3, &err))
        fail_msg("%s", err.message);
    return db;
}

static int64_t number(struct db *db, const char *sql)
{
    struct error err = ERROR_INIT;
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    if (db_prepare(db, sql, &stmt, &err) || db_step(stmt, &row, &err))
        fail_msg("%s: %s", sql, err.message);
    assert_true(row);
    return db_column_int(stmt, 0);
}

static void a_new_database_is_private_and_durable(void **state)
{
    const struct scratch *s = *state;
    mode_t before = umask(0);
    CLEANUP(db_cleanup) struct db *db = migrated(s);
    (void)umask(before);
    static const char *const files[] = {"x.db", "x.db-wal", "x.db-shm"};
    for (size_t i = 0; i < 3; i++) {
        struct stat st;
        assert_int_equal(fstatat(s->fd, files[i], &st, 0), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(number(db, "PRAGMA synchronous"), 2);
    assert_int_equal(number(db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(number(db, "PRAGMA trusted_schema"), 0);
    assert_int_equal(number(db, "PRAGMA cell_size_check"), 1);
    assert_int_equal(number(db, "PRAGMA cache_size"), -512);
    assert_int_equal(number(db, "PRAGMA mmap_size"), 0);
    assert_int_equal(number(db, "PRAGMA temp_store"), 2);
    assert_int_equal(number(db, "PRAGMA busy_timeout"), DB_BUSY_MS);
    assert_int_equal(number(db, "PRAGMA user_version"), 3);
    assert_int_equal(number(db, "PRAGMA application_id"), APPLICATION);
    assert_int_equal(number(db, "SELECT (SELECT journal_mode FROM pragma_journal_mode) = 'wal'"),
                     1);
}

static void opening_is_exact(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    struct db *db = NULL;
    assert_int_equal(db_open(scratch_name(s, "x.db"), 0, &db, &err), E_NOTFOUND);
    assert_int_equal(db_open(scratch_name(s, "x.db"), DB_READ_ONLY, &db, &err), E_NOTFOUND);
    assert_int_equal(db_open(scratch_name(s, "none/x.db"), DB_CREATE, &db, &err), E_NOTFOUND);
    assert_int_equal(db_open("", DB_CREATE, &db, &err), E_USAGE);
    assert_int_equal(db_open(":memory:", DB_CREATE, &db, &err), E_USAGE);
    assert_int_equal(db_open("x", DB_CREATE | DB_READ_ONLY, &db, &err), E_USAGE);
    assert_int_not_equal(db_open(s->path, DB_CREATE, &db, &err), OK); /* a folder */
    assert_null(db);
    db_close(NULL);
}

static void what_is_no_database_is_tampered(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    struct db *db = NULL;
    char junk[8192];
    memset(junk, 'j', sizeof junk);
    scratch_write(s, "x.db", junk, sizeof junk);
    assert_int_equal(db_open(scratch_name(s, "x.db"), 0, &db, &err), E_TAMPERED);
    assert_int_equal(db_open(scratch_name(s, "x.db"), DB_CREATE, &db, &err), E_TAMPERED);
    assert_null(db);
}

/* Whoever owns the folder must not choose what another account, root say, writes into. */
static void a_link_in_its_place_is_not_followed(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    struct db *db = NULL;
    struct stat st;
    scratch_write(s, "victim", "", 0);
    assert_int_equal(symlinkat("victim", s->fd, "x.db"), 0);
    assert_int_equal(db_open(scratch_name(s, "x.db"), 0, &db, &err), E_INVALID);
    assert_int_equal(db_open(scratch_name(s, "x.db"), DB_CREATE, &db, &err), E_INVALID);
    assert_int_equal(db_open(scratch_name(s, "x.db"), DB_READ_ONLY, &db, &err), E_INVALID);
    assert_null(db);
    assert_int_equal(fstatat(s->fd, "victim", &st, 0), 0);
    assert_int_equal(st.st_size, 0);
    /* A folder that is reached through a link is the administrator's choice. */
    assert_int_equal(mkdirat(s->fd, "real", 0700), 0);
    assert_int_equal(symlinkat("real", s->fd, "folder"), 0);
    assert_int_equal(db_open(scratch_name(s, "folder/x.db"), DB_CREATE, &db, &err), OK);
    db_close(db);
}

static void corruption_is_found(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    struct db *db = migrated(s);
    assert_int_equal(db_exec(db,
                             "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                             "WHERE i < 2000) INSERT INTO item SELECT 'item' || i, i, 'x' FROM n",
                             &err),
                     OK);
    assert_int_equal(db_check(db, &err), OK);
    db_close(db);
    int fd = openat(s->fd, "x.db", O_RDWR | O_CLOEXEC);
    char junk[4096];
    memset(junk, 0xa5, sizeof junk);
    for (off_t page = 2; page < 20; page++)
        assert_int_equal(pwrite(fd, junk, sizeof junk, page * 4096), sizeof junk);
    cleanup_fd(&fd);
    db = opened(s, 0);
    assert_int_equal(db_check(db, &err), E_TAMPERED);
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = true;
    int rc = db_prepare(db, "SELECT count(*) FROM item WHERE note = 'x'", &stmt, &err);
    assert_int_equal(rc ? rc : db_step(stmt, &row, &err), E_TAMPERED);
    assert_true(row); /* untouched */
    db_close(db);     /* before its statement: allowed */
}

static void migration_goes_on_from_any_version(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    struct db *db = opened(s, DB_CREATE);
    assert_int_equal(db_migrate(db, APPLICATION, steps, 1, &err), OK);
    assert_int_equal(db_exec(db, "INSERT INTO item VALUES ('kept', 1)", &err), OK);
    db_close(db);
    db = opened(s, DB_READ_ONLY);
    assert_int_equal(db_migrate(db, APPLICATION, steps, 3, &err), E_UNSUPPORTED);
    db_close(db);
    db = opened(s, 0);
    assert_int_equal(db_migrate(db, APPLICATION, steps, 3, &err), OK);
    assert_int_equal(db_migrate(db, APPLICATION, steps, 3, &err), OK);
    assert_int_equal(number(db, "SELECT size FROM item WHERE name = 'kept' AND note IS NULL"), 1);
    db_close(db);
    db = opened(s, DB_READ_ONLY);
    assert_int_equal(db_migrate(db, APPLICATION, steps, 3, &err), OK);
    db_close(db);
}

static void a_newer_or_foreign_database_is_refused(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    db_close(migrated(s));
    struct db *db = opened(s, DB_CREATE);
    assert_int_equal(db_migrate(db, APPLICATION, steps, 2, &err), E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "version 3"));
    assert_non_null(strstr(err.message, "newer program"));
    assert_int_equal(db_migrate(db, APPLICATION + 1, steps, 3, &err), E_INVALID);
    assert_int_equal(number(db, "PRAGMA application_id"), APPLICATION);
    /* Without a mark, but with tables: somebody else's. */
    assert_int_equal(db_exec(db, "PRAGMA application_id = 0; PRAGMA user_version = 0", &err), OK);
    assert_int_equal(db_migrate(db, APPLICATION, steps, 3, &err), E_INVALID);
    assert_int_equal(
        db_exec(db, "PRAGMA application_id = 1651862636; PRAGMA user_version = -1", &err), OK);
    assert_int_equal(db_migrate(db, APPLICATION, steps, 3, &err), E_TAMPERED);
    db_close(db);
}

static void a_failed_migration_leaves_the_old_version(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    static const char *const broken[] = {
        "CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER NOT NULL)",
        "CREATE TABLE part (x); CREATE TABLE part (x)"};
    CLEANUP(db_cleanup) struct db *db = opened(s, DB_CREATE);
    assert_int_equal(db_migrate(db, APPLICATION, broken, 2, &err), E_INTERNAL);
    assert_non_null(strstr(err.message, "version 2"));
    assert_int_equal(number(db, "PRAGMA user_version"), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM sqlite_schema"), 0);
    assert_int_equal(db_migrate(db, APPLICATION, steps, 3, &err), OK);
}

static void values_come_back_as_they_were(void **state)
{
    struct error err = ERROR_INIT;
    CLEANUP(db_cleanup) struct db *db = migrated(*state);
    CLEANUP(db_stmt_cleanup) struct db_stmt *put = NULL;
    CLEANUP(db_stmt_cleanup) struct db_stmt *get = NULL;
    assert_int_equal(db_exec(db, "CREATE TABLE v (i, t, b, e, n)", &err), OK);
    assert_int_equal(db_prepare(db, "INSERT INTO v VALUES (?1, ?2, ?3, ?4, ?5);  \n", &put, &err),
                     OK);
    assert_int_equal(db_prepare(db, "SELECT i, t, b, e, n FROM v", &get, &err), OK);
    assert_int_equal(db_bind_int(put, 1, INT64_MIN, &err), OK);
    assert_int_equal(db_bind_text(put, 2, "'; DROP TABLE v; --\xc3\xa4", &err), OK);
    assert_int_equal(db_bind_blob(put, 3, "a\0b", 3, &err), OK);
    assert_int_equal(db_bind_blob(put, 4, NULL, 0, &err), OK);
    assert_int_equal(db_bind_text(put, 5, NULL, &err), OK);
    assert_int_equal(db_bind_int(put, 6, 1, &err), E_INTERNAL); /* no such parameter */
    assert_int_equal(db_run(put, &err), OK);
    assert_int_equal(db_changes(db), 1);
    assert_int_equal(db_last_rowid(db), 1);
    bool row = false;
    size_t len = 99;
    assert_int_equal(db_step(get, &row, &err), OK);
    assert_true(row);
    assert_true(db_column_int(get, 0) == INT64_MIN);
    assert_string_equal(db_column_text(get, 1), "'; DROP TABLE v; --\xc3\xa4");
    assert_memory_equal(db_column_blob(get, 2, &len), "a\0b", 3);
    assert_int_equal(len, 3);
    assert_false(db_column_is_null(get, 3));
    (void)db_column_blob(get, 3, &len);
    assert_int_equal(len, 0);
    assert_true(db_column_is_null(get, 4));
    assert_null(db_column_text(get, 4));
    assert_null(db_column_blob(get, 4, &len));
    assert_int_equal(len, 0);
    assert_int_equal(db_step(get, &row, &err), OK);
    assert_false(row);
    /* Bindings do not live on: a forgotten one is NULL, not the last round's value. */
    assert_int_equal(db_run(put, &err), OK);
    assert_int_equal(number(db, "SELECT count(*) FROM v WHERE i IS NULL AND t IS NULL"), 1);
}

static void broken_rules_have_codes(void **state)
{
    struct error err = ERROR_INIT;
    CLEANUP(db_cleanup) struct db *db = migrated(*state);
    assert_int_equal(db_exec(db, "INSERT INTO item VALUES ('a', 1, NULL)", &err), OK);
    assert_int_equal(db_exec(db, "INSERT INTO item VALUES ('a', 2, NULL)", &err), E_EXISTS);
    assert_int_equal(db_exec(db, "INSERT INTO part VALUES ('none', x'00')", &err), E_CONFLICT);
    assert_int_equal(db_exec(db, "INSERT INTO item VALUES ('b', -1, NULL)", &err), E_INTERNAL);
    assert_int_equal(db_exec(db, "SELEC", &err), E_INTERNAL);
    assert_int_equal(db_exec(db, "INSERT INTO item VALUES (\"a\", 1, NULL)", &err), E_INTERNAL);
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    assert_int_equal(db_prepare(db, "SELECT 1; SELECT 2", &stmt, &err), E_INTERNAL);
    assert_int_equal(db_prepare(db, "", &stmt, &err), E_INTERNAL);
    assert_null(stmt);
    assert_int_equal(db_prepare(db, "INSERT INTO part VALUES ('a', ?1)", &stmt, &err), OK);
    CLEANUP(cleanup_free) char *huge = calloc(1, DB_MAX_VALUE + 1);
    assert_int_equal(db_bind_blob(stmt, 1, huge, DB_MAX_VALUE + 1, &err), E_LIMIT);
}

static void transactions_are_whole(void **state)
{
    struct error err = ERROR_INIT;
    CLEANUP(db_cleanup) struct db *db = migrated(*state);
    CLEANUP(db_cleanup) struct db *reader = opened(*state, DB_READ_ONLY);
    static const char count[] = "SELECT count(*) FROM item";
    db_rollback(db); /* none is open: nothing happens */
    assert_int_equal(db_begin(db, &err), OK);
    assert_int_equal(db_begin(db, &err), E_INTERNAL); /* not nested */
    assert_int_equal(db_exec(db, "INSERT INTO item VALUES ('a', 1, NULL)", &err), OK);
    assert_int_equal(number(reader, count), 0);
    db_rollback(db);
    assert_int_equal(number(db, count), 0);
    assert_int_equal(db_begin_read(reader, &err), OK);
    assert_int_equal(db_begin(db, &err), OK);
    assert_int_equal(db_exec(db, "INSERT INTO item VALUES ('a', 1, NULL)", &err), OK);
    assert_int_equal(db_commit(db, &err), OK);
    assert_int_equal(number(reader, count), 0); /* still of the moment it began */
    assert_int_equal(db_commit(reader, &err), OK);
    assert_int_equal(number(reader, count), 1);
    assert_int_equal(db_exec(reader, "DELETE FROM item", &err), E_SYS);
    assert_int_equal(err.sys, EROFS);
    /* A failed commit is rolled back. */
    assert_int_equal(db_begin(db, &err), OK);
    assert_int_equal(db_exec(db, "PRAGMA defer_foreign_keys = ON", &err), OK);
    assert_int_equal(db_exec(db, "INSERT INTO part VALUES ('none', x'00')", &err), OK);
    assert_int_equal(db_commit(db, &err), E_CONFLICT);
    assert_int_equal(db_begin(db, &err), OK);
    db_rollback(db);
}

static void two_writers_wait_then_give_up(void **state)
{
    struct error err = ERROR_INIT;
    CLEANUP(db_cleanup) struct db *one = migrated(*state);
    CLEANUP(db_cleanup) struct db *two = opened(*state, 0);
    assert_int_equal(db_exec(two, "PRAGMA busy_timeout = 50", &err), OK);
    assert_int_equal(db_begin(one, &err), OK);
    assert_int_equal(db_begin(two, &err), E_BUSY);
    assert_int_equal(db_commit(one, &err), OK);
    assert_int_equal(db_begin(two, &err), OK);
}

static int die_in_a_transaction(void *context)
{
    struct error err = ERROR_INIT;
    struct db *db = NULL;
    if (db_open(scratch_name(context, "x.db"), 0, &db, &err) ||
        db_exec(db, "INSERT INTO item VALUES ('committed', 1, NULL)", &err) || db_begin(db, &err) ||
        db_exec(db, "PRAGMA cache_size = 1", &err) ||
        db_exec(db,
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
                "INSERT INTO item SELECT 'lost' || i, i, NULL FROM n",
                &err))
        return 1;
    _exit(0); /* as if killed: the log holds pages of the unfinished transaction */
}

static void a_death_in_a_transaction_loses_only_it(void **state)
{
    struct error err = ERROR_INIT;
    db_close(migrated(*state));
    assert_int_equal(scratch_child(die_in_a_transaction, *state), 0);
    CLEANUP(db_cleanup) struct db *db = opened(*state, 0);
    assert_int_equal(number(db, "SELECT count(*) FROM item"), 1);
    assert_int_equal(number(db, "SELECT count(*) FROM item WHERE name = 'committed'"), 1);
    assert_int_equal(db_check(db, &err), OK);
}

enum { COULD_NOT_MOUNT = 77 };

static int fill_a_disk(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    struct db *db = NULL;
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", s->path, "tmpfs", 0, "size=512k"))
        return COULD_NOT_MOUNT;
    if (db_open(scratch_name(s, "x.db"), DB_CREATE, &db, &err) ||
        db_migrate(db, APPLICATION, steps, 3, &err) ||
        db_exec(db, "INSERT INTO item VALUES ('kept', 1, NULL)", &err))
        return 1;
    int rc = OK;
    for (int i = 0; !rc && i < 100; i++)
        rc = db_exec(db, "INSERT INTO part VALUES ('kept', zeroblob(20000))", &err);
    if (rc != E_SYS || err.sys != ENOSPC)
        return 2;
    if (db_backup_to(db, scratch_name(s, "copy.db"), &err) != E_SYS || err.sys != ENOSPC)
        return 3;
    if (access(scratch_name(s, "copy.db"), F_OK) == 0)
        return 4;
    return db_check(db, &err) ? 5 : 0;
}

static void a_full_disk_is_said_to_be_full(void **state)
{
    int status = scratch_child(fill_a_disk, *state);
    if (status == COULD_NOT_MOUNT)
        skip_test("needs the right to mount");
    assert_int_equal(status, 0);
}

static void a_backup_is_a_database(void **state)
{
    const struct scratch *s = *state;
    struct error err = ERROR_INIT;
    CLEANUP(db_cleanup) struct db *db = migrated(s);
    assert_int_equal(db_exec(db, "INSERT INTO item VALUES ('a', 1, NULL)", &err), OK);
    assert_int_equal(db_backup_to(db, scratch_name(s, "copy.db"), &err), OK);
    assert_int_equal(db_backup_to(db, scratch_name(s, "copy.db"), &err), E_EXISTS);
    assert_int_equal(db_backup_to(db, scratch_name(s, "none/copy.db"), &err), E_NOTFOUND);
    struct stat st;
    assert_int_equal(fstatat(s->fd, "copy.db", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    CLEANUP(db_cleanup) struct db *copy = NULL;
    assert_int_equal(db_open(scratch_name(s, "copy.db"), 0, &copy, &err), OK);
    assert_int_equal(db_migrate(copy, APPLICATION, steps, 3, &err), OK);
    assert_int_equal(number(copy, "SELECT count(*) FROM item"), 1);
    /* Not while a transaction is open, and then no file is left. */
    assert_int_equal(db_begin(db, &err), OK);
    assert_int_not_equal(db_backup_to(db, scratch_name(s, "other.db"), &err), OK);
    assert_int_equal(access(scratch_name(s, "other.db"), F_OK), -1);
}

static int use_a_database(void *context, struct error *err)
{
    const struct scratch *s = context;
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    int rc = db_open(scratch_name(s, "x.db"), DB_CREATE, &db, err);
    if (!rc)
        rc = db_migrate(db, APPLICATION, steps, 3, err);
    if (!rc)
        rc = db_begin(db, err);
    if (!rc)
        rc = db_prepare(db, "INSERT OR REPLACE INTO item VALUES (?1, 1, NULL)", &stmt, err);
    if (!rc)
        rc = db_bind_text(stmt, 1, "name", err);
    if (!rc)
        rc = db_step(stmt, &row, err);
    return rc ? rc : db_commit(db, err);
}

static void running_out_of_memory_is_an_error(void **state)
{
    alloc_fail_each(use_a_database, *state, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_new_database_is_private_and_durable),
        CASE(opening_is_exact),
        CASE(what_is_no_database_is_tampered),
        CASE(a_link_in_its_place_is_not_followed),
        CASE(corruption_is_found),
        CASE(migration_goes_on_from_any_version),
        CASE(a_newer_or_foreign_database_is_refused),
        CASE(a_failed_migration_leaves_the_old_version),
        CASE(values_come_back_as_they_were),
        CASE(broken_rules_have_codes),
        CASE(transactions_are_whole),
        CASE(two_writers_wait_then_give_up),
        CASE(a_death_in_a_transaction_loses_only_it),
        CASE(a_full_disk_is_said_to_be_full),
        CASE(a_backup_is_a_database),
        CASE(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Indexes of older versions become what a new one is, with everything in them; newer and foreign
 * ones are refused and stay as they are. */
#include "base/db.h"
#include "base/file.h"
#include "registry/index.h"
#include "registry/index_accounts.h"
#include "registry/index_content.h"
#include "registry/index_trust.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

static struct db *open_file(struct scratch *s)
{
    struct db *db = NULL;
    ok(db_open(scratch_name(s, INDEX_FILE_NAME), DB_CREATE, &db, err));
    return db;
}

static void run_sql(struct scratch *s, const char *sql)
{
    CLEANUP(db_cleanup) struct db *db = open_file(s);
    ok(db_exec(db, sql, err));
}

static void make_version_1(struct scratch *s)
{
    CLEANUP(bytes_done) struct bytes sql = BYTES_INIT;
    ok(file_read(AT_FDCWD, TEST_DATA "/registry/index-v1.sql", 1u << 20, &sql, err));
    run_sql(s, bytes_text(&sql));
}

/* Every table, index and trigger with its text, in a fixed order. */
static struct bytes schema_of(struct scratch *s)
{
    CLEANUP(db_cleanup) struct db *db = open_file(s);
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    struct bytes all = BYTES_INIT;
    bool row = true;
    ok(db_prepare(db,
                  "SELECT type || ' ' || name || ': ' || ifnull(sql, '') FROM sqlite_schema"
                  " ORDER BY type, name",
                  &stmt, err));
    for (;;) {
        ok(db_step(stmt, &row, err));
        if (!row)
            return all;
        ok(bytes_append_format(&all, err, "%s\n", db_column_text(stmt, 0)));
    }
}

static int64_t number(struct scratch *s, const char *sql)
{
    CLEANUP(db_cleanup) struct db *db = open_file(s);
    CLEANUP(db_stmt_cleanup) struct db_stmt *stmt = NULL;
    bool row = false;
    ok(db_prepare(db, sql, &stmt, err));
    ok(db_step(stmt, &row, err));
    assert_true(row);
    return db_column_int(stmt, 0);
}

static void test_version_1_becomes_what_a_new_one_is(void **state)
{
    struct scratch *s = *state;
    struct index *ix = NULL;
    ok(index_open(s->path, &ix, err));
    index_close(ix);
    CLEANUP(bytes_done) struct bytes fresh = schema_of(s);
    int64_t version = number(s, "PRAGMA user_version");
    assert_true(version > 1);
    unlinkat(s->fd, INDEX_FILE_NAME, 0);
    make_version_1(s);
    assert_int_equal(number(s, "PRAGMA user_version"), 1);
    ok(index_open(s->path, &ix, err));
    index_close(ix);
    CLEANUP(bytes_done) struct bytes migrated = schema_of(s);
    assert_string_equal(bytes_text(&migrated), bytes_text(&fresh));
    assert_int_equal(number(s, "PRAGMA user_version"), version);
    assert_int_equal(number(s, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert_int_equal(number(s, "SELECT length(id) FROM identity"), 32);
}

static void test_everything_is_still_there(void **state)
{
    struct scratch *s = *state;
    struct index *ix = NULL;
    struct index_tx *tx = NULL;
    struct index_manifest m;
    struct digest layer;
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT;
    int64_t size = 0;
    make_version_1(s);
    ok(index_open(s->path, &ix, err));
    ok(index_read_begin(ix, &tx, err));
    ok(index_tag_find(tx, "acme/app", "v1", &m, err));
    assert_int_equal(m.size, 400);
    ok(digest_parse_text("sha256:690da305259a51c3e4d91791ef341cbd6ed5d2e324e3aad197ed260883ef87ae",
                         &layer, err));
    ok(index_link_find(tx, "acme/app", &layer, &size, err));
    assert_int_equal(size, 20);
    ok(index_trust_find(tx, "acme/app", "root", 0, &root, err));
    index_read_end(ix, tx);
    index_close(ix);
    assert_int_equal(number(s, "SELECT count(*) FROM user WHERE name = 'alice'"), 1);
    assert_int_equal(number(s, "SELECT count(*) FROM rights"), 2);
    assert_int_equal(number(s, "SELECT value FROM total WHERE name = 'blob-bytes'"), 457);
    assert_int_equal(number(s, "SELECT expires_s FROM trust_file WHERE role = 'root'"), 1893456000);
    assert_int_equal(number(s, "SELECT issued_s FROM trust_timestamp"), 1700000007);
}

static void assert_refused(struct scratch *s, int code, const char *word)
{
    CLEANUP(bytes_done) struct bytes before = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes after = BYTES_INIT;
    struct index *ix = NULL;
    struct error why = ERROR_INIT;
    ok(file_read(s->fd, INDEX_FILE_NAME, 1u << 24, &before, err));
    assert_int_equal(index_open(s->path, &ix, &why), code);
    assert_null(ix);
    assert_non_null(strstr(why.message, word));
    ok(file_read(s->fd, INDEX_FILE_NAME, 1u << 24, &after, err));
    assert_true(bytes_equal(before.data, before.len, after.data, after.len));
}

static void test_a_newer_index_is_refused_and_untouched(void **state)
{
    struct scratch *s = *state;
    make_version_1(s);
    run_sql(s, "PRAGMA user_version = 9999");
    assert_refused(s, E_UNSUPPORTED, "version 9999");
    assert_refused(s, E_UNSUPPORTED, "newer program");
    assert_int_equal(number(s, "SELECT count(*) FROM tag"), 1);
}

static void test_a_foreign_database_is_refused_and_untouched(void **state)
{
    struct scratch *s = *state;
    make_version_1(s);
    run_sql(s, "PRAGMA application_id = 7");
    assert_refused(s, E_INVALID, "another application");
}

/* What does not fit to the new rules undoes the whole migration. */
static void test_a_migration_that_fails_leaves_the_old_version(void **state)
{
    struct scratch *s = *state;
    struct index *ix = NULL;
    make_version_1(s);
    run_sql(s, "CREATE TABLE audit_anchor(in_the_way)");
    CLEANUP(bytes_done) struct bytes before = schema_of(s);
    assert_true(index_open(s->path, &ix, NULL) != 0);
    CLEANUP(bytes_done) struct bytes after = schema_of(s);
    assert_string_equal(bytes_text(&before), bytes_text(&after));
    assert_int_equal(number(s, "PRAGMA user_version"), 1);
    run_sql(s, "DROP TABLE audit_anchor");
    ok(index_open(s->path, &ix, err));
    index_close(ix);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_version_1_becomes_what_a_new_one_is),
        TEST(test_everything_is_still_there),
        TEST(test_a_newer_index_is_refused_and_untouched),
        TEST(test_a_foreign_database_is_refused_and_untouched),
        TEST(test_a_migration_that_fails_leaves_the_old_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

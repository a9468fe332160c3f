/* What a request costs follows what it asks for, not what the index holds: every statement that
 * serves content finds its rows by a key, in the order in which they are wanted. */
#include "base/cleanup.h"
#include "registry/index_content.h"
#include "registry/index_internal.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int ignore(void *context, const char *text, struct error *err)
{
    (void)context, (void)text, (void)err;
    return 0;
}

/* Results do not matter here: the statements are compiled. */
static void read_everything(struct index_tx *tx)
{
    struct digest d = {.alg = DIGEST_SHA256}, parent;
    struct index_manifest row;
    int64_t id = 1, size = 0;
    const struct index_visitor visitor = {ignore, NULL};
    const struct index_referrers q = {&d, "", ""};
    struct error ignored;
    int rc = index_repository_find(tx, "a", &id, &ignored);
    rc |= index_link_find(tx, "a", &d, &size, &ignored);
    rc |= index_reference_find(tx, id, &d, &parent, &ignored);
    rc |= index_manifest_find(tx, "a", &d, &row, &ignored);
    rc |= index_tag_find(tx, "a", "v1", &row, &ignored);
    rc |= index_tags_each(tx, id, "", &visitor, &ignored);
    rc |= index_repositories_between(tx, "", "~", &visitor, &ignored);
    rc |= index_referrers_each(tx, id, &q, &visitor, &ignored);
    assert_int_not_equal(rc, 0);
}

static void change_everything(struct index_tx *tx)
{
    struct manifest m = {.kind = MANIFEST_OTHER};
    struct index_manifest row = {.digest = {.alg = DIGEST_SHA256}, .media_type = "application/x"};
    int64_t id = 0;
    assert_int_equal(index_repository_make(tx, "a", &id, NULL), 0);
    assert_int_equal(index_link_add(tx, id, &row.digest, 1, NULL), 0);
    assert_int_equal(index_manifest_put(tx, id, &row, &m, NULL), 0);
    assert_int_equal(index_tag_set(tx, id, "v1", &row.digest, NULL), 0);
    assert_int_equal(index_tag_remove(tx, id, "v1", NULL), 0);
    assert_int_equal(index_link_remove(tx, id, &row.digest, NULL), 0);
    assert_int_equal(index_manifest_remove(tx, id, &row.digest, NULL), 0);
}

static int check_step(void *context, const char *sql, const char *step, struct error *err)
{
    size_t *n = context;
    (void)err;
    ++*n;
    /* CONSTANT ROW: a condition that has no table. */
    bool scans = text_starts(step, "SCAN ") && !strstr(step, "CONSTANT ROW");
    if (scans || strstr(step, "TEMP B-TREE") || strstr(step, "AUTOMATIC"))
        fail_msg("'%s': %s", step, sql);
    return 0;
}

static int change_and_check(struct index_tx *tx, void *arg, struct error *err)
{
    change_everything(tx);
    return index_plans_each(tx, check_step, arg, err);
}

static void no_statement_goes_through_a_table(void **state)
{
    struct scratch *dir = *state;
    struct index *ix = NULL;
    struct index_tx *tx = NULL;
    size_t n = 0;
    assert_int_equal(index_open(dir->path, &ix, NULL), 0);
    assert_int_equal(index_start(ix, NULL), 0);
    assert_int_equal(index_read_begin(ix, &tx, NULL), 0);
    read_everything(tx);
    assert_int_equal(index_plans_each(tx, check_step, &n, NULL), 0);
    index_read_end(ix, tx);
    assert_in_range(n, 8, 100);
    n = 0;
    assert_int_equal(index_write(ix, change_and_check, &n, NULL), 0);
    assert_in_range(n, 6, 100);
    index_close(ix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_statement_goes_through_a_table, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

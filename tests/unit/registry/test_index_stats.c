/* Totals that are kept, not counted, and what expires first. */
#include "registry/index_content.h"
#include "registry/index_internal.h"
#include "registry/index_stats.h"
#include "registry/index_trust.h"
#include "tests/support/scratch.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define N 30

static struct index *open_index(void **state)
{
    struct index *ix = NULL;
    const struct scratch *s = *state;
    assert_int_equal(index_open(s->path, &ix, NULL), 0);
    assert_int_equal(index_start(ix, NULL), 0);
    return ix;
}

static int fill(struct index_tx *tx, void *arg, struct error *err)
{
    static const struct manifest nothing; /* names nothing */
    int64_t id = 0;
    int rc = 0;
    (void)arg;
    for (int i = 0; rc == 0 && i < N; i++) {
        char name[32];
        struct digest d;
        struct index_manifest row = {.media_type = "application/x", .size = 7};
        snprintf(name, sizeof name, "team/r%d", i);
        rc = digest_of(DIGEST_SHA256, name, strlen(name), &d, err);
        row.digest = d;
        if (rc == 0)
            rc = index_repository_make(tx, name, &id, err);
        if (rc == 0)
            rc = index_link_add(tx, id, &d, 10 + i, err);
        if (rc == 0)
            rc = index_link_add(tx, id, &d, 10 + i, err); /* a second time is not a second blob */
        if (rc == 0)
            rc = index_manifest_put(tx, id, &row, &nothing, err);
        if (rc == 0)
            rc = index_tag_set(tx, id, "v1", &d, err);
        if (rc == 0)
            rc = index_tag_set(tx, id, "v1", &d, err);
    }
    return rc;
}

static int thin_out(struct index_tx *tx, void *arg, struct error *err)
{
    int64_t id = 0;
    struct digest d;
    (void)arg;
    int rc = digest_of(DIGEST_SHA256, "team/r3", 7, &d, err);
    if (rc == 0)
        rc = index_repository_find(tx, "team/r3", &id, err);
    return rc == 0 ? index_manifest_remove(tx, id, &d, err) : rc; /* its tag goes with it */
}

static int64_t counted(struct index_tx *tx, const char *sql)
{
    struct db_stmt *stmt = NULL;
    bool row = false;
    assert_int_equal(index_query(tx, sql, &stmt, NULL, ""), 0);
    assert_int_equal(db_step(stmt, &row, NULL), 0);
    int64_t n = db_column_int(stmt, 0);
    db_reset(stmt);
    return n;
}

static void check_totals(struct index *ix)
{
    struct index_tx *tx = NULL;
    struct index_stats s;
    assert_int_equal(index_read_begin(ix, &tx, NULL), 0);
    assert_int_equal(index_stats_read(tx, &s, NULL), 0);
    assert_int_equal(s.blobs, counted(tx, "SELECT count(*) FROM blob"));
    assert_int_equal(s.blob_bytes, counted(tx, "SELECT ifnull(sum(size), 0) FROM blob"));
    assert_int_equal(s.repositories, counted(tx, "SELECT count(*) FROM repository"));
    assert_int_equal(s.tags, counted(tx, "SELECT count(*) FROM tag"));
    assert_int_equal(s.manifests, counted(tx, "SELECT count(*) FROM manifest"));
    index_read_end(ix, tx);
}

static void totals_follow_every_change(void **state)
{
    struct index *ix = open_index(state);
    struct index_tx *tx = NULL;
    struct index_stats s;
    check_totals(ix);
    assert_int_equal(index_write(ix, fill, NULL, NULL), 0);
    check_totals(ix);
    assert_int_equal(index_write(ix, thin_out, NULL, NULL), 0);
    check_totals(ix);
    assert_int_equal(index_write(ix, index_stats_touch, NULL, NULL), 0);
    assert_int_equal(index_read_begin(ix, &tx, NULL), 0);
    assert_int_equal(index_stats_read(tx, &s, NULL), 0);
    assert_int_equal(s.repositories, N);
    assert_int_equal(s.tags, N - 1);
    assert_int_equal(s.manifests, N - 1);
    index_read_end(ix, tx);
    index_close(ix);
}

static int put_role(struct index_tx *tx, int64_t id, const char *role, int64_t expires_s)
{
    char when[CLOCK_TEXT_MAX], text[128];
    snprintf(text, sizeof text, "{\"signed\":{\"expires\":\"%s\"}}", clock_format(expires_s, when));
    const struct bytes data = {(uint8_t *)text, strlen(text), sizeof text};
    return index_trust_put(tx, id, role, 1, &data, NULL);
}

static int put_roles(struct index_tx *tx, void *arg, struct error *err)
{
    int64_t id = 0;
    const struct bytes broken = {(uint8_t *)(uintptr_t) "no metadata", 11, 11};
    (void)arg;
    for (int i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "team/r%d", i);
        assert_int_equal(index_repository_make(tx, name, &id, err), 0);
        assert_int_equal(put_role(tx, id, "timestamp", 2000000 - i), 0);
        assert_int_equal(put_role(tx, id, "root", 3000000 + i), 0);
        assert_int_equal(put_role(tx, id, i % 2 ? "alpha" : "beta", 4000000 + i), 0);
        assert_int_equal(index_trust_put(tx, id, "targets", 1, &broken, err), 0);
    }
    return 0;
}

struct seen {
    size_t n;
    struct {
        char kind[16], role[16], repository[32];
        int64_t expires_s;
    } rows[64];
};

static int see(void *context, const struct index_expiry *e, struct error *err)
{
    (void)err;
    struct seen *s = context;
    assert_true(s->n < 64);
    snprintf(s->rows[s->n].kind, 16, "%s", e->kind);
    snprintf(s->rows[s->n].role, 16, "%s", e->role);
    snprintf(s->rows[s->n].repository, 32, "%s", e->repository);
    s->rows[s->n++].expires_s = e->expires_s;
    return 0;
}

static void the_soonest_of_each_kind(void **state)
{
    struct index *ix = open_index(state);
    struct index_tx *tx = NULL;
    struct seen s = {.n = 0};
    assert_int_equal(index_write(ix, put_roles, NULL, NULL), 0);
    assert_int_equal(index_read_begin(ix, &tx, NULL), 0);
    assert_int_equal(index_stats_expiries(tx, 3, see, &s, NULL), 0);
    index_read_end(ix, tx);
    assert_int_equal(s.n, 9); /* three of three kinds; nothing that is no metadata */
    assert_string_equal(s.rows[0].kind, "root");
    assert_string_equal(s.rows[0].repository, "team/r0");
    assert_int_equal(s.rows[0].expires_s, 3000000);
    assert_string_equal(s.rows[3].kind, "timestamp");
    assert_string_equal(s.rows[3].repository, "team/r29");
    assert_int_equal(s.rows[4].expires_s, 2000000 - 28);
    assert_string_equal(s.rows[6].kind, "delegated");
    assert_string_equal(s.rows[6].role, "beta");
    assert_string_equal(s.rows[7].role, "alpha");
    index_close(ix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(totals_follow_every_change, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(the_soonest_of_each_kind, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

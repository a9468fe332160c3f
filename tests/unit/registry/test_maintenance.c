/* Maintenance: no task waits for another, none delays the stop; what cannot be renewed steps back.
 */
#include "base/clock.h"
#include "registry/index_content.h"
#include "registry/index_trust.h"
#include "registry/maintenance.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

static atomic_uint quick_runs, slow_runs, never_runs;

static int64_t every_second(const struct server_config *config)
{
    (void)config;
    return 1;
}

static int64_t never(const struct server_config *config)
{
    (void)config;
    return 0;
}

static int quick(struct registry *registry, const atomic_bool *end, struct error *err)
{
    (void)registry, (void)end;
    /* A task that fails runs again all the same. */
    return atomic_fetch_add(&quick_runs, 1) == 0 ? (fail)(err, E_SYS, "the first time") : 0;
}

static int slow(struct registry *registry, const atomic_bool *end, struct error *err)
{
    (void)registry, (void)err;
    atomic_fetch_add(&slow_runs, 1);
    while (!atomic_load(end))
        usleep(1000);
    return 0;
}

static int not_at_all(struct registry *registry, const atomic_bool *end, struct error *err)
{
    (void)registry, (void)end, (void)err;
    atomic_fetch_add(&never_runs, 1);
    return 0;
}

static void no_task_waits_for_another(void **state)
{
    (void)state;
    static const struct maintenance_task tasks[] = {{"slow", every_second, slow, 0},
                                                    {"quick", every_second, quick, 0},
                                                    {"never", never, not_at_all, 0},
                                                    {"later", every_second, not_at_all, 60},
                                                    {NULL, NULL, NULL, 0}};
    struct server_config config = {0};
    struct registry registry = {.config = &config};
    struct maintenance *m = NULL;
    ok(maintenance_start_tasks(&registry, tasks, &m, err));
    for (unsigned i = 0; atomic_load(&quick_runs) < 3; i++) {
        if (i == 400)
            fail_msg("the quick task ran %u times", atomic_load(&quick_runs));
        usleep(20000);
    }
    int64_t start = clock_monotonic_ms();
    maintenance_stop(m);
    assert_in_range(clock_monotonic_ms() - start, 0, 900);
    assert_int_equal(atomic_load(&slow_runs), 1);
    assert_int_equal(atomic_load(&never_runs), 0);
}

/* --- whose timestamp is due --- */

#define MANY 100

static int add_many(struct index_tx *tx, void *arg, struct error *err)
{
    int64_t now_s = *(const int64_t *)arg;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < MANY; i++) {
        char name[32];
        int64_t id = 0;
        snprintf(name, sizeof name, "bad/%03u", i);
        rc = index_repository_make(tx, name, &id, err);
        if (rc == 0) /* of one day; due for longer than the one below */
            rc = index_trust_set_timestamp(tx, id, now_s - 80000, now_s + 6400, err);
    }
    int64_t id = 0;
    if (rc == 0)
        rc = index_repository_make(tx, "good", &id, err);
    return rc == 0 ? index_trust_set_timestamp(tx, id, now_s - 50000, now_s + 36400, err) : rc;
}

struct page {
    int64_t now_s;
    unsigned n, n_bad;
    bool good;
    char names[16][32];
};

static int note(void *context, const char *name, struct error *err)
{
    struct page *page = context;
    (void)err;
    page->good = page->good || strcmp(name, "good") == 0;
    page->n_bad += strncmp(name, "bad/", 4) == 0;
    snprintf(page->names[page->n++], sizeof page->names[0], "%s", name);
    return 0;
}

static int put_off_page(struct index_tx *tx, void *arg, struct error *err)
{
    const struct page *page = arg;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < page->n; i++)
        rc = index_trust_put_off(tx, page->names[i], page->now_s, err);
    return rc;
}

static struct page read_page(struct index *ix, int64_t now_s)
{
    struct page page = {.now_s = now_s};
    struct index_tx *tx = NULL;
    ok(index_read_begin(ix, &tx, err));
    ok(index_trust_due(tx, now_s, 16, note, &page, err));
    index_read_end(ix, tx);
    return page;
}

/* More fail than fit a page: those that can be renewed have their turn all the same. */
static void what_fails_steps_back(void **state)
{
    struct scratch *dir = *state;
    struct index *ix = NULL;
    int64_t now_s = clock_now_s();
    ok(index_open(dir->path, &ix, err));
    ok(index_start(ix, err));
    ok(index_write(ix, add_many, &now_s, err));
    bool found = false;
    unsigned pages = 0, failures = 0;
    for (struct page page = read_page(ix, now_s); page.n > 0; page = read_page(ix, now_s)) {
        found = found || page.good;
        failures += page.n_bad;
        ok(index_write(ix, put_off_page, &page, err));
        assert_true(++pages < 20);
    }
    assert_true(found);
    assert_int_equal(failures, MANY); /* each once in this round */
    /* For ten seconds, then twice that: fewer and fewer tries, but never none for long. */
    unsigned tries = 0;
    for (int64_t until_s = now_s + 43200; now_s < until_s; now_s += 10) {
        struct page page = read_page(ix, now_s);
        tries += page.n > 0;
        if (page.n > 0)
            ok(index_write(ix, put_off_page, &page, err));
    }
    assert_in_range(tries, 10, 400);
    index_close(ix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_task_waits_for_another),
        cmocka_unit_test_setup_teardown(what_fails_steps_back, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

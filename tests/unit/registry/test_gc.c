/* Garbage collection: what it removes and what it looks at, beside pushes, and killed at any step.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "registry/gc.h"
#include "registry/index_content.h"
#include "registry/index_gc.h"
#include "registry/index_internal.h"
#include "registry/index_schema.h"
#include "registry/scrub.h"
#include "tests/support/scratch.h"
#include "tests/unit/registry/contract_crash.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "registry/blob_files.h"

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

/* --- dying at the n-th change of a file --- */

static atomic_long steps_left = -1; /* -1: live on */

/* What the program and its libraries call is this: the executable's symbols come first. */
#define DIES_HERE(type, name, parameters, arguments)                                               \
    __attribute__((visibility("default"))) type name parameters                                    \
    {                                                                                              \
        static type(*real) parameters;                                                             \
        if (!real)                                                                                 \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                                             \
        if (atomic_load(&steps_left) >= 0 && atomic_fetch_sub(&steps_left, 1) == 0)                \
            raise(SIGKILL);                                                                        \
        return real arguments;                                                                     \
    }                                                                                              \
    struct error /* takes the semicolon */

DIES_HERE(int, renameat, (int a, const char *b, int c, const char *d), (a, b, c, d));
DIES_HERE(int, unlinkat, (int a, const char *b, int c), (a, b, c));
DIES_HERE(int, fdatasync, (int a), (a));
DIES_HERE(int, fsync, (int a), (a));

/* Of the index's many small writes every third. */
__attribute__((visibility("default"))) ssize_t pwrite64(int a, const void *b, size_t c, off64_t d)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    static atomic_uint calls;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    if (atomic_load(&steps_left) >= 0 && atomic_fetch_add(&calls, 1) % 3 == 0 &&
        atomic_fetch_sub(&steps_left, 1) == 0)
        raise(SIGKILL);
    return real(a, b, c, d);
}

/* --- a registry without its HTTP --- */

struct place {
    struct scratch *dir;
    struct blobs *blobs;
    struct index *index;
    struct gate *gate;
};

static void open_place(struct place *p)
{
    ok(blobs_open(p->dir->path, &p->blobs, err));
    ok(index_open(p->dir->path, &p->index, err));
    ok(index_start(p->index, err));
    ok(gate_new(&p->gate, err));
}

static void close_place(struct place *p)
{
    index_close(p->index);
    blobs_close(p->blobs);
    gate_free(p->gate);
    p->index = NULL;
    p->blobs = NULL;
    p->gate = NULL;
}

static int setup(void **state)
{
    static struct place p;
    void *dir = NULL;
    scratch_setup(&dir);
    p.dir = dir;
    open_place(&p);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    void *dir = p->dir;
    clock_use_for_test(NULL);
    close_place(p);
    return scratch_teardown(&dir);
}

static struct gc collector(struct place *p, int64_t lease_s)
{
    return (struct gc){
        .index = p->index, .blobs = p->blobs, .gate = p->gate, .discard = true, .lease_s = lease_s};
}

static struct gc_report collect(struct place *p, int64_t lease_s)
{
    const struct gc gc = collector(p, lease_s);
    struct gc_report report = {0, 0, 0, 0};
    ok(gc_run(&gc, &report, err));
    return report;
}

static struct digest digest(const char *text)
{
    struct digest d;
    ok(digest_of(DIGEST_SHA256, text, strlen(text), &d, err));
    return d;
}

struct link {
    struct blobs *blobs;
    const char *repository;
    struct digest digest;
    size_t size;
};

static int record(struct index_tx *tx, void *arg, struct error *err)
{
    const struct link *link = arg;
    int64_t id = 0;
    int rc = gc_reclaim(link->blobs, &link->digest, err);
    if (rc == 0)
        rc = index_repository_make(tx, link->repository, &id, err);
    return rc == 0 ? index_link_add(tx, id, &link->digest, (int64_t)link->size, err) : rc;
}

/* As the API does it. */
static int push(struct place *p, const char *repository, const char *text, struct error *err)
{
    struct link link = {p->blobs, repository, digest(text), strlen(text)};
    unsigned ticket = gate_enter(p->gate);
    int rc = blobs_put(p->blobs, text, strlen(text), &link.digest, err);
    if (rc == 0)
        rc = index_write(p->index, record, &link, err);
    gate_leave(p->gate, ticket);
    return rc;
}

static int unlink_work(struct index_tx *tx, void *arg, struct error *err)
{
    const struct link *link = arg;
    int64_t id = 0;
    int rc = index_repository_find(tx, link->repository, &id, err);
    return rc == 0 ? index_link_remove(tx, id, &link->digest, err) : rc;
}

static int drop(struct place *p, const char *repository, const char *text, struct error *err)
{
    struct link link = {p->blobs, repository, digest(text), strlen(text)};
    return index_write(p->index, unlink_work, &link, err);
}

static bool visible(struct place *p, const char *text)
{
    struct digest d = digest(text);
    uint64_t size = 0;
    int rc = blobs_stat(p->blobs, &d, &size, NULL);
    assert_true(rc == 0 || rc == E_NOTFOUND);
    return rc == 0;
}

static bool linked(struct place *p, const char *repository, const char *text)
{
    struct digest d = digest(text);
    struct index_tx *tx = NULL;
    ok(index_read_begin(p->index, &tx, err));
    int rc = index_link_find(tx, repository, &d, NULL, NULL);
    index_read_end(p->index, tx);
    assert_true(rc == 0 || rc == E_NOTFOUND);
    return rc == 0;
}

static int count_file(void *context, const struct blob_info *info, struct error *err)
{
    (void)info, (void)err;
    ++*(size_t *)context;
    return 0;
}

static size_t n_files(struct place *p, enum blob_place where)
{
    size_t n = 0;
    const struct blob_visitor visitor = {count_file, &n};
    ok(blobs_walk_place(p->blobs, where, &visitor, err));
    return n;
}

static int64_t ask(struct place *p, const char *sql)
{
    struct index_tx *tx = NULL;
    struct db_stmt *stmt = NULL;
    bool row = false;
    ok(index_read_begin(p->index, &tx, err));
    ok(index_query(tx, sql, &stmt, err, ""));
    ok(db_step(stmt, &row, err));
    int64_t n = row ? db_column_int(stmt, 0) : -1;
    db_reset(stmt);
    index_read_end(p->index, tx);
    return n;
}

/* --- what goes and what stays --- */

static void leases_hold_until_they_end(void **state)
{
    struct place *p = *state;
    int64_t now_s = clock_now_s();
    clock_use_for_test(&now_s);
    ok(push(p, "a/b", "leased", err));
    now_s += 3500;
    assert_int_equal(collect(p, 3600).links, 0);
    assert_true(linked(p, "a/b", "leased"));
    now_s += 200;
    struct gc_report report = collect(p, 3600);
    assert_int_equal(report.links, 1);
    assert_int_equal(report.blobs, 1);
    assert_int_equal(report.bytes, 6);
    assert_false(linked(p, "a/b", "leased"));
    assert_false(visible(p, "leased"));
    assert_int_equal(n_files(p, BLOB_ASIDE), 0);
    assert_int_equal(collect(p, 3600).examined, 0);
}

static void a_lease_of_a_wrong_clock_ends_all_the_same(void **state)
{
    struct place *p = *state;
    int64_t now_s = clock_now_s() - 400 * 86400; /* what was pushed seems to come from the future */
    ok(push(p, "a/b", "later", err));
    clock_use_for_test(&now_s);
    assert_int_equal(collect(p, 3600).links, 0);
    now_s += 3700;
    assert_int_equal(collect(p, 3600).links, 1);
}

static void one_repository_is_enough_to_hold_a_blob(void **state)
{
    struct place *p = *state;
    ok(push(p, "a/one", "shared", err));
    ok(push(p, "a/two", "shared", err));
    ok(drop(p, "a/one", "shared", err));
    assert_int_equal(collect(p, 3600).blobs, 0);
    assert_true(visible(p, "shared"));
    assert_false(linked(p, "a/one", "shared"));
    ok(drop(p, "a/two", "shared", err));
    assert_int_equal(collect(p, 3600).blobs, 1);
    assert_false(visible(p, "shared"));
    ok(push(p, "a/two", "shared", err));
    assert_false(linked(p, "a/one", "shared"));
}

/* 100,000 blobs that a manifest needs, already looked at. */
static int fill(struct index_tx *tx, void *arg, struct error *err)
{
    (void)arg;
    static const char *const statements[] = {
        "INSERT INTO repository(id, name, created_s) VALUES(7, 'big/app', 0)",
        "INSERT INTO blob(digest, size, stored_s) WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL"
        " SELECT n + 1 FROM c WHERE n < 100000) SELECT printf('sha256:%064x', n), 10, 0 FROM c",
        "INSERT INTO manifest(repository, digest, media_type, size, artifact_type, pushed_s)"
        " VALUES(7, printf('sha256:%064x', 100000), 'application/x', 10, '', 0)",
        "INSERT INTO reference(repository, parent, child) SELECT 7, printf('sha256:%064x', 100000),"
        " digest FROM blob WHERE digest < printf('sha256:%064x', 100000)",
        "INSERT INTO link(repository, digest) SELECT 7, digest FROM blob"
        " WHERE digest < printf('sha256:%064x', 100000)",
        "DELETE FROM gc_candidate"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof statements / sizeof *statements; i++)
        rc = index_change(tx, statements[i], NULL, err, "");
    return rc;
}

static int lose_ten(struct index_tx *tx, void *arg, struct error *err)
{
    (void)arg;
    return index_change(tx, "DELETE FROM reference WHERE child < printf('sha256:%064x', 10)", NULL,
                        err, "");
}

static void cost_follows_the_garbage(void **state)
{
    struct place *p = *state;
    index_close(p->index); /* not undone and repeated: that would be 200,000 */
    ok(index_open(p->dir->path, &p->index, err));
    index_set_rehearsal(p->index, false);
    ok(index_start(p->index, err));
    ok(index_write(p->index, fill, NULL, err));
    assert_int_equal(ask(p, "SELECT count(*) FROM blob"), 100001);
    int64_t start = clock_monotonic_ms();
    assert_int_equal(collect(p, 0).examined, 0);
    ok(index_write(p->index, lose_ten, NULL, err));
    struct gc_report report = collect(p, 0);
    int64_t took_ms = clock_monotonic_ms() - start;
    assert_int_equal(report.links, 10);
    assert_int_equal(report.blobs, 10);
    assert_int_equal(report.examined, 20); /* the links, then the blobs */
    assert_int_equal(ask(p, "SELECT count(*) FROM blob"), 99991);
    assert_in_range(took_ms, 0, 2000);
}

struct listing {
    size_t links, blobs;
};

static int note_preview(void *context, const struct index_gc_preview *preview, struct error *err)
{
    struct listing *l = context;
    (void)err;
    ++*(preview->repository ? &l->links : &l->blobs);
    return 0;
}

static void a_preview_says_what_a_run_does(void **state)
{
    struct place *p = *state;
    struct listing l = {0, 0};
    struct index_tx *tx = NULL;
    const struct index_gc_visitor visitor = {note_preview, &l};
    int64_t now_s = clock_now_s();
    ok(push(p, "a/one", "both", err));
    ok(push(p, "a/two", "both", err));
    ok(push(p, "a/two", "one", err));
    ok(push(p, "a/one", "gone", err));
    ok(drop(p, "a/one", "gone", err));
    now_s += 3700;
    clock_use_for_test(&now_s);
    ok(push(p, "a/three", "three", err)); /* triggers have a clock of their own: pushed before */
    ok(index_read_begin(p->index, &tx, err));
    ok(index_gc_preview(tx, now_s - 3600, &visitor, err));
    index_read_end(p->index, tx);
    struct gc_report report = collect(p, 3600);
    assert_int_equal(l.links, 4);
    assert_int_equal(l.blobs, 4);
    assert_int_equal(report.links, l.links);
    assert_int_equal(report.blobs, l.blobs);
}

/* --- beside pushes --- */

static void *collect_once(void *context)
{
    collect(context, 3600);
    return NULL;
}

/* The file is visible, the row of an earlier push is garbage: the collector comes in between. */
static void a_push_gets_its_file_back(void **state)
{
    struct place *p = *state;
    pthread_t thread;
    ok(push(p, "a/b", "twice", err));
    ok(drop(p, "a/b", "twice", err));
    struct link link = {p->blobs, "a/b", digest("twice"), 5};
    unsigned ticket = gate_enter(p->gate);
    ok(blobs_put(p->blobs, "twice", 5, &link.digest, err));
    assert_int_equal(pthread_create(&thread, NULL, collect_once, p), 0);
    for (unsigned i = 0; visible(p, "twice"); i++) {
        if (i == 1000)
            fail_msg("the collector did not come");
        usleep(5000);
    }
    usleep(50000); /* it waits at the gate and removes nothing for good */
    assert_int_equal(n_files(p, BLOB_ASIDE), 1);
    ok(index_write(p->index, record, &link, err));
    gate_leave(p->gate, ticket);
    pthread_join(thread, NULL);
    assert_true(visible(p, "twice") && linked(p, "a/b", "twice"));
    assert_int_equal(n_files(p, BLOB_ASIDE), 0);
}

struct pusher {
    struct place *p;
    pthread_t thread;
    char repository[16];
    atomic_bool *end;
    unsigned rounds;
};

static void *push_and_drop(void *context)
{
    struct pusher *one = context;
    while (!atomic_load(one->end)) {
        char text[16];
        snprintf(text, sizeof text, "text %u", one->rounds++ % 3); /* the others push it, too */
        ok(push(one->p, one->repository, text, err));
        assert_true(visible(one->p, text));
        assert_true(linked(one->p, one->repository, text));
        ok(drop(one->p, one->repository, text, err));
    }
    return NULL;
}

static void pushes_and_collectors_at_once_lose_nothing(void **state)
{
    struct place *p = *state;
    struct pusher pushers[3];
    atomic_bool end = false;
    struct index *other = NULL; /* as another process has it: it removes nothing for good */
    ok(index_open(p->dir->path, &other, err));
    ok(index_start(other, err));
    for (unsigned i = 0; i < 3; i++) {
        pushers[i] = (struct pusher){.p = p, .end = &end};
        snprintf(pushers[i].repository, sizeof pushers[i].repository, "r/%u", i);
        assert_int_equal(pthread_create(&pushers[i].thread, NULL, push_and_drop, &pushers[i]), 0);
    }
    uint64_t removed = 0;
    for (int64_t until = clock_monotonic_ms() + 1500; clock_monotonic_ms() < until;) {
        const struct gc beside = {.index = other, .blobs = p->blobs, .lease_s = 3600};
        struct gc_report report = {0, 0, 0, 0};
        removed += collect(p, 3600).blobs;
        ok(gc_run(&beside, &report, err));
        removed += report.blobs;
    }
    atomic_store(&end, true);
    unsigned rounds = 0;
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(pushers[i].thread, NULL);
        rounds += pushers[i].rounds;
    }
    index_close(other);
    collect(p, 3600);
    assert_true(removed > 0 && rounds > 20);
    assert_int_equal(n_files(p, BLOB_STORED), 0);
    assert_int_equal(n_files(p, BLOB_ASIDE), 0);
}

/* --- bad days --- */

/* Every operation of the storage fails once: the transaction is undone, and with it the files. */
static void a_failing_storage_leaves_rows_and_files_together(void **state)
{
    struct place *p = *state;
    struct contract_crash crash = {.recovers = true};
    struct blobs *failing = NULL;
    ok(blob_files_open(p->dir->path, &crash.inner, err));
    struct blob_store store = contract_crash_store(&crash);
    ok(blobs_new(&store, &failing, err));
    unsigned failures = 0;
    for (unsigned n = 0; n < 30; n++) {
        for (unsigned i = 0; i < 3; i++) {
            char text[16];
            snprintf(text, sizeof text, "bad day %u", i);
            ok(push(p, "a/b", text, err));
            ok(drop(p, "a/b", text, err));
        }
        const struct gc gc = {
            .index = p->index, .blobs = failing, .discard = true, .lease_s = 3600};
        struct gc_report report = {0, 0, 0, 0};
        crash.left = n;
        crash.dead = false;
        failures += gc_run(&gc, &report, NULL) != 0;
        crash.left = UINT32_MAX;
        for (unsigned i = 0; i < 3; i++) {
            char text[16];
            struct index_tx *tx = NULL;
            bool known = false;
            snprintf(text, sizeof text, "bad day %u", i);
            struct digest d = digest(text);
            ok(index_read_begin(p->index, &tx, err));
            ok(index_gc_is_known(tx, &d, &known, err));
            index_read_end(p->index, tx);
            if (known && !visible(p, text)) /* what is aside is put right by the next run */
                assert_int_not_equal(n_files(p, BLOB_ASIDE), 0);
        }
        collect(p, 3600);
        assert_int_equal(ask(p, "SELECT count(*) FROM blob"), 0);
        assert_int_equal(n_files(p, BLOB_STORED) + n_files(p, BLOB_ASIDE), 0);
    }
    assert_true(failures > 3);
    blobs_close(failing);
}

static int stat_fails(void *store, const struct digest *d, enum blob_place place,
                      struct blob_info *out, struct error *err)
{
    (void)store, (void)d, (void)place, (void)out;
    return fail_sys(err, EMFILE, "stat blob");
}

/* What lies aside after a crash is not removed because its place could not be looked at. */
static void a_failed_look_removes_nothing(void **state)
{
    struct place *p = *state;
    struct blob_store store;
    struct blobs *failing = NULL;
    struct digest d = digest("kept");
    ok(push(p, "a/b", "kept", err));
    ok(blobs_set_aside(p->blobs, &d, err));
    ok(blob_files_open(p->dir->path, &store, err));
    struct blob_store_ops ops = *store.ops;
    ops.stat = stat_fails;
    store.ops = &ops;
    ok(blobs_new(&store, &failing, err));
    const struct gc gc = {.index = p->index, .blobs = failing, .discard = true, .lease_s = 3600};
    assert_int_equal(gc_recover(&gc, NULL), E_SYS);
    blobs_close(failing);
    assert_int_equal(n_files(p, BLOB_ASIDE), 1);
    collect(p, 3600);
    assert_true(visible(p, "kept"));
}

/* --- beside scrubbing --- */

struct slowly {
    struct place *p;
    struct digest digest;
};

static int remove_slowly(struct index_tx *tx, void *arg, struct error *err)
{
    const struct slowly *s = arg;
    int64_t size = 0;
    int rc = blobs_set_aside(s->p->blobs, &s->digest, err);
    if (rc != 0 && rc != E_NOTFOUND)
        return rc;
    usleep(300000);
    return index_gc_forget(tx, &s->digest, &size, err);
}

static void *collect_slowly(void *context)
{
    struct slowly *s = context;
    ok(index_write(s->p->index, remove_slowly, s, err));
    return NULL;
}

/* Between the file's move and the row's end a blob is neither damaged nor missing. */
static void what_is_being_collected_is_not_missing(void **state)
{
    struct place *p = *state;
    struct slowly slowly = {p, digest("on its way")};
    const struct scrub scrub = {.data_dir = p->dir->path, .index = p->index, .blobs = p->blobs};
    struct scrub_report report;
    pthread_t thread;
    ok(push(p, "a/b", "on its way", err));
    ok(drop(p, "a/b", "on its way", err));
    assert_int_equal(pthread_create(&thread, NULL, collect_slowly, &slowly), 0);
    for (unsigned i = 0; visible(p, "on its way") && i < 1000; i++)
        usleep(1000);
    assert_false(visible(p, "on its way"));
    ok(scrub_run(&scrub, &report, err));
    pthread_join(thread, NULL);
    assert_int_equal(report.missing, 0);
}

static const char *const acts[] = {"+a", "+b", "-a", "gc", "+a", "+c",
                                   "-b", "-c", "gc", "+b", "-a", "gc"};
#define N_ACTS (sizeof acts / sizeof *acts)

static int act(struct place *p, const char *what)
{
    struct gc_report report = {0, 0, 0, 0};
    const struct gc gc = collector(p, 3600);
    if (what[0] == 'g')
        return gc_run(&gc, &report, NULL);
    if (what[0] == '+')
        return push(p, "a/b", what + 1, NULL);
    int rc = drop(p, "a/b", what + 1, NULL);
    return rc == E_NOTFOUND ? 0 : rc;
}

static _Noreturn void live_until_killed(struct place *p, int out, long step)
{
    open_place(p);
    atomic_store(&steps_left, step);
    const struct gc gc = collector(p, 3600);
    if (gc_recover(&gc, NULL) != 0)
        _exit(1);
    for (size_t i = 0; i < N_ACTS; i++)
        if (act(p, acts[i]) != 0 || write(out, "y", 1) != 1)
            _exit(1);
    _exit(0);
}

/* Whether `name`, which was linked or not, is when the first n acts were done. */
static bool should_be(bool was, char name, size_t n)
{
    for (size_t i = 0; i < n && i < N_ACTS; i++)
        if (acts[i][1] == name && acts[i][0] != 'g')
            was = acts[i][0] == '+';
    return was;
}

/* was: which of "abc" were linked before; then: which are. */
static void check_after(struct place *p, size_t done, bool was[3])
{
    int64_t later_s = clock_now_s() + 7200;
    size_t strays = 0;
    open_place(p);
    const struct gc gc = collector(p, 3600);
    ok(gc_recover(&gc, err));
    for (size_t i = 0; i < 3; i++) {
        char text[2] = {(char)('a' + i), '\0'};
        bool is = linked(p, "a/b", text);
        if (is != should_be(was[i], text[0], done) && is != should_be(was[i], text[0], done + 1))
            fail_msg("after %zu acts '%s' is %s", done, text, is ? "there" : "not there");
        if (is && !visible(p, text))
            fail_msg("after %zu acts '%s' has no file", done, text);
        was[i] = is;
    }
    clock_use_for_test(&later_s);
    ok(gc_find_strays(&gc, 0, &strays, err));
    clock_use_for_test(NULL);
    collect(p, 3600);
    assert_int_equal(n_files(p, BLOB_STORED), ask(p, "SELECT count(*) FROM blob"));
    assert_int_equal(n_files(p, BLOB_ASIDE), 0);
    close_place(p);
}

/* Each round goes on with what the last one left. */
static void killed_at_any_step_it_loses_nothing(void **state)
{
    struct place *p = *state;
    bool through = false, was[3] = {false, false, false};
    long step = 0;
    close_place(p);
    for (; !through; step++) {
        int ends[2], status = 0;
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0)
            live_until_killed(p, ends[1], step);
        close(ends[1]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        char acknowledged[N_ACTS + 1];
        ssize_t n = read(ends[0], acknowledged, sizeof acknowledged);
        close(ends[0]);
        through = WIFEXITED(status);
        if (through)
            assert_int_equal(WEXITSTATUS(status), 0);
        check_after(p, n > 0 ? (size_t)n : 0, was);
    }
    print_message("%ld steps\n", step);
    assert_true(step > 60);
    open_place(p);
}

/* --- the index it stands on --- */

/* Ends what it would be undone by: its change cannot be told from those of others any more. */
static int change_for_good(struct index_tx *tx, void *arg, struct error *err)
{
    int64_t id = 0;
    (void)arg;
    int rc = index_repository_make(tx, "poison", &id, err);
    if (rc == 0)
        rc = index_change(tx, "RELEASE one", NULL, err, "");
    return rc == 0 ? (fail)(err, E_INVALID, "work that failed") : rc;
}

struct writer {
    struct place *p;
    const char *text; /* NULL: the one that cannot be undone */
    int rc;
    pthread_t thread;
};

static void *write_one(void *context)
{
    struct writer *w = context;
    w->rc = w->text ? push(w->p, "a/b", w->text, NULL)
                    : index_write(w->p->index, change_for_good, NULL, NULL);
    return NULL;
}

/* What cannot be undone alone takes the group with it, and the others are done again without it. */
static void work_that_cannot_be_undone_spoils_no_other(void **state)
{
    struct place *p = *state;
    static const char *const texts[] = {"one", "two", NULL, "three", "four"};
    for (unsigned round = 0; round < 20; round++) {
        struct writer writers[5];
        for (size_t i = 0; i < 5; i++) {
            writers[i] = (struct writer){.p = p, .text = texts[i]};
            assert_int_equal(pthread_create(&writers[i].thread, NULL, write_one, &writers[i]), 0);
        }
        for (size_t i = 0; i < 5; i++)
            pthread_join(writers[i].thread, NULL);
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(writers[i].rc != 0, texts[i] == NULL);
            assert_int_equal(ask(p, "SELECT count(*) FROM repository WHERE name = 'poison'"), 0);
            if (texts[i]) {
                assert_true(linked(p, "a/b", texts[i]));
                ok(drop(p, "a/b", texts[i], err));
            }
        }
    }
}

static void counters_are_filled_for_what_was_there_before(void **state)
{
    struct scratch *dir = *state;
    static const char *const steps[] = {
        "CREATE TABLE repository(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"
        "CREATE TABLE blob(digest TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL) STRICT;"
        "CREATE TABLE link(repository INTEGER NOT NULL, digest TEXT NOT NULL) STRICT;"
        "CREATE TABLE manifest(repository INTEGER NOT NULL, digest TEXT NOT NULL, size INTEGER"
        "  NOT NULL) STRICT;"
        "INSERT INTO repository VALUES(1, 'a/b/c'), (2, 'a/b'), (3, 'x'), (4, 'empty/one');"
        "INSERT INTO blob VALUES('p', 10), ('q', 100);"
        "INSERT INTO link VALUES(1, 'p'), (2, 'p'), (2, 'q'), (3, 'q');"
        "INSERT INTO manifest VALUES(1, 'm', 1000);",
        INDEX_SCHEMA_USAGE, "INSERT INTO repository VALUES(5, 'x/y/z');",
        "INSERT INTO link VALUES(5, 'q'); DELETE FROM link WHERE repository = 3;"};
    static const char expected[] = ":1220:5 a:1120:2 a/b:1120:2 a/b/c:1010:1 empty:0:1"
                                   " empty/one:0:1 x:100:2 x/y:100:1 x/y/z:100:1 ";
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(bytes_done) struct bytes got = BYTES_INIT;
    struct db_stmt *stmt = NULL;
    bool row = true;
    ok(db_open(scratch_name(dir, "old.db"), DB_CREATE, &db, err));
    ok(db_migrate(db, 1, steps, sizeof steps / sizeof *steps, err));
    ok(db_prepare(db, "SELECT prefix, bytes, repositories FROM usage ORDER BY 1", &stmt, err));
    for (;;) {
        ok(db_step(stmt, &row, err));
        if (!row)
            break;
        ok(bytes_append_format(&got, err, "%s:%lld:%lld ", db_column_text(stmt, 0),
                               (long long)db_column_int(stmt, 1),
                               (long long)db_column_int(stmt, 2)));
    }
    db_stmt_free(stmt);
    assert_string_equal(bytes_text(&got), expected);
}

int main(void)
{
#define place_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        place_test(leases_hold_until_they_end),
        place_test(a_lease_of_a_wrong_clock_ends_all_the_same),
        place_test(one_repository_is_enough_to_hold_a_blob),
        place_test(cost_follows_the_garbage),
        place_test(a_preview_says_what_a_run_does),
        place_test(a_push_gets_its_file_back),
        place_test(pushes_and_collectors_at_once_lose_nothing),
        place_test(a_failing_storage_leaves_rows_and_files_together),
        place_test(a_failed_look_removes_nothing),
        place_test(what_is_being_collected_is_not_missing),
        place_test(killed_at_any_step_it_loses_nothing),
        place_test(work_that_cannot_be_undone_spoils_no_other),
        cmocka_unit_test_setup_teardown(counters_are_filled_for_what_was_there_before,
                                        scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The audit log: whatever is changed, left out, moved or cut off is found; what a crash leaves
 * behind is not taken for it; several processes write one chain. */
#include "base/file.h"
#include "registry/audit.h"
#include "registry/audit_scan.h"
#include "registry/index_audit.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct error ok_err_ = ERROR_INIT;                                                         \
        struct error *err = &ok_err_;                                                              \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, ok_err_.message);                                            \
    } while (0)

struct place {
    struct scratch *dir;
    struct index *index;
    struct audit *audit;
};

static void open_audit(struct place *p, uint64_t segment_bytes, uint64_t access_bytes)
{
    const struct audit_options options = {.data_dir = p->dir->path,
                                          .index = p->index,
                                          .access = true,
                                          .segment_bytes = segment_bytes,
                                          .access_bytes = access_bytes};
    ok(audit_open(&options, &p->audit, err));
}

static void close_audit(struct place *p)
{
    audit_close(p->audit);
    p->audit = NULL;
}

static int setup(void **state)
{
    static struct place p;
    void *dir = NULL;
    scratch_setup(&dir);
    p = (struct place){.dir = dir};
    ok(index_open(p.dir->path, &p.index, err));
    ok(index_start(p.index, err));
    open_audit(&p, 0, 0);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    void *dir = p->dir;
    close_audit(p);
    index_close(p->index);
    return scratch_teardown(&dir);
}

static void change(struct place *p, const char *object)
{
    uint64_t seq = 0;
    const struct audit_event e = {.event = "test.change",
                                  .result = "done",
                                  .who = "alice",
                                  .from = "192.0.2.1",
                                  .object = object};
    ok(audit_change(p->audit, &e, &seq, err));
    ok(audit_sync(p->audit, seq, err));
}

static struct audit_expect expectation(struct place *p, enum audit_chain chain)
{
    struct index_audit_anchor anchor = {0};
    struct index_tx *tx = NULL;
    ok(index_read_begin(p->index, &tx, err));
    ok(index_audit_get(tx, chain, &anchor, err));
    index_read_end(p->index, tx);
    return (struct audit_expect){.base = anchor.base, .anchor = anchor.head.link};
}

static int scan(struct place *p, enum audit_chain chain, struct audit_result *out,
                struct error *err)
{
    const struct audit_walk walk = {
        .data_fd = p->dir->fd, .chain = chain, .expect = expectation(p, chain)};
    return audit_scan(&walk, out, err);
}

static void assert_found(struct place *p, const char *what)
{
    struct error why = ERROR_INIT;
    struct audit_result result;
    int rc = scan(p, AUDIT_CHANGES, &result, &why);
    if (rc != E_TAMPERED)
        fail_msg("%s was not found: %d %s", what, rc, why.message);
}

static void assert_whole(struct place *p, enum audit_chain chain, uint64_t last)
{
    struct audit_result result;
    ok(scan(p, chain, &result, err));
    assert_int_equal(result.last.seq, last);
}

#define FIRST "audit/changes-0000000000000001.jsonl"

static struct bytes read_segment(struct place *p, const char *name)
{
    struct bytes all = BYTES_INIT;
    ok(file_read(p->dir->fd, name, 1u << 24, &all, err));
    return all;
}

static void write_segment(struct place *p, const char *name, const void *data, size_t len)
{
    ok(file_write_atomic(p->dir->fd, name, data, len, 0600, err));
}

/* --- what is noticed --- */

static void test_every_bit_flip_is_found(void **state)
{
    struct place *p = *state;
    change(p, "one");
    change(p, "two \" \\ \n \xff");
    ok(audit_anchor(p->audit, err));
    CLEANUP(bytes_done) struct bytes good = read_segment(p, FIRST);
    assert_whole(p, AUDIT_CHANGES, 3);
    for (size_t i = 0; i < good.len; i++) {
        good.data[i] ^= (uint8_t)(1u << (i % 8));
        write_segment(p, FIRST, good.data, good.len);
        char what[32];
        snprintf(what, sizeof what, "flip at %zu", i);
        assert_found(p, what);
        good.data[i] ^= (uint8_t)(1u << (i % 8));
    }
    write_segment(p, FIRST, good.data, good.len);
    assert_whole(p, AUDIT_CHANGES, 3);
}

static void test_every_truncation_is_found(void **state)
{
    struct place *p = *state;
    change(p, "one");
    ok(audit_anchor(p->audit, err));
    CLEANUP(bytes_done) struct bytes good = read_segment(p, FIRST);
    for (size_t len = 0; len < good.len; len++) {
        write_segment(p, FIRST, good.data, len);
        assert_found(p, "truncation");
    }
    unlinkat(p->dir->fd, FIRST, 0);
    assert_found(p, "a missing log");
    write_segment(p, FIRST, good.data, good.len);
    assert_whole(p, AUDIT_CHANGES, 2);
}

/* Lines of the log, without the newlines. */
static size_t cut_lines(const struct bytes *all, const char **lines, size_t *lens, size_t max)
{
    size_t n = 0;
    for (const char *at = (const char *)all->data, *end = at + all->len; at < end && n < max; n++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        lines[n] = at;
        lens[n] = (size_t)(newline - at) + 1;
        at = newline + 1;
    }
    return n;
}

static void test_left_out_and_moved_records_are_found(void **state)
{
    struct place *p = *state;
    const char *lines[8];
    size_t lens[8];
    for (int i = 0; i < 5; i++)
        change(p, "same");
    ok(audit_anchor(p->audit, err));
    CLEANUP(bytes_done) struct bytes good = read_segment(p, FIRST);
    size_t n = cut_lines(&good, lines, lens, 8);
    assert_int_equal(n, 6);
    for (size_t skip = 0; skip < n; skip++) {
        CLEANUP(bytes_done) struct bytes less = BYTES_INIT, swapped = BYTES_INIT;
        for (size_t i = 0; i < n; i++)
            if (i != skip)
                ok(bytes_append(&less, lines[i], lens[i], err));
        write_segment(p, FIRST, less.data, less.len);
        assert_found(p, "a record left out");
        for (size_t i = 0; i < n; i++) {
            size_t k = i == skip ? (skip + 1) % n : i == (skip + 1) % n ? skip : i;
            ok(bytes_append(&swapped, lines[k], lens[k], err));
        }
        write_segment(p, FIRST, swapped.data, swapped.len);
        assert_found(p, "two records exchanged");
    }
}

/* Good by itself and in its place, but not what the next one follows. */
static void test_a_record_written_anew_is_found(void **state)
{
    struct place *p = *state;
    const char *lines[8];
    size_t lens[8];
    struct audit_link before, at;
    char line[AUDIT_LINE_MAX + 1];
    CLEANUP(bytes_done) struct bytes forged = BYTES_INIT;
    const struct audit_event e = {.event = "test.change", .result = "done", .who = "mallory"};
    for (int i = 0; i < 3; i++)
        change(p, "same");
    ok(audit_anchor(p->audit, err));
    CLEANUP(bytes_done) struct bytes good = read_segment(p, FIRST);
    assert_int_equal(cut_lines(&good, lines, lens, 8), 4);
    ok(audit_record_check(AUDIT_CHANGES, lines[0], lens[0] - 1, &before, &at, err));
    size_t len = audit_record_write(AUDIT_CHANGES, &e, &at, line, NULL);
    ok(bytes_append(&forged, lines[0], lens[0], err));
    ok(bytes_append(&forged, line, len, err));
    ok(bytes_append(&forged, lines[2], lens[2] + lens[3], err));
    write_segment(p, FIRST, forged.data, forged.len);
    assert_found(p, "a record written anew");
}

/* A forger without the index: everything behind the change is hashed again. */
static void test_a_rewritten_chain_does_not_fit_the_index_or_a_noted_head(void **state)
{
    struct place *p = *state;
    change(p, "one");
    struct audit_result noted;
    ok(audit_anchor(p->audit, err));
    ok(scan(p, AUDIT_CHANGES, &noted, err));
    CLEANUP(bytes_done) struct bytes forged = BYTES_INIT;
    struct audit_link at = {0};
    char line[AUDIT_LINE_MAX + 1];
    for (int i = 0; i < 3; i++) {
        const struct audit_event e = {.event = "test.change", .result = "done", .object = "other"};
        size_t len = audit_record_write(AUDIT_CHANGES, &e, &at, line, NULL);
        ok(bytes_append(&forged, line, len, err));
    }
    write_segment(p, FIRST, forged.data, forged.len);
    assert_found(p, "a rewritten chain");
    struct audit_walk walk = {
        .data_fd = p->dir->fd, .chain = AUDIT_CHANGES, .expect = {.head = noted.last.hash}};
    struct audit_result result;
    struct error why = ERROR_INIT;
    assert_int_equal(audit_scan(&walk, &result, &why), E_TAMPERED);
    walk.expect.head = NULL;
    ok(audit_scan(&walk, &result, err)); /* by itself it is a chain: that is what heads are for */
}

static void test_segments_renamed_or_missing_are_found(void **state)
{
    struct place *p = *state;
    char names[3][AUDIT_SEGMENT_NAME_MAX], other[AUDIT_SEGMENT_NAME_MAX];
    CLEANUP(cleanup_free) struct audit_segment *list = NULL;
    size_t n = 0;
    close_audit(p);
    open_audit(p, 1000, 0);
    for (int i = 0; i < 12; i++)
        change(p, "x");
    ok(audit_anchor(p->audit, err));
    ok(audit_segments(p->dir->fd, AUDIT_CHANGES, &list, &n, err));
    assert_true(n >= 3);
    assert_whole(p, AUDIT_CHANGES, 13);
    for (int i = 0; i < 3; i++)
        audit_segment_name(AUDIT_CHANGES, list[i].first, names[i]);
    for (int i = 0; i < 3; i++) {
        audit_segment_name(AUDIT_CHANGES, list[i].first + 1, other);
        assert_int_equal(renameat(p->dir->fd, names[i], p->dir->fd, other), 0);
        assert_found(p, "a renamed segment");
        assert_int_equal(renameat(p->dir->fd, other, p->dir->fd, "aside"), 0);
        assert_found(p, "a missing segment");
        assert_int_equal(renameat(p->dir->fd, "aside", p->dir->fd, names[i]), 0);
    }
    assert_int_equal(renameat2(p->dir->fd, names[0], p->dir->fd, names[1], RENAME_EXCHANGE), 0);
    assert_found(p, "two segments exchanged");
    assert_int_equal(renameat2(p->dir->fd, names[0], p->dir->fd, names[1], RENAME_EXCHANGE), 0);
    assert_whole(p, AUDIT_CHANGES, 13);
}

static void test_a_log_cut_while_nobody_looked_stays_noted(void **state)
{
    struct place *p = *state;
    const char *lines[8];
    size_t lens[8];
    struct audit_result result;
    change(p, "one");
    change(p, "two");
    close_audit(p);
    CLEANUP(bytes_done) struct bytes good = read_segment(p, FIRST);
    assert_int_equal(cut_lines(&good, lines, lens, 8), 3);
    write_segment(p, FIRST, good.data, good.len - lens[2]);
    open_audit(p, 0, 0);
    change(p, "three");
    ok(audit_anchor(p->audit, err));
    ok(scan(p, AUDIT_CHANGES, &result, err));
    assert_int_equal(result.mismatch, 3);
}

/* --- crashes --- */

static void append_raw(struct place *p, const void *data, size_t len)
{
    CLEANUP(cleanup_fd) int fd = openat(p->dir->fd, FIRST, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, data, len), len);
}

static void test_broken_writes_are_noted_and_the_chain_goes_on(void **state)
{
    struct place *p = *state;
    static const char zeros[5000];
    static const struct {
        const char *data;
        size_t len;
    } torn[] = {{"{\"log\":\"chan", 12}, {"ab\ncd\n", 6}, {zeros, 5000}, {"\n", 1}, {"x\n\n", 3}};
    uint64_t last = 1;
    for (size_t i = 0; i < sizeof torn / sizeof *torn; i++) {
        close_audit(p);
        append_raw(p, torn[i].data, torn[i].len);
        open_audit(p, 0, 0);
        change(p, "after");
        last += 2;
        ok(audit_anchor(p->audit, err));
        assert_whole(p, AUDIT_CHANGES, last);
    }
    struct audit_result result;
    ok(scan(p, AUDIT_CHANGES, &result, err));
    assert_int_equal(result.n_repaired, 5);
    /* The rest of a broken write is evidence, too. */
    CLEANUP(bytes_done) struct bytes all = read_segment(p, FIRST);
    char *at = memmem(all.data, all.len, "{\"log\":\"chan\n", 13);
    assert_non_null(at);
    at[3] ^= 1;
    write_segment(p, FIRST, all.data, all.len);
    assert_found(p, "a changed rest");
}

static void test_a_cut_off_last_line_is_no_alarm_before_the_next_start(void **state)
{
    struct place *p = *state;
    struct audit_result result;
    close_audit(p);
    append_raw(p, "{\"log\":\"changes\",\"se", 20);
    ok(scan(p, AUDIT_CHANGES, &result, err));
    assert_int_equal(result.cut_off, 20);
    append_raw(p, "x\n", 2);
    assert_found(p, "a line that is none");
    open_audit(p, 0, 0);
}

static void test_a_full_disk_refuses_changes_and_leaves_the_chain_whole(void **state)
{
    struct place *p = *state;
    struct rlimit old, small;
    struct error why = ERROR_INIT;
    const struct audit_event e = {.event = "test.change", .result = "begun", .object = "refused"};
    struct stat st;
    change(p, "one");
    assert_int_equal(fstatat(p->dir->fd, FIRST, &st, 0), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){(rlim_t)st.st_size + 100, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    int rc = audit_change(p->audit, &e, NULL, &why);
    struct audit_stats stats;
    audit_get_stats(p->audit, &stats);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(rc, E_SYS);
    assert_true(stats.failing);
    change(p, "two");
    ok(audit_anchor(p->audit, err));
    assert_whole(p, AUDIT_CHANGES, 3);
    audit_get_stats(p->audit, &stats);
    assert_false(stats.failing);
}

static void test_lost_accesses_are_counted_and_told(void **state)
{
    struct place *p = *state;
    struct rlimit old, small;
    const struct audit_event e = {.event = "test.read", .result = "done", .object = "x"};
    (void)signal(SIGXFSZ, SIG_IGN);
    ok(audit_anchor(p->audit, err));
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){1000, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 1000; i++)
        audit_access(p->audit, &e);
    setrlimit(RLIMIT_FSIZE, &old);
    struct audit_stats stats;
    audit_get_stats(p->audit, &stats);
    assert_true(stats.lost > 300);
    for (int i = 0; i < 1000; i++)
        audit_access(p->audit, &e);
    ok(audit_anchor(p->audit, err));
    audit_get_stats(p->audit, &stats);
    assert_whole(p, AUDIT_ACCESS, 2001 - stats.lost + 1);
    CLEANUP(bytes_done)
    struct bytes all = read_segment(p, "audit/access-0000000000000001.jsonl");
    assert_non_null(memmem(all.data, all.len, "log.lost", 8));
}

/* --- together --- */

static void *many_changes(void *arg)
{
    for (int i = 0; i < 200; i++)
        change(arg, "thread");
    return NULL;
}

static int other_process(void *arg)
{
    struct place *p = arg, other = {.dir = p->dir};
    ok(index_open(p->dir->path, &other.index, err));
    ok(index_start(other.index, err));
    const struct audit_options options = {
        .data_dir = p->dir->path, .index = other.index, .segment_bytes = 20000};
    ok(audit_open(&options, &other.audit, err));
    for (int i = 0; i < 200; i++)
        change(&other, "process");
    close_audit(&other);
    index_close(other.index);
    return 0;
}

static void test_threads_and_processes_write_one_chain(void **state)
{
    struct place *p = *state;
    pthread_t threads[4];
    close_audit(p);
    fflush(NULL);
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork(); /* before there are threads */
        if (children[i] == 0)
            _exit(other_process(p));
    }
    open_audit(p, 20000, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many_changes, p), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
    ok(audit_anchor(p->audit, err));
    assert_whole(p, AUDIT_CHANGES, 1 + 6 * 200);
}

static void test_old_accesses_go_and_the_rest_is_still_a_chain(void **state)
{
    struct place *p = *state;
    CLEANUP(cleanup_free) struct audit_segment *list = NULL;
    const struct audit_event e = {.event = "test.read", .result = "done", .object = "x"};
    char name[AUDIT_SEGMENT_NAME_MAX];
    struct audit_result result;
    size_t n = 0;
    close_audit(p);
    open_audit(p, 20000, 60000);
    for (int i = 0; i < 600; i++) {
        audit_access(p->audit, &e);
        if (i % 20 == 0)
            ok(audit_anchor(p->audit, err));
    }
    ok(audit_anchor(p->audit, err));
    ok(scan(p, AUDIT_ACCESS, &result, err));
    assert_true(result.first > 300);
    assert_int_equal(result.last.seq, 601);
    ok(audit_segments(p->dir->fd, AUDIT_ACCESS, &list, &n, err));
    assert_true(n <= 4);
    struct error why = ERROR_INIT;
    unlinkat(p->dir->fd, audit_segment_name(AUDIT_ACCESS, list[0].first, name), 0);
    assert_int_equal(scan(p, AUDIT_ACCESS, &result, &why), E_TAMPERED);
}

static void test_guessing_passwords_does_not_fill_the_changes(void **state)
{
    struct place *p = *state;
    const struct audit_event e = {.event = "login", .result = "refused", .who = NULL};
    struct audit_stats stats;
    for (int i = 0; i < 200; i++)
        audit_failed_login(p->audit, &e);
    ok(audit_anchor(p->audit, err));
    audit_get_stats(p->audit, &stats);
    assert_int_equal(stats.changes, AUDIT_LOGINS_BURST + 1);
    assert_int_equal(stats.changes + stats.accesses, 202);
    /* Who goes on and on gets no more of them with every second. */
    (void)nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 100000000}, NULL);
    for (int i = 0; i < 50; i++)
        audit_failed_login(p->audit, &e);
    audit_get_stats(p->audit, &stats);
    assert_int_equal(stats.changes, AUDIT_LOGINS_BURST + 1);
}

/* A moment without a free descriptor is no failed sync: the next change is taken again. */
static void test_a_lack_of_descriptors_passes(void **state)
{
    struct place *p = *state;
    const struct audit_event e = {.event = "test.change", .result = "begun", .object = "one"};
    struct rlimit old, none;
    struct error why = ERROR_INIT;
    uint64_t seq = 0;
    change(p, "zero");
    ok(audit_change(p->audit, &e, &seq, err));
    getrlimit(RLIMIT_NOFILE, &old);
    none = (struct rlimit){0, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    int rc = audit_sync(p->audit, seq, &why);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(rc, E_BUSY);
    ok(audit_sync(p->audit, seq, err));
    change(p, "two");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_every_bit_flip_is_found),
        TEST(test_every_truncation_is_found),
        TEST(test_left_out_and_moved_records_are_found),
        TEST(test_a_record_written_anew_is_found),
        TEST(test_a_rewritten_chain_does_not_fit_the_index_or_a_noted_head),
        TEST(test_segments_renamed_or_missing_are_found),
        TEST(test_a_log_cut_while_nobody_looked_stays_noted),
        TEST(test_broken_writes_are_noted_and_the_chain_goes_on),
        TEST(test_a_cut_off_last_line_is_no_alarm_before_the_next_start),
        TEST(test_a_full_disk_refuses_changes_and_leaves_the_chain_whole),
        TEST(test_lost_accesses_are_counted_and_told),
        TEST(test_threads_and_processes_write_one_chain),
        TEST(test_old_accesses_go_and_the_rest_is_still_a_chain),
        TEST(test_guessing_passwords_does_not_fill_the_changes),
        TEST(test_a_lack_of_descriptors_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

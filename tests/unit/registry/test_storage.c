/* Blobs as files and upload sessions: what is visible when, what survives, what is refused. */
#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"
#include "registry/uploads.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

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
    struct blobs *blobs;
    struct uploads *uploads;
};

static void open_place(struct place *p)
{
    ok(blobs_open(p->dir->path, &p->blobs, err));
    ok(blobs_start(p->blobs, err));
    ok(uploads_new(p->blobs, 3, &p->uploads, err));
}

static void close_place(struct place *p)
{
    uploads_free(p->uploads);
    blobs_close(p->blobs);
    p->uploads = NULL;
    p->blobs = NULL;
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
    close_place(p);
    return scratch_teardown(&dir);
}

static struct digest digest(enum digest_alg alg, const void *data, size_t len)
{
    struct digest d;
    ok(digest_of(alg, data, len, &d, err));
    return d;
}

static size_t n_files(struct place *p, const char *name)
{
    size_t n = 0;
    int fd = openat(p->dir->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fdopendir(fd);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static int visible(struct place *p, const struct digest *d)
{
    uint64_t size = 0;
    return blobs_stat(p->blobs, d, &size, NULL);
}

static void nothing_is_visible_before_commit(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    CLEANUP(bytes_done) struct bytes read = BYTES_INIT;
    struct digest d = digest(DIGEST_SHA256, "hello", 5);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    ok(blobs_append(p->blobs, u, "hel", 3, err));
    ok(blobs_append(p->blobs, u, "lo", 2, err));
    assert_int_equal(blobs_upload_len(u), 5);
    assert_int_equal(visible(p, &d), E_NOTFOUND);
    ok(blobs_commit(p->blobs, u, &d, err));
    blobs_upload_free(u);
    ok(blobs_read_verified(p->blobs, &d, 100, &read, err));
    assert_string_equal(bytes_text(&read), "hello");
    assert_int_equal(n_files(p, "uploads"), 0);
}

static void wrong_digest_is_refused(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    struct digest other = digest(DIGEST_SHA256, "other", 5);
    struct digest sha512 = digest(DIGEST_SHA512, "hello", 5);
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    ok(blobs_append(p->blobs, u, "hello", 5, err));
    assert_int_equal(blobs_commit(p->blobs, u, &other, NULL), E_DIGEST);
    assert_int_equal(visible(p, &other), E_NOTFOUND);
    /* named with another algorithm after the bytes came: hashed again */
    ok(blobs_commit(p->blobs, u, &sha512, err));
    blobs_upload_free(u);
    assert_int_equal(visible(p, &sha512), 0);
}

static void many_pieces_make_one_blob(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    CLEANUP(bytes_done) struct bytes all = BYTES_INIT;
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    for (size_t i = 0; i < 400; i++) { /* over the buffer's edge, at changing offsets */
        char piece[4099];
        size_t len = i * 10 % sizeof piece;
        memset(piece, (int)('a' + i % 26), len);
        ok(blobs_append(p->blobs, u, piece, len, err));
        ok(bytes_append(&all, piece, len, err));
        if (i % 97 == 0)
            blobs_upload_rest(u);
    }
    assert_int_equal(blobs_upload_len(u), all.len);
    struct digest d = digest(DIGEST_SHA256, all.data, all.len);
    ok(blobs_commit(p->blobs, u, &d, err));
    blobs_upload_free(u);
    uint64_t size = 0;
    ok(blobs_stat(p->blobs, &d, &size, err));
    assert_int_equal(size, all.len);
}

/* The file size limit stands for a full disk: the write fails half-way. */
static void failed_write_leaves_what_was_there(void **state)
{
    struct place *p = *state;
    struct blob_upload *u = NULL;
    static char megabyte[1 << 20];
    struct rlimit old, small = {300 << 10, 300 << 10};
    ok(blobs_begin(p->blobs, DIGEST_SHA256, &u, err));
    ok(blobs_append(p->blobs, u, megabyte, 100 << 10, err));
    ok(blobs_upload_flush(u, err));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = blobs_append(p->blobs, u, megabyte, sizeof megabyte, NULL);
    if (rc == 0) /* a worker met it */
        rc = blobs_upload_flush(u, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, E_SYS);
    assert_int_equal(blobs_upload_len(u), 100 << 10);
    /* and goes on from there */
    ok(blobs_append(p->blobs, u, megabyte, 50 << 10, err));
    struct digest d = digest(DIGEST_SHA256, megabyte, 150 << 10);
    int fd = -1;
    ok(blobs_upload_flush(u, err));
    ok(path_open(p->dir->fd, "uploads", PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err));
    assert_int_equal(n_files(p, "uploads"), 1);
    close(fd);
    assert_int_equal(blobs_commit(p->blobs, u, &d, NULL), 0);
    blobs_upload_free(u);
    uint64_t size = 0;
    ok(blobs_stat(p->blobs, &d, &size, err));
    assert_int_equal(size, 150 << 10);
}

static int count_blob(void *context, const struct blob_info *info, struct error *err)
{
    (void)err;
    assert_int_not_equal(info->digest.alg, DIGEST_NONE);
    ++*(size_t *)context;
    return 0;
}

static void put_walk_delete(void **state)
{
    struct place *p = *state;
    struct digest a = digest(DIGEST_SHA256, "a", 1), b = digest(DIGEST_SHA512, "b", 1);
    size_t n = 0;
    ok(blobs_put(p->blobs, "a", 1, &a, err));
    ok(blobs_put(p->blobs, "a", 1, &a, err)); /* again is fine */
    ok(blobs_put(p->blobs, "b", 1, &b, err));
    assert_int_equal(blobs_put(p->blobs, "x", 1, &a, NULL), E_DIGEST);
    assert_int_equal(n_files(p, "uploads"), 0);
    const struct blob_visitor count = {count_blob, &n};
    ok(blobs_walk(p->blobs, &count, err));
    assert_int_equal(n, 2);
    ok(blobs_delete(p->blobs, &a, err));
    ok(blobs_delete(p->blobs, &a, err));
    assert_int_equal(visible(p, &a), E_NOTFOUND);
}

static const struct upload_owner mine = {"acme/app", "alice"};

static void sessions_belong_to_somebody(void **state)
{
    struct place *p = *state;
    char id[BLOB_UPLOAD_ID_LEN + 1];
    struct blob_upload *u = NULL;
    const struct upload_owner other_repository = {"acme/other", "alice"};
    const struct upload_owner other_user = {"acme/app", "bob"};
    ok(uploads_begin(p->uploads, &mine, id, err));
    assert_int_equal(uploads_take(p->uploads, id, &other_repository, &u, NULL), E_NOTFOUND);
    assert_int_equal(uploads_take(p->uploads, id, &other_user, &u, NULL), E_NOTFOUND);
    assert_int_equal(uploads_take(p->uploads, "00112233445566778899aabbccddeeff", &mine, &u, NULL),
                     E_NOTFOUND);
    assert_null(u);
    ok(uploads_take(p->uploads, id, &mine, &u, err));
    struct blob_upload *second = NULL;
    assert_int_equal(uploads_take(p->uploads, id, &mine, &second, NULL), E_CONFLICT);
    assert_null(second);
    uploads_return(p->uploads, u);
    ok(uploads_take(p->uploads, id, &mine, &u, err));
    uploads_drop(p->uploads, u, true);
    assert_int_equal(uploads_take(p->uploads, id, &mine, &u, NULL), E_NOTFOUND);
    assert_int_equal(n_files(p, "uploads"), 0);
}

static void sessions_per_user_are_limited(void **state)
{
    struct place *p = *state;
    char id[BLOB_UPLOAD_ID_LEN + 1];
    const struct upload_owner bob = {"acme/app", "bob"};
    for (int i = 0; i < 3; i++)
        ok(uploads_begin(p->uploads, &mine, id, err));
    assert_int_equal(uploads_begin(p->uploads, &mine, id, NULL), E_BUSY);
    ok(uploads_begin(p->uploads, &bob, id, err));
}

static void sessions_survive_a_restart(void **state)
{
    struct place *p = *state;
    char id[BLOB_UPLOAD_ID_LEN + 1];
    struct blob_upload *u = NULL;
    const struct upload_owner bob = {"acme/app", "bob"};
    struct digest d = digest(DIGEST_SHA256, "hello", 5);
    ok(uploads_begin(p->uploads, &mine, id, err));
    ok(uploads_take(p->uploads, id, &mine, &u, err));
    ok(blobs_append(p->blobs, u, "hel", 3, err));
    uploads_return(p->uploads, u);
    close_place(p);
    open_place(p);
    assert_int_equal(uploads_take(p->uploads, id, &bob, &u, NULL), E_NOTFOUND);
    ok(uploads_take(p->uploads, id, &mine, &u, err));
    assert_int_equal(blobs_upload_len(u), 3);
    ok(blobs_append(p->blobs, u, "lo", 2, err));
    ok(blobs_commit(p->blobs, u, &d, err));
    uploads_drop(p->uploads, u, false);
    assert_int_equal(visible(p, &d), 0);
    assert_int_equal(n_files(p, "uploads"), 0);
}

static void abandoned_sessions_are_swept(void **state)
{
    struct place *p = *state;
    char id[BLOB_UPLOAD_ID_LEN + 1], busy[BLOB_UPLOAD_ID_LEN + 1];
    struct blob_upload *u = NULL, *gone = NULL;
    ok(uploads_begin(p->uploads, &mine, id, err));
    uploads_sweep(p->uploads, 3600);
    assert_int_equal(n_files(p, "uploads"), 2); /* bytes and note */
    uploads_sweep(p->uploads, -1);
    assert_int_equal(n_files(p, "uploads"), 0);
    assert_int_equal(uploads_take(p->uploads, id, &mine, &gone, NULL), E_NOTFOUND);
    ok(uploads_begin(p->uploads, &mine, busy, err));
    ok(uploads_take(p->uploads, busy, &mine, &u, err));
    uploads_sweep(p->uploads, -1); /* as if its file were old: somebody works on it */
    assert_int_equal(n_files(p, "uploads"), 2);
    uploads_return(p->uploads, u);
}

static void *begin_one(void *context)
{
    char id[BLOB_UPLOAD_ID_LEN + 1];
    return uploads_begin(context, &mine, id, NULL) == 0 ? context : NULL;
}

static void the_limit_holds_for_many_at_once(void **state)
{
    struct place *p = *state;
    pthread_t threads[16];
    size_t taken = 0;
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, begin_one, p->uploads), 0);
    for (size_t i = 0; i < 16; i++) {
        void *began = NULL;
        pthread_join(threads[i], &began);
        taken += began != NULL;
    }
    assert_int_equal(taken, 3);
    assert_int_equal(n_files(p, "uploads"), 6);
}

/* The wall clock is set while an upload is open: that makes nothing old. */
static void clock_jumps_end_no_upload(void **state)
{
    struct place *p = *state;
    char id[BLOB_UPLOAD_ID_LEN + 1];
    int64_t now_s = clock_now_s();
    close_place(p);
    clock_use_for_test(&now_s);
    open_place(p);
    ok(uploads_begin(p->uploads, &mine, id, err));
    static const int days[] = {-400, 800, -400};
    for (size_t i = 0; i < 3; i++) {
        now_s += (int64_t)days[i] * 86400;
        uploads_sweep(p->uploads, 3600);
        assert_int_equal(n_files(p, "uploads"), 2);
    }
    clock_use_for_test(NULL);
}

#define place_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        place_test(nothing_is_visible_before_commit),
        place_test(wrong_digest_is_refused),
        place_test(many_pieces_make_one_blob),
        place_test(failed_write_leaves_what_was_there),
        place_test(put_walk_delete),
        place_test(sessions_belong_to_somebody),
        place_test(sessions_per_user_are_limited),
        place_test(sessions_survive_a_restart),
        place_test(abandoned_sessions_are_swept),
        place_test(the_limit_holds_for_many_at_once),
        place_test(clock_jumps_end_no_upload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

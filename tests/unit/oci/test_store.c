#include "base/file.h"
#include "base/path.h"
#include "oci/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct fixture {
    char home[64];
    struct store *store;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->home, "/tmp/bulla-store-XXXXXX");
    assert_non_null(mkdtemp(f->home));
    assert_int_equal(store_open(f->home, &f->store, NULL), OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    CLEANUP(cleanup_fd) int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(path_remove_tree(tmp, f->home + strlen("/tmp/"), NULL), OK);
    free(f);
    return 0;
}

/* Names in a folder below the store, "." and ".." not counted. */
static size_t count_below(const struct fixture *f, const char *folder)
{
    char path[128];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/images/%s", f->home, folder);
    CLEANUP(cleanup_dir) DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        n += e->d_name[0] != '.';
    return n;
}

static struct digest digest_text(const char *text, enum digest_alg alg)
{
    struct digest d;
    assert_int_equal(digest_of(alg, text, strlen(text), &d, NULL), OK);
    return d;
}

static void a_blob_comes_back(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    struct digest d, want = digest_text("hello", DIGEST_SHA256);
    struct stat st;
    int64_t size;
    assert_int_equal(store_blob_put(f->store, "hello", 5, &d, NULL), OK);
    assert_true(digest_equal(&d, &want));
    assert_true(store_blob_exists(f->store, &d));
    assert_int_equal(store_blob_read(f->store, &d, 5, &content, NULL), OK);
    assert_string_equal(bytes_text(&content), "hello");
    assert_int_equal(store_blob_read(f->store, &d, 4, &content, NULL), E_LIMIT);
    assert_int_equal(content.len, 5);
    assert_int_equal(store_blob_open(f->store, &d, &fd, &size, NULL), OK);
    assert_int_equal(size, 5);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    assert_int_equal(count_below(f, "tmp"), 0);
    /* again: fine; empty: fine */
    assert_int_equal(store_blob_put(f->store, "hello", 5, &d, NULL), OK);
    assert_int_equal(store_blob_put(f->store, "", 0, &d, NULL), OK);
    assert_true(store_blob_exists(f->store, &d));
}

static void wrong_digest_or_size_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct digest other = digest_text("other", DIGEST_SHA256);
    struct digest right = digest_text("hello", DIGEST_SHA256);
    for (int i = 0; i < 3; i++) {
        CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
        assert_int_equal(blob_writer_new(f->store, &w, NULL), OK);
        assert_int_equal(blob_writer_write(w, "hello", 5, NULL), OK);
        assert_int_equal(count_below(f, "tmp"), 1);
        int rc = i == 0   ? blob_writer_commit(w, &other, 5, NULL)
                 : i == 1 ? blob_writer_commit(w, &right, 4, NULL)
                          : blob_writer_commit(w, &right, 6, NULL);
        assert_int_equal(rc, E_DIGEST);
    }
    assert_false(store_blob_exists(f->store, &other));
    assert_false(store_blob_exists(f->store, &right));
    assert_int_equal(count_below(f, "tmp"), 0);
    assert_int_equal(count_below(f, "blobs/sha256"), 0);
}

static void sha512_blobs_work(void **state)
{
    struct fixture *f = *state;
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
    struct digest right = digest_text("hello", DIGEST_SHA512);
    struct digest wrong = digest_text("hallo", DIGEST_SHA512);
    assert_int_equal(blob_writer_new(f->store, &w, NULL), OK);
    assert_int_equal(blob_writer_write(w, "hel", 3, NULL), OK);
    assert_int_equal(blob_writer_write(w, "lo", 2, NULL), OK);
    assert_int_equal(blob_writer_commit(w, &wrong, -1, NULL), E_DIGEST);
    assert_int_equal(blob_writer_commit(w, &right, -1, NULL), OK);
    assert_true(store_blob_exists(f->store, &right));
    assert_false(store_blob_exists(f->store, &wrong));
    assert_int_equal(blob_writer_commit(w, &right, -1, NULL), E_INTERNAL);
    assert_int_equal(blob_writer_write(w, "x", 1, NULL), E_INTERNAL);
}

static void a_changed_blob_is_noticed(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    struct digest d;
    char path[256], hex[DIGEST_TEXT_MAX];
    assert_int_equal(store_blob_put(f->store, "hello", 5, &d, NULL), OK);
    (void)snprintf(path, sizeof path, "%s/images/blobs/sha256/%s", f->home, digest_hex(&d, hex));
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(file_write_atomic(AT_FDCWD, path, "hallo", 5, 0444, NULL), OK);
    assert_int_equal(store_blob_read(f->store, &d, 100, &content, NULL), E_TAMPERED);
    assert_int_equal(content.len, 0);
    /* putting it again repairs it */
    assert_int_equal(store_blob_put(f->store, "hello", 5, &d, NULL), OK);
    assert_int_equal(store_blob_read(f->store, &d, 100, &content, NULL), OK);
}

static void a_link_in_place_of_a_blob_is_not_followed(void **state)
{
    struct fixture *f = *state;
    struct digest d = digest_text("root:", DIGEST_SHA256);
    CLEANUP(cleanup_fd) int fd = -1;
    char path[256], hex[DIGEST_TEXT_MAX];
    (void)snprintf(path, sizeof path, "%s/images/blobs/sha256/%s", f->home, digest_hex(&d, hex));
    assert_int_equal(symlink("/etc/passwd", path), 0);
    struct error err = ERROR_INIT;
    assert_int_equal(store_blob_open(f->store, &d, &fd, NULL, &err), E_SYS);
    assert_int_equal(err.sys, ELOOP);
    assert_int_equal(fd, -1);
}

static void work_of_a_killed_process_is_swept_but_not_work_in_use(void **state)
{
    struct fixture *f = *state;
    CLEANUP(blob_writer_cleanup) struct blob_writer *in_use = NULL;
    CLEANUP(store_cleanup) struct store *again = NULL;
    struct digest d;
    int64_t size;
    assert_int_equal(blob_writer_new(f->store, &in_use, NULL), OK);
    assert_int_equal(blob_writer_write(in_use, "abc", 3, NULL), OK);
    pid_t child = fork();
    if (child == 0) {
        struct blob_writer *w;
        if (blob_writer_new(f->store, &w, NULL) || blob_writer_write(w, "x", 1, NULL))
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(count_below(f, "tmp"), 2);
    assert_int_equal(store_open(f->home, &again, NULL), OK);
    assert_int_equal(count_below(f, "tmp"), 1);
    assert_int_equal(blob_writer_finish(in_use, &d, &size, NULL), OK);
    assert_int_equal(size, 3);
}

static void names_are_kept_and_sorted(void **state)
{
    struct fixture *f = *state;
    CLEANUP(store_cleanup) struct store *again = NULL;
    struct descriptor d = {.media_type = MEDIA_OCI_MANIFEST, .size = 3}, got;
    struct store_name *names;
    size_t n;
    d.digest = digest_text("m", DIGEST_SHA256);
    assert_int_equal(store_name_get(f->store, "b/c:v1", &got, NULL), E_NOTFOUND);
    assert_int_equal(store_name_set(f->store, "b/c:v1", &d, NULL), OK);
    assert_int_equal(store_name_set(f->store, "a/c:v1", &d, NULL), OK);
    d.size = 4;
    assert_int_equal(store_name_set(f->store, "b/c:v1", &d, NULL), OK);
    assert_int_equal(store_open(f->home, &again, NULL), OK);
    assert_int_equal(store_name_get(again, "b/c:v1", &got, NULL), OK);
    assert_int_equal(got.size, 4);
    assert_true(digest_equal(&got.digest, &d.digest));
    assert_int_equal(store_names(again, &names, &n, NULL), OK);
    assert_int_equal(n, 2);
    assert_string_equal(names[0].name, "a/c:v1");
    assert_string_equal(names[1].name, "b/c:v1");
    store_names_free(names, n);
    /* pushed references are a list of their own */
    assert_int_equal(store_pushed_get(again, "b/c:v1", &got, NULL), E_NOTFOUND);
    assert_int_equal(store_pushed_set(again, "r.io/b:v1", &d, NULL), OK);
    assert_int_equal(store_pushed_get(again, "r.io/b:v1", &got, NULL), OK);
    assert_int_equal(store_name_get(again, "r.io/b:v1", &got, NULL), E_NOTFOUND);
    assert_int_equal(store_name_set(again, "", &d, NULL), E_USAGE);
    assert_int_equal(store_name_set(again, "a\nb", &d, NULL), E_USAGE);
}

static void writers_of_names_do_not_lose_each_other(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = {.media_type = MEDIA_OCI_MANIFEST, .size = 3};
    struct store_name *names;
    size_t n;
    pid_t children[4];
    d.digest = digest_text("m", DIGEST_SHA256);
    for (int c = 0; c < 4; c++) {
        children[c] = fork();
        if (children[c] == 0) {
            for (int i = 0; i < 10; i++) {
                char name[32];
                (void)snprintf(name, sizeof name, "app%d:v%d", c, i);
                if (store_name_set(f->store, name, &d, NULL))
                    _exit(1);
            }
            _exit(0);
        }
    }
    for (int c = 0; c < 4; c++) {
        int status;
        assert_int_equal(waitpid(children[c], &status, 0), children[c]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(store_names(f->store, &names, &n, NULL), OK);
    assert_int_equal(n, 40);
    store_names_free(names, n);
}

static void a_broken_list_of_names_is_said(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct descriptor got;
    struct error err = ERROR_INIT;
    (void)snprintf(path, sizeof path, "%s/images/names.json", f->home);
    assert_int_equal(file_write_atomic(AT_FDCWD, path, "{\"a:b\":7}", 9, 0600, NULL), OK);
    assert_int_equal(store_name_get(f->store, "a:b", &got, &err), E_INVALID);
    assert_int_equal(file_write_atomic(AT_FDCWD, path, "{", 1, 0600, NULL), OK);
    assert_int_equal(store_name_get(f->store, "a:b", &got, &err), E_INVALID);
    assert_non_null(strstr(err.message, "names.json"));
}

static void a_store_that_others_may_change_is_refused(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct store *again = NULL;
    struct error err = ERROR_INIT;
    (void)snprintf(path, sizeof path, "%s/images/layers", f->home);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(store_open(f->home, &again, &err), E_DENIED);
    assert_null(again);
    if (geteuid() == 0) {
        assert_int_equal(chmod(path, 0700), 0);
        assert_int_equal(chown(path, 1000, 1000), 0);
        assert_int_equal(store_open(f->home, &again, &err), E_DENIED);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_blob_comes_back),
        CASE(wrong_digest_or_size_leaves_nothing),
        CASE(sha512_blobs_work),
        CASE(a_changed_blob_is_noticed),
        CASE(a_link_in_place_of_a_blob_is_not_followed),
        CASE(work_of_a_killed_process_is_swept_but_not_work_in_use),
        CASE(names_are_kept_and_sorted),
        CASE(writers_of_names_do_not_lose_each_other),
        CASE(a_broken_list_of_names_is_said),
        CASE(a_store_that_others_may_change_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

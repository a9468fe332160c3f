/* A store in a scratch folder, and beside it files that no layer may touch. */
#ifndef BULLA_TESTS_UNIT_OCI_LAYER_FIXTURE_H
#define BULLA_TESTS_UNIT_OCI_LAYER_FIXTURE_H

#include "base/file.h"
#include "base/path.h"
#include "oci/store.h"
#include "tests/unit/oci/tar_builder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

struct layer_fixture {
    char dir[64];
    char outside[80]; /* folder with "victim" (0600, "untouched") */
    char root[512];   /* root of the layer unpacked last */
    struct store *store;
    struct bytes tar;
    struct digest diff_id;
    struct error err;
};

static inline void write_text(const char *path, const char *text)
{
    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, NULL), OK);
}

static inline int layer_set_up(void **state)
{
    char path[128];
    struct layer_fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/bulla-layer-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->outside, sizeof f->outside, "%s/outside", f->dir);
    assert_int_equal(mkdir(f->outside, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/victim", f->outside);
    write_text(path, "untouched");
    (void)snprintf(path, sizeof path, "%s/home", f->dir);
    assert_int_equal(store_open(path, &f->store, NULL), OK);
    *state = f;
    return 0;
}

static inline void assert_outside_untouched(const struct layer_fixture *f)
{
    char path[128];
    struct stat folder, victim;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    (void)snprintf(path, sizeof path, "%s/victim", f->outside);
    assert_int_equal(file_read(AT_FDCWD, path, 100, &text, NULL), OK);
    assert_string_equal(bytes_text(&text), "untouched");
    assert_int_equal(stat(path, &victim), 0);
    assert_int_equal(stat(f->outside, &folder), 0);
    assert_int_equal(victim.st_mode & 07777, 0600);
    assert_int_equal(victim.st_nlink, 1);
    assert_int_equal(victim.st_uid, geteuid());
    assert_int_equal(folder.st_mode & 07777, 0700);
    assert_int_equal(folder.st_nlink, 2);
    assert_int_equal(listxattr(path, NULL, 0), 0);
    CLEANUP(cleanup_dir) DIR *dir = opendir(f->outside);
    size_t n = 0;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        n++;
    assert_int_equal(n, 3);
}

static inline int layer_tear_down(void **state)
{
    struct layer_fixture *f = *state;
    assert_outside_untouched(f);
    store_close(f->store);
    bytes_done(&f->tar);
    CLEANUP(cleanup_fd) int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(path_remove_tree(tmp, f->dir + strlen("/tmp/"), NULL), OK);
    free(f);
    return 0;
}

/* Unpacks the given bytes as a layer of that type; the diff id is that of f->tar. */
static inline int unpack_bytes(struct layer_fixture *f, const char *type, const void *data,
                               size_t len)
{
    struct descriptor layer = {.size = (int64_t)len};
    char hex[DIGEST_TEXT_MAX];
    strcpy(layer.media_type, type);
    assert_int_equal(store_blob_put(f->store, data, len, &layer.digest, NULL), OK);
    assert_int_equal(digest_of(DIGEST_SHA256, f->tar.data, f->tar.len, &f->diff_id, NULL), OK);
    (void)snprintf(f->root, sizeof f->root, "%s/home/images/layers/sha256-%s/root", f->dir,
                   digest_hex(&f->diff_id, hex));
    f->err = (struct error)ERROR_INIT;
    int rc = store_layer_unpack(f->store, &layer, &f->diff_id, NULL, &f->err);
    assert_true(rc == OK || rc == f->err.code);
    assert_int_equal(access(f->root, F_OK), rc ? -1 : 0);
    assert_outside_untouched(f);
    return rc;
}

/* Unpacks f->tar, closed here, and empties it for the next one. */
static inline int unpack(struct layer_fixture *f)
{
    tar_end(&f->tar);
    int rc = unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len);
    bytes_clear(&f->tar);
    return rc;
}

static inline int look(const struct layer_fixture *f, const char *path, struct stat *st)
{
    char whole[1024];
    (void)snprintf(whole, sizeof whole, "%s/%s", f->root, path);
    return lstat(whole, st) ? -errno : 0;
}

static inline void assert_content(const struct layer_fixture *f, const char *path, const char *text)
{
    char whole[1024];
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    struct stat st;
    (void)snprintf(whole, sizeof whole, "%s/%s", f->root, path);
    assert_int_equal(lstat(whole, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(file_read(AT_FDCWD, whole, 1 << 20, &content, NULL), OK);
    assert_string_equal(bytes_text(&content), text);
}

static inline void assert_absent(const struct layer_fixture *f, const char *path)
{
    struct stat st;
    assert_int_equal(look(f, path, &st), -ENOENT);
}

static inline void assert_whiteout(const struct layer_fixture *f, const char *path)
{
    struct stat st;
    assert_int_equal(look(f, path, &st), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
}

static inline bool is_opaque(const struct layer_fixture *f, const char *path)
{
    char whole[1024], value[4];
    (void)snprintf(whole, sizeof whole, "%s/%s", f->root, path);
    return lgetxattr(whole, "trusted.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y';
}

#define LAYER_CASE(name) cmocka_unit_test_setup_teardown(name, layer_set_up, layer_tear_down)

#endif

/* Archives that two readers understand differently, lie about their sizes, or are cut off. */
#include "tests/unit/oci/layer_fixture.h"

#include "oci/layer_writer.h"

#include <signal.h>
#include <sys/wait.h>

static void assert_refused(struct layer_fixture *f, int code)
{
    int rc = unpack(f);
    if (rc != code)
        fail_msg("gave %d (%s), not %d", rc, f->err.message, code);
}

static void confused_types_are_what_their_type_says(void **state)
{
    struct layer_fixture *f = *state;
    struct stat st;
    tar_add(&f->tar, &(struct tar_member){.name = "a", .type = '0', .data = "x", .link = "/etc"});
    tar_add(&f->tar, &(struct tar_member){.name = "old/", .type = 0});
    assert_int_equal(unpack(f), OK);
    assert_content(f, "a", "x");
    assert_int_equal(look(f, "old", &st), 0);
    assert_true(S_ISDIR(st.st_mode));
}

static void content_behind_a_link_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    char hidden[512] = {0};
    struct bytes inner = BYTES_INIT;
    /* readers that skip it and readers that do not see different entries */
    tar_file(&inner, "hidden", "evil");
    memcpy(hidden, inner.data, sizeof hidden);
    tar_file(&f->tar, "a", "x");
    tar_add_pax(&f->tar, "size", "512", 3);
    tar_add(&f->tar, &(struct tar_member){
                         .name = "h", .type = '1', .link = "a", .data = hidden, .size = 512});
    int rc = unpack(f);
    bytes_done(&inner);
    assert_int_equal(rc, E_INVALID);
}

static void two_names_of_one_entry_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    tar_add_pax(&f->tar, "path", "one", 3);
    tar_add_pax(&f->tar, "path", "two", 3);
    tar_file(&f->tar, "three", "x");
    assert_refused(f, E_INVALID);
    tar_add_long(&f->tar, 'L', "one");
    tar_add_pax(&f->tar, "path", "two", 3);
    tar_file(&f->tar, "three", "x");
    assert_refused(f, E_INVALID);
    tar_add_pax(&f->tar, "path", "one", 3);
    tar_add_long(&f->tar, 'L', "two");
    tar_file(&f->tar, "three", "x");
    assert_refused(f, E_INVALID);
    /* a long name with something behind its end */
    tar_add(&f->tar, &(struct tar_member){
                         .name = "././@LongLink", .type = 'L', .data = "one\0two", .size = 8});
    tar_file(&f->tar, "three", "x");
    assert_refused(f, E_INVALID);
    tar_add_long(&f->tar, 'L', "long");
    tar_add_long(&f->tar, 'K', "target");
    tar_symlink(&f->tar, "x", "y");
    assert_int_equal(unpack(f), OK);
    struct stat st;
    assert_int_equal(look(f, "long", &st), 0);
    assert_int_equal(st.st_size, 6);
}

static void a_size_that_lies_is_refused(void **state)
{
    static const char huge[12] = {(char)0x80, 0,          0,          0,
                                  0x7f,       (char)0xff, (char)0xff, (char)0xff,
                                  (char)0xff, (char)0xff, (char)0xff, (char)0xff};
    static const char negative[12] = {(char)0xff, (char)0xff, (char)0xff, (char)0xff,
                                      (char)0xff, (char)0xff, (char)0xff, (char)0xff,
                                      (char)0xff, (char)0xff, (char)0xff, (char)0xf0};
    /* 70 GiB */
    static const char large[12] = {(char)0x80, 0, 0, 0, 0, 0, 0, 0x11, (char)0x80, 0, 0, 0};
    struct layer_fixture *f = *state;
    tar_add(&f->tar, &(struct tar_member){.name = "a", .type = '0', .raw_size = large});
    assert_refused(f, E_LIMIT);
    tar_add(&f->tar, &(struct tar_member){.name = "a", .type = '0', .raw_size = huge});
    int rc = unpack(f);
    assert_true(rc == E_LIMIT || rc == E_INVALID);
    tar_add(&f->tar, &(struct tar_member){.name = "a", .type = '0', .raw_size = negative});
    assert_refused(f, E_INVALID);
    tar_add(&f->tar, &(struct tar_member){.name = "a", .type = '0', .raw_size = "77777777777"});
    assert_refused(f, E_INVALID);
    tar_add_pax(&f->tar, "size", "9223372036854775807", 19);
    tar_file(&f->tar, "a", "x");
    rc = unpack(f);
    assert_true(rc == E_LIMIT || rc == E_INVALID);
    /* pax says more than there is: the rest of the archive would become content */
    tar_add_pax(&f->tar, "size", "9999", 4);
    tar_file(&f->tar, "a", "x");
    assert_refused(f, E_INVALID);
}

/* GNU's sparse form 1.0: the map stands before the content. */
static void add_sparse(struct bytes *b, const char *size, const char *map, const char *content)
{
    char data[1024] = {0};
    const struct tar_pair pairs[] = {{"GNU.sparse.major", "1"},
                                     {"GNU.sparse.minor", "0"},
                                     {"GNU.sparse.name", "real-name"},
                                     {"GNU.sparse.realsize", size},
                                     {NULL, NULL}};
    memcpy(data, map, strlen(map));
    memcpy(data + 512, content, strlen(content));
    tar_add_pairs(b, pairs);
    tar_add(b, &(struct tar_member){
                   .name = "x", .type = '0', .data = data, .size = 512 + strlen(content)});
}

static void sparse_files_are_bounded(void **state)
{
    struct layer_fixture *f = *state;
    struct stat st;
    add_sparse(&f->tar, "100000", "1\n50000\n3\n", "abc");
    assert_int_equal(unpack(f), OK);
    assert_int_equal(look(f, "real-name", &st), 0);
    assert_int_equal(st.st_size, 100000);
    assert_true(st.st_blocks * 512 < 100000);
    int fd = -1;
    assert_int_equal(store_layer_open(f->store, &f->diff_id, LAYER_CHECK_FULL, NULL, &fd, NULL),
                     OK);
    cleanup_fd(&fd);
    /* more than 4 GiB of holes: before the content, and behind it */
    add_sparse(&f->tar, "5368709120", "1\n5368709117\n3\n", "abc");
    assert_refused(f, E_LIMIT);
    add_sparse(&f->tar, "5368709120", "1\n0\n3\n", "abc");
    assert_refused(f, E_LIMIT);
    add_sparse(&f->tar, "9223372036854775807", "1\n9223372036854775800\n3\n", "abc");
    assert_refused(f, E_LIMIT);
    /* maps that lie */
    add_sparse(&f->tar, "100", "1\n99\n3\n", "abc");
    assert_refused(f, E_INVALID);
    add_sparse(&f->tar, "100", "2\n50\n3\n10\n3\n", "abcabc");
    assert_refused(f, E_INVALID);
    add_sparse(&f->tar, "100", "99999999999\n", "abc");
    assert_refused(f, E_INVALID);
}

static void data_behind_the_end_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    static const char zeros[65536];
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    tar_file(&f->tar, "hidden", "evil");
    assert_refused(f, E_INVALID);
    /* also far behind, in another block of the stream */
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    for (int i = 0; i < 40; i++)
        assert_int_equal(bytes_append(&f->tar, zeros, sizeof zeros, NULL), OK);
    tar_file(&f->tar, "hidden", "evil");
    assert_refused(f, E_INVALID);
    /* padding is fine, and so is a missing end mark */
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    for (int i = 0; i < 40; i++)
        assert_int_equal(bytes_append(&f->tar, zeros, sizeof zeros, NULL), OK);
    assert_int_equal(unpack(f), OK);
    tar_file(&f->tar, "b", "x");
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), OK);
    assert_content(f, "b", "x");
}

static void every_cut_is_refused_or_ends_between_entries(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(bytes_done) struct bytes whole = BYTES_INIT;
    tar_file(&whole, "a", "some content");
    tar_folder(&whole, "d/");
    tar_add_pax(&whole, "path", "longer", 6);
    tar_file(&whole, "x", "more content");
    /* 0 a 512 data 1024 d 1536 pax 2048 data 2560 x 3072 data 3584 */
    for (size_t len = 1; len < whole.len; len += 51) {
        bytes_clear(&f->tar);
        assert_int_equal(bytes_append(&f->tar, whole.data, len, NULL), OK);
        int rc = unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len);
        if (len % 512)
            assert_int_equal(rc, E_INVALID);
    }
    /* a pax header that belongs to nothing */
    bytes_clear(&f->tar);
    assert_int_equal(bytes_append(&f->tar, whole.data, 2560, NULL), OK);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), E_INVALID);
}

static void what_is_no_archive_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    tar_need(bytes_append_text(&f->tar, "#!/bin/sh\necho hello\n", NULL));
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), E_INVALID);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER_GZIP, f->tar.data, f->tar.len), E_INVALID);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER_ZSTD, f->tar.data, f->tar.len), E_INVALID);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_CONFIG, f->tar.data, f->tar.len), E_UNSUPPORTED);
}

/* --- digests, interruption --- */

static void a_wrong_diff_id_leaves_nothing(void **state)
{
    struct layer_fixture *f = *state;
    struct descriptor layer = {.media_type = MEDIA_OCI_LAYER};
    struct digest wrong;
    struct error err = ERROR_INIT;
    char tmp[128];
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    layer.size = (int64_t)f->tar.len;
    assert_int_equal(store_blob_put(f->store, f->tar.data, f->tar.len, &layer.digest, NULL), OK);
    assert_int_equal(digest_of(DIGEST_SHA256, "other", 5, &wrong, NULL), OK);
    assert_int_equal(store_layer_unpack(f->store, &layer, &wrong, NULL, &err), E_DIGEST);
    int fd = -1;
    assert_int_equal(store_layer_open(f->store, &wrong, LAYER_CHECK_FULL, NULL, &fd, &err),
                     E_NOTFOUND);
    (void)snprintf(tmp, sizeof tmp, "%s/home/images/tmp", f->dir);
    assert_int_equal(rmdir(tmp), 0);
}

static void a_changed_blob_is_named_as_such(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(layer_writer_cleanup) struct layer_writer *w = NULL;
    struct descriptor layer;
    struct error err = ERROR_INIT;
    char path[300], hex[DIGEST_TEXT_MAX];
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    assert_int_equal(layer_writer_new(f->store, LAYER_GZIP, &w, NULL), OK);
    assert_int_equal(layer_writer_write(w, f->tar.data, f->tar.len, NULL), OK);
    assert_int_equal(layer_writer_finish(w, &layer, &f->diff_id, NULL), OK);
    (void)snprintf(path, sizeof path, "%s/home/images/blobs/sha256/%s", f->dir,
                   digest_hex(&layer.digest, hex));
    CLEANUP(cleanup_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    for (off_t at = 0; at < layer.size; at++) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(store_layer_unpack(f->store, &layer, &f->diff_id, NULL, &err), E_TAMPERED);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_int_equal(ftruncate(fd, layer.size - 1), 0);
    assert_int_equal(store_layer_unpack(f->store, &layer, &f->diff_id, NULL, &err), E_TAMPERED);
}

static void a_killed_unpacking_leaves_nothing_visible(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(store_cleanup) struct store *again = NULL;
    CLEANUP(cleanup_free) char *big = calloc(1, 4 << 20);
    struct stat st;
    char name[32], path[128];
    for (int i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof name, "file%d", i);
        tar_add(&f->tar,
                &(struct tar_member){.name = name, .type = '0', .data = big, .size = 4 << 20});
    }
    tar_end(&f->tar);
    pid_t child = fork();
    if (child == 0) {
        (void)unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len);
        _exit(0);
    }
    usleep(20000);
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)snprintf(path, sizeof path, "%s/home", f->dir);
    assert_int_equal(store_open(path, &again, NULL), OK);
    (void)snprintf(path, sizeof path, "%s/home/images/tmp", f->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_nlink, 2);
    /* another try completes it, or finds it complete */
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), OK);
    assert_int_equal(look(f, "file7", &st), 0);
    assert_int_equal(st.st_size, 4 << 20);
}

static void two_processes_unpack_one_layer(void **state)
{
    struct layer_fixture *f = *state;
    int status;
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    pid_t child = fork();
    if (child == 0)
        _exit(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len) != OK);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), OK);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), OK);
}

static void only_root_unpacks(void **state)
{
    struct layer_fixture *f = *state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct descriptor layer = {.media_type = MEDIA_OCI_LAYER};
        struct digest id = {.alg = DIGEST_SHA256};
        if (setuid(65534))
            _exit(1);
        _exit(store_layer_unpack(f->store, &layer, &id, NULL, NULL) != E_UNSUPPORTED);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAYER_CASE(confused_types_are_what_their_type_says),
        LAYER_CASE(content_behind_a_link_is_refused),
        LAYER_CASE(two_names_of_one_entry_are_refused),
        LAYER_CASE(a_size_that_lies_is_refused),
        LAYER_CASE(sparse_files_are_bounded),
        LAYER_CASE(data_behind_the_end_is_refused),
        LAYER_CASE(every_cut_is_refused_or_ends_between_entries),
        LAYER_CASE(what_is_no_archive_is_refused),
        LAYER_CASE(a_wrong_diff_id_leaves_nothing),
        LAYER_CASE(a_changed_blob_is_named_as_such),
        LAYER_CASE(a_killed_unpacking_leaves_nothing_visible),
        LAYER_CASE(two_processes_unpack_one_layer),
        LAYER_CASE(only_root_unpacks),
    };
    if (geteuid() != 0) {
        printf("1..0 # SKIP layers are unpacked by root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

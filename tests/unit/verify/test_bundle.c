/* Bundles as bytes: what opens, what is refused, and that each part is looked at. */
#include "oci/archive_writer.h"
#include "tests/support/scratch.h"
#include "verify/bundle.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NAME "r.io:5000/acme/app:v1"

struct made {
    struct store *store;
    struct descriptor root, config, layer;
};

static void must(int rc, const struct error *e)
{
    if (rc)
        fail_msg("%d %s", rc, e->message);
}

static struct descriptor put(struct store *s, const char *text, size_t len, const char *type)
{
    struct descriptor d = {.size = (int64_t)len};
    struct error e = ERROR_INIT;
    must(store_blob_put(s, text, len, &d.digest, &e), &e);
    (void)snprintf(d.media_type, sizeof d.media_type, "%s", type);
    return d;
}

static void make_image(const struct scratch *scratch, struct made *m)
{
    static const char config[] =
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":"
        "[\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"]}}";
    struct error e = ERROR_INIT;
    CLEANUP(js_cleanup) struct js *manifest = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    must(store_open(scratch->path, &m->store, &e), &e);
    m->config = put(m->store, config, strlen(config), MEDIA_OCI_CONFIG);
    m->layer = put(m->store, "not a tar at all", 16, MEDIA_OCI_LAYER);
    must(manifest_to_js(&m->config, &m->layer, 1, &manifest, &e), &e);
    must(js_write(manifest, false, &text, &e), &e);
    m->root = put(m->store, (const char *)text.data, text.len, MEDIA_OCI_MANIFEST);
}

/* A whole bundle in memory; without: this part is left out. */
static int write_bundle(const struct made *m, const char *without)
{
    CLEANUP(archive_writer_cleanup) struct archive_writer *w = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct bundle_note note = {.collection = "acme/app"};
    struct error e = ERROR_INIT;
    int fd = memfd_create("bundle", MFD_CLOEXEC);
    assert_true(fd >= 0);
    must(reference_parse(NAME, &note.ref, &e), &e);
    must(bundle_note_write(&note, &text, &e), &e);
    must(archive_writer_new(fd, &w, &e), &e);
    if (strcmp(without, "layout") != 0)
        must(archive_writer_layout(w, &m->root, NAME, &e), &e);
    if (strcmp(without, "note") != 0)
        must(archive_writer_file(w, BUNDLE_NOTE_PATH, text.data, text.len, &e), &e);
    must(archive_writer_file(w, BUNDLE_TUF "timestamp.json", "{}", 2, &e), &e);
    if (strcmp(without, "manifest") != 0)
        must(archive_writer_blob(w, m->store, &m->root, NULL, &e), &e);
    if (strcmp(without, "config") != 0)
        must(archive_writer_blob(w, m->store, &m->config, NULL, &e), &e);
    if (strcmp(without, "layer") != 0)
        must(archive_writer_blob(w, m->store, &m->layer, NULL, &e), &e);
    must(archive_writer_finish(w, &e), &e);
    return fd;
}

/* Opens and reads it all; takes fd. */
static int read_all(int fd, const struct made *m, struct error *e)
{
    CLEANUP(bundle_cleanup) struct bundle *b = NULL;
    struct bundle_load check = {.store = NULL};
    int rc = bundle_open_fd(fd, &b, e);
    if (rc) {
        assert_null(b);
        return rc;
    }
    assert_string_equal(bundle_note(b)->collection, "acme/app");
    return bundle_read_image(b, &m->root, NULL, &check, e);
}

static void whole_bundle_opens_and_incomplete_ones_do_not(void **state)
{
    static const char *const parts[] = {"layout", "note", "manifest", "config", "layer"};
    struct made m;
    struct error e = ERROR_INIT;
    make_image(*state, &m);
    must(read_all(write_bundle(&m, ""), &m, &e), &e);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_int_equal(read_all(write_bundle(&m, parts[i]), &m, &e), E_INVALID);
    store_cleanup(&m.store);
}

/* Behind the content of the last blob there is nothing that a reader needs. */
static void every_truncation_fails(void **state)
{
    struct made m;
    struct error e = ERROR_INIT;
    make_image(*state, &m);
    int fd = write_bundle(&m, "");
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = size - 1024 - 512; at >= 0; at -= 128) {
        assert_int_equal(ftruncate(fd, at), 0);
        int rc = read_all(dup(fd), &m, &e);
        if (rc != E_INVALID)
            fail_msg("cut at %ld: %d %s", (long)at, rc, e.message);
    }
    close(fd);
    store_cleanup(&m.store);
}

static void every_changed_byte_of_a_blob_fails(void **state)
{
    struct made m;
    struct error e = ERROR_INIT;
    make_image(*state, &m);
    int fd = write_bundle(&m, "");
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *file = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(file != MAP_FAILED);
    uint8_t *layer = memmem(file, (size_t)size, "not a tar at all", 16);
    uint8_t *config = memmem(file, (size_t)size, "{\"os\"", 5);
    assert_non_null(layer);
    assert_non_null(config);
    for (size_t i = 0; i < 16; i++) {
        uint8_t *const spots[] = {layer + i, config + 5 * i};
        for (size_t k = 0; k < 2; k++) {
            *spots[k] ^= 1;
            assert_int_equal(read_all(dup(fd), &m, &e), E_DIGEST);
            *spots[k] ^= 1;
        }
    }
    must(read_all(dup(fd), &m, &e), &e);
    (void)munmap(file, (size_t)size);
    close(fd);
    store_cleanup(&m.store);
}

/* The bundle as it opens: whose image it says to hold, and what came of reading the image. */
static int open_note(int fd, const struct made *m, struct bytes *note)
{
    CLEANUP(bundle_cleanup) struct bundle *b = NULL;
    struct bundle_load check = {.store = NULL};
    struct error e = ERROR_INIT;
    if (bundle_open_fd(dup(fd), &b, &e) != OK)
        return E_INVALID;
    must(bundle_note_write(bundle_note(b), note, &e), &e);
    return bundle_read_image(b, &m->root, NULL, &check, &e);
}

struct span {
    const uint8_t *from, *to;
};

static bool inside(const struct span *s, const uint8_t *p)
{
    return p >= s->from && p < s->to;
}

/* Every bit of the files that are a bundle's own, one bit of every other byte (the tar headers and
 * the image among them): refused, or the same image under the same name. Only bundle.json's own
 * words change what it is called, and under that name it is then verified. */
static void flipped_bits_change_neither_image_nor_name(void **state)
{
    struct made m;
    CLEANUP(bytes_done) struct bytes good = BYTES_INIT;
    make_image(*state, &m);
    int fd = write_bundle(&m, "");
    size_t size = (size_t)lseek(fd, 0, SEEK_END);
    uint8_t *file = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(file != MAP_FAILED);
    assert_int_equal(open_note(fd, &m, &good), OK);
    const uint8_t *words = memmem(file, size, good.data, good.len);
    const uint8_t *list = memmem(file, size, "{\"schemaVersion\":2,\"manifests\"", 10);
    assert_non_null(words);
    assert_non_null(list);
    const struct span note = {words, words + good.len}, index = {list, list + 256};
    for (size_t i = 0; i < 8 * size; i++) {
        uint8_t *at = file + i / 8;
        if (i % 8 != i / 8 % 8 && !inside(&note, at) && !inside(&index, at))
            continue;
        CLEANUP(bytes_done) struct bytes now = BYTES_INIT;
        *at ^= (uint8_t)(1u << i % 8);
        (void)open_note(fd, &m, &now);
        if (now.len && !bytes_equal(now.data, now.len, good.data, good.len) && !inside(&note, at))
            fail_msg("byte %zu renames the image: %s", i / 8, bytes_text(&now));
        *at ^= (uint8_t)(1u << i % 8);
    }
    bytes_clear(&good);
    assert_int_equal(open_note(fd, &m, &good), OK);
    (void)munmap(file, size);
    close(fd);
    store_cleanup(&m.store);
}

static void image_gets_into_the_store_whole(void **state)
{
    CLEANUP(bundle_cleanup) struct bundle *b = NULL;
    CLEANUP(store_cleanup) struct store *other = NULL;
    struct made m;
    struct error e = ERROR_INIT;
    make_image(*state, &m);
    must(store_open(scratch_name(*state, "other"), &other, &e), &e);
    must(bundle_open_fd(write_bundle(&m, ""), &b, &e), &e);
    struct bundle_load load = {.store = other};
    must(bundle_read_image(b, &m.root, NULL, &load, &e), &e);
    assert_int_equal(load.blobs, 3);
    assert_true(store_blob_exists(other, &m.layer.digest));
    /* Another root than the verdict's: nothing of it is read. */
    assert_int_equal(bundle_read_image(b, &m.layer, NULL, &load, &e), E_DIGEST);
    assert_int_equal(load.blobs, 3);
    store_cleanup(&m.store);
}

static void notes_are_strict(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"version\":1,\"host\":\"r.io\",\"repository\":\"a\",\"collection\":\"a\"}",
        "{\"version\":2,\"host\":\"r.io\",\"repository\":\"a\",\"collection\":\"a\",\"tag\":\"v\"}",
        "{\"version\":1,\"host\":\"r\",\"repository\":\"a\",\"collection\":\"a\",\"tag\":\"v\"}",
        "{\"version\":1,\"host\":\"r.io/"
        "a\",\"repository\":\"a\",\"collection\":\"a\",\"tag\":\"v\"}",
        "{\"version\":1,\"host\":\"r.io\",\"repository\":\"a:v\",\"collection\":\"a\",\"tag\":"
        "\"v\"}",
        "{\"version\":1,\"host\":\"R.io\",\"repository\":\"a\",\"collection\":\"a\",\"tag\":\"v\"}",
        "{\"version\":1,\"host\":\"r.io\",\"repository\":\"a\",\"collection\":\"../"
        "a\",\"tag\":\"v\"}",
        "{\"version\":1,\"host\":\"r.io\",\"repository\":\"a\",\"collection\":\"a\",\"tag\":\"v\","
        "\"x\":1}",
        "{\"version\":1,\"host\":\"r.io\",\"repository\":\"a\",\"collection\":\"a\",\"tag\":\"v\"} "
        "1",
    };
    static const char good[] =
        "{\"version\":1,\"host\":\"r.io\",\"repository\":\"a\",\"collection\":\"a\",\"tag\":\"v\"}";
    struct bundle_note note = {.collection = "kept"};
    struct error e = ERROR_INIT;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(bundle_note_parse(bad[i], strlen(bad[i]), &note, &e), E_INVALID);
        assert_string_equal(note.collection, "kept");
    }
    must(bundle_note_parse(good, strlen(good), &note, &e), &e);
    assert_string_equal(note.ref.tag, "v");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_bundle_opens_and_incomplete_ones_do_not,
                                        scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(every_truncation_fails, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(every_changed_byte_of_a_blob_fails, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(flipped_bits_change_neither_image_nor_name, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(image_gets_into_the_store_whole, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(notes_are_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every allocation may fail: the code says so, nothing leaks, nothing half-done is visible. */
#include "tests/support/alloc_fail.h"
#include "tests/unit/oci/layer_fixture.h"

#define DIGEST "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define ONE    "{\"mediaType\":\"a/b\",\"digest\":\"" DIGEST "\",\"size\":7}"
#define IMAGE                                                                                      \
    "{\"schemaVersion\":2,\"config\":" ONE ",\"layers\":[" ONE "],\"annotations\":{\"a\":\"b\"}}"
#define CONFIG                                                                                     \
    "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"User\":\"1\",\"Env\":[\"A=b\"],"   \
    "\"Cmd\":null},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIGEST "\"]}}"

static int parse_documents(void *context, struct error *err)
{
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    CLEANUP(image_config_cleanup) struct image_config *c = NULL;
    CLEANUP(js_cleanup) struct js *o = NULL;
    (void)context;
    int rc = manifest_parse(IMAGE, strlen(IMAGE), MEDIA_OCI_MANIFEST, &m, err);
    if (!rc)
        rc = image_config_parse(CONFIG, strlen(CONFIG), &c, err);
    return rc ? rc : manifest_to_js(&m->config, m->layers, m->n_layers, &o, err);
}

static int use_the_store(void *context, struct error *err)
{
    struct layer_fixture *f = context;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct descriptor d = {.media_type = "a/b", .size = 5}, got;
    struct store_name *names = NULL;
    size_t n = 0;
    int rc = store_blob_put(f->store, "hello", 5, &d.digest, err);
    if (!rc)
        rc = store_blob_read(f->store, &d.digest, 10, &text, err);
    if (!rc)
        rc = store_name_set(f->store, "acme/app:v1", &d, err);
    if (!rc)
        rc = store_name_get(f->store, "acme/app:v1", &got, err);
    if (!rc)
        rc = store_names(f->store, &names, &n, err);
    if (!rc)
        store_names_free(names, n);
    return rc;
}

static int import_a_folder(void *context, struct error *err)
{
    struct layer_fixture *f = context;
    const struct import_options options = {.compression = LAYER_NONE};
    char tree[128];
    struct descriptor d;
    (void)snprintf(tree, sizeof tree, "%s/outside", f->dir);
    int rc = store_import(f->store, tree, "acme/app:v1", &options, NULL, &d, NULL, err);
    CLEANUP(image_source_cleanup) struct image_source *src = NULL;
    if (!rc)
        rc = image_source_open(f->store, "store:acme/app:v1", &src, err);
    return rc;
}

struct layer_of {
    struct layer_fixture *f;
    struct descriptor layer;
};

static int unpack_and_check(void *context, struct error *err)
{
    struct layer_of *l = context;
    char cache[128], folder[700];
    CLEANUP(cleanup_fd) int fd = -1;
    (void)snprintf(cache, sizeof cache, "%s/cache", l->f->dir);
    int rc = store_layer_unpack(l->f->store, &l->layer, &l->f->diff_id, NULL, err);
    if (rc)
        return rc;
    rc = store_layer_open(l->f->store, &l->f->diff_id, LAYER_CHECK_CACHED, cache, &fd, err);
    /* for the next round */
    CLEANUP(cleanup_fd) int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(folder, sizeof folder, "%s", l->f->root + strlen("/tmp/"));
    *strrchr(folder, '/') = '\0';
    int removed = rc ? OK : path_remove_tree(tmp, folder, err);
    return rc ? rc : removed;
}

static void documents(void **state)
{
    (void)state;
    alloc_fail_each(parse_documents, NULL, 0);
}

static void the_store(void **state)
{
    alloc_fail_each(use_the_store, *state, 0);
}

static void import(void **state)
{
    /* libarchive's own words for it */
    alloc_fail_each(import_a_folder, *state, E_INTERNAL);
}

static void unpacking(void **state)
{
    struct layer_fixture *f = *state;
    char tmp[128], hex[DIGEST_TEXT_MAX];
    struct stat st;
    struct layer_of l = {.f = f, .layer = {.media_type = MEDIA_OCI_LAYER}};
    tar_folder(&f->tar, "d/");
    tar_add_pax(&f->tar, "SCHILY.xattr.user.x", "1", 1);
    tar_file(&f->tar, "d/e/f", "content");
    tar_symlink(&f->tar, "l", "d");
    tar_file(&f->tar, "l/.wh.x", "");
    tar_end(&f->tar);
    l.layer.size = (int64_t)f->tar.len;
    assert_int_equal(store_blob_put(f->store, f->tar.data, f->tar.len, &l.layer.digest, NULL), OK);
    f->diff_id = l.layer.digest;
    (void)snprintf(f->root, sizeof f->root, "%s/home/images/layers/sha256-%s/root", f->dir,
                   digest_hex(&f->diff_id, hex));
    alloc_fail_each(unpack_and_check, &l, E_INVALID);
    (void)snprintf(tmp, sizeof tmp, "%s/home/images/tmp", f->dir);
    assert_int_equal(stat(tmp, &st), 0);
    assert_int_equal(st.st_nlink, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        LAYER_CASE(the_store),
        LAYER_CASE(import),
        LAYER_CASE(unpacking),
    };
    if (geteuid() != 0) {
        printf("1..0 # SKIP layers are unpacked by root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

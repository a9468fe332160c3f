#include "tests/unit/oci/layer_fixture.h"

#define CONFIG_TEXT                                                                                \
    "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":["

static int open_source(struct layer_fixture *f, const char *text, struct image_source **out)
{
    f->err = (struct error)ERROR_INIT;
    *out = NULL;
    return image_source_open(f->store, text, out, &f->err);
}

static int open_at(struct layer_fixture *f, const char *transport, const char *name,
                   const char *tag, struct image_source **out)
{
    char text[300];
    (void)snprintf(text, sizeof text, "%s:%s/%s%s%s", transport, f->dir, name, tag ? ":" : "",
                   tag ? tag : "");
    return open_source(f, text, out);
}

static void read_blob(struct image_source *src, const struct digest *d, struct bytes *out)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int64_t size;
    struct digest real;
    assert_int_equal(image_source_blob(src, d, &fd, &size, NULL), OK);
    assert_int_equal(file_read_fd(fd, 1 << 20, out, NULL), OK);
    assert_int_equal(out->len, size);
    assert_int_equal(digest_of(d->alg, out->data, out->len, &real, NULL), OK);
    assert_true(digest_equal(&real, d));
}

static size_t temporaries(const struct layer_fixture *f)
{
    char path[128];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/home/images/tmp", f->dir);
    assert_int_equal(stat(path, &st), 0);
    return st.st_nlink - 2;
}

/* --- the store --- */

static void the_store_is_a_source(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(image_source_cleanup) struct image_source *src = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct descriptor d = {.media_type = MEDIA_OCI_MANIFEST, .size = 5};
    assert_int_equal(store_blob_put(f->store, "hello", 5, &d.digest, NULL), OK);
    assert_int_equal(store_name_set(f->store, "acme/app:latest", &d, NULL), OK);
    assert_int_equal(open_source(f, "store:acme/app", &src), OK);
    assert_true(digest_equal(&image_source_root(src)->digest, &d.digest));
    read_blob(src, &d.digest, &text);
    image_source_cleanup(&src);
    assert_int_equal(open_source(f, "store:acme/app:latest", &src), OK);
    image_source_cleanup(&src);
    assert_int_equal(open_source(f, "store:acme/app:v2", &src), E_NOTFOUND);
    assert_int_equal(open_source(f, "store:", &src), E_USAGE);
    assert_int_equal(open_source(f, "docker://x/y", &src), E_USAGE);
    assert_int_equal(open_source(f, "acme/app", &src), E_USAGE);
    assert_int_equal(open_source(f, "", &src), E_USAGE);
}

/* --- image layouts --- */

static void put(struct layer_fixture *f, const char *name, const char *text)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/layout/%s", f->dir, name);
    write_text(path, text);
}

static void put_blob(struct layer_fixture *f, const char *text, char digest[DIGEST_TEXT_MAX])
{
    struct digest d;
    char name[200], hex[DIGEST_TEXT_MAX];
    assert_int_equal(digest_of(DIGEST_SHA256, text, strlen(text), &d, NULL), OK);
    (void)snprintf(name, sizeof name, "blobs/sha256/%s", digest_hex(&d, hex));
    put(f, name, text);
    (void)digest_format(&d, digest);
}

/* Two images, "one" and "two". */
static void make_layout(struct layer_fixture *f, char one[DIGEST_TEXT_MAX])
{
    char path[200], two[DIGEST_TEXT_MAX], index[2000];
    static const char *const folders[] = {"layout", "layout/blobs", "layout/blobs/sha256"};
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", f->dir, folders[i]);
        (void)mkdir(path, 0700);
    }
    put(f, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    put_blob(f, "manifest one", one);
    put_blob(f, "manifest two", two);
    (void)snprintf(index, sizeof index,
                   "{\"schemaVersion\":2,\"manifests\":["
                   "{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"digest\":\"%s\",\"size\":12,"
                   "\"annotations\":{\"org.opencontainers.image.ref.name\":\"one\"}},"
                   "{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"digest\":\"%s\",\"size\":12,"
                   "\"annotations\":{\"org.opencontainers.image.ref.name\":\"two\"}}]}",
                   one, two);
    put(f, "index.json", index);
}

static void expect_one(struct image_source *src, const char *digest)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    char got[DIGEST_TEXT_MAX];
    assert_string_equal(digest_format(&image_source_root(src)->digest, got), digest);
    read_blob(src, &image_source_root(src)->digest, &text);
    assert_string_equal(bytes_text(&text), "manifest one");
}

static void a_layout_is_a_source(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(image_source_cleanup) struct image_source *src = NULL;
    CLEANUP(cleanup_fd) int fd = -1;
    struct digest other = {.alg = DIGEST_SHA256};
    char one[DIGEST_TEXT_MAX];
    int64_t size;
    make_layout(f, one);
    assert_int_equal(open_at(f, "oci", "layout", "one", &src), OK);
    expect_one(src, one);
    assert_int_equal(image_source_blob(src, &other, &fd, &size, NULL), E_NOTFOUND);
    image_source_cleanup(&src);
    assert_int_equal(open_at(f, "oci", "layout", NULL, &src), E_USAGE);
    assert_int_equal(open_at(f, "oci", "layout", "three", &src), E_NOTFOUND);
    assert_int_equal(open_at(f, "oci", "nowhere", NULL, &src), E_NOTFOUND);
    assert_null(src);
}

static void broken_layouts_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(image_source_cleanup) struct image_source *src = NULL;
    char one[DIGEST_TEXT_MAX];
    make_layout(f, one);
    put(f, "oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}");
    assert_int_equal(open_at(f, "oci", "layout", "one", &src), E_UNSUPPORTED);
    put(f, "oci-layout", "{}");
    assert_int_equal(open_at(f, "oci", "layout", "one", &src), E_INVALID);
    put(f, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    put(f, "index.json", "{\"manifests\":[]}");
    assert_int_equal(open_at(f, "oci", "layout", NULL, &src), E_NOTFOUND);
    put(f, "index.json", "{\"manifests\":[{\"digest\":\"sha256:../../../x\"}]}");
    assert_int_equal(open_at(f, "oci", "layout", NULL, &src), E_INVALID);
    put(f, "index.json", "[");
    assert_int_equal(open_at(f, "oci", "layout", NULL, &src), E_INVALID);
    char path[200];
    (void)snprintf(path, sizeof path, "%s/layout/index.json", f->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_at(f, "oci", "layout", NULL, &src), E_INVALID);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(open_at(f, "oci", "layout", NULL, &src), E_INVALID);
}

static void links_and_fifos_are_no_blobs(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(image_source_cleanup) struct image_source *src = NULL;
    CLEANUP(cleanup_fd) int fd = -1;
    char one[DIGEST_TEXT_MAX], path[300];
    int64_t size;
    make_layout(f, one);
    assert_int_equal(open_at(f, "oci", "layout", "one", &src), OK);
    (void)snprintf(path, sizeof path, "%s/layout/blobs/sha256/%s", f->dir, one + 7);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(image_source_blob(src, &image_source_root(src)->digest, &fd, &size, NULL),
                     E_SYS);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(image_source_blob(src, &image_source_root(src)->digest, &fd, &size, NULL),
                     E_INVALID);
}

/* --- archives --- */

static void an_oci_archive_is_a_source(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(image_source_cleanup) struct image_source *src = NULL;
    char one[DIGEST_TEXT_MAX], command[600];
    make_layout(f, one);
    for (int packed = 0; packed < 2; packed++) {
        (void)snprintf(command, sizeof command, "tar -C '%s/layout' -c%sf '%s/a.tar' .", f->dir,
                       packed ? "z" : "", f->dir);
        assert_int_equal(system(command), 0);
        assert_int_equal(open_at(f, "oci-archive", "a.tar", "one", &src), OK);
        assert_int_equal(temporaries(f), 1);
        expect_one(src, one);
        image_source_cleanup(&src);
        assert_int_equal(temporaries(f), 0);
    }
    assert_int_equal(open_at(f, "oci-archive", "a.tar", "three", &src), E_NOTFOUND);
    assert_int_equal(open_at(f, "oci-archive", "none.tar", NULL, &src), E_NOTFOUND);
    assert_int_equal(open_at(f, "oci-archive", "layout", NULL, &src), E_USAGE);
    assert_int_equal(temporaries(f), 0);
}

static int open_built(struct layer_fixture *f, const char *transport, const char *tag)
{
    CLEANUP(image_source_cleanup) struct image_source *src = NULL;
    char path[128];
    tar_end(&f->tar);
    (void)snprintf(path, sizeof path, "%s/built.tar", f->dir);
    assert_int_equal(file_write_atomic(AT_FDCWD, path, f->tar.data, f->tar.len, 0600, NULL), OK);
    bytes_clear(&f->tar);
    int rc = open_at(f, transport, "built.tar", tag, &src);
    image_source_cleanup(&src);
    assert_int_equal(temporaries(f), 0);
    return rc;
}

static void hostile_oci_archives_stay_inside(void **state)
{
    struct layer_fixture *f = *state;
    static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    tar_file(&f->tar, "../../../../outside/victim", "evil");
    assert_int_equal(open_built(f, "oci-archive", NULL), E_INVALID);
    tar_symlink(&f->tar, "index.json", "/etc/passwd");
    assert_int_equal(open_built(f, "oci-archive", NULL), E_INVALID);
    tar_symlink(&f->tar, "blobs", f->outside);
    tar_file(&f->tar, "blobs/victim", "evil");
    tar_file(&f->tar, "oci-layout", layout);
    tar_file(&f->tar, "oci-layout", layout);
    assert_int_equal(open_built(f, "oci-archive", NULL), E_INVALID);
    tar_file(&f->tar, "blobs/sha256/../../../victim", "evil");
    assert_int_equal(open_built(f, "oci-archive", NULL), E_INVALID);
    assert_int_equal(open_built(f, "oci-archive", NULL), E_INVALID);
}

struct docker_parts {
    char config[2000], manifest[2000], config_name[100];
};

static void describe(struct layer_fixture *f, const char *diff_of, struct docker_parts *p)
{
    struct digest d;
    char text[DIGEST_TEXT_MAX];
    (void)f;
    assert_int_equal(digest_of(DIGEST_SHA256, diff_of, strlen(diff_of), &d, NULL), OK);
    (void)snprintf(p->config, sizeof p->config, CONFIG_TEXT "\"%s\"]}}", digest_format(&d, text));
    (void)snprintf(
        p->manifest, sizeof p->manifest,
        "[{\"Config\":\"cfg.json\",\"RepoTags\":[\"acme/app:v1\"],\"Layers\":[\"x/layer.tar\"]}]");
}

static void a_docker_archive_becomes_an_oci_image(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(image_source_cleanup) struct image_source *src = NULL;
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT, layer = BYTES_INIT;
    struct docker_parts p;
    char path[128];
    describe(f, "layer bytes", &p);
    /* the layer behind a link, as older programs write it, and the manifest first */
    tar_file(&f->tar, "manifest.json", p.manifest);
    tar_symlink(&f->tar, "x/layer.tar", "../y/real.tar");
    tar_file(&f->tar, "y/real.tar", "layer bytes");
    tar_file(&f->tar, "cfg.json", p.config);
    tar_file(&f->tar, "repositories", "{}");
    tar_end(&f->tar);
    (void)snprintf(path, sizeof path, "%s/d.tar", f->dir);
    assert_int_equal(file_write_atomic(AT_FDCWD, path, f->tar.data, f->tar.len, 0600, NULL), OK);
    assert_int_equal(open_at(f, "docker-archive", "d.tar", NULL, &src), OK);
    read_blob(src, &image_source_root(src)->digest, &text);
    assert_int_equal(
        manifest_parse(text.data, text.len, image_source_root(src)->media_type, &m, NULL), OK);
    assert_int_equal(m->n_layers, 1);
    assert_string_equal(m->layers[0].media_type, MEDIA_OCI_LAYER);
    read_blob(src, &m->layers[0].digest, &layer);
    assert_string_equal(bytes_text(&layer), "layer bytes");
    image_source_cleanup(&src);
    assert_int_equal(open_at(f, "docker-archive", "d.tar", "acme/app:v1", &src), OK);
    image_source_cleanup(&src);
    assert_int_equal(open_at(f, "docker-archive", "d.tar", "acme/app:v2", &src), E_NOTFOUND);
    assert_int_equal(temporaries(f), 0);
}

static void build_docker(struct layer_fixture *f, const char *manifest, const char *config,
                         const char *layer)
{
    tar_file(&f->tar, "manifest.json", manifest);
    tar_file(&f->tar, "cfg.json", config);
    if (layer)
        tar_file(&f->tar, "x/layer.tar", layer);
}

static void broken_docker_archives_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    struct docker_parts p;
    describe(f, "layer bytes", &p);
    build_docker(f, p.manifest, p.config, "other bytes");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_DIGEST);
    build_docker(f, p.manifest, p.config, NULL);
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
    build_docker(f, "[]", p.config, "layer bytes");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_NOTFOUND);
    build_docker(f, "{}", p.config, "layer bytes");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
    build_docker(f, "[{},{}]", p.config, "layer bytes");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_USAGE);
    build_docker(f, "[{\"Config\":\"/etc/passwd\",\"Layers\":[]}]", p.config, "x");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
    build_docker(f, "[{\"Config\":\"cfg.json\",\"Layers\":[]}]", p.config, "x");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
    build_docker(f, p.manifest, "{}", "layer bytes");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
    tar_file(&f->tar, "x", "x");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
    /* links in a circle, and out of the archive */
    build_docker(f, p.manifest, p.config, NULL);
    tar_symlink(&f->tar, "x/layer.tar", "../z");
    tar_symlink(&f->tar, "z", "x/layer.tar");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
    build_docker(f, p.manifest, p.config, NULL);
    tar_symlink(&f->tar, "x/layer.tar", "../../../outside/victim");
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
    tar_file(&f->tar, "../manifest.json", p.manifest);
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
    tar_add(&f->tar, &(struct tar_member){.name = "manifest.json", .type = '6'});
    assert_int_equal(open_built(f, "docker-archive", NULL), E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAYER_CASE(the_store_is_a_source),
        LAYER_CASE(a_layout_is_a_source),
        LAYER_CASE(broken_layouts_are_refused),
        LAYER_CASE(links_and_fifos_are_no_blobs),
        LAYER_CASE(an_oci_archive_is_a_source),
        LAYER_CASE(hostile_oci_archives_stay_inside),
        LAYER_CASE(a_docker_archive_becomes_an_oci_image),
        LAYER_CASE(broken_docker_archives_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

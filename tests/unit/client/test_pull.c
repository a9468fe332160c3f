/* Whole images from a registry that serves what it was given, or something else. */
#include "client/remote.h"
#include "tests/support/scratch.h"
#include "tests/support/script_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define REPO "acme/app"
#if defined(__x86_64__)
#define ARCH  "amd64"
#define OTHER "arm64"
#else
#define ARCH  "arm64"
#define OTHER "amd64"
#endif
#define MAX_CONTENTS 16

struct content {
    char digest[DIGEST_TEXT_MAX];
    char served[2048]; /* bytes as the registry sends them */
    bool missing;
    int asked;
};

struct fixture {
    struct scratch *scratch;
    struct store *store;
    struct remote *remote;
    struct script_server *server;
    struct content contents[MAX_CONTENTS];
    size_t n_contents;
    int n; /* requests */
    struct error err;
};

static bool serve(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    const char *digest = strrchr(q->target, '/') + 1;
    f->n++;
    for (size_t i = 0; i < f->n_contents; i++) {
        struct content *c = &f->contents[i];
        if (strcmp(c->digest, digest) != 0 || c->missing)
            continue;
        c->asked++;
        /* What the headers claim must decide nothing. */
        return script_reply(
            fd, 200, "Content-Type: text/html\r\nDocker-Content-Digest: sha256:00\r\n", c->served);
    }
    return script_reply(fd, 404, "", "");
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    void *scratch = NULL;
    assert_non_null(f);
    assert_int_equal(scratch_setup(&scratch), 0);
    f->scratch = scratch;
    (void)setenv("REGISTRY_AUTH_FILE", "/nonexistent/auth.json", 1);
    assert_int_equal(store_open(f->scratch->path, &f->store, &f->err), OK);
    f->server = script_server_start(serve, f);
    struct remote_options options = {.host = script_server_host(f->server), .plain_http = true};
    assert_int_equal(remote_open(&options, &f->remote, &f->err), OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    void *scratch = f->scratch;
    remote_close(f->remote);
    script_server_stop(f->server);
    store_close(f->store);
    free(f);
    return scratch_teardown(&scratch);
}

/* The registry gets it; the descriptor is true. */
static struct descriptor add(struct fixture *f, const char *media_type, const char *text)
{
    struct content *c = &f->contents[f->n_contents++];
    struct descriptor d = {.size = (int64_t)strlen(text)};
    assert_true(f->n_contents <= MAX_CONTENTS && strlen(text) < sizeof c->served);
    (void)snprintf(d.media_type, sizeof d.media_type, "%s", media_type);
    assert_int_equal(digest_of(DIGEST_SHA256, text, strlen(text), &d.digest, NULL), OK);
    digest_format(&d.digest, c->digest);
    strcpy(c->served, text);
    return d;
}

static struct content *content_of(struct fixture *f, const struct descriptor *d)
{
    char text[DIGEST_TEXT_MAX];
    digest_format(&d->digest, text);
    for (size_t i = 0; i < f->n_contents; i++)
        if (strcmp(f->contents[i].digest, text) == 0)
            return &f->contents[i];
    fail_msg("the test never added %s", text);
    return NULL;
}

/* {mediaType, digest, size EXTRA} in one of four buffers. */
static const char *describe(const struct descriptor *d, const char *extra)
{
    static char buffers[4][512];
    static unsigned next;
    char text[DIGEST_TEXT_MAX];
    char *out = buffers[next++ % 4];
    (void)snprintf(out, sizeof buffers[0],
                   "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%lld%s}", d->media_type,
                   digest_format(&d->digest, text), (long long)d->size, extra);
    return out;
}

struct image {
    struct descriptor config, layer, manifest;
};

/* One layer; what the config says about itself is the caller's. */
static struct image add_image(struct fixture *f, const char *layer, const char *platform,
                              const char *diff_ids)
{
    struct image im;
    char text[2048];
    im.layer = add(f, MEDIA_OCI_LAYER, layer);
    (void)snprintf(text, sizeof text, "{%s,\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}",
                   platform, diff_ids);
    im.config = add(f, MEDIA_OCI_CONFIG, text);
    (void)snprintf(text, sizeof text,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                   "\",\"config\":%s,\"layers\":[%s]}",
                   describe(&im.config, ""), describe(&im.layer, ""));
    im.manifest = add(f, MEDIA_OCI_MANIFEST, text);
    return im;
}

#define HERE   "\"os\":\"linux\",\"architecture\":\"" ARCH "\""
#define THERE  "\"os\":\"linux\",\"architecture\":\"" OTHER "\""
#define DIFF_A "\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""

static struct image simple_image(struct fixture *f)
{
    return add_image(f, "the layer", HERE, DIFF_A);
}

static struct descriptor add_index(struct fixture *f, const char *entries)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\",\"manifests\":[%s]}",
                   entries);
    return add(f, MEDIA_OCI_INDEX, text);
}

static int pull(struct fixture *f, const struct descriptor *root, struct transfer_count *count,
                struct descriptor *image)
{
    f->err = (struct error)ERROR_INIT;
    const struct transfer_options options = {.store = f->store};
    return pull_image(f->remote, REPO, root, &options, count, image, &f->err);
}

static void expect_refused(struct fixture *f, const struct descriptor *root, int code,
                           const char *says)
{
    struct transfer_count count = {.bytes = 7};
    struct descriptor image = {.size = 7};
    int rc = pull(f, root, &count, &image);
    if (rc != code || !strstr(f->err.message, says))
        fail_msg("got %s (%s), want %s with '%s'", error_name(rc), f->err.message, error_name(code),
                 says);
    assert_int_equal(count.bytes, 7);
    assert_int_equal(image.size, 7);
}

static void an_image_comes_whole(void **state)
{
    struct fixture *f = *state;
    struct image im = simple_image(f);
    struct transfer_count count = {0};
    struct descriptor image;
    if (pull(f, &im.manifest, &count, &image))
        fail_msg("%s", f->err.message);
    assert_true(store_blob_exists(f->store, &im.manifest.digest));
    assert_true(store_blob_exists(f->store, &im.config.digest));
    assert_true(store_blob_exists(f->store, &im.layer.digest));
    assert_true(digest_equal(&image.digest, &im.manifest.digest));
    assert_int_equal(count.blobs, 3);
    assert_int_equal(count.present, 0);
    assert_int_equal(count.bytes, im.manifest.size + im.config.size + im.layer.size);
    assert_int_equal(f->n, 3);
    /* What is there is not fetched again. */
    assert_int_equal(pull(f, &im.manifest, &count, &image), OK);
    assert_int_equal(f->n, 3);
    assert_int_equal(count.present, 3);
    assert_int_equal(count.bytes, 0);
}

static void changed_bytes_are_refused(void **state)
{
    struct fixture *f = *state;
    struct image im = simple_image(f);
    const struct descriptor *const parts[] = {&im.manifest, &im.config, &im.layer};
    for (size_t i = 0; i < 3; i++) {
        struct content *c = content_of(f, parts[i]);
        c->served[5] ^= 1;
        expect_refused(f, &im.manifest, E_DIGEST, "");
        assert_false(store_blob_exists(f->store, &parts[i]->digest));
        c->served[5] ^= 1;
        char *last = c->served + strlen(c->served) - 1;
        char kept = *last;
        *last = '\0';
        expect_refused(f, &im.manifest, E_DIGEST, "");
        assert_false(store_blob_exists(f->store, &parts[i]->digest));
        *last = kept;
        c->missing = true;
        expect_refused(f, &im.manifest, E_NOTFOUND, "404");
        c->missing = false;
    }
    struct descriptor image;
    assert_int_equal(pull(f, &im.manifest, NULL, &image), OK);
}

static void the_roots_size_must_hold_too(void **state)
{
    struct fixture *f = *state;
    struct image im = simple_image(f);
    struct descriptor root = im.manifest;
    root.size++;
    expect_refused(f, &root, E_DIGEST, "");
    assert_false(store_blob_exists(f->store, &root.digest));
    root.size = (4 << 20) + 1;
    f->n = 0;
    expect_refused(f, &root, E_LIMIT, "larger");
    root.size = -1;
    expect_refused(f, &root, E_INVALID, "");
    assert_int_equal(f->n, 0);
    /* Also where the bytes are in the store already. */
    struct descriptor image;
    assert_int_equal(pull(f, &im.manifest, NULL, &image), OK);
    root.size = im.manifest.size + 1;
    expect_refused(f, &root, E_DIGEST, "");
}

static void the_type_of_the_body_counts(void **state)
{
    struct fixture *f = *state;
    struct image im = simple_image(f);
    struct descriptor root = im.manifest;
    strcpy(root.media_type, MEDIA_OCI_INDEX);
    expect_refused(f, &root, E_INVALID, "");
    struct descriptor both =
        add(f, "", "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[],\"config\":{}}");
    expect_refused(f, &both, E_INVALID, "");
}

static void layers_and_diff_ids_must_pair(void **state)
{
    struct fixture *f = *state;
    struct image none = add_image(f, "layer 1", HERE, "");
    expect_refused(f, &none.manifest, E_INVALID, "0 diff ids for 1 layers");
    assert_int_equal(content_of(f, &none.layer)->asked, 0);
    struct image two = add_image(f, "layer 2", HERE, DIFF_A "," DIFF_A);
    expect_refused(f, &two.manifest, E_INVALID, "2 diff ids for 1 layers");
}

static void an_index_gives_this_platform(void **state)
{
    struct fixture *f = *state;
    char entries[2048];
    struct image here = add_image(f, "layer here", HERE, DIFF_A);
    struct image there = add_image(f, "layer there", THERE, DIFF_A);
    struct image second = add_image(f, "layer second", HERE ",\"x\":1", DIFF_A);
    const char *unknown = ",\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}";
    (void)snprintf(entries, sizeof entries, "%s,%s,", describe(&there.manifest, unknown),
                   describe(&there.manifest, ""));
    size_t used = strlen(entries);
    (void)snprintf(entries + used, sizeof entries - used, "%s,%s,%s",
                   describe(&there.manifest, ",\"platform\":{" THERE "}"),
                   describe(&here.manifest, ",\"platform\":{" HERE "}"),
                   describe(&second.manifest, ",\"platform\":{" HERE "}"));
    struct descriptor root = add_index(f, entries), image;
    if (pull(f, &root, NULL, &image))
        fail_msg("%s", f->err.message);
    assert_true(digest_equal(&image.digest, &here.manifest.digest));
    assert_string_equal(image.media_type, MEDIA_OCI_MANIFEST);
    assert_int_equal(content_of(f, &there.manifest)->asked, 0);
    assert_int_equal(content_of(f, &second.manifest)->asked, 0);
}

static void a_substituted_platform_is_refused(void **state)
{
    struct fixture *f = *state;
    struct image there = add_image(f, "layer", THERE, DIFF_A);
    struct descriptor root = add_index(f, describe(&there.manifest, ",\"platform\":{" HERE "}"));
    expect_refused(f, &root, E_INVALID, "config linux/" OTHER);
    assert_int_equal(content_of(f, &there.layer)->asked, 0);
}

static void indexes_without_a_match_are_refused(void **state)
{
    struct fixture *f = *state;
    struct image there = add_image(f, "layer", THERE, DIFF_A);
    struct descriptor root = add_index(f, describe(&there.manifest, ",\"platform\":{" THERE "}"));
    expect_refused(f, &root, E_NOTFOUND, "");
    struct descriptor nested = add_index(f, describe(&root, ",\"platform\":{" HERE "}"));
    expect_refused(f, &nested, E_UNSUPPORTED, "itself an index");
    struct descriptor empty = add_index(f, "");
    expect_refused(f, &empty, E_NOTFOUND, "");
}

static void artifacts_are_no_images(void **state)
{
    struct fixture *f = *state;
    char text[1024];
    struct descriptor config = add(f, "application/vnd.cncf.helm.config.v1+json", "{}");
    (void)snprintf(text, sizeof text,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                   "\",\"config\":%s,\"layers\":[]}",
                   describe(&config, ""));
    struct descriptor root = add(f, MEDIA_OCI_MANIFEST, text);
    expect_refused(f, &root, E_UNSUPPORTED, "helm");
    assert_int_equal(content_of(f, &config)->asked, 0);
}

static bool never(void *ctx, int fd, const struct script_request *q)
{
    (void)ctx;
    (void)q;
    return script_reply(fd, 200, "", "the layer");
}

/* A manifest whose only layer carries `extra` beside digest and size. */
static struct descriptor with_extra(struct fixture *f, const struct image *im, const char *extra)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                   "\",\"config\":%s,\"layers\":[%s]}",
                   describe(&im->config, ""), describe(&im->layer, extra));
    return add(f, MEDIA_OCI_MANIFEST, text);
}

/* `urls` lead anywhere: they are never asked. */
static void urls_of_layers_are_not_asked(void **state)
{
    struct fixture *f = *state;
    char extra[256];
    struct script_server *other = script_server_start(never, NULL);
    struct image im = simple_image(f);
    (void)snprintf(extra, sizeof extra, ",\"urls\":[\"http://%s/x\"]", script_server_host(other));
    struct descriptor root = with_extra(f, &im, extra), image;
    content_of(f, &im.layer)->missing = true;
    int missing = pull(f, &root, NULL, &image);
    content_of(f, &im.layer)->missing = false;
    int present = pull(f, &root, NULL, &image);
    int connections = script_server_connections(other);
    script_server_stop(other);
    assert_int_equal(missing, E_NOTFOUND);
    assert_int_equal(present, OK);
    assert_int_equal(connections, 0);
}

/* Embedded data must be what the digest says; it never stands in for the layer either. */
static void embedded_data_must_agree(void **state)
{
    struct fixture *f = *state;
    struct image im = simple_image(f);
    struct descriptor bad = with_extra(f, &im, ",\"data\":\"AAAA\"");
    expect_refused(f, &bad, E_DIGEST, "data");
    assert_int_equal(content_of(f, &im.layer)->asked, 0);
    /* base64 of "the layer" */
    struct descriptor good = with_extra(f, &im, ",\"data\":\"dGhlIGxheWVy\""), image;
    assert_int_equal(pull(f, &good, NULL, &image), OK);
    assert_int_equal(content_of(f, &im.layer)->asked, 1);
}

static void sizes_that_are_none_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const sizes[] = {"-1", "9223372036854775808", "1.5", "\"9\"", "null"};
    struct image im = simple_image(f);
    char text[2048], digest[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                       "\",\"config\":%s,\"layers\":[{\"mediaType\":\"" MEDIA_OCI_LAYER
                       "\",\"digest\":\"%s\",\"size\":%s}]}",
                       describe(&im.config, ""), digest_format(&im.layer.digest, digest), sizes[i]);
        struct descriptor root = add(f, MEDIA_OCI_MANIFEST, text);
        expect_refused(f, &root, E_INVALID, "");
    }
    assert_int_equal(content_of(f, &im.layer)->asked, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(an_image_comes_whole),
        CASE(changed_bytes_are_refused),
        CASE(the_roots_size_must_hold_too),
        CASE(the_type_of_the_body_counts),
        CASE(layers_and_diff_ids_must_pair),
        CASE(an_index_gives_this_platform),
        CASE(a_substituted_platform_is_refused),
        CASE(indexes_without_a_match_are_refused),
        CASE(artifacts_are_no_images),
        CASE(urls_of_layers_are_not_asked),
        CASE(embedded_data_must_agree),
        CASE(sizes_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Whole images to a registry that keeps what it gets and writes down the order. */
#include "base/file.h"
#include "client/remote.h"
#include "oci/store.h"
#include "tests/support/scratch.h"
#include "tests/support/script_server.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define REPO    "acme/app"
#define UPLOADS "/v2/" REPO "/blobs/uploads/"

struct fixture {
    struct scratch *scratch;
    struct store *store;
    struct remote *remote;
    struct script_server *server;
    pthread_mutex_t lock;
    char present[4096]; /* digests the registry has, one behind the other */
    char order[8192];   /* "PUT blob sha256:…\n", "PUT manifest v1 TYPE\n" */
    int posts;
    unsigned parallel;   /* 0: the usual number */
    const char *fail_at; /* a PUT whose target holds this is answered with 500 */
    struct error err;
};

static void add_line(struct fixture *f, const char *what, const char *name, const char *more)
{
    size_t used = strlen(f->order);
    (void)snprintf(f->order + used, sizeof f->order - used, "%s %s%s\n", what, name, more);
}

static bool put_blob(struct fixture *f, int fd, const struct script_request *q)
{
    struct digest d;
    char text[DIGEST_TEXT_MAX];
    const char *named = strstr(q->target, "digest=sha256%3A");
    if (!q->body_complete || !named ||
        digest_of(DIGEST_SHA256, bytes_text(&q->body), q->body.len, &d, NULL))
        return false;
    digest_format(&d, text);
    if (strcmp(text + 7, named + 16) != 0)
        return script_reply(fd, 400, "", "");
    strcat(f->present, text);
    add_line(f, "blob", text, "");
    return script_reply(fd, 201, "", "");
}

static bool keep_one(struct fixture *f, int fd, const struct script_request *q)
{
    const char *last = strrchr(q->target, '/') + 1;
    char type[MEDIA_TYPE_MAX + 1], more[MEDIA_TYPE_MAX + 2];
    if (f->fail_at && strcmp(q->method, "PUT") == 0 && strstr(q->target, f->fail_at))
        return script_reply(fd, 500, "", "");
    if (strcmp(q->method, "HEAD") == 0)
        return script_reply(fd, strstr(f->present, last) ? 200 : 404, "", "");
    if (strcmp(q->method, "POST") == 0 && ++f->posts)
        return script_reply(fd, 202, "Location: " UPLOADS "1\r\n", "");
    if (script_is(q, "PUT", UPLOADS))
        return put_blob(f, fd, q);
    if (!script_is(q, "PUT", "/v2/" REPO "/manifests/"))
        return script_reply(fd, 204, "", "");
    (void)snprintf(more, sizeof more, " %s", script_header(q, "Content-Type", type, sizeof type));
    add_line(f, "manifest", last, more);
    return script_reply(fd, 201, "", "");
}

/* Connections have threads of their own. */
static bool keep_all(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    (void)pthread_mutex_lock(&f->lock);
    bool more = keep_one(f, fd, q);
    (void)pthread_mutex_unlock(&f->lock);
    return more;
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
    (void)pthread_mutex_init(&f->lock, NULL);
    f->server = script_server_start(keep_all, f);
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

static struct descriptor put(struct fixture *f, const char *media_type, const char *text)
{
    struct descriptor d = {.size = (int64_t)strlen(text)};
    (void)snprintf(d.media_type, sizeof d.media_type, "%s", media_type);
    assert_int_equal(store_blob_put(f->store, text, strlen(text), &d.digest, &f->err), OK);
    return d;
}

static const char *describe(const struct descriptor *d)
{
    static char buffers[4][512];
    static unsigned next;
    char text[DIGEST_TEXT_MAX];
    char *out = buffers[next++ % 4];
    (void)snprintf(out, sizeof buffers[0], "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%lld}",
                   d->media_type, digest_format(&d->digest, text), (long long)d->size);
    return out;
}

struct image {
    struct descriptor config, layer, manifest;
};

/* The same layer twice: it must travel once. */
static struct image make_image(struct fixture *f, const char *config)
{
    struct image im;
    char text[2048];
    im.config = put(f, MEDIA_OCI_CONFIG, config);
    im.layer = put(f, MEDIA_OCI_LAYER, "the layer");
    (void)snprintf(text, sizeof text,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                   "\",\"config\":%s,\"layers\":[%s,%s]}",
                   describe(&im.config), describe(&im.layer), describe(&im.layer));
    im.manifest = put(f, MEDIA_OCI_MANIFEST, text);
    return im;
}

static int push(struct fixture *f, const struct descriptor *root, const char *tag,
                struct transfer_count *count)
{
    CLEANUP(image_source_cleanup) struct image_source *src = NULL;
    assert_int_equal(store_name_set(f->store, "app:v1", root, &f->err), OK);
    assert_int_equal(image_source_open(f->store, "store:app:v1", &src, &f->err), OK);
    const struct transfer_options options = {.store = f->store, .parallel = f->parallel};
    return push_image(f->remote, src, REPO, tag, &options, count, &f->err);
}

/* A line of the order: "blob sha256:…" or "manifest sha256:… TYPE". */
static void append_line(char *out, size_t size, const char *what, const struct descriptor *d)
{
    char text[DIGEST_TEXT_MAX];
    size_t used = strlen(out);
    bool manifest = strcmp(what, "manifest") == 0;
    (void)snprintf(out + used, size - used, "%s %s%s%s\n", what, digest_format(&d->digest, text),
                   manifest ? " " : "", manifest ? d->media_type : "");
}

static void what_is_named_comes_first(void **state)
{
    struct fixture *f = *state;
    struct image im = make_image(f, "{}");
    struct transfer_count count = {0};
    char want[4096] = "";
    f->parallel = 1; /* for an order that can be told */
    if (push(f, &im.manifest, "v1", &count))
        fail_msg("%s", f->err.message);
    append_line(want, sizeof want, "blob", &im.config);
    append_line(want, sizeof want, "blob", &im.layer);
    append_line(want, sizeof want, "manifest", &im.manifest);
    strcat(want, "manifest v1 " MEDIA_OCI_MANIFEST "\n");
    assert_string_equal(f->order, want);
    assert_int_equal(count.blobs, 2);
    assert_int_equal(count.present, 0);
    /* The second time only the manifest travels. */
    f->order[0] = '\0';
    assert_int_equal(push(f, &im.manifest, "v2", &count), OK);
    assert_int_equal(f->posts, 2);
    assert_int_equal(count.blobs, 0);
    assert_int_equal(count.present, 2);
    assert_int_equal(count.bytes, im.manifest.size);
}

static void children_come_before_their_index(void **state)
{
    struct fixture *f = *state;
    char text[2048], want[4096] = "";
    struct image a = make_image(f, "{\"architecture\":\"amd64\"}");
    struct image b = make_image(f, "{\"architecture\":\"arm64\"}");
    (void)snprintf(text, sizeof text,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX
                   "\",\"manifests\":[%s,%s]}",
                   describe(&a.manifest), describe(&b.manifest));
    struct descriptor root = put(f, MEDIA_OCI_INDEX, text);
    f->parallel = 1; /* for an order that can be told */
    if (push(f, &root, "v1", NULL))
        fail_msg("%s", f->err.message);
    append_line(want, sizeof want, "blob", &a.config);
    append_line(want, sizeof want, "blob", &a.layer);
    append_line(want, sizeof want, "blob", &b.config);
    append_line(want, sizeof want, "manifest", &a.manifest);
    append_line(want, sizeof want, "manifest", &b.manifest);
    append_line(want, sizeof want, "manifest", &root);
    strcat(want, "manifest v1 " MEDIA_OCI_INDEX "\n");
    assert_string_equal(f->order, want);
}

static void a_push_that_breaks_sets_no_tag(void **state)
{
    struct fixture *f = *state;
    struct image im = make_image(f, "{}");
    char hex[DIGEST_TEXT_MAX];
    const char *const places[] = {digest_hex(&im.layer.digest, hex), "manifests/sha256", "v1"};
    for (size_t i = 0; i < 3; i++) {
        struct transfer_count count = {.bytes = 7};
        f->order[0] = '\0';
        f->fail_at = places[i];
        assert_int_equal(push(f, &im.manifest, "v1", &count), E_NETWORK);
        assert_null(strstr(f->order, "manifest v1"));
        assert_int_equal(count.bytes, 7);
    }
    f->fail_at = NULL;
    assert_int_equal(push(f, &im.manifest, "v1", NULL), OK);
    assert_non_null(strstr(f->order, "manifest v1"));
}

/* Changes one byte of a blob in the local store behind its back. */
static void corrupt(const struct fixture *f, const struct digest *d)
{
    char path[256], hex[DIGEST_TEXT_MAX];
    (void)snprintf(path, sizeof path, "images/blobs/sha256/%s", digest_hex(d, hex));
    assert_int_equal(fchmodat(f->scratch->fd, path, 0600, 0), 0);
    CLEANUP(cleanup_fd) int fd = openat(f->scratch->fd, path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "X", 1, 4), 1);
}

static void a_damaged_store_is_not_published(void **state)
{
    struct fixture *f = *state;
    struct image im = make_image(f, "{}      ");
    corrupt(f, &im.layer.digest);
    assert_int_equal(push(f, &im.manifest, "v1", NULL), E_DIGEST);
    assert_null(strstr(f->order, "manifest"));
    f->order[0] = '\0';
    struct image other = make_image(f, "{\"a\":1}");
    corrupt(f, &other.manifest.digest);
    assert_int_equal(push(f, &other.manifest, "v1", NULL), E_DIGEST);
    assert_string_equal(f->order, "");
}

static void missing_parts_are_named(void **state)
{
    struct fixture *f = *state;
    struct image im = make_image(f, "{}");
    char path[256], hex[DIGEST_TEXT_MAX];
    digest_hex(&im.layer.digest, hex);
    (void)snprintf(path, sizeof path, "images/blobs/sha256/%s", hex);
    assert_int_equal(unlinkat(f->scratch->fd, path, 0), 0);
    assert_int_equal(push(f, &im.manifest, "v1", NULL), E_NOTFOUND);
    assert_non_null(strstr(f->err.message, hex));
    assert_null(strstr(f->order, "manifest"));
}

/* A foreign layer may be missing here; the manifest goes all the same. */
static void foreign_layers_may_be_missing(void **state)
{
    struct fixture *f = *state;
    char text[2048];
    struct descriptor config = put(f, MEDIA_OCI_CONFIG, "{}");
    (void)snprintf(text, sizeof text,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                   "\",\"config\":%s,\"layers\":[{\"mediaType\":"
                   "\"application/vnd.oci.image.layer.nondistributable.v1.tar\",\"digest\":"
                   "\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
                   "\"size\":3}]}",
                   describe(&config));
    struct descriptor root = put(f, MEDIA_OCI_MANIFEST, text);
    if (push(f, &root, "v1", NULL))
        fail_msg("%s", f->err.message);
    assert_non_null(strstr(f->order, "manifest v1"));
}

static void deep_indexes_are_refused(void **state)
{
    struct fixture *f = *state;
    struct image im = make_image(f, "{}");
    struct descriptor d = im.manifest;
    for (int i = 0; i < 5; i++) {
        char text[1024];
        (void)snprintf(text, sizeof text,
                       "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX
                       "\",\"manifests\":[%s]}",
                       describe(&d));
        d = put(f, MEDIA_OCI_INDEX, text);
        assert_int_equal(push(f, &d, "v1", NULL), i < 4 ? OK : E_LIMIT);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_is_named_comes_first),      CASE(children_come_before_their_index),
        CASE(a_push_that_breaks_sets_no_tag), CASE(a_damaged_store_is_not_published),
        CASE(missing_parts_are_named),        CASE(foreign_layers_may_be_missing),
        CASE(deep_indexes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

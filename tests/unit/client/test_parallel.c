/* Whole images over several connections: how many at once, what the first failure does, and what a
 * second pull, later or at the same time, finds. */
#include "client/crew.h"
#include "tests/unit/client/peer_fixture.h"

#define N_LAYERS 8
#define SIZE     (1u << 20)
#if defined(__x86_64__)
#define ARCH "amd64"
#else
#define ARCH "arm64"
#endif

struct image {
    struct fixture *f;
    uint8_t *layers[N_LAYERS];
    struct descriptor d[N_LAYERS], config_d, root;
    char config[2048], manifest[8192];
    /* what the registry does and sees; under f->lock */
    int now, most;       /* layer requests under way */
    int asked[N_LAYERS]; /* whole or in part */
    int ranges;          /* requests with Range */
    int refuse;          /* this layer is answered with 403; -1: none */
    bool hang;           /* the other layers stop in the middle */
    int cut;             /* this layer's first answer ends in the middle; -1: none */
    size_t at_least;     /* so many layer requests must meet before one is answered */
    int64_t slow_ms;
};

static void make_layer(struct image *im, size_t i)
{
    im->layers[i] = malloc(SIZE);
    assert_non_null(im->layers[i]);
    for (size_t k = 0; k < SIZE; k++)
        im->layers[i][k] = (uint8_t)(k * 7 + k / 512 + i);
    im->d[i] = descriptor_of(im->layers[i], SIZE);
}

static void make_image(struct image *im)
{
    char text[DIGEST_TEXT_MAX];
    size_t m = 0, c = 0;
    for (size_t i = 0; i < N_LAYERS; i++)
        make_layer(im, i);
    c += (size_t)snprintf(im->config, sizeof im->config,
                          "{\"os\":\"linux\",\"architecture\":\"" ARCH
                          "\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
    for (size_t i = 0; i < N_LAYERS; i++)
        c += (size_t)snprintf(im->config + c, sizeof im->config - c, "%s\"%s\"", i ? "," : "",
                              digest_format(&im->d[i].digest, text));
    (void)snprintf(im->config + c, sizeof im->config - c, "]}}");
    im->config_d = descriptor_of(im->config, strlen(im->config));
    m += (size_t)snprintf(im->manifest, sizeof im->manifest,
                          "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                          "\",\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG
                          "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
                          digest_format(&im->config_d.digest, text), strlen(im->config));
    for (size_t i = 0; i < N_LAYERS; i++)
        m += (size_t)snprintf(im->manifest + m, sizeof im->manifest - m,
                              "%s{\"mediaType\":\"" MEDIA_OCI_LAYER
                              "\",\"digest\":\"%s\",\"size\":%u}",
                              i ? "," : "", digest_format(&im->d[i].digest, text), SIZE);
    (void)snprintf(im->manifest + m, sizeof im->manifest - m, "]}");
    im->root = descriptor_of(im->manifest, strlen(im->manifest));
    (void)snprintf(im->root.media_type, sizeof im->root.media_type, MEDIA_OCI_MANIFEST);
}

static int layer_of(const struct image *im, const char *target)
{
    char hex[DIGEST_TEXT_MAX];
    for (int i = 0; i < N_LAYERS; i++)
        if (strstr(target, digest_hex(&im->d[i].digest, hex)))
            return i;
    return -1;
}

static bool send_layer(struct image *im, int fd, const struct script_request *q, int i)
{
    char range[64];
    unsigned long long from = 0;
    struct fixture *f = im->f;
    (void)pthread_mutex_lock(&f->lock);
    bool cut = im->cut == i && im->asked[i] == 0;
    im->asked[i]++;
    if (sscanf(script_header(q, "Range", range, sizeof range), "bytes=%llu-", &from) == 1)
        im->ranges++;
    (void)pthread_mutex_unlock(&f->lock);
    size_t end = im->hang || cut ? SIZE / 2 : SIZE;
    bool good = script_printf(fd,
                              "HTTP/1.1 %s\r\nContent-Range: bytes %llu-%u/%u\r\n"
                              "Content-Length: %llu\r\n\r\n",
                              from ? "206 P" : "200 OK", from, SIZE - 1, SIZE, SIZE - from) &&
                script_send(fd, im->layers[i] + from, end > from ? end - from : 0);
    char byte;
    while (good && im->hang && recv(fd, &byte, 1, 0) > 0) /* until the client gives up */
        ;
    return good && end == SIZE;
}

static bool serve_layer(struct image *im, int fd, const struct script_request *q, int i)
{
    struct fixture *f = im->f;
    (void)pthread_mutex_lock(&f->lock);
    im->most = ++im->now > im->most ? im->now : im->most;
    (void)pthread_mutex_unlock(&f->lock);
    for (int tries = 0; tries < 500; tries++) { /* those who do not come end as a failed count */
        (void)pthread_mutex_lock(&f->lock);
        bool enough = (size_t)im->most >= im->at_least;
        (void)pthread_mutex_unlock(&f->lock);
        if (enough)
            break;
        (void)usleep(10000);
    }
    if (im->slow_ms)
        (void)usleep((useconds_t)im->slow_ms * 1000);
    if (im->refuse == i)
        (void)usleep(300 * 1000); /* the others are in the middle by now */
    bool more = im->refuse == i ? script_reply(fd, 403, "", "") : send_layer(im, fd, q, i);
    (void)pthread_mutex_lock(&f->lock);
    im->now--;
    (void)pthread_mutex_unlock(&f->lock);
    return more;
}

static bool serve(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    struct image *im = f->more;
    char hex[DIGEST_TEXT_MAX];
    int i = layer_of(im, q->target);
    (void)pthread_mutex_lock(&f->lock);
    f->n++;
    (void)pthread_mutex_unlock(&f->lock);
    if (i >= 0)
        return serve_layer(im, fd, q, i);
    if (strstr(q->target, digest_hex(&im->config_d.digest, hex)))
        return script_reply(fd, 200, "", im->config);
    if (strstr(q->target, digest_hex(&im->root.digest, hex)))
        return script_reply(fd, 200, "", im->manifest);
    return script_reply(fd, 404, "", "");
}

static struct image *begin(struct fixture *f)
{
    struct image *im = calloc(1, sizeof *im);
    assert_non_null(im);
    im->f = f;
    im->refuse = im->cut = -1;
    f->more = im;
    make_image(im);
    start(f, serve, NULL, NULL);
    f->remote->retry =
        (struct retry_policy){.tries = 3, .first_ms = 2, .max_ms = 10, .max_asked_s = 2};
    return im;
}

static void end(struct fixture *f)
{
    struct image *im = f->more;
    script_server_stop(f->server);
    f->server = NULL;
    for (size_t i = 0; i < N_LAYERS; i++)
        free(im->layers[i]);
    free(im);
}

static int pull(struct fixture *f, unsigned parallel, struct transfer_count *count)
{
    struct image *im = f->more;
    struct descriptor image;
    const struct transfer_options options = {.store = f->store, .parallel = parallel};
    f->err = (struct error)ERROR_INIT;
    return pull_image(f->remote, REPO, &im->root, &options, count, &image, &f->err);
}

static void blobs_travel_together(void **state)
{
    struct fixture *f = *state;
    struct image *im = begin(f);
    struct transfer_count count = {0};
    im->at_least = 3;
    if (pull(f, 3, &count))
        fail_msg("%s", f->err.message);
    assert_int_equal(im->most, 3);
    assert_int_equal(count.blobs, N_LAYERS + 2);
    assert_int_equal(count.bytes,
                     (uint64_t)N_LAYERS * SIZE + strlen(im->config) + strlen(im->manifest));
    for (size_t i = 0; i < N_LAYERS; i++)
        assert_true(store_blob_exists(f->store, &im->d[i].digest));
    assert_int_equal(script_server_connections(f->server), 3);
    /* What is there is not asked for again. */
    int before = f->n;
    assert_int_equal(pull(f, 3, &count), OK);
    assert_int_equal(f->n, before);
    assert_int_equal(count.blobs, 0);
    assert_int_equal(count.present, N_LAYERS + 2);
    end(f);
}

static void one_at_a_time_where_told(void **state)
{
    struct fixture *f = *state;
    struct image *im = begin(f);
    assert_int_equal(pull(f, 1, NULL), OK);
    assert_int_equal(im->most, 1);
    assert_int_equal(script_server_connections(f->server), 1);
    end(f);
}

/* The others hang in the middle of their bodies and would for 20 s. */
static void the_first_failure_ends_all(void **state)
{
    struct fixture *f = *state;
    struct image *im = begin(f);
    im->refuse = 2;
    im->hang = true;
    im->at_least = 4;
    int64_t before = clock_monotonic_ms();
    assert_int_equal(pull(f, 4, NULL), E_DENIED);
    assert_in_range(clock_monotonic_ms() - before, 0, 10000);
    expect_says(f, "layer 3");
    int asked = 0;
    for (int i = 0; i < N_LAYERS; i++)
        asked += im->asked[i];
    assert_in_range(asked, 1, 3);
    /* What came is not lost. */
    im->refuse = -1;
    im->hang = false;
    im->at_least = 0;
    assert_int_equal(pull(f, 4, NULL), OK);
    assert_in_range(im->ranges, 1, asked); /* some may have had nothing yet */
    end(f);
}

static void a_kept_part_that_rotted_is_fetched_anew(void **state)
{
    struct fixture *f = *state;
    struct image *im = begin(f);
    char name[256], hex[DIGEST_TEXT_MAX];
    im->cut = 5;
    f->remote->retry.tries = 1;
    assert_int_equal(pull(f, 1, NULL), E_NETWORK);
    (void)snprintf(name, sizeof name, "images/tmp/part-sha256-%s",
                   digest_hex(&im->d[5].digest, hex));
    CLEANUP(cleanup_fd) int fd = openat(f->scratch->fd, name, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "rotten", 6, 1000), 6);
    assert_int_equal(pull(f, 1, NULL), OK);
    assert_int_equal(im->asked[5], 3); /* cut, the rest, all of it */
    assert_true(store_blob_exists(f->store, &im->d[5].digest));
    assert_int_equal(faccessat(f->scratch->fd, name, F_OK, 0), -1);
    end(f);
}

/* Parts of strange shapes: longer than the blob, empty, whole. */
static void odd_parts_do_no_harm(void **state)
{
    struct fixture *f = *state;
    struct image *im = begin(f);
    char name[256], hex[DIGEST_TEXT_MAX];
    static const size_t lengths[] = {SIZE + 1, 0, SIZE};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof name, "images/tmp/part-sha256-%s",
                       digest_hex(&im->d[i].digest, hex));
        CLEANUP(cleanup_free) uint8_t *data = calloc(1, SIZE + 1);
        assert_non_null(data);
        memcpy(data, im->layers[i], SIZE);
        scratch_write(f->scratch, name, data, lengths[i]);
    }
    assert_int_equal(pull(f, 2, NULL), OK);
    assert_int_equal(im->asked[0], 1);
    assert_int_equal(im->asked[1], 1);
    assert_int_equal(im->asked[2], 0); /* it was all there: its hash says so */
    assert_int_equal(im->ranges, 0);
    end(f);
}

/* A registry that sends wrong bytes leaves no part that would spoil the next try, too. */
static void wrong_bytes_are_not_kept(void **state)
{
    struct fixture *f = *state;
    struct image *im = begin(f);
    im->layers[3][SIZE - 1] ^= 1;
    assert_int_equal(pull(f, 2, NULL), E_DIGEST);
    expect_says(f, "layer 4");
    assert_int_equal(im->asked[3], 1);
    assert_int_equal(store_part_size(f->store, &im->d[3].digest), 0);
    im->layers[3][SIZE - 1] ^= 1;
    assert_int_equal(pull(f, 2, NULL), OK);
    end(f);
}

/* --- two at once --- */

struct second {
    struct fixture *f;
    int rc;
    struct error err;
    struct transfer_count count;
};

static void *pull_too(void *argument)
{
    struct second *s = argument;
    struct image *im = s->f->more;
    struct remote_options options = {.host = script_server_host(s->f->server), .plain_http = true};
    CLEANUP(remote_cleanup) struct remote *r = NULL;
    CLEANUP(store_cleanup) struct store *store = NULL;
    struct descriptor image;
    s->rc = store_open(s->f->scratch->path, &store, &s->err);
    if (!s->rc)
        s->rc = remote_open(&options, &r, &s->err);
    const struct transfer_options transfer = {.store = store};
    if (!s->rc)
        s->rc = pull_image(r, REPO, &im->root, &transfer, &s->count, &image, &s->err);
    return NULL;
}

static void two_pulls_share_the_work(void **state)
{
    struct fixture *f = *state;
    struct image *im = begin(f);
    struct second second = {.f = f, .err = ERROR_INIT};
    struct transfer_count count = {0};
    pthread_t thread;
    im->slow_ms = 100;
    assert_int_equal(pthread_create(&thread, NULL, pull_too, &second), 0);
    int rc = pull(f, 4, &count);
    (void)pthread_join(thread, NULL);
    if (rc || second.rc)
        fail_msg("%s; %s", f->err.message, second.err.message);
    for (int i = 0; i < N_LAYERS; i++)
        assert_int_equal(im->asked[i], 1);
    assert_in_range(count.blobs + second.count.blobs, N_LAYERS + 2, N_LAYERS + 4);
    end(f);
}

/* --- the crew itself --- */

static int count_job(void *ctx, struct remote *r, size_t i, struct error *err)
{
    atomic_int *seen = ctx;
    (void)r;
    (void)atomic_fetch_add(&seen[i], 1);
    return i == 70 ? (fail)(err, E_CONFLICT, "job 70") : OK;
}

static void each_job_is_done_once(void **state)
{
    struct fixture *f = *state;
    static atomic_int seen[71];
    (void)begin(f);
    assert_int_equal(crew_run(f->remote, 5, 70, count_job, seen, &f->err), OK);
    for (int i = 0; i < 70; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(crew_run(f->remote, 500, 71, count_job, seen, &f->err), E_CONFLICT);
    assert_string_equal(f->err.message, "job 70");
    assert_int_equal(crew_run(f->remote, 4, 0, count_job, seen, &f->err), OK);
    end(f);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(blobs_travel_together),      CASE(one_at_a_time_where_told),
        CASE(the_first_failure_ends_all), CASE(a_kept_part_that_rotted_is_fetched_anew),
        CASE(odd_parts_do_no_harm),       CASE(wrong_bytes_are_not_kept),
        CASE(two_pulls_share_the_work),   CASE(each_job_is_done_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

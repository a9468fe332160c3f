/* Transfers that break off: what is tried again, what goes on where it was, and what starts anew.
 */
#include "client/known_blobs.h"
#include "client/upload_memo.h"
#include "oci/reference.h"
#include "tests/unit/client/peer_fixture.h"

#define SIZE      (3u << 20)
#define UPLOADS   "/v2/" REPO "/blobs/uploads/"
#define MAX_TRIES 4

enum ranges { RANGES_WORK, RANGES_IGNORED, RANGES_WRONG, RANGES_416 };

struct registry {
    struct fixture *f;
    uint8_t *blob;
    struct descriptor d;
    enum ranges ranges;
    size_t cut;      /* the body of an answer ends here … */
    int cuts;        /* … so many times */
    char asked[512]; /* Range headers, each with a blank behind it; "-" for none */
    /* uploads */
    struct bytes session; /* what it has */
    int sessions, posts, heads, puts, patches, statuses, cancels;
    bool session_gone, has_blob;
    bool spoil;            /* the session's bytes rot */
    const char *mount;     /* the answer to a mount; NULL: 202 */
    const char *patch_to;  /* Location of the answer to a PATCH */
    char post_query[1024]; /* of the last POST */
    int busy;              /* so many status requests are answered with 409 */
    char notices[4096];
};

static void hear(void *ctx, const char *text)
{
    struct registry *g = ctx;
    size_t used = strlen(g->notices);
    (void)snprintf(g->notices + used, sizeof g->notices - used, "%s\n", text);
}

static struct registry *registry_of(struct fixture *f)
{
    static struct registry g;
    free(g.blob);
    bytes_done(&g.session);
    g = (struct registry){.f = f, .blob = malloc(SIZE)};
    assert_non_null(g.blob);
    for (size_t i = 0; i < SIZE; i++)
        g.blob[i] = (uint8_t)(i * 31 + i / 4096);
    g.d = descriptor_of(g.blob, SIZE);
    return &g;
}

/* --- the registry's side --- */

static bool send_blob(struct registry *g, int fd, const struct script_request *q)
{
    char range[64];
    unsigned long long from = 0;
    script_header(q, "Range", range, sizeof range);
    size_t used = strlen(g->asked);
    (void)snprintf(g->asked + used, sizeof g->asked - used, "%s ", *range ? range : "-");
    if (*range && g->ranges == RANGES_416)
        return script_reply(fd, 416, "", "");
    if (*range && g->ranges != RANGES_IGNORED)
        assert_int_equal(sscanf(range, "bytes=%llu-", &from), 1);
    size_t end = SIZE;
    if (g->cuts > 0 && g->cuts-- > 0)
        end = from + g->cut;
    bool good = from
                    ? script_printf(fd,
                                    "HTTP/1.1 206 P\r\nContent-Range: bytes %llu-%u/%u\r\n"
                                    "Content-Length: %llu\r\n\r\n",
                                    from + (g->ranges == RANGES_WRONG), SIZE - 1, SIZE, SIZE - from)
                    : script_printf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", SIZE);
    return good && script_send(fd, g->blob + from, end - from) && end == SIZE;
}

static bool reply_session(struct registry *g, int fd, int status)
{
    char headers[256];
    (void)snprintf(headers, sizeof headers, "Location: %s%d?s=x\r\nRange: 0-%zu\r\n", UPLOADS,
                   g->sessions, g->session.len ? g->session.len - 1 : 0);
    return script_reply(fd, status, headers, "");
}

static bool begin_session(struct registry *g, int fd, const struct script_request *q)
{
    g->posts++;
    (void)snprintf(g->post_query, sizeof g->post_query, "%s",
                   strchr(q->target, '?') ? strchr(q->target, '?') : "");
    if (g->mount && strstr(q->target, "mount="))
        return script_printf(fd, "%s", g->mount);
    bytes_clear(&g->session);
    g->session_gone = false;
    g->sessions++;
    return reply_session(g, fd, 202);
}

static bool take_bytes(struct registry *g, int fd, const struct script_request *q)
{
    char range[64];
    unsigned long long from = g->session.len;
    if (*script_header(q, "Content-Range", range, sizeof range) &&
        (sscanf(range, "%llu-", &from) != 1 || from != g->session.len))
        return script_reply(fd, 416, "", "");
    assert_int_equal(bytes_append(&g->session, bytes_text(&q->body), q->body.len, NULL), OK);
    if (g->spoil && g->session.len)
        g->session.data[0] ^= 1;
    g->spoil = false;
    if (!q->body_complete)
        return false;
    if (strcmp(q->method, "PATCH") == 0) {
        char headers[256];
        (void)snprintf(headers, sizeof headers, "Location: %s\r\n", g->patch_to);
        return g->patch_to ? script_reply(fd, 202, headers, "") : reply_session(g, fd, 202);
    }
    bool good = g->session.len == SIZE && memcmp(g->session.data, g->blob, SIZE) == 0;
    g->has_blob = g->has_blob || good;
    g->session_gone = true;
    return script_reply(fd, good ? 201 : 400, "", "");
}

static bool serve_uploads(struct registry *g, int fd, const struct script_request *q)
{
    if (strcmp(q->method, "POST") == 0)
        return begin_session(g, fd, q);
    g->puts += strcmp(q->method, "PUT") == 0;
    g->patches += strcmp(q->method, "PATCH") == 0;
    g->statuses += strcmp(q->method, "GET") == 0;
    g->cancels += strcmp(q->method, "DELETE") == 0;
    if (g->session_gone)
        return script_reply(fd, 404, "", "");
    if (strcmp(q->method, "GET") == 0)
        return g->busy-- > 0 ? script_reply(fd, 409, "", "") : reply_session(g, fd, 204);
    if (strcmp(q->method, "DELETE") == 0) {
        g->session_gone = true;
        return script_reply(fd, 204, "", "");
    }
    return take_bytes(g, fd, q);
}

static bool serve(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    struct registry *g = f->more;
    note(f, q);
    if (text_starts(q->target, UPLOADS))
        return serve_uploads(g, fd, q);
    if (strcmp(q->method, "HEAD") == 0) {
        g->heads++;
        return script_reply(fd, g->has_blob ? 200 : 404, "", "");
    }
    return send_blob(g, fd, q);
}

/* --- our side --- */

static void be_patient(struct registry *g)
{
    g->f->remote->retry =
        (struct retry_policy){.tries = MAX_TRIES, .first_ms = 2, .max_ms = 10, .max_asked_s = 2};
    g->f->remote->notice = (struct retry_notice){hear, g};
}

static struct registry *begin(struct fixture *f)
{
    struct registry *g = registry_of(f);
    f->more = g;
    start(f, serve, "anna", "secret");
    be_patient(g);
    return g;
}

/* As another process would: nothing but the files is left of what was. */
static void new_run(struct fixture *f)
{
    struct remote_options options = {.host = script_server_host(f->server),
                                     .user = "anna",
                                     .password = "secret",
                                     .plain_http = true};
    remote_cleanup(&f->remote);
    store_cleanup(&f->store);
    assert_int_equal(store_open(f->scratch->path, &f->store, &f->err), OK);
    assert_int_equal(remote_open(&options, &f->remote, &f->err), OK);
    be_patient(f->more);
}

static int fetch(struct fixture *f, const struct descriptor *d)
{
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
    f->err = (struct error)ERROR_INIT;
    int rc = blob_writer_resume(f->store, &d->digest, &w, &f->err);
    if (!rc)
        rc = remote_blob_fetch(f->remote, REPO, d, w, NULL, &f->err);
    return rc ? rc : blob_writer_commit(w, &d->digest, d->size, &f->err);
}

static int source(const void *data, size_t len)
{
    int fd = memfd_create("blob", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    return fd;
}

static int upload(struct registry *g, const char *from, bool *mounted)
{
    CLEANUP(cleanup_fd) int fd = source(g->blob, SIZE);
    const struct blob_upload_options options = {
        .store = g->f->store, .from = from, .mounted = mounted};
    g->f->err = (struct error)ERROR_INIT;
    return remote_blob_upload(g->f->remote, REPO, &g->d, fd, &options, &g->f->err);
}

static void expect_ok(struct fixture *f, int rc)
{
    if (rc)
        fail_msg("%s: %s", error_name(rc), f->err.message);
}

/* --- downloads --- */

static void a_broken_download_goes_on(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    g->cut = 1u << 20;
    g->cuts = 2;
    expect_ok(f, fetch(f, &g->d));
    assert_string_equal(g->asked, "- bytes=1048576- bytes=2097152- ");
    assert_non_null(strstr(g->notices, "was lost"));
    assert_non_null(strstr(g->notices, "trying again in"));
    assert_true(store_blob_exists(f->store, &g->d.digest));
}

static void the_next_run_goes_on(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    g->cut = 1u << 20;
    g->cuts = 1;
    f->remote->retry.tries = 1;
    assert_int_equal(fetch(f, &g->d), E_NETWORK);
    assert_false(store_blob_exists(f->store, &g->d.digest));
    new_run(f);
    expect_ok(f, fetch(f, &g->d));
    assert_string_equal(g->asked, "- bytes=1048576- ");
    assert_true(store_blob_exists(f->store, &g->d.digest));
    assert_int_equal(store_part_size(f->store, &g->d.digest), 0);
}

static void servers_without_ranges_start_again(void **state)
{
    struct fixture *f = *state;
    static const enum ranges kinds[] = {RANGES_IGNORED, RANGES_416};
    for (size_t i = 0; i < 2; i++) {
        struct registry *g = registry_of(f);
        f->more = g;
        if (!f->server)
            start(f, serve, NULL, NULL);
        be_patient(g);
        g->ranges = kinds[i];
        g->cut = 1u << 20;
        g->cuts = 1;
        expect_ok(f, fetch(f, &g->d));
        assert_string_equal(g->asked, i == 0 ? "- bytes=1048576- " : "- bytes=1048576- - ");
        assert_int_equal(store_blob_discard(f->store, &g->d.digest, &f->err), OK);
    }
}

static void another_range_is_refused(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    g->ranges = RANGES_WRONG;
    g->cut = 1u << 20;
    g->cuts = 1;
    assert_int_equal(fetch(f, &g->d), E_PROTOCOL);
    expect_says(f, "another range");
    assert_false(store_blob_exists(f->store, &g->d.digest));
}

static void tries_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    g->cut = 100;
    g->cuts = 1000;
    assert_int_equal(fetch(f, &g->d), E_NETWORK);
    assert_int_equal(f->n, MAX_TRIES);
    expect_says(f, "lost");
}

/* Whatever a connection brought before it broke counts; drops alone do not go on for ever. */
static void progress_earns_patience(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    g->cut = 5u << 18; /* 1.25 MiB */
    g->cuts = 2;
    f->remote->retry.tries = 2;
    expect_ok(f, fetch(f, &g->d));
    assert_int_equal(f->n, 3);
}

/* --- statuses --- */

static void only_what_may_pass_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    static const struct {
        const char *answer;
        int code, n;
    } cases[] = {
        {"HTTP/1.1 429 T\r\nContent-Length: 0\r\n\r\n", E_NETWORK, MAX_TRIES},
        {"HTTP/1.1 502 B\r\nContent-Length: 0\r\n\r\n", E_NETWORK, MAX_TRIES},
        {"HTTP/1.1 503 S\r\nContent-Length: 0\r\n\r\n", E_NETWORK, MAX_TRIES},
        {"HTTP/1.1 504 G\r\nContent-Length: 0\r\n\r\n", E_NETWORK, MAX_TRIES},
        {"HTTP/1.1 503 S\r\nRetry-After: 7200\r\nContent-Length: 0\r\n\r\n", E_NETWORK, 1},
        {"HTTP/1.1 503 S\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
         E_NETWORK, MAX_TRIES}, /* no number any more */
        {"HTTP/1.1 503 S\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", E_NETWORK, MAX_TRIES},
        {"HTTP/1.1 500 I\r\nContent-Length: 0\r\n\r\n", E_NETWORK, 1},
        {"HTTP/1.1 400 B\r\nContent-Length: 0\r\n\r\n", E_INVALID, 1},
        {"HTTP/1.1 403 F\r\nContent-Length: 0\r\n\r\n", E_DENIED, 1},
        {"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", E_NOTFOUND, 1},
        {"HTTP/1.1 413 L\r\nContent-Length: 0\r\n\r\n", E_LIMIT, 1},
        {"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890", E_DIGEST, 1},
        {"ICY 200 OK\r\nclose\r\n\r\n", E_PROTOCOL, 1},
    };
    struct registry *g = registry_of(f);
    start(f, answer_as_told, NULL, NULL);
    be_patient(g);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
        bool streamed = cases[i].code == E_DIGEST;
        for (int way = streamed ? 1 : 0; way < 2; way++) {
            f->answer = cases[i].answer;
            f->n = 0;
            f->heads[0] = '\0';
            int rc = way ? fetch(f, &d)
                         : remote_manifest_get(f->remote, REPO, "v1", &out, NULL, &f->err);
            if (rc != cases[i].code || f->n != cases[i].n)
                fail_msg("%s way %d: %s after %d (%s)", cases[i].answer, way, error_name(rc), f->n,
                         f->err.message);
        }
    }
}

static void retry_after_is_honoured(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    struct registry *g = registry_of(f);
    start(f, answer_as_told, NULL, NULL);
    be_patient(g);
    f->remote->retry.tries = 2;
    f->answer = "HTTP/1.1 429 T\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    int64_t before = clock_monotonic_ms();
    assert_int_equal(remote_manifest_get(f->remote, REPO, "v1", &out, NULL, &f->err), E_NETWORK);
    assert_in_range(clock_monotonic_ms() - before, 1000, 10000);
    assert_int_equal(f->n, 2);
    assert_non_null(strstr(g->notices, "status 429; trying again in 1.0 s"));
    expect_says(f, "asks to wait 1 s");
}

static void waits_grow_and_are_bounded(void **state)
{
    (void)state;
    const struct retry_policy p = {.tries = 9, .first_ms = 100, .max_ms = 1000, .max_asked_s = 5};
    struct http_response none = HTTP_RESPONSE_INIT;
    static const int64_t most[] = {0, 100, 200, 400, 800, 1000, 1000, 1000, 1000};
    for (unsigned failed = 1; failed < 9; failed++)
        for (int i = 0; i < 50; i++)
            assert_in_range(retry_wait_ms(&p, failed, &none), most[failed] / 2, most[failed]);
    assert_int_equal(retry_wait_ms(&p, 9, &none), -1);
    none.retry_after_s = 5;
    assert_int_equal(retry_wait_ms(&p, 1, &none), 5000);
    none.retry_after_s = 6;
    assert_int_equal(retry_wait_ms(&p, 1, &none), -1);
}

/* A registry that is not there is not waited for. */
static void the_first_contact_must_work(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    struct registry *g = begin(f);
    f->remote->retry.first_ms = f->remote->retry.max_ms = 30000;
    script_server_stop(f->server);
    f->server = NULL;
    int64_t before = clock_monotonic_ms();
    assert_int_equal(remote_manifest_get(f->remote, REPO, "v1", &out, NULL, &f->err), E_NETWORK);
    assert_in_range(clock_monotonic_ms() - before, 0, 10000);
    assert_string_equal(g->notices, "");
}

/* --- uploads --- */

static void a_broken_upload_goes_on(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    script_server_cut_body(f->server, 2u << 20);
    g->busy = 2; /* it has not noticed the break yet */
    expect_ok(f, upload(g, NULL, NULL));
    assert_true(g->has_blob);
    assert_int_equal(g->posts, 1);
    assert_int_equal(g->statuses, 3);
    assert_int_equal(g->patches, 1);
    assert_int_equal(g->puts, 2);
    assert_int_equal(g->cancels, 0);
    assert_non_null(strstr(f->heads, "Content-Range: 2097152-3145727\r\n"));
    assert_non_null(strstr(g->notices, "trying again"));
}

static void the_next_run_goes_on_uploading(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    f->remote->retry.tries = 1;
    script_server_cut_body(f->server, 2u << 20);
    assert_int_equal(upload(g, NULL, NULL), E_NETWORK);
    assert_int_equal(g->cancels, 0);
    new_run(f);
    expect_ok(f, upload(g, NULL, NULL));
    assert_int_equal(g->posts, 1);
    assert_int_equal(g->patches, 1);
    assert_true(g->has_blob);
    /* Nothing is left of it: the next one starts anew. */
    new_run(f);
    expect_ok(f, upload(g, NULL, NULL));
    assert_int_equal(g->posts, 2);
}

static void a_session_that_is_gone_starts_again(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    f->remote->retry.tries = 1;
    script_server_cut_body(f->server, 2u << 20);
    assert_int_equal(upload(g, NULL, NULL), E_NETWORK);
    g->session_gone = true;
    new_run(f);
    expect_ok(f, upload(g, NULL, NULL));
    assert_int_equal(g->posts, 2);
    assert_int_equal(g->patches, 0);
    assert_true(g->has_blob);
}

static void spoilt_sessions_start_again(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    g->spoil = true;
    script_server_cut_body(f->server, 2u << 20);
    expect_ok(f, upload(g, NULL, NULL));
    assert_int_equal(g->posts, 2);
    assert_true(g->has_blob);
}

/* All of it came, only the answer was lost: that is found out, not sent again. */
static bool swallows_answer(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    struct registry *g = f->more;
    if (strcmp(q->method, "PUT") == 0 && g->puts == 0) {
        g->puts = 1;
        g->has_blob = g->session_gone = true;
        return false;
    }
    return serve(ctx, fd, q);
}

static void a_lost_answer_is_looked_for(void **state)
{
    struct fixture *f = *state;
    struct registry *g = registry_of(f);
    f->more = g;
    start(f, swallows_answer, NULL, NULL);
    be_patient(g);
    expect_ok(f, upload(g, NULL, NULL));
    assert_int_equal(g->posts, 1);
    assert_int_equal(g->puts, 1);
    assert_int_equal(g->heads, 1);
}

/* The source is checked as a whole also where its beginning was sent by an earlier run. */
static void a_changed_source_is_noticed_when_it_goes_on(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    f->remote->retry.tries = 1;
    script_server_cut_body(f->server, 2u << 20);
    assert_int_equal(upload(g, NULL, NULL), E_NETWORK);
    new_run(f);
    g->blob[17] ^= 1;
    f->complete = false;
    assert_int_equal(upload(g, NULL, NULL), E_DIGEST);
    assert_false(g->has_blob);
    assert_false(f->complete);
    assert_int_equal(g->cancels, 1);
}

/* The session has everything and only its end is missing: no byte is sent again, and still what we
 * have here is compared with what was promised. */
static void a_full_session_is_only_ended(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    CLEANUP(upload_memo_done) struct upload_memo m = UPLOAD_MEMO_INIT;
    for (int wrong = 0; wrong < 2; wrong++) {
        g->session_gone = g->has_blob = false;
        bytes_clear(&g->session);
        assert_int_equal(bytes_append(&g->session, g->blob, SIZE, NULL), OK);
        assert_int_equal(
            upload_memo_open(f->store, f->remote->base.authority, REPO, &g->d.digest, &m, &f->err),
            OK);
        assert_int_equal(upload_memo_write(&m, UPLOADS "7", &f->err), OK);
        upload_memo_done(&m);
        g->blob[5] ^= (uint8_t)wrong;
        assert_int_equal(upload(g, NULL, NULL), wrong ? E_DIGEST : OK);
        assert_int_equal(g->puts, 1);
        assert_int_equal(g->has_blob, !wrong);
    }
    assert_int_equal(g->posts, 0);
    assert_int_equal(g->patches, 0);
    assert_int_equal(g->cancels, 1);
}

static void sessions_stay_with_the_registry(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    char elsewhere[64];
    f->other = script_server_start(gives_blob, f);
    (void)snprintf(elsewhere, sizeof elsewhere, "http://%s/u", script_server_host(f->other));
    g->patch_to = elsewhere;
    script_server_cut_body(f->server, 2u << 20);
    assert_int_equal(upload(g, NULL, NULL), E_PROTOCOL);
    expect_says(f, "another host");
    assert_int_equal(script_server_connections(f->other), 0);
    /* The same in a memo, whoever wrote it. */
    CLEANUP(upload_memo_done) struct upload_memo m = UPLOAD_MEMO_INIT;
    assert_int_equal(
        upload_memo_open(f->store, f->remote->base.authority, REPO, &g->d.digest, &m, &f->err), OK);
    assert_int_equal(upload_memo_write(&m, elsewhere, &f->err), OK);
    upload_memo_done(&m);
    expect_ok(f, upload(g, NULL, NULL));
    assert_int_equal(script_server_connections(f->other), 0);
    assert_true(g->has_blob);
}

static void memos_are_hints(void **state)
{
    struct fixture *f = *state;
    struct registry *g = registry_of(f);
    CLEANUP(upload_memo_done) struct upload_memo m = UPLOAD_MEMO_INIT;
    CLEANUP(upload_memo_done) struct upload_memo second = UPLOAD_MEMO_INIT;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    const struct digest *d = &g->d.digest;
    assert_int_equal(upload_memo_open(f->store, "h:1", REPO, d, &m, &f->err), OK);
    assert_int_equal(upload_memo_read(&m, &out, &f->err), OK);
    assert_int_equal(out.len, 0);
    /* One at a time; another repository is another memo. */
    assert_int_equal(upload_memo_open(f->store, "h:1", REPO, d, &second, &f->err), E_BUSY);
    assert_int_equal(upload_memo_open(f->store, "h:1", "acme/b", d, &second, &f->err), OK);
    upload_memo_forget(&second);
    assert_int_equal(upload_memo_write(&m, "/first/longer/one", &f->err), OK);
    assert_int_equal(upload_memo_write(&m, "/u/7", &f->err), OK);
    assert_int_equal(upload_memo_read(&m, &out, &f->err), OK);
    assert_string_equal(bytes_text(&out), "/u/7");
    /* Torn, foreign, endless: as if there were none. */
    static const char *const odd[] = {"", "\n", "h:1\n", "h:2\nacme/app\nx\n/u\n"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ftruncate(m.fd, 0), 0);
        assert_int_equal(pwrite(m.fd, odd[i], strlen(odd[i]), 0), (ssize_t)strlen(odd[i]));
        bytes_clear(&out);
        assert_int_equal(upload_memo_read(&m, &out, &f->err), OK);
        assert_int_equal(out.len, 0);
    }
    assert_int_equal(ftruncate(m.fd, 1 << 20), 0);
    assert_int_equal(upload_memo_read(&m, &out, &f->err), OK);
    assert_int_equal(out.len, 0);
}

/* --- mounts --- */

static void mounts_send_nothing(void **state)
{
    struct fixture *f = *state;
    struct registry *g = begin(f);
    bool mounted = false;
    char want[256], text[DIGEST_TEXT_MAX];
    g->mount = "HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n";
    expect_ok(f, upload(g, "acme/base", &mounted));
    assert_true(mounted);
    assert_int_equal(g->puts, 0);
    digest_format(&g->d.digest, text);
    (void)snprintf(want, sizeof want, "?mount=sha256%%3A%s&from=acme%%2Fbase", text + 7);
    assert_string_equal(g->post_query, want);
}

static void refused_mounts_are_uploads(void **state)
{
    struct fixture *f = *state;
    static const char *const refusals[] = {NULL, "HTTP/1.1 403 F\r\nContent-Length: 0\r\n\r\n",
                                           "HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n",
                                           "HTTP/1.1 405 M\r\nContent-Length: 0\r\n\r\n"};
    start(f, serve, "anna", "secret");
    for (size_t i = 0; i < 4; i++) {
        struct registry *g = registry_of(f);
        bool mounted = true;
        f->more = g;
        g->mount = refusals[i];
        expect_ok(f, upload(g, "acme/base", &mounted));
        assert_false(mounted);
        assert_true(g->has_blob);
        assert_int_equal(g->posts, i == 0 ? 1 : 2);
    }
}

static void known_blobs_are_found(void **state)
{
    struct fixture *f = *state;
    struct registry *g = registry_of(f);
    char from[REFERENCE_REPOSITORY_MAX + 1] = "";
    struct digest digests[2] = {g->d.digest, descriptor_of("x", 1).digest};
    CLEANUP(known_blobs_done) struct known_blobs k = KNOWN_BLOBS_INIT;
    known_blobs_load(f->store, "h:1", &k);
    assert_false(known_blobs_find(&k, &digests[0], "a", from));
    known_blobs_add(f->store, "h:1", &k, "acme/base", digests, 2);
    known_blobs_add(f->store, "h:1", NULL, "acme/last", digests, 1);
    known_blobs_done(&k);
    known_blobs_load(f->store, "h:1", &k);
    assert_true(known_blobs_find(&k, &digests[0], "acme/app", from));
    assert_string_equal(from, "acme/last");
    assert_true(known_blobs_find(&k, &digests[0], "acme/last", from));
    assert_string_equal(from, "acme/base");
    assert_true(known_blobs_find(&k, &digests[1], "acme/app", from));
    assert_false(known_blobs_find(&k, &digests[1], "acme/base", from));
    size_t before = k.text.len;
    known_blobs_add(f->store, "h:1", &k, "acme/base", digests, 2);
    known_blobs_done(&k);
    known_blobs_load(f->store, "h:1", &k);
    assert_int_equal(k.text.len, before); /* what is known is not written again */
    known_blobs_done(&k);
    known_blobs_load(f->store, "h:2", &k);
    assert_int_equal(k.text.len, 0);
}

static void known_blobs_are_bounded_and_checked(void **state)
{
    struct fixture *f = *state;
    char from[REFERENCE_REPOSITORY_MAX + 1] = "untouched", text[DIGEST_TEXT_MAX], name[64];
    CLEANUP(known_blobs_done) struct known_blobs k = KNOWN_BLOBS_INIT;
    for (unsigned i = 0; i < 100; i++) {
        struct digest many[200];
        for (unsigned n = 0; n < 200; n++) {
            unsigned seed[2] = {i, n};
            many[n] = descriptor_of(seed, sizeof seed).digest;
        }
        (void)snprintf(name, sizeof name, "acme/app-%u", i);
        known_blobs_add(f->store, "h:1", NULL, name, many, 200);
    }
    known_blobs_load(f->store, "h:1", &k);
    assert_in_range(k.text.len, KNOWN_BLOBS_MAX / 4, KNOWN_BLOBS_MAX);
    unsigned last[2] = {99, 199};
    struct digest d = descriptor_of(last, sizeof last).digest;
    assert_true(known_blobs_find(&k, &d, "x", from));
    assert_string_equal(from, "acme/app-99");
    /* Lines that somebody else wrote: a name that is none never comes out. */
    static const char *const odd[] = {"../x", "a b", "A", "", "a?from=b"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        char line[512];
        (void)snprintf(line, sizeof line, "%s %s\n%s %s", digest_format(&d, text), odd[i], text,
                       "cut");
        scratch_write_text(f->scratch, "images/known/h:1", line);
        known_blobs_done(&k);
        known_blobs_load(f->store, "h:1", &k);
        assert_false(known_blobs_find(&k, &d, "x", from));
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_broken_download_goes_on),
        CASE(the_next_run_goes_on),
        CASE(servers_without_ranges_start_again),
        CASE(another_range_is_refused),
        CASE(tries_are_bounded),
        CASE(progress_earns_patience),
        CASE(only_what_may_pass_is_tried_again),
        CASE(retry_after_is_honoured),
        CASE(waits_grow_and_are_bounded),
        CASE(the_first_contact_must_work),
        CASE(a_broken_upload_goes_on),
        CASE(the_next_run_goes_on_uploading),
        CASE(a_session_that_is_gone_starts_again),
        CASE(spoilt_sessions_start_again),
        CASE(a_lost_answer_is_looked_for),
        CASE(a_changed_source_is_noticed_when_it_goes_on),
        CASE(a_full_session_is_only_ended),
        CASE(sessions_stay_with_the_registry),
        CASE(memos_are_hints),
        CASE(mounts_send_nothing),
        CASE(refused_mounts_are_uploads),
        CASE(known_blobs_are_found),
        CASE(known_blobs_are_bounded_and_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

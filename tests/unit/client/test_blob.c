/* Blobs and manifests from and to a registry that lies about them. */
#include "tests/unit/client/peer_fixture.h"

/* --- blobs: download --- */

static int fetch(struct fixture *f, const struct descriptor *d)
{
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
    int rc = blob_writer_new(f->store, &w, &f->err);
    f->err = (struct error)ERROR_INIT;
    if (!rc)
        rc = remote_blob_fetch(f->remote, REPO, d, w, NULL, &f->err);
    return rc ? rc : blob_writer_commit(w, &d->digest, d->size, &f->err);
}

static void blobs_are_what_was_asked_for(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    static const struct {
        const char *answer;
        int code;
        const char *says;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890", E_DIGEST, "more than"},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n01234567890", E_DIGEST, "more than"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n012345678", E_DIGEST, "9 bytes"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", E_DIGEST, "0 bytes"},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n012345678", E_DIGEST, "9 of the 10"},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", E_DIGEST, "0 of the 10"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123", E_NETWORK,
         "lost"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456780", E_DIGEST, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n"
         "Docker-Content-Digest: "
         "sha256:84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\r\n"
         "ETag: x\r\n\r\nXXXXXXXXXX",
         E_DIGEST, ""},
        {"HTTP/1.1 206 Partial\r\nContent-Length: 10\r\n\r\n0123456789", E_PROTOCOL, "206"},
        {"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", E_NOTFOUND, "blob sha256:84d89877"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Encoding: gzip\r\n\r\n0123456789", OK,
         ""},
    };
    start(f, answer_as_told, NULL, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->answer = cases[i].answer;
        assert_false(store_blob_exists(f->store, &d.digest));
        int rc = fetch(f, &d);
        if (rc != cases[i].code)
            fail_msg("%s: got %s (%s)", cases[i].answer, error_name(rc), f->err.message);
        expect_says(f, cases[i].says);
    }
    assert_true(store_blob_exists(f->store, &d.digest));
}

static void an_endless_blob_ends_at_its_size(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    f->answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n";
    start(f, endless_body, NULL, NULL);
    assert_int_equal(fetch(f, &d), E_DIGEST);
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n";
    assert_int_equal(fetch(f, &d), E_DIGEST);
    d.size = -1;
    assert_int_equal(fetch(f, &d), E_USAGE);
}

static void an_empty_blob_is_a_blob(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("", 0);
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    start(f, answer_as_told, NULL, NULL);
    assert_int_equal(fetch(f, &d), OK);
    assert_true(store_blob_exists(f->store, &d.digest));
}

static bool redirects(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    char headers[URL_MAX];
    note(f, q);
    if (strncmp(q->target, "/here", 5) == 0)
        return script_reply(fd, 200, "", "0123456789");
    (void)snprintf(headers, sizeof headers, "Location: %s\r\n", f->location);
    return script_reply(fd, 307, headers, "");
}

static void redirects_lose_the_password(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    char elsewhere[64];
    start(f, redirects, "anna", "secret");
    f->other = script_server_start(gives_blob, f);
    (void)snprintf(elsewhere, sizeof elsewhere, "http://%s/there?sig=1",
                   script_server_host(f->other));
    f->location = elsewhere;
    assert_int_equal(fetch(f, &d), OK);
    assert_non_null(strstr(f->heads, "Authorization: Basic YW5uYTpzZWNyZXQ="));
    assert_non_null(strstr(f->other_heads, "GET /there?sig=1 "));
    assert_null(strcasestr(f->other_heads, "authorization"));
    /* Within the registry's own origin it stays. */
    f->heads[0] = '\0';
    f->location = "/here";
    assert_int_equal(fetch(f, &d), OK);
    assert_non_null(strstr(strstr(f->heads, "GET /here "), "Authorization: Basic"));
}

static void bad_redirects_are_refused(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    static const char *const bad[] = {"",     "/v2/again",           "file:///etc/passwd",
                                      "//h/", "gopher://127.0.0.1/", "http://u:p@127.0.0.1/"};
    start(f, redirects, NULL, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f->location = bad[i];
        f->n = 0;
        assert_int_equal(fetch(f, &d), E_PROTOCOL);
        assert_in_range(f->n, 1, 5);
    }
}

static void other_requests_follow_nothing(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    struct digest digest;
    start(f, redirects, NULL, NULL);
    f->location = "/here";
    struct remote *r = f->remote;
    assert_int_equal(remote_manifest_get(r, REPO, "v1", &out, NULL, &f->err), E_PROTOCOL);
    assert_int_equal(remote_manifest_head(r, REPO, "v1", &digest, &f->err), E_PROTOCOL);
    assert_int_equal(remote_manifest_put(r, REPO, "v1", "a/b", "{}", 2, &f->err), E_PROTOCOL);
    assert_int_equal(remote_trust_get(r, REPO, "tuf/1.root.json", 9, &out, &f->err), E_PROTOCOL);
    assert_int_equal(f->n, 4);
    assert_null(strstr(f->heads, "/here"));
}

/* --- blobs: upload --- */

static bool takes_upload(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    char headers[URL_MAX];
    note(f, q);
    if (strcmp(q->method, "HEAD") == 0)
        return script_printf(fd, "%s", f->answer);
    if (strcmp(q->method, "POST") == 0) {
        (void)snprintf(headers, sizeof headers, "%s%s%s", f->location ? "Location: " : "",
                       f->location ? f->location : "", f->location ? "\r\n" : "");
        return script_reply(fd, 202, headers, "");
    }
    if (strcmp(q->method, "DELETE") == 0)
        return script_reply(fd, 204, "", "");
    if (!q->body_complete)
        return false;
    return f->put_answer ? script_printf(fd, "%s", f->put_answer) : script_reply(fd, 201, "", "");
}

static int temporary_file(const void *data, size_t len)
{
    int fd = memfd_create("blob", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    return fd;
}

static int upload(struct fixture *f, const struct descriptor *d, const void *data, size_t len)
{
    CLEANUP(cleanup_fd) int fd = temporary_file(data, len);
    f->err = (struct error)ERROR_INIT;
    f->complete = false;
    return remote_blob_upload(f->remote, REPO, d, fd, NULL, &f->err);
}

static void uploads_arrive(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    struct descriptor empty = descriptor_of("", 0);
    f->location = "/v2/acme/app/blobs/uploads/7?state=x";
    start(f, takes_upload, "anna", "secret");
    assert_int_equal(upload(f, &d, "0123456789", 10), OK);
    assert_true(f->complete);
    assert_non_null(strstr(f->heads, "POST /v2/acme/app/blobs/uploads/ HTTP/1.1\r\n"));
    assert_non_null(strstr(f->heads,
                           "PUT /v2/acme/app/blobs/uploads/7?state=x&digest=sha256%3A84d89877f0d404"
                           "1efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882 HTTP/1.1\r\n"));
    assert_null(strcasestr(f->heads, "Expect:"));
    assert_non_null(strstr(strstr(f->heads, "PUT "), "Authorization: Basic"));
    assert_int_equal(upload(f, &empty, "", 0), OK);
    assert_int_equal(f->deletes, 0);
}

static void a_wrong_source_never_completes(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    f->location = "/v2/acme/app/blobs/uploads/7";
    start(f, takes_upload, NULL, NULL);
    static const char *const wrong[] = {"0123456780", "012345678", "01234567890", ""};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(upload(f, &d, wrong[i], strlen(wrong[i])), E_DIGEST);
        assert_false(f->complete);
        assert_int_equal(f->deletes, i + 1);
    }
    struct descriptor empty = descriptor_of("", 0);
    assert_int_equal(upload(f, &empty, "x", 1), E_DIGEST);
    assert_false(f->complete);
}

static void large_uploads_are_checked_too(void **state)
{
    struct fixture *f = *state;
    size_t len = 3u << 20;
    CLEANUP(cleanup_free) uint8_t *data = malloc(len);
    assert_non_null(data);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 31 + i / 4096);
    struct descriptor d = descriptor_of(data, len);
    f->location = "/v2/acme/app/blobs/uploads/7";
    start(f, takes_upload, NULL, NULL);
    assert_int_equal(upload(f, &d, data, len), OK);
    assert_true(f->complete);
    data[1u << 20] ^= 1;
    assert_int_equal(upload(f, &d, data, len), E_DIGEST);
    assert_false(f->complete);
    assert_int_equal(f->deletes, 1);
}

static void uploads_stay_with_the_registry(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    char elsewhere[64], scheme[64];
    start(f, takes_upload, "anna", "secret");
    f->other = script_server_start(gives_blob, f);
    (void)snprintf(elsewhere, sizeof elsewhere, "http://%s/u", script_server_host(f->other));
    (void)snprintf(scheme, sizeof scheme, "https://%s/u", script_server_host(f->server));
    const char *const bad[] = {elsewhere, scheme, "//evil/u", "u/7", "/u#x", NULL};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f->location = bad[i];
        assert_int_equal(upload(f, &d, "0123456789", 10), E_PROTOCOL);
        assert_false(f->complete);
    }
    assert_int_equal(script_server_connections(f->other), 0);
    assert_null(strstr(f->heads, "PUT "));
}

static void a_refused_put_is_a_failure(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    f->location = "/u";
    start(f, takes_upload, NULL, NULL);
    f->put_answer = "HTTP/1.1 400 B\r\nContent-Length: 54\r\n\r\n"
                    "{\"errors\":[{\"code\":\"DIGEST_INVALID\",\"message\":\"odd\"}]}";
    assert_int_equal(upload(f, &d, "0123456789", 10), E_INVALID);
    expect_says(f, "DIGEST_INVALID: odd");
    f->put_answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(upload(f, &d, "0123456789", 10), E_PROTOCOL);
    f->put_answer = "HTTP/1.1 500 I\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(upload(f, &d, "0123456789", 10), E_NETWORK);
    f->put_answer = "HTTP/1.1 403 I\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(upload(f, &d, "0123456789", 10), E_DENIED);
}

static bool drops_put(void *ctx, int fd, const struct script_request *q)
{
    note(ctx, q);
    return strcmp(q->method, "POST") == 0 && script_reply(fd, 202, "Location: /u\r\n", "");
}

static void a_lost_connection_is_no_success(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    start(f, drops_put, NULL, NULL);
    assert_int_equal(upload(f, &d, "0123456789", 10), E_NETWORK);
}

static void existence_is_asked(void **state)
{
    struct fixture *f = *state;
    struct descriptor d = descriptor_of("0123456789", 10);
    bool exists = false;
    start(f, takes_upload, NULL, NULL);
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    assert_int_equal(remote_blob_exists(f->remote, REPO, &d.digest, &exists, &f->err), OK);
    assert_true(exists);
    f->answer = "HTTP/1.1 404 N\r\nContent-Length: 10\r\n\r\n";
    assert_int_equal(remote_blob_exists(f->remote, REPO, &d.digest, &exists, &f->err), OK);
    assert_false(exists);
    exists = true;
    f->answer = "HTTP/1.1 500 N\r\nContent-Length: 10\r\n\r\n";
    assert_int_equal(remote_blob_exists(f->remote, REPO, &d.digest, &exists, &f->err), E_NETWORK);
    f->answer = "HTTP/1.1 403 N\r\nContent-Length: 10\r\n\r\n";
    assert_int_equal(remote_blob_exists(f->remote, REPO, &d.digest, &exists, &f->err), E_DENIED);
    assert_true(exists); /* untouched by failures */
}

/* --- manifests --- */

static void manifests_match_their_digest(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    char type[MEDIA_TYPE_MAX + 1] = "untouched", text[DIGEST_TEXT_MAX];
    struct descriptor d = descriptor_of("{}", 2);
    digest_format(&d.digest, text);
    start(f, answer_as_told, NULL, NULL);
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";
    assert_int_equal(remote_manifest_get(f->remote, REPO, text, &out, type, &f->err), E_DIGEST);
    assert_int_equal(out.len, 0);
    assert_string_equal(type, "untouched");
    /* By tag there is nothing to compare with; what the header claims decides nothing. */
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDocker-Content-Digest: sha256:00\r\n"
                "Content-Type: Application/VND.x+json; charset=utf-8\r\n\r\n[]";
    assert_int_equal(remote_manifest_get(f->remote, REPO, "v1", &out, type, &f->err), OK);
    assert_string_equal(bytes_text(&out), "[]");
    assert_string_equal(type, "application/vnd.x+json");
    assert_non_null(strstr(f->heads, "Accept: " MEDIA_OCI_MANIFEST));
    bytes_clear(&out);
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    assert_int_equal(remote_manifest_get(f->remote, REPO, text, &out, type, &f->err), OK);
    assert_string_equal(bytes_text(&out), "{}");
    assert_string_equal(type, "");
}

static void two_answers_in_one_are_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    start(f, answer_as_told, NULL, NULL);
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: a/b\r\n"
                "Content-Type: c/d\r\n\r\n{}";
    assert_int_equal(remote_manifest_get(f->remote, REPO, "v1", &out, NULL, &f->err), E_PROTOCOL);
    expect_says(f, "two different");
    assert_int_equal(out.len, 0);
}

static void the_registrys_digest_of_a_tag(void **state)
{
    struct fixture *f = *state;
    struct digest digest = {.alg = DIGEST_NONE};
    struct descriptor d = descriptor_of("{}", 2);
    start(f, answer_as_told, NULL, NULL);
    static const char *const bad[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDocker-Content-Digest: sha256:../../x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDocker-Content-Digest: md5:00\r\n\r\n",
    };
    for (size_t i = 0; i < 3; i++) {
        f->answer = bad[i];
        assert_int_equal(remote_manifest_head(f->remote, REPO, "v1", &digest, &f->err), E_PROTOCOL);
        assert_int_equal(digest.alg, DIGEST_NONE);
    }
    f->answer = "HTTP/1.1 404 N\r\nContent-Length: 2\r\n\r\n";
    assert_int_equal(remote_manifest_head(f->remote, REPO, "v1", &digest, &f->err), E_NOTFOUND);
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDocker-Content-Digest: "
                "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\r\n\r\n";
    assert_int_equal(remote_manifest_head(f->remote, REPO, "v1", &digest, &f->err), OK);
    assert_true(digest_equal(&digest, &d.digest));
}

static void what_was_stored_must_be_what_was_sent(void **state)
{
    struct fixture *f = *state;
    char text[DIGEST_TEXT_MAX];
    struct descriptor d = descriptor_of("[]", 2);
    digest_format(&d.digest, text);
    start(f, answer_as_told, NULL, NULL);
    f->answer = "HTTP/1.1 201 C\r\nContent-Length: 0\r\nDocker-Content-Digest: "
                "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\r\n\r\n";
    struct remote *r = f->remote;
    assert_int_equal(remote_manifest_put(r, REPO, "v1", "a/b", "{}", 2, &f->err), OK);
    assert_non_null(strstr(f->heads, "Content-Type: a/b\r\n"));
    assert_int_equal(remote_manifest_put(r, REPO, "v1", "a/b", "[]", 2, &f->err), E_PROTOCOL);
    f->n = 0;
    assert_int_equal(remote_manifest_put(r, REPO, text, "a/b", "{}", 2, &f->err), E_DIGEST);
    assert_int_equal(f->n, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(blobs_are_what_was_asked_for),
        CASE(an_endless_blob_ends_at_its_size),
        CASE(an_empty_blob_is_a_blob),
        CASE(redirects_lose_the_password),
        CASE(bad_redirects_are_refused),
        CASE(other_requests_follow_nothing),
        CASE(uploads_arrive),
        CASE(a_wrong_source_never_completes),
        CASE(large_uploads_are_checked_too),
        CASE(uploads_stay_with_the_registry),
        CASE(a_refused_put_is_a_failure),
        CASE(a_lost_connection_is_no_success),
        CASE(existence_is_asked),
        CASE(manifests_match_their_digest),
        CASE(two_answers_in_one_are_refused),
        CASE(the_registrys_digest_of_a_tag),
        CASE(what_was_stored_must_be_what_was_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

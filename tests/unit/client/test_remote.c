/* What every request has to hold against: statuses, bounds, silence, credentials. */
#include "tests/unit/client/peer_fixture.h"

/* --- statuses --- */

static void statuses_become_codes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *answer;
        int code;
        const char *says;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", OK, ""},
        {"HTTP/1.1 401 U\r\nContent-Length: 0\r\n\r\n", E_UNAUTHORIZED, "run 'bulla login 127."},
        {"HTTP/1.1 403 F\r\nConnection: close\r\n\r\n"
         "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\\u001b[2J\\nyou\",\"detail\":1}]}",
         E_DENIED, "DENIED: no\\x1b[2J\\x0ayou"},
        {"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", E_NOTFOUND, "404"},
        {"HTTP/1.1 409 C\r\nContent-Length: 0\r\n\r\n", E_CONFLICT, "conflict"},
        {"HTTP/1.1 429 T\r\nContent-Length: 0\r\n\r\n", E_NETWORK, "429"},
        {"HTTP/1.1 500 I\r\nContent-Length: 4\r\n\r\n{\"e:", E_NETWORK, "500"},
        {"HTTP/1.1 503 I\r\nContent-Length: 0\r\n\r\n", E_NETWORK, "503"},
        {"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", E_PROTOCOL,
         "redirect"},
        {"HTTP/1.1 204 N\r\n\r\n", E_PROTOCOL, "204"},
        {"HTTP/1.1 299 N\r\nContent-Length: 0\r\n\r\n", E_PROTOCOL, "299"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", OK, ""},
        {"ICY 200 OK\r\nclose\r\n\r\n", E_PROTOCOL, "HTTP"},
        {"close", E_PROTOCOL, "HTTP"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nx", E_NETWORK, "lost"},
        /* A length beyond 63 bits is none: what comes is bounded all the same. */
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\nConnection: close\r\n\r\nx",
         OK, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\nConnection: close\r\n\r\nx", E_PROTOCOL, "HTTP"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\nx",
         E_NETWORK, "lost"},
    };
    start(f, answer_as_told, NULL, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->answer = cases[i].answer;
        f->err = (struct error)ERROR_INIT;
        int rc = remote_ping(f->remote, &f->err);
        if (rc != cases[i].code)
            fail_msg("%s: got %s (%s)", cases[i].answer, error_name(rc), f->err.message);
        expect_says(f, cases[i].says);
    }
}

static void connections_are_kept(void **state)
{
    struct fixture *f = *state;
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    start(f, answer_as_told, NULL, NULL);
    for (int i = 0; i < 5; i++)
        assert_int_equal(remote_ping(f->remote, &f->err), OK);
    assert_int_equal(f->n, 5);
    assert_int_equal(script_server_connections(f->server), 1);
}

static void a_missing_registry_is_named(void **state)
{
    struct fixture *f = *state;
    f->answer = "";
    start(f, answer_as_told, NULL, NULL);
    char host[32];
    (void)snprintf(host, sizeof host, "%s", script_server_host(f->server));
    script_server_stop(f->server);
    f->server = NULL;
    char want[128];
    (void)snprintf(want, sizeof want, "registry %s cannot be reached: connection refused", host);
    assert_int_equal(remote_ping(f->remote, &f->err), E_NETWORK);
    assert_string_equal(f->err.message, want);
}

static void hosts_are_checked(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"", "h/x", "u@h", "h:x", "https://h", "h h", "../h", "h?x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct remote_options options = {.host = bad[i]};
        assert_int_equal(remote_open(&options, &f->remote, &f->err), E_USAGE);
        assert_null(f->remote);
    }
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    struct remote_options https = {.host = "127.0.0.1:1"};
    assert_int_equal(remote_open(&https, &f->remote, &f->err), OK);
    assert_int_equal(remote_url_get(f->remote, "http://127.0.0.1:1/", 9, &out, &f->err), E_TLS);
    remote_cleanup(&f->remote);
    struct remote_options half = {.host = "h", .user = "anna"};
    assert_int_equal(remote_open(&half, &f->remote, &f->err), E_USAGE);
    struct remote_options no_ca = {.host = "h", .ca_file = "/nonexistent/ca.crt"};
    assert_int_equal(remote_open(&no_ca, &f->remote, &f->err), E_NOTFOUND);
}

static void names_from_outside_stay_in_their_place(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    start(f, answer_as_told, NULL, NULL);
    struct remote *r = f->remote;
    static const char *const repositories[] = {"", "../x", "a//b", "A", "a b", "a?b", "a#b", "a\n"};
    for (size_t i = 0; i < sizeof repositories / sizeof repositories[0]; i++)
        assert_int_equal(remote_manifest_get(r, repositories[i], "v1", &out, NULL, &f->err),
                         E_USAGE);
    static const char *const references[] = {"",    "../v1",   "a/b",           "a?b",
                                             "a b", "sha256:", "sha256:../../x"};
    for (size_t i = 0; i < sizeof references / sizeof references[0]; i++)
        assert_int_equal(remote_manifest_get(r, REPO, references[i], &out, NULL, &f->err), E_USAGE);
    static const char *const paths[] = {"", "/x", "../x", "tuf/../x", "tuf//x", "tuf/x?y", "a\rb"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(remote_trust_get(r, REPO, paths[i], 10, &out, &f->err), E_USAGE);
    static const char *const roles[] = {"", "a/b", "a\"b", "a\r\nb", ".a", "A"};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        struct remote_file file = {roles[i], "{}", 2};
        assert_int_equal(remote_trust_post(r, REPO, &file, 1, &f->err), E_USAGE);
    }
    assert_int_equal(remote_manifest_put(r, REPO, "v1", "a/b\r\nX: y", "{}", 2, &f->err),
                     E_INVALID);
    assert_int_equal(f->n, 0);
}

/* --- bounds --- */

static bool endless_headers(void *ctx, int fd, const struct script_request *q)
{
    note(ctx, q);
    bool more = script_printf(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; more && i < 1 << 20; i++)
        more =
            script_printf(fd, "X-%d: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", i);
    return false;
}

static void headers_are_bounded(void **state)
{
    struct fixture *f = *state;
    start(f, endless_headers, NULL, NULL);
    assert_int_equal(remote_ping(f->remote, &f->err), E_PROTOCOL);
    expect_says(f, "headers");
}

static bool long_headers(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    note(f, q);
    CLEANUP(cleanup_free) char *line = malloc(5001);
    memset(line, 'a', 5000);
    line[5000] = '\0';
    return script_printf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%s: %s\r\n\r\n", f->location,
                         line);
}

static void header_values_are_bounded(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"Location", "content-type", "Docker-Content-Digest",
                                        "WWW-Authenticate"};
    start(f, long_headers, NULL, NULL);
    for (size_t i = 0; i < 4; i++) {
        f->location = names[i];
        assert_int_equal(remote_ping(f->remote, &f->err), E_PROTOCOL);
        expect_says(f, "too long");
    }
    f->location = "X-Unknown";
    assert_int_equal(remote_ping(f->remote, &f->err), OK);
}

static void bodies_are_bounded(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    start(f, endless_body, NULL, NULL);
    f->answer = "HTTP/1.1 200 OK\r\n\r\n";
    assert_int_equal(remote_trust_get(f->remote, REPO, "tuf/timestamp.json", 16384, &out, &f->err),
                     E_LIMIT);
    assert_int_equal(remote_manifest_get(f->remote, REPO, "v1", &out, NULL, &f->err), E_LIMIT);
    assert_int_equal(remote_ping(f->remote, &f->err), E_LIMIT);
    assert_int_equal(out.len, 0);
    f->answer = "HTTP/1.1 500 Bad\r\n\r\n";
    assert_int_equal(remote_ping(f->remote, &f->err), E_NETWORK);
    expect_says(f, "500");
    assert_in_range(f->blocks, 1, 1 << 10);
    f->answer = "HTTP/1.1 404 None\r\n\r\n";
    assert_int_equal(remote_trust_get(f->remote, REPO, "tuf/timestamp.json", 16384, &out, &f->err),
                     E_NOTFOUND);
}

static void the_limit_itself_is_allowed(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";
    start(f, answer_as_told, NULL, NULL);
    assert_int_equal(remote_trust_get(f->remote, REPO, "tuf/1.root.json", 4, &out, &f->err),
                     E_LIMIT);
    assert_int_equal(out.len, 0);
    assert_int_equal(remote_trust_get(f->remote, REPO, "tuf/1.root.json", 5, &out, &f->err), OK);
    assert_string_equal(bytes_text(&out), "12345");
    assert_non_null(strstr(f->heads, "GET /v2/acme/app/_trust/tuf/1.root.json HTTP/1.1\r\n"));
}

static void silence_is_given_up(void **state)
{
    struct fixture *f = *state;
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
    struct descriptor d = descriptor_of("0123456789", 10);
    start(f, stalls, NULL, NULL);
    f->remote->http_options.limits = (struct http_limits){
        .connect_ms = 5000, .small_ms = 300, .stall_s = 60, .upload_stall_s = 60};
    f->answer = "";
    int64_t start_ms = clock_monotonic_ms();
    assert_int_equal(remote_ping(f->remote, &f->err), E_NETWORK);
    expect_says(f, "too slow");
    assert_in_range(clock_monotonic_ms() - start_ms, 250, 20000);
    http_cleanup(&f->remote->http); /* it has its own copy of the limits */
    f->remote->http_options.limits.stall_s = 1;
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";
    assert_int_equal(blob_writer_new(f->store, &w, &f->err), OK);
    assert_int_equal(remote_blob_fetch(f->remote, REPO, &d, w, NULL, &f->err), E_NETWORK);
    expect_says(f, "too slow");
}

/* --- credentials --- */

static bool wants_token(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    char value[512], headers[1024];
    note(f, q);
    if (script_is(q, "GET", "/auth/token")) {
        script_header(q, "Authorization", value, sizeof value);
        return strcmp(value, "Basic YW5uYTpzZWNyZXQ=") == 0 ? script_printf(fd, "%s", f->answer)
                                                            : script_reply(fd, 401, "", "");
    }
    if (strcmp(script_header(q, "Authorization", value, sizeof value), "Bearer t0ken") == 0)
        return script_reply(fd, 200, "", "{}");
    (void)snprintf(headers, sizeof headers,
                   "WWW-Authenticate: Basic realm=\"x\"\r\n"
                   "WWW-Authenticate: Bearer realm=\"%s\",service=\"a b\",scope=\"s\"\r\n",
                   f->location);
    return script_reply(fd, 401, headers, "");
}

static void tokens_are_fetched_once(void **state)
{
    struct fixture *f = *state;
    char realm[64];
    start(f, wants_token, "anna", "secret");
    (void)snprintf(realm, sizeof realm, "http://%s/auth/token", script_server_host(f->server));
    f->location = realm;
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"token\":\"t0ken\"}";
    assert_int_equal(remote_ping(f->remote, &f->err), OK);
    assert_int_equal(remote_ping(f->remote, &f->err), OK);
    assert_int_equal(f->n, 4); /* 401, token, 200; 200 */
    assert_non_null(strstr(f->heads, "GET /auth/token?service=a%20b&scope=s "));
}

static void pairs_fetch_tokens_too(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes a = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    struct remote_get first = {.path = "tuf/timestamp.json", .max = 100, .out = &a};
    struct remote_get second = {.path = "tuf/2.root.json", .max = 100, .out = &b};
    f->location = "/auth/token";
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"access_token\":\"t0ken\"}";
    start(f, wants_token, "anna", "secret");
    assert_int_equal(remote_trust_get_pair(f->remote, REPO, &first, &second, &f->err), OK);
    assert_int_equal(first.rc, OK);
    assert_int_equal(second.rc, OK);
    assert_string_equal(bytes_text(&a), "{}");
    assert_string_equal(bytes_text(&b), "{}");
}

static void bad_token_services_are_refused(void **state)
{
    struct fixture *f = *state;
    char elsewhere[64];
    start(f, wants_token, "anna", "secret");
    f->other = script_server_start(gives_blob, f);
    (void)snprintf(elsewhere, sizeof elsewhere, "http://%s/auth/token",
                   script_server_host(f->other));
    f->answer = "";
    static const char *const bad[] = {"", "x", "//evil/t", "http://u@127.0.0.1/t",
                                      "http://127.0.0.1/t"};
    f->location = elsewhere;
    assert_int_equal(remote_ping(f->remote, &f->err), E_UNAUTHORIZED);
    expect_says(f, "credentials are sent to the registry itself only");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f->location = bad[i];
        assert_int_equal(remote_ping(f->remote, &f->err), E_UNAUTHORIZED);
    }
    assert_int_equal(script_server_connections(f->other), 0);
}

static void bad_tokens_are_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    static const struct {
        const char *answer;
        int code;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", E_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", E_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"token\":\"\"}", E_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"token\":\"a b\"}", E_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"token\":\"a\\r\\nX: y\"}", E_PROTOCOL},
        /* Refused again with the fresh token: asked once, no more. */
        {"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"token\":\"other\"}", E_UNAUTHORIZED},
        {"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", E_UNAUTHORIZED},
        {"HTTP/1.1 401 N\r\nContent-Length: 0\r\n\r\n", E_UNAUTHORIZED},
        {"HTTP/1.1 403 N\r\nContent-Length: 0\r\n\r\n", E_DENIED},
        {"HTTP/1.1 500 N\r\nContent-Length: 0\r\n\r\n", E_NETWORK},
        {"HTTP/1.1 307 N\r\nLocation: /auth/token2\r\nContent-Length: 0\r\n\r\n", E_UNAUTHORIZED},
    };
    f->location = "/auth/token";
    start(f, wants_token, "anna", "secret");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->answer = cases[i].answer;
        f->n = 0;
        int rc = remote_manifest_get(f->remote, REPO, "v1", &out, NULL, &f->err);
        if (rc != cases[i].code)
            fail_msg("%s: got %s (%s)", cases[i].answer, error_name(rc), f->err.message);
        assert_in_range(f->n, 2, 3);
        assert_null(strstr(f->err.message, "secret"));
        assert_null(strstr(f->err.message, "YW5uYT"));
        assert_null(strstr(f->err.message, "other"));
    }
}

static void wrong_passwords_end_quickly(void **state)
{
    struct fixture *f = *state;
    f->location = "/auth/token";
    start(f, wants_token, "anna", "wrong-one");
    assert_int_equal(remote_ping(f->remote, &f->err), E_UNAUTHORIZED);
    expect_says(f, "does not accept these credentials");
    assert_null(strstr(f->err.message, "bulla login")); /* that is what the caller is doing */
    assert_null(strstr(f->err.message, "wrong-one"));
    assert_int_equal(f->n, 2);
}

static void passwords_come_from_the_auth_file(void **state)
{
    struct fixture *f = *state;
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    f->server = script_server_start(answer_as_told, f);
    const char *host = script_server_host(f->server);
    const char *file = scratch_name(f->scratch, "auth.json");
    assert_int_equal(auth_store(file, host, "anna", "secret", NULL, &f->err), OK);
    struct remote_options options = {.host = host, .auth_file = file, .plain_http = true};
    assert_int_equal(remote_open(&options, &f->remote, &f->err), OK);
    assert_int_equal(remote_ping(f->remote, &f->err), OK);
    assert_non_null(strstr(f->heads, "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n"));
}

/* --- trust metadata --- */

static bool answers_by_path(void *ctx, int fd, const struct script_request *q)
{
    note(ctx, q);
    if (strstr(q->target, "timestamp"))
        return script_reply(fd, 200, "", "timestamp");
    if (strstr(q->target, "large"))
        return script_reply(fd, 200, "", "0123456789");
    if (strstr(q->target, "drop"))
        return false;
    return script_reply(fd, 404, "", "");
}

static void pairs_have_two_results(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes a = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes b = BYTES_INIT;
    start(f, answers_by_path, NULL, NULL);
    static const struct {
        const char *path;
        int rc;
    } cases[] = {{"tuf/2.root.json", E_NOTFOUND}, {"tuf/large", E_LIMIT}, {"tuf/drop", E_NETWORK}};
    for (size_t i = 0; i < 3; i++) {
        struct remote_get first = {.path = "tuf/timestamp.json", .max = 9, .out = &a, .rc = 1};
        struct remote_get second = {.path = cases[i].path, .max = 9, .out = &b, .rc = 1};
        bytes_clear(&a);
        assert_int_equal(remote_trust_get_pair(f->remote, REPO, &first, &second, &f->err), OK);
        assert_int_equal(first.rc, OK);
        assert_string_equal(bytes_text(&a), "timestamp");
        assert_int_equal(second.rc, cases[i].rc);
        assert_int_equal(second.err.code, cases[i].rc);
        assert_int_equal(b.len, 0);
    }
}

static bool keeps_body(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    note(f, q);
    (void)snprintf(f->other_heads, sizeof f->other_heads, "%s", bytes_text(&q->body));
    return script_printf(fd, "%s", f->answer);
}

static void roles_are_posted(void **state)
{
    struct fixture *f = *state;
    const struct remote_file files[] = {{"root", "{\"a\":1}", 7}, {"targets", "{}", 2}};
    f->answer = "HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n";
    start(f, keeps_body, NULL, NULL);
    assert_int_equal(remote_trust_post(f->remote, REPO, files, 2, &f->err), OK);
    assert_non_null(strstr(f->heads, "POST /v2/acme/app/_trust/tuf/ HTTP/1.1\r\n"));
    const char *type = strstr(f->heads, "Content-Type: multipart/form-data; boundary=bulla-");
    assert_non_null(type);
    char boundary[64], want[1024];
    assert_int_equal(sscanf(strstr(type, "boundary=") + 9, "%60s", boundary), 1);
    (void)snprintf(
        want, sizeof want,
        "--%s\r\nContent-Disposition: form-data; name=\"files\"; filename=\"root\"\r\n"
        "Content-Type: application/json\r\n\r\n{\"a\":1}\r\n"
        "--%s\r\nContent-Disposition: form-data; name=\"files\"; filename=\"targets\"\r\n"
        "Content-Type: application/json\r\n\r\n{}\r\n--%s--\r\n",
        boundary, boundary, boundary);
    assert_string_equal(f->other_heads, want);
    f->answer = "HTTP/1.1 409 C\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(remote_trust_post(f->remote, REPO, files, 2, &f->err), E_CONFLICT);
    f->answer = "HTTP/1.1 400 B\r\nContent-Length: 63\r\n\r\n"
                "{\"errors\":[{\"code\":\"TRUST_INVALID\",\"message\":\"not version 3\"}]}";
    assert_int_equal(remote_trust_post(f->remote, REPO, files, 2, &f->err), E_INVALID);
    expect_says(f, "TRUST_INVALID: not version 3");
}

static void urls_are_fetched_as_given(void **state)
{
    struct fixture *f = *state;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    char url[128];
    start(f, answers_by_path, "anna", "secret");
    f->other = script_server_start(gives_blob, f);
    (void)snprintf(url, sizeof url, "http://%s/metadata/1.root.json%%2F..",
                   script_server_host(f->other));
    assert_int_equal(remote_url_get(f->remote, url, 10, &out, &f->err), OK);
    assert_string_equal(bytes_text(&out), "0123456789");
    assert_non_null(strstr(f->other_heads, "GET /metadata/1.root.json%2F.. "));
    assert_null(strcasestr(f->other_heads, "authorization"));
    (void)snprintf(url, sizeof url, "http://%s/none", script_server_host(f->server));
    assert_int_equal(remote_url_get(f->remote, url, 10, &out, &f->err), E_NOTFOUND);
    assert_int_equal(remote_url_get(f->remote, "file:///etc/passwd", 10, &out, &f->err), E_INVALID);
}

/* --- memory --- */

static int open_and_get(void *context, struct error *err)
{
    struct fixture *f = context;
    CLEANUP(remote_cleanup) struct remote *r = NULL;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    struct remote_options options = {.host = script_server_host(f->server),
                                     .user = "anna",
                                     .password = "secret",
                                     .plain_http = true};
    int rc = remote_open(&options, &r, err);
    if (!rc)
        rc = remote_trust_get(r, REPO, "tuf/1.root.json", 100, &out, err);
    return rc;
}

/* libcurl does not always say that it was memory that failed. */
static void failing_allocations_are_errors(void **state)
{
    struct fixture *f = *state;
    f->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    start(f, answer_as_told, NULL, NULL);
    assert_int_equal(open_and_get(f, &f->err), OK); /* libraries set themselves up once */
    alloc_fail_each(open_and_get, f, E_NETWORK);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(statuses_become_codes),
        CASE(connections_are_kept),
        CASE(a_missing_registry_is_named),
        CASE(hosts_are_checked),
        CASE(names_from_outside_stay_in_their_place),
        CASE(headers_are_bounded),
        CASE(header_values_are_bounded),
        CASE(bodies_are_bounded),
        CASE(the_limit_itself_is_allowed),
        CASE(silence_is_given_up),
        CASE(tokens_are_fetched_once),
        CASE(pairs_fetch_tokens_too),
        CASE(bad_token_services_are_refused),
        CASE(bad_tokens_are_refused),
        CASE(wrong_passwords_end_quickly),
        CASE(passwords_come_from_the_auth_file),
        CASE(pairs_have_two_results),
        CASE(roles_are_posted),
        CASE(urls_are_fetched_as_given),
        CASE(failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Who gets to see a password, an identity token or a bearer token, and how often. */
#include "client/crew.h"
#include "client/realm.h"
#include "tests/unit/client/peer_fixture.h"

#define TOKEN "t0ken"

/* Two servers: the registry, which wants tokens of `realm`, and another host. */
struct services {
    char realm[128];
    const char *scope;
    atomic_int tokens, refused; /* tokens given; requests answered with 401 */
    char body[2048];            /* of the last token request */
    char last_token[1024];      /* its target */
    int generation;             /* "t0ken<generation>" is what the registry wants now */
    bool never;                 /* no token is good */
    int slow_ms;
};

static bool give_token(struct fixture *f, int fd, const struct script_request *q)
{
    struct services *v = f->more;
    char text[64];
    (void)pthread_mutex_lock(&f->lock);
    (void)snprintf(v->last_token, sizeof v->last_token, "%.1000s", q->target);
    (void)snprintf(v->body, sizeof v->body, "%s", bytes_text(&q->body));
    (void)pthread_mutex_unlock(&f->lock);
    atomic_fetch_add(&v->tokens, 1);
    if (v->slow_ms)
        (void)usleep((useconds_t)v->slow_ms * 1000);
    (void)snprintf(text, sizeof text, "{\"access_token\":\"" TOKEN "%d\"}", v->generation);
    return script_reply(fd, 200, "", text);
}

static bool registry(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    struct services *v = f->more;
    char value[512], want[64], headers[1024];
    note(f, q);
    if (text_starts(q->target, "/token"))
        return give_token(f, fd, q);
    (void)snprintf(want, sizeof want, "Bearer " TOKEN "%d", v->generation);
    script_header(q, "Authorization", value, sizeof value);
    if (!v->never && strcmp(value, want) == 0)
        return script_reply(fd, 200, "", "{}");
    atomic_fetch_add(&v->refused, 1);
    (void)snprintf(headers, sizeof headers,
                   "WWW-Authenticate: Bearer realm=\"%s\",service=\"s v\",scope=\"%s\"\r\n",
                   v->realm, v->scope);
    return script_reply(fd, 401, headers, "");
}

static bool elsewhere(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    (void)pthread_mutex_lock(&f->lock);
    size_t used = strlen(f->other_heads);
    (void)snprintf(f->other_heads + used, sizeof f->other_heads - used, "%s", q->head);
    (void)pthread_mutex_unlock(&f->lock);
    return give_token(f, fd, q);
}

static struct services *begin(struct fixture *f, const char *user)
{
    static struct services v;
    v = (struct services){.scope = "repository:acme/app:pull"};
    f->more = &v;
    f->other = script_server_start(elsewhere, f);
    (void)setenv("XDG_CONFIG_HOME", scratch_name(f->scratch, "config"), 1);
    (void)setenv("HOME", f->scratch->path, 1);
    start(f, registry, user, user ? "secret" : NULL);
    (void)snprintf(v.realm, sizeof v.realm, "/token");
    return &v;
}

static void point_elsewhere(struct fixture *f, struct services *v)
{
    (void)snprintf(v->realm, sizeof v->realm, "http://%s/token", script_server_host(f->other));
}

static int get(struct fixture *f)
{
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    f->err = (struct error)ERROR_INIT;
    return remote_manifest_get(f->remote, REPO, "v1", &out, NULL, &f->err);
}

static void passwords_stay_with_the_registry(void **state)
{
    struct fixture *f = *state;
    struct services *v = begin(f, "anna");
    point_elsewhere(f, v);
    assert_int_equal(get(f), E_UNAUTHORIZED);
    expect_says(f, "credentials are sent to the registry itself only");
    expect_says(f, "--token-service");
    assert_int_equal(script_server_connections(f->other), 0);
    assert_int_equal(f->n, 1);
}

/* Without a secret anybody may be asked for a token. */
static void nothing_is_lost_without_a_password(void **state)
{
    struct fixture *f = *state;
    struct services *v = begin(f, NULL);
    point_elsewhere(f, v);
    assert_int_equal(get(f), OK);
    assert_non_null(strstr(f->other_heads, "GET /token?service=s%20v&scope=repository%3Aacme%2Fapp"
                                           "%3Apull "));
    assert_null(strcasestr(f->other_heads, "authorization"));
}

static void an_allowed_service_gets_the_password(void **state)
{
    struct fixture *f = *state;
    struct services *v = begin(f, "anna");
    char origin[64];
    point_elsewhere(f, v);
    (void)snprintf(origin, sizeof origin, "http://%s", script_server_host(f->other));
    f->remote->token_service = strdup("http://127.0.0.1:1");
    assert_int_equal(get(f), E_UNAUTHORIZED);
    assert_int_equal(script_server_connections(f->other), 0);
    cleanup_free(&f->remote->token_service);
    f->remote->token_service = strdup(origin);
    assert_int_equal(get(f), OK);
    assert_non_null(strstr(f->other_heads, "Authorization: Basic YW5uYTpzZWNyZXQ="));
    /* And the token that it gave went to the registry alone. */
    assert_null(strstr(f->other_heads, TOKEN));
}

static void services_are_recorded_by_origin(void **state)
{
    struct fixture *f = *state;
    struct url base, realm;
    bool known = true;
    (void)setenv("XDG_CONFIG_HOME", scratch_name(f->scratch, "config"), 1);
#define URL(text, out) assert_int_equal(url_parse(text, strlen(text), out, NULL), OK)
    URL("https://registry.example:5443/", &base);
    URL("https://auth.example/token", &realm);
    assert_int_equal(realm_known(&base, &realm, &known, &f->err), OK);
    assert_false(known);
    assert_int_equal(realm_allow("registry.example:5443", "https://auth.example", &f->err), OK);
    assert_int_equal(realm_allow("registry.example:5443", "https://two.example", &f->err), OK);
    assert_int_equal(realm_allow("registry.example:5443", "https://auth.example", &f->err), OK);
    assert_int_equal(realm_known(&base, &realm, &known, &f->err), OK);
    assert_true(known);
    static const char *const others[] = {
        "http://auth.example/token", "https://auth.example:8443/token",
        "https://auth.example.evil/", "https://evil.auth.example/", "https://example/"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        URL(others[i], &realm);
        assert_int_equal(realm_known(&base, &realm, &known, &f->err), OK);
        assert_false(known);
    }
    URL("https://auth.example/token", &realm);
    URL("https://registry.example/", &base); /* another port, another registry */
    assert_int_equal(realm_known(&base, &realm, &known, &f->err), OK);
    assert_false(known);
    URL("https://registry-1.docker.io/", &base);
    URL("https://auth.docker.io/token", &realm);
    assert_int_equal(realm_known(&base, &realm, &known, &f->err), OK);
    assert_true(known);
    scratch_write_text(f->scratch, "config/bulla/token-services.json", "{");
    URL("https://registry.example/", &base);
    assert_int_equal(realm_known(&base, &realm, &known, &f->err), E_INVALID);
    expect_says(f, "token-services.json");
}

static void services_are_urls_of_hosts(void **state)
{
    struct fixture *f = *state;
    struct url url;
    static const char *const bad[] = {"",
                                      "auth.example",
                                      "http://auth.example",
                                      "https://",
                                      "https://u@a.example",
                                      "https://a.example/x",
                                      "https://a\n",
                                      "https://a.example?x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(realm_parse(bad[i], false, &url, &f->err), E_USAGE);
    assert_int_equal(realm_parse("https://a.example:8443", false, &url, &f->err), OK);
}

static void identity_tokens_are_posted(void **state)
{
    struct fixture *f = *state;
    struct services *v = begin(f, NULL);
    CLEANUP(bytes_done) struct bytes secret = BYTES_INIT;
    assert_int_equal(auth_identity("id+t0k/=&x", &secret, &f->err), OK);
    wallet_set_identity(f->remote->wallet, &secret);
    assert_int_equal(get(f), OK);
    assert_non_null(strstr(f->heads, "POST /token HTTP/1.1\r\n"));
    assert_non_null(strstr(f->heads, "Content-Type: application/x-www-form-urlencoded\r\n"));
    assert_string_equal(v->body, "grant_type=refresh_token&client_id=bulla&service=s%20v"
                                 "&scope=repository%3Aacme%2Fapp%3Apull"
                                 "&refresh_token=id%2Bt0k%2F%3D%26x");
    assert_null(strstr(f->heads, "t0k/"));
    /* It binds like a password. */
    point_elsewhere(f, v);
    v->generation++;
    assert_int_equal(get(f), E_UNAUTHORIZED);
    assert_int_equal(script_server_connections(f->other), 0);
    assert_null(strstr(f->err.message, "t0k"));
}

static void identity_tokens_come_from_the_file(void **state)
{
    struct fixture *f = *state;
    struct services *v = begin(f, NULL);
    CLEANUP(cleanup_free)
    char *text = text_format("{\"auths\":{\"%s/acme\":{\"identitytoken\":\"id7\"}}}",
                             script_server_host(f->server));
    scratch_write_text(f->scratch, "auth.json", text);
    struct remote_options options = {.host = script_server_host(f->server),
                                     .repository = REPO,
                                     .auth_file = scratch_name(f->scratch, "auth.json"),
                                     .plain_http = true};
    remote_cleanup(&f->remote);
    assert_int_equal(remote_open(&options, &f->remote, &f->err), OK);
    assert_int_equal(get(f), OK);
    assert_non_null(strstr(v->body, "refresh_token=id7"));
}

/* A push needs more rights than the look before it; the wider token must not be lost again. */
static void scopes_add_up(void **state)
{
    struct fixture *f = *state;
    struct services *v = begin(f, "anna");
    assert_int_equal(get(f), OK);
    v->generation++;
    v->scope = "repository:acme/app:pull,push";
    assert_int_equal(get(f), OK);
    assert_non_null(strstr(v->last_token, "scope=repository%3Aacme%2Fapp%3Apull%2Cpush&scope="
                                          "repository%3Aacme%2Fapp%3Apull"));
    assert_int_equal(v->tokens, 2);
    /* A registry that names ever new scopes: bounded, and the latest is always asked for. */
    static char many[64];
    char want[64];
    for (int i = 0; i < 3 * WALLET_SCOPES_MAX; i++) {
        (void)snprintf(many, sizeof many, "repository:r%d:pull", i);
        v->scope = many;
        v->generation++;
        assert_int_equal(get(f), OK);
        (void)snprintf(want, sizeof want, "&scope=repository%%3Ar%d%%3Apull", i);
        assert_non_null(strstr(v->last_token, want));
    }
    int scopes = 0;
    for (const char *p = v->last_token; (p = strstr(p, "scope=")) != NULL; p++)
        scopes++;
    assert_in_range(scopes, 1, WALLET_SCOPES_MAX);
}

static int get_job(void *ctx, struct remote *r, size_t i, struct error *err)
{
    (void)ctx;
    (void)i;
    CLEANUP(bytes_done) struct bytes out = BYTES_INIT;
    return remote_manifest_get(r, REPO, "v1", &out, NULL, err);
}

static void workers_share_one_token(void **state)
{
    struct fixture *f = *state;
    struct services *v = begin(f, "anna");
    v->slow_ms = 100;
    if (crew_run(f->remote, 8, 32, get_job, f, &f->err))
        fail_msg("%s", f->err.message);
    assert_int_equal(v->tokens, 1);
    assert_in_range(v->refused, 1, 8);
    assert_in_range(script_server_connections(f->server), 2, 8);
    /* It ends: one more, again for all. */
    v->generation++;
    assert_int_equal(crew_run(f->remote, 8, 32, get_job, f, &f->err), OK);
    assert_int_equal(v->tokens, 2);
}

static void endless_refusals_end(void **state)
{
    struct fixture *f = *state;
    struct services *v = begin(f, "anna");
    v->never = true;
    f->remote->retry = retry_transfers;
    assert_int_equal(get(f), E_UNAUTHORIZED);
    assert_int_equal(f->n, 3); /* asked, token, asked */
    assert_int_equal(crew_run(f->remote, 4, 100, get_job, f, &f->err), E_UNAUTHORIZED);
    assert_in_range(f->n, 4, 3 + 4 * 3);
    assert_null(strstr(f->err.message, "secret"));
}

static bool token_service_is_down(void *ctx, int fd, const struct script_request *q)
{
    return text_starts(q->target, "/token") ? (note(ctx, q), false) : registry(ctx, fd, q);
}

/* The wait for a token service and that for the registry are one and the same. */
static void a_missing_token_service_is_not_waited_for_twice(void **state)
{
    struct fixture *f = *state;
    struct services *v = begin(f, "anna");
    remote_cleanup(&f->remote);
    script_server_stop(f->server);
    start(f, token_service_is_down, "anna", "secret");
    f->remote->retry =
        (struct retry_policy){.tries = 4, .first_ms = 1, .max_ms = 2, .max_asked_s = 1};
    assert_int_equal(get(f), E_NETWORK);
    assert_int_equal(v->refused, 4);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(passwords_stay_with_the_registry),
        CASE(nothing_is_lost_without_a_password),
        CASE(an_allowed_service_gets_the_password),
        CASE(services_are_recorded_by_origin),
        CASE(services_are_urls_of_hosts),
        CASE(identity_tokens_are_posted),
        CASE(identity_tokens_come_from_the_file),
        CASE(scopes_add_up),
        CASE(workers_share_one_token),
        CASE(endless_refusals_end),
        CASE(a_missing_token_service_is_not_waited_for_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

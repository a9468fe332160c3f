/* Certificates and TLS versions against a real TLS server, openssl s_server. */
#include "base/file.h"
#include "client/remote.h"
#include "client/remote_private.h"
#include "tests/support/scratch.h"
#include "tests/support/script_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct fixture {
    struct scratch *scratch;
    struct remote *remote;
    pid_t server;
    int stdin_fd;
    char host[32];
    struct error err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    void *scratch = NULL;
    assert_non_null(f);
    assert_int_equal(scratch_setup(&scratch), 0);
    f->scratch = scratch;
    f->stdin_fd = -1;
    (void)setenv("REGISTRY_AUTH_FILE", "/nonexistent/auth.json", 1);
    *state = f;
    return 0;
}

static void stop(struct fixture *f)
{
    if (f->server > 0) {
        (void)kill(f->server, SIGKILL);
        (void)waitpid(f->server, NULL, 0);
    }
    f->server = 0;
    cleanup_fd(&f->stdin_fd);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    void *scratch = f->scratch;
    remote_close(f->remote);
    stop(f);
    free(f);
    return scratch_teardown(&scratch);
}

/* A program in the scratch folder; in and out: its standard input and output, -1: /dev/null. */
static pid_t spawn(const struct fixture *f, const char *const *argv, int in, int out)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fchdir(f->scratch->fd) || dup2(in >= 0 ? in : null, 0) < 0 ||
        dup2(out >= 0 ? out : null, 1) < 0 || dup2(null, 2) < 0)
        _exit(126);
    (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static void make_certificate(const struct fixture *f, const char *name)
{
    char subject[64], alternative[96];
    (void)snprintf(subject, sizeof subject, "/CN=%s", name);
    (void)snprintf(alternative, sizeof alternative, "subjectAltName=%s", name);
    const char *const argv[] = {"openssl",
                                "req",
                                "-x509",
                                "-newkey",
                                "ec",
                                "-pkeyopt",
                                "ec_paramgen_curve:P-256",
                                "-nodes",
                                "-keyout",
                                "key.pem",
                                "-out",
                                "ca.crt",
                                "-days",
                                "2",
                                "-subj",
                                subject,
                                "-addext",
                                alternative,
                                NULL};
    int status = -1;
    pid_t pid = spawn(f, argv, -1, -1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void start(struct fixture *f, const char *version)
{
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const char *const argv[] = {
        "openssl", "s_server", "-accept", "127.0.0.1:0",        "-cert", "ca.crt", "-key",
        "key.pem", version,    "-cipher", "DEFAULT@SECLEVEL=0", NULL};
    f->server = spawn(f, argv, in[0], out[1]);
    f->stdin_fd = in[1];
    cleanup_fd(&in[0]);
    cleanup_fd(&out[1]);
    char line[256];
    CLEANUP(cleanup_file) FILE *lines = fdopen(out[0], "r");
    assert_non_null(lines);
    while (fgets(line, sizeof line, lines))
        if (sscanf(line, "ACCEPT %31s", f->host) == 1)
            return;
    fail_msg("openssl s_server did not start");
}

/* s_server sends what it reads from its standard input to whoever connects next. */
static void put_answer(const struct fixture *f, const char *answer)
{
    assert_int_equal(write(f->stdin_fd, answer, strlen(answer)), (ssize_t)strlen(answer));
}

static int ping(struct fixture *f, const char *ca)
{
    struct remote_options options = {.host = f->host, .ca_file = ca};
    remote_cleanup(&f->remote);
    assert_int_equal(remote_open(&options, &f->remote, &f->err), OK);
    f->remote->http_options.limits.connect_ms = 5000;
    return remote_ping(f->remote, &f->err);
}

static void expect_says(const struct fixture *f, const char *words)
{
    if (!strstr(f->err.message, words))
        fail_msg("'%s' does not say '%s'", f->err.message, words);
}

static void unknown_certificates_are_refused(void **state)
{
    struct fixture *f = *state;
    char want[128];
    make_certificate(f, "IP:127.0.0.1");
    start(f, "-tls1_2");
    assert_int_equal(ping(f, NULL), E_TLS);
    expect_says(f, "is not trusted");
    (void)snprintf(want, sizeof want, "pass --cacert FILE or put the CA in /etc/bulla/certs.d/%s",
                   f->host);
    expect_says(f, want);
    /* A new one: the old may still be busy with the handshake that failed, and take the answer. */
    stop(f);
    start(f, "-tls1_2");
    put_answer(f, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    if (ping(f, scratch_name(f->scratch, "ca.crt")))
        fail_msg("%s", f->err.message);
}

static void other_names_are_refused(void **state)
{
    struct fixture *f = *state;
    make_certificate(f, "IP:127.0.0.2");
    start(f, "-tls1_3");
    assert_int_equal(ping(f, scratch_name(f->scratch, "ca.crt")), E_TLS);
    expect_says(f, "is not trusted");
}

static void old_tls_is_refused(void **state)
{
    struct fixture *f = *state;
    make_certificate(f, "IP:127.0.0.1");
    start(f, "-tls1_1");
    assert_int_equal(ping(f, scratch_name(f->scratch, "ca.crt")), E_TLS);
    expect_says(f, "handshake");
}

static void rubbish_as_ca_is_refused(void **state)
{
    struct fixture *f = *state;
    make_certificate(f, "IP:127.0.0.1");
    start(f, "-tls1_3");
    scratch_write_text(f->scratch, "bad.crt",
                       "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_int_equal(ping(f, scratch_name(f->scratch, "bad.crt")), E_TLS);
}

static void downgrades_to_http_are_refused(void **state)
{
    struct fixture *f = *state;
    struct store *store = NULL;
    struct blob_writer *w = NULL;
    struct descriptor d = {.size = 2};
    assert_int_equal(digest_of(DIGEST_SHA256, "{}", 2, &d.digest, NULL), OK);
    make_certificate(f, "IP:127.0.0.1");
    start(f, "-tls1_3");
    struct remote_options options = {.host = f->host,
                                     .ca_file = scratch_name(f->scratch, "ca.crt")};
    assert_int_equal(remote_open(&options, &f->remote, &f->err), OK);
    assert_int_equal(store_open(f->scratch->path, &store, &f->err), OK);
    assert_int_equal(blob_writer_new(store, &w, &f->err), OK);
    put_answer(f, "HTTP/1.1 307 T\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n"
                  "Connection: close\r\n\r\n");
    int rc = remote_blob_fetch(f->remote, "a", &d, w, NULL, &f->err);
    blob_writer_free(w);
    store_close(store);
    assert_int_equal(rc, E_PROTOCOL);
    expect_says(f, "without TLS");
}

/* What a plain HTTP server says to a TLS greeting. */
static void *answer_in_plain_text(void *argument)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    char greeting[4096];
    CLEANUP(cleanup_fd) int fd = accept4(*(int *)argument, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 && recv(fd, greeting, sizeof greeting, 0) > 0)
        (void)script_send(fd, answer, sizeof answer - 1);
    return NULL;
}

static void plain_servers_are_named(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    CLEANUP(cleanup_fd) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(f->host, sizeof f->host, "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&thread, NULL, answer_in_plain_text, &listener), 0);
    int rc = ping(f, NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(rc, E_TLS);
    expect_says(f, "does not speak TLS on this port");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(unknown_certificates_are_refused),
        CASE(other_names_are_refused),
        CASE(old_tls_is_refused),
        CASE(rubbish_as_ca_is_refused),
        CASE(downgrades_to_http_are_refused),
        CASE(plain_servers_are_named),
    };
    (void)setenv("OPENSSL_CONF", TEST_DATA "/client/weak-openssl.cnf", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

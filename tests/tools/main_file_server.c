/*
 * file-server: a lying, slow or broken registry. Serves the files of a folder over TLS exactly as
 * they lie there; notes beside a file say how it misbehaves. Tests only, never installed.
 *
 *   file-server --root DIR --cert FILE --key FILE --bad-cert FILE --bad-key FILE
 *
 * Prints "listening on 127.0.0.1:PORT"; ends with SIGTERM or with the process that started it.
 * SIGUSR2: new connections get the bad certificate; SIGUSR1: the good one again.
 * GET /a/b is DIR/a/b, and so is the answer to a POST. Notes on it:
 *   DIR/a/b.status   its number is the status, the file (if any) the body
 *   DIR/a/b.endless  the file's bytes, then 'x' for ever
 *   DIR/a/b.stall    the file's first half, then nothing more
 *   DIR/a/b.drip     one byte in half a second
 *   DIR/a/b.badtls   no answer, and the bad certificate from now on
 *   DIR/a/b.lastgood an answer, and the bad certificate from now on
 *   DIR/a/b.digest   Docker-Content-Digest of the answer
 *   DIR/a/b.location Location of the answer
 *   DIR/a/b.swap     served instead from the second request on
 * Each request is a line "METHOD PATH" in DIR/requests.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE  2048
#define BODY_MAX   (64u << 20)
#define ENDLESS    ((uint64_t)1 << 40)
#define DRIP_US    500000
#define BLOCK_SIZE 32768

struct identity {
    gnutls_pcert_st certificate;
    gnutls_privkey_t key;
};

static struct {
    const char *root;
    struct identity good, bad;
    atomic_bool bad_tls;
    int log_fd;
} server;

struct body {
    char *data;
    size_t len;
    uint64_t total; /* what is promised */
    bool stalls, drips;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "file-server: %s\n", what);
    exit(1);
}

/* --- files --- */

static bool read_all(const char *path, char **out, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return false;
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= (off_t)BODY_MAX;
    char *data = good ? malloc((size_t)st.st_size + 1) : NULL;
    ssize_t got = data ? read(fd, data, (size_t)st.st_size) : -1;
    close(fd);
    if (got < 0) {
        free(data);
        return false;
    }
    data[got] = '\0';
    *out = data;
    *len = (size_t)got;
    return true;
}

/* The note's path; false where it is not there. */
static bool note(const char *path, const char *name, char out[PATH_SIZE])
{
    (void)snprintf(out, PATH_SIZE, "%s.%s", path, name);
    return access(out, F_OK) == 0;
}

static bool has_note(const char *path, const char *name)
{
    char file[PATH_SIZE];
    return note(path, name, file);
}

/* The note's text without its line end; "" where it is not there. */
static void note_text(const char *path, const char *name, char *out, size_t size)
{
    char file[PATH_SIZE], *data;
    size_t len;
    out[0] = '\0';
    if (!note(path, name, file) || !read_all(file, &data, &len))
        return;
    (void)snprintf(out, size, "%.*s", (int)strcspn(data, "\n"), data);
    free(data);
}

/* --- answers --- */

static ssize_t produce(void *cls, uint64_t at, char *out, size_t max)
{
    struct body *b = cls;
    size_t n = max;
    if (b->stalls && at >= b->len / 2)
        for (;;)
            pause(); /* until the process ends */
    if (b->stalls)
        n = b->len / 2 - (size_t)at;
    if (b->drips) {
        usleep(DRIP_US);
        n = 1;
    }
    n = n < max ? n : max;
    for (size_t i = 0; i < n; i++)
        out[i] = at + i < b->len ? b->data[at + i] : 'x';
    return (ssize_t)n;
}

static void body_free(void *cls)
{
    struct body *b = cls;
    free(b->data);
    free(b);
}

static struct MHD_Response *respond(const char *path, char *data, size_t len)
{
    struct body *b = calloc(1, sizeof *b);
    if (!b)
        die("out of memory");
    bool endless = has_note(path, "endless");
    *b = (struct body){data, len, endless ? ENDLESS : len, has_note(path, "stall"),
                       has_note(path, "drip")};
    /* Endless ones are chunked: no length gives them away. */
    return MHD_create_response_from_callback(endless ? MHD_SIZE_UNKNOWN : b->total, BLOCK_SIZE,
                                             produce, b, body_free);
}

static void log_request(const char *method, const char *url)
{
    char line[PATH_SIZE];
    int n = snprintf(line, sizeof line, "%s %.1500s\n", method, url);
    if (n > 0 && write(server.log_fd, line, (size_t)n) != n)
        die("cannot write the log");
}

/* A second version, from the second request on. */
static bool read_file(const char *path, char **data, size_t *len)
{
    char other[PATH_SIZE], seen[PATH_SIZE];
    if (!note(path, "swap", other))
        return read_all(path, data, len);
    if (note(path, "seen", seen))
        return read_all(other, data, len);
    int fd = open(seen, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return read_all(path, data, len);
}

static enum MHD_Result queue(struct MHD_Connection *connection, unsigned status, const char *path,
                             struct MHD_Response *response)
{
    static const char *const notes[][2] = {{"digest", "Docker-Content-Digest"},
                                           {"location", "Location"}};
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        char text[1024];
        note_text(path, notes[i][0], text, sizeof text);
        if (text[0])
            (void)MHD_add_response_header(response, notes[i][1], text);
    }
    enum MHD_Result rc = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **state)
{
    static char begun;
    char path[PATH_SIZE], text[32], *data = NULL;
    size_t len = 0;
    (void)cls, (void)version, (void)upload;
    if (!*state) { /* the headers only */
        *state = &begun;
        return MHD_YES;
    }
    if (*upload_len) { /* whatever is sent is thrown away */
        *upload_len = 0;
        return MHD_YES;
    }
    log_request(method, url);
    if (strstr(url, "/.."))
        return MHD_NO;
    (void)snprintf(path, sizeof path - 16, "%s%s", server.root, url);
    if (has_note(path, "badtls")) {
        server.bad_tls = true;
        return MHD_NO;
    }
    if (has_note(path, "lastgood"))
        server.bad_tls = true;
    note_text(path, "status", text, sizeof text);
    unsigned status = text[0] ? (unsigned)strtoul(text, NULL, 10) : 200;
    if (!read_file(path, &data, &len)) {
        status = text[0] ? status : 404;
        data = strdup("{}");
        len = 2;
    }
    return queue(connection, status, path, respond(path, data, len));
}

/* --- TLS --- */

static void load_identity(const char *certificate, const char *key, struct identity *out)
{
    gnutls_datum_t file;
    if (gnutls_load_file(certificate, &file) < 0 ||
        gnutls_pcert_import_x509_raw(&out->certificate, &file, GNUTLS_X509_FMT_PEM, 0) < 0)
        die("cannot read a certificate");
    gnutls_free(file.data);
    if (gnutls_load_file(key, &file) < 0 || gnutls_privkey_init(&out->key) < 0 ||
        gnutls_privkey_import_x509_raw(out->key, &file, GNUTLS_X509_FMT_PEM, NULL, 0) < 0)
        die("cannot read a key");
    gnutls_free(file.data);
}

static int choose_identity(gnutls_session_t session, const gnutls_datum_t *issuers, int n_issuers,
                           const gnutls_pk_algorithm_t *algorithms, int n_algorithms,
                           gnutls_pcert_st **certificate, unsigned *n, gnutls_privkey_t *key)
{
    struct identity *id = server.bad_tls ? &server.bad : &server.good;
    (void)session, (void)issuers, (void)n_issuers, (void)algorithms, (void)n_algorithms;
    *certificate = &id->certificate;
    *n = 1;
    *key = id->key;
    return 0;
}

/* --- start --- */

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    die("usage: file-server --root DIR --cert FILE --key FILE --bad-cert FILE --bad-key FILE");
    return NULL;
}

static int listen_local(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 64) ||
        getsockname(fd, (struct sockaddr *)&a, &size))
        die("cannot listen");
    *port = ntohs(a.sin_port);
    return fd;
}

static void start(int argc, char **argv)
{
    char path[PATH_SIZE];
    server.root = option(argc, argv, "--root");
    load_identity(option(argc, argv, "--cert"), option(argc, argv, "--key"), &server.good);
    load_identity(option(argc, argv, "--bad-cert"), option(argc, argv, "--bad-key"), &server.bad);
    (void)snprintf(path, sizeof path, "%s/requests", server.root);
    server.log_fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (server.log_fd < 0)
        die("cannot write the log");
}

int main(int argc, char **argv)
{
    sigset_t ends;
    uint16_t port;
    int got = 0;
    start(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* a failed test leaves nothing behind */
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGUSR1);
    (void)sigaddset(&ends, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &ends, NULL);
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                             MHD_USE_POLL | MHD_USE_TLS,
                         0, NULL, NULL, handle, NULL, MHD_OPTION_LISTEN_SOCKET, listen_local(&port),
                         MHD_OPTION_HTTPS_CERT_CALLBACK, choose_identity, MHD_OPTION_END);
    if (!daemon)
        die("cannot start");
    (void)printf("listening on 127.0.0.1:%u\n", (unsigned)port);
    (void)fflush(stdout);
    while (sigwait(&ends, &got) == 0 && got != SIGTERM)
        server.bad_tls = got == SIGUSR2;
    _exit(0); /* stalled answers would keep a graceful end waiting */
}

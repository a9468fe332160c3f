/*
 * Many TLS connections at once, for bench/connections.sh; never installed.
 *
 *   connections HOST PORT idle COUNT SEED
 *       opens COUNT connections, says "open N"; for each line on standard input asks /healthz on
 *       200 of them, chosen by SEED, and says "median MS max MS failed N"
 *   connections HOST PORT push COUNT BYTES SEED REPOSITORY AUTHORIZATION
 *       COUNT parallel uploads of BYTES each; says "pushed N of COUNT seconds S"
 *
 * The server's certificate is not checked: it is the server that is measured.
 */
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define ASKED     200u
#define BLOCK     (1u << 20)
#define MAX_COUNT 100000u

struct peer {
    int fd;
    gnutls_session_t session;
};

static struct sockaddr_in target;
static gnutls_certificate_credentials_t credentials;

static void peer_close(struct peer *p)
{
    if (p->session)
        gnutls_deinit(p->session);
    cleanup_fd(&p->fd);
    p->session = NULL;
}

static bool peer_open(struct peer *p)
{
    int on = 1, got = 0;
    *p = (struct peer){socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL};
    if (p->fd < 0 || connect(p->fd, (const struct sockaddr *)&target, sizeof target) != 0 ||
        setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        gnutls_init(&p->session, GNUTLS_CLIENT) != 0 ||
        gnutls_set_default_priority(p->session) != 0 ||
        gnutls_credentials_set(p->session, GNUTLS_CRD_CERTIFICATE, credentials) != 0) {
        peer_close(p);
        return false;
    }
    gnutls_transport_set_int(p->session, p->fd);
    do
        got = gnutls_handshake(p->session);
    while (got < 0 && !gnutls_error_is_fatal(got));
    if (got < 0)
        peer_close(p);
    return got == 0;
}

static bool send_all(struct peer *p, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = gnutls_record_send(p->session, at, len);
        if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* Headers and as much body as they promise are here. */
static bool is_whole(const char *text, size_t len)
{
    const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
    if (!end)
        return false;
    size_t body =
        length && length < end ? strtoul(length + strlen("Content-Length: "), NULL, 10) : 0;
    return len >= (size_t)(end + 4 - text) + body;
}

/* The status of one answer, which must be small; 0: none came. */
static int read_status(struct peer *p)
{
    char text[4096] = "";
    size_t len = 0;
    while (len < sizeof text - 1) {
        ssize_t n = gnutls_record_recv(p->session, text + len, sizeof text - 1 - len);
        if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
            continue;
        if (n <= 0)
            return 0;
        len += (size_t)n;
        text[len] = '\0';
        if (is_whole(text, len))
            return atoi(text + strlen("HTTP/1.1 "));
    }
    return 0;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* --- idle --- */

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void ask_some(struct peer *peers, unsigned n, uint64_t *random)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n";
    int64_t us[ASKED];
    unsigned failed = 0;
    for (unsigned i = 0; i < ASKED; i++) {
        struct peer *p = &peers[next_random(random) % n];
        int64_t start = clock_monotonic_us();
        failed += !send_all(p, request, sizeof request - 1) || read_status(p) != 200;
        us[i] = clock_monotonic_us() - start;
    }
    qsort(us, ASKED, sizeof *us, by_value);
    printf("median %.2f max %.2f failed %u\n", (double)us[ASKED / 2] / 1000,
           (double)us[ASKED - 1] / 1000, failed);
    fflush(stdout);
}

static int run_idle(unsigned count, uint64_t seed)
{
    unsigned open = 0;
    char line[16];
    struct peer *peers = calloc(count, sizeof *peers);
    if (!peers)
        return 1;
    while (open < count && peer_open(&peers[open]))
        open++;
    printf("open %u\n", open);
    fflush(stdout);
    while (open > 0 && fgets(line, sizeof line, stdin))
        ask_some(peers, open, &seed);
    for (unsigned i = 0; i < open; i++)
        peer_close(&peers[i]);
    free(peers);
    return open == count ? 0 : 1;
}

/* --- push --- */

struct push {
    pthread_t thread;
    const char *repository, *authorization;
    uint64_t bytes, seed;
    const uint8_t *block; /* shared; every upload differs in its first bytes */
    bool done;
};

/* The i-th piece of the body. */
static const uint8_t *piece(const struct push *p, uint64_t offset, uint8_t first[64], size_t *len)
{
    uint64_t rest = p->bytes - offset;
    if (offset == 0) {
        memset(first, 0, 64);
        memcpy(first, &p->seed, sizeof p->seed);
        *len = rest < 64 ? (size_t)rest : 64;
        return first;
    }
    *len = rest < BLOCK ? (size_t)rest : BLOCK;
    return p->block;
}

static int digest_of_push(const struct push *p, char text[DIGEST_TEXT_MAX])
{
    struct digest_stream *stream = NULL;
    struct digest d;
    uint8_t first[64];
    int rc = digest_stream_new(DIGEST_SHA256, &stream, NULL);
    for (uint64_t at = 0; rc == 0 && at < p->bytes;) {
        size_t len = 0;
        const uint8_t *data = piece(p, at, first, &len);
        rc = digest_stream_update(stream, data, len, NULL);
        at += len;
    }
    if (rc == 0)
        rc = digest_stream_peek(stream, &d, NULL);
    digest_stream_free(stream);
    if (rc == 0)
        digest_format(&d, text);
    return rc;
}

static void *push_one(void *context)
{
    struct push *p = context;
    struct peer peer = {-1, NULL};
    char digest[DIGEST_TEXT_MAX], head[2048];
    uint8_t first[64];
    if (digest_of_push(p, digest) != 0 || !peer_open(&peer))
        return NULL;
    snprintf(head, sizeof head,
             "POST /v2/%s/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: bench\r\nAuthorization: %s\r\n"
             "Content-Type: application/octet-stream\r\nContent-Length: %" PRIu64 "\r\n\r\n",
             p->repository, digest, p->authorization, p->bytes);
    bool good = send_all(&peer, head, strlen(head));
    for (uint64_t at = 0; good && at < p->bytes;) {
        size_t len = 0;
        const uint8_t *data = piece(p, at, first, &len);
        good = send_all(&peer, data, len);
        at += len;
    }
    p->done = good && read_status(&peer) == 201;
    peer_close(&peer);
    return NULL;
}

static int run_push(unsigned count, const struct push *model)
{
    unsigned done = 0, started = 0;
    uint64_t random = model->seed;
    uint8_t *block = malloc(BLOCK);
    struct push *all = calloc(count, sizeof *all);
    int64_t start = clock_monotonic_ms();
    if (!block || !all)
        return 1;
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = (uint8_t)next_random(&random);
    for (; started < count; started++) {
        all[started] = *model;
        all[started].seed = next_random(&random);
        all[started].block = block;
        if (pthread_create(&all[started].thread, NULL, push_one, &all[started]) != 0)
            break;
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(all[i].thread, NULL);
        done += all[i].done;
    }
    printf("pushed %u of %u seconds %.1f\n", done, count,
           (double)(clock_monotonic_ms() - start) / 1000);
    free(block);
    free(all);
    return done == count ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t port = 0, count = 0, bytes = 0, seed = 0;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    bool idle = argc == 6 && strcmp(argv[3], "idle") == 0;
    bool push = argc == 9 && strcmp(argv[3], "push") == 0;
    if ((!idle && !push) || inet_pton(AF_INET, argv[1], &target.sin_addr) != 1 ||
        text_to_u64(argv[2], strlen(argv[2]), UINT16_MAX, &port, NULL) != 0 ||
        text_to_u64(argv[4], strlen(argv[4]), MAX_COUNT, &count, NULL) != 0 ||
        (push && text_to_u64(argv[5], strlen(argv[5]), INT64_MAX, &bytes, NULL) != 0) ||
        text_to_u64(argv[push ? 6 : 5], strlen(argv[push ? 6 : 5]), INT64_MAX, &seed, NULL) != 0 ||
        gnutls_certificate_allocate_credentials(&credentials) != 0) {
        fputs("usage: connections HOST PORT idle COUNT SEED\n"
              "       connections HOST PORT push COUNT BYTES SEED REPOSITORY AUTHORIZATION\n",
              stderr);
        return 2;
    }
    target.sin_family = AF_INET;
    target.sin_port = htons((uint16_t)port);
    const struct push model = {.repository = push ? argv[7] : NULL,
                               .authorization = push ? argv[8] : NULL,
                               .bytes = bytes,
                               .seed = seed};
    int status = idle ? run_idle((unsigned)count, seed) : run_push((unsigned)count, &model);
    gnutls_certificate_free_credentials(credentials);
    return status;
}

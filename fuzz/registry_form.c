/* Multipart bodies of publications and mirrors: whatever the bytes, and however they are cut on the
 * way, the parts stay within their limits. The first byte says how the body is cut; the parser
 * wants a connection, so that each input is a request over a pair of sockets. */
#include "registry/http_form.h"

#include <assert.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_PARTS 5
#define MAX_BYTES 4000

static const char head[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n"
                           "Content-Type: multipart/form-data; boundary=bound\r\n\r\n";
static struct {
    const uint8_t *data;
    size_t size;
} input;

static void check(const struct http_form *f)
{
    const struct http_part *parts = NULL;
    size_t n = 0, all = 0;
    if (http_form_parts(f, &parts, &n, NULL) != 0)
        return;
    assert(n <= MAX_PARTS && !http_form_failed(f));
    for (size_t i = 0; i < n; i++) {
        assert(strlen(parts[i].name) < sizeof parts[i].name);
        assert(strlen(parts[i].file_name) < sizeof parts[i].file_name);
        all += parts[i].data.len;
    }
    assert(all <= MAX_BYTES);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *body,
                                  size_t *size, void **state)
{
    (void)context, (void)url, (void)method, (void)version, (void)body, (void)size, (void)state;
    const struct http_form_limits limits = {MAX_BYTES, MAX_PARTS};
    struct http_form *f = NULL;
    size_t step = 1 + input.data[0] % 64u * 16u;
    if (http_form_new(connection, &limits, &f, NULL) != 0)
        return MHD_NO;
    for (size_t at = 1; at < input.size; at += step)
        http_form_feed(f, (const char *)input.data + at,
                       input.size - at < step ? input.size - at : step);
    http_form_finish(f);
    check(f);
    http_form_free(f);
    input.size = 0; /* seen */
    return MHD_NO;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct MHD_Daemon *daemon;
    const struct sockaddr_in from = {.sin_family = AF_INET};
    int pair[2];
    if (!daemon)
        daemon = MHD_start_daemon(MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, NULL,
                                  MHD_OPTION_CONNECTION_LIMIT, 8u, MHD_OPTION_END);
    if (!daemon || !size || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return 0;
    input.data = data;
    input.size = size;
    assert(write(pair[0], head, sizeof head - 1) == (ssize_t)sizeof head - 1);
    if (MHD_add_connection(daemon, pair[1], (const struct sockaddr *)&from, sizeof from) == MHD_YES)
        for (int i = 0; i < 8 && input.size; i++)
            (void)MHD_run(daemon);
    assert(input.size == 0);
    close(pair[0]);
    (void)MHD_run(daemon);
    return 0;
}

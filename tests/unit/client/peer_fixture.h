/*
 * One registry that breaks every rule it can, and a client that talks to it: what the tests of
 * struct remote share. Not thread-safe but for the handlers.
 */
#ifndef BULLA_TESTS_UNIT_CLIENT_PEER_FIXTURE_H
#define BULLA_TESTS_UNIT_CLIENT_PEER_FIXTURE_H

#include "base/clock.h"
#include "client/remote.h"
#include "client/remote_private.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/scratch.h"
#include "tests/support/script_server.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

#define REPO "acme/app"

struct fixture {
    struct scratch *scratch;
    struct store *store;
    struct remote *remote;
    struct script_server *server, *other;
    pthread_mutex_t lock;
    int n;               /* requests to server */
    char heads[1 << 16]; /* their heads, one behind the other */
    char other_heads[1 << 14];
    const char *answer;     /* raw bytes: the whole answer … */
    const char *location;   /* … or parts that the handlers fill in */
    const char *put_answer; /* of the PUT that ends an upload; NULL: 201 */
    int deletes;
    bool complete; /* a whole PUT body came */
    int blocks;    /* of 16 KiB that an endless body had taken */
    void *more;    /* a test file's own */
    struct error err;
};

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    void *scratch = NULL;
    assert_non_null(f);
    assert_int_equal(scratch_setup(&scratch), 0);
    f->scratch = scratch;
    (void)setenv("REGISTRY_AUTH_FILE", "/nonexistent/auth.json", 1);
    assert_int_equal(store_open(f->scratch->path, &f->store, &f->err), OK);
    (void)pthread_mutex_init(&f->lock, NULL);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    void *scratch = f->scratch;
    remote_close(f->remote);
    script_server_stop(f->server);
    script_server_stop(f->other);
    store_close(f->store);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
    return scratch_teardown(&scratch);
}

static inline void note(struct fixture *f, const struct script_request *q)
{
    (void)pthread_mutex_lock(&f->lock);
    f->n++;
    size_t used = strlen(f->heads);
    (void)snprintf(f->heads + used, sizeof f->heads - used, "%s", q->head);
    f->complete = f->complete || (strcmp(q->method, "PUT") == 0 && q->body_complete);
    f->deletes += strcmp(q->method, "DELETE") == 0;
    (void)pthread_mutex_unlock(&f->lock);
}

static inline bool answer_as_told(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    note(f, q);
    return script_printf(fd, "%s", f->answer) && strstr(f->answer, "close") == NULL;
}

static inline void start(struct fixture *f, script_handler *handler, const char *user,
                         const char *password)
{
    f->server = script_server_start(handler, f);
    struct remote_options options = {.host = script_server_host(f->server),
                                     .user = user,
                                     .password = password,
                                     .plain_http = true};
    assert_int_equal(remote_open(&options, &f->remote, &f->err), OK);
    /* Long enough for a busy machine, short enough for a test. */
    f->remote->http_options.limits = (struct http_limits){
        .connect_ms = 5000, .small_ms = 20000, .stall_s = 20, .upload_stall_s = 20};
}

static inline void expect_says(const struct fixture *f, const char *words)
{
    if (!strstr(f->err.message, words))
        fail_msg("'%s' does not say '%s'", f->err.message, words);
}

static inline struct descriptor descriptor_of(const void *data, size_t len)
{
    struct descriptor d = {.media_type = MEDIA_OCI_LAYER, .size = (int64_t)len};
    assert_int_equal(digest_of(DIGEST_SHA256, data, len, &d.digest, NULL), OK);
    return d;
}

static inline bool endless_body(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    static const char block[16384] = "x";
    note(f, q);
    bool more = script_printf(fd, "%s", f->answer);
    for (f->blocks = 0; more && f->blocks < 1 << 16; f->blocks++)
        more = script_send(fd, block, sizeof block);
    return false;
}

static inline bool gives_blob(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    size_t used = strlen(f->other_heads);
    (void)snprintf(f->other_heads + used, sizeof f->other_heads - used, "%s", q->head);
    return script_reply(fd, 200, "", "0123456789");
}

static inline bool stalls(void *ctx, int fd, const struct script_request *q)
{
    struct fixture *f = ctx;
    note(f, q);
    char byte;
    bool more = script_printf(fd, "%s", f->answer);
    while (more && recv(fd, &byte, 1, 0) > 0) /* until the client gives up */
        ;
    return false;
}

#endif

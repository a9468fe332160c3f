/*
 * Uploading one blob: mount, or POST and PUT in one go; after a break status, PATCH of the rest and
 * PUT. Source: OCI distribution-spec 1.1.1 end-4 to end-6, end-11, end-13.
 */
#include "client/remote_private.h"
#include "client/upload_memo.h"
#include "oci/reference.h"

#include <string.h>

#define MEMO_MIN     (1u << 20)  /* smaller blobs are sent again sooner than asked about */
#define RESUME_MIN   (64u << 10) /* less is not worth a session's subtleties ("0-0" is 0 or 1) */
#define FORGIVEN     (1u << 20) /* bytes that arrived since the last failure: the count starts anew */
#define BUSY_TRIES   20         /* a registry may yet be reading what the broken connection sent */
#define BUSY_WAIT_MS 250
#define HASH_BLOCK   (256u << 10)

/* The source of a request body: a file from `start` on, hashed from its first byte. */
struct upload {
    struct remote *remote;
    const char *repository;
    const char *name; /* "blob sha256:…", for messages */
    int fd;
    uint64_t size, start, at;
    const struct digest *expected;
    struct digest_stream *hash;
    struct progress *progress;
    uint64_t shown; /* bytes told to progress */
    struct upload_memo memo;
    struct url where; /* the session */
    bool resumed;     /* its first bytes were not sent by this request */
};

static void upload_done(struct upload *u)
{
    digest_stream_free(u->hash);
    upload_memo_done(&u->memo);
}

static ssize_t pread_retry(int fd, void *buffer, size_t size, uint64_t at)
{
    ssize_t n;
    do
        n = pread(fd, buffer, size, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n;
}

static int upload_read_block(struct upload *u, void *buffer, size_t size, size_t *got,
                             struct error *err)
{
    uint64_t left = u->size - u->at;
    ssize_t n = pread_retry(u->fd, buffer, size < left ? size : (size_t)left, u->at);
    if (n < 0)
        return fail_sys(err, errno, "read %s", u->name);
    if (n == 0)
        return fail(err, E_DIGEST, "%s ends after %llu of %llu bytes", u->name,
                    (unsigned long long)u->at, (unsigned long long)u->size);
    int rc = digest_stream_update(u->hash, buffer, (size_t)n, err);
    if (rc)
        return rc;
    u->at += (uint64_t)n;
    *got = (size_t)n;
    return OK;
}

static void upload_show(struct upload *u)
{
    if (u->at > u->shown)
        progress_add(u->progress, u->at - u->shown);
    else
        progress_take_back(u->progress, u->shown - u->at);
    u->shown = u->at;
}

/* To `start`; what lies before it was sent earlier and is hashed here. */
static int upload_rewind(void *ctx, struct error *err)
{
    struct upload *u = ctx;
    digest_stream_cleanup(&u->hash);
    u->at = 0;
    int rc = digest_stream_new(u->expected->alg, &u->hash, err);
    CLEANUP(cleanup_free) uint8_t *block = !rc && u->start ? malloc(HASH_BLOCK) : NULL;
    if (!rc && u->start && !block)
        rc = fail_nomem(err);
    while (!rc && u->at < u->start) {
        uint64_t left = u->start - u->at;
        size_t got = 0;
        rc = upload_read_block(u, block, left < HASH_BLOCK ? (size_t)left : HASH_BLOCK, &got, err);
    }
    upload_show(u);
    return rc;
}

/* The whole source was read: is it what was promised, and does it end here? */
static int upload_check(struct upload *u, struct error *err)
{
    struct digest actual;
    char byte;
    int rc = digest_stream_peek(u->hash, &actual, err);
    if (rc)
        return rc;
    ssize_t more = pread_retry(u->fd, &byte, 1, u->size);
    if (more < 0)
        return fail_sys(err, errno, "read %s", u->name);
    if (more > 0)
        return fail(err, E_DIGEST, "%s is larger than the %llu bytes it should have", u->name,
                    (unsigned long long)u->size);
    if (!digest_equal(&actual, u->expected))
        return fail(err, E_DIGEST, "the bytes of %s do not have its digest", u->name);
    return OK;
}

static int upload_read(void *ctx, void *buffer, size_t size, size_t *got, struct error *err)
{
    struct upload *u = ctx;
    if (u->at == u->size) {
        *got = 0;
        return OK;
    }
    int rc = upload_read_block(u, buffer, size, got, err);
    /* Checked before the last bytes leave: a wrong source never becomes a complete request. */
    if (!rc && u->at == u->size)
        rc = upload_check(u, err);
    if (!rc)
        upload_show(u);
    return rc;
}

/* --- sessions --- */

/* Where bytes go must be of the registry's own origin: credentials follow (CVE-2026-50151). */
static int take_location(struct upload *u, const char *location, struct error *err)
{
    const struct remote *r = u->remote;
    struct url url;
    if (!*location)
        return fail(err, E_PROTOCOL, "registry %s began an upload without Location",
                    r->base.authority);
    int rc = url_resolve(&r->base, location, &url, err);
    if (rc)
        return wrap(err, rc, "registry %s", r->base.authority);
    if (!url_same_origin(&url, &r->base))
        return fail(err, E_PROTOCOL, "registry %s wants the upload sent to %s://%s, another host",
                    r->base.authority, url.https ? "https" : "http", url.authority);
    u->where = url;
    return OK;
}

/* What cannot be remembered is no reason to stop. */
static void remember(struct upload *u)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct error why = ERROR_INIT;
    if (url_format(&u->where, &text, NULL) == OK &&
        upload_memo_write(&u->memo, bytes_text(&text), &why))
        upload_memo_forget(&u->memo);
}

/* POST. from: a repository to mount from, or NULL; *mounted: it was. OCI dist end-4a, end-11 */
static int post(struct upload *u, const char *from, bool *mounted, struct error *err)
{
    struct remote *r = u->remote;
    struct url url;
    char text[DIGEST_TEXT_MAX];
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = remote_url(r, &url, err, "/v2/%s/blobs/uploads/", u->repository);
    if (!rc && from)
        rc = url_add_query(&url, "mount", digest_format(u->expected, text), err);
    if (!rc && from)
        rc = url_add_query(&url, "from", from, err);
    struct http_request request = {.method = HTTP_POST, .url = &url};
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    if (rc)
        return rc;
    *mounted = from && response.status == 201;
    if (*mounted)
        return OK;
    rc = remote_expect(r, &response, 202, "an upload", err);
    return rc ? rc : take_location(u, response.location, err);
}

static int begin(struct upload *u, const char *from, bool *mounted, struct error *err)
{
    struct error why = ERROR_INIT;
    u->start = 0;
    u->resumed = false;
    int rc = from ? post(u, from, mounted, &why) : E_NOTFOUND;
    /* A mount that is refused (no right to read there, say) must not end the push. */
    if (rc && rc != E_INTERRUPTED && rc != E_NETWORK && rc != E_TLS)
        rc = post(u, NULL, mounted, err);
    else if (rc && err)
        *err = why;
    if (!rc && !*mounted)
        remember(u);
    return rc;
}

/* Gives the registry its space back. The reason why we cancel is what counts, so nothing that
 * happens here is reported. */
static void cancel(struct upload *u)
{
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = {.method = HTTP_DELETE, .url = &u->where};
    struct retry_policy patience = u->remote->retry;
    u->remote->retry.tries = 1;
    int rc = remote_call(u->remote, &request, &response, NULL);
    (void)rc;
    u->remote->retry = patience;
}

/* "0-N", also "bytes=0-N": N + 1 bytes are there. */
static bool parse_range(const char *text, uint64_t size, uint64_t *have)
{
    uint64_t last = 0;
    if (text_starts(text, "bytes="))
        text += 6;
    if (!text_starts(text, "0-") ||
        text_to_u64(text + 2, strlen(text + 2), INT64_MAX - 1, &last, NULL))
        return false;
    *have = last + 1;
    return *have <= size;
}

/* Asks how much the session has (OCI dist end-13). *alive false: begin anew. */
static int ask_status(struct upload *u, bool *alive, struct error *err)
{
    struct remote *r = u->remote;
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = {.method = HTTP_GET, .url = &u->where};
    uint64_t have = 0;
    int rc = OK;
    *alive = false;
    for (int tries = 0; !rc && tries < BUSY_TRIES; tries++) {
        rc = remote_call(r, &request, &response, err);
        if (rc || response.status != 409)
            break;
        rc = retry_sleep(BUSY_WAIT_MS, r->http_options.stop, err);
    }
    if (rc)
        return rc;
    if (response.status != 204 && response.status != 200 && response.status != 202)
        return response.status == 401 || response.status == 429 || response.status >= 500
                   ? remote_expect(r, &response, 204, "an upload", err)
                   : OK;
    if (!parse_range(response.range, u->size, &have) || have < RESUME_MIN)
        return OK;
    if (response.location[0])
        rc = take_location(u, response.location, err);
    if (rc)
        return rc;
    u->start = have;
    u->resumed = true;
    *alive = true;
    return OK;
}

/* --- sending --- */

static int send_body(struct upload *u, struct http_request *request, struct http_response *response,
                     struct error *err)
{
    struct http_source source = {.rewind = upload_rewind,
                                 .read = upload_read,
                                 .ctx = u,
                                 .size = (int64_t)(u->size - u->start)};
    request->content_type = "application/octet-stream";
    request->source = &source;
    request->large = true;
    int rc = remote_call(u->remote, request, response, err);
    request->source = NULL;
    return rc;
}

/* The rest behind what the session has, in one chunk. OCI dist end-5 */
static int send_rest(struct upload *u, struct http_response *response, struct error *err)
{
    char range[HTTP_RANGE_MAX];
    (void)snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)u->start,
                   (unsigned long long)(u->size - 1));
    struct url url = u->where;
    struct http_request request = {.method = HTTP_PATCH, .url = &url, .content_range = range};
    int rc = send_body(u, &request, response, err);
    if (rc || response->status != 202)
        return rc;
    if (response->location[0])
        rc = take_location(u, response->location, err);
    if (!rc)
        u->start = u->size;
    return rc;
}

/* PUT: with the whole body, or where the session has everything, without. OCI dist end-6 */
static int send_end(struct upload *u, struct http_response *response, struct error *err)
{
    struct url url = u->where;
    char text[DIGEST_TEXT_MAX];
    struct http_request request = {.method = HTTP_PUT, .url = &url};
    int rc = url_add_query(&url, "digest", digest_format(u->expected, text), err);
    if (rc)
        return rc;
    if (u->start == 0)
        return send_body(u, &request, response, err);
    rc = upload_rewind(u, err); /* everything was sent earlier: is it still what we have? */
    if (!rc)
        rc = upload_check(u, err);
    return rc ? rc : remote_call(u->remote, &request, response, err);
}

static int send_once(struct upload *u, struct http_response *response, struct error *err)
{
    int rc = OK;
    response->status = 202;
    if (u->start > 0 && u->start < u->size)
        rc = send_rest(u, response, err);
    return rc || response->status != 202 ? rc : send_end(u, response, err);
}

/* After a break: what of it arrived? All of it, perhaps, and only the answer was lost. */
static int find_out(struct upload *u, bool *done, struct error *err)
{
    bool alive = false, mounted = false;
    int rc = ask_status(u, &alive, err);
    if (rc || alive)
        return rc;
    rc = remote_blob_exists(u->remote, u->repository, u->expected, done, err);
    if (rc || *done)
        return rc;
    cancel(u);
    return begin(u, NULL, &mounted, err);
}

/* The session's bytes are not ours, or it has another number of them: from the first byte again,
 * once. */
static bool is_spoilt(const struct upload *u, const struct http_response *response)
{
    return u->resumed && (response->status == 400 || response->status == 404 ||
                          response->status == 409 || response->status == 416);
}

static int send_all(struct upload *u, struct error *err)
{
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    unsigned failed = 0;
    bool done = false, anew = false, mounted = false;
    int rc = OK;
    while (!rc && !done) {
        uint64_t before = u->start;
        rc = send_once(u, &response, err);
        if (!rc && response.status == 201)
            return OK;
        if (!rc && is_spoilt(u, &response) && !anew) {
            anew = true;
            cancel(u);
            rc = begin(u, NULL, &mounted, err);
            continue;
        }
        if (!remote_again(u->remote, ++failed, &response, &rc, err))
            return rc ? rc : remote_expect(u->remote, &response, 201, u->name, err);
        rc = find_out(u, &done, err);
        if (u->start >= before + FORGIVEN)
            failed = 0;
    }
    return rc;
}

/* Goes on with a session of an earlier run, if there is one. */
static int pick_up(struct upload *u, bool *alive, struct error *err)
{
    CLEANUP(bytes_done) struct bytes location = BYTES_INIT;
    struct error why = ERROR_INIT;
    *alive = false;
    int rc = upload_memo_read(&u->memo, &location, err);
    if (rc || !location.len || take_location(u, bytes_text(&location), &why))
        return rc;
    rc = ask_status(u, alive, err);
    if (!rc && !*alive)
        cancel(u);
    return rc;
}

/* Whether the session may be of use to a later run. */
static bool worth_keeping(int rc)
{
    return rc == E_NETWORK || rc == E_INTERRUPTED || rc == E_UNAUTHORIZED || rc == E_TLS;
}

/* Without a memo (another process uploads the same blob, a full disk) an upload works as well. */
static bool open_memo(struct upload *u, struct store *store)
{
    return upload_memo_open(store, u->remote->base.authority, u->repository, u->expected, &u->memo,
                            NULL) == OK;
}

static int upload(struct upload *u, const struct blob_upload_options *o, bool *mounted,
                  struct error *err)
{
    bool alive = false;
    int rc = OK;
    if (o->store && u->size >= MEMO_MIN && open_memo(u, o->store))
        rc = pick_up(u, &alive, err);
    if (!rc && !alive)
        rc = begin(u, o->from, mounted, err);
    if (!rc && !*mounted) {
        rc = send_all(u, err);
        if (rc && !worth_keeping(rc))
            cancel(u);
    }
    if (!rc || !worth_keeping(rc))
        upload_memo_forget(&u->memo);
    return rc;
}

int remote_blob_upload(struct remote *r, const char *repository, const struct descriptor *d, int fd,
                       const struct blob_upload_options *options, struct error *err)
{
    static const struct blob_upload_options none = {.store = NULL};
    char name[REMOTE_BLOB_NAME_MAX];
    bool mounted = false;
    if (!options)
        options = &none;
    CLEANUP(upload_done)
    struct upload u = {.remote = r,
                       .repository = repository,
                       .name = name,
                       .fd = fd,
                       .expected = &d->digest,
                       .progress = options->progress,
                       .memo = UPLOAD_MEMO_INIT};
    int rc = remote_check_repository(repository, err);
    if (!rc && (d->size < 0 || d->digest.alg == DIGEST_NONE))
        rc = fail(err, E_USAGE, "a blob without size or digest");
    if (!rc && options->from)
        rc = remote_check_repository(options->from, err);
    if (rc)
        return rc;
    (void)remote_blob_name(&d->digest, name);
    u.size = (uint64_t)d->size;
    if (u.size == 0) { /* nothing will be read, so nothing would be checked */
        rc = upload_rewind(&u, err);
        if (!rc)
            rc = upload_check(&u, err);
    }
    if (!rc)
        rc = upload(&u, options, &mounted, err);
    if (!rc && options->mounted)
        *options->mounted = mounted;
    return rc;
}

int remote_blob_mount(struct remote *r, const char *repository, const struct digest *d,
                      const char *from, bool *mounted, struct error *err)
{
    char name[REMOTE_BLOB_NAME_MAX];
    struct error why = ERROR_INIT;
    CLEANUP(upload_done)
    struct upload u = {.remote = r,
                       .repository = repository,
                       .name = remote_blob_name(d, name),
                       .fd = -1,
                       .expected = d,
                       .memo = UPLOAD_MEMO_INIT};
    bool done = false;
    int rc = remote_check_repository(repository, err);
    if (!rc)
        rc = remote_check_repository(from, err);
    if (rc)
        return rc;
    rc = post(&u, from, &done, &why);
    if (rc == E_INTERRUPTED || rc == E_NETWORK || rc == E_TLS)
        return fail(err, rc, "%s", why.message);
    if (!rc && !done)
        cancel(&u);
    *mounted = !rc && done;
    return OK;
}

void remote_blob_upload_forget(const struct remote *r, const char *repository,
                               const struct descriptor *d, struct store *store)
{
    CLEANUP(upload_memo_done) struct upload_memo m = UPLOAD_MEMO_INIT;
    if (store && d->size >= (int64_t)MEMO_MIN &&
        upload_memo_open(store, r->base.authority, repository, &d->digest, &m, NULL) == OK)
        upload_memo_forget(&m);
}

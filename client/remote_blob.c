/* Blobs: HEAD, upload, download. Source: OCI distribution-spec 1.1.1. */
#include "client/remote_private.h"

#include <string.h>

#define MAX_REDIRECTS 4 /* a registry in front of an object store needs one */
#define WHAT_MAX      (DIGEST_TEXT_MAX + 16)

static void blob_name(const struct digest *d, char out[WHAT_MAX])
{
    char text[DIGEST_TEXT_MAX];
    (void)snprintf(out, WHAT_MAX, "blob %s", digest_format(d, text));
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 307 || status == 308;
}

static int blob_url(const struct remote *r, const char *repository, const struct digest *d,
                    struct url *out, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    int rc = remote_check_repository(repository, err);
    if (!rc && d->alg == DIGEST_NONE)
        rc = fail(err, E_USAGE, "a blob without digest");
    return rc ? rc : remote_url(r, out, err, "/v2/%s/blobs/%s", repository, digest_format(d, text));
}

int remote_blob_exists(struct remote *r, const char *repository, const struct digest *d,
                       bool *exists, struct error *err)
{
    struct url url;
    char what[WHAT_MAX];
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = blob_url(r, repository, d, &url, err);
    struct http_request request = {.method = HTTP_HEAD, .url = &url}; /* OCI dist end-2 */
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    if (rc)
        return rc;
    blob_name(d, what);
    /* Registries in front of an object store answer a HEAD with a redirect to what they have. */
    bool found = is_redirect(response.status);
    if (!found && response.status != 404) {
        rc = remote_expect(r, &response, 200, what, err);
        if (rc)
            return rc;
        found = true;
    }
    *exists = found;
    return OK;
}

/* --- upload --- */

/* The source of a PUT: a file, hashed while it is sent. */
struct upload {
    const char *name; /* "blob sha256:…", for messages */
    int fd;
    uint64_t size, at;
    const struct digest *expected;
    struct digest_stream *hash;
    struct progress *progress;
};

static void upload_done(struct upload *u)
{
    digest_stream_free(u->hash);
}

static int upload_rewind(void *ctx, struct error *err)
{
    struct upload *u = ctx;
    digest_stream_cleanup(&u->hash);
    u->at = 0;
    return digest_stream_new(u->expected->alg, &u->hash, err);
}

/* The whole source was read: is it what was promised, and does it end here? */
static int upload_check(struct upload *u, struct error *err)
{
    struct digest actual;
    char byte;
    int rc = digest_stream_peek(u->hash, &actual, err);
    if (rc)
        return rc;
    ssize_t more = pread(u->fd, &byte, 1, (off_t)u->size);
    if (more < 0)
        return fail_sys(err, errno, "read %s", u->name);
    if (more > 0)
        return fail(err, E_DIGEST, "%s is larger than the %llu bytes it should have", u->name,
                    (unsigned long long)u->size);
    if (!digest_equal(&actual, u->expected))
        return fail(err, E_DIGEST, "the bytes of %s do not have its digest", u->name);
    return OK;
}

static ssize_t pread_retry(int fd, void *buffer, size_t size, uint64_t at)
{
    ssize_t n;
    do
        n = pread(fd, buffer, size, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n;
}

static int upload_read(void *ctx, void *buffer, size_t size, size_t *got, struct error *err)
{
    struct upload *u = ctx;
    uint64_t left = u->size - u->at;
    if (left == 0) {
        *got = 0;
        return OK;
    }
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
    /* Checked before the last bytes leave: a wrong source never becomes a complete request. */
    if (u->at == u->size)
        rc = upload_check(u, err);
    if (rc)
        return rc;
    progress_add(u->progress, (uint64_t)n);
    *got = (size_t)n;
    return OK;
}

/* POST; *out is where the bytes go. It must be of the registry's own origin: credentials follow it
 * (CVE-2026-50151). OCI dist end-4a */
static int begin_upload(struct remote *r, const char *repository, struct url *out,
                        struct error *err)
{
    struct url url;
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = remote_url(r, &url, err, "/v2/%s/blobs/uploads/", repository);
    struct http_request request = {.method = HTTP_POST, .url = &url};
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    if (!rc)
        rc = remote_expect(r, &response, 202, "an upload", err);
    if (rc)
        return rc;
    if (!response.location[0])
        return fail(err, E_PROTOCOL, "registry %s began an upload without Location",
                    r->base.authority);
    rc = url_resolve(&r->base, response.location, &url, err);
    if (rc)
        return wrap(err, rc, "registry %s", r->base.authority);
    if (!url_same_origin(&url, &r->base))
        return fail(err, E_PROTOCOL, "registry %s wants the upload sent to %s://%s, another host",
                    r->base.authority, url.https ? "https" : "http", url.authority);
    *out = url;
    return OK;
}

/* Gives the registry its space back. The reason why we cancel is what counts, so nothing that
 * happens here is reported. */
static void cancel_upload(struct remote *r, const struct url *url)
{
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = {.method = HTTP_DELETE, .url = url};
    int rc = remote_call(r, &request, &response, NULL);
    (void)rc;
}

/* OCI dist end-6 */
static int send_upload(struct remote *r, const struct url *where, struct upload *u,
                       struct error *err)
{
    struct url url = *where;
    char text[DIGEST_TEXT_MAX];
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    struct http_source source = {
        .rewind = upload_rewind, .read = upload_read, .ctx = u, .size = (int64_t)u->size};
    struct http_request request = {
        .method = HTTP_PUT,
        .url = &url,
        .content_type = "application/octet-stream",
        .source = &source,
        .large = true,
    };
    int rc = url_add_query(&url, "digest", digest_format(u->expected, text), err);
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    return rc ? rc : remote_expect(r, &response, 201, u->name, err);
}

int remote_blob_upload(struct remote *r, const char *repository, const struct descriptor *d, int fd,
                       struct progress *progress, struct error *err)
{
    struct url where;
    char name[WHAT_MAX];
    CLEANUP(upload_done)
    struct upload u = {.name = name, .fd = fd, .expected = &d->digest, .progress = progress};
    int rc = remote_check_repository(repository, err);
    if (!rc && (d->size < 0 || d->digest.alg == DIGEST_NONE))
        rc = fail(err, E_USAGE, "a blob without size or digest");
    if (rc)
        return rc;
    blob_name(&d->digest, name);
    u.size = (uint64_t)d->size;
    if (u.size == 0) { /* nothing will be read, so nothing would be checked */
        rc = upload_rewind(&u, err);
        if (!rc)
            rc = upload_check(&u, err);
    }
    if (!rc)
        rc = begin_upload(r, repository, &where, err);
    if (!rc) {
        rc = send_upload(r, &where, &u, err);
        if (rc)
            cancel_upload(r, &where);
    }
    return rc;
}

/* --- download --- */

struct download {
    const char *name; /* "blob sha256:…", for messages */
    uint64_t size, got;
    struct blob_writer *writer;
    struct progress *progress;
};

static int too_many(const struct download *dl, struct error *err)
{
    return fail(err, E_DIGEST, "the registry sends more than the %llu bytes of %s",
                (unsigned long long)dl->size, dl->name);
}

static int download_begin(void *ctx, int64_t content_length, struct error *err)
{
    const struct download *dl = ctx;
    if (content_length >= 0 && (uint64_t)content_length > dl->size)
        return too_many(dl, err);
    if (content_length >= 0 && (uint64_t)content_length < dl->size)
        return fail(err, E_DIGEST, "the registry has %lld bytes for %s of %llu",
                    (long long)content_length, dl->name, (unsigned long long)dl->size);
    return OK;
}

static int download_write(void *ctx, const void *data, size_t len, struct error *err)
{
    struct download *dl = ctx;
    if (len > dl->size - dl->got)
        return too_many(dl, err);
    int rc = blob_writer_write(dl->writer, data, len, err);
    if (rc)
        return rc;
    dl->got += len;
    progress_add(dl->progress, len);
    return OK;
}

/* Where a redirect leads: https only (the registry's own scheme in tests), never down to http. */
static int follow(const struct remote *r, const struct http_response *response, struct url *url,
                  struct error *err)
{
    struct url next;
    if (!response->location[0])
        return fail(err, E_PROTOCOL, "registry %s redirects without Location", r->base.authority);
    int rc = url_resolve(url, response->location, &next, err);
    if (rc)
        return wrap(err, rc, "registry %s", r->base.authority);
    if (!next.https && (url->https || !r->http_options.plain_http))
        return fail(err, E_PROTOCOL, "registry %s redirects to %s without TLS", r->base.authority,
                    next.authority);
    *url = next;
    return OK;
}

/* OCI dist end-2, with redirects. remote_call sends credentials to the registry's origin only. */
static int get_blob(struct remote *r, struct url *url, const struct http_sink *sink,
                    const char *what, struct error *err)
{
    for (int i = 0; i <= MAX_REDIRECTS; i++) {
        CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
        struct http_request request = {.method = HTTP_GET, .url = url, .sink = sink, .large = true};
        int rc = remote_call(r, &request, &response, err);
        if (rc)
            return rc;
        if (!is_redirect(response.status))
            return remote_expect(r, &response, 200, what, err);
        rc = follow(r, &response, url, err);
        if (rc)
            return rc;
    }
    return fail(err, E_PROTOCOL, "registry %s redirects more than %d times", r->base.authority,
                MAX_REDIRECTS);
}

int remote_blob_fetch(struct remote *r, const char *repository, const struct descriptor *d,
                      struct blob_writer *w, struct progress *progress, struct error *err)
{
    struct url url;
    char what[WHAT_MAX];
    int rc = blob_url(r, repository, &d->digest, &url, err);
    if (!rc && d->size < 0)
        rc = fail(err, E_USAGE, "a blob without size");
    if (rc)
        return rc;
    struct download dl = {
        .name = what, .size = (uint64_t)d->size, .writer = w, .progress = progress};
    struct http_sink sink = {.begin = download_begin, .write = download_write, .ctx = &dl};
    blob_name(&d->digest, what);
    rc = get_blob(r, &url, &sink, what, err);
    if (!rc && dl.got != dl.size)
        rc = fail(err, E_DIGEST, "the registry sent %llu of the %llu bytes of %s",
                  (unsigned long long)dl.got, (unsigned long long)dl.size, what);
    return rc;
}

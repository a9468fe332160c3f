/* Blobs: HEAD and download. Source: OCI distribution-spec 1.1.1. */
#include "client/remote_private.h"

#include <string.h>

#define MAX_REDIRECTS 4          /* a registry in front of an object store needs one */
#define FORGIVEN      (1u << 20) /* bytes that came since the last failure: the count starts anew */

const char *remote_blob_name(const struct digest *d, char out[REMOTE_BLOB_NAME_MAX])
{
    char text[DIGEST_TEXT_MAX];
    (void)snprintf(out, REMOTE_BLOB_NAME_MAX, "blob %s", digest_format(d, text));
    return out;
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

/* A HEAD has no body: what the registry has against it, it says to a small GET for the same right.
 */
static int say_why(struct remote *r, const char *repository, int rc, struct error *err)
{
    struct url url;
    struct error ignored = ERROR_INIT;
    char reason[REMOTE_REASON_MAX] = "";
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = {.method = HTTP_GET, .url = &url};
    if (remote_url(r, &url, &ignored, "/v2/%s/tags/list?n=1", repository) == OK &&
        remote_call(r, &request, &response, &ignored) == OK && response.status == 403)
        remote_reason(&response.body, reason);
    const struct error first = *err;
    return *reason ? fail(err, rc, "%s%s", first.message, reason) : rc;
}

int remote_blob_exists(struct remote *r, const char *repository, const struct digest *d,
                       bool *exists, struct error *err)
{
    struct url url;
    char what[REMOTE_BLOB_NAME_MAX];
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = blob_url(r, repository, d, &url, err);
    struct http_request request = {.method = HTTP_HEAD, .url = &url}; /* OCI dist end-2 */
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    if (rc)
        return rc;
    (void)remote_blob_name(d, what);
    /* Registries in front of an object store answer a HEAD with a redirect to what they have. */
    bool found = is_redirect(response.status);
    if (!found && response.status != 404) {
        rc = remote_expect(r, &response, 200, what, err);
        if (rc)
            return rc == E_DENIED ? say_why(r, repository, rc, err) : rc;
        found = true;
    }
    *exists = found;
    return OK;
}

/* --- download --- */

struct download {
    const char *name; /* "blob sha256:…", for messages */
    uint64_t size;
    struct blob_writer *writer; /* knows how much is there */
    struct progress *progress;
};

static uint64_t have(const struct download *dl)
{
    return (uint64_t)blob_writer_size(dl->writer);
}

static int too_many(const struct download *dl, struct error *err)
{
    return fail(err, E_DIGEST, "the registry sends more than the %llu bytes of %s",
                (unsigned long long)dl->size, dl->name);
}

static int download_restart(struct download *dl, struct error *err)
{
    progress_take_back(dl->progress, have(dl));
    return blob_writer_restart(dl->writer, err);
}

/* "bytes FIRST-LAST/TOTAL" must be the very rest that was asked for; TOTAL may be "*". */
static bool is_rest(const struct download *dl, const char *range)
{
    char want[2][HTTP_RANGE_MAX];
    unsigned long long first = have(dl), size = dl->size;
    (void)snprintf(want[0], HTTP_RANGE_MAX, "bytes %llu-%llu/%llu", first, size - 1, size);
    (void)snprintf(want[1], HTTP_RANGE_MAX, "bytes %llu-%llu/*", first, size - 1);
    return strcmp(range, want[0]) == 0 || strcmp(range, want[1]) == 0;
}

static int download_begin(void *ctx, const struct http_response *response, struct error *err)
{
    struct download *dl = ctx;
    if (response->status == 206 && !is_rest(dl, response->content_range))
        return fail(err, E_PROTOCOL, "the registry sends another range of %s than was asked for",
                    dl->name);
    int rc = OK;
    if (response->status == 200 && have(dl)) /* no ranges here: from the first byte again */
        rc = download_restart(dl, err);
    if (rc || response->content_length < 0)
        return rc;
    uint64_t comes = (uint64_t)response->content_length, left = dl->size - have(dl);
    uint64_t whole = have(dl) + comes;
    if (comes > left)
        return too_many(dl, err);
    if (comes < left)
        return fail(err, E_DIGEST, "the registry has %llu bytes for %s of %llu",
                    (unsigned long long)whole, dl->name, (unsigned long long)dl->size);
    return OK;
}

static int download_write(void *ctx, const void *data, size_t len, struct error *err)
{
    struct download *dl = ctx;
    if (len > dl->size - have(dl))
        return too_many(dl, err);
    int rc = blob_writer_write(dl->writer, data, len, err);
    if (!rc)
        progress_add(dl->progress, len);
    return rc;
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
static int get_blob(struct remote *r, const struct url *start, struct download *dl,
                    struct http_response *response, struct error *err)
{
    struct http_sink sink = {.begin = download_begin, .write = download_write, .ctx = dl};
    struct url url = *start;
    for (int i = 0; i <= MAX_REDIRECTS; i++) {
        struct http_request request = {
            .method = HTTP_GET, .url = &url, .sink = &sink, .range_from = have(dl), .large = true};
        int rc = remote_call(r, &request, response, err);
        if (rc || (response->status == 206 && request.range_from))
            return rc;
        if (response->status == 416 && have(dl)) { /* what we have fits nothing there */
            rc = download_restart(dl, err);
            if (rc)
                return rc;
            continue;
        }
        if (!is_redirect(response->status))
            return remote_expect(r, response, 200, dl->name, err);
        rc = follow(r, response, &url, err);
        if (rc)
            return rc;
    }
    return fail(err, E_PROTOCOL, "registry %s redirects more than %d times", r->base.authority,
                MAX_REDIRECTS);
}

/* Until it is all here, or trying again makes no sense. Each try goes on where the last one broke
 * off, and begins at the registry: redirects are good for a while only. */
static int download(struct remote *r, const struct url *url, struct download *dl, struct error *err)
{
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    unsigned failed = 0;
    bool refused;
    int rc;
    do {
        uint64_t before = have(dl);
        rc = get_blob(r, url, dl, &response, err);
        failed = have(dl) >= before + FORGIVEN ? 1 : failed + 1;
        refused = rc == E_NETWORK && response.status >= 400;
        if (refused)
            rc = OK; /* the status says whether it is worth another try */
    } while (remote_again(r, failed, &response, &rc, err));
    return rc || !refused ? rc : remote_expect(r, &response, 200, dl->name, err);
}

int remote_blob_fetch(struct remote *r, const char *repository, const struct descriptor *d,
                      struct blob_writer *w, struct progress *progress, struct error *err)
{
    struct url url;
    char what[REMOTE_BLOB_NAME_MAX];
    int rc = blob_url(r, repository, &d->digest, &url, err);
    if (!rc && d->size < 0)
        rc = fail(err, E_USAGE, "a blob without size");
    if (rc)
        return rc;
    struct download dl = {.name = remote_blob_name(&d->digest, what),
                          .size = (uint64_t)d->size,
                          .writer = w,
                          .progress = progress};
    progress_add(progress, have(&dl));
    if (have(&dl) > dl.size)
        rc = download_restart(&dl, err);
    /* Kept whole: the commit says whether it is right. */
    if (!rc && (dl.size == 0 || have(&dl) < dl.size))
        rc = download(r, &url, &dl, err);
    if (!rc && have(&dl) != dl.size)
        rc = fail(err, E_DIGEST, "the registry sent %llu of the %llu bytes of %s",
                  (unsigned long long)have(&dl), (unsigned long long)dl.size, what);
    return rc;
}

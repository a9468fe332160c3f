/* Blobs: GET, HEAD, DELETE. Source: OCI distribution-spec 1.1.1, end-2, end-10. */
#include "base/log.h"
#include "registry/api.h"
#include "registry/http_text.h"

#include <inttypes.h>

/* 206 and Content-Range, or the whole. */
static int choose_range(struct api_call *c, uint64_t size, uint64_t *offset, uint64_t *len,
                        struct error *err)
{
    const char *range = http_request_header(c->http, "Range");
    const char *if_range = http_request_header(c->http, "If-Range");
    char text[DIGEST_TEXT_MAX];
    bool partial = false;
    *offset = 0;
    *len = size;
    /* Who has the beginning of something else gets the whole. */
    if (if_range && !http_etag_listed(if_range, digest_format(&c->route.digest, text), false))
        range = NULL;
    int rc = range ? http_range_parse(range, size, offset, len, &partial, err) : 0;
    if (rc != 0) {
        c->blob_size = size;
        api_detail(c, "size", js_int_new((int64_t)size));
        return rc;
    }
    http_reply_status(c->http, partial ? 206 : 200);
    if (!partial)
        return 0;
    return api_reply_header(c, "Content-Range", err, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                            *offset, *offset + *len - 1, size);
}

static int blob_unknown(struct api_call *c, int rc)
{
    char text[DIGEST_TEXT_MAX];
    api_detail(c, "digest", js_text_new(digest_format(&c->route.digest, text)));
    return api_fail(c, "BLOB_UNKNOWN", rc);
}

/* A file of another length than was pushed is not that blob: it counts as missing, so that the next
 * push of the blob puts it right. */
static int check_length(const struct digest *d, uint64_t size, int64_t known, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    if (known >= 0 && size == (uint64_t)known)
        return 0;
    log_error("the file of blob %s has %" PRIu64 " bytes and should have %" PRId64
              ": it is damaged, push the blob again",
              digest_format(d, text), size, known);
    return fail(err, E_NOTFOUND, "the registry's copy of this blob is damaged: push it again");
}

static int open_blob(struct api_call *c, struct blob_reader **out, struct error *err)
{
    struct index_tx *tx = NULL;
    int64_t known = 0;
    int rc = api_read(c, &tx, err);
    /* Only what this repository links is shown: storage is shared by all of them. */
    if (rc == 0)
        rc = index_link_find(tx, c->route.repository, &c->route.digest, &known, err);
    if (rc == 0)
        rc = blobs_reader_open(c->registry->blobs, &c->route.digest, out, err);
    if (rc == 0)
        rc = check_length(&c->route.digest, blob_reader_size(*out), known, err);
    if (rc == 0)
        rc = api_lease(c, &c->route.digest, err);
    return rc == E_NOTFOUND ? blob_unknown(c, rc) : rc;
}

static int read_blob(void *context, uint64_t offset, void *out, size_t max, size_t *got,
                     struct error *err)
{
    return blob_reader_read(context, offset, out, max, got, err);
}

static void end_blob(void *context)
{
    blob_reader_free(context);
}

static int get_blob(struct api_call *c, struct error *err)
{
    CLEANUP(blob_reader_cleanup) struct blob_reader *blob = NULL;
    uint64_t offset = 0, len = 0;
    bool unchanged = false;
    int rc = open_blob(c, &blob, err);
    if (rc == 0)
        rc = api_reply_etag(c, &c->route.digest, &unchanged, err);
    if (rc != 0 || unchanged)
        return rc;
    rc = choose_range(c, blob_reader_size(blob), &offset, &len, err);
    if (rc == 0)
        rc = api_reply_header(c, "Content-Type", err, "application/octet-stream");
    if (rc == 0)
        rc = api_reply_header(c, "X-Content-Type-Options", err, "nosniff");
    if (rc == 0)
        rc = api_reply_header(c, "Accept-Ranges", err, "bytes");
    if (rc == 0) {
        const struct http_stream stream = {read_blob, end_blob, TAKE_PTR(blob)};
        http_reply_stream(c->http, &stream, offset, len);
    }
    return rc;
}

struct removal {
    struct api_call *call;
    struct digest parent;
    bool in_use;
};

static int remove_link(struct index_tx *tx, void *arg, struct error *err)
{
    struct removal *removal = arg;
    const struct route *route = &removal->call->route;
    int64_t repository = 0;
    removal->in_use = false;
    int rc = index_repository_find(tx, route->repository, &repository, err);
    if (rc != 0)
        return rc;
    rc = index_reference_find(tx, repository, &route->digest, &removal->parent, err);
    if (rc == 0) {
        removal->in_use = true;
        return fail(err, E_DENIED, "a manifest needs this blob");
    }
    return rc == E_NOTFOUND ? index_link_remove(tx, repository, &route->digest, err) : rc;
}

static int delete_blob(struct api_call *c, struct error *err)
{
    struct removal removal = {.call = c};
    int rc = index_write(c->registry->index, remove_link, &removal, err);
    if (removal.in_use) {
        char text[DIGEST_TEXT_MAX];
        digest_format(&removal.parent, text);
        api_detail(c, "manifest", js_text_new(text));
        return fail(err, E_DENIED, "manifest %s needs this blob: delete the manifest first", text);
    }
    if (rc == E_NOTFOUND)
        return blob_unknown(c, rc);
    http_reply_status(c->http, 202);
    return rc;
}

const struct api_operation api_blob_operations[] = {
    {ROUTE_BLOB, HTTP_GET, NULL, NULL, get_blob, NULL},
    {ROUTE_BLOB, HTTP_DELETE, NULL, NULL, delete_blob, NULL},
    {.finish = NULL}};

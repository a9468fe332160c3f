/* Uploads: POST, PATCH, PUT, GET, DELETE, and mounts. Source: OCI distribution-spec 1.1.1, end-4 to
 * end-6, end-11. */
#include "base/clock.h"
#include "registry/access.h"
#include "registry/api.h"
#include "registry/gc.h"
#include "registry/http_text.h"
#include "registry/index_gc.h"

#include <inttypes.h>
#include <string.h>

#define IGNORED_MAX (64u << 10) /* body of a request that wants none */

static struct upload_owner owner_of(struct api_call *c)
{
    return (struct upload_owner){c->route.repository, c->subject};
}

/* --- linking what was stored or mounted --- */

struct link {
    struct blobs *blobs;
    const char *repository;
    const char *from; /* mounted from there; NULL: stored by this call */
    const struct digest *digest;
    int64_t size;
    const struct config_rules *rules;
    struct quota_excess quota;
};

static int add_link(struct index_tx *tx, void *arg, struct error *err)
{
    struct link *link = arg;
    struct index_usage before;
    int64_t repository = 0;
    /* Clean-up may have been here since the caller looked. */
    int rc = link->from ? index_link_find(tx, link->from, link->digest, NULL, err)
                        : gc_reclaim(link->blobs, link->digest, err);
    if (rc == 0)
        rc = quota_before(tx, link->rules, link->repository, &before, err);
    if (rc == 0)
        rc = index_repository_make(tx, link->repository, &repository, err);
    if (rc == 0)
        rc = index_link_add(tx, repository, link->digest, link->size, err);
    if (rc == 0)
        rc = quota_check(tx, link->rules, link->repository, &before, &link->quota, err);
    return rc == 0 ? index_lease_begin(tx, link->repository, link->digest, clock_now_s(), err) : rc;
}

static int reply_created(struct api_call *c, const struct digest *d, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    http_reply_status(c->http, 201);
    int rc = api_reply_header(c, "Location", err, "/v2/%s/blobs/%s", c->route.repository,
                              digest_format(d, text));
    return rc == 0 ? api_reply_digest(c, d, err) : rc;
}

/* --- POST --- */

static int reply_session(struct api_call *c, unsigned status, const char *id, uint64_t len,
                         struct error *err)
{
    http_reply_status(c->http, status);
    int rc =
        api_reply_header(c, "Location", err, "/v2/%s/blobs/uploads/%s", c->route.repository, id);
    if (rc == 0)
        rc = api_reply_header(c, "Range", err, "0-%" PRIu64, len ? len - 1 : 0);
    if (rc == 0)
        rc = api_reply_header(c, "Docker-Upload-UUID", err, "%s", id);
    return rc;
}

/* A digest from the query; *d stays DIGEST_NONE where it is absent. */
static int query_digest(struct api_call *c, const char *name, struct digest *d, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    int rc = api_query(c, name, text, sizeof text, err);
    if (rc == 0 && text[0])
        rc = digest_parse_text(text, d, err);
    return rc != 0 ? api_fail(c, "DIGEST_INVALID", rc) : 0;
}

/* The blob as the other repository shows it to this caller; E_NOTFOUND for every other case, so
 * that nobody learns what a repository holds that they may not see. */
static int find_in_other(struct api_call *c, const struct digest *d,
                         char from[REFERENCE_REPOSITORY_MAX + 1], int64_t *size, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = api_query(c, "from", from, REFERENCE_REPOSITORY_MAX + 1, err);
    if (rc != 0 || !repository_name_valid(from, strlen(from)))
        return fail(err, E_NOTFOUND, "nothing to mount from");
    rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = index_link_find(tx, from, d, size, err);
    /* After the blob: a token that lacks only scope is worth fetching anew for a blob that is here
     * (401), and for nothing else. */
    if (rc == 0)
        rc = access_check(tx, &c->who, from, ACCESS_PULL, err);
    api_read_end(c);
    return rc == E_DENIED ? fail(err, E_NOTFOUND, "nothing to mount") : rc;
}

static int check_blob_size(struct api_call *c, uint64_t len, struct error *err)
{
    uint64_t max = c->registry->config->limits.blob_bytes;
    if (max && len > max)
        api_detail(c, "maximum", js_int_new((int64_t)max));
    if (max && len > max)
        return fail(err, E_LIMIT, "blobs may have %" PRIu64 " bytes at most", max);
    return 0;
}

static int begin_post(struct api_call *c, struct error *err)
{
    int64_t len = http_request_content_length(c->http);
    int rc = query_digest(c, "digest", &c->digest, err);
    if (rc == 0 && c->digest.alg != DIGEST_NONE)
        rc = check_blob_size(c, len > 0 ? (uint64_t)len : 0, err);
    if (rc == 0 && c->digest.alg != DIGEST_NONE)
        rc = api_quota_admit(c, len > 0 ? (uint64_t)len : 0, err);
    if (rc == 0 && c->digest.alg != DIGEST_NONE)
        rc = blobs_begin(c->registry->blobs, c->digest.alg, &c->upload, err);
    return rc;
}

/* Bytes that came so far stay: the next chunk follows them. */
static int chunk_length_wrong(struct api_call *c, struct error *err)
{
    return api_fail(c, "SIZE_INVALID",
                    fail(err, E_INVALID, "the body is not as long as Content-Range says"));
}

static int check_chunk_complete(struct api_call *c, struct error *err)
{
    return c->in_chunk && blobs_upload_len(c->upload) != c->chunk_end ? chunk_length_wrong(c, err)
                                                                      : 0;
}

static int append_data(struct api_call *c, const void *data, size_t len, struct error *err)
{
    if (!c->upload) { /* a POST that only opens a session: its body means nothing */
        c->ignored += len;
        return c->ignored > IGNORED_MAX ? fail(err, E_LIMIT, "this request takes no body") : 0;
    }
    uint64_t have = blobs_upload_len(c->upload);
    int rc = check_blob_size(c, have + len, err);
    if (rc == 0)
        rc = api_quota_receive(c, have + len, err);
    if (rc == 0 && c->in_chunk && len > c->chunk_end - have)
        rc = chunk_length_wrong(c, err);
    return rc == 0 ? blobs_append(c->registry->blobs, c->upload, data, len, err) : rc;
}

static int mount_blob(struct api_call *c, const struct digest *d, struct error *err)
{
    char from[REFERENCE_REPOSITORY_MAX + 1];
    struct link link = {.blobs = c->registry->blobs,
                        .repository = c->route.repository,
                        .from = from,
                        .digest = d,
                        .rules = &c->registry->config->rules};
    int rc = find_in_other(c, d, from, &link.size, err);
    if (rc == 0)
        rc = index_write(c->registry->index, add_link, &link, err);
    if (rc == E_DENIED)
        return api_quota_refuse(c, &link.quota, rc);
    return rc == 0 ? reply_created(c, d, err) : rc;
}

/* What was received becomes the blob `digest`; the upload is over either way. */
static int end_with_commit(struct api_call *c, struct error *err)
{
    uint64_t len = blobs_upload_len(c->upload);
    char text[DIGEST_TEXT_MAX];
    int rc = check_chunk_complete(c, err);
    if (rc != 0)
        return rc;
    rc = blobs_commit(c->registry->blobs, c->upload, &c->digest, err);
    /* The bytes are not what was promised: going on with them makes no sense. */
    bool over = rc == 0 || rc == E_DIGEST;
    if (c->in_session && over)
        uploads_drop(c->registry->uploads, c->upload, rc != 0);
    else if (c->in_session)
        uploads_return(c->registry->uploads, c->upload);
    else if (rc == 0)
        blobs_upload_free(c->upload);
    else
        blobs_upload_cancel(c->registry->blobs, c->upload);
    c->upload = NULL;
    if (rc == E_DIGEST) {
        api_detail(c, "expected", js_text_new(digest_format(&c->digest, text)));
        api_detail(c, "received", js_int_new((int64_t)len));
        return api_fail(c, "DIGEST_INVALID", rc);
    }
    return rc;
}

/* Makes the file visible, then records it: nobody may remove it in between. */
static int commit_upload(struct api_call *c, struct error *err)
{
    struct registry *r = c->registry;
    struct link link = {.blobs = r->blobs,
                        .repository = c->route.repository,
                        .digest = &c->digest,
                        .size = (int64_t)blobs_upload_len(c->upload),
                        .rules = &r->config->rules};
    unsigned ticket = gate_enter(r->commits);
    int rc = end_with_commit(c, err);
    if (rc == 0) {
        rc = index_write(r->index, add_link, &link, err);
        if (rc != 0)
            gc_suspect(r->index, &c->digest);
    }
    gate_leave(r->commits, ticket);
    if (rc == E_DENIED)
        return api_quota_refuse(c, &link.quota, rc);
    return rc == 0 ? reply_created(c, &c->digest, err) : rc;
}

static int finish_post(struct api_call *c, struct error *err)
{
    char id[BLOB_UPLOAD_ID_LEN + 1];
    struct digest mount = {.alg = DIGEST_NONE};
    if (c->upload)
        return commit_upload(c, err);
    int rc = query_digest(c, "mount", &mount, err);
    if (rc != 0)
        return rc;
    if (mount.alg != DIGEST_NONE) {
        rc = mount_blob(c, &mount, err);
        if (rc != E_NOTFOUND)
            return rc;
    }
    /* Better told now than after a gigabyte. */
    struct upload_owner owner = owner_of(c);
    rc = api_quota_admit(c, 0, err);
    api_read_end(c);
    if (rc == 0)
        rc = uploads_begin(c->registry->uploads, &owner, id, err);
    return rc == 0 ? reply_session(c, 202, id, 0, err) : rc;
}

/* --- PATCH, PUT --- */

static int take_session(struct api_call *c, struct error *err)
{
    struct upload_owner owner = owner_of(c);
    int rc = uploads_take(c->registry->uploads, c->route.upload, &owner, &c->upload, err);
    c->in_session = rc == 0;
    if (rc == E_NOTFOUND)
        return api_fail(c, "BLOB_UPLOAD_UNKNOWN", rc);
    return rc == E_CONFLICT ? api_fail(c, "BLOB_UPLOAD_INVALID", rc) : rc;
}

/* A chunk must follow what is here: one that was sent before is refused, not taken twice. */
static int check_chunk(struct api_call *c, struct error *err)
{
    const char *range = http_request_header(c->http, "Content-Range");
    int64_t announced = http_request_content_length(c->http);
    uint64_t first = 0, last = 0, have = blobs_upload_len(c->upload);
    uint64_t len = have + (announced > 0 ? (uint64_t)announced : 0);
    int rc = check_blob_size(c, len, err);
    if (rc == 0)
        rc = api_quota_admit(c, len, err);
    if (rc != 0 || !range)
        return rc;
    rc = http_content_range_parse(range, &first, &last, err);
    if (rc == 0 && first != have) {
        api_detail(c, "next", js_int_new((int64_t)have));
        rc = fail(err, E_RANGE, "the next chunk starts at byte %" PRIu64, have);
    }
    if (rc != 0)
        return api_fail(c, "BLOB_UPLOAD_INVALID", rc);
    if (announced >= 0 && last - first + 1 != (uint64_t)announced)
        return chunk_length_wrong(c, err);
    c->in_chunk = true;
    c->chunk_end = last + 1;
    return 0;
}

static int begin_patch(struct api_call *c, struct error *err)
{
    int rc = take_session(c, err);
    return rc == 0 ? check_chunk(c, err) : rc;
}

static int finish_patch(struct api_call *c, struct error *err)
{
    int rc = check_chunk_complete(c, err);
    if (rc == 0)
        rc = blobs_upload_flush(c->upload, err);
    if (rc != 0)
        return rc;
    return reply_session(c, 202, c->route.upload, blobs_upload_len(c->upload), err);
}

static int begin_put(struct api_call *c, struct error *err)
{
    int rc = query_digest(c, "digest", &c->digest, err);
    if (rc == 0 && c->digest.alg == DIGEST_NONE)
        return api_fail(c, "DIGEST_INVALID", fail(err, E_INVALID, "'digest' is missing"));
    if (rc == 0)
        rc = take_session(c, err);
    if (rc == 0)
        rc = check_chunk(c, err);
    if (rc == 0 && blobs_upload_len(c->upload) == 0)
        rc = blobs_upload_set_alg(c->upload, c->digest.alg, err);
    return rc;
}

/* --- status, cancel, end --- */

static int finish_status(struct api_call *c, struct error *err)
{
    int rc = take_session(c, err);
    if (rc != 0)
        return rc;
    return reply_session(c, 204, c->route.upload, blobs_upload_len(c->upload), err);
}

static int finish_cancel(struct api_call *c, struct error *err)
{
    int rc = take_session(c, err);
    if (rc != 0)
        return rc;
    uploads_drop(c->registry->uploads, c->upload, true);
    c->upload = NULL;
    http_reply_status(c->http, 204);
    return 0;
}

/* Whatever happened, the session can go on, and bytes without a session are gone. */
static void end_upload(struct api_call *c)
{
    if (!c->upload)
        return;
    if (c->in_session)
        uploads_return(c->registry->uploads, c->upload);
    else
        blobs_upload_cancel(c->registry->blobs, c->upload);
    c->upload = NULL;
}

const struct api_operation api_upload_operations[] = {
    {ROUTE_UPLOADS, HTTP_POST, begin_post, append_data, finish_post, end_upload},
    {ROUTE_UPLOAD, HTTP_PATCH, begin_patch, append_data, finish_patch, end_upload},
    {ROUTE_UPLOAD, HTTP_PUT, begin_put, append_data, commit_upload, end_upload},
    {ROUTE_UPLOAD, HTTP_GET, NULL, NULL, finish_status, end_upload},
    {ROUTE_UPLOAD, HTTP_DELETE, NULL, NULL, finish_cancel, end_upload},
    {.finish = NULL}};

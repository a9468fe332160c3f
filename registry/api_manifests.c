/* Manifests: GET, HEAD, PUT, DELETE by tag and by digest. Source: OCI distribution-spec 1.1.1,
 * end-2, end-3, end-7, end-9. */
#include "base/file.h"
#include "registry/api.h"
#include "registry/index_trust.h"

#include <inttypes.h>
#include <string.h>

#define MEDIA_DOCKER_SCHEMA1 "application/vnd.docker.distribution.manifest.v1"

/* --- GET --- */

static int find_manifest(struct api_call *c, struct index_manifest *out, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = c->route.tag[0]
                 ? index_tag_find(tx, c->route.repository, c->route.tag, out, err)
                 : index_manifest_find(tx, c->route.repository, &c->route.digest, out, err);
    return rc == E_NOTFOUND ? api_fail(c, "MANIFEST_UNKNOWN", rc) : rc;
}

int api_reply_manifest(struct api_call *c, const struct index_manifest *row, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    uint64_t size = 0;
    int rc = blobs_get(c->registry->blobs, &row->digest, &fd, &size, err);
    if (rc == 0)
        rc = file_read_fd(fd, MANIFEST_MAX_BYTES, &body, err);
    if (rc == 0)
        rc = api_reply_digest(c, &row->digest, err);
    if (rc == 0)
        rc = http_reply_header(c->http, "Content-Type", row->media_type, err);
    if (rc == 0)
        rc = http_reply_header(c->http, "X-Content-Type-Options", "nosniff", err);
    if (rc != 0)
        return rc;
    http_reply_status(c->http, 200);
    http_reply_bytes(c->http, &body);
    return 0;
}

static int get_manifest(struct api_call *c, struct error *err)
{
    struct index_manifest row;
    int rc = find_manifest(c, &row, err);
    return rc == 0 ? api_reply_manifest(c, &row, err) : rc;
}

/* --- PUT --- */

static int begin_put(struct api_call *c, struct error *err)
{
    uint64_t max = c->registry->config->limits.manifest_bytes;
    return api_want_body(c, max && max < MANIFEST_MAX_BYTES ? (size_t)max : MANIFEST_MAX_BYTES,
                         err);
}

/* The Content-Type without parameters. */
static int read_media_type(struct api_call *c, char out[MEDIA_TYPE_MAX + 1], struct error *err)
{
    const char *type = http_request_header(c->http, "Content-Type");
    size_t len = type ? strcspn(type, "; \t") : 0;
    if (len == 0 || len > MEDIA_TYPE_MAX)
        return fail(err, E_INVALID, "Content-Type must name the manifest's media type");
    for (size_t i = 0; i < len; i++)
        if (type[i] < 0x21 || type[i] > 0x7e)
            return fail(err, E_INVALID, "Content-Type is not a media type");
    memcpy(out, type, len);
    out[len] = '\0';
    /* It is served as it was sent: never as something that a browser would run. */
    if (!text_starts(out, "application/"))
        return fail(err, E_INVALID, "Content-Type '%s' is not a manifest's", out);
    if (text_starts(out, MEDIA_DOCKER_SCHEMA1))
        return fail(err, E_INVALID, "Docker schema 1 manifests are not supported: convert them");
    return 0;
}

/* *m stays NULL for a manifest of a type that is unknown here: kept as sent. */
static int parse_manifest(struct api_call *c, struct index_manifest *row, struct manifest **m,
                          struct error *err)
{
    enum digest_alg alg = c->route.tag[0] ? DIGEST_SHA256 : c->route.digest.alg;
    int rc = read_media_type(c, row->media_type, err);
    if (rc == 0)
        rc = manifest_parse(c->body.data, c->body.len, row->media_type, m, err);
    if (rc == E_UNSUPPORTED) {
        CLEANUP(js_cleanup) struct js *any = NULL;
        rc = js_parse(c->body.data, c->body.len, &any, err);
    }
    if (rc != 0)
        return api_fail(c, rc == E_LIMIT ? "SIZE_INVALID" : "MANIFEST_INVALID", rc);
    row->size = (int64_t)c->body.len;
    rc = digest_of(alg, c->body.data, c->body.len, &row->digest, err);
    if (rc == 0 && !c->route.tag[0] && !digest_equal(&row->digest, &c->route.digest))
        return api_fail(c, "DIGEST_INVALID",
                        fail(err, E_DIGEST, "the manifest has another digest than its name"));
    return rc;
}

struct put {
    struct api_call *call;
    const struct index_manifest *row;
    const struct manifest *manifest;
    bool missing;
};

/* Present in this repository, and as large as the manifest says. */
static int check_present(struct index_tx *tx, struct put *put, const struct descriptor *d,
                         struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    int64_t size = 0;
    if (d->digest.alg == DIGEST_NONE || d->non_distributable)
        return 0;
    int rc = index_link_find(tx, put->call->route.repository, &d->digest, &size, err);
    if (rc == E_NOTFOUND) {
        put->missing = true;
        return fail(err, E_INVALID, "the manifest names %s, which is not in this repository",
                    digest_format(&d->digest, text));
    }
    if (rc == 0 && size != d->size)
        return fail(err, E_INVALID,
                    "the manifest says that %s has %" PRId64 " bytes, it has %" PRId64,
                    digest_format(&d->digest, text), d->size, size);
    return rc;
}

static int check_all_present(struct index_tx *tx, struct put *put, struct error *err)
{
    const struct manifest *m = put->manifest;
    int rc = m ? check_present(tx, put, &m->config, err) : 0;
    for (size_t i = 0; rc == 0 && m && i < m->n_layers; i++)
        rc = check_present(tx, put, &m->layers[i], err);
    for (size_t i = 0; rc == 0 && m && i < m->n_manifests; i++)
        rc = check_present(tx, put, &m->manifests[i], err);
    return rc;
}

static int record_manifest(struct index_tx *tx, void *arg, struct error *err)
{
    struct put *put = arg;
    const struct route *route = &put->call->route;
    int64_t repository = 0;
    int rc = check_all_present(tx, put, err);
    if (rc == 0)
        rc = index_repository_make(tx, route->repository, &repository, err);
    if (rc == 0)
        rc = index_manifest_put(tx, repository, put->row, put->manifest, err);
    if (rc == 0 && route->tag[0])
        rc = index_tag_set(tx, repository, route->tag, &put->row->digest, err);
    return rc;
}

static int put_manifest(struct api_call *c, struct error *err)
{
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    struct index_manifest row = {.size = 0};
    char text[DIGEST_TEXT_MAX];
    int rc = parse_manifest(c, &row, &m, err);
    if (rc == 0)
        rc = blobs_put(c->registry->blobs, c->body.data, c->body.len, &row.digest, err);
    if (rc != 0)
        return rc;
    struct put put = {c, &row, m, false};
    rc = index_write(c->registry->index, record_manifest, &put, err);
    if (rc == E_INVALID)
        return api_fail(c, put.missing ? "MANIFEST_BLOB_UNKNOWN" : "MANIFEST_INVALID", rc);
    if (rc != 0)
        return rc;
    http_reply_status(c->http, 201);
    rc = api_reply_header(c, "Location", err, "/v2/%s/manifests/%s", c->route.repository,
                          digest_format(&row.digest, text));
    if (rc == 0)
        rc = api_reply_digest(c, &row.digest, err);
    if (rc == 0 && m && m->has_subject)
        rc = api_reply_header(c, "OCI-Subject", err, "%s", digest_format(&m->subject.digest, text));
    return rc;
}

/* --- DELETE --- */

static int remove_manifest(struct index_tx *tx, void *arg, struct error *err)
{
    const struct route *route = arg;
    int64_t repository = 0;
    int rc = index_repository_find(tx, route->repository, &repository, err);
    if (rc == 0)
        rc = index_trust_check_unsigned(tx, repository, route->tag, &route->digest, err);
    if (rc != 0)
        return rc;
    return route->tag[0] ? index_tag_remove(tx, repository, route->tag, err)
                         : index_manifest_remove(tx, repository, &route->digest, err);
}

static int delete_manifest(struct api_call *c, struct error *err)
{
    int rc = index_write(c->registry->index, remove_manifest, &c->route, err);
    if (rc == E_NOTFOUND)
        return api_fail(c, "MANIFEST_UNKNOWN", rc);
    http_reply_status(c->http, 202);
    return rc;
}

const struct api_operation api_manifest_operations[] = {
    {ROUTE_MANIFEST, HTTP_GET, NULL, NULL, get_manifest, NULL},
    {ROUTE_MANIFEST, HTTP_PUT, begin_put, NULL, put_manifest, NULL},
    {ROUTE_MANIFEST, HTTP_DELETE, NULL, NULL, delete_manifest, NULL},
    {.finish = NULL}};

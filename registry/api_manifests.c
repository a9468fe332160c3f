/* Manifests: GET, HEAD, PUT, DELETE by tag and by digest. Source: OCI distribution-spec 1.1.1,
 * end-2, end-3, end-7, end-9. */
#include "base/clock.h"
#include "base/log.h"
#include "registry/api.h"
#include "registry/gc.h"
#include "registry/http_text.h"
#include "registry/index_gc.h"
#include "registry/index_trust.h"
#include "registry/quota.h"
#include "registry/scrub.h"
#include "registry/tag_rules.h"

#include <inttypes.h>
#include <string.h>

#define MEDIA_DOCKER_SCHEMA1 "application/vnd.docker.distribution.manifest.v1"

/* --- GET --- */

static int manifest_unknown(struct api_call *c, int rc)
{
    char text[DIGEST_TEXT_MAX];
    api_detail(c, "repository", js_text_new(c->route.repository));
    if (c->route.tag[0])
        api_detail(c, "tag", js_text_new(c->route.tag));
    else
        api_detail(c, "digest", js_text_new(digest_format(&c->route.digest, text)));
    return api_fail(c, "MANIFEST_UNKNOWN", rc);
}

static int find_manifest(struct api_call *c, struct index_manifest *out, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = c->route.tag[0]
                 ? index_tag_find(tx, c->route.repository, c->route.tag, out, err)
                 : index_manifest_find(tx, c->route.repository, &c->route.digest, out, err);
    if (rc == 0)
        rc = api_lease(c, &out->digest, err);
    return rc == E_NOTFOUND ? manifest_unknown(c, rc) : rc;
}

/* Whoever asks by tag cannot check the bytes: here it is done for them. */
static int read_stored(struct api_call *c, const struct digest *d, struct bytes *out,
                       struct error *err)
{
    struct registry *r = c->registry;
    int rc = blobs_read_cached(r->blobs, d, MANIFEST_MAX_BYTES, out, err);
    if (rc == E_TAMPERED) {
        const struct scrub s = {.index = r->index, .blobs = r->blobs, .audit = r->audit};
        api_read_end(c);
        scrub_damaged(&s, d);
    }
    if (rc != E_TAMPERED && rc != E_NOTFOUND)
        return rc;
    return api_fail(c, "MANIFEST_UNKNOWN",
                    fail(err, E_NOTFOUND,
                         "the registry's copy of this manifest is damaged or lost: push it again"));
}

int api_reply_manifest(struct api_call *c, const struct index_manifest *row, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    bool unchanged = false;
    int rc = api_reply_etag(c, &row->digest, &unchanged, err);
    if (rc != 0 || unchanged)
        return rc;
    rc = read_stored(c, &row->digest, &body, err);
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

#define TAGS_MAX    64u /* of one request; the specification asks for ten */
#define MISSING_MAX 32u /* are named in one answer */

/* What one PUT records, in one transaction. */
struct put {
    struct api_call *call;
    struct index_manifest row;
    struct manifest *manifest;
    struct bytes tags; /* NUL-terminated, one behind the other */
    size_t n_tags;
    const char *if_match, *if_none_match; /* NULL: any state of the tag will do */
    const struct descriptor *missing[MISSING_MAX];
    size_t n_missing;
    bool refused; /* the tag is not in the state that was asked for */
    struct quota_excess quota;
};

static void put_done(struct put *put)
{
    manifest_free(put->manifest);
    bytes_done(&put->tags);
}

static int add_tag(struct put *put, const char *tag, struct error *err)
{
    if (put->n_tags == TAGS_MAX) {
        put->call->status = 414;
        return fail(err, E_LIMIT, "one request may set %u tags at most", TAGS_MAX);
    }
    put->n_tags++;
    return bytes_append(&put->tags, tag, strlen(tag) + 1, err);
}

/* `?tag=` beside a digest, any number of times. Source: OCI distribution-spec (development),
 * end-7b. */
static int read_tags(struct api_call *c, struct put *put, struct error *err)
{
    char tag[REFERENCE_TAG_MAX + 2];
    const char *query = http_request_query(c->http);
    size_t at = 0;
    bool found = true;
    int rc = c->route.tag[0] ? add_tag(put, c->route.tag, err) : 0;
    while (rc == 0 && found) {
        rc = http_query_next(query, "tag", &at, tag, sizeof tag, &found, err);
        if (rc == 0 && found && c->route.tag[0])
            return fail(err, E_INVALID, "'tag' goes with a manifest that is named by its digest");
        if (rc == E_LIMIT || (rc == 0 && found && !tag_name_valid(tag, strlen(tag))))
            return api_fail(c, "NAME_INVALID", fail(err, E_INVALID, "'tag' is not a valid tag"));
        if (rc == 0 && found)
            rc = add_tag(put, tag, err);
    }
    return rc;
}

static int begin_put(struct api_call *c, struct error *err)
{
    uint64_t max = c->registry->config->limits.manifest_bytes;
    return api_want_body(c, max && max < MANIFEST_MAX_BYTES ? (size_t)max : MANIFEST_MAX_BYTES,
                         err);
}

/* The Content-Type without parameters; "" where it says nothing about manifests. */
static int read_media_type(struct api_call *c, char out[MEDIA_TYPE_MAX + 1], struct error *err)
{
    const char *type = http_request_header(c->http, "Content-Type");
    size_t len = type ? strcspn(type, "; \t") : 0;
    if (len > MEDIA_TYPE_MAX)
        return fail(err, E_INVALID, "Content-Type is too long");
    for (size_t i = 0; i < len; i++)
        if (type[i] < 0x21 || type[i] > 0x7e)
            return fail(err, E_INVALID, "Content-Type is not a media type");
    if (len > 0)
        memcpy(out, type, len);
    out[len] = '\0';
    if (strcmp(out, "application/json") == 0 || strcmp(out, "application/octet-stream") == 0)
        out[0] = '\0';
    return 0;
}

/* It is served as it was sent: never as something that a browser would run. */
static int check_media_type(const char *type, struct error *err)
{
    if (!type[0])
        return fail(err, E_INVALID,
                    "neither Content-Type nor 'mediaType' says what kind of manifest this is");
    if (!text_starts(type, "application/"))
        return fail(err, E_INVALID, "type '%s' is not a manifest's", type);
    if (text_starts(type, MEDIA_DOCKER_SCHEMA1))
        return fail(err, E_INVALID,
                    "Docker schema 1 manifests are not supported: push the image again with a "
                    "newer client");
    return 0;
}

static int parse_manifest(struct api_call *c, struct put *put, struct error *err)
{
    enum digest_alg alg = c->route.tag[0] ? DIGEST_SHA256 : c->route.digest.alg;
    char type[MEDIA_TYPE_MAX + 1];
    int rc = read_media_type(c, type, err);
    if (rc == 0)
        rc = type[0] ? check_media_type(type, err) : 0;
    if (rc == 0)
        rc = manifest_parse_any(c->body.data, c->body.len, type, &put->manifest, err);
    if (rc == 0)
        rc = check_media_type(put->manifest->media_type, err);
    if (rc != 0) {
        c->status = rc == E_LIMIT ? 400 : 0; /* too deep or too many: not too long */
        return api_fail(c, "MANIFEST_INVALID", rc);
    }
    put->row.size = (int64_t)c->body.len;
    memcpy(put->row.media_type, put->manifest->media_type, sizeof put->row.media_type);
    rc = digest_of(alg, c->body.data, c->body.len, &put->row.digest, err);
    if (rc == 0 && !c->route.tag[0] && !digest_equal(&put->row.digest, &c->route.digest)) {
        char text[DIGEST_TEXT_MAX];
        api_detail(c, "digest", js_text_new(digest_format(&put->row.digest, text)));
        return api_fail(
            c, "DIGEST_INVALID",
            fail(err, E_DIGEST, "the manifest has the digest %s, not that of its name", text));
    }
    return rc;
}

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
        if (put->n_missing < MISSING_MAX)
            put->missing[put->n_missing++] = d;
        return 0; /* the others may be missing, too */
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
    if (m->kind == MANIFEST_OTHER) /* what looks like a name there need not be one */
        return 0;
    int rc = check_present(tx, put, &m->config, err);
    for (size_t i = 0; rc == 0 && i < m->n_layers; i++)
        rc = check_present(tx, put, &m->layers[i], err);
    for (size_t i = 0; rc == 0 && i < m->n_manifests; i++)
        rc = check_present(tx, put, &m->manifests[i], err);
    if (rc == 0 && put->n_missing > 0)
        rc = fail(err, E_INVALID, "the manifest names content that is not in this repository");
    return rc;
}

/* Clients that rewrite a tag from what it was (lists of referrers) must not lose another's change.
 * Source: RFC 9110, 13.1.1, 13.1.2. */
static int check_condition(struct index_tx *tx, struct put *put, struct error *err)
{
    const struct route *route = &put->call->route;
    struct index_manifest now;
    char text[DIGEST_TEXT_MAX] = "";
    if ((!put->if_match && !put->if_none_match) || !route->tag[0])
        return 0;
    int rc = index_tag_find(tx, route->repository, route->tag, &now, err);
    if (rc != 0 && rc != E_NOTFOUND)
        return rc;
    bool is_set = rc == 0;
    if (is_set)
        digest_format(&now.digest, text);
    put->refused =
        (put->if_match && !(is_set && http_etag_listed(put->if_match, text, false))) ||
        (put->if_none_match && is_set && http_etag_listed(put->if_none_match, text, true));
    return put->refused ? fail(err, E_CONFLICT, "the tag is not what the request expects: %s",
                               is_set ? text : "there is none")
                        : 0;
}

static int set_tags(struct index_tx *tx, const struct put *put, int64_t repository,
                    struct error *err)
{
    const struct config_rules *rules = &put->call->registry->config->rules;
    const char *name = put->call->route.repository, *tag = bytes_text(&put->tags);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < put->n_tags; i++, tag += strlen(tag) + 1) {
        rc = tag_check_set(tx, rules, name, tag, &put->row.digest, err);
        if (rc == 0)
            rc = index_tag_set(tx, repository, tag, &put->row.digest, err);
    }
    return rc;
}

static int record_manifest(struct index_tx *tx, void *arg, struct error *err)
{
    struct put *put = arg;
    const struct config_rules *rules = &put->call->registry->config->rules;
    const char *name = put->call->route.repository;
    struct index_usage before;
    int64_t repository = 0;
    put->n_missing = 0;
    put->refused = false;
    int rc = gc_reclaim(put->call->registry->blobs, &put->row.digest, err);
    if (rc == 0)
        rc = quota_before(tx, rules, name, &before, err);
    if (rc == 0)
        rc = check_all_present(tx, put, err);
    if (rc == 0)
        rc = check_condition(tx, put, err);
    if (rc == 0)
        rc = index_repository_make(tx, name, &repository, err);
    if (rc == 0)
        rc = index_manifest_put(tx, repository, &put->row, put->manifest, err);
    if (rc == 0)
        rc = set_tags(tx, put, repository, err);
    if (rc == 0)
        rc = quota_check(tx, rules, name, &before, &put->quota, err);
    return rc == 0 ? index_lease_begin(tx, name, &put->row.digest, clock_now_s(), err) : rc;
}

/* One entry for each thing that is not here. */
static void report_missing(struct api_call *c, const struct put *put)
{
    struct error ignored = ERROR_INIT;
    char text[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < put->n_missing; i++) {
        const struct descriptor *d = put->missing[i];
        struct js *detail = NULL;
        if (descriptor_to_js(d, &detail, &ignored) != 0)
            log_debug("no room for a detail");
        api_problem(c, "MANIFEST_BLOB_UNKNOWN", detail,
                    "the manifest names %s, which is not in this repository: push it first",
                    digest_format(&d->digest, text));
    }
}

/* Makes the file visible, then records it: nobody may remove it in between. */
static int write_manifest(struct api_call *c, struct put *put, struct error *err)
{
    struct registry *r = c->registry;
    unsigned ticket = gate_enter(r->commits);
    int rc = blobs_put(r->blobs, c->body.data, c->body.len, &put->row.digest, err);
    if (rc == 0) {
        rc = index_write(r->index, record_manifest, put, err);
        if (rc != 0)
            gc_suspect(r->index, &put->row.digest);
    }
    gate_leave(r->commits, ticket);
    return rc;
}

static int store_manifest(struct api_call *c, struct put *put, struct error *err)
{
    c->digest = put->row.digest;
    int rc = write_manifest(c, put, err);
    if (put->refused) {
        c->status = 412;
        return api_fail(c, "DENIED", rc);
    }
    if (rc == E_INVALID && put->n_missing > 0)
        report_missing(c, put);
    if (rc == E_DENIED)
        return api_quota_refuse(c, &put->quota, rc);
    return rc == E_INVALID ? api_fail(c, "MANIFEST_INVALID", rc) : rc;
}

static int reply_put(struct api_call *c, const struct put *put, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    const struct manifest *m = put->manifest;
    http_reply_status(c->http, 201);
    int rc = api_reply_header(c, "Location", err, "/v2/%s/manifests/%s", c->route.repository,
                              digest_format(&put->row.digest, text));
    if (rc == 0)
        rc = api_reply_digest(c, &put->row.digest, err);
    if (rc == 0 && m->has_subject)
        rc = api_reply_header(c, "OCI-Subject", err, "%s", digest_format(&m->subject.digest, text));
    const char *tag = bytes_text(&put->tags);
    for (size_t i = 0; rc == 0 && !c->route.tag[0] && i < put->n_tags; i++, tag += strlen(tag) + 1)
        rc = http_reply_header(c->http, "OCI-Tag", tag, err);
    return rc;
}

static int put_manifest(struct api_call *c, struct error *err)
{
    struct put put = {.call = c,
                      .tags = BYTES_INIT,
                      .if_match = http_request_header(c->http, "If-Match"),
                      .if_none_match = http_request_header(c->http, "If-None-Match")};
    int rc = read_tags(c, &put, err);
    if (rc == 0)
        rc = parse_manifest(c, &put, err);
    if (rc == 0)
        rc = store_manifest(c, &put, err);
    if (rc == 0)
        rc = reply_put(c, &put, err);
    put_done(&put);
    return rc;
}

/* --- DELETE --- */

static int remove_manifest(struct index_tx *tx, void *arg, struct error *err)
{
    const struct api_call *c = arg;
    const struct route *route = &c->route;
    int64_t repository = 0;
    int rc = index_repository_find(tx, route->repository, &repository, err);
    if (rc == 0)
        rc = index_trust_check_unsigned(tx, repository, route->tag, &route->digest, err);
    if (rc == 0)
        rc = tag_check_remove(tx, &c->registry->config->rules, route->repository, route->tag,
                              &route->digest, err);
    if (rc != 0)
        return rc;
    return route->tag[0] ? index_tag_remove(tx, repository, route->tag, err)
                         : index_manifest_remove(tx, repository, &route->digest, err);
}

static int delete_manifest(struct api_call *c, struct error *err)
{
    int rc = index_write(c->registry->index, remove_manifest, c, err);
    if (rc == E_NOTFOUND)
        return manifest_unknown(c, rc);
    http_reply_status(c->http, 202);
    return rc;
}

const struct api_operation api_manifest_operations[] = {
    {ROUTE_MANIFEST, HTTP_GET, NULL, NULL, get_manifest, NULL},
    {ROUTE_MANIFEST, HTTP_PUT, begin_put, NULL, put_manifest, NULL},
    {ROUTE_MANIFEST, HTTP_DELETE, NULL, NULL, delete_manifest, NULL},
    {.finish = NULL}};

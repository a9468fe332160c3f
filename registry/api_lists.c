/* The base endpoint, tags, catalogue, referrers. Source: OCI distribution-spec 1.1.1, end-1, end-8,
 * end-12. */
#include "registry/access.h"
#include "registry/api.h"
#include "registry/visible.h"

#include <inttypes.h>
#include <string.h>

#define PAGE_MAX      1000u /* names in one answer, whatever n says */
#define REFERRERS_MAX 1000u
/* One answer: a page of entries, whose annotations may be as large as manifests are. */
#define REFERRERS_BYTES (4u << 20)

static int get_base(struct api_call *c, struct error *err)
{
    CLEANUP(js_cleanup) struct js *empty = js_object_new();
    http_reply_status(c->http, 200);
    return api_reply_json(c, empty, err);
}

/* --- pages of names --- */

struct page {
    size_t max, n;
    struct js *names;
    char last[REFERENCE_REPOSITORY_MAX + 1]; /* of this page */
    bool more;
};

static int read_page(struct api_call *c, struct page *page, char *last, size_t last_size,
                     struct error *err)
{
    char text[24];
    uint64_t n = PAGE_MAX;
    int rc = api_query(c, "n", text, sizeof text, err);
    if (rc == 0 && text[0])
        rc = text_to_u64(text, strlen(text), UINT64_MAX, &n, err);
    if (rc != 0)
        return fail(err, E_INVALID, "'n' must be a number of names: 0 or more, in digits");
    page->max = n < PAGE_MAX ? (size_t)n : PAGE_MAX;
    return api_query(c, "last", last, last_size, err);
}

static int add_name(void *context, const char *name, struct error *err)
{
    struct page *page = context;
    if (page->n == page->max) {
        page->more = true;
        return 1;
    }
    page->n++;
    snprintf(page->last, sizeof page->last, "%s", name);
    return js_push(page->names, js_text_new(name), err);
}

/* {"name": …, "tags": […]} or {"repositories": […]}, and where the next page is. */
static int reply_page(struct api_call *c, struct page *page, const char *key, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    bool tags = c->route.kind == ROUTE_TAGS;
    int rc = tags ? js_set(root, "name", js_text_new(c->route.repository), err) : 0;
    if (rc == 0)
        rc = js_set(root, key, TAKE_PTR(page->names), err);
    if (rc == 0 && page->more && page->n > 0)
        rc = api_reply_header(c, "Link", err, "</v2/%s%s?n=%zu&last=%s>; rel=\"next\"",
                              tags ? c->route.repository : "_catalog", tags ? "/tags/list" : "",
                              page->max, page->last);
    if (rc == 0)
        rc = api_reply_json(c, root, err);
    http_reply_status(c->http, 200);
    return rc;
}

static int get_tags(struct api_call *c, struct error *err)
{
    struct page page = {.max = 0};
    char last[REFERENCE_TAG_MAX + 1];
    struct index_tx *tx = NULL;
    int64_t repository = 0;
    int rc = read_page(c, &page, last, sizeof last, err);
    if (rc == 0)
        rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = index_repository_find(tx, c->route.repository, &repository, err);
    if (rc != 0)
        return rc == E_NOTFOUND ? api_fail(c, "NAME_UNKNOWN", rc) : rc;
    CLEANUP(js_cleanup) struct js *names = js_array_new();
    page.names = names;
    struct index_visitor visitor = {add_name, &page};
    rc = names ? index_tags_each(tx, repository, last, &visitor, err) : fail_nomem(err);
    if (rc != 0)
        return rc;
    (void)TAKE_PTR(names);
    rc = reply_page(c, &page, "tags", err);
    js_free(page.names);
    return rc;
}

static int get_catalog(struct api_call *c, struct error *err)
{
    struct page page = {.max = 0};
    char last[REFERENCE_REPOSITORY_MAX + 1];
    struct index_tx *tx = NULL;
    int rc = read_page(c, &page, last, sizeof last, err);
    if (rc == 0)
        rc = api_read(c, &tx, err);
    page.names = js_array_new();
    struct index_visitor visitor = {add_name, &page};
    if (rc == 0)
        rc = page.names ? visible_repositories_each(tx, &c->who, last, &visitor, err)
                        : fail_nomem(err);
    /* Nobody learns from an empty list that there would be more with credentials. */
    if (rc == 0 && page.n == 0 && access_is_anonymous(&c->who))
        rc = fail(err, E_UNAUTHORIZED, "credentials are needed");
    if (rc == 0)
        rc = reply_page(c, &page, "repositories", err);
    js_free(page.names);
    return rc;
}

/* --- referrers --- */

struct referrers {
    struct js *list;
    size_t n, bytes;
    char last[DIGEST_TEXT_MAX]; /* of this page */
    bool more;
};

static int add_referrer(void *context, const char *json, struct error *err)
{
    struct referrers *page = context;
    size_t len = strlen(json);
    if (page->n == REFERRERS_MAX || (page->n > 0 && page->bytes + len > REFERRERS_BYTES)) {
        page->more = true;
        return 1;
    }
    struct js *entry = NULL;
    int rc = js_parse(json, len, &entry, err);
    if (rc != 0)
        return rc;
    page->n++;
    page->bytes += len;
    const char *digest = js_text(js_get(entry, "digest"));
    snprintf(page->last, sizeof page->last, "%s", digest ? digest : "");
    if (js_type(js_get(entry, "annotations")) == JS_NULL)
        js_remove(entry, "annotations");
    const char *type = js_text(js_get(entry, "artifactType"));
    if (!type || !type[0])
        js_remove(entry, "artifactType");
    return js_push(page->list, entry, err);
}

static int list_referrers(struct api_call *c, const struct index_referrers *q,
                          struct referrers *page, struct error *err)
{
    struct index_tx *tx = NULL;
    int64_t repository = 0;
    struct index_visitor visitor = {add_referrer, page};
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = index_repository_find(tx, c->route.repository, &repository, err);
    if (rc == 0)
        rc = index_referrers_each(tx, repository, q, &visitor, err);
    return rc == E_NOTFOUND ? 0 : rc; /* always an index, if an empty one */
}

/* Where the next page is, and that the type was looked at. */
static int reply_referrers_headers(struct api_call *c, const struct index_referrers *q,
                                   const struct referrers *page, struct error *err)
{
    CLEANUP(bytes_done) struct bytes link = BYTES_INIT;
    char text[DIGEST_TEXT_MAX];
    int rc = q->artifact_type[0]
                 ? http_reply_header(c->http, "OCI-Filters-Applied", "artifactType", err)
                 : 0;
    if (rc != 0 || !page->more)
        return rc;
    rc = bytes_append_format(&link, err, "</v2/%s/referrers/%s?last=%s", c->route.repository,
                             digest_format(q->subject, text), page->last);
    if (rc == 0 && q->artifact_type[0])
        rc = bytes_append_text(&link, "&artifactType=", err);
    /* Every byte escaped: a media type may hold what ends a URL or a header's value. */
    for (const char *p = q->artifact_type; rc == 0 && *p; p++)
        rc = bytes_append_format(&link, err, "%%%02X", (unsigned)(unsigned char)*p);
    if (rc == 0)
        rc = bytes_append_text(&link, ">; rel=\"next\"", err);
    return rc == 0 ? http_reply_header(c->http, "Link", bytes_text(&link), err) : rc;
}

static int reply_referrers(struct api_call *c, struct js *list, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    int rc = js_set(root, "manifests", list, err);
    if (rc == 0)
        rc = js_set(root, "schemaVersion", js_int_new(2), err);
    if (rc == 0)
        rc = js_set(root, "mediaType", js_text_new(MEDIA_OCI_INDEX), err);
    if (rc == 0)
        rc = js_write(root, false, &body, err);
    if (rc == 0)
        rc = http_reply_header(c->http, "Content-Type", MEDIA_OCI_INDEX, err);
    http_reply_status(c->http, 200);
    http_reply_bytes(c->http, &body);
    return rc;
}

static int get_referrers(struct api_call *c, struct error *err)
{
    char type[MEDIA_TYPE_MAX + 1], last[DIGEST_TEXT_MAX];
    const struct index_referrers q = {&c->route.digest, type, last};
    struct referrers page = {.list = NULL};
    int rc = api_query(c, "artifactType", type, sizeof type, err);
    if (rc == 0)
        rc = api_query(c, "last", last, sizeof last, err);
    if (rc != 0)
        return rc;
    page.list = js_array_new();
    rc = page.list ? list_referrers(c, &q, &page, err) : fail_nomem(err);
    if (rc == 0)
        rc = reply_referrers_headers(c, &q, &page, err);
    if (rc != 0) {
        js_free(page.list);
        return rc;
    }
    return reply_referrers(c, page.list, err);
}

const struct api_operation api_list_operations[] = {
    {ROUTE_BASE, HTTP_GET, NULL, NULL, get_base, NULL},
    {ROUTE_TAGS, HTTP_GET, NULL, NULL, get_tags, NULL},
    {ROUTE_CATALOG, HTTP_GET, NULL, NULL, get_catalog, NULL},
    {ROUTE_REFERRERS, HTTP_GET, NULL, NULL, get_referrers, NULL},
    {.finish = NULL}};

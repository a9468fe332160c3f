/* The mirror endpoint: what may be mirrored here, and complete sets of proofs signed elsewhere. */
#include "registry/api.h"
#include "registry/index_mirror.h"
#include "registry/metrics.h"
#include "registry/mirror.h"
#include "registry/mirror_anchor.h"

#include <string.h>

/* Whoever is about to copy gigabytes asks first. "collection" is absent where nothing may be. */
static int get_mirror(struct api_call *c, struct error *err)
{
    CLEANUP(js_cleanup) struct js *reply = js_object_new();
    struct mirror_anchor anchor;
    struct index_tx *tx = NULL;
    struct error why = ERROR_INIT;
    int rc = reply ? api_read(c, &tx, err) : fail_nomem(err);
    int found = rc == 0
                    ? mirror_anchors_find(c->registry->anchors, c->route.repository, &anchor, &why)
                    : rc;
    if (rc == 0 && found == 0)
        rc = js_set(reply, "collection", js_text_new(anchor.collection), err);
    int mirrored = rc == 0 ? index_mirror_find(tx, c->route.repository, NULL, &why) : rc;
    if (rc == 0)
        rc = js_set(reply, "mirrored", js_bool_new(mirrored == 0), err);
    if (rc != 0)
        return rc;
    http_reply_status(c->http, 200);
    return api_reply_json(c, reply, err);
}

static int begin_post(struct api_call *c, struct error *err)
{
    if (http_request_content_length(c->http) > (int64_t)MIRROR_MAX_BYTES)
        return fail(err, E_LIMIT, "form is larger than %u bytes", MIRROR_MAX_BYTES);
    int rc = http_request_want_form(c->http, MIRROR_MAX_BYTES, MIRROR_MAX_FILES, err);
    if (rc == E_BUSY)
        c->status = 503;
    return rc;
}

static int read_set(struct api_call *c, struct mirror_set *set, struct error *err)
{
    const struct http_part *parts = NULL;
    size_t n = 0;
    int rc = http_request_parts(c->http, &parts, &n, err);
    if (rc == 0 && n == 0)
        rc = fail(err, E_INVALID, "the form has no part 'files'");
    set->files = rc == 0 ? calloc(n, sizeof *set->files) : NULL;
    if (rc == 0 && !set->files)
        rc = fail_nomem(err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (strcmp(parts[i].name, "files") != 0)
            return fail(err, E_INVALID, "unexpected form part '%s'", parts[i].name);
        rc = mirror_file_name(parts[i].file_name, &set->files[i], err);
        set->files[i].data = bytes_text(&parts[i].data);
        set->files[i].len = parts[i].data.len;
    }
    if (rc == 0)
        set->n = n;
    return rc;
}

static int reply(struct api_call *c, const struct mirror_result *result, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? js_set(o, "changed", js_bool_new(result->changed), err) : fail_nomem(err);
    if (rc == 0)
        rc = js_set(o, "timestamp", js_int_new(result->timestamp), err);
    if (rc == 0)
        rc = js_set(o, "missing", js_int_new((int64_t)result->n_missing), err);
    if (rc != 0)
        return rc;
    http_reply_status(c->http, 200);
    return api_reply_json(c, o, err);
}

static int finish_post(struct api_call *c, struct error *err)
{
    struct mirror_set set = {.repository = c->route.repository};
    struct mirror_result result = {.changed = false};
    api_read_end(c);
    int rc = read_set(c, &set, err);
    if (rc == 0)
        rc = mirror_take(c->registry, &set, &result, err);
    free(set.files);
    metrics_add(rc == 0 ? METRICS_PUBLICATIONS : METRICS_PUBLICATION_FAILURES, 1);
    if (rc == E_BUSY)
        c->status = 503;
    if (rc != 0) /* its name tells programs which rule it was */
        return api_fail(c, error_name(rc), rc);
    return reply(c, &result, err);
}

const struct api_operation api_mirror_operations[] = {
    {ROUTE_TRUST_MIRROR, HTTP_GET, NULL, NULL, get_mirror, NULL},
    {ROUTE_TRUST_MIRROR, HTTP_POST, begin_post, NULL, finish_post, NULL},
    {.finish = NULL}};

/* The trust API: metadata, targets, the service's keys, publication. */
#include "base/clock.h"
#include "base/log.h"
#include "registry/access.h"
#include "registry/api.h"
#include "registry/index_mirror.h"
#include "registry/index_trust.h"
#include "registry/metrics.h"
#include "registry/publish.h"
#include "registry/trust_sync.h"

#include <string.h>

#define FORM_MAX_BYTES (24u << 20) /* four targets files of the largest size, and room */

/* --- GET --- */

static bool is_timestamp(const struct api_call *c)
{
    return strcmp(c->route.role, "timestamp") == 0;
}

/* Less than half its life is left, or it is no timestamp that could be read. */
static bool is_due(const struct bytes *data, bool *expired)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    *expired = true;
    if (tuf_metadata_parse(TUF_TIMESTAMP, data->data, data->len, &m, NULL) != 0)
        return true;
    int64_t now = clock_now_s(), expires = tuf_metadata_expires(m);
    int64_t issued = tuf_metadata_issued(m);
    *expired = expires <= now;
    return issued < 0 ? *expired : expires - now < (expires - issued) / 2;
}

/* Whatever goes wrong, the stored bytes are served: whether they are still good is the client's
 * decision, and a signing service that is away must not take reading with it. */
static void renew_if_due(struct api_call *c, struct bytes *data)
{
    bool expired = false;
    struct error err = ERROR_INIT;
    struct index_tx *tx = NULL;
    CLEANUP(bytes_done) struct bytes fresh = BYTES_INIT;
    if (!is_due(data, &expired))
        return;
    /* Nothing here signs a mirror's. */
    if (api_read(c, &tx, &err) != 0 || index_mirror_check_none(tx, c->route.repository, &err) != 0)
        return;
    api_read_end(c);
    int rc = publish_refresh(c->registry, c->route.repository, &err);
    if (rc == 0)
        rc = api_read(c, &tx, &err);
    if (rc == 0)
        rc = index_trust_find(tx, c->route.repository, "timestamp", 0, &fresh, &err);
    if (rc != 0) {
        log_warn("%s timestamp of '%s' cannot be renewed: %s", expired ? "expired" : "old",
                 c->route.repository, err.message);
        return;
    }
    bytes_done(data);
    *data = bytes_take(&fresh);
}

static int get_file(struct api_call *c, struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    struct index_tx *tx = NULL;
    /* Consistent snapshots: only the timestamp has a name without a version. */
    if (is_timestamp(c) != (c->route.version == 0))
        return fail(err, E_NOTFOUND, "no such trust metadata");
    if (is_timestamp(c) || strcmp(c->route.role, "root") == 0) {
        /* Who calls was read from an index that may have been brought up to date since then. */
        api_read_end(c);
        trust_sync_one(c->registry, c->route.repository);
    }
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = index_trust_find(tx, c->route.repository, c->route.role, c->route.version, &data, err);
    if (rc == 0 && is_timestamp(c))
        renew_if_due(c, &data);
    if (rc == 0)
        rc = http_reply_header(c->http, "Content-Type", "application/json", err);
    if (rc == 0 && is_timestamp(c))
        rc = http_reply_header(c->http, "Cache-Control", "no-cache", err);
    if (rc != 0)
        return rc;
    http_reply_status(c->http, 200);
    http_reply_bytes(c->http, &data);
    return 0;
}

static int get_target(struct api_call *c, struct error *err)
{
    struct index_manifest row;
    struct index_tx *tx = NULL;
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = index_trust_target_find(tx, c->route.repository, c->route.target, &c->route.digest,
                                     err);
    if (rc == 0)
        rc = index_manifest_find(tx, c->route.repository, &c->route.digest, &row, err);
    return rc == 0 ? api_reply_manifest(c, &row, err) : rc;
}

/* Asking for a key makes it: only for a repository that exists, or by who may found a collection in
 * one that does not yet, or anybody who may sign somewhere could fill the signing service. */
static int may_have_key(struct api_call *c, struct error *err)
{
    int64_t id = 0;
    struct index_tx *tx = NULL;
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = index_repository_find(tx, c->route.repository, &id, err);
    if (rc == E_NOTFOUND)
        rc = access_check(tx, &c->who, c->route.repository, ACCESS_ADMIN, err);
    api_read_end(c);
    return rc;
}

/* What the caller can only repeat later: the service is overloaded, or has trouble with its token,
 * whose name and module are nothing for others. */
static int not_now(struct api_call *c, int rc, struct error *err)
{
    if (rc != E_BUSY && rc != E_TOKEN && rc != E_PASSPHRASE)
        return rc;
    c->status = 503;
    if (rc == E_BUSY)
        return rc;
    log_error("'%s': signing service: %s", c->route.repository, err->message);
    *err = (struct error)ERROR_INIT;
    return fail(err, E_BUSY, "the signing service cannot use its token; its log says why");
}

static int key_role(struct api_call *c, enum tuf_type *role, struct error *err)
{
    struct index_tx *tx = NULL;
    *role = is_timestamp(c) ? TUF_TIMESTAMP : TUF_SNAPSHOT;
    if (!is_timestamp(c) && strcmp(c->route.role, "snapshot") != 0)
        return fail(err, E_NOTFOUND, "only snapshot and timestamp have keys here");
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = index_mirror_check_none(tx, c->route.repository, err);
    api_read_end(c);
    return rc;
}

static int reply_key(struct api_call *c, struct bytes *json, struct error *err)
{
    int rc = http_reply_header(c->http, "Content-Type", "application/json", err);
    if (rc != 0)
        return rc;
    http_reply_status(c->http, 200);
    http_reply_bytes(c->http, json);
    return 0;
}

static int get_key(struct api_call *c, struct error *err)
{
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    enum tuf_type role;
    int rc = key_role(c, &role, err);
    if (rc == 0)
        rc = may_have_key(c, err);
    if (rc == 0)
        rc = signer_link_key(c->registry->signer, c->route.repository, role, &json, err);
    return rc == 0 ? reply_key(c, &json, err) : not_now(c, rc, err);
}

/* A new key for the next root. The one in force signs on until a root lists the new one, so nothing
 * is lost where that never happens; ?another=true replaces the key that waits. */
static int post_key(struct api_call *c, struct error *err)
{
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    struct signer_new_key wanted = {.another = false};
    char another[8];
    int rc = key_role(c, &wanted.role, err);
    if (rc == 0)
        rc = api_query(c, "another", another, sizeof another, err);
    if (rc == 0 && another[0] && strcmp(another, "true") != 0)
        rc = fail(err, E_INVALID, "another=true, or nothing");
    wanted.another = rc == 0 && another[0];
    if (rc == 0)
        rc = signer_link_new_key(c->registry->signer, c->route.repository, &wanted, &json, err);
    return rc == 0 ? reply_key(c, &json, err) : not_now(c, rc, err);
}

/* --- POST --- */

static int begin_post(struct api_call *c, struct error *err)
{
    if (http_request_content_length(c->http) > (int64_t)FORM_MAX_BYTES)
        return fail(err, E_LIMIT, "form is larger than %u bytes", FORM_MAX_BYTES);
    int rc = http_request_want_form(c->http, FORM_MAX_BYTES, TUF_MAX_CHANGES, err);
    if (rc == E_BUSY)
        c->status = 503;
    return rc;
}

static int check_role(const char *role, struct error *err)
{
    if (strcmp(role, "snapshot") == 0 || strcmp(role, "timestamp") == 0)
        return fail(err, E_INVALID, "'%s' is signed by the registry's own service", role);
    if (strchr(role, '/'))
        return fail(err, E_INVALID,
                    "'%s' is a Docker Notary v1 role name: TUF roles have no slashes", role);
    if (strcmp(role, "root") != 0 && strcmp(role, "targets") != 0 && !tuf_role_name_valid(role))
        return fail(err, E_INVALID, "'%s' is no role name", role);
    return 0;
}

static int read_changes(struct api_call *c, struct tuf_file *changes, size_t *n_changes,
                        struct error *err)
{
    const struct http_part *parts = NULL;
    size_t n = 0;
    int rc = http_request_parts(c->http, &parts, &n, err);
    if (rc == 0 && n == 0)
        rc = fail(err, E_INVALID, "the form has no part 'files'");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (strcmp(parts[i].name, "files") != 0)
            return fail(err, E_INVALID, "unexpected form part '%s'", parts[i].name);
        rc = check_role(parts[i].file_name, err);
        for (size_t k = 0; rc == 0 && k < i; k++)
            if (strcmp(parts[k].file_name, parts[i].file_name) == 0)
                rc = fail(err, E_INVALID, "role '%s' is given twice", parts[i].file_name);
        if (rc == 0)
            rc = publish_check_form(parts[i].data.data, parts[i].data.len, err);
        changes[i] = (struct tuf_file){parts[i].file_name, parts[i].data.data, parts[i].data.len};
    }
    if (rc == 0)
        *n_changes = n;
    return rc;
}

static int may_found(struct api_call *c, bool *out, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = api_read(c, &tx, err);
    if (rc == 0)
        rc = access_check(tx, &c->who, c->route.repository, ACCESS_ADMIN, err);
    api_read_end(c);
    *out = rc == 0;
    return rc == E_DENIED ? 0 : rc;
}

static int finish_post(struct api_call *c, struct error *err)
{
    CLEANUP(cleanup_free) struct tuf_file *changes = calloc(TUF_MAX_CHANGES, sizeof *changes);
    struct publication p = {.repository = c->route.repository, .changes = changes};
    CLEANUP(js_cleanup) struct js *empty = js_object_new();
    int rc = changes ? read_changes(c, changes, &p.n_changes, err) : fail_nomem(err);
    if (rc == 0)
        rc = may_found(c, &p.may_found, err);
    if (rc == 0)
        rc = publish_changes(c->registry, &p, err);
    metrics_add(rc == 0 ? METRICS_PUBLICATIONS : METRICS_PUBLICATION_FAILURES, 1);
    rc = not_now(c, rc, err);
    if (rc != 0) /* its name tells programs which rule it was */
        return api_fail(c, error_name(rc), rc);
    http_reply_status(c->http, 200);
    return api_reply_json(c, empty, err);
}

const struct api_operation api_trust_operations[] = {
    {ROUTE_TRUST_FILE, HTTP_GET, NULL, NULL, get_file, NULL},
    {ROUTE_TRUST_TARGET, HTTP_GET, NULL, NULL, get_target, NULL},
    {ROUTE_TRUST_KEY, HTTP_GET, NULL, NULL, get_key, NULL},
    {ROUTE_TRUST_KEY, HTTP_POST, NULL, NULL, post_key, NULL},
    {ROUTE_TRUST, HTTP_POST, begin_post, NULL, finish_post, NULL},
    {.finish = NULL}};

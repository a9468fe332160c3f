#include "verify/refresh.h"

#include "base/log.h"

#include <inttypes.h>
#include <string.h>

#define CLOCK_SLACK_S 300 /* how far behind its own past the clock may be */

struct refresh {
    const struct refresh_options *options;
    struct trust_store *store;
    struct trust_source *source;
    struct trust_view *view;
};

void trust_view_done(struct trust_view *view)
{
    tuf_trusted_cleanup(&view->trusted);
}

/* No answer at all, as opposed to an answer we must not accept. */
static bool unreachable(int rc)
{
    return rc == E_NETWORK || rc == E_TLS;
}

static int new_view(struct refresh *r, const struct bytes *root, struct error *err)
{
    struct tuf_trusted_options options = {r->options->now_s, r->options->collection};
    int rc = tuf_trusted_new(&options, root->data, root->len, &r->view->trusted, err);
    if (!rc && r->options->ignore_expiry)
        tuf_trusted_ignore_expiry(r->view->trusted);
    return rc;
}

static int start(struct refresh *r, struct error *err)
{
    CLEANUP(bytes_done) struct bytes stored = BYTES_INIT;
    struct error why = ERROR_INIT;
    tuf_trusted_cleanup(&r->view->trusted);
    int rc = trust_store_read(r->store, "root", TUF_MAX_ROOT_BYTES, &stored, &why);
    if (rc == 0) {
        rc = new_view(r, &stored, &why);
        if (!rc || rc == E_NOMEM)
            return rc ? fail_nomem(err) : OK;
        /* It was good when it was stored: this says nothing about the image. */
        return fail(err, E_NO_TRUST,
                    "the stored root is damaged (%.300s); removing this collection's folder below "
                    "HOME/trust/state starts again from the anchor and forgets known versions",
                    why.message);
    }
    if (rc != E_NOTFOUND)
        return fail(err, rc, "%s", why.message);
    const struct bytes *root = r->options->root;
    rc = new_view(r, root, err);
    if (rc)
        return wrap(err, rc, "anchor root");
    return trust_store_write_root(
        r->store, tuf_metadata_version(tuf_trusted_root(r->view->trusted)), root, err);
}

/* What an earlier refresh left protects from rollback; what is damaged or no longer signed by the
 * root is as good as absent. */
static void load_stored_timestamp(struct refresh *r)
{
    CLEANUP(bytes_done) struct bytes timestamp = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = trust_store_read(r->store, "timestamp", TUF_MAX_TIMESTAMP_BYTES, &timestamp, &why);
    if (!rc)
        rc = tuf_trusted_load_timestamp(r->view->trusted, timestamp.data, timestamp.len, &why);
    if (rc && rc != E_NOTFOUND)
        log_debug("stored timestamp: %s", why.message);
}

static void load_stored_snapshot(struct refresh *r)
{
    CLEANUP(bytes_done) struct bytes snapshot = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = trust_store_read(r->store, "snapshot", TUF_MAX_SNAPSHOT_BYTES, &snapshot, &why);
    if (!rc)
        rc = tuf_trusted_load_snapshot(r->view->trusted, snapshot.data, snapshot.len, &why);
    if (rc && rc != E_NOTFOUND)
        log_debug("stored snapshot: %s", why.message);
}

static void load_stored(struct refresh *r)
{
    load_stored_timestamp(r);
    load_stored_snapshot(r);
}

/* <prefix><role, percent-encoded>.json */
static void encoded(char *out, size_t size, const char *prefix, const char *role)
{
    size_t used = (size_t)snprintf(out, size, "%s", prefix);
    for (const char *p = role; *p && used + 9 < size; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("_.-~", *p);
        used +=
            (size_t)snprintf(out + used, size - used, plain ? "%c" : "%%%02X", (unsigned char)*p);
    }
    (void)snprintf(out + used, size - used, ".json");
}

void trust_file_name(char *out, size_t size, int64_t version, const char *role)
{
    char prefix[32];
    (void)snprintf(prefix, sizeof prefix, "%" PRId64 ".", version);
    encoded(out, size, prefix, role);
}

/* Versioned name where the root says consistent_snapshot, else the plain one (bare TUF only). C11,
 * TUF 5.3.12 */
static void role_file(const struct refresh *r, char *out, size_t size, int64_t version,
                      const char *role)
{
    if (tuf_root_consistent_snapshot(tuf_trusted_root(r->view->trusted)))
        trust_file_name(out, size, version, role);
    else
        encoded(out, size, "", role);
}

/* wrap(), but for what says already which file it is about. */
static int name_file(struct error *err, int rc, const char *file)
{
    return rc && err && text_starts(err->message, file) ? rc : wrap(err, rc, "%s", file);
}

static int accept_root(struct refresh *r, const struct bytes *root, struct error *err)
{
    bool keys_changed = false;
    int rc = tuf_trusted_update_root(r->view->trusted, root->data, root->len, &keys_changed, err);
    if (rc)
        return name_file(err, rc, "root");
    /* C10, TUF 5.3.11, done as soon as the root is stored: an abort later must not lose the
     * rotation. */
    if (keys_changed) {
        rc = trust_store_remove(r->store, "timestamp", err);
        if (!rc)
            rc = trust_store_remove(r->store, "snapshot", err);
    }
    if (!rc) /* C7, TUF 5.3.8 */
        rc = trust_store_write_root(
            r->store, tuf_metadata_version(tuf_trusted_root(r->view->trusted)), root, err);
    return rc;
}

/* C3 and C8, TUF 5.3: root files one by one from `next` (fetched with result next_rc) until there
 * is none. */
static int update_roots(struct refresh *r, struct bytes *next, int next_rc, struct error *next_err,
                        struct error *err)
{
    for (int n = 0; !next_rc; n++) {
        if (n >= TUF_MAX_ROOT_ROTATIONS)
            return fail(err, E_LIMIT, "more than %d new roots at once", TUF_MAX_ROOT_ROTATIONS);
        int rc = accept_root(r, next, err);
        if (rc)
            return rc;
        char name[64];
        bytes_clear(next);
        trust_file_name(name, sizeof name,
                        tuf_metadata_version(tuf_trusted_root(r->view->trusted)) + 1, "root");
        next_rc = r->source->get(r->source, name, TUF_MAX_ROOT_BYTES, next, next_err);
    }
    /* A stock repository may answer 403 where a file does not exist. */
    bool bare_denied = !r->options->collection && next_rc == E_DENIED;
    if (next_rc != E_NOTFOUND && !bare_denied) {
        *err = *next_err;
        return next_rc;
    }
    return tuf_trusted_finish_root(r->view->trusted, err);
}

static int update_timestamp(struct refresh *r, const struct bytes *timestamp, struct error *err)
{
    bool changed = false;
    int rc = tuf_trusted_update_timestamp(r->view->trusted, timestamp->data, timestamp->len,
                                          &changed, err);
    if (!rc && changed) /* C17, TUF 5.4.5 */
        rc = trust_store_write(r->store, "timestamp", timestamp, err);
    if (rc == E_ROLLBACK)
        return wrap(err, rc, "timestamp was rolled back");
    return name_file(err, rc, "timestamp");
}

static int update_snapshot(struct refresh *r, bool fetch, struct error *err)
{
    struct error why = ERROR_INIT;
    int rc = tuf_trusted_reuse_snapshot(r->view->trusted, fetch ? &why : err);
    if (!rc || !fetch)
        return wrap(err, rc, "stored snapshot");
    const struct tuf_meta *meta = tuf_trusted_wanted_snapshot(r->view->trusted);
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    char name[64];
    /* C18, TUF 5.5.1 */
    size_t max = meta->length >= 0 ? (size_t)meta->length : TUF_MAX_SNAPSHOT_BYTES;
    role_file(r, name, sizeof name, meta->version, "snapshot");
    rc = r->source->get(r->source, name,
                        max < TUF_MAX_SNAPSHOT_BYTES ? max : TUF_MAX_SNAPSHOT_BYTES, &data, err);
    if (!rc)
        rc = tuf_trusted_update_snapshot(r->view->trusted, data.data, data.len, err);
    if (!rc) /* C24, TUF 5.5.7 */
        rc = trust_store_write(r->store, "snapshot", &data, err);
    return name_file(err, rc, "snapshot");
}

static int update_role(struct refresh *r, const char *role, const char *delegator, bool fetch,
                       struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = trust_store_read(r->store, role, TUF_MAX_TARGETS_BYTES, &data, &why);
    if (!rc)
        rc = tuf_trusted_update_targets(r->view->trusted, role, delegator, data.data, data.len,
                                        &why);
    if (!rc)
        return OK;
    if (!fetch)
        return fail(err, E_STALE, "role '%s' is not stored locally: %s", role, why.message);
    const struct tuf_meta *meta = tuf_trusted_wanted(r->view->trusted, role);
    if (!meta)
        return fail(err, E_INVALID, "role '%s' is not in the snapshot", role);
    char name[512];
    /* C25, TUF 5.6.1 */
    size_t max = meta->length >= 0 ? (size_t)meta->length : TUF_MAX_TARGETS_BYTES;
    bytes_clear(&data);
    role_file(r, name, sizeof name, meta->version, role);
    rc = r->source->get(r->source, name, max < TUF_MAX_TARGETS_BYTES ? max : TUF_MAX_TARGETS_BYTES,
                        &data, err);
    if (!rc)
        rc =
            tuf_trusted_update_targets(r->view->trusted, role, delegator, data.data, data.len, err);
    if (!rc) /* C30, TUF 5.6.6 */
        rc = trust_store_write(r->store, role, &data, err);
    return wrap(err, rc, "role '%s'", role);
}

/* A clock behind its own past would make everything look unexpired. */
static int check_clock(struct refresh *r, int64_t last_success, struct error *err)
{
    if (last_success > r->options->now_s + CLOCK_SLACK_S)
        return fail(err, E_CLOCK,
                    "the clock is %" PRId64 " seconds behind the last refresh; set it right",
                    last_success - r->options->now_s);
    return OK;
}

/* Everything from the store, nothing from the network. */
static int use_stored(struct refresh *r, int64_t grace_s, struct error *err)
{
    int rc = start(r, err);
    if (!rc)
        rc = tuf_trusted_finish_root(r->view->trusted, err);
    if (rc)
        return rc;
    load_stored(r);
    rc = tuf_trusted_use_loaded_timestamp(r->view->trusted, grace_s, err);
    if (!rc)
        rc = update_snapshot(r, false, err);
    if (!rc)
        rc = update_role(r, "targets", NULL, false, err);
    return rc;
}

static int go_offline(struct refresh *r, int64_t last_success, const struct error *cause,
                      struct error *err)
{
    struct error why = ERROR_INIT;
    int64_t age = r->options->now_s - last_success;
    if (!last_success || r->options->must_ask) {
        *err = *cause;
        return cause->code;
    }
    int rc = use_stored(r, r->options->grace_s, &why);
    if (rc)
        return fail(err, rc == E_CLOCK ? rc : E_STALE,
                    "%s; and what was stored %" PRId64 " s ago cannot be used: %s", cause->message,
                    age, why.message);
    if (r->options->max_age_s >= 0 && age > r->options->max_age_s)
        return fail(err, E_STALE,
                    "%s; and the last refresh is %" PRId64 " s old, policy allows %" PRId64,
                    cause->message, age, r->options->max_age_s);
    r->view->freshness = FRESH_CACHED;
    r->view->age_s = age > 0 ? age : 0;
    r->view->offline = *cause;
    r->view->store_is_online = false;
    return OK;
}

static void fetch_first(struct refresh *r, struct bytes *root, struct bytes *timestamp, int rc[2],
                        struct error errs[2])
{
    char root_name[64];
    trust_file_name(root_name, sizeof root_name,
                    tuf_metadata_version(tuf_trusted_root(r->view->trusted)) + 1, "root");
    const char *const names[2] = {root_name, "timestamp.json"};
    const size_t max[2] = {TUF_MAX_ROOT_BYTES, TUF_MAX_TIMESTAMP_BYTES}; /* C12, TUF 5.4.1 */
    struct bytes *out[2] = {root, timestamp};
    if (r->source->get_two) {
        r->source->get_two(r->source, names, max, out, rc, errs);
        return;
    }
    rc[0] = r->source->get(r->source, names[0], max[0], out[0], &errs[0]);
    rc[1] = E_BUSY; /* asked for only after the roots */
}

/* A root that replaces the timestamp's key may have been published between the two answers. It is
 * looked for once more before the new key's timestamp is refused. */
static int follow_new_key(struct refresh *r, const struct error *refusal, struct error *err)
{
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT, timestamp = BYTES_INIT;
    struct error why = ERROR_INIT;
    char name[64];
    trust_file_name(name, sizeof name, tuf_metadata_version(tuf_trusted_root(r->view->trusted)) + 1,
                    "root");
    int got = r->source->get(r->source, name, TUF_MAX_ROOT_BYTES, &root, &why);
    if (got) {
        *err = *refusal;
        return refusal->code;
    }
    int rc = update_roots(r, &root, got, &why, err);
    if (!rc)
        rc = r->source->get(r->source, "timestamp.json", TUF_MAX_TIMESTAMP_BYTES, &timestamp, err);
    return rc ? rc : update_timestamp(r, &timestamp, err);
}

static int go_online(struct refresh *r, struct error *err)
{
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT, timestamp = BYTES_INIT;
    struct error errs[2] = {ERROR_INIT, ERROR_INIT};
    int got[2];
    fetch_first(r, &root, &timestamp, got, errs);
    int rc = update_roots(r, &root, got[0], &errs[0], err);
    if (rc)
        return rc;
    if (got[1] == E_BUSY)
        got[1] = r->source->get(r->source, "timestamp.json", TUF_MAX_TIMESTAMP_BYTES, &timestamp,
                                &errs[1]);
    if (got[1] == E_NOTFOUND)
        return fail(err, E_NO_TRUST, "the registry has no trust metadata for this collection");
    if (got[1]) {
        *err = errs[1];
        return got[1];
    }
    load_stored(r);
    rc = update_timestamp(r, &timestamp, &errs[1]);
    if (rc == E_SIGNATURE)
        rc = follow_new_key(r, &errs[1], err);
    else if (rc)
        *err = errs[1];
    if (!rc)
        rc = update_snapshot(r, true, err);
    if (!rc)
        rc = update_role(r, "targets", NULL, true, err);
    if (!rc)
        rc = trust_store_note_success(r->store, r->options->now_s, err);
    r->view->freshness = FRESH_ONLINE;
    r->view->age_s = 0;
    r->view->store_is_online = true;
    return rc;
}

/* --- bundles --- */

/* Whether the stored timestamp has this one's version: then the stored one counts, whatever date
 * the other bears. */
static bool is_stored_version(struct refresh *r, const struct bytes *timestamp)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *ours = NULL;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *theirs = NULL;
    CLEANUP(bytes_done) struct bytes stored = BYTES_INIT;
    return trust_store_read(r->store, "timestamp", TUF_MAX_TIMESTAMP_BYTES, &stored, NULL) == OK &&
           tuf_metadata_parse(TUF_TIMESTAMP, stored.data, stored.len, &ours, NULL) == OK &&
           tuf_metadata_parse(TUF_TIMESTAMP, timestamp->data, timestamp->len, &theirs, NULL) ==
               OK &&
           tuf_metadata_version(ours) == tuf_metadata_version(theirs);
}

/* A timestamp that was found good but for its date, once more: within the policy's grace it counts.
 */
static int take_expired_timestamp(struct refresh *r, const struct bytes *timestamp,
                                  struct error *err)
{
    bool stored = is_stored_version(r, timestamp);
    int rc = start(r, err);
    if (!rc)
        rc = tuf_trusted_finish_root(r->view->trusted, err);
    if (rc)
        return rc;
    if (stored)
        load_stored_timestamp(r);
    else
        rc = tuf_trusted_load_timestamp(r->view->trusted, timestamp->data, timestamp->len, err);
    load_stored_snapshot(r);
    if (!rc)
        rc = tuf_trusted_use_loaded_timestamp(r->view->trusted, r->options->grace_s, err);
    if (!rc && !stored)
        rc = trust_store_write(r->store, "timestamp", timestamp, err);
    return rc;
}

/* The bundle is a mirror that stands still: where more is known, that counts. */
static int use_known(struct refresh *r, int64_t last_success, const struct error *older,
                     struct error *err)
{
    struct error cause = ERROR_INIT;
    const char *mirror = r->options->mirror;
    (void)fail(&cause, E_STALE, "%s%s%s is older than what this machine knows (%.300s)",
               mirror ? "stale mirror: '" : "the bundle", mirror ? mirror : "", mirror ? "'" : "",
               older->message);
    return go_offline(r, last_success, &cause, err);
}

/* As fresh as the timestamp was when it was issued; no run may take it for an answer of now. */
static int note_bundle(struct refresh *r, int64_t last_success, struct error *err)
{
    const struct refresh_options *o = r->options;
    int64_t issued = tuf_metadata_issued(tuf_trusted_timestamp(r->view->trusted));
    int64_t age = issued < o->now_s ? o->now_s - issued : 0;
    if (issued > o->now_s) /* within the clock's slack */
        issued = o->now_s;
    r->view->freshness = o->mirror ? FRESH_MIRROR : FRESH_BUNDLE;
    r->view->age_s = age;
    r->view->store_is_online = true;
    if (o->max_age_s >= 0 && age > o->max_age_s)
        return fail(err, E_STALE, "it was current %" PRId64 " s ago, policy allows %" PRId64, age,
                    o->max_age_s);
    return issued > last_success ? trust_store_note_success(r->store, issued, err) : OK;
}

static int read_bundle(struct refresh *r, int64_t last_success, struct error *err)
{
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT, timestamp = BYTES_INIT;
    struct error why = ERROR_INIT;
    char name[64];
    trust_file_name(name, sizeof name, tuf_metadata_version(tuf_trusted_root(r->view->trusted)) + 1,
                    "root");
    int got = r->source->get(r->source, name, TUF_MAX_ROOT_BYTES, &root, &why);
    int rc = update_roots(r, &root, got, &why, err);
    if (!rc)
        rc = r->source->get(r->source, "timestamp.json", TUF_MAX_TIMESTAMP_BYTES, &timestamp, err);
    if (rc)
        return rc;
    load_stored(r);
    rc = update_timestamp(r, &timestamp, &why);
    if (rc == E_ROLLBACK)
        return use_known(r, last_success, &why, err);
    if (rc == E_EXPIRED && r->options->grace_s > 0)
        rc = take_expired_timestamp(r, &timestamp, &why);
    if (rc)
        return fail(err, rc, "%s", why.message);
    rc = update_snapshot(r, true, err);
    if (!rc)
        rc = update_role(r, "targets", NULL, true, err);
    return rc ? rc : note_bundle(r, last_success, err);
}

static int go_bundle(struct refresh *r, int64_t last_success, struct error *err)
{
    struct error why = ERROR_INIT;
    int rc = start(r, err);
    if (rc)
        return rc;
    rc = read_bundle(r, last_success, &why);
    /* Nobody serves it now: time has passed, which says nothing about the image. */
    if (rc == E_EXPIRED)
        rc = E_STALE;
    return rc ? fail(err, rc, "%s", why.message) : OK;
}

static int go_registry(struct refresh *r, int64_t last_success, struct error *err)
{
    struct error why = ERROR_INIT;
    int rc = start(r, err);
    if (!rc)
        rc = go_online(r, &why);
    if (rc && why.code && unreachable(rc))
        rc = go_offline(r, last_success, &why, err);
    else if (rc && why.code)
        *err = why;
    return rc;
}

int trust_refresh(const struct refresh_options *options, struct trust_store *store,
                  struct trust_source *source, struct trust_view *out, struct error *err)
{
    struct trust_view view = {.trusted = NULL, .offline = ERROR_INIT};
    struct refresh r = {options, store, source, &view};
    struct error why = ERROR_INIT;
    int64_t last = trust_store_last_success(store), age = options->now_s - last;
    int rc = check_clock(&r, last, err);
    if (!rc && !options->bundle && options->reuse_s > 0 && last && age >= 0 &&
        age < options->reuse_s && (options->max_age_s < 0 || age <= options->max_age_s) &&
        use_stored(&r, 0, &why) == OK) {
        view.freshness = FRESH_RECENT;
        view.age_s = age;
        view.store_is_online = true;
        *out = view;
        return OK;
    }
    if (!rc)
        rc = options->bundle ? go_bundle(&r, last, err) : go_registry(&r, last, err);
    if (rc) {
        trust_view_done(&view);
        return rc;
    }
    *out = view;
    return OK;
}

int trust_need_role(struct trust_view *view, struct trust_store *store, struct trust_source *source,
                    const char *role, const char *delegator, struct error *err)
{
    struct refresh_options options = {.collection = ""};
    struct refresh r = {&options, store, source, view};
    return update_role(&r, role, delegator, view->store_is_online, err);
}

int trust_find(struct trust_view *view, struct trust_store *store, struct trust_source *source,
               const char *name, struct tuf_found *out, struct error *err)
{
    for (;;) {
        struct tuf_found found = {.need_role = NULL};
        int rc = tuf_trusted_search(view->trusted, name, &found, err);
        if (rc)
            return rc;
        if (!found.need_role) {
            *out = found;
            return OK;
        }
        rc = trust_need_role(view, store, source, found.need_role, found.need_delegator, err);
        if (rc)
            return rc;
    }
}

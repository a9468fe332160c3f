#include "registry/publish.h"

#include "base/clock.h"
#include "base/log.h"
#include "registry/index_mirror.h"
#include "registry/metrics.h"
#include "registry/trust_set.h"
#include "registry/trust_sync.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

int publish_check_form(const void *data, size_t len, struct error *err)
{
    static const char *const notary[] = {"Root", "Targets", "Snapshot", "Timestamp"};
    CLEANUP(js_cleanup) struct js *tree = NULL;
    if (js_parse_lax(data, len, &tree, NULL) != 0)
        return 0; /* what it is instead, the parser of metadata says better */
    const char *type = js_text(js_get(js_get(tree, "signed"), "_type"));
    for (size_t i = 0; type && i < sizeof notary / sizeof *notary; i++)
        if (strcmp(type, notary[i]) == 0)
            return fail(err, E_INVALID,
                        "this is Docker Notary v1 metadata (_type '%s', base64 signatures with "
                        "'method'); Bulla takes TUF 1.0 metadata: make a new collection with "
                        "'bulla trust init' and sign again",
                        type);
    return 0;
}

/* --- what is stored --- */

struct current {
    struct index_tx *tx;
    const char *repository;
    struct index_trust_file *files;
    size_t n;
    struct tuf_file *roles; /* without snapshot and timestamp; borrows from files */
    size_t n_roles;
    struct tuf_metadata *snapshot;
};

static void current_done(struct current *c)
{
    index_trust_files_free(c->files, c->n);
    free(c->roles);
    tuf_metadata_free(c->snapshot);
}

static int read_snapshot(struct current *c, struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    int rc = index_trust_find(c->tx, c->repository, "snapshot", 0, &data, err);
    return rc != 0 ? rc : tuf_metadata_parse(TUF_SNAPSHOT, data.data, data.len, &c->snapshot, err);
}

/* Of a large collection most files stay as they are: tuf_accept says whose bytes it needs. */
static int read_role(void *context, const char *role, struct bytes *out, struct error *err)
{
    const struct current *c = context;
    return index_trust_find(c->tx, c->repository, role, 0, out, err);
}

static int read_current(struct current *c, struct error *err)
{
    int rc = index_trust_names(c->tx, c->repository, &c->files, &c->n, err);
    if (rc != 0 || c->n == 0)
        return rc;
    c->roles = calloc(c->n, sizeof *c->roles);
    if (!c->roles)
        return fail_nomem(err);
    for (size_t i = 0; rc == 0 && i < c->n; i++) {
        const struct index_trust_file *f = &c->files[i];
        if (strcmp(f->role, "snapshot") == 0)
            rc = read_snapshot(c, err);
        else if (strcmp(f->role, "timestamp") != 0)
            c->roles[c->n_roles++] = (struct tuf_file){.role = f->role};
    }
    return rc;
}

/* --- the rules --- */

static int check_added(struct index_tx *tx, const char *repository, const struct tuf_accepted *a,
                       struct error *err)
{
    for (size_t i = 0; i < a->n_added; i++) {
        char text[DIGEST_TEXT_MAX];
        struct index_manifest row;
        int rc = index_manifest_find(tx, repository, &a->added[i], &row, err);
        digest_format(&a->added[i], text);
        if (rc == E_NOTFOUND)
            return fail(err, E_INVALID, "%s is not a manifest of this repository: push it first",
                        text);
        if (rc != 0)
            return rc;
        if (row.size != a->added_lengths[i])
            return fail(err, E_INVALID, "%s has %" PRId64 " bytes, the target says %" PRId64, text,
                        row.size, a->added_lengths[i]);
    }
    return 0;
}

static int check_rules(struct index_tx *tx, const struct publication *p,
                       struct tuf_accepted **accepted, struct error *err)
{
    CLEANUP(current_done) struct current current = {.tx = tx, .repository = p->repository};
    int rc = index_mirror_check_none(tx, p->repository, err);
    if (rc == 0)
        rc = read_current(&current, err);
    if (rc == 0 && current.n_roles == 0 && !p->may_found)
        rc = fail(err, E_DENIED, "the first root of a repository needs the right 'admin'");
    const struct tuf_accept_input input = {.collection = p->repository,
                                           .now_s = clock_now_s(),
                                           .current = current.roles,
                                           .n_current = current.n_roles,
                                           .changes = p->changes,
                                           .n_changes = p->n_changes,
                                           .snapshot = current.snapshot,
                                           .settled = true,
                                           .read = read_role,
                                           .read_context = &current};
    if (rc == 0)
        rc = tuf_accept(&input, accepted, err);
    return rc == 0 ? check_added(tx, p->repository, *accepted, err) : rc;
}

/* A set that is older than what is here (the service came back from a copy) is not stored: then
 * nobody will be served this change, whatever the service says. */
static int check_stored(struct index_tx *tx, const struct publication *p,
                        const struct signer_set_file *file, const struct tuf_file *change,
                        struct error *err)
{
    CLEANUP(bytes_done) struct bytes stored = BYTES_INIT;
    int rc = index_trust_find(tx, p->repository, file->role, file->version, &stored, err);
    if (rc != 0 && rc != E_NOTFOUND)
        return rc;
    if (rc == 0 && bytes_equal(stored.data, stored.len, change->data, change->len))
        return 0;
    return fail(err, E_CONFLICT,
                "'%s' was signed but not published: the signing service is behind the registry",
                file->role);
}

/* The service must have taken the very bytes that were published, and they must be here now. */
static int check_answer(struct index_tx *tx, const struct publication *p,
                        const struct signer_set *set, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->n_changes; i++) {
        const struct tuf_file *change = &p->changes[i];
        const struct signer_set_file *file = trust_set_find(set, change->role);
        if (!file || (file->data.len &&
                      !bytes_equal(file->data.data, file->data.len, change->data, change->len)))
            return fail(err, E_CONFLICT, "'%s' was replaced meanwhile", change->role);
        rc = check_stored(tx, p, file, change, err);
    }
    return rc;
}

/* Roots between the stored one and the set's: a registry that was restored has missed them. */
static int fetch_roots(struct registry *r, const char *repository, const struct signer_set *set,
                       struct signer_set *roots, struct error *err)
{
    struct index_tx *tx = NULL;
    int64_t since = 0;
    bool gap = false;
    int rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = trust_set_gap(tx, repository, set, &since, &gap, err);
    index_read_end(r->index, tx);
    return rc == 0 && gap ? signer_link_roots(r->signer, repository, since, roots, err) : rc;
}

/* The changes are those files of the set that the registry has, and the index has not: where the
 * new snapshot names these very bytes. What is left open, complete_set asks for. */
static int fill_in_changes(const struct publication *p, struct signer_set *set, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *snapshot = NULL;
    const struct signer_set_file *made = trust_set_find(set, "snapshot");
    int rc = made
                 ? tuf_metadata_parse(TUF_SNAPSHOT, made->data.data, made->data.len, &snapshot, err)
                 : fail(err, E_PROTOCOL, "the signing service sent an incomplete set");
    for (size_t i = 0; rc == 0 && i < p->n_changes; i++) {
        const struct tuf_file *change = &p->changes[i];
        const struct tuf_meta *meta = tuf_snapshot_find(snapshot, change->role);
        for (size_t k = 0; rc == 0 && meta && k < set->n_files; k++) {
            struct signer_set_file *file = &set->files[k];
            if (file->data.len == 0 && strcmp(file->role, change->role) == 0 &&
                tuf_meta_check(meta, change->data, change->len, true, NULL) == 0)
                rc = bytes_append(&file->data, change->data, change->len, err);
        }
    }
    return rc;
}

static int missing_files(struct registry *r, const char *repository, const struct signer_set *set,
                         const char ***names, size_t *n, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = trust_set_missing(tx, repository, set, names, n, err);
    index_read_end(r->index, tx);
    return rc;
}

/* Moves content into the set's own files of the same version; *moved: whether any was. */
static void move_content(struct signer_set *from, struct signer_set *set, bool *moved)
{
    for (size_t i = 0; i < from->n_files; i++)
        for (size_t k = 0; k < set->n_files; k++)
            if (set->files[k].data.len == 0 && from->files[i].data.len &&
                set->files[k].version == from->files[i].version &&
                strcmp(set->files[k].role, from->files[i].role) == 0) {
                bytes_done(&set->files[k].data);
                set->files[k].data = bytes_take(&from->files[i].data);
                *moved = true;
            }
}

/* Asks for what the service left out and is not here: nothing, but where this registry comes from a
 * copy, or two publications overtook each other. */
static int complete_set(struct registry *r, const char *repository, struct signer_set *set,
                        struct error *err)
{
    for (;;) {
        CLEANUP(cleanup_free) const char **names = NULL;
        CLEANUP(signer_set_done) struct signer_set more = {NULL, 0};
        size_t n = 0;
        bool moved = false;
        int rc = missing_files(r, repository, set, &names, &n, err);
        if (rc != 0 || n == 0)
            return rc;
        rc = signer_link_files(r->signer, repository, names,
                               n < TUF_MAX_CHANGES ? n : TUF_MAX_CHANGES, &more, err);
        if (rc != 0)
            return rc;
        move_content(&more, set, &moved);
        if (!moved)
            return fail(err, E_CONFLICT, "'%s' was replaced meanwhile", names[0]);
    }
}

static int store_set(struct registry *r, const char *repository, struct signer_set *set,
                     struct error *err)
{
    CLEANUP(signer_set_done) struct signer_set roots = {NULL, 0};
    int rc = complete_set(r, repository, set, err);
    if (rc == 0)
        rc = fetch_roots(r, repository, set, &roots, err);
    return rc == 0 ? trust_set_store(r->index, repository, set, &roots, err) : rc;
}

static int finish(struct registry *r, const struct publication *p, struct signer_set *set,
                  struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = fill_in_changes(p, set, err);
    if (rc == 0)
        rc = store_set(r, p->repository, set, err);
    if (rc == 0)
        rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = check_answer(tx, p, set, err);
    index_read_end(r->index, tx);
    return rc;
}

/* --- manifests that are about to be signed --- */

struct holding {
    struct index_trust_hold hold;
    const struct tuf_accepted *accepted;
};

/* They are still here, and from now on nobody removes them. */
static int hold_added(struct index_tx *tx, void *arg, struct error *err)
{
    const struct holding *h = arg;
    int rc = check_added(tx, h->hold.repository, h->accepted, err);
    for (size_t i = 0; rc == 0 && i < h->accepted->n_added; i++)
        rc = index_trust_hold(tx, &h->hold, &h->accepted->added[i], err);
    return rc;
}

/* A publication that is cut off may be signed all the same: it is stored by the next refresh, which
 * is due within the life of a timestamp. */
static int begin_holding(struct registry *r, const struct publication *p, struct holding *h,
                         struct error *err)
{
    int64_t life_s = r->config->signer.timestamp_lifetime_s, lease_s = r->config->gc.lease_s;
    uint64_t random = 0;
    if (h->accepted->n_added == 0)
        return 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail_sys(err, errno, "getrandom");
    h->hold =
        (struct index_trust_hold){.repository = p->repository,
                                  .publication = (int64_t)(random >> 1),
                                  .until_s = clock_now_s() + (life_s > lease_s ? life_s : lease_s)};
    return index_write(r->index, hold_added, h, err);
}

static int release(struct index_tx *tx, void *arg, struct error *err)
{
    const struct holding *h = arg;
    return index_trust_release(tx, h->hold.publication, err);
}

/* After anything that leaves open whether the service has signed, the holds stay. */
static void end_holding(struct registry *r, struct holding *h, int rc)
{
    struct error err = ERROR_INIT;
    bool open =
        rc == E_NETWORK || rc == E_PROTOCOL || rc == E_SYS || rc == E_NOMEM || rc == E_INTERNAL;
    if (h->accepted->n_added > 0 && !open && index_write(r->index, release, h, &err) != 0)
        log_warn("holds of a publication stay: %s", err.message);
}

static int check_and_hold(struct registry *r, const struct publication *p,
                          struct tuf_accepted **accepted, struct holding *h, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = check_rules(tx, p, accepted, err);
    index_read_end(r->index, tx);
    h->accepted = *accepted;
    return rc == 0 ? begin_holding(r, p, h, err) : rc;
}

/* E_CONFLICT, too, may mean that the service has forgotten something; or it knows a publication
 * that was cut off here, and the next try sees that. */
static int ask_service(struct registry *r, const struct publication *p, struct signer_set *set,
                       struct error *err)
{
    struct error why = ERROR_INIT;
    int rc = signer_link_publish(r->signer, p->repository, p->changes, p->n_changes, set, err);
    if (rc != E_CONFLICT && rc != E_STALE)
        return rc;
    int refreshed = publish_refresh(r, p->repository, &why);
    if (refreshed == E_STALE)
        return fail(err, E_STALE, "%s", why.message);
    /* It took over what it had forgotten. */
    if (rc == E_STALE && refreshed == 0)
        return signer_link_publish(r->signer, p->repository, p->changes, p->n_changes, set, err);
    return rc;
}

int publish_changes(struct registry *r, const struct publication *p, struct error *err)
{
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *accepted = NULL;
    struct holding holding = {.accepted = NULL};
    int rc = check_and_hold(r, p, &accepted, &holding, err);
    if (rc != 0)
        return rc;
    rc = ask_service(r, p, &set, err);
    int stored = rc == 0 ? finish(r, p, &set, err) : rc;
    end_holding(r, &holding, rc == 0 && stored != 0 ? E_INTERNAL : rc);
    return stored;
}

/* Whether anything in the set is older than what is published. */
static int is_behind(struct registry *r, const char *repository, const struct signer_set *set,
                     bool *behind, struct error *err)
{
    static const char *const roles[] = {"root", "snapshot", "timestamp"};
    struct index_tx *tx = NULL;
    int rc = index_read_begin(r->index, &tx, err);
    *behind = false;
    for (size_t i = 0; rc == 0 && i < sizeof roles / sizeof *roles; i++) {
        const struct signer_set_file *file = trust_set_find(set, roles[i]);
        int64_t version = 0;
        rc = index_trust_version(tx, repository, roles[i], &version, err);
        *behind = *behind || (file && file->version < version);
    }
    index_read_end(r->index, tx);
    return rc;
}

/* The service's current set. Where it has forgotten what is published here, it is shown that. */
static int fetch_set(struct registry *r, const char *repository, struct signer_set *set,
                     struct error *err)
{
    struct error why = ERROR_INIT;
    bool behind = false, adopted = false;
    int rc = signer_link_refresh(r->signer, repository, set, err);
    if (rc == 0)
        rc = is_behind(r, repository, set, &behind, err);
    if (rc != E_STALE && rc != E_NOTFOUND && !behind)
        return rc;
    int shown = trust_sync_show(r, repository, &adopted, &why);
    if (shown == 0 && adopted) {
        signer_set_done(set);
        return signer_link_refresh(r->signer, repository, set, err);
    }
    return shown == E_STALE || (shown != 0 && behind) ? fail(err, shown, "%s", why.message) : rc;
}

int publish_refresh(struct registry *r, const char *repository, struct error *err)
{
    CLEANUP(signer_set_done) struct signer_set set = {NULL, 0};
    int rc = fetch_set(r, repository, &set, err);
    if (rc == 0)
        rc = store_set(r, repository, &set, err);
    metrics_add(rc == 0 ? METRICS_RENEWALS : METRICS_RENEWAL_FAILURES, 1);
    return rc;
}

#include "registry/trust_set.h"

#include "base/clock.h"
#include "base/log.h"
#include "registry/index_content.h"
#include "registry/index_mirror.h"
#include "tuf/trusted.h"

#include <string.h>

const struct signer_set_file *trust_set_find(const struct signer_set *set, const char *role)
{
    for (size_t i = 0; i < set->n_files; i++)
        if (strcmp(set->files[i].role, role) == 0)
            return &set->files[i];
    return NULL;
}

/* What the registry has, without the bytes of it. */
struct in_force {
    struct index_trust_file *files; /* by name */
    size_t n;
    struct tuf_metadata *snapshot; /* NULL: none */
};

static void in_force_done(struct in_force *f)
{
    index_trust_files_free(f->files, f->n);
    tuf_metadata_free(f->snapshot);
    *f = (struct in_force){.files = NULL};
}

static int in_force_read(struct index_tx *tx, const char *repository, struct in_force *f,
                         struct error *err)
{
    CLEANUP(bytes_done) struct bytes snapshot = BYTES_INIT;
    in_force_done(f);
    int rc = index_trust_names(tx, repository, &f->files, &f->n, err);
    if (rc == 0)
        rc = index_trust_find(tx, repository, "snapshot", 0, &snapshot, err);
    if (rc == 0)
        rc = tuf_metadata_parse(TUF_SNAPSHOT, snapshot.data, snapshot.len, &f->snapshot, err);
    return rc == E_NOTFOUND ? 0 : rc;
}

static int compare_role(const void *role, const void *file)
{
    return strcmp(role, ((const struct index_trust_file *)file)->role);
}

static bool same_meta(const struct tuf_meta *a, const struct tuf_meta *b)
{
    return a->version == b->version && a->length == b->length && a->length >= 0 &&
           digest_equal(&a->sha256, &b->sha256) && a->sha256.alg == DIGEST_SHA256;
}

/*
 * The role's file is here and nothing has to be done for it. `next` is the entry of the snapshot to
 * come. What is in force here was checked against the snapshot in force when both were stored, and
 * equal entries name equal bytes: length and SHA-256 are in them.
 */
static bool stays(const struct in_force *f, const char *role, const struct tuf_meta *next)
{
    const struct tuf_meta *now = f->snapshot ? tuf_snapshot_find(f->snapshot, role) : NULL;
    const struct index_trust_file *file =
        f->n ? bsearch(role, f->files, f->n, sizeof *f->files, compare_role) : NULL;
    return now && next && file && file->version == next->version && same_meta(now, next);
}

struct storing {
    const char *repository;
    const struct signer_set *set, *roots;
    const struct signer_set_file *root, *snapshot, *timestamp;
    bool online_keys_changed; /* by a root after the stored one */
    int64_t id;
    struct in_force here;
};

static void storing_done(struct storing *s)
{
    in_force_done(&s->here);
}

static bool is_targets_role(const char *role)
{
    return strcmp(role, "root") != 0 && strcmp(role, "snapshot") != 0 &&
           strcmp(role, "timestamp") != 0;
}

/* --- verifying --- */

static int follow_root(struct storing *s, struct tuf_trusted *t, const struct bytes *root,
                       struct error *err)
{
    bool changed = false;
    int rc = tuf_trusted_update_root(t, root->data, root->len, &changed, err);
    s->online_keys_changed = s->online_keys_changed || changed;
    return rc;
}

/* The roots in between, each by the one before; those that are stored already are passed over. */
static int follow_roots(struct storing *s, struct tuf_trusted *t, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && s->roots && i < s->roots->n_files; i++) {
        const struct signer_set_file *file = &s->roots->files[i];
        if (file->version > tuf_metadata_version(tuf_trusted_root(t)))
            rc = follow_root(s, t, &file->data, err);
    }
    const struct bytes *last = &s->root->data;
    if (rc == 0 && s->root->version != tuf_metadata_version(tuf_trusted_root(t)))
        return follow_root(s, t, last, err);
    const struct bytes *got = rc == 0 ? tuf_metadata_bytes(tuf_trusted_root(t)) : NULL;
    if (got && !bytes_equal(got->data, got->len, last->data, last->len))
        return fail(err, E_ROLLBACK, "the set's root is another of the same version");
    return rc;
}

/* Starts at the stored root where there is one, so that the set must follow from it. */
static int trust_root(struct index_tx *tx, struct storing *s, struct tuf_trusted **out,
                      struct error *err)
{
    CLEANUP(bytes_done) struct bytes stored = BYTES_INIT;
    const struct tuf_trusted_options options = {clock_now_s(), s->repository};
    const struct bytes *first =
        s->roots && s->roots->n_files ? &s->roots->files[0].data : &s->root->data;
    int rc = index_trust_find(tx, s->repository, "root", 0, &stored, err);
    if (rc == 0)
        first = &stored;
    if (rc == 0 || rc == E_NOTFOUND)
        rc = tuf_trusted_new(&options, first->data, first->len, out, err);
    return rc == 0 ? follow_roots(s, *out, err) : rc;
}

/* All roles that delegate or might: what targets leads to but for bins, which cannot. */
struct delegators {
    struct tuf_metadata **items;
    const struct signer_set_file **files; /* of the same number, borrowed */
    size_t n;
};

static void delegators_done(struct delegators *d)
{
    for (size_t i = 0; i < d->n; i++)
        tuf_metadata_free(d->items[i]);
    free(d->items);
    free(d->files);
}

static int add_delegator(struct index_tx *tx, const struct storing *s, const char *role,
                         struct delegators *d, struct error *err)
{
    CLEANUP(bytes_done) struct bytes read = BYTES_INIT;
    const struct signer_set_file *file = trust_set_find(s->set, role);
    for (size_t i = 0; i < d->n; i++)
        if (d->files[i] == file)
            return 0;
    if (!file)
        return 0; /* not signed yet */
    int rc = file->data.len ? 0 : index_trust_find(tx, s->repository, role, 0, &read, err);
    const struct bytes *data = file->data.len ? &file->data : &read;
    if (rc == 0)
        rc = tuf_metadata_parse(TUF_TARGETS, data->data, data->len, &d->items[d->n], err);
    if (rc == 0)
        d->files[d->n++] = file;
    return rc;
}

static int find_delegators(struct index_tx *tx, const struct storing *s, struct delegators *d,
                           struct error *err)
{
    d->items = calloc(s->set->n_files + 1, sizeof *d->items);
    d->files = calloc(s->set->n_files + 1, sizeof *d->files);
    int rc = d->items && d->files ? add_delegator(tx, s, "targets", d, err) : fail_nomem(err);
    for (size_t i = 0; rc == 0 && i < d->n; i++)
        for (size_t k = 0; rc == 0 && k < tuf_targets_n_delegations(d->items[i]); k++)
            rc = add_delegator(tx, s, tuf_targets_delegation(d->items[i], k)->name, d, err);
    return rc;
}

static bool is_delegated(const struct delegators *d, const char *role)
{
    for (size_t i = 0; i < d->n; i++)
        if (tuf_targets_authority(d->items[i], role))
            return true;
    return false;
}

/* Names never leave a snapshot (TUF 5.5.5): roles that nobody delegates to any more stay in it
 * without a file. Any other must be here. */
static int check_absent(struct index_tx *tx, const struct storing *s,
                        const struct tuf_metadata *snapshot, struct error *err)
{
    CLEANUP(delegators_done) struct delegators d = {.items = NULL};
    int rc = find_delegators(tx, s, &d, err);
    for (size_t i = 0; rc == 0 && i < tuf_snapshot_count(snapshot); i++) {
        const char *role = NULL;
        (void)tuf_snapshot_at(snapshot, i, &role);
        if (!trust_set_find(s->set, role) &&
            (strcmp(role, "targets") == 0 || is_delegated(&d, role)))
            return fail(err, E_ROLLBACK, "the snapshot names role '%s', which is not in the set",
                        role);
    }
    return rc;
}

static int check_file(const struct storing *s, const struct signer_set_file *file,
                      const struct tuf_meta *meta, struct error *err)
{
    if (!meta || meta->version != file->version)
        return fail(err, E_ROLLBACK, "the snapshot does not name '%s'", file->role);
    if (file->data.len)
        return wrap(err, tuf_meta_check(meta, file->data.data, file->data.len, true, err), "'%s'",
                    file->role);
    return stays(&s->here, file->role, meta)
               ? 0
               : fail(err, E_CONFLICT, "'%s' came without content and is not here: try again",
                      file->role);
}

/* Every file is the one the snapshot names, and none is missing or too many. Expiry of targets is
 * not looked at: an expired collection still needs fresh timestamps to be repaired. */
static int check_roles(struct index_tx *tx, const struct storing *s, const struct tuf_trusted *t,
                       struct error *err)
{
    const struct tuf_metadata *snapshot = tuf_trusted_snapshot(t);
    size_t n = 0;
    for (size_t i = 0; i < s->set->n_files; i++) {
        const struct signer_set_file *file = &s->set->files[i];
        if (!is_targets_role(file->role))
            continue;
        int rc = check_file(s, file, tuf_snapshot_find(snapshot, file->role), err);
        if (rc != 0)
            return rc;
        n++;
    }
    return n == tuf_snapshot_count(snapshot) ? 0 : check_absent(tx, s, snapshot, err);
}

/* What is published protects itself: a service restored from a copy may hold an older snapshot
 * under a newer timestamp. */
static int load_published(struct index_tx *tx, const struct storing *s, struct tuf_trusted *t,
                          struct error *err)
{
    CLEANUP(bytes_done) struct bytes timestamp = BYTES_INIT, snapshot = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = index_trust_find(tx, s->repository, "timestamp", 0, &timestamp, err);
    if (rc == 0)
        rc = index_trust_find(tx, s->repository, "snapshot", 0, &snapshot, err);
    if (rc != 0)
        return rc == E_NOTFOUND ? 0 : rc;
    if (tuf_trusted_load_timestamp(t, timestamp.data, timestamp.len, &why) != 0 ||
        tuf_trusted_load_snapshot(t, snapshot.data, snapshot.len, &why) != 0)
        log_debug("published set of '%s': %s", s->repository, why.message);
    return 0;
}

static int verify(struct index_tx *tx, struct storing *s, struct error *err)
{
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = NULL;
    bool changed = false;
    int rc = trust_root(tx, s, &t, err);
    if (rc == 0) {
        tuf_trusted_ignore_root_expiry(t);
        rc = tuf_trusted_finish_root(t, err);
    }
    if (rc == 0 && !s->online_keys_changed) /* TUF 5.3.11 */
        rc = load_published(tx, s, t, err);
    if (rc == 0)
        rc = tuf_trusted_update_timestamp(t, s->timestamp->data.data, s->timestamp->data.len,
                                          &changed, err);
    if (rc == 0)
        rc = tuf_trusted_update_snapshot(t, s->snapshot->data.data, s->snapshot->data.len, err);
    if (rc == 0)
        rc = in_force_read(tx, s->repository, &s->here, err);
    return rc == 0 ? check_roles(tx, s, t, err) : rc;
}

/* --- storing --- */

static int stored_version(struct index_tx *tx, const char *repository, enum tuf_type type,
                          int64_t *version, struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    int rc = index_trust_find(tx, repository, tuf_type_name(type), 0, &data, err);
    if (rc == 0)
        rc = tuf_metadata_parse(type, data.data, data.len, &m, err);
    if (rc == 0)
        *version = tuf_metadata_version(m);
    return rc;
}

/* A new root may restart the timestamp's versions: the root's decides first. */
static int is_newer(struct index_tx *tx, const struct storing *s, bool *newer, struct error *err)
{
    int64_t root = 0, timestamp = 0;
    int rc = stored_version(tx, s->repository, TUF_ROOT, &root, err);
    if (rc == 0)
        rc = stored_version(tx, s->repository, TUF_TIMESTAMP, &timestamp, err);
    if (rc == E_NOTFOUND) {
        *newer = true;
        return 0;
    }
    if (rc == 0)
        *newer = s->root->version > root ||
                 (s->root->version == root && s->timestamp->version > timestamp);
    return rc;
}

/* One role of one repository, whose rows change. */
struct role_rows {
    struct index_tx *tx;
    int64_t repository;
    const char *role;
    int (*change)(struct index_tx *tx, int64_t repository, const char *role,
                  const struct index_trust_target *target, struct error *err);
};

/* Changes the rows of targets of `from` that `other` (may be NULL) does not name with the same
 * digest. */
static int each_difference(const struct role_rows *rows, const struct tuf_metadata *from,
                           const struct tuf_metadata *other, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && from && i < tuf_targets_count(from); i++) {
        struct tuf_target target, same;
        tuf_targets_at(from, i, &target);
        const struct digest *d = target.sha256.alg != DIGEST_NONE ? &target.sha256 : &target.sha512;
        if (other && tuf_targets_find(other, target.name, &same) &&
            digest_equal(d, d->alg == DIGEST_SHA256 ? &same.sha256 : &same.sha512))
            continue;
        const struct index_trust_target row = {target.name, *d};
        if (d->alg != DIGEST_NONE)
            rc = rows->change(rows->tx, rows->repository, rows->role, &row, err);
    }
    return rc;
}

struct place {
    const char *name, *role;
    int64_t id;
};

/* A collection of many tags changes by a few: only those are written. */
static int store_targets(struct index_tx *tx, const struct place *at, const struct bytes *data,
                         struct error *err)
{
    CLEANUP(bytes_done) struct bytes old_data = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *old = NULL;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *new = NULL;
    int rc = index_trust_find(tx, at->name, at->role, 0, &old_data, err);
    if (rc == 0 && bytes_equal(old_data.data, old_data.len, data->data, data->len))
        return 0;
    if (rc == 0)
        rc = tuf_metadata_parse(TUF_TARGETS, old_data.data, old_data.len, &old, err);
    if (rc == 0 || rc == E_NOTFOUND)
        rc = tuf_metadata_parse(TUF_TARGETS, data->data, data->len, &new, err);
    const struct role_rows gone = {tx, at->id, at->role, index_trust_target_remove};
    const struct role_rows come = {tx, at->id, at->role, index_trust_target_add};
    if (rc == 0)
        rc = each_difference(&gone, old, new, err);
    if (rc == 0)
        rc = each_difference(&come, new, old, err);
    return rc;
}

int trust_set_put_targets(struct index_tx *tx, const char *repository, const char *role,
                          const struct bytes *data, struct error *err)
{
    struct place at = {repository, role, 0};
    int rc = index_repository_find(tx, repository, &at.id, err);
    return rc == 0 ? store_targets(tx, &at, data, err) : rc;
}

static int store_timestamp_life(struct index_tx *tx, const struct storing *s, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    int rc =
        tuf_metadata_parse(TUF_TIMESTAMP, s->timestamp->data.data, s->timestamp->data.len, &m, err);
    if (rc != 0)
        return rc;
    int64_t issued = tuf_metadata_issued(m);
    return index_trust_set_timestamp(tx, s->id, issued >= 0 ? issued : clock_now_s(),
                                     tuf_metadata_expires(m), err);
}

/* Clients follow the chain by version: all of it is served. */
static int store_roots(struct index_tx *tx, const struct storing *s, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && s->roots && i < s->roots->n_files; i++) {
        const struct signer_set_file *file = &s->roots->files[i];
        if (file->version < s->root->version)
            rc = index_trust_put(tx, s->id, "root", file->version, &file->data, err);
    }
    return rc;
}

/* Of a large collection most stays as it is: check_file saw to that where there is no content. */
static int store_file(struct index_tx *tx, const struct storing *s,
                      const struct signer_set_file *file, struct error *err)
{
    const struct place at = {s->repository, file->role, s->id};
    if (file->data.len == 0)
        return 0;
    int rc = is_targets_role(file->role) ? store_targets(tx, &at, &file->data, err) : 0;
    return rc == 0 ? index_trust_put(tx, s->id, file->role, file->version, &file->data, err) : rc;
}

static int store_files(struct index_tx *tx, const struct storing *s, struct error *err)
{
    int rc = store_roots(tx, s, err);
    for (size_t i = 0; rc == 0 && i < s->set->n_files; i++)
        rc = store_file(tx, s, &s->set->files[i], err);
    for (size_t i = 0; rc == 0 && i < s->here.n; i++)
        if (!trust_set_find(s->set, s->here.files[i].role))
            rc = index_trust_retire_role(tx, s->id, s->here.files[i].role, err);
    if (rc == 0)
        rc = index_trust_targets_prune(tx, s->id, err);
    return rc == 0 ? store_timestamp_life(tx, s, err) : rc;
}

/* What is here is what the service has: however long it was said to live (a restored registry calls
 * everything due), it lives as long as it says itself. */
static int settle(struct index_tx *tx, struct storing *s, struct error *err)
{
    CLEANUP(bytes_done) struct bytes stored = BYTES_INIT;
    const struct bytes *own = &s->timestamp->data;
    int rc = index_trust_find(tx, s->repository, "timestamp", 0, &stored, err);
    if (rc != 0 || !bytes_equal(stored.data, stored.len, own->data, own->len))
        return rc;
    rc = index_repository_find(tx, s->repository, &s->id, err);
    return rc == 0 ? store_timestamp_life(tx, s, err) : rc;
}

static int store(struct index_tx *tx, void *arg, struct error *err)
{
    struct storing *s = arg;
    bool newer = false;
    int rc = index_mirror_check_none(tx, s->repository, err);
    if (rc == 0)
        rc = is_newer(tx, s, &newer, err);
    if (rc != 0 || !newer)
        return rc != 0 ? rc : settle(tx, s, err);
    rc = verify(tx, s, err);
    if (rc == 0)
        rc = index_repository_make(tx, s->repository, &s->id, err);
    return rc == 0 ? store_files(tx, s, err) : rc;
}

int trust_set_gap(struct index_tx *tx, const char *repository, const struct signer_set *set,
                  int64_t *since, bool *gap, struct error *err)
{
    const struct signer_set_file *root = trust_set_find(set, "root");
    int64_t stored = 0;
    int rc = stored_version(tx, repository, TUF_ROOT, &stored, err);
    if (rc != 0 && rc != E_NOTFOUND)
        return rc;
    *since = stored;
    *gap = root && root->version > stored + 1;
    return 0;
}

int trust_set_missing(struct index_tx *tx, const char *repository, const struct signer_set *set,
                      const char ***names, size_t *n, struct error *err)
{
    CLEANUP(in_force_done) struct in_force here = {.files = NULL};
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *next = NULL;
    const struct signer_set_file *snapshot = trust_set_find(set, "snapshot");
    int rc = snapshot ? tuf_metadata_parse(TUF_SNAPSHOT, snapshot->data.data, snapshot->data.len,
                                           &next, err)
                      : fail(err, E_PROTOCOL, "the signing service sent a set without snapshot");
    if (rc == 0)
        rc = in_force_read(tx, repository, &here, err);
    if (rc != 0)
        return rc;
    const char **list = calloc(set->n_files + 1, sizeof *list);
    if (!list)
        return fail_nomem(err);
    *n = 0;
    for (size_t i = 0; i < set->n_files; i++) {
        const char *role = set->files[i].role;
        if (set->files[i].data.len == 0 && !stays(&here, role, tuf_snapshot_find(next, role)))
            list[(*n)++] = role;
    }
    *names = list;
    return 0;
}

int trust_set_store(struct index *index, const char *repository, const struct signer_set *set,
                    const struct signer_set *roots, struct error *err)
{
    CLEANUP(storing_done)
    struct storing s = {.repository = repository,
                        .set = set,
                        .roots = roots,
                        .root = trust_set_find(set, "root"),
                        .snapshot = trust_set_find(set, "snapshot"),
                        .timestamp = trust_set_find(set, "timestamp")};
    if (!s.root || !s.snapshot || !s.timestamp)
        return fail(err, E_PROTOCOL, "the signing service sent an incomplete set");
    int rc = index_write(index, store, &s, err);
    return wrap(err, rc, "set of the signing service");
}

#include "registry/mirror.h"

#include "base/clock.h"
#include "base/log.h"
#include "registry/index_mirror.h"
#include "registry/index_trust.h"
#include "registry/mirror_anchor.h"
#include "registry/trust_set.h"
#include "tuf/trusted.h"

#include <inttypes.h>
#include <string.h>

#define MAX_PAIRS 8192u /* a role and who delegates to it */
#define TRIES     3     /* others who store meanwhile */

/* --- names and files --- */

int mirror_file_name(const char *name, struct mirror_file *out, struct error *err)
{
    size_t digits = strspn(name, "0123456789"), len = strlen(name);
    uint64_t version = 0;
    *out = (struct mirror_file){.version = 0};
    if (strcmp(name, "timestamp.json") == 0) {
        (void)snprintf(out->role, sizeof out->role, "timestamp");
        return 0;
    }
    size_t rest = len > digits + 6 ? len - digits - 6 : 0; /* between "N." and ".json" */
    bool good = digits > 0 && name[0] != '0' && name[digits] == '.' && rest > 0 &&
                rest < sizeof out->role && text_ends(name, ".json") &&
                text_to_u64(name, digits, TUF_MAX_VERSION, &version, NULL) == 0;
    if (good)
        (void)snprintf(out->role, sizeof out->role, "%.*s", (int)rest, name + digits + 1);
    bool top = good && (strcmp(out->role, "root") == 0 || strcmp(out->role, "snapshot") == 0 ||
                        strcmp(out->role, "targets") == 0);
    if (!good || (!top && !tuf_role_name_valid(out->role)))
        return fail(err, E_INVALID, "'%s' is no metadata file: timestamp.json or N.ROLE.json",
                    name);
    out->version = (int64_t)version;
    return 0;
}

static int compare_files(const void *a, const void *b)
{
    const struct mirror_file *x = a, *y = b;
    int order = strcmp(x->role, y->role);
    return order ? order : (x->version > y->version) - (x->version < y->version);
}

static int sort_files(struct mirror_set *set, struct error *err)
{
    qsort(set->files, set->n, sizeof *set->files, compare_files);
    for (size_t i = 0; i + 1 < set->n; i++)
        if (compare_files(&set->files[i], &set->files[i + 1]) == 0)
            return fail(err, E_INVALID, "version %" PRId64 " of '%s' is given twice",
                        set->files[i].version, set->files[i].role);
    return 0;
}

static struct mirror_file *find_file(struct mirror_set *set, const char *role, int64_t version)
{
    struct mirror_file key = {.version = version};
    (void)snprintf(key.role, sizeof key.role, "%s", role);
    return bsearch(&key, set->files, set->n, sizeof key, compare_files);
}

/* --- one verification --- */

/* A role as it will be in force. */
struct accepted {
    const char *role; /* the walk's */
    int64_t version;
    const struct mirror_file *file; /* NULL: what is stored */
};

struct pair {
    char *role, *delegator; /* NULL: top-level targets */
};

struct mirroring {
    struct registry *registry;
    struct mirror_set *set;
    struct mirror_anchor anchor;
    struct tuf_trusted *trusted;
    struct pair *pairs; /* in the order they are looked at */
    size_t n_pairs;
    struct accepted *accepted; /* targets roles, each once */
    size_t n_accepted;
    struct accepted snapshot;
    const struct mirror_file *timestamp;
    int64_t stored_root, stored_timestamp; /* versions when this was verified; 0: none */
    int64_t first_root;                    /* newer ones are stored, with the anchor where fresh */
    bool founded, fresh;                   /* is a mirror already; nothing stored counts */
    bool changed;
    size_t n_missing;
};

static void mirroring_done(struct mirroring *m)
{
    tuf_trusted_cleanup(&m->trusted);
    for (size_t i = 0; i < m->n_pairs; i++) {
        free(m->pairs[i].role);
        free(m->pairs[i].delegator);
    }
    free(m->pairs);
    free(m->accepted);
}

static int stored_version(struct index_tx *tx, const char *repository, enum tuf_type type,
                          int64_t *version, struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    int rc = index_trust_find(tx, repository, tuf_type_name(type), 0, &data, err);
    if (rc == E_NOTFOUND) {
        *version = 0;
        return 0;
    }
    if (rc == 0)
        rc = tuf_metadata_parse(type, data.data, data.len, &m, err);
    if (rc == 0)
        *version = tuf_metadata_version(m);
    return rc;
}

/* What is stored, and whether it may be a mirror. */
static int look(struct index_tx *tx, struct mirroring *m, struct error *err)
{
    const char *repository = m->set->repository;
    struct error why = ERROR_INIT;
    int rc = index_mirror_find(tx, repository, NULL, &why);
    if (rc != 0 && rc != E_NOTFOUND)
        return fail(err, rc, "%s", why.message);
    m->founded = rc == 0;
    rc = stored_version(tx, repository, TUF_ROOT, &m->stored_root, err);
    if (rc == 0)
        rc = stored_version(tx, repository, TUF_TIMESTAMP, &m->stored_timestamp, err);
    if (rc == 0 && !m->founded && m->stored_root)
        return fail(err, E_CONFLICT,
                    "'%s' has a collection of its own, signed here: it cannot become a mirror",
                    repository);
    return rc;
}

/* --- roots --- */

static int64_t root_version(const struct mirroring *m)
{
    return tuf_metadata_version(tuf_trusted_root(m->trusted));
}

/* The configured root is part of what is stored: then that led here, and goes on. Another root, or
 * none: the administrator's anchor counts alone. */
static int begin_roots(struct index_tx *tx, struct mirroring *m, struct error *err)
{
    CLEANUP(bytes_done) struct bytes first = BYTES_INIT, stored = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *anchor = NULL;
    const struct tuf_trusted_options options = {clock_now_s(), m->anchor.collection};
    const struct bytes *root = m->anchor.root, *from = root;
    int rc = tuf_metadata_parse(TUF_ROOT, root->data, root->len, &anchor, err);
    if (rc == 0)
        rc = index_trust_find(tx, m->set->repository, "root", tuf_metadata_version(anchor), &first,
                              err);
    m->fresh = rc == E_NOTFOUND || !bytes_equal(first.data, first.len, root->data, root->len);
    if (rc == 0 && !m->fresh) {
        rc = index_trust_find(tx, m->set->repository, "root", 0, &stored, err);
        from = &stored;
    } else if (rc == E_NOTFOUND) {
        rc = 0;
    }
    if (rc == 0)
        rc = wrap(err, tuf_trusted_new(&options, from->data, from->len, &m->trusted, err),
                  "anchor of '%s'", m->set->repository);
    if (rc == 0)
        m->first_root = root_version(m);
    return rc;
}

/* Older ones say nothing here; one of the same version must be the same. */
static int take_root(struct mirroring *m, struct mirror_file *file, struct error *err)
{
    const struct bytes *known = tuf_metadata_bytes(tuf_trusted_root(m->trusted));
    file->used = true;
    if (file->version < root_version(m))
        return 0;
    if (file->version == root_version(m))
        return bytes_equal(known->data, known->len, file->data, file->len)
                   ? 0
                   : fail(err, E_ROLLBACK, "it is another root than the one trusted here");
    return tuf_trusted_update_root(m->trusted, file->data, file->len, NULL, err);
}

static int follow_roots(struct index_tx *tx, struct mirroring *m, struct error *err)
{
    int rc = begin_roots(tx, m, err);
    for (size_t i = 0; rc == 0 && i < m->set->n; i++)
        if (strcmp(m->set->files[i].role, "root") == 0)
            rc = wrap(err, take_root(m, &m->set->files[i], err), "root %" PRId64,
                      m->set->files[i].version);
    return rc == 0 ? tuf_trusted_finish_root(m->trusted, err) : rc;
}

/* --- timestamp and snapshot --- */

/* What is published protects itself, as long as its keys are those of the root. TUF 5.3.11 */
static int load_stored(struct index_tx *tx, struct mirroring *m, struct error *err)
{
    CLEANUP(bytes_done) struct bytes timestamp = BYTES_INIT, snapshot = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = index_trust_find(tx, m->set->repository, "timestamp", 0, &timestamp, err);
    if (rc == 0)
        rc = index_trust_find(tx, m->set->repository, "snapshot", 0, &snapshot, err);
    if (rc != 0)
        return rc == E_NOTFOUND ? 0 : rc;
    if (tuf_trusted_load_timestamp(m->trusted, timestamp.data, timestamp.len, &why) != 0 ||
        tuf_trusted_load_snapshot(m->trusted, snapshot.data, snapshot.len, &why) != 0)
        log_debug("mirrored set of '%s': %s", m->set->repository, why.message);
    return 0;
}

static bool same_file(const struct mirror_file *file, const struct tuf_metadata *m)
{
    const struct bytes *known = tuf_metadata_bytes(m);
    return bytes_equal(known->data, known->len, file->data, file->len);
}

/* Where a new anchor starts anew all that is stored goes: then nothing can be left out. */
static int take_timestamp(struct mirroring *m, struct error *err)
{
    struct mirror_file *file = find_file(m->set, "timestamp", 0);
    bool changed = false;
    if (!file)
        return fail(err, E_INVALID, "the set has no timestamp.json");
    file->used = true;
    int rc = tuf_trusted_update_timestamp(m->trusted, file->data, file->len, &changed, err);
    if (rc != 0)
        return wrap(err, rc, "timestamp");
    if (m->fresh && !same_file(file, tuf_trusted_timestamp(m->trusted)))
        return fail(err, E_ROLLBACK, "timestamp is another one of the version that is known");
    m->timestamp = changed || m->fresh ? file : NULL;
    return 0;
}

static int take_snapshot(struct mirroring *m, struct error *err)
{
    int64_t version = tuf_trusted_wanted_snapshot(m->trusted)->version;
    struct mirror_file *file = find_file(m->set, "snapshot", version);
    struct error why = ERROR_INIT;
    m->snapshot = (struct accepted){"snapshot", version, NULL};
    if (file)
        file->used = true;
    bool known = tuf_trusted_reuse_snapshot(m->trusted, &why) == 0;
    if (known && !m->fresh)
        return 0;
    if (!file)
        return fail(err, E_INVALID, "the set has no %" PRId64 ".snapshot.json", version);
    m->snapshot.file = file;
    if (known)
        return same_file(file, tuf_trusted_snapshot(m->trusted))
                   ? 0
                   : fail(err, E_DIGEST, "snapshot is not the one that the timestamp names");
    return tuf_trusted_update_snapshot(m->trusted, file->data, file->len, err);
}

/* --- targets and delegated roles --- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int add_pair(struct mirroring *m, const char *role, const char *delegator, struct error *err)
{
    for (size_t i = 0; i < m->n_pairs; i++)
        if (strcmp(m->pairs[i].role, role) == 0 && same_text(m->pairs[i].delegator, delegator))
            return 0;
    if (m->n_pairs == MAX_PAIRS)
        return fail(err, E_LIMIT, "more than %u delegations", MAX_PAIRS);
    if ((m->n_pairs & (m->n_pairs - 1)) == 0) { /* room is always the next power of two */
        struct pair *more =
            reallocarray(m->pairs, m->n_pairs ? 2 * m->n_pairs : 1, sizeof *m->pairs);
        if (!more)
            return fail_nomem(err);
        m->pairs = more;
    }
    struct pair *p = &m->pairs[m->n_pairs];
    *p = (struct pair){strdup(role), delegator ? strdup(delegator) : NULL};
    if (!p->role || (delegator && !p->delegator)) {
        free(p->role);
        free(p->delegator);
        return fail_nomem(err);
    }
    m->n_pairs++;
    return 0;
}

/* A role that the snapshot does not list is not signed yet: nobody can follow it. Bins are counted
 * by the snapshot, never by their delegation, which may speak of billions. */
static int add_delegated(struct mirroring *m, const struct tuf_metadata *role, const char *name,
                         struct error *err)
{
    const struct tuf_metadata *snapshot = tuf_trusted_snapshot(m->trusted);
    const struct tuf_bins *bins = tuf_targets_bins(role);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < tuf_targets_n_delegations(role); i++) {
        const char *child = tuf_targets_delegation(role, i)->name;
        if (tuf_snapshot_find(snapshot, child))
            rc = add_pair(m, child, name, err);
    }
    for (size_t i = 0; rc == 0 && bins && i < tuf_snapshot_count(snapshot); i++) {
        const char *child = NULL;
        (void)tuf_snapshot_at(snapshot, i, &child);
        if (tuf_bins_has(bins, child))
            rc = add_pair(m, child, name, err);
    }
    return rc;
}

static int note_accepted(struct mirroring *m, const struct accepted *a, struct error *err)
{
    for (size_t i = 0; i < m->n_accepted; i++)
        if (strcmp(m->accepted[i].role, a->role) == 0)
            return 0;
    if ((m->n_accepted & (m->n_accepted - 1)) == 0) {
        struct accepted *more =
            reallocarray(m->accepted, m->n_accepted ? 2 * m->n_accepted : 1, sizeof *m->accepted);
        if (!more)
            return fail_nomem(err);
        m->accepted = more;
    }
    m->accepted[m->n_accepted++] = *a;
    return 0;
}

/* Signed digests that are not here. What is missing is nobody's fault: only some images of a
 * collection may be wanted. */
static int count_missing(struct index_tx *tx, struct mirroring *m, const struct tuf_metadata *role,
                         struct error *err)
{
    struct index_manifest row;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < tuf_targets_count(role); i++) {
        struct tuf_target t;
        tuf_targets_at(role, i, &t);
        const struct digest *d = t.sha256.alg != DIGEST_NONE ? &t.sha256 : &t.sha512;
        rc = index_manifest_find(tx, m->set->repository, d, &row, err);
        if (rc == E_NOTFOUND) {
            m->n_missing++;
            rc = 0;
        }
    }
    return rc;
}

/* Judged by this delegator's keys, whoever judged it before. */
static int take_role(struct index_tx *tx, struct mirroring *m, const struct pair *p,
                     struct error *err)
{
    CLEANUP(bytes_done) struct bytes stored = BYTES_INIT;
    const struct tuf_meta *meta = tuf_trusted_wanted(m->trusted, p->role);
    if (!meta)
        return fail(err, E_INVALID, "the snapshot does not list '%s'", p->role);
    struct mirror_file *file = find_file(m->set, p->role, meta->version);
    struct accepted accepted = {p->role, meta->version, file};
    size_t before = m->n_accepted;
    int rc = 0;
    if (file)
        file->used = true;
    else if (!m->fresh)
        rc = index_trust_find(tx, m->set->repository, p->role, meta->version, &stored, err);
    if (rc == E_NOTFOUND || (!file && m->fresh))
        return fail(err, E_INVALID, "the set has no %" PRId64 ".%s.json", meta->version, p->role);
    if (rc == 0)
        rc = tuf_trusted_update_targets(m->trusted, p->role, p->delegator,
                                        file ? file->data : bytes_text(&stored),
                                        file ? file->len : stored.len, err);
    if (rc == 0)
        rc = note_accepted(m, &accepted, err);
    const struct tuf_metadata *role = rc == 0 ? tuf_trusted_targets(m->trusted, p->role) : NULL;
    if (rc == 0 && m->n_accepted > before) {
        rc = count_missing(tx, m, role, err);
        if (rc == 0)
            rc = add_delegated(m, role, p->role, err);
    }
    /* Bins by the thousand: what delegates to nobody is not needed again. */
    if (rc == 0 && p->delegator && !tuf_targets_bins(role) && !tuf_targets_n_delegations(role))
        tuf_trusted_forget(m->trusted, p->role);
    return rc;
}

static int take_roles(struct index_tx *tx, struct mirroring *m, struct error *err)
{
    int rc = add_pair(m, "targets", NULL, err);
    for (size_t i = 0; rc == 0 && i < m->n_pairs; i++) {
        const struct pair p = m->pairs[i]; /* the list grows */
        rc = take_role(tx, m, &p, err);
        if (i == 0) /* delegated roles that have expired harm nobody but who looks for their tags */
            tuf_trusted_ignore_expiry(m->trusted);
    }
    return rc;
}

static int check_all_used(const struct mirror_set *set, struct error *err)
{
    for (size_t i = 0; i < set->n; i++)
        if (!set->files[i].used)
            return fail(err, E_INVALID, "version %" PRId64 " of '%s' is not part of the set",
                        set->files[i].version, set->files[i].role);
    return 0;
}

static int verify(struct index_tx *tx, struct mirroring *m, struct error *err)
{
    int rc = look(tx, m, err);
    if (rc == 0)
        rc = follow_roots(tx, m, err);
    if (rc == 0)
        rc = load_stored(tx, m, err);
    if (rc == 0)
        rc = take_timestamp(m, err);
    if (rc == 0)
        rc = take_snapshot(m, err);
    if (rc == 0)
        rc = take_roles(tx, m, err);
    if (rc == 0)
        rc = check_all_used(m->set, err);
    m->changed = rc == 0 && (m->timestamp || m->fresh || root_version(m) != m->stored_root);
    return rc;
}

/* --- storing --- */

static int put_file(struct index_tx *tx, int64_t id, const struct mirror_file *file,
                    int64_t version, struct error *err)
{
    const struct bytes data = {.data = (uint8_t *)(uintptr_t)file->data, .len = file->len};
    return index_trust_put(tx, id, file->role, version, &data, err);
}

static int put_or_keep(struct index_tx *tx, int64_t id, const struct accepted *a, struct error *err)
{
    return a->file ? put_file(tx, id, a->file, a->version, err)
                   : index_mirror_keep(tx, id, a->role, a->version, err);
}

/* The chain in order; the last one stays in force. */
static int put_roots(struct index_tx *tx, int64_t id, const struct mirroring *m, struct error *err)
{
    int rc = m->fresh ? index_trust_put(tx, id, "root", m->first_root, m->anchor.root, err)
                      : index_mirror_keep(tx, id, "root", m->first_root, err);
    for (size_t i = 0; rc == 0 && i < m->set->n; i++) {
        const struct mirror_file *file = &m->set->files[i];
        if (strcmp(file->role, "root") == 0 && file->version > m->first_root)
            rc = put_file(tx, id, file, file->version, err);
    }
    return rc;
}

static int put_targets(struct index_tx *tx, int64_t id, const struct mirroring *m,
                       struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->n_accepted; i++) {
        const struct mirror_file *file = m->accepted[i].file;
        const struct bytes data = {.data = file ? (uint8_t *)(uintptr_t)file->data : NULL,
                                   .len = file ? file->len : 0};
        if (file)
            rc = trust_set_put_targets(tx, m->set->repository, file->role, &data, err);
    }
    if (rc == 0)
        rc = index_trust_retire(tx, id, err);
    for (size_t i = 0; rc == 0 && i < m->n_accepted; i++)
        rc = put_or_keep(tx, id, &m->accepted[i], err);
    return rc == 0 ? index_trust_targets_prune(tx, id, err) : rc;
}

static int put_timestamp(struct index_tx *tx, int64_t id, const struct mirroring *m,
                         struct error *err)
{
    int64_t version = tuf_metadata_version(tuf_trusted_timestamp(m->trusted));
    return m->timestamp ? put_file(tx, id, m->timestamp, version, err)
                        : index_mirror_keep(tx, id, "timestamp", version, err);
}

/* Verified against what was stored then: it must still be. */
static int check_unchanged(struct index_tx *tx, const struct mirroring *m, struct error *err)
{
    struct mirroring now = {.set = m->set};
    int rc = look(tx, &now, err);
    if (rc == 0 && (now.founded != m->founded || now.stored_root != m->stored_root ||
                    now.stored_timestamp != m->stored_timestamp))
        rc = fail(err, E_BUSY, "'%s' was changed meanwhile", m->set->repository);
    return rc;
}

static int store(struct index_tx *tx, void *arg, struct error *err)
{
    const struct mirroring *m = arg;
    int64_t id = 0;
    int rc = check_unchanged(tx, m, err);
    if (rc == 0)
        rc = index_repository_make(tx, m->set->repository, &id, err);
    if (rc == 0 && m->fresh)
        rc = index_mirror_clear(tx, id, err);
    if (rc == 0)
        rc = put_targets(tx, id, m, err);
    if (rc == 0)
        rc = put_roots(tx, id, m, err);
    if (rc == 0)
        rc = put_or_keep(tx, id, &m->snapshot, err);
    if (rc == 0)
        rc = put_timestamp(tx, id, m, err);
    return rc == 0 ? index_mirror_put(tx, id, m->anchor.collection, err) : rc;
}

/* --- all of it --- */

static int verify_now(struct mirroring *m, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(m->registry->index, &tx, err);
    if (rc == 0)
        rc = verify(tx, m, err);
    index_read_end(m->registry->index, tx);
    return rc;
}

/* What the service has signed under this name must not be overlaid by another's. */
static int check_service(struct registry *r, const char *repository, struct error *err)
{
    CLEANUP(signer_set_done) struct signer_set none = {NULL, 0};
    struct error why = ERROR_INIT;
    int rc = signer_link_roots(r->signer, repository, TUF_MAX_VERSION, &none, &why);
    if (rc == E_NOTFOUND)
        return 0;
    if (rc == 0)
        return fail(err, E_CONFLICT,
                    "the signing service has a collection '%s' of its own: it cannot become a "
                    "mirror",
                    repository);
    return fail(err, rc, "%s", why.message);
}

static int take_once(struct mirroring *m, struct error *err)
{
    for (size_t i = 0; i < m->set->n; i++)
        m->set->files[i].used = false;
    int rc = verify_now(m, err);
    if (rc == 0 && !m->founded)
        rc = check_service(m->registry, m->set->repository, err);
    return rc == 0 && m->changed ? index_write(m->registry->index, store, m, err) : rc;
}

int mirror_take(struct registry *r, struct mirror_set *set, struct mirror_result *out,
                struct error *err)
{
    struct mirror_anchor anchor;
    int rc = mirror_anchors_find(r->anchors, set->repository, &anchor, err);
    if (rc == 0)
        rc = sort_files(set, err);
    for (int i = 0; rc == 0 && i < TRIES; i++) {
        CLEANUP(mirroring_done)
        struct mirroring m = {.registry = r, .set = set, .anchor = anchor};
        rc = take_once(&m, err);
        if (rc == E_BUSY && i + 1 < TRIES) {
            rc = 0;
            continue;
        }
        if (rc == 0)
            *out = (struct mirror_result){
                .changed = m.changed,
                .timestamp = tuf_metadata_version(tuf_trusted_timestamp(m.trusted)),
                .n_missing = m.n_missing};
        break;
    }
    return rc;
}

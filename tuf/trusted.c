#include "tuf/trusted_internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

#define MAX_CLOCK_SKEW_S 300 /* a timestamp from further ahead means that our clock is wrong */

static int out_of_order(struct error *err, const char *what)
{
    return fail(err, E_INTERNAL, "TUF workflow out of order: %s", what);
}

/* --- root --- */

static int verify_by_root(const struct tuf_trusted *t, const struct tuf_metadata *m,
                          struct error *err)
{
    int rc = tuf_verify_threshold(m, tuf_root_keys(t->root), tuf_root_role(t->root, m->type), NULL,
                                  0, NULL, err);
    if (!rc)
        return tuf_binding_check(m, t->collection, tuf_type_name(m->type), err);
    return wrap(err, rc, "%s", tuf_type_name(m->type));
}

static int check_expiry(const struct tuf_trusted *t, const struct tuf_metadata *m, const char *role,
                        struct error *err)
{
    return t->ignore_expiry ? OK : tuf_expiry_check(m, role, t->now_s, err);
}

void tuf_trusted_ignore_expiry(struct tuf_trusted *t)
{
    t->ignore_expiry = true;
}

void tuf_trusted_ignore_root_expiry(struct tuf_trusted *t)
{
    t->ignore_root_expiry = true;
}

int tuf_trusted_new(const struct tuf_trusted_options *options, const void *root, size_t len,
                    struct tuf_trusted **out, struct error *err)
{
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = calloc(1, sizeof *t);
    if (!t)
        return fail_nomem(err);
    t->now_s = options->now_s;
    if (options->collection) {
        t->collection = strdup(options->collection);
        if (!t->collection)
            return fail_nomem(err);
    }
    /* C2, TUF 5.2: its expiry does not matter. */
    int rc = tuf_metadata_parse(TUF_ROOT, root, len, &t->root, err);
    if (!rc)
        rc = verify_by_root(t, t->root, err);
    if (rc)
        return wrap(err, rc, "trusted root");
    *out = TAKE_PTR(t);
    return OK;
}

static void role_done(struct trusted_role *role)
{
    tuf_metadata_free(role->metadata);
    free(role->name);
    free(role->delegator);
}

void tuf_trusted_free(struct tuf_trusted *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_roles; i++)
        role_done(&t->roles[i]);
    free(t->roles);
    tuf_metadata_free(t->root);
    tuf_metadata_free(t->timestamp);
    tuf_metadata_free(t->snapshot);
    free(t->collection);
    free(t);
}

void tuf_trusted_cleanup(struct tuf_trusted **t)
{
    int saved = errno;
    tuf_trusted_free(*t);
    *t = NULL;
    errno = saved;
}

static void replace(struct tuf_metadata **slot, struct tuf_metadata *m)
{
    tuf_metadata_free(*slot);
    *slot = m;
}

static int check_new_root(const struct tuf_trusted *t, const struct tuf_metadata *root,
                          struct error *err)
{
    /* C4, TUF 5.3.4: the old root's keys first, then its own. */
    int rc = verify_by_root(t, root, err);
    if (!rc)
        rc = wrap(err,
                  tuf_verify_threshold(root, tuf_root_keys(root), tuf_root_role(root, TUF_ROOT),
                                       NULL, 0, NULL, err),
                  "root by its own keys");
    if (rc)
        return rc;
    /* C5, TUF 5.3.5 */
    if (root->version != t->root->version + 1)
        return fail(err, E_ROLLBACK, "root has version %" PRId64 ", it must be %" PRId64,
                    root->version, t->root->version + 1);
    /* C6, TUF 5.3.6: its expiry is not looked at before tuf_trusted_finish_root. */
    return OK;
}

static bool role_changed(const struct tuf_metadata *a, const struct tuf_metadata *b,
                         enum tuf_type type)
{
    const struct tuf_role_keys *x = tuf_root_role(a, type), *y = tuf_root_role(b, type);
    /* A raised threshold counts as well: what fewer keys signed must not live on as trusted. */
    return x->threshold != y->threshold || !tuf_role_keys_same_ids(x, y);
}

int tuf_trusted_update_root(struct tuf_trusted *t, const void *data, size_t len,
                            bool *online_keys_changed, struct error *err)
{
    if (t->timestamp_current)
        return out_of_order(err, "a root after the timestamp");
    if (t->n_rotations >= TUF_MAX_ROOT_ROTATIONS)
        return fail(err, E_LIMIT, "more than %d newer roots", TUF_MAX_ROOT_ROTATIONS);
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *root = NULL;
    int rc = tuf_metadata_parse(TUF_ROOT, data, len, &root, err);
    if (!rc)
        rc = check_new_root(t, root, err);
    if (rc)
        return rc;
    bool changed =
        role_changed(t->root, root, TUF_TIMESTAMP) || role_changed(t->root, root, TUF_SNAPSHOT);
    if (changed) {
        /* C10, TUF 5.3.11, already here: if a later step fails, the rotation must not be
         * forgotten. */
        replace(&t->timestamp, NULL);
        replace(&t->snapshot, NULL);
    }
    /* C7, TUF 5.3.7 */
    replace(&t->root, TAKE_PTR(root));
    t->n_rotations++;
    t->root_final = false;
    if (online_keys_changed)
        *online_keys_changed = changed;
    return OK;
}

int tuf_trusted_finish_root(struct tuf_trusted *t, struct error *err)
{
    /* C9, TUF 5.3.10 */
    int rc = t->ignore_root_expiry ? OK : check_expiry(t, t->root, "root", err);
    if (!rc)
        t->root_final = true;
    return rc;
}

/* --- what was stored last time --- */

static int load(const struct tuf_trusted *t, enum tuf_type type, const void *data, size_t len,
                struct tuf_metadata **slot, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    if (*slot || t->timestamp_current)
        return out_of_order(err, "stored metadata after newer one");
    int rc = tuf_metadata_parse(type, data, len, &m, err);
    if (!rc)
        rc = verify_by_root(t, m, err);
    if (rc)
        return wrap(err, rc, "stored");
    *slot = TAKE_PTR(m);
    return OK;
}

int tuf_trusted_load_timestamp(struct tuf_trusted *t, const void *data, size_t len,
                               struct error *err)
{
    return load(t, TUF_TIMESTAMP, data, len, &t->timestamp, err);
}

int tuf_trusted_load_snapshot(struct tuf_trusted *t, const void *data, size_t len,
                              struct error *err)
{
    return load(t, TUF_SNAPSHOT, data, len, &t->snapshot, err);
}

/* --- timestamp --- */

static int check_clock(const struct tuf_trusted *t, const struct tuf_metadata *timestamp,
                       struct error *err)
{
    char text[CLOCK_TEXT_MAX];
    if (t->collection && timestamp->issued - MAX_CLOCK_SKEW_S > t->now_s)
        return fail(err, E_CLOCK, "the local clock is behind: timestamp was issued at %s",
                    clock_format(timestamp->issued, text));
    return OK;
}

/* C14 and C15, TUF 5.4.3: neither the timestamp nor the snapshot it names may be older than what is
 * known. */
static int check_timestamp_rollback(const struct tuf_trusted *t, const struct tuf_metadata *new,
                                    struct error *err)
{
    int64_t snapshot = tuf_timestamp_snapshot(new)->version, known = 0;
    if (t->timestamp && new->version < t->timestamp->version)
        return fail(err, E_ROLLBACK, "timestamp has version %" PRId64 ", known is %" PRId64,
                    new->version, t->timestamp->version);
    if (t->timestamp)
        known = tuf_timestamp_snapshot(t->timestamp)->version;
    if (t->snapshot && t->snapshot->version > known)
        known = t->snapshot->version;
    if (snapshot < known)
        return fail(err, E_ROLLBACK,
                    "timestamp names snapshot version %" PRId64 ", known is %" PRId64, snapshot,
                    known);
    return OK;
}

static int check_timestamp_time(const struct tuf_trusted *t, const struct tuf_metadata *m,
                                struct error *err)
{
    int rc = check_clock(t, m, err);
    return rc ? rc : check_expiry(t, m, "timestamp", err); /* C16, TUF 5.4.4 */
}

int tuf_trusted_update_timestamp(struct tuf_trusted *t, const void *data, size_t len, bool *changed,
                                 struct error *err)
{
    if (!t->root_final)
        return out_of_order(err, "a timestamp before the last root");
    if (t->snapshot_current)
        return out_of_order(err, "a timestamp after the snapshot");
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    int rc = tuf_metadata_parse(TUF_TIMESTAMP, data, len, &m, err);
    if (!rc)
        rc = verify_by_root(t, m, err); /* C13, TUF 5.4.2 */
    if (rc)
        return rc;
    /* C14, TUF 5.4.3.1: an equal version changes nothing, but a frozen one must not stay
     * unnoticed. */
    bool equal = t->timestamp && m->version == t->timestamp->version;
    if (!equal)
        rc = check_timestamp_rollback(t, m, err);
    if (!rc)
        rc = check_timestamp_time(t, equal ? t->timestamp : m, err);
    if (rc)
        return rc;
    if (!equal)
        replace(&t->timestamp, TAKE_PTR(m));
    t->timestamp_current = true;
    *changed = !equal;
    return OK;
}

int tuf_trusted_use_loaded_timestamp(struct tuf_trusted *t, int64_t grace_s, struct error *err)
{
    int64_t until;
    char text[CLOCK_TEXT_MAX];
    if (!t->root_final)
        return out_of_order(err, "a timestamp before the last root");
    if (!t->timestamp)
        return fail(err, E_NO_TRUST, "no timestamp is stored");
    int rc = check_clock(t, t->timestamp, err);
    if (rc)
        return rc;
    if (grace_s < 0 || __builtin_add_overflow(t->timestamp->expires, grace_s, &until))
        return fail(err, E_INVALID, "grace of %" PRId64 " s is out of range", grace_s);
    if (until <= t->now_s && !t->ignore_expiry)
        return fail(err, E_EXPIRED, "stored timestamp expired at %s",
                    clock_format(t->timestamp->expires, text));
    t->timestamp_current = true;
    return OK;
}

/* --- snapshot --- */

const struct tuf_meta *tuf_trusted_wanted_snapshot(const struct tuf_trusted *t)
{
    return t->timestamp_current ? tuf_timestamp_snapshot(t->timestamp) : NULL;
}

/* What holds for a fetched and for a reused snapshot. */
static int check_snapshot(const struct tuf_trusted *t, const struct tuf_metadata *m,
                          struct error *err)
{
    int64_t wanted = tuf_timestamp_snapshot(t->timestamp)->version;
    /* C21, TUF 5.5.4 */
    if (m->version != wanted)
        return fail(err, E_ROLLBACK,
                    "snapshot has version %" PRId64 ", the timestamp names %" PRId64, m->version,
                    wanted);
    return check_expiry(t, m, "snapshot", err); /* C23, TUF 5.5.6 */
}

/* C22, TUF 5.5.5: every role that was listed still is, with no lower version. */
static int check_roles_kept(const struct tuf_metadata *old, const struct tuf_metadata *new,
                            struct error *err)
{
    for (size_t i = 0; i < tuf_snapshot_count(old); i++) {
        const char *role;
        const struct tuf_meta *was = tuf_snapshot_at(old, i, &role);
        const struct tuf_meta *is = tuf_snapshot_find(new, role);
        if (!is)
            return fail(err, E_ROLLBACK, "snapshot no longer lists '%s'", role);
        if (is->version < was->version)
            return fail(err, E_ROLLBACK,
                        "snapshot lists version %" PRId64 " of '%s', known is %" PRId64,
                        is->version, role, was->version);
    }
    return OK;
}

int tuf_trusted_reuse_snapshot(struct tuf_trusted *t, struct error *err)
{
    if (!t->timestamp_current)
        return out_of_order(err, "a snapshot before the timestamp");
    if (!t->snapshot)
        return fail(err, E_NOTFOUND, "no snapshot is stored");
    const struct bytes *bytes = &t->snapshot->bytes;
    int rc = wrap(err,
                  tuf_meta_check(tuf_timestamp_snapshot(t->timestamp), bytes->data, bytes->len,
                                 t->collection != NULL, err),
                  "stored snapshot");
    if (!rc)
        rc = check_snapshot(t, t->snapshot, err);
    if (!rc)
        t->snapshot_current = true;
    return rc;
}

int tuf_trusted_update_snapshot(struct tuf_trusted *t, const void *data, size_t len,
                                struct error *err)
{
    if (!t->timestamp_current)
        return out_of_order(err, "a snapshot before the timestamp");
    if (t->snapshot_current)
        return out_of_order(err, "a second snapshot");
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    /* C19, TUF 5.5.2: before the parser sees a byte. */
    int rc = wrap(
        err,
        tuf_meta_check(tuf_timestamp_snapshot(t->timestamp), data, len, t->collection != NULL, err),
        "snapshot");
    if (!rc)
        rc = tuf_metadata_parse(TUF_SNAPSHOT, data, len, &m, err);
    if (!rc)
        rc = verify_by_root(t, m, err); /* C20, TUF 5.5.3 */
    if (!rc && t->snapshot)
        rc = check_roles_kept(t->snapshot, m, err);
    if (!rc)
        rc = check_snapshot(t, m, err);
    if (rc)
        return rc;
    replace(&t->snapshot, TAKE_PTR(m));
    t->snapshot_current = true;
    return OK;
}

/* --- targets and delegated roles --- */

const struct tuf_meta *tuf_trusted_wanted(const struct tuf_trusted *t, const char *role)
{
    return t->snapshot_current ? tuf_snapshot_find(t->snapshot, role) : NULL;
}

static bool same_name(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

const struct trusted_role *tuf_trusted_role_find(const struct tuf_trusted *t, const char *name,
                                                 const char *delegator)
{
    for (size_t i = 0; i < t->n_roles; i++)
        if (same_name(t->roles[i].name, name) && same_name(t->roles[i].delegator, delegator))
            return &t->roles[i];
    return NULL;
}

/* Who may sign a role, by the delegator used on this path. TUF 5.6.3 */
struct authority {
    const struct tuf_keys *keys;
    const struct tuf_role_keys *role;
};

static int find_authority(const struct tuf_trusted *t, const char *role, const char *delegator,
                          struct authority *out, struct error *err)
{
    if (!delegator) {
        if (strcmp(role, "targets") != 0)
            return fail(err, E_INTERNAL, "role '%s' needs a delegator", role);
        *out = (struct authority){tuf_root_keys(t->root), tuf_root_role(t->root, TUF_TARGETS)};
        return OK;
    }
    const struct tuf_metadata *m = tuf_trusted_targets(t, delegator);
    if (!m)
        return out_of_order(err, "a delegated role before its delegator");
    *out = (struct authority){&m->targets.keys, tuf_targets_authority(m, role)};
    return out->role ? OK : fail(err, E_INVALID, "'%s' does not delegate to '%s'", delegator, role);
}

static int add_role(struct tuf_trusted *t, struct trusted_role *role, struct error *err)
{
    struct trusted_role *roles = reallocarray(t->roles, t->n_roles + 1, sizeof *roles);
    if (!roles)
        return fail_nomem(err);
    t->roles = roles;
    t->roles[t->n_roles++] = *role;
    *role = (struct trusted_role){.metadata = NULL};
    return OK;
}

static int check_role(const struct tuf_trusted *t, const char *role, const struct tuf_metadata *m,
                      struct error *err)
{
    /* C28, TUF 5.6.4 */
    int64_t wanted = tuf_trusted_wanted(t, role)->version;
    if (m->version != wanted)
        return fail(err, E_ROLLBACK, "%s has version %" PRId64 ", the snapshot names %" PRId64,
                    role, m->version, wanted);
    int rc = check_expiry(t, m, role, err); /* C29, TUF 5.6.5 */
    return rc ? rc : tuf_binding_check(m, t->collection, role, err);
}

/* Everything that is judged per path and per file; remembers the role. */
static int admit(struct tuf_trusted *t, const char *name, const char *delegator,
                 struct tuf_metadata *m, struct error *err)
{
    struct authority authority = {0};
    CLEANUP(role_done) struct trusted_role role = {.metadata = tuf_metadata_ref(m)};
    int rc = find_authority(t, name, delegator, &authority, err);
    if (!rc) /* C27, TUF 5.6.3: by the delegator of this path */
        rc = wrap(err,
                  tuf_verify_threshold(m, authority.keys, authority.role, role.signers, MAX_SIGNERS,
                                       &role.n_signers, err),
                  "%s", name);
    if (!rc)
        rc = check_role(t, name, m, err);
    if (rc)
        return rc;
    if (role.n_signers > MAX_SIGNERS)
        role.n_signers = MAX_SIGNERS;
    role.name = strdup(name);
    role.delegator = delegator ? strdup(delegator) : NULL;
    if (!role.name || (delegator && !role.delegator))
        return fail_nomem(err);
    return add_role(t, &role, err);
}

int tuf_trusted_readmit(struct tuf_trusted *t, const char *name, const char *delegator,
                        struct error *err)
{
    for (size_t i = 0; i < t->n_roles; i++)
        if (strcmp(t->roles[i].name, name) == 0)
            return admit(t, name, delegator, t->roles[i].metadata, err);
    return out_of_order(err, "a role that was not accepted");
}

/* Without hashes in the snapshot two files of one version could differ: the first one stays. */
static int reload_role(struct tuf_trusted *t, const char *role, const char *delegator,
                       const void *data, size_t len, struct error *err)
{
    const struct bytes *known = &tuf_trusted_targets(t, role)->bytes;
    if (!bytes_equal(known->data, known->len, data, len))
        return fail(err, E_ROLLBACK, "%s differs from the file that was accepted before", role);
    if (tuf_trusted_role_find(t, role, delegator))
        return OK;
    return tuf_trusted_readmit(t, role, delegator, err);
}

int tuf_trusted_update_targets(struct tuf_trusted *t, const char *role, const char *delegator,
                               const void *data, size_t len, struct error *err)
{
    if (!t->snapshot_current)
        return out_of_order(err, "targets before the snapshot");
    const struct tuf_meta *meta = tuf_trusted_wanted(t, role);
    if (!meta)
        return fail(err, E_INVALID, "the snapshot does not list '%s'", role);
    if (tuf_trusted_targets(t, role))
        return reload_role(t, role, delegator, data, len, err);
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    /* C26, TUF 5.6.2: before the parser sees a byte. */
    int rc = tuf_meta_check(meta, data, len, t->collection != NULL, err);
    if (!rc)
        rc = tuf_metadata_parse(TUF_TARGETS, data, len, &m, err);
    if (rc)
        return wrap(err, rc, "%s", role);
    return admit(t, role, delegator, m, err);
}

void tuf_trusted_forget(struct tuf_trusted *t, const char *role)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n_roles; i++)
        if (strcmp(t->roles[i].name, role) == 0)
            role_done(&t->roles[i]);
        else
            t->roles[kept++] = t->roles[i];
    t->n_roles = kept;
}

/* --- what is accepted --- */

const struct tuf_metadata *tuf_trusted_root(const struct tuf_trusted *t)
{
    return t->root;
}

const struct tuf_metadata *tuf_trusted_timestamp(const struct tuf_trusted *t)
{
    return t->timestamp_current ? t->timestamp : NULL;
}

const struct tuf_metadata *tuf_trusted_snapshot(const struct tuf_trusted *t)
{
    return t->snapshot_current ? t->snapshot : NULL;
}

const struct tuf_metadata *tuf_trusted_targets(const struct tuf_trusted *t, const char *role)
{
    for (size_t i = 0; i < t->n_roles; i++)
        if (strcmp(t->roles[i].name, role) == 0)
            return t->roles[i].metadata;
    return NULL;
}

#include "verify/proofs.h"

#include <string.h>

#define NAME_MAX_BYTES 512

void proofs_done(struct proofs *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free((void *)(uintptr_t)p->files[i].role);
        free((void *)(uintptr_t)p->files[i].data);
    }
    free(p->files);
    *p = (struct proofs){.files = NULL};
}

static int add(struct proofs *p, const char *name, const struct bytes *content, struct error *err)
{
    if (p->n == PROOFS_MAX_FILES || content->len > PROOFS_MAX_BYTES - p->bytes)
        return fail(err, E_LIMIT, "the collection's metadata is too large for one request");
    if (!p->files)
        p->files = calloc(PROOFS_MAX_FILES, sizeof *p->files);
    if (!p->files)
        return fail_nomem(err);
    char *copy = strdup(name);
    void *data = malloc(content->len + 1);
    if (!copy || !data) {
        free(copy);
        free(data);
        return fail_nomem(err);
    }
    memcpy(data, content->data, content->len);
    p->files[p->n++] = (struct remote_file){copy, data, content->len};
    p->bytes += content->len;
    return OK;
}

static int add_role(struct proofs *p, const char *role, const struct tuf_metadata *m,
                    struct error *err)
{
    char name[NAME_MAX_BYTES];
    trust_file_name(name, sizeof name, tuf_metadata_version(m), role);
    return add(p, name, tuf_metadata_bytes(m), err);
}

/* --- what is there already --- */

struct there {
    struct remote *remote;
    const char *repository;
    struct tuf_metadata *timestamp, *snapshot; /* NULL: none */
};

static void there_done(struct there *t)
{
    tuf_metadata_cleanup(&t->timestamp);
    tuf_metadata_cleanup(&t->snapshot);
}

static int ask_file(struct there *t, const char *name, size_t max, struct bytes *out,
                    struct error *err)
{
    char path[NAME_MAX_BYTES + 8];
    (void)snprintf(path, sizeof path, "tuf/%s", name);
    return remote_trust_get(t->remote, t->repository, path, max, out, err);
}

/* What cannot be read there is sent; that nobody answers is an error. */
static int ask(struct there *t, const char *name, enum tuf_type type, struct tuf_metadata **out,
               struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = ask_file(t, name, tuf_type_max_bytes(type), &data, &why);
    if (rc == E_NOTFOUND)
        return OK;
    if (rc)
        return fail(err, rc, "%s", why.message);
    if (tuf_metadata_parse(type, data.data, data.len, out, NULL))
        *out = NULL;
    return OK;
}

static int look(struct there *t, struct error *err)
{
    char name[NAME_MAX_BYTES];
    int rc = ask(t, "timestamp.json", TUF_TIMESTAMP, &t->timestamp, err);
    if (rc || !t->timestamp)
        return rc;
    trust_file_name(name, sizeof name, tuf_timestamp_snapshot(t->timestamp)->version, "snapshot");
    return ask(t, name, TUF_SNAPSHOT, &t->snapshot, err);
}

static bool same_file(const struct tuf_metadata *a, const struct tuf_metadata *b)
{
    const struct bytes *x = a ? tuf_metadata_bytes(a) : NULL;
    const struct bytes *y = b ? tuf_metadata_bytes(b) : NULL;
    return x && y && bytes_equal(x->data, x->len, y->data, y->len);
}

static bool has_role(const struct there *t, const char *role, const struct tuf_meta *wanted)
{
    const struct tuf_meta *meta = t->snapshot ? tuf_snapshot_find(t->snapshot, role) : NULL;
    return meta && meta->version == wanted->version && wanted->sha256.alg != DIGEST_NONE &&
           digest_equal(&meta->sha256, &wanted->sha256);
}

static int has_root(struct there *t, const struct tuf_metadata *root, bool *out, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *theirs = NULL;
    char name[NAME_MAX_BYTES];
    trust_file_name(name, sizeof name, tuf_metadata_version(root), "root");
    int rc = ask(t, name, TUF_ROOT, &theirs, err);
    *out = !rc && same_file(theirs, root);
    return rc;
}

/* --- what is brought --- */

/* From the present root down to the first that is to be had: where the other's anchor is in the
 * chain is its business. */
static int add_roots(struct trust_session *s, struct there *t, struct proofs *p, struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(s->view.trusted);
    bool there = false;
    int rc = has_root(t, root, &there, err);
    if (rc || there)
        return rc;
    rc = add_role(p, "root", root, err);
    for (int64_t v = tuf_metadata_version(root) - 1; !rc && v > 0; v--) {
        CLEANUP(bytes_done) struct bytes older = BYTES_INIT;
        char name[NAME_MAX_BYTES];
        trust_file_name(name, sizeof name, v, "root");
        rc = s->source.get(&s->source, name, TUF_MAX_ROOT_BYTES, &older, err);
        if (rc == E_NOTFOUND)
            return OK;
        if (!rc)
            rc = add(p, name, &older, err);
    }
    return rc;
}

struct walk {
    struct trust_session *session;
    const struct there *there;
    struct proofs *proofs;
    const struct tuf_metadata *snapshot;
    bool *seen; /* by place in the snapshot */
};

static int visit(struct walk *w, const char *role, const char *delegator, int depth,
                 struct error *err);

static size_t place_of(const struct walk *w, const char *role)
{
    for (size_t i = 0; i < tuf_snapshot_count(w->snapshot); i++) {
        const char *name;
        (void)tuf_snapshot_at(w->snapshot, i, &name);
        if (strcmp(name, role) == 0)
            return i;
    }
    return SIZE_MAX;
}

static int visit_delegated(struct walk *w, const struct tuf_metadata *m, const char *role,
                           int depth, struct error *err)
{
    const struct tuf_bins *bins = tuf_targets_bins(m);
    int rc = OK;
    for (size_t i = 0; !rc && i < tuf_targets_n_delegations(m); i++)
        rc = visit(w, tuf_targets_delegation(m, i)->name, role, depth + 1, err);
    for (size_t i = 0; !rc && bins && i < tuf_snapshot_count(w->snapshot); i++) {
        const char *name;
        const struct tuf_meta *meta = tuf_snapshot_at(w->snapshot, i, &name);
        /* A bin leads nowhere: where it is there already, nothing of it is needed. */
        if (tuf_bins_has(bins, name) && !has_role(w->there, name, meta))
            rc = visit(w, name, role, depth + 1, err);
    }
    return rc;
}

/* Each role once; one that is delegated and not signed yet is no part of the set. */
static int visit(struct walk *w, const char *role, const char *delegator, int depth,
                 struct error *err)
{
    struct trust_session *s = w->session;
    size_t place = place_of(w, role);
    if (place == SIZE_MAX || w->seen[place])
        return OK;
    if (depth > TUF_MAX_VISITED_ROLES)
        return fail(err, E_LIMIT, "delegations are nested too deep");
    w->seen[place] = true;
    int rc = delegator ? trust_need_role(&s->view, s->store, &s->source, role, delegator, err) : OK;
    const struct tuf_metadata *m = rc ? NULL : tuf_trusted_targets(s->view.trusted, role);
    if (!rc && !m)
        rc = fail(err, E_INTERNAL, "role '%s' is not in the view", role);
    if (!rc && !has_role(w->there, role, tuf_trusted_wanted(s->view.trusted, role)))
        rc = add_role(w->proofs, role, m, err);
    if (!rc)
        rc = visit_delegated(w, m, role, depth, err);
    /* Bins by the thousand: one at a time. */
    if (!rc && delegator && !tuf_targets_bins(m) && !tuf_targets_n_delegations(m))
        tuf_trusted_forget(s->view.trusted, role);
    return rc;
}

static int add_targets(struct trust_session *s, const struct there *t, struct proofs *p,
                       struct error *err)
{
    struct walk w = {
        .session = s, .there = t, .proofs = p, .snapshot = tuf_trusted_snapshot(s->view.trusted)};
    CLEANUP(cleanup_free) bool *seen = calloc(tuf_snapshot_count(w.snapshot) + 1, sizeof *seen);
    if (!seen)
        return fail_nomem(err);
    w.seen = seen;
    /* A delegated role that has expired is part of the set: the rest of it is none the worse. */
    tuf_trusted_ignore_expiry(s->view.trusted);
    return visit(&w, "targets", NULL, 0, err);
}

int proofs_collect(struct trust_session *s, struct remote *to, const char *repository,
                   struct proofs *out, struct error *err)
{
    CLEANUP(there_done) struct there t = {.remote = to, .repository = repository};
    const struct tuf_trusted *trusted = s->view.trusted;
    *out = (struct proofs){.files = NULL};
    int rc = look(&t, err);
    if (rc)
        return rc;
    out->same = same_file(t.timestamp, tuf_trusted_timestamp(trusted));
    if (out->same)
        return OK;
    rc = add_roots(s, &t, out, err);
    if (!rc)
        rc = add(out, "timestamp.json", tuf_metadata_bytes(tuf_trusted_timestamp(trusted)), err);
    if (!rc && !same_file(t.snapshot, tuf_trusted_snapshot(trusted)))
        rc = add_role(out, "snapshot", tuf_trusted_snapshot(trusted), err);
    return rc ? rc : add_targets(s, &t, out, err);
}

/* Going through what is published: one role, or all that can be reached. */
#include "signer/draft.h"

#include <string.h>

static struct tuf_trusted *view(const struct draft *d)
{
    return d->session.view.trusted;
}

int draft_fetch(struct draft *d, const char *role, const char *delegator,
                const struct tuf_metadata **out, struct error *err)
{
    struct trust_session *s = &d->session;
    *out = NULL;
    if (!tuf_trusted_wanted(view(d), role))
        return OK;
    int rc = trust_need_role(&s->view, s->store, &s->source, role, delegator, err);
    if (!rc)
        *out = tuf_trusted_targets(view(d), role);
    return rc;
}

/* A registry takes 4096 roles that are signed (tuf_accept); the names of others cost whoever writes
 * them a few bytes each. */
#define WALK_MAX_ROLES 8192u

struct walk_step {
    const char *role, *delegator; /* borrowed from the view */
};

struct walk {
    struct walk_step *steps;
    size_t n, cap;
};

static void walk_done(struct walk *w)
{
    free(w->steps);
}

static int walk_add(struct walk *w, const char *role, const char *delegator, struct error *err)
{
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->steps[i].role, role) == 0)
            return OK;
    if (w->n == WALK_MAX_ROLES)
        return fail(err, E_LIMIT, "more than %u roles are delegated", WALK_MAX_ROLES);
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 64;
        struct walk_step *steps = reallocarray(w->steps, cap, sizeof *steps);
        if (!steps)
            return fail_nomem(err);
        w->steps = steps;
        w->cap = cap;
    }
    w->steps[w->n++] = (struct walk_step){role, delegator};
    return OK;
}

static int add_bin(const struct draft *d, struct walk *w, const char *name, const char *delegator,
                   struct error *err)
{
    const struct tuf_metadata *snapshot = tuf_trusted_snapshot(view(d));
    const char *role = NULL;
    for (size_t i = 0; i < tuf_snapshot_count(snapshot); i++) {
        (void)tuf_snapshot_at(snapshot, i, &role);
        if (strcmp(role, name) == 0)
            return walk_add(w, role, delegator, err);
    }
    return OK;
}

static int add_responsible_bin(const struct draft *d, struct walk *w, const struct tuf_bins *bins,
                               const char *tag, const char *delegator, struct error *err)
{
    char name[TUF_BIN_NAME_MAX];
    uint64_t bin = 0;
    int rc = tuf_bins_find(bins, tag, &bin, err);
    if (rc)
        return rc;
    tuf_bins_name(bins, bin, name);
    return add_bin(d, w, name, delegator, err);
}

/* Bins are taken from the snapshot's list: those are all that exist. */
static int add_all_bins(const struct draft *d, struct walk *w, const struct tuf_bins *bins,
                        const char *delegator, struct error *err)
{
    const struct tuf_metadata *snapshot = tuf_trusted_snapshot(view(d));
    int rc = OK;
    for (size_t i = 0; !rc && i < tuf_snapshot_count(snapshot); i++) {
        const char *role;
        (void)tuf_snapshot_at(snapshot, i, &role);
        if (tuf_bins_has(bins, role))
            rc = walk_add(w, role, delegator, err);
    }
    return rc;
}

static int walk_bins(const struct draft *d, const struct draft_walk *walk, struct walk *w,
                     const struct tuf_metadata *m, const char *delegator, struct error *err)
{
    const struct tuf_bins *bins = tuf_targets_bins(m);
    if (!bins || (!walk->all_bins && !walk->tag))
        return OK;
    return walk->all_bins ? add_all_bins(d, w, bins, delegator, err)
                          : add_responsible_bin(d, w, bins, walk->tag, delegator, err);
}

int draft_walk(struct draft *d, const struct draft_walk *walk, struct error *err)
{
    CLEANUP(walk_done) struct walk w = {.steps = NULL};
    int rc = walk_add(&w, "targets", NULL, err);
    for (size_t i = 0; !rc && i < w.n; i++) {
        struct walk_step step = w.steps[i];
        const struct tuf_metadata *m = NULL;
        rc = draft_fetch(d, step.role, step.delegator, &m, err);
        if (rc == E_STALE && walk->may_miss)
            rc = OK;
        if (!rc)
            rc = walk->visit(walk->context, step.role, step.delegator, m, err);
        for (size_t k = 0; !rc && m && k < tuf_targets_n_delegations(m); k++)
            rc = walk_add(&w, tuf_targets_delegation(m, k)->name, step.role, err);
        if (!rc && m)
            rc = walk_bins(d, walk, &w, m, step.role, err);
    }
    return rc;
}

struct wanted {
    const char *role;
    const char *delegator;
    const struct tuf_metadata *metadata;
    bool found;
};

static int look(void *context, const char *role, const char *delegator,
                const struct tuf_metadata *metadata, struct error *err)
{
    (void)err;
    struct wanted *wanted = context;
    if (strcmp(role, wanted->role) != 0)
        return OK;
    wanted->delegator = delegator;
    wanted->metadata = metadata;
    wanted->found = true;
    return E_INTERRUPTED; /* ends the walk */
}

int draft_has_gone(struct draft *d, const char *role, bool *out, struct error *err)
{
    struct wanted wanted = {.role = role};
    const struct draft_walk walk = {.visit = look, .context = &wanted};
    *out = false;
    if (!tuf_trusted_wanted(view(d), role))
        return OK;
    struct error why = ERROR_INIT;
    int rc = draft_walk(d, &walk, &why);
    *out = !rc; /* all of it was seen, and it was not there */
    return rc && !wanted.found ? fail(err, rc, "%s", why.message) : OK;
}

int draft_published(struct draft *d, const char *role, const struct tuf_metadata **out,
                    const char **delegator, struct error *err)
{
    struct wanted wanted = {.role = role};
    struct error why = ERROR_INIT;
    const struct draft_walk walk = {.visit = look, .context = &wanted};
    int rc = draft_walk(d, &walk, &why);
    if (!wanted.found && !rc)
        return fail(err, E_USAGE, "collection '%s' has no role '%s'; 'bulla trust show' lists them",
                    d->collection, role);
    if (!wanted.found) {
        *err = why;
        return rc;
    }
    *out = wanted.metadata;
    if (delegator)
        *delegator = wanted.delegator;
    return OK;
}

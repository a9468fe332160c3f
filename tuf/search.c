#include "tuf/trusted_internal.h"

#include <string.h>

/* A delegation still to be followed. Both names are borrowed from accepted metadata, or from `bin`.
 */
struct visit {
    const char *role, *delegator;
    bool is_bin;
};

struct search {
    struct visit *pending; /* a stack: the next one is the last */
    size_t n_pending, cap;
    const char *visited[TUF_MAX_VISITED_ROLES + 1]; /* top-level targets and the delegated ones */
    size_t n_visited;
};

static void search_done(struct search *s)
{
    free(s->pending);
}

static int push(struct search *s, const struct visit *visit, struct error *err)
{
    if (s->n_pending == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        struct visit *pending = reallocarray(s->pending, cap, sizeof *pending);
        if (!pending)
            return fail_nomem(err);
        s->pending = pending;
        s->cap = cap;
    }
    s->pending[s->n_pending++] = *visit;
    return OK;
}

static bool visited(const struct search *s, const char *role)
{
    for (size_t i = 0; i < s->n_visited; i++)
        if (strcmp(s->visited[i], role) == 0)
            return true;
    return false;
}

/*
 * The one bin that is responsible for the name: terminating, so nothing else is left to visit. Its
 * name is taken from the snapshot's table, where it lives long enough. C33, TUF 5.6.7.2.1
 */
static int expand_bins(struct tuf_trusted *t, struct search *s, const struct trusted_role *role,
                       const char *name, struct error *err)
{
    const struct tuf_bins *bins = tuf_targets_bins(role->metadata);
    char bin_name[TUF_BIN_NAME_MAX];
    uint64_t bin = 0;
    int rc = tuf_bins_find(bins, name, &bin, err);
    if (rc)
        return rc;
    tuf_bins_name(bins, bin, bin_name);
    const char *listed = tuf_snapshot_role(t->snapshot, bin_name);
    if (!listed)
        return fail(err, E_UNSIGNED, "bin '%s' is responsible and the snapshot does not list it",
                    bin_name);
    s->n_pending = 0;
    return push(s, &(struct visit){listed, role->name, true}, err);
}

/* Pushes the delegations of `role` that cover the name, so that the first one is popped first:
 * depth first, in order of appearance, each chain as narrow as its narrowest link. C31 and C35,
 * TUF 5.6.7
 */
static int expand(struct search *s, const struct trusted_role *role, const char *name,
                  struct error *err)
{
    const struct targets_part *part = &role->metadata->targets;
    size_t end = part->n_delegations, bottom = s->n_pending;
    int rc = OK;
    for (size_t i = 0; !rc && i < end; i++) {
        const struct tuf_delegation *d = &part->delegations[i];
        bool covers;
        rc = tuf_delegation_test(d, name, &covers, err);
        if (rc || !covers)
            continue;
        if (d->terminating) {
            /* C33, TUF 5.6.7.2.1: nothing comes after it, neither here nor further up. */
            memmove(s->pending, s->pending + bottom, (s->n_pending - bottom) * sizeof *s->pending);
            s->n_pending -= bottom;
            bottom = 0;
            end = i + 1;
        }
        rc = push(s, &(struct visit){d->name, role->name, false}, err);
    }
    for (size_t i = bottom, j = s->n_pending; i + 1 < j; i++) {
        struct visit swap = s->pending[i];
        s->pending[i] = s->pending[--j];
        s->pending[j] = swap;
    }
    return rc;
}

/* *role = NULL: it has to be fed first, as out->need_role says. */
static int enter(struct tuf_trusted *t, struct visit v, const struct trusted_role **role,
                 struct tuf_found *out, struct error *err)
{
    *role = tuf_trusted_role_find(t, v.role, v.delegator);
    if (*role)
        return OK;
    /* C34, TUF 5.6.7: a role that is not to be had ends the search. Going on to the next delegation
     * would let whoever holds a file back choose who vouches. */
    if (!tuf_trusted_wanted(t, v.role))
        return fail(err, E_UNSIGNED, "role '%s' comes first and the snapshot does not list it",
                    v.role);
    if (tuf_trusted_targets(t, v.role)) {
        int rc = tuf_trusted_readmit(t, v.role, v.delegator, err);
        if (!rc)
            *role = tuf_trusted_role_find(t, v.role, v.delegator);
        return rc;
    }
    out->need_role = v.role;
    out->need_delegator = v.delegator;
    return OK;
}

static void report(const struct trusted_role *role, const struct visit *v, struct tuf_found *out)
{
    out->role = v->is_bin ? role->delegator : role->name;
    out->bin = v->is_bin ? role->name : NULL;
    out->n_signers = role->n_signers;
    memcpy(out->signers, role->signers, role->n_signers * sizeof role->signers[0]);
}

static int search(struct tuf_trusted *t, struct search *s, const char *name, struct tuf_found *out,
                  struct error *err)
{
    int rc = push(s, &(struct visit){"targets", NULL, false}, err);
    while (!rc && s->n_pending) {
        const struct trusted_role *role;
        struct visit v = s->pending[--s->n_pending];
        if (visited(s, v.role)) /* C32, TUF 5.6.7.1 */
            continue;
        if (s->n_visited > TUF_MAX_VISITED_ROLES)
            return fail(err, E_LIMIT, "more than %d roles could vouch for '%s'",
                        TUF_MAX_VISITED_ROLES, name);
        rc = enter(t, v, &role, out, err);
        if (rc || out->need_role)
            return rc;
        if (tuf_targets_find(role->metadata, name, &out->target)) {
            report(role, &v, out);
            return OK;
        }
        s->visited[s->n_visited++] = role->name;
        rc = tuf_targets_bins(role->metadata) ? expand_bins(t, s, role, name, err)
                                              : expand(s, role, name, err);
    }
    /* C36, TUF 5.7: no metadata, no target. */
    return rc ? rc : fail(err, E_UNSIGNED, "no role vouches for '%s'", name);
}

int tuf_trusted_search(struct tuf_trusted *t, const char *name, struct tuf_found *out,
                       struct error *err)
{
    CLEANUP(search_done) struct search s = {.pending = NULL};
    struct tuf_found found = {.role = NULL};
    if (!t->snapshot_current)
        return fail(err, E_INTERNAL, "TUF workflow out of order: a search before the snapshot");
    int rc = search(t, &s, name, &found, err);
    if (!rc)
        *out = found;
    return rc;
}

#include "registry/visible.h"

#include <string.h>

/* Names that begin with `key` (all = true; "" is every name), or the one that is `key`. */
struct range {
    char *key;
    bool all;
};

struct ranges {
    const struct access_identity *who;
    struct range *list;
    size_t n, room;
};

static void ranges_done(struct ranges *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->list[i].key);
    free(r->list);
}

static int add_range(struct ranges *r, const char *pattern, struct error *err)
{
    size_t len = strlen(pattern);
    bool all = len > 0 && pattern[len - 1] == '*';
    if (r->n == r->room) {
        size_t room = r->room ? 2 * r->room : 16;
        struct range *list = realloc(r->list, room * sizeof *list);
        if (!list)
            return fail_nomem(err);
        r->list = list;
        r->room = room;
    }
    char *key = strndup(pattern, len - all);
    if (!key)
        return fail_nomem(err);
    r->list[r->n++] = (struct range){key, all};
    return 0;
}

/* A grant and the API token's pattern overlap in one of the two, or not at all. */
static int note_grant(void *context, const struct index_grant *grant, struct error *err)
{
    struct ranges *r = context;
    const char *limit = r->who->pattern;
    if (!(grant->actions & ACCESS_PULL))
        return 0;
    if (!limit[0] || access_pattern_covers(limit, grant->pattern))
        return add_range(r, grant->pattern, err);
    return access_pattern_covers(grant->pattern, limit) ? add_range(r, limit, err) : 0;
}

static int compare(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : (int)y->all - (int)x->all;
}

static bool covers(const struct range *wide, const struct range *narrow)
{
    return wide->all ? text_starts(narrow->key, wide->key) : strcmp(wide->key, narrow->key) == 0;
}

/* In order and without overlap: a range that begins another sorts before all of that. */
static void tidy(struct ranges *r)
{
    size_t kept = 0;
    if (r->n > 1)
        qsort(r->list, r->n, sizeof *r->list, compare);
    for (size_t i = 0; i < r->n; i++)
        if (kept > 0 && covers(&r->list[kept - 1], &r->list[i]))
            free(r->list[i].key);
        else
            r->list[kept++] = r->list[i];
    r->n = kept;
}

static int collect(struct index_tx *tx, struct ranges *r, struct error *err)
{
    const struct access_identity *who = r->who;
    if (who->pattern[0] && !(who->actions & ACCESS_PULL))
        return 0;
    int rc = index_grants_each(tx, who->name, note_grant, r, err);
    if (rc == 0 && !access_is_anonymous(who))
        rc = index_grants_shared_each(tx, who->name, note_grant, r, err);
    if (rc == 0)
        tidy(r);
    return rc;
}

/* Tells whether the visitor wants no more. */
struct walk {
    const struct index_visitor *visitor;
    bool stopped;
};

static int visit(void *context, const char *name, struct error *err)
{
    struct walk *walk = context;
    int rc = walk->visitor->visit(walk->visitor->context, name, err);
    walk->stopped = rc > 0;
    return rc;
}

static int visit_one(struct index_tx *tx, const char *name, struct walk *walk, struct error *err)
{
    int64_t id = 0;
    int rc = index_repository_find(tx, name, &id, err);
    if (rc == 0)
        rc = visit(walk, name, err);
    return rc == E_NOTFOUND || rc > 0 ? 0 : rc;
}

/* Names are of a-z, 0-9 and a few characters below them, so DEL ends every name's range. */
static int visit_range(struct index_tx *tx, const struct range *range, const char *last,
                       struct walk *walk, struct error *err)
{
    char until[REFERENCE_REPOSITORY_MAX + 2];
    const struct index_visitor visitor = {visit, walk};
    size_t len = strlen(range->key);
    if (!range->all)
        return strcmp(range->key, last) > 0 ? visit_one(tx, range->key, walk, err) : 0;
    if (len > REFERENCE_REPOSITORY_MAX)
        return 0;
    memcpy(until, range->key, len);
    until[len] = '\x7f';
    until[len + 1] = '\0';
    if (strcmp(until, last) <= 0)
        return 0;
    return index_repositories_between(tx, strcmp(last, range->key) > 0 ? last : range->key, until,
                                      &visitor, err);
}

int visible_repositories_each(struct index_tx *tx, const struct access_identity *who,
                              const char *last, const struct index_visitor *visitor,
                              struct error *err)
{
    CLEANUP(ranges_done) struct ranges ranges = {.who = who};
    struct walk walk = {visitor, false};
    int rc = collect(tx, &ranges, err);
    for (size_t i = 0; rc == 0 && !walk.stopped && i < ranges.n; i++)
        rc = visit_range(tx, &ranges.list[i], last, &walk, err);
    return rc;
}

#include "registry/retention.h"

#include "base/clock.h"
#include "registry/access.h"
#include "registry/tag_rules.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 32u /* rows in one transaction, names in memory at once */

/* One page of one repository's tags or manifests, looked at in one transaction. */
struct page {
    const struct retention *run;
    const char *repository;
    const struct config_retention *rule;
    size_t number; /* of the rule, from 1 */
    int64_t now_s;
    /* Where the page begins, and where the next one does. */
    struct index_tag tag_from, tag_next;
    struct index_untagged from, next;
    bool more;
    /* What was removed. */
    struct index_tag tags[PAGE];
    size_t n;
};

static bool ended(const struct retention *r)
{
    return r->end && atomic_load(r->end);
}

/* --- tags --- */

static int consider_tag(struct index_tx *tx, struct page *p, int64_t id,
                        const struct index_tag *tag, struct error *err)
{
    const struct config_retention *rule = p->rule;
    bool is_signed = false, removed = true;
    if (rule->keep_within_s >= 0 && tag->updated_s > p->now_s - rule->keep_within_s)
        return 0;
    for (size_t i = 0; i < rule->n_keep_tags; i++)
        if (tag_pattern_matches(rule->keep_tags[i], tag->name))
            return 0;
    if (tag_is_immutable(p->run->rules, p->repository, tag->name))
        return 0;
    int rc = index_tag_is_signed(tx, id, tag, &is_signed, err);
    if (rc != 0 || is_signed)
        return rc;
    if (!p->run->dry_run)
        rc = index_tag_remove_same(tx, id, tag, &removed, err);
    if (rc == 0 && removed)
        p->tags[p->n++] = *tag;
    return rc;
}

static int tag_page(struct index_tx *tx, void *arg, struct error *err)
{
    struct page *p = arg;
    struct index_tag tags[PAGE];
    size_t n = 0;
    int64_t id = 0;
    p->n = 0;
    int rc = index_repository_find(tx, p->repository, &id, err);
    if (rc == 0)
        rc = index_tags_older(tx, id, &p->tag_from, tags, PAGE, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = consider_tag(tx, p, id, &tags[i], err);
    p->more = n == PAGE;
    if (n > 0)
        p->tag_next = tags[n - 1];
    return rc;
}

/* Where the tags begin that are not among the newest ones. Found once: tags set meanwhile only make
 * the others older. *none: there are not that many. */
static int first_tag(struct index_tx *tx, struct page *p, bool *none, struct error *err)
{
    int64_t id = 0;
    *none = false;
    p->tag_from = (struct index_tag){.name = "", .updated_s = INT64_MAX};
    int rc = index_repository_find(tx, p->repository, &id, err);
    if (rc == 0 && p->rule->keep_last > 0)
        rc = index_tag_nth(tx, id, p->rule->keep_last, &p->tag_from, err);
    *none = rc == E_NOTFOUND;
    return *none ? 0 : rc;
}

/* --- manifests --- */

static int consider_untagged(struct index_tx *tx, struct page *p, int64_t id,
                             const struct index_untagged *row, struct error *err)
{
    enum index_hold hold = INDEX_HOLD_WAIT;
    bool dry = p->run->dry_run;
    int rc = index_untagged_hold(tx, id, &row->digest, p->now_s - p->run->lease_s, &hold, err);
    if (rc == 0 && hold == INDEX_HOLD_NAMED && !dry)
        rc = index_untagged_done(tx, id, &row->digest, err);
    if (rc != 0 || hold != INDEX_HOLD_NONE)
        return rc;
    if (!dry)
        rc = index_manifest_remove(tx, id, &row->digest, err);
    if (rc == 0)
        p->tags[p->n++] = (struct index_tag){.name = "", .digest = row->digest};
    return rc;
}

static int untagged_page(struct index_tx *tx, void *arg, struct error *err)
{
    struct page *p = arg;
    struct index_untagged rows[PAGE];
    size_t n = 0;
    int64_t id = 0;
    p->n = 0;
    int rc = index_repository_find(tx, p->repository, &id, err);
    if (rc == 0)
        rc = index_untagged_page(tx, id, p->now_s - p->rule->delete_untagged_s, &p->from, rows,
                                 PAGE, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = consider_untagged(tx, p, id, &rows[i], err);
    p->more = n == PAGE;
    if (n > 0)
        p->next = rows[n - 1];
    return rc;
}

/* --- one repository --- */

static void format_age(int64_t seconds, char out[24])
{
    if (seconds >= 86400 && seconds % 86400 == 0)
        snprintf(out, 24, "%" PRId64 "d", seconds / 86400);
    else if (seconds >= 3600 && seconds % 3600 == 0)
        snprintf(out, 24, "%" PRId64 "h", seconds / 3600);
    else
        snprintf(out, 24, "%" PRId64 "s", seconds);
}

static void explain(const struct page *p, struct retention_item *item)
{
    const struct config_retention *rule = p->rule;
    char age[24];
    format_age(item->tag ? rule->keep_within_s : rule->delete_untagged_s, age);
    if (!item->tag)
        snprintf(item->why, sizeof item->why, "nothing has named it for %s", age);
    else if (rule->keep_last > 0 && rule->keep_within_s >= 0)
        snprintf(item->why, sizeof item->why, "not among the newest %u, and not set within %s",
                 (unsigned)rule->keep_last, age);
    else if (rule->keep_last > 0)
        snprintf(item->why, sizeof item->why, "not among the newest %u", (unsigned)rule->keep_last);
    else
        snprintf(item->why, sizeof item->why, "not set within %s", age);
}

static int report(const struct page *p, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->n; i++) {
        struct retention_item item = {.repository = p->repository,
                                      .tag = p->tags[i].name[0] ? p->tags[i].name : NULL,
                                      .digest = &p->tags[i].digest,
                                      .rule = p->number};
        explain(p, &item);
        rc = p->run->visit(p->run->context, &item, err);
    }
    return rc;
}

/* A dry run only reads. */
static int in_transaction(const struct retention *r,
                          int (*work)(struct index_tx *tx, void *arg, struct error *err),
                          struct page *p, struct error *err)
{
    struct index_tx *tx = NULL;
    if (!r->dry_run)
        return index_write(r->index, work, p, err);
    int rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = work(tx, p, err);
    index_read_end(r->index, tx);
    return rc;
}

static int run_tags(struct page *p, struct error *err)
{
    struct index_tx *tx = NULL;
    bool none = false;
    int rc = index_read_begin(p->run->index, &tx, err);
    if (rc == 0)
        rc = first_tag(tx, p, &none, err);
    index_read_end(p->run->index, tx);
    for (p->more = !none; rc == 0 && p->more && !ended(p->run);) {
        rc = in_transaction(p->run, tag_page, p, err);
        if (rc == 0)
            rc = report(p, err);
        p->tag_from = p->tag_next;
    }
    return rc;
}

static int run_untagged(struct page *p, struct error *err)
{
    int rc = 0;
    p->from = (struct index_untagged){.since_s = -1};
    for (p->more = true; rc == 0 && p->more && !ended(p->run);) {
        rc = in_transaction(p->run, untagged_page, p, err);
        if (rc == 0)
            rc = report(p, err);
        p->from = p->next;
    }
    return rc;
}

static int run_repository(const struct retention *r, const char *repository, struct error *err)
{
    const struct config_rules *rules = r->rules;
    size_t i = 0;
    while (i < rules->n_retention &&
           !access_pattern_matches(rules->retention[i].repository, repository))
        i++;
    if (i == rules->n_retention)
        return 0;
    struct page *p = calloc(1, sizeof *p); /* large for a stack */
    if (!p)
        return fail_nomem(err);
    p->run = r;
    p->repository = repository;
    p->rule = &rules->retention[i];
    p->number = i + 1;
    p->now_s = clock_now_s();
    int rc = 0;
    if (p->rule->keep_last > 0 || p->rule->keep_within_s >= 0)
        rc = run_tags(p, err);
    if (rc == 0 && p->rule->delete_untagged_s >= 0)
        rc = run_untagged(p, err);
    free(p);
    return wrap(err, rc, "'%s'", repository);
}

/* --- all repositories --- */

struct names {
    char names[PAGE][REFERENCE_REPOSITORY_MAX + 1];
    size_t n;
};

static int note_name(void *context, const char *name, struct error *err)
{
    struct names *list = context;
    if (strlen(name) > REFERENCE_REPOSITORY_MAX)
        return fail(err, E_TAMPERED, "the index holds a name that is none");
    memcpy(list->names[list->n++], name, strlen(name) + 1);
    return list->n == PAGE;
}

static int read_names(const struct retention *r, const char *last, struct names *out,
                      struct error *err)
{
    struct index_tx *tx = NULL;
    const struct index_visitor visitor = {note_name, out}; /* names are ASCII, below 0x7f */
    out->n = 0;
    int rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = index_repositories_between(tx, last, "\x7f", &visitor, err);
    index_read_end(r->index, tx);
    return rc;
}

int retention_run(const struct retention *r, struct error *err)
{
    struct names names = {.n = PAGE};
    char last[REFERENCE_REPOSITORY_MAX + 1] = "";
    int rc = 0;
    if (r->rules->n_retention == 0)
        return 0;
    while (rc == 0 && names.n == PAGE && !ended(r)) {
        rc = read_names(r, last, &names, err);
        for (size_t i = 0; rc == 0 && i < names.n && !ended(r); i++)
            rc = run_repository(r, names.names[i], err);
        if (names.n > 0)
            memcpy(last, names.names[names.n - 1], sizeof last);
    }
    return wrap(err, rc, "retention");
}

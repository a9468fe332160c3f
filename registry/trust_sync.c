#include "registry/trust_sync.h"

#include "base/log.h"
#include "registry/index_mirror.h"
#include "registry/index_trust.h"
#include "registry/publish.h"

#include <string.h>

/* --- the place --- */

static int read_place(struct registry *r, struct index_trust_place *place, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = index_trust_place(tx, place, err);
    index_read_end(r->index, tx);
    return rc;
}

static int write_place(struct index_tx *tx, void *arg, struct error *err)
{
    return index_trust_set_place(tx, arg, err);
}

/* Everything is asked for once more; a restored service is shown what it has forgotten. */
static int begin_again(struct index_tx *tx, void *arg, struct error *err)
{
    struct index_trust_place known;
    int rc = index_trust_place(tx, &known, err);
    if (rc == 0 && known.identity[0])
        rc = index_trust_all_due(tx, err);
    return rc == 0 ? index_trust_set_place(tx, arg, err) : rc;
}

static bool same_log(const struct index_trust_place *place, const struct signer_changes *c)
{
    return strcmp(place->identity, c->identity) == 0 && place->number <= c->last &&
           (!place->hash[0] || !c->since_hash[0] || strcmp(place->hash, c->since_hash) == 0);
}

/* --- one page --- */

static int stored_versions(struct registry *r, const char *repository, int64_t *root,
                           int64_t *timestamp, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = index_trust_version(tx, repository, "root", root, err);
    if (rc == 0)
        rc = index_trust_version(tx, repository, "timestamp", timestamp, err);
    index_read_end(r->index, tx);
    return rc;
}

static int follow(struct registry *r, const struct signer_change *change, struct error *err)
{
    int64_t root = 0, timestamp = 0;
    struct error why = ERROR_INIT;
    int rc = stored_versions(r, change->collection, &root, &timestamp, err);
    if (rc != 0 || (root == change->root && timestamp == change->timestamp))
        return rc;
    rc = publish_refresh(r, change->collection, &why);
    if (rc == E_NETWORK)
        return fail(err, rc, "%s", why.message);
    if (rc != 0)
        log_warn("'%s' cannot be brought up to date: %s", change->collection, why.message);
    else
        log_info("'%s': stored what the signing service signed meanwhile", change->collection);
    return 0;
}

static int take_page(struct registry *r, struct index_trust_place *place, const atomic_bool *end,
                     bool *more, struct error *err)
{
    CLEANUP(signer_changes_done) struct signer_changes c = {.items = NULL};
    int rc = signer_link_changed(r->signer, place->number, &c, err);
    if (rc != 0)
        return rc;
    if (!same_log(place, &c)) {
        struct index_trust_place first = {.number = 0};
        if (place->identity[0])
            log_warn("the signing service's log is not the one that was known: it or this registry "
                     "was restored; all collections are compared");
        memcpy(first.identity, c.identity, sizeof first.identity);
        *place = first;
        return index_write(r->index, begin_again, place, err);
    }
    for (size_t i = 0; rc == 0 && i < c.n && !atomic_load(end); i++)
        rc = follow(r, &c.items[i], err);
    *more = !c.whole;
    if (rc != 0 || atomic_load(end) || place->number == c.number)
        return rc;
    place->number = c.number;
    memcpy(place->hash, c.hash, sizeof place->hash);
    return index_write(r->index, write_place, place, err);
}

int trust_sync_run(struct registry *r, const atomic_bool *end, struct error *err)
{
    struct index_trust_place place = {.number = 0};
    int rc = read_place(r, &place, err);
    for (bool more = true; rc == 0 && more && !atomic_load(end);)
        rc = take_page(r, &place, end, &more, err);
    if (rc == 0 && !atomic_load(end))
        atomic_store(&r->trust_synced, true);
    return rc;
}

void trust_sync_one(struct registry *r, const char *repository)
{
    struct error err = ERROR_INIT;
    if (atomic_load(&r->trust_synced))
        return;
    int rc = publish_refresh(r, repository, &err);
    if (rc != 0 && rc != E_NOTFOUND)
        log_warn("'%s' cannot be compared with the signing service: %s", repository, err.message);
}

/* --- showing --- */

struct shown {
    struct index_trust_file *roots, *current;
    size_t n_roots, n_current;
    struct tuf_file *files; /* borrows from both */
    size_t n_files;
};

static void shown_done(struct shown *s)
{
    index_trust_files_free(s->roots, s->n_roots);
    index_trust_files_free(s->current, s->n_current);
    free(s->files);
}

static int read_shown(struct registry *r, const char *repository, struct shown *s,
                      struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(r->index, &tx, err);
    if (rc == 0)
        rc = index_mirror_check_none(tx, repository, err); /* nothing here signed that */
    if (rc == 0)
        rc = index_trust_roots(tx, repository, &s->roots, &s->n_roots, err);
    if (rc == 0)
        rc = index_trust_current(tx, repository, &s->current, &s->n_current, err);
    index_read_end(r->index, tx);
    if (rc != 0)
        return rc;
    s->files = calloc(s->n_roots + s->n_current + 1, sizeof *s->files);
    if (!s->files)
        return fail_nomem(err);
    for (size_t i = 0; i < s->n_roots; i++)
        s->files[s->n_files++] =
            (struct tuf_file){"root", s->roots[i].data.data, s->roots[i].data.len};
    for (size_t i = 0; i < s->n_current; i++)
        if (strcmp(s->current[i].role, "root") != 0)
            s->files[s->n_files++] = (struct tuf_file){s->current[i].role, s->current[i].data.data,
                                                       s->current[i].data.len};
    return 0;
}

int trust_sync_show(struct registry *r, const char *repository, bool *adopted, struct error *err)
{
    CLEANUP(shown_done) struct shown s = {.roots = NULL};
    int rc = read_shown(r, repository, &s, err);
    if (rc == 0 && s.n_current == 0)
        return fail(err, E_NOTFOUND, "nothing of '%s' is published here", repository);
    return rc == 0 ? signer_link_show(r->signer, repository, s.files, s.n_files, adopted, err) : rc;
}

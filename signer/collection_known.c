/*
 * Whether a staged change stands on what this machine knows of the collection.
 *
 * Whoever staged it chose the published files that it is compared with. Those verify each other,
 * under a root that the file brings along: a made-up root could name anybody's keys and so hide
 * whatever it wants signed among what "is published already".
 */
#include "signer/collection_change.h"

#include <inttypes.h>
#include <string.h>

static int compare(const char *role, const struct bytes *known, const struct tuf_metadata *base,
                   bool *same, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    const struct bytes *is = tuf_metadata_bytes(base);
    int rc = tuf_metadata_parse(tuf_metadata_type(base), known->data, known->len, &m, err);
    if (rc)
        return wrap(err, rc, "'%s' in the trust store", role);
    int64_t here = tuf_metadata_version(m), there = tuf_metadata_version(base);
    *same = bytes_equal(known->data, known->len, is->data, is->len);
    if (here > there)
        return fail(err, E_CONFLICT,
                    "'%s' was published anew since the change was staged: stage it again", role);
    if (here == there && !*same)
        return fail(err, E_ROLLBACK,
                    "version %" PRId64 " of '%s' that the change stands on is not the one that "
                    "this machine knows: it is made up, or for another collection",
                    there, role);
    return OK;
}

static int compare_all(const struct draft *d, struct trust_store *store,
                       const struct resolved_anchor *anchor, bool *known, struct error *err)
{
    for (size_t i = 0; i < d->n_base; i++) {
        const struct draft_base *base = &d->base[i];
        CLEANUP(bytes_done) struct bytes here = BYTES_INIT;
        bool is_root = strcmp(base->role, "root") == 0, same = false;
        struct error why = ERROR_INIT;
        int rc = trust_store_read(
            store, base->role, tuf_type_max_bytes(tuf_metadata_type(base->metadata)), &here, &why);
        if (rc == E_NOTFOUND && is_root && anchor->root.len)
            rc = bytes_append(&here, anchor->root.data, anchor->root.len, err);
        if (rc == E_NOTFOUND)
            continue;
        if (!rc)
            rc = compare(base->role, &here, base->metadata, &same, err);
        else if (!err->code)
            *err = why;
        if (rc)
            return rc;
        /* Everything else in the file hangs on its root. */
        *known |= is_root && same;
    }
    return OK;
}

int collection_known(const struct draft *d, bool *known, struct error *err)
{
    CLEANUP(anchor_done) struct resolved_anchor anchor = {.root = BYTES_INIT};
    CLEANUP(trust_store_cleanup) struct trust_store *store = NULL;
    const struct verify_options *options = d->owner->verify;
    struct decision decision;
    struct error why = ERROR_INIT;
    *known = false;
    int rc = policy_decide(options->policy, &d->ref, &decision, err);
    if (rc)
        return rc;
    rc = anchor_resolve(decision.anchor, options->home, &d->ref, false, &anchor, &why);
    if (rc == E_NO_TRUST)
        return OK;
    if (rc)
        return fail(err, rc, "%s", why.message);
    if (strcmp(decision.collection, d->collection) != 0)
        return fail(err, E_BINDING, "the change is for collection '%s', policy knows '%s' there",
                    d->collection, decision.collection);
    rc = trust_store_open(options->home, anchor.id, d->collection, &store, err);
    return rc ? rc : compare_all(d, store, &anchor, known, err);
}

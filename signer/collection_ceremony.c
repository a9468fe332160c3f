/* Ceremonies: signatures from several machines, in any order, then one publication. */
#include "signer/change_file.h"
#include "signer/collection_change.h"
#include "signer/difference.h"

#include <string.h>

/* Differences to files that nobody here has ever seen would say nothing. */
static int describe_all(const struct draft *d, struct bytes *out, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < d->n_base; i++)
        if (strcmp(d->base[i].role, "root") == 0) {
            rc = bytes_append_text(out, "the root in force, as the file has it:\n", err);
            if (!rc)
                rc = difference_describe("root", NULL, d->base[i].metadata, out, err);
            if (!rc)
                rc = bytes_append_text(out, "to be signed, the whole of it:\n", err);
        }
    for (size_t i = 0; !rc && i < d->n; i++)
        rc = difference_describe(d->files[i].role, NULL, d->files[i].after, out, err);
    return rc;
}

int collection_ceremony_open(const struct collection_owner *owner, const char *path,
                             struct collection_ceremony *out, struct error *err)
{
    *out = (struct collection_ceremony){.summary = BYTES_INIT};
    int rc = change_file_read(owner, path, &out->draft, err);
    if (rc)
        return rc;
    rc = collection_known(&out->draft, &out->known, err);
    if (!rc)
        rc = out->known ? draft_describe(&out->draft, &out->summary, err)
                        : describe_all(&out->draft, &out->summary, err);
    if (rc)
        collection_ceremony_close(out);
    return rc;
}

void collection_ceremony_close(struct collection_ceremony *c)
{
    draft_close(&c->draft);
    bytes_done(&c->summary);
}

/* Those of the local keys that any of the files lists. */
static int open_local(const struct draft *d, struct role_signers *s, struct error *err)
{
    CLEANUP(cleanup_free) struct key_entry *entries = NULL;
    const char *names[COLLECTION_MAX_KEYS];
    size_t n = 0, wanted = 0;
    int rc = keystore_list(d->owner->keystore, &entries, &n, err);
    for (size_t i = 0; !rc && i < n; i++) {
        bool lists = false;
        for (size_t k = 0; !lists && k < d->n; k++)
            lists = draft_wants_key(&d->files[k], entries[i].id.text);
        if (lists && !entries[i].public_only && wanted < COLLECTION_MAX_KEYS)
            names[wanted++] = entries[i].name;
    }
    if (!rc && !wanted)
        return fail(err, E_USAGE,
                    "no key in the key store is listed by this change; name one with --key, for "
                    "example a token's pkcs11: URI");
    return rc ? rc : role_signers_open(d->owner, names, wanted, s, err);
}

int collection_ceremony_sign(struct collection_ceremony *c, const char *path,
                             const char *const *keys, size_t n_keys, struct error *err)
{
    CLEANUP(role_signers_done) struct role_signers s = {.n = 0};
    int rc = n_keys ? role_signers_open(c->draft.owner, keys, n_keys, &s, err)
                    : open_local(&c->draft, &s, err);
    if (!rc)
        rc = draft_sign(&c->draft, &s, err);
    return rc ? rc : change_file_write(&c->draft, path, false, err);
}

bool collection_ceremony_progress(const struct collection_ceremony *c, size_t i,
                                  struct collection_progress *out)
{
    for (size_t k = 0; k < c->draft.n; k++) {
        const struct draft_file *f = &c->draft.files[k];
        if (i >= f->n_authorities) {
            i -= f->n_authorities;
            continue;
        }
        const struct draft_authority *a = &f->authorities[i];
        size_t n = 0, wanted = (size_t)a->role->threshold;
        if (draft_count_signatures(f, a, &n, NULL) != OK)
            n = 0;
        (void)snprintf(out->role, sizeof out->role, "%s", a->name);
        out->n = n;
        out->n_missing = n < wanted ? wanted - n : 0;
        return true;
    }
    return false;
}

int collection_ceremony_publish(struct collection_ceremony *c, struct error *err)
{
    struct draft *d = &c->draft, now;
    int rc = draft_check_signatures(d, err);
    if (rc)
        return rc;
    if (!d->n_base)
        return draft_publish_first(d, err);
    rc = draft_open(d->owner, &d->ref, &now, err);
    if (rc)
        return rc;
    if (strcmp(now.collection, d->collection) != 0)
        rc = fail(err, E_BINDING, "the change is for collection '%s', policy knows '%s' there",
                  d->collection, now.collection);
    if (!rc)
        rc = draft_check_base(d, &now, err);
    if (!rc)
        rc = draft_publish_on(d, &now, err);
    draft_close(&now);
    return rc;
}

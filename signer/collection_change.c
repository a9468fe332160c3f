/* How every change to a collection is carried out: the draft, the keys, the publication. */
#include "signer/collection_change.h"

#include "base/clock.h"
#include "base/file.h"
#include "signer/change_file.h"

#include <fcntl.h>

#include <string.h>

#define MAX_REBASES  5
#define KEY_FILE_MAX 16384u

/* --- keys by what the user wrote --- */

static bool is_file_name(const char *text)
{
    return strncmp(text, "pkcs11:", 7) != 0 &&
           (strchr(text, '/') || text_ends(text, ".json") || text_ends(text, ".pem"));
}

static int read_key_file(const char *path, struct public_key **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = file_read(AT_FDCWD, path, KEY_FILE_MAX, &data, &why);
    if (!rc)
        rc = public_key_parse(&data, out, &why);
    if (!rc || rc == E_NOMEM)
        return rc;
    return fail(err, rc == E_NOTFOUND ? rc : E_USAGE, "public key '%s': %s", path, why.message);
}

int collection_public_key(const struct collection_owner *owner, const char *text,
                          struct public_key **out, struct error *err)
{
    if (is_file_name(text))
        return read_key_file(text, out, err);
    return public_key_open(owner->keystore, text, out, err);
}

void collection_role_done(struct collection_role *r)
{
    for (size_t i = 0; i < r->n_keys; i++)
        public_key_cleanup(&r->keys[i]);
    r->n_keys = 0;
}

static int check_distinct(const struct collection_role *r, const char *text, struct error *err)
{
    for (size_t i = 0; i + 1 < r->n_keys; i++)
        if (public_key_equal(r->keys[i], r->keys[r->n_keys - 1]))
            return fail(err, E_USAGE, "key '%s' is named twice", text);
    return OK;
}

int collection_role_open(const struct collection_owner *owner, const char *const *texts, size_t n,
                         int64_t threshold, struct collection_role *out, struct error *err)
{
    CLEANUP(collection_role_done) struct collection_role r = {.threshold = threshold};
    if (n == 0 || n > COLLECTION_MAX_KEYS)
        return fail(err, E_USAGE, "name 1 to %d keys", COLLECTION_MAX_KEYS);
    if (!threshold)
        r.threshold = (int64_t)n;
    if (r.threshold < 1 || (uint64_t)r.threshold > n)
        return fail(err, E_USAGE, "the threshold must be from 1 to the number of keys (%zu)", n);
    for (size_t i = 0; i < n; i++) {
        int rc = collection_public_key(owner, texts[i], &r.keys[r.n_keys], err);
        if (rc)
            return rc;
        r.n_keys++;
        rc = check_distinct(&r, texts[i], err);
        if (rc)
            return rc;
    }
    *out = r;
    r.n_keys = 0; /* ownership has moved */
    return OK;
}

/* --- carrying it out --- */

struct applying {
    struct draft draft;
    struct role_signers signers;
    const struct collection_owner *owner;
    const struct collection_publish *publish;
    collection_change *change;
    void *context;
    struct collection_changed *out;
};

static int find_keys(struct applying *a, struct error *err)
{
    const struct collection_publish *p = a->publish;
    if (a->signers.n)
        return OK; /* a rebase keeps the keys open: nobody types a PIN twice */
    if (p->n_keys)
        return role_signers_open(a->owner, p->keys, p->n_keys, &a->signers, err);
    int rc = OK;
    for (size_t i = 0; !rc && i < a->draft.n; i++)
        for (size_t k = 0; !rc && k < a->draft.files[i].n_authorities; k++) {
            const struct draft_authority *authority = &a->draft.files[i].authorities[k];
            rc = role_signers_find(a->owner, authority->role, authority->name, &a->signers, err);
        }
    return rc;
}

/* Whoever stages need not have a key at all. */
static int stage(struct applying *a, struct error *err)
{
    const struct collection_publish *p = a->publish;
    int rc = p->n_keys ? role_signers_open(a->owner, p->keys, p->n_keys, &a->signers, err) : OK;
    if (!rc)
        rc = draft_sign(&a->draft, &a->signers, err);
    return rc ? rc : change_file_write(&a->draft, p->stage_file, true, err);
}

/* No client takes anything under an expired root: said before anybody types a passphrase. */
static int check_root(const struct draft *d, struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(d->session.view.trusted);
    char when[CLOCK_TEXT_MAX];
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->files[i].role, "root") == 0)
            return OK;
    if (tuf_metadata_expires(root) > d->now_s)
        return OK;
    return fail(err, E_EXPIRED, "root expired at %s: first 'bulla trust renew %s/%s root'",
                clock_format(tuf_metadata_expires(root), when), d->ref.host, d->ref.repository);
}

static int apply_once(struct applying *a, struct error *err)
{
    int rc = a->change(&a->draft, a->context, err);
    bytes_clear(&a->out->summary);
    a->out->nothing = a->draft.n == 0;
    if (rc || a->out->nothing)
        return rc;
    rc = check_root(&a->draft, err);
    if (!rc)
        rc = draft_compile(&a->draft, err);
    if (!rc)
        rc = draft_describe(&a->draft, &a->out->summary, err);
    if (!rc && a->publish->stage_file)
        return stage(a, err);
    if (!rc)
        rc = find_keys(a, err);
    if (!rc)
        rc = draft_sign(&a->draft, &a->signers, err);
    if (!rc)
        rc = draft_check_signatures(&a->draft, err);
    if (!rc)
        rc = draft_publish(&a->draft, err);
    return rc || !a->publish->confirm ? rc : a->publish->confirm(&a->draft, a->context, err);
}

static int apply_and_rebase(struct applying *a, struct error *err)
{
    for (;;) {
        int rc = apply_once(a, err);
        if (rc != E_CONFLICT || a->out->n_rebased >= MAX_REBASES)
            return rc;
        a->out->n_rebased++;
        rc = draft_reset(&a->draft, err);
        if (rc)
            return rc;
    }
}

/* An owner's view takes what has expired, to renew it. Where the service's own signature has
 * expired nothing says that this is the newest state: only what is known from before, or a person.
 */
static int check_newest(const struct applying *a, struct error *err)
{
    const struct tuf_metadata *timestamp = tuf_trusted_timestamp(a->draft.session.view.trusted);
    char when[CLOCK_TEXT_MAX];
    if (a->publish->believe)
        return OK;
    if (tuf_metadata_expires(timestamp) <= a->draft.now_s)
        return fail(err, E_NO_TRUST,
                    "the registry's timestamp of collection '%s' expired at %s: this may be an old "
                    "state; see that its signing service runs, or compare 'bulla trust show' with "
                    "what its owners know and repeat with --without-history",
                    a->draft.session.collection,
                    clock_format(tuf_metadata_expires(timestamp), when));
    if (!a->publish->needs_history || a->draft.session.had_history)
        return OK;
    return fail(err, E_NO_TRUST,
                "this machine has not published in collection '%s' before and cannot tell whether "
                "the registry shows its newest state: compare 'bulla trust show' with what its "
                "owners know, then repeat with --without-history",
                a->draft.session.collection);
}

int collection_apply(const struct collection_owner *owner, const struct reference *ref,
                     const struct collection_publish *publish, collection_change *change,
                     void *context, struct collection_changed *out, struct error *err)
{
    struct applying a = {
        .owner = owner, .publish = publish, .change = change, .context = context, .out = out};
    *out = (struct collection_changed){.summary = BYTES_INIT};
    int rc = draft_open(owner, ref, &a.draft, err);
    if (rc)
        return rc;
    a.draft.lifetime_s = publish->lifetime_s;
    rc = check_newest(&a, err);
    if (!rc)
        rc = apply_and_rebase(&a, err);
    memcpy(out->keys, a.signers.info, sizeof out->keys);
    out->n_keys = a.signers.n;
    role_signers_done(&a.signers);
    draft_close(&a.draft);
    return rc;
}

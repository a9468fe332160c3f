#include "signer/draft.h"

#include "base/clock.h"
#include "signer/difference.h"

#include <inttypes.h>
#include <string.h>

/* --- life --- */

static void file_done(struct draft_file *f)
{
    free(f->role);
    free(f->delegator);
    js_free(f->tree);
    js_free(f->signatures);
    tuf_metadata_free(f->after);
    bytes_done(&f->signed_file);
}

static void forget_files(struct draft *d)
{
    for (size_t i = 0; i < d->n; i++)
        file_done(&d->files[i]);
    free(d->files);
    d->files = NULL;
    d->n = 0;
}

void draft_begin(const struct collection_owner *owner, const struct reference *ref,
                 struct draft *out)
{
    *out = (struct draft){.owner = owner, .now_s = clock_now_s(), .ref = *ref};
    memcpy(out->collection, ref->repository, sizeof out->collection);
}

static int open_draft(const struct collection_owner *owner, const struct reference *ref,
                      bool must_ask, struct draft *out, struct error *err)
{
    struct decision decision;
    draft_begin(owner, ref, out);
    int rc = policy_decide(owner->verify->policy, ref, &decision, err);
    if (!rc)
        rc = trust_session_open_for_owner(owner->verify, ref, &decision, must_ask, &out->session,
                                          err);
    if (rc)
        return rc;
    out->connected = true;
    memcpy(out->collection, out->session.collection, sizeof out->collection);
    return OK;
}

int draft_open(const struct collection_owner *owner, const struct reference *ref, struct draft *out,
               struct error *err)
{
    return open_draft(owner, ref, true, out, err);
}

int draft_open_to_look(const struct collection_owner *owner, const struct reference *ref,
                       struct draft *out, struct error *err)
{
    return open_draft(owner, ref, false, out, err);
}

void draft_close(struct draft *d)
{
    forget_files(d);
    for (size_t i = 0; i < d->n_base; i++) {
        free(d->base[i].role);
        free(d->base[i].delegator);
        tuf_metadata_free(d->base[i].metadata);
    }
    free(d->base);
    d->base = NULL;
    d->n_base = 0;
    if (d->connected)
        trust_session_close(&d->session);
    d->connected = false;
}

int draft_reset(struct draft *d, struct error *err)
{
    forget_files(d);
    return trust_session_refresh(&d->session, err);
}

/* --- what is published --- */

static struct tuf_trusted *view(const struct draft *d)
{
    return d->session.view.trusted;
}

static const struct tuf_metadata *find_base(const struct draft *d, const char *role)
{
    for (size_t i = 0; i < d->n_base; i++)
        if (strcmp(d->base[i].role, role) == 0)
            return d->base[i].metadata;
    return NULL;
}

static const struct tuf_metadata *published_root(const struct draft *d)
{
    return d->connected ? tuf_trusted_root(view(d)) : find_base(d, "root");
}

/* --- next versions --- */

static struct draft_file *find_file(const struct draft *d, const char *role)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->files[i].role, role) == 0)
            return &d->files[i];
    return NULL;
}

int64_t draft_expiry(const struct draft *d, enum tuf_type type)
{
    int64_t usual = type == TUF_ROOT ? COLLECTION_ROOT_LIFETIME_S : COLLECTION_TARGETS_LIFETIME_S;
    return d->now_s + (d->lifetime_s ? d->lifetime_s : usual);
}

/* A role that was delegated once and taken back goes on where it was: its name never left the
 * snapshot (TUF 5.5.5). */
static int64_t first_version(const struct draft *d, const char *role)
{
    const struct tuf_meta *gone = d->connected ? tuf_trusted_wanted(view(d), role) : NULL;
    return gone ? gone->version + 1 : 1;
}

static int next_tree(const struct draft *d, enum tuf_type type, struct draft_file *f,
                     struct error *err)
{
    char when[CLOCK_TEXT_MAX];
    int64_t expires = draft_expiry(d, type);
    if (!f->before)
        return tuf_compose(type, d->collection, f->role, first_version(d, f->role), d->now_s,
                           expires, &f->tree, err);
    f->tree = js_dup(tuf_metadata_signed(f->before));
    if (!f->tree)
        return fail_nomem(err);
    int rc = js_set(f->tree, "version", js_int_new(tuf_metadata_version(f->before) + 1), err);
    return rc ? rc : js_set(f->tree, "expires", js_text_new(clock_format(expires, when)), err);
}

static int add_file(struct draft *d, enum tuf_type type, const char *role, const char *delegator,
                    const struct tuf_metadata *before, struct js **tree, struct error *err)
{
    if (d->n == DRAFT_MAX_FILES)
        return fail(err, E_LIMIT, "more than %d files would change at once", DRAFT_MAX_FILES);
    struct draft_file *files = reallocarray(d->files, d->n + 1, sizeof *files);
    if (!files)
        return fail_nomem(err);
    d->files = files;
    struct draft_file f = {
        .role = strdup(role), .delegator = delegator ? strdup(delegator) : NULL, .before = before};
    int rc = f.role && (!delegator || f.delegator) ? OK : fail_nomem(err);
    if (!rc)
        rc = next_tree(d, type, &f, err);
    if (rc) {
        file_done(&f);
        return rc;
    }
    *tree = f.tree;
    d->files[d->n++] = f;
    return OK;
}

int draft_root(struct draft *d, struct js **tree, struct error *err)
{
    const struct draft_file *f = find_file(d, "root");
    if (!f)
        return add_file(d, TUF_ROOT, "root", NULL, published_root(d), tree, err);
    *tree = f->tree;
    return OK;
}

static bool delegates(const struct draft *d, const char *delegator, const char *role)
{
    const struct tuf_metadata *m = tuf_trusted_targets(view(d), delegator);
    return m && tuf_targets_authority(m, role);
}

int draft_role(struct draft *d, const char *role, const char *delegator, struct js **tree,
               struct error *err)
{
    const struct draft_file *f = find_file(d, role);
    const struct tuf_metadata *before = NULL;
    if (f) {
        *tree = f->tree;
        return OK;
    }
    int rc = OK;
    if (d->connected && !delegator)
        rc = draft_published(d, role, &before, &delegator, err);
    else if (d->connected && delegates(d, delegator, role))
        rc = draft_fetch(d, role, delegator, &before, err);
    else if (!d->connected)
        before = find_base(d, role);
    return rc ? rc : add_file(d, TUF_TARGETS, role, delegator, before, tree, err);
}

/* --- whose signatures --- */

static int parse_tree(struct draft_file *f, struct error *err)
{
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    enum tuf_type type = strcmp(f->role, "root") == 0 ? TUF_ROOT : TUF_TARGETS;
    tuf_metadata_free(f->after);
    f->after = NULL;
    int rc = tuf_compose_file(f->tree, NULL, 0, &file, err);
    if (!rc && file.len > tuf_type_max_bytes(type))
        rc = fail(err, E_LIMIT, "'%s' would have %zu bytes, stock clients take %zu%s", f->role,
                  file.len, tuf_type_max_bytes(type),
                  type == TUF_TARGETS ? "; 'bulla trust split' makes bins of it" : "");
    if (!rc)
        rc = tuf_metadata_parse(type, file.data, file.len, &f->after, err);
    return wrap(err, rc, "the new '%s'", f->role);
}

static const struct tuf_metadata *root_after(const struct draft *d)
{
    const struct draft_file *f = find_file(d, "root");
    return f ? f->after : published_root(d);
}

/* Nobody else can sign for these. */
#define ROOT_IN_FORCE "root (keys in force)"

static void add_authority(struct draft_file *f, const char *name, const struct tuf_keys *keys,
                          const struct tuf_role_keys *role)
{
    f->authorities[f->n_authorities++] = (struct draft_authority){name, keys, role};
}

static int find_authorities(const struct draft *d, struct draft_file *f, struct error *err)
{
    const struct tuf_metadata *root = root_after(d);
    f->n_authorities = 0;
    if (!root)
        return fail(err, E_INVALID, "there is no root that names keys");
    if (strcmp(f->role, "root") == 0) { /* TUF 5.3.4 */
        if (f->before)
            add_authority(f, ROOT_IN_FORCE, tuf_root_keys(f->before),
                          tuf_root_role(f->before, TUF_ROOT));
        add_authority(f, "root (new keys)", tuf_root_keys(root), tuf_root_role(root, TUF_ROOT));
        return OK;
    }
    if (!f->delegator) {
        add_authority(f, f->role, tuf_root_keys(root), tuf_root_role(root, TUF_TARGETS));
        return OK;
    }
    const struct draft_file *from = find_file(d, f->delegator);
    const struct tuf_metadata *m = from           ? from->after
                                   : d->connected ? tuf_trusted_targets(view(d), f->delegator)
                                                  : find_base(d, f->delegator);
    const struct tuf_role_keys *role = m ? tuf_targets_authority(m, f->role) : NULL;
    if (!role)
        return fail(err, E_INVALID, "'%s' does not delegate to '%s'", f->delegator, f->role);
    add_authority(f, f->role, tuf_targets_keys(m), role);
    return OK;
}

int draft_compile(struct draft *d, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < d->n; i++)
        rc = parse_tree(&d->files[i], err);
    for (size_t i = 0; !rc && i < d->n; i++)
        rc = find_authorities(d, &d->files[i], err);
    return rc;
}

/* A split makes hundreds of them, and a person reads for what matters. */
static bool is_empty_bin(const struct draft *d, const struct draft_file *f)
{
    const struct draft_file *from = f->delegator ? find_file(d, f->delegator) : NULL;
    const struct tuf_bins *bins = from ? tuf_targets_bins(from->after) : NULL;
    return !f->before && bins && tuf_bins_has(bins, f->role) && !tuf_targets_count(f->after);
}

int draft_describe(const struct draft *d, struct bytes *out, struct error *err)
{
    size_t n_empty = 0;
    int rc = OK;
    for (size_t i = 0; !rc && i < d->n; i++) {
        const struct draft_file *f = &d->files[i];
        if (is_empty_bin(d, f))
            n_empty++;
        else
            rc = difference_describe(f->role, f->before, f->after, out, err);
    }
    if (!rc && n_empty)
        rc = bytes_append_format(out, err, "empty bins: %zu\n", n_empty);
    return rc;
}

/* --- signing and publishing --- */

bool draft_wants_key(const struct draft_file *f, const char *key_id)
{
    for (size_t i = 0; i < f->n_authorities; i++)
        if (role_keys_list(f->authorities[i].role, key_id))
            return true;
    return false;
}

static int check_keys(const struct draft *d, const struct role_signers *signers, struct error *err)
{
    for (size_t i = 0; i < signers->n; i++) {
        bool wanted = false;
        for (size_t k = 0; !wanted && k < d->n; k++)
            wanted = draft_wants_key(&d->files[k], signers->info[i].id);
        if (!wanted)
            return fail(err, E_USAGE, "%s is not a key of role '%s' (its id is %s)",
                        signers->info[i].label, d->files[0].role, signers->info[i].id);
    }
    return OK;
}

/* Those that were there, but for keys that sign anew, then the new ones. */
static int merge_signatures(const struct js *old, const struct js *fresh, struct js **out,
                            struct error *err)
{
    CLEANUP(js_cleanup) struct js *all = js_array_new();
    int rc = all ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < js_count(old); i++) {
        const char *id = js_text(js_get(js_at(old, i), "keyid"));
        bool again = false;
        for (size_t k = 0; k < js_count(fresh); k++) {
            const char *new_id = js_text(js_get(js_at(fresh, k), "keyid"));
            again |= id && new_id && strcmp(id, new_id) == 0;
        }
        if (!again)
            rc = js_push(all, js_dup(js_at(old, i)), err);
    }
    for (size_t k = 0; !rc && k < js_count(fresh); k++)
        rc = js_push(all, js_dup(js_at(fresh, k)), err);
    if (!rc)
        *out = TAKE_PTR(all);
    return rc;
}

static int add_signatures(struct draft_file *f, const struct tuf_signer *signers, size_t n,
                          struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *file = NULL, *all = NULL;
    int rc = tuf_compose_file(f->tree, signers, n, &text, err);
    if (!rc)
        rc = js_parse(text.data, text.len, &file, err);
    if (!rc)
        rc = merge_signatures(f->signatures, js_get(file, "signatures"), &all, err);
    if (rc)
        return rc;
    js_free(f->signatures);
    f->signatures = TAKE_PTR(all);
    return OK;
}

int draft_write_file(struct draft_file *f, struct error *err)
{
    CLEANUP(js_cleanup) struct js *file = js_object_new();
    int rc = file ? js_set(file, "signatures",
                           f->signatures ? js_dup(f->signatures) : js_array_new(), err)
                  : fail_nomem(err);
    if (!rc)
        rc = js_set(file, "signed", js_dup(f->tree), err);
    bytes_clear(&f->signed_file);
    return rc ? rc : js_write(file, false, &f->signed_file, err);
}

static void announce_tokens(const struct draft *d, const struct role_signers *signers)
{
    for (size_t k = 0; d->owner->about_to_sign && k < signers->n; k++) {
        size_t n = 0;
        for (size_t i = 0; i < d->n; i++)
            n += draft_wants_key(&d->files[i], signers->info[k].id);
        if (n && signing_key_on_token(signers->keys[k]))
            d->owner->about_to_sign(d->owner->context, signers->info[k].label, n);
    }
}

int draft_sign(struct draft *d, const struct role_signers *signers, struct error *err)
{
    int rc = check_keys(d, signers, err);
    if (!rc)
        announce_tokens(d, signers);
    for (size_t i = 0; !rc && i < d->n; i++) {
        struct tuf_signer chosen[COLLECTION_MAX_KEYS];
        size_t n = 0;
        for (size_t k = 0; k < signers->n; k++)
            if (draft_wants_key(&d->files[i], signers->info[k].id))
                chosen[n++] = signers->signers[k];
        rc = add_signatures(&d->files[i], chosen, n, err);
        if (!rc)
            rc = draft_write_file(&d->files[i], err);
    }
    return rc;
}

int draft_count_signatures(const struct draft_file *f, const struct draft_authority *a, size_t *n,
                           struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct error why = ERROR_INIT;
    int rc = tuf_metadata_parse(tuf_metadata_type(f->after), f->signed_file.data,
                                f->signed_file.len, &m, err);
    if (rc)
        return rc;
    *n = 0;
    rc = tuf_verify_threshold(m, a->keys, a->role, NULL, 0, n, &why);
    if (rc && rc != E_SIGNATURE)
        return fail(err, rc, "%s", why.message);
    return OK;
}

int draft_check_signatures(const struct draft *d, struct error *err)
{
    for (size_t k = 0; k < d->n; k++)
        for (size_t i = 0; i < d->files[k].n_authorities; i++) {
            const struct draft_authority *a = &d->files[k].authorities[i];
            size_t n = 0;
            int rc = draft_count_signatures(&d->files[k], a, &n, err);
            if (rc)
                return rc;
            if (n < (uint64_t)a->role->threshold)
                return fail(err, E_SIGNATURE,
                            "role '%s' needs signatures of %" PRId64
                            " keys, %zu given; name more with --key, or 'bulla trust "
                            "add-signature' adds them to a staged change%s",
                            a->name, a->role->threshold, n,
                            strcmp(a->name, ROOT_IN_FORCE) == 0
                                ? "; where fewer are left, only a new collection with a new "
                                  "anchor helps"
                                : "");
        }
    return OK;
}

/* --- publishing --- */

int draft_check_base(const struct draft *d, struct draft *now, struct error *err)
{
    for (size_t i = 0; i < d->n_base; i++) {
        const struct draft_base *base = &d->base[i];
        const struct tuf_metadata *m = tuf_trusted_root(view(now));
        int rc = OK;
        if (strcmp(base->role, "root") != 0)
            rc = draft_fetch(now, base->role, base->delegator, &m, err);
        if (rc)
            return rc;
        const struct bytes *was = tuf_metadata_bytes(base->metadata);
        const struct bytes *is = m ? tuf_metadata_bytes(m) : NULL;
        if (!is || !bytes_equal(was->data, was->len, is->data, is->len))
            return fail(err, E_CONFLICT,
                        "'%s' was published anew since the change was staged: stage it again",
                        base->role);
    }
    return OK;
}

static int post(const struct draft *d, struct remote *remote, struct error *err)
{
    CLEANUP(cleanup_free) struct remote_file *files = calloc(d->n + 1, sizeof *files);
    if (!files)
        return fail_nomem(err);
    for (size_t i = 0; i < d->n; i++) {
        const struct draft_file *f = &d->files[i];
        files[i] = (struct remote_file){f->role, f->signed_file.data, f->signed_file.len};
    }
    return remote_trust_post(remote, d->ref.repository, files, d->n, err);
}

static int post_alone(const struct draft *d, struct error *err)
{
    CLEANUP(remote_cleanup) struct remote *remote = NULL;
    struct remote_options options = {.host = d->ref.host,
                                     .ca_file = d->owner->verify->ca_file,
                                     .auth_file = d->owner->verify->auth_file};
    int rc = remote_open(&options, &remote, err);
    return rc ? rc : post(d, remote, err);
}

/* The signed list of what is published must name just these files, or newer ones. */
static int check_listed(const struct draft *now, const struct draft_file *f, struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(view(now));
    int64_t version = tuf_metadata_version(f->after), listed = tuf_metadata_version(root);
    int rc = OK;
    if (strcmp(f->role, "root") != 0) {
        const struct tuf_meta *meta = tuf_trusted_wanted(view(now), f->role);
        listed = meta ? meta->version : 0;
        if (listed == version)
            rc = tuf_meta_check(meta, f->signed_file.data, f->signed_file.len, true, err);
    }
    if (!rc && listed < version)
        rc = fail(err, E_CONFLICT, "the registry took '%s' and does not show it", f->role);
    return rc;
}

/* What was published is what a verifier gets: see it before saying so. */
static int confirm(const struct draft *d, struct draft *now, struct error *err)
{
    int rc = trust_session_refresh(&now->session, err);
    for (size_t i = 0; !rc && i < d->n; i++)
        rc = check_listed(now, &d->files[i], err);
    return wrap(err, rc, "after publishing");
}

int draft_publish_on(struct draft *d, struct draft *connected, struct error *err)
{
    struct remote *remote;
    int rc = trust_session_remote(&connected->session, &remote, err);
    if (!rc)
        rc = post(d, remote, err);
    if (rc)
        return rc;
    rc = confirm(d, connected, err);
    if (!rc)
        rc = trust_store_note_published(connected->session.store, err);
    /* What was published is not undone by a second try. */
    return rc == E_CONFLICT ? fail(err, E_INTERNAL, "%s", err->message) : rc;
}

int draft_publish(struct draft *d, struct error *err)
{
    return draft_publish_on(d, d, err);
}

/* A file from another machine must not move a pin, whatever the registry says to it. */
static int check_pin(const struct draft *d, const struct bytes *root, struct error *err)
{
    CLEANUP(bytes_done) struct bytes pinned = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = trust_pin_read(d->owner->verify->home, d->ref.host, d->ref.repository, &pinned, &why);
    if (rc == E_NOTFOUND)
        return OK;
    if (rc)
        return fail(err, rc, "%s", why.message);
    return bytes_equal(pinned.data, pinned.len, root->data, root->len)
               ? OK
               : fail(err, E_EXISTS,
                      "another root is pinned here for '%s/%s'; where that collection is gone for "
                      "good, remove '%s/trust/pins/%s/%s'",
                      d->ref.host, d->ref.repository, d->owner->verify->home, d->ref.host,
                      d->ref.repository);
}

int draft_publish_first(struct draft *d, struct error *err)
{
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT;
    struct decision decision = {.max_age_s = -1};
    struct draft now;
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->files[i].role, "root") == 0 &&
            bytes_append(&root, d->files[i].signed_file.data, d->files[i].signed_file.len, err))
            return fail_nomem(err);
    int rc = check_pin(d, &root, err);
    if (!rc)
        rc = post_alone(d, err);
    if (!rc)
        rc = trust_pin_write(d->owner->verify->home, d->ref.host, d->ref.repository, &root, err);
    if (rc)
        return rc;
    draft_begin(d->owner, &d->ref, &now);
    memcpy(decision.collection, d->collection, sizeof decision.collection);
    rc = trust_session_open(d->owner->verify, &d->ref, &decision, &now.session, err);
    if (!rc) {
        rc = trust_store_note_published(now.session.store, err);
        trust_session_close(&now.session);
    }
    return wrap(err, rc, "published, but not as a verifier needs it");
}

/* Signing a tag into a role of a collection. */
#include "base/clock.h"
#include "signer/collection_keys.h"

#include <inttypes.h>
#include <string.h>

#define MAX_REBASES 5

struct signing {
    const struct collection_owner *owner;
    const struct collection_sign_options *options;
    const char *role;
    struct trust_session session;
    struct role_signers signers;
    struct collection_sign_result *result;
};

/* Keys of the role, and the role's current metadata. */
static int find_role(struct signing *s, const struct tuf_role_keys **keys,
                     const struct tuf_metadata **current, struct error *err)
{
    struct tuf_trusted *t = s->session.view.trusted;
    const struct tuf_metadata *top = tuf_trusted_targets(t, "targets");
    if (strcmp(s->role, "targets") == 0) {
        *keys = tuf_root_role(tuf_trusted_root(t), TUF_TARGETS);
        *current = top;
        return OK;
    }
    for (size_t i = 0; i < tuf_targets_n_delegations(top); i++) {
        const struct tuf_delegation *d = tuf_targets_delegation(top, i);
        if (strcmp(d->name, s->role) != 0)
            continue;
        if (!tuf_delegation_covers(d, s->options->target))
            return fail(err, E_USAGE, "role '%s' may not vouch for '%s'", s->role,
                        s->options->target);
        *keys = &d->keys;
        *current = NULL;
        if (!tuf_trusted_wanted(t, s->role))
            return OK; /* delegated, never signed: this is its version 1 */
        int rc = trust_need_role(&s->session.view, s->session.store, &s->session.source, s->role,
                                 "targets", err);
        if (!rc)
            *current = tuf_trusted_targets(t, s->role);
        return rc;
    }
    return fail(err, E_USAGE, "collection '%s' has no role '%s'", s->session.collection, s->role);
}

static int open_keys(struct signing *s, const struct tuf_role_keys *role, struct error *err)
{
    if (s->signers.n)
        return OK; /* a rebase keeps the keys open: nobody types a PIN twice */
    const struct collection_sign_options *o = s->options;
    return o->n_keys ? role_signers_open(s->owner, o->keys, o->n_keys, &s->signers, err)
                     : role_signers_find(s->owner, role, s->role, &s->signers, err);
}

static int check_keys(const struct signing *s, const struct tuf_role_keys *role, struct error *err)
{
    for (size_t i = 0; i < s->signers.n; i++) {
        bool listed = false;
        for (size_t k = 0; k < role->n_ids; k++)
            listed |= strcmp(role->ids[k].text, s->signers.signers[i].id.text) == 0;
        if (!listed)
            return fail(err, E_USAGE, "%s is not a key of role '%s' (its id is %s)",
                        s->signers.info[i].label, s->role, s->signers.info[i].id);
    }
    if ((int64_t)s->signers.n < role->threshold)
        return fail(err, E_SIGNATURE,
                    "role '%s' needs signatures of %" PRId64
                    " keys, %zu given; name more with --key",
                    s->role, role->threshold, s->signers.n);
    return OK;
}

static void note_previous(struct signing *s, const struct tuf_metadata *current)
{
    struct tuf_target t;
    s->result->replaced = false;
    s->result->already = false;
    if (!current || !tuf_targets_find(current, s->options->target, &t))
        return;
    s->result->previous = t.sha256;
    s->result->already = digest_equal(&t.sha256, &s->options->manifest.digest) &&
                         t.length == s->options->manifest.size;
    s->result->replaced = !s->result->already;
}

/* The current tree (or a fresh one), one version on, with the target in it. */
static int next_tree(struct signing *s, const struct tuf_metadata *current, struct js **out,
                     struct error *err)
{
    const struct collection_sign_options *o = s->options;
    char when[CLOCK_TEXT_MAX];
    int64_t now = clock_now_s();
    int64_t lifetime = o->lifetime_s ? o->lifetime_s : COLLECTION_TARGETS_LIFETIME_S;
    CLEANUP(js_cleanup) struct js *tree = NULL;
    int rc = OK;
    s->result->version = current ? tuf_metadata_version(current) + 1 : 1;
    s->result->expires_s = now + lifetime;
    if (current) {
        tree = js_dup(tuf_metadata_signed(current));
        rc = tree ? js_set(tree, "version", js_int_new(s->result->version), err) : fail_nomem(err);
        if (!rc)
            rc =
                js_set(tree, "expires", js_text_new(clock_format(s->result->expires_s, when)), err);
    } else {
        rc = tuf_compose(TUF_TARGETS, s->session.collection, s->role, 1, now, s->result->expires_s,
                         &tree, err);
    }
    if (!rc)
        rc = tuf_compose_target(tree, o->target, &o->manifest.digest, o->manifest.size,
                                o->manifest.media_type, err);
    if (!rc)
        *out = TAKE_PTR(tree);
    return rc;
}

static int publish(struct signing *s, const struct js *tree, struct error *err)
{
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    struct remote *remote;
    int rc = tuf_compose_file(tree, s->signers.signers, s->signers.n, &file, err);
    if (!rc && file.len > TUF_MAX_TARGETS_BYTES)
        rc = fail(err, E_LIMIT, "role '%s' would have %zu bytes, stock clients take %u", s->role,
                  file.len, TUF_MAX_TARGETS_BYTES);
    if (!rc)
        rc = trust_session_remote(&s->session, &remote, err);
    if (rc)
        return rc;
    const struct remote_file change = {s->role, file.data, file.len};
    return remote_trust_post(remote, s->session.repository, &change, 1, err);
}

/* One try on top of the current view. */
static int sign_once(struct signing *s, struct error *err)
{
    const struct tuf_role_keys *role = NULL;
    const struct tuf_metadata *current = NULL;
    CLEANUP(js_cleanup) struct js *tree = NULL;
    int rc = find_role(s, &role, &current, err);
    if (rc)
        return rc;
    note_previous(s, current);
    if (s->result->already) {
        s->result->version = tuf_metadata_version(current);
        s->result->expires_s = tuf_metadata_expires(current);
        return OK;
    }
    rc = open_keys(s, role, err);
    if (!rc)
        rc = check_keys(s, role, err);
    if (!rc)
        rc = next_tree(s, current, &tree, err);
    return rc ? rc : publish(s, tree, err);
}

/* Success is said only of what a verifier now sees. */
static int confirm(struct signing *s, struct error *err)
{
    struct tuf_found found;
    int rc = trust_session_refresh(&s->session, err);
    if (!rc)
        rc = trust_find(&s->session.view, s->session.store, &s->session.source, s->options->target,
                        &found, err);
    if (!rc && !digest_equal(&found.target.sha256, &s->options->manifest.digest))
        rc =
            fail(err, E_CONFLICT,
                 "published, but role '%s' comes first and vouches for another digest", found.role);
    return wrap(err, rc, "after publishing '%s'", s->options->target);
}

static int sign_and_rebase(struct signing *s, struct error *err)
{
    for (;;) {
        int rc = sign_once(s, err);
        if (rc != E_CONFLICT || s->result->n_rebased >= MAX_REBASES)
            return rc;
        s->result->n_rebased++;
        rc = trust_session_refresh(&s->session, err);
        if (rc)
            return rc;
    }
}

int collection_sign(const struct collection_owner *owner, const struct reference *ref,
                    const struct collection_sign_options *options,
                    struct collection_sign_result *result, struct error *err)
{
    struct signing s = {.owner = owner,
                        .options = options,
                        .result = result,
                        .role = options->role ? options->role : "targets"};
    struct decision decision;
    memset(result, 0, sizeof *result);
    if (!tuf_target_name_valid(options->target))
        return fail(err, E_USAGE, "'%s' is no tag and no digest", options->target);
    int rc = policy_decide(owner->verify->policy, ref, &decision, err);
    if (!rc)
        rc = trust_session_open(owner->verify, ref, &decision, &s.session, err);
    if (rc)
        return rc;
    rc = sign_and_rebase(&s, err);
    if (!rc && !result->already)
        rc = confirm(&s, err);
    memcpy(result->keys, s.signers.info, sizeof result->keys);
    result->n_keys = s.signers.n;
    role_signers_done(&s.signers);
    trust_session_close(&s.session);
    return rc;
}

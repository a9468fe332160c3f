/* Signing a tag into a role of a collection. */
#include "signer/collection_change.h"

#include <inttypes.h>
#include <string.h>

struct signing {
    const struct collection_sign_options *options;
    const char *role;
    struct collection_sign_result *result;
};

/* Where the role's delegation does not cover the target, nobody would find it there. */
static int check_scope(const struct draft *d, const struct signing *s, const char *delegator,
                       struct error *err)
{
    const struct tuf_metadata *m =
        delegator ? tuf_trusted_targets(d->session.view.trusted, delegator) : NULL;
    for (size_t i = 0; m && i < tuf_targets_n_delegations(m); i++) {
        const struct tuf_delegation *delegation = tuf_targets_delegation(m, i);
        if (strcmp(delegation->name, s->role) == 0 &&
            !tuf_delegation_covers(delegation, s->options->target))
            return fail(err, E_USAGE, "role '%s' may not vouch for '%s'", s->role,
                        s->options->target);
    }
    return OK;
}

static void note_previous(const struct signing *s, const struct tuf_metadata *current)
{
    struct collection_sign_result *r = s->result;
    struct tuf_target t;
    r->replaced = false;
    r->already = false;
    if (!current || !tuf_targets_find(current, s->options->target, &t))
        return;
    r->previous = t.sha256;
    r->already = digest_equal(&t.sha256, &s->options->manifest.digest) &&
                 t.length == s->options->manifest.size;
    r->replaced = !r->already;
    if (!r->already)
        return;
    r->version = tuf_metadata_version(current);
    r->expires_s = tuf_metadata_expires(current);
}

/* The file that holds the target: the role's own, or its bin's. */
struct holder {
    char role[TUF_BIN_NAME_MAX];
    const char *delegator;
    const struct tuf_metadata *current;
    bool is_bin;
};

static int find_holder(struct draft *d, const struct signing *s, struct holder *out,
                       struct error *err)
{
    uint64_t bin = 0;
    int rc = draft_published(d, s->role, &out->current, &out->delegator, err);
    if (!rc)
        rc = check_scope(d, s, out->delegator, err);
    if (rc)
        return rc;
    const struct tuf_bins *bins = out->current ? tuf_targets_bins(out->current) : NULL;
    (void)snprintf(out->role, sizeof out->role, "%s", s->role);
    if (!bins)
        return OK;
    rc = tuf_bins_find(bins, s->options->target, &bin, err);
    if (rc)
        return rc;
    tuf_bins_name(bins, bin, out->role);
    out->is_bin = true;
    out->delegator = s->role;
    return draft_fetch(d, out->role, out->delegator, &out->current, err);
}

static int change_sign(struct draft *d, void *context, struct error *err)
{
    const struct signing *s = context;
    const struct collection_sign_options *o = s->options;
    struct holder holder = {.current = NULL};
    struct js *tree = NULL;
    int rc = find_holder(d, s, &holder, err);
    if (rc)
        return rc;
    note_previous(s, holder.current);
    if (s->result->already)
        return OK;
    rc = draft_role(d, holder.role, holder.delegator, &tree, err);
    if (!rc)
        rc = tuf_compose_target(tree, o->target, &o->manifest.digest, o->manifest.size,
                                o->manifest.media_type, err);
    if (rc)
        return rc;
    s->result->version = js_number(js_get(tree, "version"));
    s->result->expires_s = draft_expiry(d, TUF_TARGETS);
    s->result->n_tags = holder.is_bin ? 0 : js_count(js_get(tree, "targets"));
    return OK;
}

/* Success is said only of what a verifier now sees. */
static int confirm(struct draft *d, void *context, struct error *err)
{
    const struct signing *s = context;
    struct trust_session *session = &d->session;
    struct tuf_found found;
    int rc = trust_find(&session->view, session->store, &session->source, s->options->target,
                        &found, err);
    if (!rc && !digest_equal(&found.target.sha256, &s->options->manifest.digest))
        rc =
            fail(err, E_INTERNAL,
                 "published, but role '%s' comes first and vouches for another digest", found.role);
    return wrap(err, rc, "after publishing '%s'", s->options->target);
}

int collection_sign(const struct collection_owner *owner, const struct reference *ref,
                    const struct collection_sign_options *options,
                    struct collection_sign_result *result, struct error *err)
{
    struct signing s = {
        .options = options, .result = result, .role = options->role ? options->role : "targets"};
    struct collection_publish publish = {.keys = options->keys,
                                         .n_keys = options->n_keys,
                                         .lifetime_s = options->lifetime_s,
                                         .believe = options->believe,
                                         .confirm = confirm};
    struct collection_changed changed;
    memset(result, 0, sizeof *result);
    if (!tuf_target_name_valid(options->target))
        return fail(err, E_USAGE, "'%s' is no tag and no digest", options->target);
    if (options->manifest.digest.alg != DIGEST_SHA256)
        return fail(
            err, E_UNSUPPORTED,
            "a tag is signed by its manifest's SHA-256: push the image with sha256 digests");
    int rc = collection_apply(owner, ref, &publish, change_sign, &s, &changed, err);
    result->n_rebased = changed.n_rebased;
    memcpy(result->keys, changed.keys, sizeof result->keys);
    result->n_keys = changed.n_keys;
    bytes_done(&changed.summary);
    return rc;
}

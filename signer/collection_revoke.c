/* Renewing what expires, and revoking tags and digests. */
#include "signer/collection_change.h"

#include "base/clock.h"
#include "tuf/edit.h"

#include <string.h>

#define RENEW_AHEAD_S (90 * 86400ll)

/* --- renew --- */

static int renew_role(struct draft *d, const char *role, struct error *err)
{
    const struct tuf_metadata *m = NULL;
    struct js *tree = NULL;
    if (strcmp(role, "root") == 0)
        return draft_root(d, &tree, err);
    if (strcmp(role, "snapshot") == 0 || strcmp(role, "timestamp") == 0)
        return fail(err, E_USAGE, "the signing service renews '%s' by itself", role);
    int rc = draft_published(d, role, &m, NULL, err);
    if (!rc && !m)
        return fail(err, E_USAGE, "nobody has signed role '%s' yet", role);
    return rc ? rc : draft_role(d, role, NULL, &tree, err);
}

static int renew_if_due(void *context, const char *role, const char *delegator,
                        const struct tuf_metadata *m, struct error *err)
{
    struct draft *d = context;
    struct js *tree = NULL;
    if (!m || tuf_metadata_expires(m) - d->now_s > RENEW_AHEAD_S)
        return OK;
    return draft_role(d, role, delegator, &tree, err);
}

int change_renew(struct draft *d, void *context, struct error *err)
{
    const struct change_renew *c = context;
    const struct tuf_metadata *root = tuf_trusted_root(d->session.view.trusted);
    struct js *tree = NULL;
    int rc = OK;
    for (size_t i = 0; !rc && i < c->n_roles; i++)
        rc = renew_role(d, c->roles[i], err);
    if (rc || c->n_roles)
        return rc;
    if (tuf_metadata_expires(root) - d->now_s <= RENEW_AHEAD_S)
        rc = draft_root(d, &tree, err);
    const struct draft_walk walk = {.visit = renew_if_due, .context = d, .all_bins = true};
    return rc ? rc : draft_walk(d, &walk, err);
}

/* --- revoke a tag --- */

struct removal {
    struct draft *draft;
    const struct change_revoke *change;
    size_t n;
};

static bool names_it(const struct change_revoke *c, const struct tuf_target *t)
{
    if (c->tag)
        return strcmp(t->name, c->tag) == 0;
    return digest_equal(&t->sha256, &c->digest) || digest_equal(&t->sha512, &c->digest);
}

static int remove_from(void *context, const char *role, const char *delegator,
                       const struct tuf_metadata *m, struct error *err)
{
    struct removal *removal = context;
    struct js *tree = NULL;
    int rc = OK;
    for (size_t i = 0; !rc && m && i < tuf_targets_count(m); i++) {
        struct tuf_target t;
        tuf_targets_at(m, i, &t);
        if (!names_it(removal->change, &t))
            continue;
        rc = draft_role(removal->draft, role, delegator, &tree, err);
        if (!rc)
            js_remove(js_edit(tree, "targets"), t.name);
        removal->n++;
    }
    return rc;
}

static const struct tuf_delegation *find_block(const struct tuf_metadata *targets)
{
    for (size_t i = 0; i < tuf_targets_n_delegations(targets); i++)
        if (strcmp(tuf_targets_delegation(targets, i)->name, CHANGE_BLOCK_ROLE) == 0)
            return tuf_targets_delegation(targets, i);
    return NULL;
}

/* The targets keys, by which the empty role is signed: they are the ones at hand. */
static int targets_keys(const struct draft *d, const struct public_key **keys,
                        struct tuf_compose_role *out, struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(d->session.view.trusted);
    const struct tuf_role_keys *role = tuf_root_role(root, TUF_TARGETS);
    const struct tuf_keys *table = tuf_root_keys(root);
    *out = (struct tuf_compose_role){keys, 0, role->threshold};
    for (size_t i = 0; i < table->n && out->n_keys < COLLECTION_MAX_KEYS; i++)
        if (role_keys_list(role, table->items[i].id.text) && table->items[i].key)
            keys[out->n_keys++] = table->items[i].key;
    return out->n_keys ? OK : fail(err, E_INVALID, "root names no usable targets key");
}

/* Tags must not be given to a role of that name which others can sign, or which has any. */
static int check_block(struct draft *d, const struct tuf_metadata *targets, struct error *err)
{
    const struct tuf_role_keys *mine =
        tuf_root_role(tuf_trusted_root(d->session.view.trusted), TUF_TARGETS);
    const struct tuf_delegation *block = find_block(targets);
    const struct tuf_metadata *m = NULL;
    bool ours = block->terminating && block->keys.threshold == mine->threshold;
    for (size_t i = 0; ours && i < block->keys.n_ids; i++)
        ours = role_keys_list(mine, block->keys.ids[i].text);
    int rc = draft_fetch(d, CHANGE_BLOCK_ROLE, "targets", &m, err);
    if (rc)
        return rc;
    if (ours && (!m || (tuf_targets_count(m) == 0 && tuf_targets_n_delegations(m) == 0)))
        return OK;
    return fail(err, E_USAGE,
                "a role '%s' that others sign stands where blocked tags go: 'bulla trust "
                "undelegate' it first",
                CHANGE_BLOCK_ROLE);
}

/*
 * A terminating delegation of exactly this tag to a role that vouches for nothing, asked before all
 * others: whoever signs the tag later in another role is not heard.
 */
static int block_tag(struct draft *d, const char *tag, struct error *err)
{
    const struct tuf_metadata *targets = tuf_trusted_targets(d->session.view.trusted, "targets");
    const struct public_key *keys[COLLECTION_MAX_KEYS];
    struct tuf_compose_delegation block = {
        .name = CHANGE_BLOCK_ROLE, .terminating = true, .paths = &tag, .n_paths = 1};
    struct js *tree = NULL, *empty = NULL;
    if (tuf_targets_bins(targets))
        return OK; /* nothing comes after the bins, and the bin has the tag no more: forget_all_but
                    */
    int rc = draft_role(d, "targets", NULL, &tree, err);
    if (rc)
        return rc;
    if (find_block(targets)) {
        rc = check_block(d, targets, err);
        if (rc)
            return rc;
        rc = tuf_edit_add_path(tree, CHANGE_BLOCK_ROLE, tag, err);
        return rc ? rc : tuf_edit_delegation_first(tree, CHANGE_BLOCK_ROLE, err);
    }
    rc = targets_keys(d, keys, &block.role, err);
    if (!rc)
        rc = tuf_compose_delegation(tree, &block, err);
    if (!rc)
        rc = tuf_edit_delegation_first(tree, CHANGE_BLOCK_ROLE, err);
    return rc ? rc : draft_role(d, CHANGE_BLOCK_ROLE, "targets", &empty, err);
}

static int forget_all_but(void *context, const char *role, const char *delegator,
                          const struct tuf_metadata *m, struct error *err)
{
    /* With --block only what is signed for `targets` itself is touched: nothing can be asked
     * before its bins. */
    const struct removal *removal = context;
    const struct tuf_bins *bins =
        tuf_targets_bins(tuf_trusted_targets(removal->draft->session.view.trusted, "targets"));
    bool own = !delegator || (bins && tuf_bins_has(bins, role));
    return own ? remove_from(context, role, delegator, m, err) : OK;
}

static int note_found(void *context, const char *role, const char *delegator,
                      const struct tuf_metadata *m, struct error *err)
{
    (void)role, (void)delegator, (void)err;
    struct removal *removal = context;
    struct tuf_target t;
    if (m && removal->change->tag && tuf_targets_find(m, removal->change->tag, &t))
        removal->n++;
    return OK;
}

static int revoke_tag(struct draft *d, const struct change_revoke *c, struct error *err)
{
    struct removal removal = {d, c, 0};
    struct draft_walk walk = {.visit = note_found, .context = &removal, .tag = c->tag};
    int rc = draft_walk(d, &walk, err);
    if (!rc && !removal.n)
        return fail(err, E_NOTFOUND, "no role vouches for '%s'", c->tag);
    walk.visit = c->block ? forget_all_but : remove_from;
    if (!rc)
        rc = draft_walk(d, &walk, err);
    return rc || !c->block ? rc : block_tag(d, c->tag, err);
}

/* --- ban a digest --- */

static int ban(struct draft *d, const struct change_revoke *c, struct error *err)
{
    const struct tuf_metadata *targets = tuf_trusted_targets(d->session.view.trusted, "targets");
    struct js *tree = NULL;
    if (tuf_targets_banned(targets, &c->digest))
        return OK;
    int rc = draft_role(d, "targets", NULL, &tree, err);
    return rc ? rc : tuf_edit_ban(tree, &c->digest, err);
}

int change_revoke(struct draft *d, void *context, struct error *err)
{
    const struct change_revoke *c = context;
    return c->tag ? revoke_tag(d, c, err) : ban(d, c, err);
}

/* Delegating roles, taking them back, and giving roles new keys. */
#include "signer/collection_change.h"

#include "tuf/edit.h"

#include <string.h>

static struct tuf_compose_role compose_role(const struct collection_role *r)
{
    return (struct tuf_compose_role){(const struct public_key *const *)r->keys, r->n_keys,
                                     r->threshold};
}

/* --- delegate --- */

static int check_new_role(const struct tuf_metadata *from, const struct change_delegate *c,
                          struct error *err)
{
    if (!tuf_role_name_valid(c->role))
        return fail(err, E_USAGE,
                    "'%s' is no role name: a-z first, then a-z 0-9 . _ -, at most %u, none of the "
                    "four top-level roles",
                    c->role, TUF_MAX_ROLE_NAME);
    if (strcmp(c->role, CHANGE_BLOCK_ROLE) == 0)
        return fail(err, E_USAGE, "role '%s' is where 'bulla trust revoke --block' puts tags",
                    c->role);
    if (!c->n_patterns)
        return fail(err, E_USAGE, "name the tags that '%s' may sign, as --tags 'v*'", c->role);
    if (from && tuf_targets_bins(from))
        return fail(err, E_USAGE, "'%s' is split into bins and cannot delegate",
                    c->from ? c->from : "targets");
    for (size_t i = 0; from && i < tuf_targets_n_delegations(from); i++)
        if (strcmp(tuf_targets_delegation(from, i)->name, c->role) == 0)
            return fail(err, E_EXISTS,
                        "role '%s' is delegated already; 'bulla trust rotate' gives it new keys, "
                        "'bulla trust undelegate' removes it",
                        c->role);
    return OK;
}

int change_delegate(struct draft *d, void *context, struct error *err)
{
    const struct change_delegate *c = context;
    const char *from = c->from ? c->from : "targets";
    const struct tuf_metadata *published = NULL;
    struct js *tree = NULL, *empty = NULL;
    struct tuf_compose_delegation delegation = {.name = c->role,
                                                .role = compose_role(c->keys),
                                                .terminating = c->terminating,
                                                .paths = c->patterns,
                                                .n_paths = c->n_patterns};
    bool gone = false;
    int rc = draft_published(d, from, &published, NULL, err);
    if (!rc)
        rc = check_new_role(published, c, err);
    if (!rc)
        rc = draft_has_gone(d, c->role, &gone, err);
    if (!rc)
        rc = draft_role(d, from, NULL, &tree, err);
    if (!rc)
        rc = tuf_compose_delegation(tree, &delegation, err);
    if (!rc && c->first)
        rc = tuf_edit_delegation_first(tree, c->role, err);
    /* The file of an earlier role of that name would count again, with all its tags. */
    if (!rc && gone)
        rc = draft_role(d, c->role, from, &empty, err);
    return rc;
}

/* --- undelegate --- */

int change_undelegate(struct draft *d, void *context, struct error *err)
{
    const struct change_undelegate *c = context;
    const struct tuf_metadata *published = NULL;
    const char *from = NULL;
    struct js *tree = NULL;
    int rc = draft_published(d, c->role, &published, &from, err);
    if (!rc && !from)
        return fail(err, E_USAGE, "'targets' is not delegated: root names its keys");
    if (!rc)
        rc = draft_role(d, from, NULL, &tree, err);
    return rc ? rc : tuf_edit_remove_delegation(tree, c->role, err);
}

/* --- rotate --- */

/* Blocked tags are signed by the targets keys: one that was stolen must not be able to vouch for
 * them after it was replaced. */
static int rotate_block(struct draft *d, struct js *targets, const struct tuf_compose_role *keys,
                        struct error *err)
{
    const struct tuf_metadata *published = tuf_trusted_targets(d->session.view.trusted, "targets");
    struct js *empty = NULL;
    bool blocks = false;
    for (size_t i = 0; published && i < tuf_targets_n_delegations(published); i++)
        blocks |= strcmp(tuf_targets_delegation(published, i)->name, CHANGE_BLOCK_ROLE) == 0;
    if (!blocks)
        return OK;
    int rc = tuf_edit_delegation_keys(targets, CHANGE_BLOCK_ROLE, keys, err);
    if (!rc)
        rc = draft_role(d, CHANGE_BLOCK_ROLE, "targets", &empty, err);
    return rc ? rc : js_set(empty, "targets", js_object_new(), err);
}

static int rotate_top_level(struct draft *d, enum tuf_type type,
                            const struct tuf_compose_role *keys, struct error *err)
{
    struct js *root = NULL, *targets = NULL;
    int rc = draft_root(d, &root, err);
    if (!rc)
        rc = tuf_edit_root_role(root, type, keys, err);
    if (rc || type != TUF_TARGETS)
        return rc;
    /* What the new keys have not signed would not verify any more. */
    rc = draft_role(d, "targets", NULL, &targets, err);
    return rc ? rc : rotate_block(d, targets, keys, err);
}

static int rotate_delegated(struct draft *d, const char *role, const struct tuf_compose_role *keys,
                            struct error *err)
{
    const struct tuf_metadata *published = NULL;
    const char *from = NULL;
    struct js *delegator = NULL, *tree = NULL;
    int rc = draft_published(d, role, &published, &from, err);
    if (!rc)
        rc = draft_role(d, from, NULL, &delegator, err);
    if (!rc)
        rc = tuf_edit_delegation_keys(delegator, role, keys, err);
    return rc || !published ? rc : draft_role(d, role, from, &tree, err);
}

/* Whose bins have this prefix as their name. */
struct bins_owner {
    const char *prefix;
    const char *role, *delegator; /* of the walk; NULL: nobody's */
    const struct tuf_bins *bins;
};

static int find_bins(void *context, const char *role, const char *delegator,
                     const struct tuf_metadata *m, struct error *err)
{
    (void)err;
    struct bins_owner *o = context;
    const struct tuf_bins *bins = m ? tuf_targets_bins(m) : NULL;
    if (bins && strcmp(bins->prefix, o->prefix) == 0) {
        o->role = role;
        o->delegator = delegator;
        o->bins = bins;
    }
    return OK;
}

/* All bins have the same keys, so all are signed anew. */
static int rotate_bins(struct draft *d, const struct bins_owner *o,
                       const struct tuf_compose_role *keys, struct error *err)
{
    struct js *owner = NULL, *tree = NULL;
    char name[TUF_BIN_NAME_MAX];
    int rc = draft_role(d, o->role, o->delegator, &owner, err);
    if (!rc)
        rc = tuf_edit_delegation_keys(owner, NULL, keys, err);
    for (uint64_t i = 0; !rc && i < tuf_bins_count(o->bins); i++) {
        tuf_bins_name(o->bins, i, name);
        rc = draft_role(d, name, o->role, &tree, err);
    }
    return rc;
}

int change_rotate(struct draft *d, void *context, struct error *err)
{
    const struct change_rotate *c = context;
    struct tuf_compose_role keys = compose_role(c->keys);
    if (strcmp(c->role, "root") == 0)
        return rotate_top_level(d, TUF_ROOT, &keys, err);
    if (strcmp(c->role, "targets") == 0)
        return rotate_top_level(d, TUF_TARGETS, &keys, err);
    struct bins_owner owner = {.prefix = c->role};
    const struct draft_walk walk = {.visit = find_bins, .context = &owner};
    int rc = draft_walk(d, &walk, err);
    if (rc || owner.role)
        return rc ? rc : rotate_bins(d, &owner, &keys, err);
    return rotate_delegated(d, c->role, &keys, err);
}

/* --- split --- */

/* A verifier that knows nothing yet fetches the snapshot, which lists all bins, and one bin. */
#define SNAPSHOT_ENTRY_BYTES UINT64_C(140)
#define TARGET_BYTES         UINT64_C(180)
#define MIN_BITS             1u
#define MAX_BITS             11u

static uint64_t cold_bytes(uint64_t n_tags, unsigned bits)
{
    return (SNAPSHOT_ENTRY_BYTES << bits) + ((n_tags * TARGET_BYTES) >> bits);
}

unsigned change_split_bits(uint64_t n_tags)
{
    uint64_t n = n_tags < UINT32_MAX ? n_tags : UINT32_MAX;
    unsigned bits = MIN_BITS;
    while (bits < MAX_BITS && cold_bytes(n, bits + 1) < cold_bytes(n, bits))
        bits++;
    return bits;
}

/* A split cannot be changed later, and too many bins cost less than too few. */
static unsigned bits_for(const struct change_split *c, size_t n_now)
{
    uint64_t expected = (uint64_t)n_now * 10;
    if (c->bits)
        return c->bits;
    if (expected < 10000)
        expected = 10000;
    return change_split_bits(c->n_tags ? c->n_tags : expected);
}

static int check_split(const struct change_split *c, const struct tuf_metadata *m,
                       struct error *err)
{
    if (!m)
        return fail(err, E_USAGE, "nobody has signed role '%s' yet: there is nothing to split",
                    c->role);
    if (tuf_targets_bins(m))
        return fail(err, E_EXISTS, "role '%s' is split already", c->role);
    if (tuf_targets_n_delegations(m))
        return fail(err, E_USAGE,
                    "role '%s' delegates to other roles and cannot have bins as well: delegate its "
                    "tags to a role of their own and split that one",
                    c->role);
    if (c->bits > MAX_BITS)
        return fail(err, E_USAGE, "at most 2^%u bins", MAX_BITS);
    return OK;
}

/* All bins are made, empty ones too: a client must find the one that is responsible. */
static int make_bins(struct draft *d, const struct change_split *c, const struct tuf_bins *bins,
                     struct js **trees, struct error *err)
{
    char name[TUF_BIN_NAME_MAX];
    int rc = OK;
    for (uint64_t i = 0; !rc && i < tuf_bins_count(bins); i++) {
        tuf_bins_name(bins, i, name);
        rc = draft_role(d, name, c->role, &trees[i], err);
    }
    return rc;
}

static int move_targets(const struct tuf_metadata *m, const struct tuf_bins *bins,
                        struct js *const *trees, struct error *err)
{
    const struct js *targets = js_get(tuf_metadata_signed(m), "targets");
    int rc = OK;
    js_foreach (targets, it) {
        uint64_t bin = 0;
        if (!rc)
            rc = tuf_bins_find(bins, it.key, &bin, err);
        if (!rc)
            rc = js_set(js_edit(trees[bin], "targets"), it.key, js_dup(it.value), err);
    }
    return rc;
}

int change_split(struct draft *d, void *context, struct error *err)
{
    const struct change_split *c = context;
    const struct tuf_metadata *published = NULL;
    struct js *tree = NULL;
    char prefix[TUF_MAX_ROLE_NAME + 8];
    (void)snprintf(prefix, sizeof prefix, "%s-bin", c->role);
    int rc = draft_published(d, c->role, &published, NULL, err);
    if (!rc)
        rc = check_split(c, published, err);
    if (rc)
        return rc;
    struct tuf_bins bins = {.prefix = prefix, .bits = bits_for(c, tuf_targets_count(published))};
    CLEANUP(cleanup_free) struct js **trees = calloc(tuf_bins_count(&bins), sizeof *trees);
    struct tuf_compose_bins compose = {prefix, bins.bits, compose_role(c->bin_keys)};
    rc = trees ? draft_role(d, c->role, NULL, &tree, err) : fail_nomem(err);
    if (!rc)
        rc = tuf_compose_bins(tree, &compose, err);
    if (!rc)
        rc = make_bins(d, c, &bins, trees, err);
    if (!rc)
        rc = move_targets(published, &bins, trees, err);
    return rc ? rc : js_set(tree, "targets", js_object_new(), err);
}

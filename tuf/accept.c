#include "tuf/accept.h"

#include "tuf/metadata_internal.h"

#include <inttypes.h>
#include <string.h>

#define MAX_WORK   ((size_t)1 << 30)  /* seconds, at most */
#define CHECK_COST ((size_t)64 << 10) /* of one signature, as bytes to hash */
#define MAX_ROLES  4096u /* reachable roles of one collection; keeps a snapshot under 1 MB */

/* What is and what is to be under one role name. */
struct slot {
    const char *role;
    const struct tuf_file *current, *change; /* change NULL: stays as it is */
    struct tuf_metadata *before, *after;     /* parsed when first needed */
    struct bytes read;                       /* of current, where its data were not given */
    bool was_reachable, is_reachable;
    bool was_bin;
};

struct walk {
    size_t *order; /* slots in the order they were reached */
    const char **names;
    size_t n;
};

struct accept {
    const struct tuf_accept_input *in;
    struct slot *slots;
    size_t n_slots;
    struct name_index index;
    struct walk old, new;
    size_t work; /* spent on verifying */
};

static void accept_done(struct accept *a)
{
    for (size_t i = 0; i < a->n_slots; i++) {
        tuf_metadata_free(a->slots[i].before);
        tuf_metadata_free(a->slots[i].after);
        bytes_done(&a->slots[i].read);
    }
    free(a->slots);
    free(a->index.refs);
    free(a->old.order);
    free(a->old.names);
    free(a->new.order);
    free(a->new.names);
}

/* --- files by role --- */

static struct slot *slot_of(struct accept *a, const char *role)
{
    size_t i = name_index_find(&a->index, role);
    return i == SIZE_MAX ? NULL : &a->slots[i];
}

static struct slot *add_slot(struct accept *a, const char *role)
{
    size_t i = a->n_slots++;
    a->slots[i].role = role;
    a->index.refs[i] = (struct name_ref){role, i};
    return &a->slots[i];
}

static void sort_slots(struct accept *a)
{
    for (size_t i = 0; i < a->n_slots; i++)
        a->index.refs[i] = (struct name_ref){a->slots[i].role, i};
    a->index.n = a->n_slots;
    name_index_sort(&a->index);
}

static bool may_be_published(const char *role)
{
    return strcmp(role, "root") == 0 || strcmp(role, "targets") == 0 || tuf_role_name_valid(role);
}

static int add_change(struct accept *a, const struct tuf_file *change, struct error *err)
{
    if (!may_be_published(change->role))
        return fail(err, E_INVALID, "'%s' cannot be published", change->role);
    struct slot *slot = slot_of(a, change->role);
    for (size_t i = a->in->n_current; !slot && i < a->n_slots; i++)
        if (strcmp(a->slots[i].role, change->role) == 0)
            slot = &a->slots[i];
    if (!slot)
        slot = add_slot(a, change->role);
    if (slot->change)
        return fail(err, E_INVALID, "'%s' is given twice", change->role);
    slot->change = change;
    return OK;
}

/* The bytes of the current file, read when they are first needed. */
static int current_bytes(const struct accept *a, struct slot *slot, const void **data, size_t *len,
                         struct error *err)
{
    bool given = slot->current->data != NULL;
    if (!given && (!a->in->settled || !a->in->read))
        return fail(err, E_INTERNAL, "current '%s' without its bytes", slot->role);
    if (!given && !slot->read.len) {
        int rc = a->in->read(a->in->read_context, slot->role, &slot->read, err);
        if (rc)
            return rc;
    }
    *data = given ? slot->current->data : slot->read.data;
    *len = given ? slot->current->len : slot->read.len;
    return OK;
}

static int drop_equal_changes(struct accept *a, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < a->n_slots; i++) {
        struct slot *slot = &a->slots[i];
        const void *data = NULL;
        size_t len = 0;
        if (!slot->current || !slot->change)
            continue;
        rc = current_bytes(a, slot, &data, &len, err);
        if (!rc && bytes_equal(data, len, slot->change->data, slot->change->len))
            slot->change = NULL;
    }
    return rc;
}

static int fill_slots(struct accept *a, struct error *err)
{
    const struct tuf_accept_input *in = a->in;
    if (in->n_changes > TUF_MAX_CHANGES)
        return fail(err, E_LIMIT, "%zu files, at most %d are published at once", in->n_changes,
                    TUF_MAX_CHANGES);
    a->slots = calloc(in->n_current + in->n_changes + 1, sizeof *a->slots);
    a->index.refs = calloc(in->n_current + in->n_changes + 1, sizeof *a->index.refs);
    if (!a->slots || !a->index.refs)
        return fail_nomem(err);
    for (size_t i = 0; i < in->n_current; i++)
        add_slot(a, in->current[i].role)->current = &in->current[i];
    sort_slots(a);
    for (size_t i = 1; i < a->index.n; i++)
        if (strcmp(a->index.refs[i - 1].name, a->index.refs[i].name) == 0)
            return fail(err, E_INTERNAL, "current '%s' is given twice", a->index.refs[i].name);
    for (size_t i = 0; i < in->n_changes; i++) {
        int rc = add_change(a, &in->changes[i], err);
        if (rc)
            return rc;
    }
    sort_slots(a);
    return drop_equal_changes(a, err);
}

static int parse_before(const struct accept *a, struct slot *slot, enum tuf_type type,
                        struct error *err)
{
    const void *data = NULL;
    size_t len = 0;
    if (slot->before || !slot->current)
        return OK;
    int rc = current_bytes(a, slot, &data, &len, err);
    if (!rc)
        rc = tuf_metadata_parse(type, data, len, &slot->before, err);
    return wrap(err, rc, "published '%s'", slot->role);
}

static int parse_after(const struct accept *a, struct slot *slot, enum tuf_type type,
                       struct error *err)
{
    if (slot->after)
        return OK;
    if (slot->change)
        return wrap(
            err, tuf_metadata_parse(type, slot->change->data, slot->change->len, &slot->after, err),
            "'%s'", slot->role);
    int rc = parse_before(a, slot, type, err);
    if (!rc)
        slot->after = tuf_metadata_ref(slot->before);
    return rc;
}

/* --- rules for one file --- */

/* A table of keys that can never reach the threshold would end the role for good. */
static int check_reachable_threshold(const struct tuf_keys *keys, const struct tuf_role_keys *role,
                                     const char *name, struct error *err)
{
    const struct public_key *distinct[TUF_MAX_KEYS];
    size_t n = 0;
    for (size_t i = 0; i < role->n_ids && n < TUF_MAX_KEYS; i++) {
        const struct tuf_key *key = tuf_keys_find(keys, &role->ids[i]);
        bool seen = !key || !key->key;
        for (size_t j = 0; !seen && j < n; j++)
            seen = public_key_equal(distinct[j], key->key);
        if (!seen)
            distinct[n++] = key->key;
    }
    if (n < (uint64_t)role->threshold)
        return fail(err, E_INVALID, "role '%s' has %zu usable keys for a threshold of %" PRId64,
                    name, n, role->threshold);
    return OK;
}

static int check_delegations(const struct tuf_metadata *m, struct error *err)
{
    for (size_t i = 0; i < tuf_targets_n_delegations(m); i++) {
        const struct tuf_delegation *d = tuf_targets_delegation(m, i);
        int rc = check_reachable_threshold(tuf_targets_keys(m), &d->keys, d->name, err);
        if (rc)
            return rc;
    }
    const struct tuf_bins *bins = tuf_targets_bins(m);
    return bins ? check_reachable_threshold(tuf_targets_keys(m), &bins->keys, "bins", err) : OK;
}

/* Version first: who was overtaken shall hear that (409), not that old keys no longer count. */
static int check_version(const struct accept *a, struct slot *slot, enum tuf_type type,
                         struct error *err)
{
    int rc = parse_before(a, slot, type, err);
    if (rc)
        return rc;
    /* Names never leave a snapshot (TUF 5.5.5), whatever became of their delegation. */
    const struct tuf_meta *listed =
        a->in->snapshot ? tuf_snapshot_find(a->in->snapshot, slot->role) : NULL;
    int64_t last = slot->before ? tuf_metadata_version(slot->before) : listed ? listed->version : 0;
    int64_t is = tuf_metadata_version(slot->after), wanted = last + 1;
    if (is != wanted)
        return fail(err, E_CONFLICT, "'%s' has version %" PRId64 ", it must be %" PRId64,
                    slot->role, is, wanted);
    return OK;
}

static int check_file(const struct accept *a, const struct slot *slot, struct error *err)
{
    int rc = tuf_binding_check(slot->after, a->in->collection, slot->role, err);
    if (!rc && slot->change)
        rc = tuf_expiry_check(slot->after, slot->role, a->in->now_s, err);
    return rc;
}

/* --- root --- */

static int check_root_thresholds(const struct tuf_metadata *root, struct error *err)
{
    int rc = OK;
    for (int type = TUF_ROOT; !rc && type <= TUF_TARGETS; type++)
        rc =
            check_reachable_threshold(tuf_root_keys(root), tuf_root_role(root, (enum tuf_type)type),
                                      tuf_type_name((enum tuf_type)type), err);
    return rc;
}

static int check_new_root(const struct slot *slot, struct error *err)
{
    const struct tuf_metadata *old = slot->before, *new = slot->after;
    int rc = OK;
    /* TUF 5.3.4; the old one's expiry is ignored, or an expired root could never be replaced. */
    if (old)
        rc = wrap(err,
                  tuf_verify_threshold(new, tuf_root_keys(old), tuf_root_role(old, TUF_ROOT), NULL,
                                       0, NULL, err),
                  "root by the current root's keys");
    return rc ? rc : check_root_thresholds(new, err);
}

int tuf_accept_alone(const struct tuf_metadata *m, const char *collection, const char *role,
                     int64_t now_s, struct error *err)
{
    if (!may_be_published(role))
        return fail(err, E_INVALID, "'%s' cannot be published", role);
    int rc = tuf_binding_check(m, collection, role, err);
    if (!rc)
        rc = tuf_expiry_check(m, role, now_s, err);
    if (rc)
        return rc;
    return tuf_metadata_type(m) == TUF_ROOT ? check_root_thresholds(m, err)
                                            : check_delegations(m, err);
}

static bool has_changes(const struct accept *a)
{
    for (size_t i = 0; i < a->n_slots; i++)
        if (a->slots[i].change)
            return true;
    return false;
}

static int check_root(struct accept *a, struct slot *slot, struct error *err)
{
    int rc = parse_after(a, slot, TUF_ROOT, err);
    if (!rc && slot->change)
        rc = check_version(a, slot, TUF_ROOT, err);
    if (!rc && slot->change)
        rc = check_new_root(slot, err);
    if (rc)
        return rc;
    const struct tuf_metadata *root = slot->after;
    rc = wrap(err,
              tuf_verify_threshold(root, tuf_root_keys(root), tuf_root_role(root, TUF_ROOT), NULL,
                                   0, NULL, err),
              "root by its own keys");
    if (!rc)
        rc = check_file(a, slot, err);
    /* Every client would refuse what is published under an expired root: say so to the publisher.
     */
    if (!rc && !slot->change && has_changes(a))
        rc = wrap(err, tuf_expiry_check(root, "root", a->in->now_s, err),
                  "publish a new root first, or with this change");
    return rc;
}

/* --- the walk over all reachable roles --- */

static int walk_start(struct walk *w, size_t n_slots, struct error *err)
{
    w->order = calloc(n_slots + 1, sizeof *w->order);
    w->names = calloc(n_slots + 1, sizeof *w->names);
    return w->order && w->names ? OK : fail_nomem(err);
}

/* `name` must live as long as the accepted metadata. */
static void walk_add(struct walk *w, size_t slot, const char *name)
{
    w->order[w->n] = slot;
    w->names[w->n++] = name;
}

/* Bins are found among the files: their names alone could be billions. */
static void walk_old_bins(struct accept *a, const struct slot *from)
{
    const struct tuf_bins *bins = tuf_targets_bins(from->before);
    for (size_t i = 0; bins && i < a->n_slots; i++) {
        struct slot *to = &a->slots[i];
        if (!to->current || to->was_reachable || !tuf_bins_has(bins, to->role))
            continue;
        to->was_reachable = true;
        to->was_bin = true;
        walk_add(&a->old, i, to->role);
    }
}

/* A bin that stays as it is: it leads nowhere, and what it names is nothing new. */
static bool needs_no_look(const struct accept *a, const struct slot *slot)
{
    return a->in->settled && slot->was_bin && !slot->change;
}

/* What was reachable so far. Nothing is verified: it was, when it was published. */
static int walk_old(struct accept *a, struct error *err)
{
    struct walk *w = &a->old;
    struct slot *targets = slot_of(a, "targets");
    int rc = walk_start(w, a->n_slots, err);
    if (!rc && targets && targets->current) {
        targets->was_reachable = true;
        walk_add(w, (size_t)(targets - a->slots), "targets");
    }
    for (size_t i = 0; !rc && i < w->n; i++) {
        struct slot *from = &a->slots[w->order[i]];
        if (needs_no_look(a, from))
            continue;
        rc = parse_before(a, from, TUF_TARGETS, err);
        for (size_t j = 0; !rc && j < tuf_targets_n_delegations(from->before); j++) {
            const struct tuf_delegation *d = tuf_targets_delegation(from->before, j);
            struct slot *to = slot_of(a, d->name);
            if (!to || !to->current || to->was_reachable)
                continue;
            to->was_reachable = true;
            walk_add(w, (size_t)(to - a->slots), d->name);
        }
        if (!rc)
            walk_old_bins(a, from);
    }
    return rc;
}

/* Once per delegator that names the role: a client may come along any of these paths. */
static int check_signatures(const struct slot *slot, const struct tuf_keys *keys,
                            const struct tuf_role_keys *role, const char *delegator,
                            struct error *err)
{
    int rc = tuf_verify_threshold(slot->after, keys, role, NULL, 0, NULL, err);
    if (rc == E_SIGNATURE && !slot->change)
        return wrap(err, rc, "'%s' no longer verifies: publish new '%s' with the new '%s'",
                    slot->role, slot->role, delegator);
    return wrap(err, rc, "'%s' as delegated by '%s'", slot->role, delegator);
}

/* Roles that all delegate to each other make for a million pairs out of a thousand files. */
static int spend(struct accept *a, const struct slot *to, struct error *err)
{
    const struct tuf_metadata *m = to->after;
    a->work += (m->canonical.len + CHECK_COST) * (m->n_signatures + 1);
    return a->work <= MAX_WORK ? OK
                               : fail(err, E_LIMIT,
                                      "role '%s' is delegated too often: verifying the collection "
                                      "costs too much",
                                      to->role);
}

/* Checks on the first visit what does not depend on the delegator. */
static int reach(struct accept *a, struct slot *slot, const char *name, struct error *err)
{
    if (slot->is_reachable)
        return OK;
    if (a->new.n >= MAX_ROLES)
        return fail(err, E_LIMIT, "more than %u roles", MAX_ROLES);
    int rc = parse_after(a, slot, TUF_TARGETS, err);
    if (!rc && slot->change)
        rc = check_version(a, slot, TUF_TARGETS, err);
    if (!rc)
        rc = check_file(a, slot, err);
    if (!rc && slot->change)
        rc = check_delegations(slot->after, err);
    if (rc)
        return rc;
    slot->is_reachable = true;
    walk_add(&a->new, (size_t)(slot - a->slots), name);
    return OK;
}

static int walk_delegations(struct accept *a, const struct slot *from, struct error *err)
{
    const struct tuf_metadata *m = from->after;
    for (size_t i = 0; i < tuf_targets_n_delegations(m); i++) {
        const struct tuf_delegation *d = tuf_targets_delegation(m, i);
        struct slot *to = slot_of(a, d->name);
        if (!to)
            continue; /* not signed yet */
        int rc = reach(a, to, d->name, err);
        if (!rc) /* perhaps reached unseen before, as a bin */
            rc = parse_after(a, to, TUF_TARGETS, err);
        if (!rc)
            rc = spend(a, to, err);
        if (!rc)
            rc = check_signatures(to, tuf_targets_keys(m), &d->keys, from->role, err);
        if (rc)
            return rc;
    }
    return OK;
}

/*
 * Why a bin may go unread. Say S is the set in force, of which these rules verified each pair
 * (delegator, role) when S came to be. A pair of the new set that consists of two files that are in
 * S, byte for byte, and were reachable there, is one of those pairs: its signatures, the names in
 * the bin and the binding cannot have another outcome now. Every other pair is verified: where the
 * delegator changed (new keys!), where the bin changed, where either was not reachable in S. So
 * the same holds for the new set. Only bins are passed over: all else may delegate, must be walked
 * through, and is few.
 */
static bool is_settled(const struct accept *a, const struct slot *from, const struct slot *to)
{
    return a->in->settled && !from->change && from->was_reachable && !to->change &&
           to->was_reachable && to->was_bin;
}

/* Counts the role in, unseen. */
static int reach_settled(struct accept *a, struct slot *slot, struct error *err)
{
    if (slot->is_reachable)
        return OK;
    if (a->new.n >= MAX_ROLES)
        return fail(err, E_LIMIT, "more than %u roles", MAX_ROLES);
    slot->is_reachable = true;
    walk_add(&a->new, (size_t)(slot - a->slots), slot->role);
    return OK;
}

/* A client looks for a name in one bin only: anywhere else it would be signed and never found. */
static int check_bin(const struct tuf_bins *bins, const struct slot *slot, struct error *err)
{
    if (tuf_targets_n_delegations(slot->after) || tuf_targets_bins(slot->after))
        return fail(err, E_INVALID, "bin '%s' delegates to other roles", slot->role);
    for (size_t i = 0; slot->change && i < tuf_targets_count(slot->after); i++) {
        struct tuf_target target;
        char name[TUF_BIN_NAME_MAX];
        uint64_t bin = 0;
        tuf_targets_at(slot->after, i, &target);
        int rc = tuf_bins_find(bins, target.name, &bin, err);
        if (rc)
            return rc;
        tuf_bins_name(bins, bin, name);
        if (strcmp(name, slot->role) != 0)
            return fail(err, E_INVALID, "target '%s' belongs into bin '%s', not '%s'", target.name,
                        name, slot->role);
    }
    return OK;
}

static int walk_bin(struct accept *a, const struct slot *from, struct slot *to, struct error *err)
{
    const struct tuf_bins *bins = tuf_targets_bins(from->after);
    int rc = reach(a, to, to->role, err);
    if (!rc) /* perhaps reached unseen before, as a bin of another role */
        rc = parse_after(a, to, TUF_TARGETS, err);
    if (!rc)
        rc = spend(a, to, err);
    if (!rc)
        rc = check_signatures(to, tuf_targets_keys(from->after), &bins->keys, from->role, err);
    return rc ? rc : check_bin(bins, to, err);
}

static int walk_bins(struct accept *a, const struct slot *from, struct error *err)
{
    const struct tuf_bins *bins = tuf_targets_bins(from->after);
    int rc = OK;
    for (size_t i = 0; !rc && bins && i < a->n_slots; i++) {
        struct slot *to = &a->slots[i];
        if (!tuf_bins_has(bins, to->role))
            continue;
        rc = is_settled(a, from, to) ? reach_settled(a, to, err) : walk_bin(a, from, to, err);
    }
    return rc;
}

static int walk_new(struct accept *a, const struct tuf_metadata *root, struct error *err)
{
    struct slot *targets = slot_of(a, "targets");
    int rc = walk_start(&a->new, a->n_slots, err);
    if (!rc)
        rc = reach(a, targets, "targets", err);
    if (!rc)
        rc = check_signatures(targets, tuf_root_keys(root), tuf_root_role(root, TUF_TARGETS),
                              "root", err);
    for (size_t i = 0; !rc && i < a->new.n; i++) {
        const struct slot *from = &a->slots[a->new.order[i]];
        if (!from->after)
            continue; /* a settled bin */
        rc = walk_delegations(a, from, err);
        if (!rc)
            rc = walk_bins(a, from, err);
    }
    for (size_t i = 0; !rc && i < a->n_slots; i++)
        if (a->slots[i].change && !a->slots[i].is_reachable &&
            strcmp(a->slots[i].role, "root") != 0)
            rc = fail(err, E_INVALID, "no delegation leads to role '%s'", a->slots[i].role);
    return rc;
}

/* Only a file that the root keys have signed, too, may take digests off the ban list. */
static int check_bans(struct accept *a, const struct tuf_metadata *root, struct error *err)
{
    const struct slot *targets = slot_of(a, "targets");
    char text[DIGEST_TEXT_MAX];
    if (!targets->change || !targets->before)
        return OK;
    const struct targets_part *old = &targets->before->targets;
    for (size_t i = 0; i < old->n_banned; i++)
        if (!tuf_targets_banned(targets->after, &old->banned[i]))
            return wrap(err,
                        tuf_verify_threshold(targets->after, tuf_root_keys(root),
                                             tuf_root_role(root, TUF_ROOT), NULL, 0, NULL, err),
                        "'targets' lifts the ban on %s, which takes the root keys",
                        digest_format(&old->banned[i], text));
    return OK;
}

/* --- what is new --- */

struct named {
    struct digest digest;
    int64_t length;
};

struct named_list {
    struct named *items;
    size_t n;
};

static int compare_named(const void *x, const void *y)
{
    const struct named *a = x, *b = y;
    if (a->digest.alg != b->digest.alg)
        return a->digest.alg < b->digest.alg ? -1 : 1;
    int order = memcmp(a->digest.bytes, b->digest.bytes, digest_len(a->digest.alg));
    if (order)
        return order;
    return a->length < b->length ? -1 : a->length > b->length;
}

static void named_list_done(struct named_list *list)
{
    free(list->items);
}

static int add_targets(struct named_list *list, const struct tuf_metadata *m, struct error *err)
{
    size_t n = tuf_targets_count(m);
    struct named *items = reallocarray(list->items, list->n + n + 1, sizeof *items);
    if (!items)
        return fail_nomem(err);
    list->items = items;
    for (size_t i = 0; i < n; i++) {
        struct tuf_target target;
        tuf_targets_at(m, i, &target);
        const struct digest *d = target.sha256.alg != DIGEST_NONE ? &target.sha256 : &target.sha512;
        items[list->n++] = (struct named){*d, target.length};
    }
    return OK;
}

static void sort_unique(struct named_list *list)
{
    size_t n = 0;
    if (list->n)
        qsort(list->items, list->n, sizeof *list->items, compare_named);
    for (size_t i = 0; i < list->n; i++)
        if (n == 0 || compare_named(&list->items[n - 1], &list->items[i]) != 0)
            list->items[n++] = list->items[i];
    list->n = n;
}

/* A known digest with another length counts as added: one of the two lengths is wrong. */
static int fill_added(struct accept *a, struct tuf_accepted *out, struct error *err)
{
    CLEANUP(named_list_done) struct named_list before = {NULL, 0}, after = {NULL, 0};
    int rc = OK;
    for (size_t i = 0; !rc && i < a->old.n; i++)
        if (a->slots[a->old.order[i]].before)
            rc = add_targets(&before, a->slots[a->old.order[i]].before, err);
    for (size_t i = 0; !rc && i < a->new.n; i++) {
        const struct slot *slot = &a->slots[a->new.order[i]];
        if (slot->change || !slot->was_reachable)
            rc = add_targets(&after, slot->after, err);
    }
    sort_unique(&before);
    sort_unique(&after);
    out->added = calloc(after.n + 1, sizeof *out->added);
    out->added_lengths = calloc(after.n + 1, sizeof *out->added_lengths);
    if (rc || !out->added || !out->added_lengths)
        return rc ? rc : fail_nomem(err);
    for (size_t i = 0; i < after.n; i++) {
        if (before.n &&
            bsearch(&after.items[i], before.items, before.n, sizeof *before.items, compare_named))
            continue;
        out->added[out->n_added] = after.items[i].digest;
        out->added_lengths[out->n_added++] = after.items[i].length;
    }
    return OK;
}

static bool keys_changed(const struct slot *root, enum tuf_type type)
{
    return root->change && root->before &&
           !tuf_role_keys_same_ids(tuf_root_role(root->before, type),
                                   tuf_root_role(root->after, type));
}

static int fill_accepted(struct accept *a, struct tuf_accepted *out, struct error *err)
{
    const struct slot *root = slot_of(a, "root");
    out->roles = calloc(a->new.n + 1, sizeof *out->roles);
    out->role_names = calloc(a->new.n + 1, sizeof *out->role_names);
    if (!out->roles || !out->role_names)
        return fail_nomem(err);
    out->root = tuf_metadata_ref(root->after);
    for (; out->n_roles < a->new.n; out->n_roles++) {
        out->role_names[out->n_roles] = strdup(a->new.names[out->n_roles]);
        if (!out->role_names[out->n_roles])
            return fail_nomem(err);
        struct tuf_metadata *after = a->slots[a->new.order[out->n_roles]].after;
        out->roles[out->n_roles] = after ? tuf_metadata_ref(after) : NULL;
    }
    out->root_changed = root->change != NULL;
    out->snapshot_keys_changed = keys_changed(root, TUF_SNAPSHOT);
    out->timestamp_keys_changed = keys_changed(root, TUF_TIMESTAMP);
    return fill_added(a, out, err);
}

int tuf_accept(const struct tuf_accept_input *input, struct tuf_accepted **out, struct error *err)
{
    CLEANUP(accept_done) struct accept a = {.in = input};
    CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *accepted = calloc(1, sizeof *accepted);
    if (!accepted)
        return fail_nomem(err);
    int rc = fill_slots(&a, err);
    if (rc)
        return rc;
    struct slot *root = slot_of(&a, "root");
    if (!root || !slot_of(&a, "targets"))
        return fail(err, E_INVALID, "a first publication needs root and targets");
    rc = check_root(&a, root, err);
    if (!rc)
        rc = walk_old(&a, err);
    if (!rc)
        rc = walk_new(&a, root->after, err);
    if (!rc)
        rc = check_bans(&a, root->after, err);
    if (!rc)
        rc = fill_accepted(&a, accepted, err);
    if (!rc)
        *out = TAKE_PTR(accepted);
    return rc;
}

void tuf_accepted_free(struct tuf_accepted *a)
{
    if (!a)
        return;
    tuf_metadata_free(a->root);
    for (size_t i = 0; i < a->n_roles; i++) {
        tuf_metadata_free(a->roles[i]);
        free(a->role_names[i]);
    }
    free(a->roles);
    free(a->role_names);
    free(a->added);
    free(a->added_lengths);
    free(a);
}

void tuf_accepted_cleanup(struct tuf_accepted **a)
{
    int saved = errno;
    tuf_accepted_free(*a);
    *a = NULL;
    errno = saved;
}

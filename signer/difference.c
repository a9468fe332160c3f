#include "signer/difference.h"

#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

struct describing {
    const struct tuf_metadata *before, *after; /* before may be NULL */
    struct bytes *out;
};

/* A member's name is any text at all, line breaks included. */
static int describe_member(const struct describing *d, const char *name, const char *word,
                           struct error *err)
{
    struct error escaped = ERROR_INIT;
    (void)fail(&escaped, E_INVALID, "%.100s", name); /* for its escaping */
    return bytes_append_format(d->out, err, "  member '%s' %s\n", escaped.message, word);
}

/* --- keys --- */

static bool lists(const struct tuf_role_keys *role, const char *id)
{
    for (size_t i = 0; role && i < role->n_ids; i++)
        if (strcmp(role->ids[i].text, id) == 0)
            return true;
    return false;
}

static int describe_ids(const struct describing *d, const char *name, const char *word,
                        const struct tuf_role_keys *from, const struct tuf_role_keys *without,
                        struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && from && i < from->n_ids; i++)
        if (!lists(without, from->ids[i].text))
            rc =
                bytes_append_format(d->out, err, "  %s key %s %s\n", name, word, from->ids[i].text);
    return rc;
}

static int describe_role_keys(const struct describing *d, const char *name,
                              const struct tuf_role_keys *old, const struct tuf_role_keys *new,
                              struct error *err)
{
    int rc = describe_ids(d, name, "removed:", old, new, err);
    if (!rc)
        rc = describe_ids(d, name, "added:", new, old, err);
    if (rc || !new || (old && old->threshold == new->threshold && old->n_ids == new->n_ids))
        return rc;
    return bytes_append_format(d->out, err, "  %s needs %" PRId64 " of %zu keys\n", name,
                               new->threshold, new->n_ids);
}

static int describe_root(const struct describing *d, struct error *err)
{
    static const enum tuf_type types[] = {TUF_ROOT, TUF_TARGETS, TUF_SNAPSHOT, TUF_TIMESTAMP};
    int rc = OK;
    for (size_t i = 0; !rc && i < sizeof types / sizeof types[0]; i++)
        rc = describe_role_keys(d, tuf_type_name(types[i]),
                                d->before ? tuf_root_role(d->before, types[i]) : NULL,
                                tuf_root_role(d->after, types[i]), err);
    return rc;
}

/* --- delegations --- */

static const struct tuf_delegation *find_delegation(const struct tuf_metadata *m, const char *name)
{
    for (size_t i = 0; m && i < tuf_targets_n_delegations(m); i++)
        if (strcmp(tuf_targets_delegation(m, i)->name, name) == 0)
            return tuf_targets_delegation(m, i);
    return NULL;
}

static bool same_texts(const char *const *a, size_t n_a, const char *const *b, size_t n_b)
{
    if (n_a != n_b)
        return false;
    for (size_t i = 0; i < n_a; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

static bool same_scope(const struct tuf_delegation *a, const struct tuf_delegation *b)
{
    return a->terminating == b->terminating &&
           same_texts(a->paths, a->n_paths, b->paths, b->n_paths) &&
           same_texts(a->hash_prefixes, a->n_hash_prefixes, b->hash_prefixes, b->n_hash_prefixes);
}

static int describe_scope(const struct describing *d, const struct tuf_delegation *role,
                          const char *word, struct error *err)
{
    size_t n = role->n_paths + role->n_hash_prefixes;
    int rc = bytes_append_format(d->out, err, "  role '%s' %s, may sign%s", role->name, word,
                                 n ? "" : " nothing\n");
    /* A line each: in one long line the last ones could be cut off, unseen. */
    for (size_t i = 0; !rc && i < role->n_paths; i++)
        rc = bytes_append_format(d->out, err, "%s '%s'\n", i ? "    and" : "", role->paths[i]);
    for (size_t i = 0; !rc && i < role->n_hash_prefixes; i++)
        rc = bytes_append_format(d->out, err, "%s hash %s…\n", i ? "    and" : "",
                                 role->hash_prefixes[i]);
    return rc || !role->terminating
               ? rc
               : bytes_append_text(d->out, "    no later role is asked for these\n", err);
}

static int describe_delegation(const struct describing *d, const struct tuf_delegation *new,
                               struct error *err)
{
    const struct tuf_delegation *old = find_delegation(d->before, new->name);
    int rc = OK;
    if (!old || !same_scope(old, new))
        rc = describe_scope(d, new, old ? "changed" : "delegated", err);
    return rc ? rc : describe_role_keys(d, new->name, old ? &old->keys : NULL, &new->keys, err);
}

/* The order of delegations is their priority: it changes who may vouch. */
static int describe_order(const struct describing *d, struct error *err)
{
    size_t last = 0;
    for (size_t i = 0; d->before && i < tuf_targets_n_delegations(d->before); i++) {
        const char *name = tuf_targets_delegation(d->before, i)->name;
        for (size_t j = 0; j < tuf_targets_n_delegations(d->after); j++) {
            if (strcmp(tuf_targets_delegation(d->after, j)->name, name) != 0)
                continue;
            if (j < last)
                return bytes_append_text(d->out, "  the order of roles changes\n", err);
            last = j;
        }
    }
    return OK;
}

static int describe_bins(const struct describing *d, struct error *err)
{
    const struct tuf_bins *old = d->before ? tuf_targets_bins(d->before) : NULL;
    const struct tuf_bins *new = tuf_targets_bins(d->after);
    int rc = OK;
    if (old && !new)
        rc = bytes_append_format(d->out, err, "  bins '%s' removed\n", old->prefix);
    if (new && (!old || old->bits != new->bits || strcmp(old->prefix, new->prefix) != 0))
        rc = bytes_append_format(d->out, err, "  tags go to %" PRIu64 " bins named '%s-…'\n",
                                 tuf_bins_count(new), new->prefix);
    if (!rc && new)
        rc = describe_role_keys(d, new->prefix, old ? &old->keys : NULL, &new->keys, err);
    return rc;
}

static int describe_delegations(const struct describing *d, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && d->before && i < tuf_targets_n_delegations(d->before); i++) {
        const struct tuf_delegation *old = tuf_targets_delegation(d->before, i);
        if (!find_delegation(d->after, old->name))
            rc = bytes_append_format(d->out, err, "  role '%s' no longer delegated\n", old->name);
    }
    for (size_t i = 0; !rc && i < tuf_targets_n_delegations(d->after); i++)
        rc = describe_delegation(d, tuf_targets_delegation(d->after, i), err);
    if (!rc)
        rc = describe_order(d, err);
    return rc ? rc : describe_bins(d, err);
}

/* --- targets and bans --- */

static const struct digest *target_digest(const struct tuf_target *t)
{
    return t->sha256.alg != DIGEST_NONE ? &t->sha256 : &t->sha512;
}

/* An algorithm that neither names is the same, too. */
static bool same_digest(const struct digest *a, const struct digest *b)
{
    return a->alg == b->alg && (a->alg == DIGEST_NONE || digest_equal(a, b));
}

static bool same_target(const struct tuf_target *a, const struct tuf_target *b)
{
    return a->length == b->length && same_digest(&a->sha256, &b->sha256) &&
           same_digest(&a->sha512, &b->sha512) &&
           (a->custom == b->custom || js_equal(a->custom, b->custom));
}

/* Members of a target that mean nothing to a verifier. */
static int describe_rest(const struct describing *d, const struct tuf_target *t, struct error *err)
{
    const struct js *entry = js_get(js_get(tuf_metadata_signed(d->after), "targets"), t->name);
    int rc = OK;
    js_foreach (t->custom, it)
        if (!rc && (strcmp(it.key, "mediaType") != 0 || !js_text(it.value)))
            rc = describe_member(d, it.key, "stands beside its media type", err);
    js_foreach (entry, it) {
        bool known = strcmp(it.key, "length") == 0 || strcmp(it.key, "hashes") == 0 ||
                     strcmp(it.key, "custom") == 0;
        if (!rc && !known)
            rc = describe_member(d, it.key, "stands beside it", err);
    }
    return rc;
}

static int describe_target(const struct describing *d, const struct tuf_target *new,
                           struct error *err)
{
    char is[DIGEST_TEXT_MAX], was[DIGEST_TEXT_MAX];
    struct error escaped = ERROR_INIT;
    struct tuf_target old;
    bool known = d->before && tuf_targets_find(d->before, new->name, &old);
    if (known && same_target(&old, new))
        return OK;
    const char *type = js_text(js_get(new->custom, "mediaType"));
    (void)fail(&escaped, E_INVALID, "%.100s", type ? type : "no media type");
    int rc = bytes_append_format(d->out, err, "  tag '%s' %s: %s, %" PRId64 " bytes, %s", new->name,
                                 known ? "changed" : "added", digest_format(target_digest(new), is),
                                 new->length, escaped.message);
    if (!rc && known)
        rc = bytes_append_format(d->out, err, "; was %s, %" PRId64 " bytes",
                                 digest_format(target_digest(&old), was), old.length);
    if (!rc)
        rc = bytes_append_text(d->out, "\n", err);
    return rc ? rc : describe_rest(d, new, err);
}

static int describe_targets(const struct describing *d, struct error *err)
{
    struct tuf_target t, ignored;
    char was[DIGEST_TEXT_MAX];
    int rc = OK;
    for (size_t i = 0; !rc && d->before && i < tuf_targets_count(d->before); i++) {
        tuf_targets_at(d->before, i, &t);
        if (!tuf_targets_find(d->after, t.name, &ignored))
            rc = bytes_append_format(d->out, err, "  tag '%s' removed, was %s\n", t.name,
                                     digest_format(target_digest(&t), was));
    }
    for (size_t i = 0; !rc && i < tuf_targets_count(d->after); i++) {
        tuf_targets_at(d->after, i, &t);
        rc = describe_target(d, &t, err);
    }
    return rc;
}

static int describe_bans(const struct describing *d, const struct tuf_metadata *in,
                         const struct tuf_metadata *not_in, const char *word, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    int rc = OK;
    for (size_t i = 0; !rc && in && i < tuf_targets_n_banned(in); i++) {
        const struct digest *digest = tuf_targets_banned_at(in, i);
        if (!not_in || !tuf_targets_banned(not_in, digest))
            rc = bytes_append_format(d->out, err, "  %s %s\n", word, digest_format(digest, text));
    }
    return rc;
}

/* --- what no line above speaks of --- */

static bool is_described(const char *member)
{
    static const char *const names[] = {"_type",
                                        "version",
                                        "expires",
                                        "keys",
                                        "roles",
                                        "targets",
                                        "delegations",
                                        "x-bulla-banned",
                                        "x-bulla-collection",
                                        "x-bulla-role",
                                        NULL};
    for (size_t i = 0; names[i]; i++)
        if (strcmp(names[i], member) == 0)
            return true;
    return false;
}

static int describe_members(const struct describing *d, struct error *err)
{
    const struct js *old = d->before ? tuf_metadata_signed(d->before) : NULL;
    const struct js *new = tuf_metadata_signed(d->after);
    int rc = OK;
    js_foreach (old, it)
        if (!rc && !is_described(it.key) && !js_get(new, it.key))
            rc = describe_member(d, it.key, "removed", err);
    js_foreach (new, it) {
        const struct js *was = js_get(old, it.key);
        bool usual = !old && (strcmp(it.key, "spec_version") == 0 ||
                              strcmp(it.key, "consistent_snapshot") == 0);
        if (!rc && !usual && !is_described(it.key) && (!was || !js_equal(was, it.value)))
            rc = describe_member(d, it.key, was ? "changed" : "added", err);
    }
    return rc;
}

static int describe_parts(const struct describing *d, struct error *err)
{
    if (tuf_metadata_type(d->after) == TUF_ROOT)
        return describe_root(d, err);
    int rc = describe_delegations(d, err);
    if (!rc)
        rc = describe_targets(d, err);
    if (!rc)
        rc = describe_bans(d, d->after, d->before, "banned:", err);
    return rc ? rc : describe_bans(d, d->before, d->after, "ban lifted:", err);
}

int difference_describe(const char *role, const struct tuf_metadata *before,
                        const struct tuf_metadata *after, struct bytes *out, struct error *err)
{
    struct describing d = {before, after, out};
    char when[CLOCK_TEXT_MAX], from[32] = "";
    if (before)
        (void)snprintf(from, sizeof from, "%" PRId64 " -> ", tuf_metadata_version(before));
    int rc = bytes_append_format(out, err, "%s: version %s%" PRId64 ", expires %s\n", role, from,
                                 tuf_metadata_version(after),
                                 clock_format(tuf_metadata_expires(after), when));
    if (!rc)
        rc = describe_parts(&d, err);
    return rc ? rc : describe_members(&d, err);
}

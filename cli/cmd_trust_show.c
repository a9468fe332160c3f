/* bulla trust show: the tree of roles, their keys, what each vouches for, and what expires. */
#include "base/clock.h"
#include "cli/command.h"
#include "signer/collection_change.h"

#include <inttypes.h>
#include <string.h>

#define DAY_S 86400

/* Days before the end at which people who sign are told; the service renews its roles by itself. */
static const int64_t warn_days[] = {7, 30, 90};

struct showing {
    struct context *ctx;
    struct draft *draft;
    struct js *roles, *warnings; /* of the result */
    size_t n_unsigned;
};

/* "expired", "expires within 7 days", …; NULL: not soon. */
static const char *soon(int64_t left_s, char text[48])
{
    if (left_s <= 0)
        return "expired";
    for (size_t i = 0; i < sizeof warn_days / sizeof warn_days[0]; i++)
        if (left_s < warn_days[i] * DAY_S) {
            (void)snprintf(text, 48, "expires within %" PRId64 " days", warn_days[i]);
            return text;
        }
    return NULL;
}

static int warn(struct showing *s, const char *role, const char *what, struct error *err)
{
    CLEANUP(cleanup_free)
    char *text = text_format("%s %s: 'bulla trust renew' signs it again", role, what);
    if (!text)
        return fail_nomem(err);
    note(s->ctx, "warning: %s", text);
    return js_push(s->warnings, js_text_new(text), err);
}

static void say_role(const struct showing *s, const char *role, const struct tuf_metadata *m,
                     const struct tuf_role_keys *keys, const char *state)
{
    char when[CLOCK_TEXT_MAX];
    int64_t left = tuf_metadata_expires(m) - s->draft->now_s;
    say(s->ctx,
        "%-10s version %" PRId64 ", expires %s (%" PRId64 " days left%s), %" PRId64 " of %zu keys",
        role, tuf_metadata_version(m), clock_format(tuf_metadata_expires(m), when), left / DAY_S,
        state && left <= 0 ? ", EXPIRED" : "", keys->threshold, keys->n_ids);
    for (size_t i = 0; i < keys->n_ids; i++)
        say(s->ctx, "           key %s", keys->ids[i].text);
}

/* by_people: somebody has to do something about it. */
static int show_role(struct showing *s, const char *role, const struct tuf_metadata *m,
                     const struct tuf_role_keys *keys, bool by_people, struct js *o,
                     struct error *err)
{
    char when[CLOCK_TEXT_MAX], text[48];
    const char *state = soon(tuf_metadata_expires(m) - s->draft->now_s, text);
    say_role(s, role, m, keys, state);
    int rc = by_people && state ? warn(s, role, state, err) : OK;
    if (!rc)
        rc = js_set(o, "version", js_int_new(tuf_metadata_version(m)), err);
    if (!rc)
        rc = js_set(o, "expires", js_text_new(clock_format(tuf_metadata_expires(m), when)), err);
    return rc ? rc : role_keys_to_js(keys, o, err);
}

static int show_tags(const struct showing *s, const struct tuf_metadata *m, struct js **out,
                     struct error *err)
{
    CLEANUP(js_cleanup) struct js *all = js_object_new();
    int rc = all ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < tuf_targets_count(m); i++) {
        struct tuf_target t;
        char digest[DIGEST_TEXT_MAX];
        tuf_targets_at(m, i, &t);
        digest_format(t.sha256.alg != DIGEST_NONE ? &t.sha256 : &t.sha512, digest);
        say(s->ctx, "  %-20s %s", t.name, digest);
        rc = js_set(all, t.name, js_text_new(digest), err);
    }
    if (!rc)
        *out = TAKE_PTR(all);
    return rc;
}

static int show_scope(const struct showing *s, const struct tuf_metadata *from, const char *role,
                      struct js *o, struct error *err)
{
    CLEANUP(js_cleanup) struct js *paths = js_array_new();
    int rc = paths ? OK : fail_nomem(err);
    for (size_t i = 0; i < tuf_targets_n_delegations(from); i++) {
        const struct tuf_delegation *d = tuf_targets_delegation(from, i);
        if (strcmp(d->name, role) != 0)
            continue;
        for (size_t k = 0; !rc && k < d->n_paths; k++) {
            say(s->ctx, "           may sign '%s'%s", d->paths[k],
                d->terminating ? ", terminating" : "");
            rc = js_push(paths, js_text_new(d->paths[k]), err);
        }
        if (!rc)
            rc = js_set(o, "terminating", js_bool_new(d->terminating), err);
    }
    return rc ? rc : js_set(o, "paths", TAKE_PTR(paths), err);
}

static int show_bans(const struct showing *s, const struct tuf_metadata *m, struct js *o,
                     struct error *err)
{
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    int rc = list ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < tuf_targets_n_banned(m); i++) {
        char digest[DIGEST_TEXT_MAX];
        digest_format(tuf_targets_banned_at(m, i), digest);
        say(s->ctx, "  banned               %s", digest);
        rc = js_push(list, js_text_new(digest), err);
    }
    return rc || !js_count(list) ? rc : js_set(o, "banned", TAKE_PTR(list), err);
}

static int show_bins(const struct showing *s, const struct tuf_metadata *m, struct js *o,
                     struct error *err)
{
    const struct tuf_bins *bins = tuf_targets_bins(m);
    if (!bins)
        return OK;
    say(s->ctx, "           %" PRIu64 " bins named '%s-…', %" PRId64 " of %zu keys",
        tuf_bins_count(bins), bins->prefix, bins->keys.threshold, bins->keys.n_ids);
    for (size_t i = 0; i < bins->keys.n_ids; i++)
        say(s->ctx, "           bin key %s", bins->keys.ids[i].text);
    return js_set(o, "bins", js_int_new((int64_t)tuf_bins_count(bins)), err);
}

static int show_unsigned(const struct showing *s, const char *role, struct js *o, struct error *err)
{
    bool known = tuf_trusted_wanted(s->draft->session.view.trusted, role) != NULL;
    say(s->ctx, "%-10s %s", role,
        known ? "cannot be fetched now and is not stored here"
              : "delegated, not signed by anybody yet");
    if (known)
        return js_set(o, "known", js_bool_new(false), err);
    return js_set(o, "signed", js_bool_new(false), err);
}

static int show_contents(struct showing *s, const struct tuf_metadata *m, struct js *o,
                         struct error *err)
{
    struct js *tags = NULL;
    int rc = show_bins(s, m, o, err);
    if (!rc)
        rc = show_bans(s, m, o, err);
    if (!rc)
        rc = show_tags(s, m, &tags, err);
    return rc ? rc : js_set(o, "tags", tags, err);
}

static int visit(void *context, const char *role, const char *delegator,
                 const struct tuf_metadata *m, struct error *err)
{
    struct showing *s = context;
    struct tuf_trusted *t = s->draft->session.view.trusted;
    const struct tuf_metadata *from = delegator ? tuf_trusted_targets(t, delegator) : NULL;
    const struct tuf_role_keys *keys =
        from ? tuf_targets_authority(from, role) : tuf_root_role(tuf_trusted_root(t), TUF_TARGETS);
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? js_set(o, "name", js_text_new(role), err) : fail_nomem(err);
    if (!rc && delegator)
        rc = js_set(o, "delegator", js_text_new(delegator), err);
    if (!rc && !m)
        rc = show_unsigned(s, role, o, err);
    if (!rc && m && keys)
        rc = show_role(s, role, m, keys, true, o, err);
    if (!rc && from)
        rc = show_scope(s, from, role, o, err);
    if (!rc && m)
        rc = show_contents(s, m, o, err);
    return rc ? rc : js_push(s->roles, TAKE_PTR(o), err);
}

/* Root and the service's two roles; their members stand at the top of the result. */
static int show_top(struct showing *s, enum tuf_type type, const struct tuf_metadata *m,
                    struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(s->draft->session.view.trusted);
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? show_role(s, tuf_type_name(type), m, tuf_root_role(root, type), type == TUF_ROOT,
                           o, err)
               : fail_nomem(err);
    return rc ? rc : result_set(s->ctx, tuf_type_name(type), TAKE_PTR(o), err);
}

/* What scripts have always asked for: targets and its tags by themselves. */
static int repeat_targets(struct showing *s, struct error *err)
{
    const struct js *targets = js_at(s->roles, 0);
    CLEANUP(js_cleanup) struct js *copy = js_dup(targets);
    CLEANUP(js_cleanup) struct js *tags = js_dup(js_get(targets, "tags"));
    if (!copy || !tags)
        return fail_nomem(err);
    js_remove(copy, "tags");
    int rc = result_set(s->ctx, "targets", TAKE_PTR(copy), err);
    return rc ? rc : result_set(s->ctx, "tags", TAKE_PTR(tags), err);
}

static int warn_shared_keys(struct showing *s, struct error *err)
{
    const struct tuf_metadata *root = tuf_trusted_root(s->draft->session.view.trusted);
    const struct tuf_role_keys *own = tuf_root_role(root, TUF_ROOT);
    const struct tuf_role_keys *targets = tuf_root_role(root, TUF_TARGETS);
    static const char text[] = "the root keys also sign tags: a key that is used daily can be lost "
                               "daily; 'bulla trust rotate … targets' separates them";
    for (size_t i = 0; i < own->n_ids; i++) {
        if (!role_keys_list(targets, own->ids[i].text))
            continue;
        note(s->ctx, "warning: %s", text);
        return js_push(s->warnings, js_text_new(text), err);
    }
    return OK;
}

static int show_all(struct showing *s, struct error *err)
{
    struct tuf_trusted *t = s->draft->session.view.trusted;
    struct draft_walk walk = {.visit = visit,
                              .context = s,
                              .may_miss = true,
                              .all_bins = option_given(&s->ctx->options, "bins")};
    say(s->ctx, "collection %s", s->draft->collection);
    int rc = result_text(s->ctx, "collection", s->draft->collection, err);
    if (!rc)
        rc = show_top(s, TUF_ROOT, tuf_trusted_root(t), err);
    if (!rc)
        rc = show_top(s, TUF_TIMESTAMP, tuf_trusted_timestamp(t), err);
    if (!rc)
        rc = show_top(s, TUF_SNAPSHOT, tuf_trusted_snapshot(t), err);
    if (!rc)
        rc = draft_walk(s->draft, &walk, err);
    if (!rc)
        rc = repeat_targets(s, err);
    return rc ? rc : warn_shared_keys(s, err);
}

int command_trust_show(struct context *ctx, struct error *err)
{
    struct reference ref;
    struct collection_owner owner;
    struct draft draft;
    CLEANUP(js_cleanup) struct js *roles = js_array_new(), *warnings = js_array_new();
    int rc = roles && warnings ? parse_reference(ctx->options.args[0], &ref, err) : fail_nomem(err);
    if (!rc && ref.digest.alg)
        rc = fail(err, E_USAGE, "name a repository, not a digest");
    ctx->verify.tofu = option_given(&ctx->options, "tofu");
    if (!rc)
        rc = context_owner(ctx, &owner, err);
    if (rc)
        return rc;
    rc = draft_open_to_look(&owner, &ref, &draft, err);
    if (rc)
        return rc;
    struct showing s = {.ctx = ctx, .draft = &draft, .roles = roles, .warnings = warnings};
    rc = show_all(&s, err);
    draft_close(&draft);
    if (!rc)
        rc = result_set(ctx, "roles", TAKE_PTR(roles), err);
    return rc ? rc : result_set(ctx, "warnings", TAKE_PTR(warnings), err);
}

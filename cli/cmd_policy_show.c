/* bulla policy show, test: what the files say, and what follows from it for one reference. */
#include "cli/command.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* --- one scope --- */

static int texts_to_js(struct js *o, const char *key, char *const *list, struct error *err)
{
    if (!list)
        return OK;
    CLEANUP(js_cleanup) struct js *array = js_array_new();
    int rc = array ? OK : fail_nomem(err);
    for (; !rc && *list; list++)
        rc = js_push(array, js_text_new(*list), err);
    return rc ? rc : js_set(o, key, TAKE_PTR(array), err);
}

static int ids_to_js(struct js *o, const struct key_id *ids, size_t n, struct error *err)
{
    CLEANUP(js_cleanup) struct js *array = js_array_new();
    int rc = array ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = js_push(array, js_text_new(ids[i].text), err);
    return rc ? rc : js_set(o, "keys", TAKE_PTR(array), err);
}

/* The number of keys that must have signed: all of them, unless policy says otherwise. */
static int64_t anchor_threshold(const struct anchor *a)
{
    return a->threshold ? a->threshold : (int64_t)a->n_keys;
}

static int anchor_to_js(struct js *o, const struct anchor *a, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    int rc = root ? OK : fail_nomem(err);
    if (!rc && a->root_file)
        rc = js_set(root, "file", js_text_new(a->root_file), err);
    if (!rc && !a->root_file)
        rc = ids_to_js(root, a->keys, a->n_keys, err);
    if (!rc && !a->root_file)
        rc = js_set(root, "threshold", js_int_new(anchor_threshold(a)), err);
    if (!rc && !a->root_file)
        rc = js_set(root, "minVersion", js_int_new(a->min_version), err);
    return rc ? rc : js_set(o, "root", TAKE_PTR(root), err);
}

static int signed_by_to_js(struct js *o, const struct policy_scope *s, struct error *err)
{
    CLEANUP(js_cleanup) struct js *array = js_array_new();
    int rc = array ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < s->n_signed_by; i++) {
        const struct signed_by *entry = &s->signed_by[i];
        CLEANUP(js_cleanup) struct js *one = js_object_new();
        rc = one ? js_set(one, "role", js_text_new(entry->role), err) : fail_nomem(err);
        if (!rc && entry->n_keys)
            rc = ids_to_js(one, entry->keys, entry->n_keys, err);
        if (!rc && entry->n_keys)
            rc = js_set(one, "threshold", js_int_new(entry->threshold), err);
        if (!rc)
            rc = js_push(array, TAKE_PTR(one), err);
    }
    return rc || !s->n_signed_by ? rc : js_set(o, "signedBy", TAKE_PTR(array), err);
}

static int mounts_to_js(struct js *o, const struct policy_run *run, struct error *err)
{
    CLEANUP(js_cleanup) struct js *array = js_array_new();
    int rc = array ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < run->n_mounts; i++) {
        CLEANUP(js_cleanup) struct js *one = js_object_new();
        rc = one ? js_set(one, "source", js_text_new(run->mounts[i].source), err) : fail_nomem(err);
        if (!rc)
            rc = js_set(one, "readOnly", js_bool_new(run->mounts[i].read_only), err);
        if (!rc)
            rc = js_push(array, TAKE_PTR(one), err);
    }
    return rc || !run->has_mounts ? rc : js_set(o, "mounts", TAKE_PTR(array), err);
}

static int network_to_js(struct js *o, const struct policy_run *run, struct error *err)
{
    static char none[] = "none", own[] = "private", host[] = "host";
    char *modes[4] = {NULL};
    size_t n = 0;
    if (run->network_none)
        modes[n++] = none;
    if (run->network_private)
        modes[n++] = own;
    if (run->network_host)
        modes[n] = host;
    return run->has_network ? texts_to_js(o, "network", modes, err) : OK;
}

static int run_to_js(struct js *o, const struct policy_run *run, struct error *err)
{
    CLEANUP(js_cleanup) struct js *r = js_object_new();
    int rc = r ? OK : fail_nomem(err);
    if (!rc && run->user_non_root)
        rc = js_set(r, "user", js_text_new("non-root"), err);
    if (!rc)
        rc = network_to_js(r, run, err);
    if (!rc && run->read_only)
        rc = js_set(r, "readOnly", js_bool_new(true), err);
    if (!rc)
        rc = texts_to_js(r, "capabilities", run->capabilities, err);
    if (!rc && run->memory)
        rc = js_set(r, "memoryBytes", js_int_new((int64_t)run->memory), err);
    if (!rc && run->pids)
        rc = js_set(r, "pids", js_int_new(run->pids), err);
    if (!rc)
        rc = mounts_to_js(r, run, err);
    return rc || !js_count(r) ? rc : js_set(o, "run", TAKE_PTR(r), err);
}

static int freshness_to_js(struct js *o, const struct policy_scope *s, struct error *err)
{
    int rc = js_set(o, "refreshSeconds", js_int_new(s->refresh_s), err);
    if (!rc && s->max_age_s >= 0)
        rc = js_set(o, "maxAgeSeconds", js_int_new(s->max_age_s), err);
    if (!rc)
        rc = js_set(o, "offlineGraceSeconds", js_int_new(s->offline_grace_s), err);
    if (!rc)
        rc = js_set(o, "superseded", js_text_new(s->refuse_superseded ? "refuse" : "allow"), err);
    return rc ? rc : js_set(o, "tofu", js_bool_new(s->allow_tofu), err);
}

/* All that holds in a scope, what was left out as its default. */
static int scope_to_js(const struct policy_scope *s, struct js **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    CLEANUP(js_cleanup) struct js *tags = js_object_new();
    int rc = o && tags ? OK : fail_nomem(err);
    if (!rc && s->collection)
        rc = js_set(o, "collection", js_text_new(s->collection), err);
    if (!rc && s->has_anchor)
        rc = anchor_to_js(o, &s->anchor, err);
    if (!rc)
        rc = signed_by_to_js(o, s, err);
    if (!rc)
        rc = texts_to_js(tags, "allow", s->tags_allow, err);
    if (!rc)
        rc = texts_to_js(tags, "deny", s->tags_deny, err);
    if (!rc && js_count(tags))
        rc = js_set(o, "tags", TAKE_PTR(tags), err);
    if (!rc)
        rc = texts_to_js(o, "mirrors", s->mirrors, err);
    if (!rc)
        rc = freshness_to_js(o, s, err);
    if (!rc)
        rc = run_to_js(o, &s->run, err);
    if (!rc)
        *out = TAKE_PTR(o);
    return rc;
}

static const char *origin_of(const struct policy *p, size_t i)
{
    if (p->is_named[i])
        return p->is_system[i] ? "in place of all files" : "in place of the user's";
    return p->is_system[i] ? "system" : "user";
}

/* --- show --- */

/* A line for each setting: its name, and its value as it is written. */
static int say_scope(struct context *ctx, const struct js *scope, struct error *err)
{
    js_foreach (scope, it) {
        CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
        int rc = js_write(it.value, false, &text, err);
        if (rc)
            return rc;
        say(ctx, "    %-20s %s", it.key, bytes_text(&text));
    }
    return OK;
}

static int show_file(struct context *ctx, size_t i, struct js *list, struct error *err)
{
    const struct policy_file *file = ctx->policy.files[i];
    const char *whose = origin_of(&ctx->policy, i);
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    CLEANUP(js_cleanup) struct js *scopes = js_object_new();
    int rc = o && scopes ? OK : fail_nomem(err);
    say(ctx, "%s (%s): deny, but for %zu scopes", ctx->policy.paths[i], whose,
        policy_file_n_scopes(file));
    for (size_t k = 0; !rc && k < policy_file_n_scopes(file); k++) {
        struct js *scope = NULL;
        const struct policy_scope *s = policy_file_scope(file, k);
        rc = scope_to_js(s, &scope, err);
        say(ctx, "  %s", s->name);
        if (!rc && !ctx->json)
            rc = say_scope(ctx, scope, err);
        if (!rc)
            rc = js_set(scopes, s->name, scope, err);
        else
            js_free(scope);
    }
    if (!rc)
        rc = js_set(o, "path", js_text_new(ctx->policy.paths[i]), err);
    if (!rc)
        rc = js_set(o, "origin", js_text_new(whose), err);
    if (!rc)
        rc = js_set(o, "scopes", TAKE_PTR(scopes), err);
    return rc ? rc : js_push(list, TAKE_PTR(o), err);
}

int command_policy_show(struct context *ctx, struct error *err)
{
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    int rc = list ? context_policy(ctx, err) : fail_nomem(err);
    if (!rc && !ctx->policy.n_files)
        say(ctx, "no policy file: nothing may run; 'bulla policy allow SCOPE' makes one");
    for (size_t i = 0; !rc && i < ctx->policy.n_files; i++)
        rc = show_file(ctx, i, list, err);
    if (!rc && ctx->policy.n_files > 1)
        say(ctx, "both must allow; 'bulla policy test REF' says what follows for one image");
    return rc ? rc : result_set(ctx, "files", TAKE_PTR(list), err);
}

/* --- test --- */

struct explanation {
    struct context *ctx;
    struct js *steps;
    int rc;
    struct error *err;
};

/* One step, said and recorded. The first failure ends it all. */
static void step(struct explanation *e, const char *name, bool passed, const char *format, ...)
    PRINTF_LIKE(4, 5);
static void step(struct explanation *e, const char *name, bool passed, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    if (e->rc)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(e->ctx, "%-10s %s%s", name, passed ? "" : "NO: ", text);
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    e->rc = o ? js_set(o, "step", js_text_new(name), e->err) : fail_nomem(e->err);
    if (!e->rc)
        e->rc = js_set(o, "passed", js_bool_new(passed), e->err);
    if (!e->rc)
        e->rc = js_set(o, "text", js_text_new(text), e->err);
    if (!e->rc)
        e->rc = js_push(e->steps, TAKE_PTR(o), e->err);
}

static void decide(struct explanation *e, const char *why_not)
{
    step(e, "decision", !*why_not, "%s%s", *why_not ? "refused: " : "allowed", why_not);
}

static const char *join(char *const *list, char *out, size_t size)
{
    size_t used = 0;
    *out = '\0';
    for (size_t i = 0; list && list[i] && used < size; i++) {
        int n = snprintf(out + used, size - used, "%s'%s'", i ? ", " : "", list[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return out;
}

static void explain_tags(struct explanation *e, const struct policy_scope *s,
                         const struct reference *ref)
{
    char allow[300], deny[300], digest[DIGEST_TEXT_MAX];
    if (!s->tags_allow && !s->tags_deny)
        return;
    step(e, "tags", policy_tag_allowed(s, ref), "'%s'; allowed: %s; denied: %s",
         *ref->tag ? ref->tag : digest_format(&ref->digest, digest),
         s->tags_allow ? join(s->tags_allow, allow, sizeof allow) : "all",
         s->tags_deny ? join(s->tags_deny, deny, sizeof deny) : "none");
}

static void explain_run(struct explanation *e, const struct policy_scope *s)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    if (!e->rc)
        e->rc = o ? run_to_js(o, &s->run, e->err) : fail_nomem(e->err);
    if (e->rc || !js_count(o))
        return;
    e->rc = js_write(js_get(o, "run"), false, &text, e->err);
    if (!e->rc)
        step(e, "run", true, "%s", bytes_text(&text));
}

static void explain_file(struct explanation *e, size_t i, const struct reference *ref)
{
    const struct policy *p = &e->ctx->policy;
    const struct policy_scope *s = policy_file_match(p->files[i], ref);
    const char *whose = origin_of(p, i);
    if (!s) {
        step(e, "file", false, "%s (%s): none of its %zu scopes covers '%s/%s'", p->paths[i], whose,
             policy_file_n_scopes(p->files[i]), ref->host, ref->repository);
        return;
    }
    step(e, "file", true, "%s (%s): '%s' is the longest of its scopes that cover it", p->paths[i],
         whose, s->name);
    explain_tags(e, s, ref);
    for (size_t k = 0; k < s->n_signed_by; k++) {
        const struct signed_by *entry = &s->signed_by[k];
        if (entry->n_keys)
            step(e, "signedBy", true, "role '%s' must vouch, by %" PRId64 " of %zu pinned keys",
                 entry->role, entry->threshold, entry->n_keys);
        else
            step(e, "signedBy", true, "role '%s' must vouch, by keys that count for it alone",
                 entry->role);
    }
    explain_run(e, s);
}

static void explain_root(struct explanation *e, const struct tuf_metadata *root, const char *from)
{
    const struct tuf_role_keys *keys = tuf_root_role(root, TUF_ROOT);
    step(e, "anchor", true, "%s: version %" PRId64 " of '%s', %" PRId64 " of %zu keys", from,
         tuf_metadata_version(root),
         tuf_metadata_collection(root) ? tuf_metadata_collection(root) : "?", keys->threshold,
         keys->n_ids);
    for (size_t i = 0; i < keys->n_ids; i++)
        step(e, "key", true, "%s", keys->ids[i].text);
}

static void explain_pin(struct explanation *e, const struct reference *ref,
                        const struct decision *d)
{
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct error why = ERROR_INIT;
    int rc = trust_pin_read(e->ctx->home, ref->host, ref->repository, &root, &why);
    if (!rc)
        rc = tuf_metadata_parse(TUF_ROOT, root.data, root.len, &m, &why);
    if (!rc)
        explain_root(e, m, "the pinned root");
    else if (rc == E_NOTFOUND && d->allow_tofu)
        step(e, "anchor", true, "none yet: policy lets the first use decide");
    else if (rc == E_NOTFOUND)
        step(e, "anchor", false,
             "none: policy names no root and none is pinned; 'bulla trust pin "
             "%s/%s' shows and pins one",
             ref->host, ref->repository);
    else
        step(e, "anchor", false, "%s", why.message);
}

static void explain_anchor(struct explanation *e, const struct reference *ref,
                           const struct decision *d)
{
    const struct anchor *a = d->anchor;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *root = NULL;
    struct error why = ERROR_INIT;
    if (!a) {
        explain_pin(e, ref, d);
    } else if (!a->root_file) {
        step(e, "anchor", true, "%" PRId64 " of %zu root keys, version %" PRId64 " or later",
             anchor_threshold(a), a->n_keys, a->min_version);
        for (size_t i = 0; i < a->n_keys; i++)
            step(e, "key", true, "%s", a->keys[i].text);
    } else if (policy_root_read(a, &root, &why)) {
        step(e, "anchor", false, "%s", why.message);
    } else {
        explain_root(e, root, a->root_file);
    }
}

static void explain(struct explanation *e, const struct reference *ref, const struct decision *d)
{
    char age[32] = "none";
    for (size_t i = 0; i < e->ctx->policy.n_files; i++)
        explain_file(e, i, ref);
    step(e, "collection", true, "%s", d->collection);
    explain_anchor(e, ref, d);
    if (d->max_age_s >= 0)
        (void)snprintf(age, sizeof age, "%" PRId64 " s", d->max_age_s);
    if (d->n_scopes)
        step(e, "freshness", true,
             "asked again after %" PRId64 " s; maxAge %s; offlineGrace %" PRId64
             " s; superseded: %s",
             d->refresh_s, age, d->offline_grace_s, d->refuse_superseded ? "refuse" : "allow");
    decide(e, d->allowed ? "" : d->reason);
}

static int test_result(struct context *ctx, const struct decision *d, struct js *steps, int rc,
                       struct error *err)
{
    CLEANUP(js_cleanup) struct js *list = steps;
    if (!rc)
        rc = result_set(ctx, "allowed", js_bool_new(d->allowed), err);
    if (!rc)
        rc = result_text(ctx, "collection", d->collection, err);
    if (!rc)
        rc = result_text(ctx, "reason", d->reason, err);
    return rc ? rc : result_set(ctx, "steps", TAKE_PTR(list), err);
}

int command_policy_test(struct context *ctx, struct error *err)
{
    struct reference ref;
    struct decision decision;
    struct error why = ERROR_INIT;
    CLEANUP(js_cleanup) struct js *steps = js_array_new();
    int rc = parse_reference(ctx->options.args[0], &ref, err);
    if (!rc)
        rc = context_policy(ctx, err);
    if (rc)
        return rc;
    struct explanation e = {ctx, steps, steps ? OK : fail_nomem(err), err};
    int decided = policy_decide(&ctx->policy, &ref, &decision, &why);
    if (decided) { /* the files contradict each other */
        for (size_t i = 0; i < ctx->policy.n_files; i++)
            explain_file(&e, i, &ref);
        decide(&e, why.message);
        decision = (struct decision){.allowed = false};
        memcpy(decision.collection, ref.repository, sizeof decision.collection);
        (void)snprintf(decision.reason, sizeof decision.reason, "%s", why.message);
    } else {
        explain(&e, &ref, &decision);
    }
    rc = test_result(ctx, &decision, TAKE_PTR(steps), e.rc, err);
    if (!rc && decided)
        *err = why;
    else if (!rc && !decision.allowed)
        rc = fail(err, E_POLICY, "%s", decision.reason);
    return rc ? rc : decided;
}

/* bulla policy …: what may run here. */
#include "base/file.h"
#include "cli/command.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

/* Keeps a copy of the root beside the policy, named by its digest: the file that policy names must
 * not change or vanish with somebody's download folder. */
static int keep_root(const char *policy_path, const struct bytes *root, char **out,
                     struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct digest d;
    char hex[DIGEST_TEXT_MAX];
    const char *slash = strrchr(policy_path, '/');
    int rc = tuf_metadata_parse(TUF_ROOT, root->data, root->len, &m, err);
    if (!rc)
        rc = digest_of(DIGEST_SHA256, root->data, root->len, &d, err);
    if (rc)
        return wrap(err, rc, "root");
    CLEANUP(cleanup_free)
    char *folder = text_format("%.*s/roots", slash ? (int)(slash - policy_path) : 1,
                               slash ? policy_path : ".");
    CLEANUP(cleanup_fd) int fd = -1;
    if (!folder)
        return fail_nomem(err);
    rc = file_open_dir(folder, true, &fd, err);
    CLEANUP(cleanup_free) char *name = text_format("%.16s.root.json", digest_hex(&d, hex));
    if (!rc && !name)
        rc = fail_nomem(err);
    if (!rc)
        rc = file_write_atomic(fd, name, root->data, root->len, 0644, err);
    if (rc)
        return rc;
    *out = text_format("roots/%s", name);
    return *out ? OK : fail_nomem(err);
}

static int root_of_scope(struct context *ctx, const char *scope, struct bytes *out,
                         struct error *err)
{
    const char *file = option_text(&ctx->options, "root");
    if (file)
        return file_read(AT_FDCWD, file, TUF_MAX_ROOT_BYTES, out, err);
    const char *slash = strchr(scope, '/');
    if (!slash || slash[1] == '\0')
        return fail(err, E_USAGE,
                    "name the root with --root or --root-key, or a scope HOST/REPOSITORY "
                    "whose root is pinned");
    CLEANUP(cleanup_free) char *host = strndup(scope, (size_t)(slash - scope));
    if (!host)
        return fail_nomem(err);
    struct error why = ERROR_INIT;
    int rc = trust_pin_read(ctx->home, host, slash + 1, out, &why);
    if (rc == E_NOTFOUND)
        return fail(
            err, E_NO_TRUST,
            "no root is pinned for '%s': 'bulla trust pin %s' shows and pins one, or name it "
            "with --root or --root-key",
            scope, scope);
    if (rc)
        *err = why;
    return rc;
}

static int say_anchor(struct context *ctx, const struct bytes *root, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    int rc = tuf_metadata_parse(TUF_ROOT, root->data, root->len, &m, err);
    if (rc)
        return wrap(err, rc, "root");
    const struct tuf_role_keys *keys = tuf_root_role(m, TUF_ROOT);
    say(ctx, "root version %" PRId64 ", %" PRId64 " of:", tuf_metadata_version(m), keys->threshold);
    for (size_t i = 0; i < keys->n_ids; i++)
        say(ctx, "  %s", keys->ids[i].text);
    return OK;
}

static int number_option(const struct context *ctx, const char *name, uint64_t max, int64_t *out,
                         struct error *err)
{
    const char *text = option_text(&ctx->options, name);
    uint64_t value;
    if (!text)
        return OK;
    if (text_to_u64(text, strlen(text), max, &value, NULL) || !value)
        return fail(err, E_USAGE, "--%s '%s' is not a number from 1 to %llu", name, text,
                    (unsigned long long)max);
    *out = (int64_t)value;
    return OK;
}

static int anchor_of(struct context *ctx, const char *scope, const char *path, struct anchor *out,
                     struct error *err)
{
    const char *ids[POLICY_MAX_ROOT_KEYS + 1];
    size_t n = option_list(&ctx->options, "root-key", ids, POLICY_MAX_ROOT_KEYS + 1);
    CLEANUP(bytes_done) struct bytes root = BYTES_INIT;
    out->min_version = 1;
    if (n && option_given(&ctx->options, "root"))
        return fail(err, E_USAGE, "name either --root or --root-key");
    if (n > POLICY_MAX_ROOT_KEYS)
        return fail(err, E_USAGE, "at most %d root keys", POLICY_MAX_ROOT_KEYS);
    for (size_t i = 0; i < n; i++) {
        int rc = key_id_parse(ids[i], &out->keys[i], err);
        if (rc)
            return fail(err, E_USAGE, "--root-key '%s' is not a key id (64 hex digits)", ids[i]);
    }
    out->n_keys = n;
    if (n) {
        int rc = number_option(ctx, "root-threshold", n, &out->threshold, err);
        return rc ? rc : number_option(ctx, "min-version", INT32_MAX, &out->min_version, err);
    }
    if (option_given(&ctx->options, "root-threshold") || option_given(&ctx->options, "min-version"))
        return fail(err, E_USAGE, "--root-threshold and --min-version go with --root-key");
    int rc = root_of_scope(ctx, scope, &root, err);
    if (!rc)
        rc = say_anchor(ctx, &root, err);
    return rc ? rc : keep_root(path, &root, &out->root_file, err);
}

int command_policy_allow(struct context *ctx, struct error *err)
{
    const char *scope = ctx->options.args[0];
    CLEANUP(cleanup_free) char *path = NULL;
    struct anchor anchor = {.root_file = NULL};
    int rc = policy_scope_check(scope, err);
    if (!rc)
        rc = context_policy_path(ctx, &path, err);
    if (!rc)
        rc = anchor_of(ctx, scope, path, &anchor, err);
    if (!rc)
        rc = policy_allow(path, scope, &anchor, err);
    free(anchor.root_file);
    if (rc)
        return rc;
    say(ctx, "allowed '%s' in %s", scope, path);
    rc = result_text(ctx, "scope", scope, err);
    return rc ? rc : result_text(ctx, "policy", path, err);
}

static void explain(struct context *ctx, const struct reference *ref, const struct decision *d)
{
    for (size_t i = 0; i < ctx->policy.n_files; i++) {
        const struct policy_scope *scope = policy_file_match(ctx->policy.files[i], ref);
        say(ctx, "file       %s: %s%s", ctx->policy.paths[i], scope ? "scope " : "no scope matches",
            scope ? scope->name : "");
    }
    say(ctx, "collection %s", d->collection);
    if (d->anchor && d->anchor->root_file)
        say(ctx, "anchor     root file %s", d->anchor->root_file);
    else if (d->anchor)
        say(ctx, "anchor     %" PRId64 " of %zu root keys, version %" PRId64 " or later",
            d->anchor->threshold ? d->anchor->threshold : (int64_t)d->anchor->n_keys,
            d->anchor->n_keys, d->anchor->min_version);
    else
        say(ctx, "anchor     none in policy: a pin is needed");
    if (d->n_scopes)
        say(ctx, "freshness  refresh after %" PRId64 " s, offline grace %" PRId64 " s",
            d->refresh_s, d->offline_grace_s);
    say(ctx, "decision   %s%s%s", d->allowed ? "allowed" : "refused", d->allowed ? "" : ": ",
        d->reason);
}

int command_policy_test(struct context *ctx, struct error *err)
{
    struct reference ref;
    struct decision decision;
    int rc = parse_reference(ctx->options.args[0], &ref, err);
    if (!rc)
        rc = context_policy(ctx, err);
    if (!rc)
        rc = policy_decide(&ctx->policy, &ref, &decision, err);
    if (rc)
        return rc;
    explain(ctx, &ref, &decision);
    rc = result_set(ctx, "allowed", js_bool_new(decision.allowed), err);
    if (!rc)
        rc = result_text(ctx, "collection", decision.collection, err);
    if (!rc)
        rc = result_text(ctx, "reason", decision.reason, err);
    if (!rc && !decision.allowed)
        rc = fail(err, E_POLICY, "%s", decision.reason);
    return rc;
}

int command_policy_check(struct context *ctx, struct error *err)
{
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    CLEANUP(policy_file_cleanup) struct policy_file *file = NULL;
    const char *path = ctx->options.args[0];
    int rc = file_read(AT_FDCWD, path, POLICY_MAX_BYTES, &content, err);
    if (!rc)
        rc = policy_file_parse(content.data, content.len, path, &file, err);
    if (rc)
        return rc;
    say(ctx, "%s: good, %zu scopes", path, policy_file_n_scopes(file));
    return result_int(ctx, "scopes", (int64_t)policy_file_n_scopes(file), err);
}

int command_policy_show(struct context *ctx, struct error *err)
{
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    int rc = list ? context_policy(ctx, err) : fail_nomem(err);
    if (!rc && !ctx->policy.n_files)
        say(ctx, "no policy file: nothing may run; 'bulla policy allow SCOPE' makes one");
    for (size_t i = 0; !rc && i < ctx->policy.n_files; i++) {
        say(ctx, "%s", ctx->policy.paths[i]);
        for (size_t k = 0; k < policy_file_n_scopes(ctx->policy.files[i]); k++)
            say(ctx, "  %s", policy_file_scope(ctx->policy.files[i], k)->name);
        rc = js_push(list, js_text_new(ctx->policy.paths[i]), err);
    }
    return rc ? rc : result_set(ctx, "files", TAKE_PTR(list), err);
}

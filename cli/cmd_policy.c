/* bulla policy …: what may run here. */
#include "base/file.h"
#include "cli/command.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Keeps a copy of the root beside the policy, named by its digest: the file that policy names must
 * not change or vanish with somebody's download folder. */
static int keep_root(const char *policy_path, const struct bytes *root, char **out,
                     struct error *err)
{
    struct digest d;
    char hex[DIGEST_TEXT_MAX];
    const char *slash = strrchr(policy_path, '/');
    int rc = digest_of(DIGEST_SHA256, root->data, root->len, &d, err);
    if (rc)
        return rc;
    CLEANUP(cleanup_free)
    char *folder = text_format("%.*s/roots", slash ? (int)(slash - policy_path) : 1,
                               slash ? policy_path : ".");
    CLEANUP(cleanup_fd) int fd = -1;
    if (!folder)
        return fail_nomem(err);
    bool made = access(folder, F_OK) != 0;
    rc = file_open_dir(folder, true, &fd, err);
    if (!rc && made && fchmod(fd, 0755)) /* whoever may read the policy beside it must, too */
        rc = fail_sys(err, errno, "open '%s' to readers", folder);
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

/* What the file at `path` says already of that scope's collection. */
static void known_collection(const char *path, const char *scope,
                             char out[REFERENCE_REPOSITORY_MAX + 1])
{
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    CLEANUP(policy_file_cleanup) struct policy_file *file = NULL;
    struct error why = ERROR_INIT;
    if (file_read(AT_FDCWD, path, POLICY_MAX_BYTES, &content, &why) ||
        policy_file_parse(content.data, content.len, path, &file, &why))
        return; /* policy_allow says what is wrong with it */
    for (size_t i = 0; i < policy_file_n_scopes(file); i++) {
        const struct policy_scope *known = policy_file_scope(file, i);
        if (strcmp(known->name, scope) == 0 && known->collection)
            (void)snprintf(out, REFERENCE_REPOSITORY_MAX + 1, "%s", known->collection);
    }
}

/* A root serves one collection: the one that the scope means, or one below it. */
static int check_collection(struct context *ctx, const char *scope, const char *path,
                            const char *name, struct error *err)
{
    const char *slash = strchr(scope, '/'), *option = option_text(&ctx->options, "collection");
    char means[REFERENCE_REPOSITORY_MAX + 1];
    (void)snprintf(means, sizeof means, "%s", slash ? slash + 1 : "");
    if (option)
        (void)snprintf(means, sizeof means, "%s", option);
    else
        known_collection(path, scope, means);
    size_t len = strlen(means);
    if (len && means[len - 1] == '/')
        means[--len] = '\0';
    if (!name || strcmp(name, means) == 0)
        return OK;
    if (len && (strncmp(name, means, len) != 0 || name[len] != '/'))
        return fail(err, E_USAGE,
                    "the root is of collection '%s', the scope means '%s'; '--collection %s' says "
                    "that it serves the other one",
                    name, means, name);
    note(ctx, "warning: the root is of collection '%s': nothing else in '%s' is valid by it", name,
         scope);
    return OK;
}

static int say_anchor(struct context *ctx, const struct tuf_metadata *m, struct error *err)
{
    CLEANUP(js_cleanup) struct js *ids = js_array_new();
    const struct tuf_role_keys *keys = tuf_root_role(m, TUF_ROOT);
    int rc = ids ? OK : fail_nomem(err);
    say(ctx, "root version %" PRId64 " of '%s', %" PRId64 " of:", tuf_metadata_version(m),
        tuf_metadata_collection(m) ? tuf_metadata_collection(m) : "?", keys->threshold);
    for (size_t i = 0; !rc && i < keys->n_ids; i++) {
        say(ctx, "  %s", keys->ids[i].text);
        rc = js_push(ids, js_text_new(keys->ids[i].text), err);
    }
    if (!rc)
        rc = result_set(ctx, "rootKeys", TAKE_PTR(ids), err);
    return rc ? rc : result_int(ctx, "rootVersion", tuf_metadata_version(m), err);
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
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    int rc = root_of_scope(ctx, scope, &root, err);
    if (!rc)
        rc = wrap(err, tuf_metadata_parse(TUF_ROOT, root.data, root.len, &m, err), "root");
    if (!rc)
        rc = check_collection(ctx, scope, path, tuf_metadata_collection(m), err);
    if (!rc)
        rc = say_anchor(ctx, m, err);
    return rc ? rc : keep_root(path, &root, &out->root_file, err);
}

/* Where the system's policy has a scope, its root counts and the user's file may name none. */
static int ask_system(struct context *ctx, const char *scope, bool *binds, struct error *err)
{
    static const char *const options[] = {"root", "root-key", "collection"};
    CLEANUP(policy_done) struct policy p = {.n_files = 0};
    struct reference ref = {.tag = ""};
    const char *slash = strchr(scope, '/');
    (void)snprintf(ref.host, sizeof ref.host, "%.*s", (int)strcspn(scope, "/"), scope);
    (void)snprintf(ref.repository, sizeof ref.repository, "%s", slash ? slash + 1 : "");
    int rc = context_system_policy(ctx, &p, err);
    if (rc || !p.n_files)
        return rc;
    const struct policy_scope *system = policy_file_match(p.files[0], &ref);
    *binds = system != NULL;
    for (size_t i = 0; system && i < sizeof options / sizeof options[0]; i++)
        if (option_given(&ctx->options, options[i]))
            return fail(err, E_POLICY,
                        "'%s' has scope '%s', and only it may name root and collection there; "
                        "leave --%s out",
                        p.paths[0], system->name, options[i]);
    if (system)
        say(ctx, "root and collection are those of '%s', scope '%s'", p.paths[0], system->name);
    return OK;
}

static int check_collection_option(const char *name, struct error *err)
{
    size_t len = name ? strlen(name) : 0;
    if (len && name[len - 1] == '/')
        len--;
    return name && !repository_name_valid(name, len)
               ? fail(err, E_USAGE, "--collection '%s' is no repository's name", name)
               : OK;
}

int command_policy_allow(struct context *ctx, struct error *err)
{
    const char *scope = ctx->options.args[0];
    const char *collection = option_text(&ctx->options, "collection");
    CLEANUP(cleanup_free) char *path = NULL;
    struct anchor anchor = {.root_file = NULL};
    bool system_binds = false;
    int rc = policy_scope_check(scope, err);
    if (!rc)
        rc = check_collection_option(collection, err);
    if (!rc)
        rc = context_policy_path(ctx, &path, err);
    if (!rc)
        rc = ask_system(ctx, scope, &system_binds, err);
    if (!rc && !system_binds)
        rc = anchor_of(ctx, scope, path, &anchor, err);
    if (!rc)
        rc = policy_allow(path, scope, system_binds ? NULL : &anchor, collection, err);
    free(anchor.root_file);
    if (rc)
        return rc;
    say(ctx, "allowed '%s' in %s", scope, path);
    rc = result_text(ctx, "scope", scope, err);
    return rc ? rc : result_text(ctx, "policy", path, err);
}

/* A root that cannot be read stops every verdict in its scope: better known now. */
static int check_roots(struct context *ctx, const struct policy_file *file, struct error *err)
{
    CLEANUP(js_cleanup) struct js *warnings = js_array_new();
    int rc = warnings ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < policy_file_n_scopes(file); i++) {
        const struct policy_scope *scope = policy_file_scope(file, i);
        CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *root = NULL;
        struct error why = ERROR_INIT;
        if (!scope->anchor.root_file || policy_root_read(&scope->anchor, &root, &why) == OK)
            continue;
        note(ctx, "warning: scope '%s': %s", scope->name, why.message);
        rc = js_push(warnings, js_text_new(why.message), err);
    }
    return rc ? rc : result_set(ctx, "warnings", TAKE_PTR(warnings), err);
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
    rc = result_int(ctx, "scopes", (int64_t)policy_file_n_scopes(file), err);
    return rc ? rc : check_roots(ctx, file, err);
}

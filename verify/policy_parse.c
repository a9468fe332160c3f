/* Strict parsing of one policy file. */
#include "base/file.h"
#include "verify/policy.h"
#include "verify/policy_internal.h"

#include <string.h>

static void strings_free(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free((void *)list);
}

static void scope_done(struct policy_scope *s)
{
    free(s->name);
    free(s->collection);
    free(s->anchor.root_file);
    strings_free(s->tags_allow);
    strings_free(s->tags_deny);
    strings_free(s->run.capabilities);
    for (size_t i = 0; i < s->run.n_mounts; i++)
        free(s->run.mounts[i].source);
    free(s->run.mounts);
}

void policy_file_free(struct policy_file *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++)
        scope_done(&f->scopes[i]);
    free(f->scopes);
    free(f);
}

void policy_file_cleanup(struct policy_file **f)
{
    policy_file_free(*f);
    *f = NULL;
}

size_t policy_file_n_scopes(const struct policy_file *f)
{
    return f->n;
}

const struct policy_scope *policy_file_scope(const struct policy_file *f, size_t i)
{
    return &f->scopes[i];
}

static int copy_text(const char *text, char **out, struct error *err)
{
    *out = strdup(text);
    return *out ? OK : fail_nomem(err);
}

/* An array of strings as a NULL-terminated list. */
static int string_list(const struct js *o, const char *key, char ***out, struct error *err)
{
    const struct js *array = NULL;
    int rc = js_opt_array(o, key, &array, err);
    if (rc || !array)
        return rc;
    size_t n = js_count(array);
    char **list = (char **)calloc(n + 1, sizeof *list);
    if (!list)
        return fail_nomem(err);
    *out = list; /* owned by the scope from here on, partial or not */
    for (size_t i = 0; i < n; i++) {
        const char *text = js_text(js_at(array, i));
        if (!text)
            return fail(err, E_INVALID, "'%s' must hold strings only", key);
        rc = copy_text(text, &list[i], err);
        if (rc)
            return rc;
    }
    return OK;
}

static int duration_member(const struct js *o, const char *key, int64_t *out, struct error *err)
{
    const char *text = NULL;
    int rc = js_opt_text(o, key, &text, err);
    if (!rc && text)
        rc = text_to_duration(text, out, err);
    return wrap(err, rc, "%s", key);
}

static int key_ids(const struct js *o, const char *key, struct key_id *out, size_t max, size_t *n,
                   struct error *err)
{
    const struct js *array = NULL;
    int rc = js_opt_array(o, key, &array, err);
    if (rc || !array)
        return rc;
    if (js_count(array) > max)
        return fail(err, E_LIMIT, "'%s' has more than %zu entries", key, max);
    for (size_t i = 0; i < js_count(array); i++) {
        const char *text = js_text(js_at(array, i));
        if (!text)
            return fail(err, E_INVALID, "'%s' must hold key ids", key);
        rc = key_id_parse(text, &out[i], err);
        if (rc)
            return wrap(err, rc, "%s", key);
        for (size_t k = 0; k < i; k++)
            if (strcmp(out[k].text, out[i].text) == 0)
                return fail(err, E_INVALID, "'%s' names a key twice", key);
    }
    *n = js_count(array);
    return OK;
}

static int parse_anchor(const struct js *o, const char *base, struct policy_scope *scope,
                        struct error *err)
{
    static const char *const known[] = {"file", "keys", "threshold", "minVersion", NULL};
    const char *file = NULL;
    struct anchor *a = &scope->anchor;
    int rc = js_only_keys(o, known, err);
    if (!rc)
        rc = js_opt_text(o, "file", &file, err);
    if (!rc)
        rc = key_ids(o, "keys", a->keys, POLICY_MAX_ROOT_KEYS, &a->n_keys, err);
    if (!rc)
        rc = js_opt_int(o, "minVersion", 1, INT32_MAX, &a->min_version, err);
    if (!rc)
        rc = js_opt_int(o, "threshold", 1, POLICY_MAX_ROOT_KEYS, &a->threshold, err);
    if (rc)
        return rc;
    if (!file == !a->n_keys)
        return fail(err, E_INVALID, "name either 'file' or 'keys'");
    /* A file is its own rule; a second one beside it would be believed and not hold. */
    if (file && (js_get(o, "minVersion") || js_get(o, "threshold")))
        return fail(err, E_INVALID, "'minVersion' and 'threshold' go with 'keys', not with 'file'");
    if (a->threshold > (int64_t)a->n_keys)
        return fail(err, E_INVALID, "'threshold' is larger than the number of keys");
    if (file) {
        const char *slash = strrchr(base, '/');
        a->root_file = *file == '/' || !slash
                           ? strdup(file)
                           : text_format("%.*s/%s", (int)(slash - base), base, file);
        if (!a->root_file)
            return fail_nomem(err);
    }
    scope->has_anchor = true;
    return OK;
}

static int parse_signed_by_entry(const struct js *v, struct signed_by *out, struct error *err)
{
    static const char *const known[] = {"role", "keys", "threshold", NULL};
    const char *role = js_text(v);
    int rc = OK;
    out->threshold = 1;
    if (!role) {
        if (js_type(v) != JS_OBJECT)
            return fail(err, E_INVALID, "an entry must be a role name or an object");
        rc = js_only_keys(v, known, err);
        if (!rc)
            rc = js_want_text(v, "role", &role, err);
        if (!rc)
            rc = key_ids(v, "keys", out->keys, 16, &out->n_keys, err);
        if (!rc)
            rc = js_opt_int(v, "threshold", 1, 16, &out->threshold, err);
        if (!rc && out->n_keys && out->threshold > (int64_t)out->n_keys)
            rc = fail(err, E_INVALID, "threshold is larger than the number of keys");
        if (!rc && !out->n_keys && js_get(v, "threshold"))
            rc = fail(err, E_INVALID, "threshold needs 'keys'");
    }
    if (rc)
        return rc;
    if (!*role || strlen(role) >= sizeof out->role)
        return fail(err, E_INVALID, "role name is empty or too long");
    memcpy(out->role, role, strlen(role) + 1);
    return OK;
}

static int parse_signed_by(const struct js *o, struct policy_scope *scope, struct error *err)
{
    const struct js *array = NULL;
    int rc = js_opt_array(o, "signedBy", &array, err);
    if (rc || !array)
        return rc;
    if (js_count(array) == 0 || js_count(array) > POLICY_MAX_SIGNED_BY)
        return fail(err, E_INVALID, "'signedBy' must have 1 to %d entries", POLICY_MAX_SIGNED_BY);
    for (size_t i = 0; i < js_count(array); i++) {
        rc = parse_signed_by_entry(js_at(array, i), &scope->signed_by[i], err);
        if (rc)
            return wrap(err, rc, "signedBy/%zu", i);
    }
    scope->n_signed_by = js_count(array);
    return OK;
}

static int parse_tags(const struct js *o, struct policy_scope *scope, struct error *err)
{
    static const char *const known[] = {"allow", "deny", NULL};
    const struct js *tags = NULL;
    int rc = js_opt_object(o, "tags", &tags, err);
    if (rc || !tags)
        return rc;
    rc = js_only_keys(tags, known, err);
    if (!rc)
        rc = string_list(tags, "allow", &scope->tags_allow, err);
    if (!rc)
        rc = string_list(tags, "deny", &scope->tags_deny, err);
    return wrap(err, rc, "tags");
}

static int parse_network(const struct js *o, struct policy_run *run, struct error *err)
{
    const struct js *array = NULL;
    int rc = js_opt_array(o, "network", &array, err);
    if (rc || !array)
        return rc;
    run->has_network = true;
    for (size_t i = 0; i < js_count(array); i++) {
        const char *text = js_text(js_at(array, i));
        if (text && strcmp(text, "none") == 0)
            run->network_none = true;
        else if (text && strcmp(text, "private") == 0)
            run->network_private = true;
        else if (text && strcmp(text, "host") == 0)
            run->network_host = true;
        else
            return fail(err, E_INVALID, "'network' must hold none, private or host");
    }
    return OK;
}

static int parse_mounts(const struct js *o, struct policy_run *run, struct error *err)
{
    static const char *const known[] = {"source", "readOnly", NULL};
    const struct js *array = NULL;
    int rc = js_opt_array(o, "mounts", &array, err);
    if (rc || !array)
        return rc;
    run->has_mounts = true;
    run->mounts = calloc(js_count(array) + 1, sizeof *run->mounts);
    if (!run->mounts)
        return fail_nomem(err);
    for (size_t i = 0; !rc && i < js_count(array); i++) {
        const struct js *v = js_at(array, i);
        const char *source = NULL;
        rc = js_type(v) == JS_OBJECT ? js_only_keys(v, known, err)
                                     : fail(err, E_INVALID, "an entry must be an object");
        if (!rc)
            rc = js_want_text(v, "source", &source, err);
        if (!rc && *source != '/')
            rc = fail(err, E_INVALID, "'source' must be an absolute path");
        if (!rc)
            rc = js_opt_bool(v, "readOnly", &run->mounts[i].read_only, err);
        if (!rc)
            rc = copy_text(source, &run->mounts[i].source, err);
        if (!rc)
            run->n_mounts++;
        rc = wrap(err, rc, "mounts/%zu", i);
    }
    return rc;
}

static int parse_run_limits(const struct js *o, struct policy_run *run, struct error *err)
{
    const char *user = NULL, *memory = NULL;
    int rc = js_opt_text(o, "user", &user, err);
    if (!rc && user && strcmp(user, "non-root") != 0)
        rc = fail(err, E_INVALID, "'user' must be \"non-root\"");
    run->user_non_root = user != NULL;
    if (!rc)
        rc = js_opt_text(o, "memory", &memory, err);
    if (!rc && memory)
        rc = text_to_size(memory, &run->memory, err);
    if (!rc)
        rc = js_opt_int(o, "pids", 1, INT32_MAX, &run->pids, err);
    if (!rc)
        rc = js_opt_bool(o, "readOnly", &run->read_only, err);
    return rc;
}

static int parse_run(const struct js *o, struct policy_scope *scope, struct error *err)
{
    static const char *const known[] = {"user",   "network", "readOnly", "capabilities",
                                        "memory", "pids",    "mounts",   NULL};
    const struct js *run = NULL;
    int rc = js_opt_object(o, "run", &run, err);
    if (rc || !run)
        return rc;
    rc = js_only_keys(run, known, err);
    if (!rc)
        rc = parse_run_limits(run, &scope->run, err);
    if (!rc)
        rc = parse_network(run, &scope->run, err);
    if (!rc)
        rc = string_list(run, "capabilities", &scope->run.capabilities, err);
    scope->run.has_capabilities = scope->run.capabilities != NULL;
    if (!rc)
        rc = parse_mounts(run, &scope->run, err);
    return wrap(err, rc, "run");
}

static int parse_superseded(const struct js *o, struct policy_scope *scope, struct error *err)
{
    const char *text = NULL;
    int rc = js_opt_text(o, "superseded", &text, err);
    if (rc || !text)
        return rc;
    if (strcmp(text, "allow") != 0 && strcmp(text, "refuse") != 0)
        return fail(err, E_INVALID, "'superseded' must be \"allow\" or \"refuse\"");
    scope->refuse_superseded = strcmp(text, "refuse") == 0;
    return OK;
}

static int parse_collection(const struct js *o, struct policy_scope *scope, struct error *err)
{
    const char *text = NULL;
    int rc = js_opt_text(o, "collection", &text, err);
    if (rc || !text)
        return rc;
    size_t len = strlen(text);
    if (len && text[len - 1] == '/')
        len--;
    if (!repository_name_valid(text, len))
        return fail(err, E_INVALID, "'collection' must be a repository name or a prefix with '/'");
    return copy_text(text, &scope->collection, err);
}

static int parse_freshness(const struct js *o, struct policy_scope *scope, struct error *err)
{
    scope->refresh_s = POLICY_DEFAULT_REFRESH;
    scope->max_age_s = -1;
    int rc = duration_member(o, "refresh", &scope->refresh_s, err);
    if (!rc)
        rc = duration_member(o, "maxAge", &scope->max_age_s, err);
    if (!rc)
        rc = duration_member(o, "offlineGrace", &scope->offline_grace_s, err);
    if (!rc)
        rc = parse_superseded(o, scope, err);
    if (!rc)
        rc = js_opt_bool(o, "tofu", &scope->allow_tofu, err);
    return rc;
}

static int parse_scope(const char *name, const struct js *o, const char *base,
                       struct policy_scope *scope, struct error *err)
{
    static const char *const known[] = {"collection", "root",   "signedBy",   "tags",
                                        "refresh",    "maxAge", "superseded", "offlineGrace",
                                        "run",        "tofu",   "hardware",   NULL};
    const struct js *root = NULL;
    scope->anchor.min_version = 1;
    int rc = policy_scope_check(name, err);
    if (!rc)
        rc = copy_text(name, &scope->name, err);
    if (!rc && js_type(o) != JS_OBJECT)
        rc = fail(err, E_INVALID, "a scope must be an object");
    if (!rc)
        rc = js_only_keys(o, known, err);
    /* Asked for and not enforceable must never pass silently. */
    if (!rc && js_get(o, "hardware"))
        rc = fail(err, E_UNSUPPORTED, "'hardware' cannot be enforced by this version");
    if (!rc)
        rc = parse_collection(o, scope, err);
    if (!rc)
        rc = js_opt_object(o, "root", &root, err);
    if (!rc && root)
        rc = wrap(err, parse_anchor(root, base, scope, err), "root");
    if (!rc)
        rc = parse_signed_by(o, scope, err);
    if (!rc)
        rc = parse_tags(o, scope, err);
    if (!rc)
        rc = parse_freshness(o, scope, err);
    return rc ? rc : parse_run(o, scope, err);
}

static int parse_document(const struct js *o, const char *path, struct policy_file *f,
                          struct error *err)
{
    static const char *const known[] = {"version", "default", "scopes", NULL};
    const struct js *scopes = NULL;
    const char *fallback = "deny";
    int64_t version;
    if (js_type(o) != JS_OBJECT)
        return fail(err, E_INVALID, "a policy must be an object");
    int rc = js_only_keys(o, known, err);
    if (!rc)
        rc = js_want_int(o, "version", 1, 1, &version, err);
    if (!rc)
        rc = js_opt_text(o, "default", &fallback, err);
    if (!rc && strcmp(fallback, "deny") != 0)
        rc = fail(err, E_INVALID, "'default' must be \"deny\"");
    if (!rc)
        rc = js_opt_object(o, "scopes", &scopes, err);
    if (rc || !scopes)
        return rc;
    f->scopes = calloc(js_count(scopes) + 1, sizeof *f->scopes);
    if (!f->scopes)
        return fail_nomem(err);
    js_foreach (scopes, it) {
        struct policy_scope *scope = &f->scopes[f->n++];
        rc = parse_scope(it.key, it.value, path, scope, err);
        if (rc)
            return wrap(err, rc, "/scopes/%s", it.key);
    }
    return OK;
}

int policy_file_parse(const void *data, size_t len, const char *path, struct policy_file **out,
                      struct error *err)
{
    CLEANUP(policy_file_cleanup) struct policy_file *f = calloc(1, sizeof *f);
    CLEANUP(js_cleanup) struct js *doc = NULL;
    if (!f)
        return fail_nomem(err);
    int rc = len > POLICY_MAX_BYTES
                 ? fail(err, E_LIMIT, "a policy may have at most %u bytes", POLICY_MAX_BYTES)
                 : js_parse(data, len, &doc, err);
    if (!rc)
        rc = parse_document(doc, path, f, err);
    if (rc)
        return wrap(err, rc, "policy '%s'", path);
    *out = TAKE_PTR(f);
    return OK;
}

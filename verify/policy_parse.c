/* Strict parsing of one policy file. */
#include "base/file.h"
#include "tuf/metadata.h"
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
    strings_free(s->mirrors);
    strings_free(s->tags_deny);
    strings_free(s->run.capabilities);
    for (size_t i = 0; i < POLICY_MAX_SIGNED_BY; i++)
        free(s->signed_by[i].role);
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

/*
 * Says where in the document a fault is: a JSON pointer (RFC 6901) before the message, built from
 * the inside out. Each level puts its own step before what is there.
 */
static int at(struct error *err, int rc, const char *step)
{
    if (!rc || rc == E_NOMEM)
        return rc;
    const struct error inner = *err;
    char escaped[REFERENCE_TEXT_MAX] = "";
    size_t used = 0;
    for (const char *p = step; *p && used + 3 < sizeof escaped; p++)
        used += (size_t)snprintf(escaped + used, sizeof escaped - used, "%s%c",
                                 *p == '~' || *p == '/' ? "~" : "",
                                 *p == '~' ? '0' : (*p == '/' ? '1' : *p));
    return fail(err, rc, "/%s%s%s", escaped, *inner.message == '/' ? "" : ": ", inner.message);
}

static int at_index(struct error *err, int rc, size_t i)
{
    char step[24];
    (void)snprintf(step, sizeof step, "%zu", i);
    return at(err, rc, step);
}

static int only_known(const struct js *o, const char *const *known, struct error *err)
{
    js_foreach (o, it) {
        const char *const *k = known;
        while (*k && strcmp(*k, it.key) != 0)
            k++;
        if (!*k)
            return at(err, fail(err, E_INVALID, "unknown member"), it.key);
    }
    return OK;
}

/* Members by name, each fault with its place. */
static int text_at(const struct js *o, const char *key, const char **out, struct error *err)
{
    return at(err, js_opt_text(o, key, out, err), key);
}

static int int_at(const struct js *o, const char *key, int64_t max, int64_t *out, struct error *err)
{
    return at(err, js_opt_int(o, key, 1, max, out, err), key);
}

static int bool_at(const struct js *o, const char *key, bool *out, struct error *err)
{
    return at(err, js_opt_bool(o, key, out, err), key);
}

static int array_at(const struct js *o, const char *key, const struct js **out, struct error *err)
{
    return at(err, js_opt_array(o, key, out, err), key);
}

static int object_at(const struct js *o, const char *key, const struct js **out, struct error *err)
{
    return at(err, js_opt_object(o, key, out, err), key);
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
    int rc = array_at(o, key, &array, err);
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
            return at(err, at_index(err, fail(err, E_INVALID, "must be a string"), i), key);
        rc = copy_text(text, &list[i], err);
        if (rc)
            return rc;
    }
    return OK;
}

static int duration_member(const struct js *o, const char *key, int64_t *out, struct error *err)
{
    const char *text = NULL;
    int rc = text_at(o, key, &text, err);
    return !rc && text ? at(err, text_to_duration(text, out, err), key) : rc;
}

static int key_id_at(const struct js *v, const struct key_id *before, size_t n, struct key_id *out,
                     struct error *err)
{
    const char *text = js_text(v);
    int rc = text ? key_id_parse(text, out, err) : fail(err, E_INVALID, "must be a key id");
    for (size_t k = 0; !rc && k < n; k++)
        if (strcmp(before[k].text, out->text) == 0)
            rc = fail(err, E_INVALID, "names a key twice");
    return rc;
}

static int key_ids(const struct js *o, struct key_id *out, size_t max, size_t *n, struct error *err)
{
    const struct js *array = NULL;
    int rc = array_at(o, "keys", &array, err);
    if (rc || !array)
        return rc;
    if (js_count(array) > max)
        rc = fail(err, E_LIMIT, "has more than %zu entries", max);
    else if (!js_count(array))
        rc = fail(err, E_INVALID, "names no key");
    for (size_t i = 0; !rc && i < js_count(array); i++)
        rc = at_index(err, key_id_at(js_at(array, i), out, i, &out[i], err), i);
    *n = rc ? 0 : js_count(array);
    return at(err, rc, "keys");
}

static int parse_anchor(const struct js *o, const char *base, struct policy_scope *scope,
                        struct error *err)
{
    static const char *const known[] = {"file", "keys", "threshold", "minVersion", NULL};
    const char *file = NULL;
    struct anchor *a = &scope->anchor;
    int rc = only_known(o, known, err);
    if (!rc)
        rc = text_at(o, "file", &file, err);
    if (!rc)
        rc = key_ids(o, a->keys, POLICY_MAX_ROOT_KEYS, &a->n_keys, err);
    if (!rc)
        rc = int_at(o, "minVersion", INT32_MAX, &a->min_version, err);
    if (!rc)
        rc = int_at(o, "threshold", POLICY_MAX_ROOT_KEYS, &a->threshold, err);
    if (!rc && file && !*file)
        rc = at(err, fail(err, E_INVALID, "names no file"), "file");
    if (rc)
        return rc;
    if (!file == !a->n_keys)
        return fail(err, E_INVALID, "name either 'file' or 'keys'");
    /* A file is its own rule; a second one beside it would be believed and not hold. */
    if (file && (js_get(o, "minVersion") || js_get(o, "threshold")))
        return fail(err, E_INVALID, "'minVersion' and 'threshold' go with 'keys', not with 'file'");
    if (a->threshold > (int64_t)a->n_keys)
        return at(err, fail(err, E_INVALID, "is larger than the number of keys"), "threshold");
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

/* "targets", or the names of delegated roles from there on: "releases", "security/alice". */
static int check_role_path(const char *path, struct error *err)
{
    char name[TUF_MAX_ROLE_NAME + 1];
    if (strcmp(path, "targets") == 0)
        return OK;
    for (size_t depth = 0;; depth++) {
        size_t len = strcspn(path, "/");
        (void)snprintf(name, sizeof name, "%.*s", len < sizeof name ? (int)len : 0, path);
        if (!tuf_role_name_valid(name) || depth == POLICY_MAX_ROLE_DEPTH)
            return fail(err, E_INVALID,
                        "must be a role, or a path of at most %d as 'security/alice'",
                        POLICY_MAX_ROLE_DEPTH);
        if (!path[len])
            return OK;
        path += len + 1;
    }
}

static int parse_signed_by_object(const struct js *v, struct signed_by *out, const char **role,
                                  struct error *err)
{
    static const char *const known[] = {"role", "keys", "threshold", NULL};
    if (js_type(v) != JS_OBJECT)
        return fail(err, E_INVALID, "must be a role or an object");
    int rc = only_known(v, known, err);
    if (!rc)
        rc = at(err, js_want_text(v, "role", role, err), "role");
    if (!rc)
        rc = key_ids(v, out->keys, POLICY_MAX_PINNED_KEYS, &out->n_keys, err);
    if (!rc)
        rc = int_at(v, "threshold", POLICY_MAX_PINNED_KEYS, &out->threshold, err);
    if (!rc && out->n_keys && out->threshold > (int64_t)out->n_keys)
        rc = at(err, fail(err, E_INVALID, "is larger than the number of keys"), "threshold");
    if (!rc && !out->n_keys && js_get(v, "threshold"))
        rc = at(err, fail(err, E_INVALID, "goes with 'keys'"), "threshold");
    return rc ? rc : at(err, check_role_path(*role, err), "role");
}

static int parse_signed_by_entry(const struct js *v, struct signed_by *out, struct error *err)
{
    const char *role = js_text(v);
    out->threshold = 1;
    int rc = role ? check_role_path(role, err) : parse_signed_by_object(v, out, &role, err);
    return rc ? rc : copy_text(role, &out->role, err);
}

static int parse_signed_by(const struct js *o, struct policy_scope *scope, struct error *err)
{
    const struct js *array = NULL;
    int rc = array_at(o, "signedBy", &array, err);
    if (rc || !array)
        return rc;
    if (js_count(array) == 0 || js_count(array) > POLICY_MAX_SIGNED_BY)
        rc = fail(err, E_INVALID, "must have 1 to %d entries", POLICY_MAX_SIGNED_BY);
    for (size_t i = 0; !rc && i < js_count(array); i++) {
        rc = at_index(err, parse_signed_by_entry(js_at(array, i), &scope->signed_by[i], err), i);
        for (size_t k = 0; !rc && k < i; k++) /* it could only be met by other keys of the role */
            if (strcmp(scope->signed_by[k].role, scope->signed_by[i].role) == 0 &&
                !scope->signed_by[k].n_keys && !scope->signed_by[i].n_keys)
                rc = at_index(err, fail(err, E_INVALID, "names a role twice"), i);
        scope->n_signed_by += !rc;
    }
    return at(err, rc, "signedBy");
}

static int parse_tags(const struct js *o, struct policy_scope *scope, struct error *err)
{
    static const char *const known[] = {"allow", "deny", NULL};
    const struct js *tags = NULL;
    int rc = object_at(o, "tags", &tags, err);
    if (rc || !tags)
        return rc;
    rc = only_known(tags, known, err);
    if (!rc)
        rc = string_list(tags, "allow", &scope->tags_allow, err);
    if (!rc)
        rc = string_list(tags, "deny", &scope->tags_deny, err);
    return at(err, rc, "tags");
}

static int parse_network(const struct js *o, struct policy_run *run, struct error *err)
{
    const struct js *array = NULL;
    int rc = array_at(o, "network", &array, err);
    if (rc || !array)
        return rc;
    run->has_network = true;
    for (size_t i = 0; !rc && i < js_count(array); i++) {
        const char *text = js_text(js_at(array, i));
        if (text && strcmp(text, "none") == 0)
            run->network_none = true;
        else if (text && strcmp(text, "private") == 0)
            run->network_private = true;
        else if (text && strcmp(text, "host") == 0)
            run->network_host = true;
        else
            rc = at_index(err, fail(err, E_INVALID, "must be none, private or host"), i);
    }
    return at(err, rc, "network");
}

static int parse_mount(const struct js *v, struct policy_mount *out, struct error *err)
{
    static const char *const known[] = {"source", "readOnly", NULL};
    const char *source = NULL;
    int rc = js_type(v) == JS_OBJECT ? only_known(v, known, err)
                                     : fail(err, E_INVALID, "must be an object");
    if (!rc)
        rc = at(err, js_want_text(v, "source", &source, err), "source");
    if (!rc && *source != '/')
        rc = at(err, fail(err, E_INVALID, "must be an absolute path"), "source");
    if (!rc)
        rc = bool_at(v, "readOnly", &out->read_only, err);
    return rc ? rc : copy_text(source, &out->source, err);
}

static int parse_mounts(const struct js *o, struct policy_run *run, struct error *err)
{
    const struct js *array = NULL;
    int rc = array_at(o, "mounts", &array, err);
    if (rc || !array)
        return rc;
    run->has_mounts = true;
    run->mounts = calloc(js_count(array) + 1, sizeof *run->mounts);
    if (!run->mounts)
        return fail_nomem(err);
    for (size_t i = 0; !rc && i < js_count(array); i++) {
        rc = at_index(err, parse_mount(js_at(array, i), &run->mounts[i], err), i);
        run->n_mounts += !rc;
    }
    return at(err, rc, "mounts");
}

static int parse_run_limits(const struct js *o, struct policy_run *run, struct error *err)
{
    const char *user = NULL, *memory = NULL;
    int rc = text_at(o, "user", &user, err);
    if (!rc && user && strcmp(user, "non-root") != 0)
        rc = at(err, fail(err, E_INVALID, "must be \"non-root\""), "user");
    run->user_non_root = user != NULL;
    if (!rc)
        rc = text_at(o, "memory", &memory, err);
    if (!rc && memory)
        rc = at(err, text_to_size(memory, &run->memory, err), "memory");
    if (!rc && memory && !run->memory) /* 0 means "not given" to the rest of the program */
        rc = at(err, fail(err, E_INVALID, "must be more than nothing"), "memory");
    if (!rc)
        rc = int_at(o, "pids", INT32_MAX, &run->pids, err);
    if (!rc)
        rc = bool_at(o, "readOnly", &run->read_only, err);
    return rc;
}

static int parse_run(const struct js *o, struct policy_scope *scope, struct error *err)
{
    static const char *const known[] = {"user",   "network", "readOnly", "capabilities",
                                        "memory", "pids",    "mounts",   NULL};
    const struct js *run = NULL;
    int rc = object_at(o, "run", &run, err);
    if (rc || !run)
        return rc;
    rc = only_known(run, known, err);
    if (!rc)
        rc = parse_run_limits(run, &scope->run, err);
    if (!rc)
        rc = parse_network(run, &scope->run, err);
    if (!rc)
        rc = string_list(run, "capabilities", &scope->run.capabilities, err);
    scope->run.has_capabilities = scope->run.capabilities != NULL;
    if (!rc)
        rc = parse_mounts(run, &scope->run, err);
    return at(err, rc, "run");
}

static int parse_superseded(const struct js *o, struct policy_scope *scope, struct error *err)
{
    const char *text = NULL;
    int rc = text_at(o, "superseded", &text, err);
    if (rc || !text)
        return rc;
    if (strcmp(text, "allow") != 0 && strcmp(text, "refuse") != 0)
        return at(err, fail(err, E_INVALID, "must be \"allow\" or \"refuse\""), "superseded");
    scope->refuse_superseded = strcmp(text, "refuse") == 0;
    return OK;
}

static int parse_collection(const struct js *o, struct policy_scope *scope, struct error *err)
{
    const char *text = NULL;
    int rc = text_at(o, "collection", &text, err);
    if (rc || !text)
        return rc;
    size_t len = strlen(text);
    if (len && text[len - 1] == '/')
        len--;
    if (!repository_name_valid(text, len))
        return at(err, fail(err, E_INVALID, "must be a repository's name, or a prefix and '/'"),
                  "collection");
    return copy_text(text, &scope->collection, err);
}

static int check_mirror(const struct policy_scope *scope, size_t i, struct error *err)
{
    const char *text = scope->mirrors[i];
    if (i == POLICY_MAX_MIRRORS)
        return fail(err, E_INVALID, "has more than %d entries", POLICY_MAX_MIRRORS);
    if (policy_scope_check(text, NULL))
        return fail(err, E_INVALID, "must be HOST, or HOST/path: what stands for '%s'",
                    scope->name);
    if (strcmp(text, scope->name) == 0)
        return fail(err, E_INVALID, "is the scope itself");
    for (size_t k = 0; k < i; k++)
        if (strcmp(scope->mirrors[k], text) == 0)
            return fail(err, E_INVALID, "is named twice");
    return OK;
}

static int parse_mirrors(const struct js *o, struct policy_scope *scope, struct error *err)
{
    int rc = string_list(o, "mirrors", &scope->mirrors, err);
    for (size_t i = 0; !rc && scope->mirrors && scope->mirrors[i]; i++)
        rc = at(err, at_index(err, check_mirror(scope, i, err), i), "mirrors");
    return rc;
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
        rc = bool_at(o, "tofu", &scope->allow_tofu, err);
    return rc;
}

static int parse_scope(const char *name, const struct js *o, const char *base,
                       struct policy_scope *scope, struct error *err)
{
    static const char *const known[] = {
        "collection",   "root", "signedBy", "tags",     "refresh", "maxAge", "superseded",
        "offlineGrace", "run",  "tofu",     "hardware", "mirrors", NULL};
    const struct js *root = NULL;
    scope->anchor.min_version = 1;
    int rc = policy_scope_check(name, err);
    if (!rc)
        rc = copy_text(name, &scope->name, err);
    if (!rc && js_type(o) != JS_OBJECT)
        rc = fail(err, E_INVALID, "must be an object");
    if (!rc)
        rc = only_known(o, known, err);
    /* Asked for and not enforceable must never pass silently. */
    if (!rc && js_get(o, "hardware"))
        rc = at(err,
                fail(err, E_UNSUPPORTED,
                     "cannot be enforced by this version, and what is not enforced is not "
                     "promised; take it out ('signedBy' with 'keys' pins keys)"),
                "hardware");
    if (!rc)
        rc = parse_collection(o, scope, err);
    if (!rc)
        rc = object_at(o, "root", &root, err);
    if (!rc && root)
        rc = at(err, parse_anchor(root, base, scope, err), "root");
    if (!rc)
        rc = parse_signed_by(o, scope, err);
    if (!rc)
        rc = parse_tags(o, scope, err);
    if (!rc)
        rc = parse_freshness(o, scope, err);
    if (!rc)
        rc = parse_mirrors(o, scope, err);
    return rc ? rc : parse_run(o, scope, err);
}

static int parse_scopes(const struct js *scopes, const char *path, struct policy_file *f,
                        struct error *err)
{
    int rc = OK;
    if (js_count(scopes) > POLICY_MAX_SCOPES)
        return fail(err, E_LIMIT, "has more than %d scopes", POLICY_MAX_SCOPES);
    f->scopes = calloc(js_count(scopes) + 1, sizeof *f->scopes);
    if (!f->scopes)
        return fail_nomem(err);
    js_foreach (scopes, it) {
        struct policy_scope *scope = &f->scopes[f->n++];
        rc = at(err, parse_scope(it.key, it.value, path, scope, err), it.key);
        if (rc)
            return rc;
    }
    return OK;
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
    int rc = only_known(o, known, err);
    if (!rc)
        rc = at(err, js_want_int(o, "version", 1, 1, &version, err), "version");
    if (!rc)
        rc = text_at(o, "default", &fallback, err);
    if (!rc && strcmp(fallback, "deny") != 0)
        rc = at(err, fail(err, E_INVALID, "must be \"deny\""), "default");
    if (!rc)
        rc = object_at(o, "scopes", &scopes, err);
    return rc || !scopes ? rc : at(err, parse_scopes(scopes, path, f, err), "scopes");
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

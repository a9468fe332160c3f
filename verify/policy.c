/* Loading policy files and deciding about one reference. */
#include "verify/policy.h"

#include "base/file.h"
#include "verify/policy_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int policy_scope_check(const char *scope, struct error *err)
{
    const char *slash = strchr(scope, '/');
    size_t host = slash ? (size_t)(slash - scope) : strlen(scope);
    bool good = host > 0 && host <= REFERENCE_HOST_MAX &&
                (!slash || repository_name_valid(slash + 1, strlen(slash + 1)));
    for (size_t i = 0; good && i < host; i++)
        good = strchr("abcdefghijklmnopqrstuvwxyz0123456789.-:[]", scope[i]) != NULL;
    if (!good)
        return fail(err, E_USAGE,
                    "'%s' is not a scope (want host[:port][/repository…], lower case)", scope);
    return OK;
}

bool policy_glob(const char *pattern, const char *text)
{
    /* Iterative with one point of return: cost stays below |pattern| · |text|. */
    const char *star = NULL, *back = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            back = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++back;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

const struct policy_scope *policy_file_match(const struct policy_file *f,
                                             const struct reference *ref)
{
    char whole[REFERENCE_HOST_MAX + REFERENCE_REPOSITORY_MAX + 2];
    (void)snprintf(whole, sizeof whole, "%s/%s", ref->host, ref->repository);
    const struct policy_scope *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < f->n; i++) {
        size_t len = strlen(f->scopes[i].name);
        /* Whole components: "host/acme" must not cover "host/acme-evil". */
        bool covers = strncmp(whole, f->scopes[i].name, len) == 0 &&
                      (whole[len] == '\0' || whole[len] == '/');
        if (covers && len >= best_len) {
            best = &f->scopes[i];
            best_len = len;
        }
    }
    return best;
}

/*
 * A file in its usual place is read without being named, so its place must vouch for it: HOME may
 * be somebody else's when root runs. A user's private group may write, as on systems with umask
 * 002.
 */
static int check_owner(int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat");
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return fail(err, E_POLICY,
                    "belongs to user %u, who is neither root nor the caller; name it "
                    "with --policy if it is meant",
                    st.st_uid);
    mode_t others = geteuid() == 0 && st.st_gid != 0 ? S_IWGRP | S_IWOTH : S_IWOTH;
    if (st.st_mode & others)
        return fail(err, E_POLICY, "others may write to it (mode %04o); take that right away",
                    st.st_mode & 07777u);
    return OK;
}

static int read_policy(const char *path, bool named, struct bytes *out, struct error *err)
{
    /* O_NONBLOCK: a fifo must not hang us. */
    CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0)
        return fail_sys(err, errno, "open '%s'", path);
    int rc = named ? OK : check_owner(fd, err);
    if (!rc && (fstat(fd, &st) || !S_ISREG(st.st_mode)))
        rc = fail(err, E_INVALID, "not a regular file");
    if (!rc)
        rc = file_read_fd(fd, POLICY_MAX_BYTES, out, err);
    return wrap(err, rc, "'%s'", path);
}

static int add_file(struct policy *p, const char *path, bool is_system, bool named,
                    struct error *err)
{
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    struct error why = ERROR_INIT;
    int rc = read_policy(path, named, &content, &why);
    if (rc == E_NOTFOUND && !named)
        return OK;
    if (rc == E_NOTFOUND)
        return fail(err, rc,
                    "policy '%s' is not there, though --policy or BULLA_POLICY names it; 'bulla "
                    "policy allow SCOPE' makes one",
                    path);
    if (rc)
        return fail(err, rc, "policy: %s", why.message);
    rc = policy_file_parse(content.data, content.len, path, &p->files[p->n_files], err);
    if (rc)
        return rc;
    p->paths[p->n_files] = strdup(path);
    p->is_system[p->n_files] = is_system;
    p->is_named[p->n_files] = named;
    p->n_files++;
    return p->paths[p->n_files - 1] ? OK : fail_nomem(err);
}

int policy_load(const struct policy_options *options, struct policy *out, struct error *err)
{
    struct policy p = {.n_files = 0};
    int rc = OK;
    if (!(options->override && options->is_root))
        rc = add_file(&p, options->system_path, true, false, err);
    if (!rc && options->override)
        rc = add_file(&p, options->override, options->is_root, true, err);
    else if (!rc && options->user_path)
        rc = add_file(&p, options->user_path, false, false, err);
    if (rc) {
        policy_done(&p);
        return rc;
    }
    *out = p;
    return OK;
}

void policy_done(struct policy *p)
{
    for (size_t i = 0; i < p->n_files; i++) {
        policy_file_free(p->files[i]);
        cleanup_free(&p->paths[i]);
    }
    p->n_files = 0;
}

static bool any_glob(char *const *list, const char *tag)
{
    for (; *list; list++)
        if (policy_glob(*list, tag))
            return true;
    return false;
}

/*
 * A reference without a tag is the signed target "sha256:<hex>". Rules for tags never permit it
 * implicitly ("*" does not mean it): only a pattern that begins with the algorithm does.
 */
bool policy_tag_allowed(const struct policy_scope *scope, const struct reference *ref)
{
    char text[DIGEST_TEXT_MAX];
    const char *name = *ref->tag ? ref->tag : digest_format(&ref->digest, text);
    if (scope->tags_deny && any_glob(scope->tags_deny, name))
        return false;
    if (!scope->tags_allow || *ref->tag)
        return !scope->tags_allow || any_glob(scope->tags_allow, name);
    for (char *const *p = scope->tags_allow; *p; p++)
        if (strchr(*p, ':') && strncmp(*p, name, (size_t)(strchr(*p, ':') - *p) + 1) == 0 &&
            policy_glob(*p, name))
            return true;
    return false;
}

/* "acme/" replaces the scope's path and the rest is appended; without the slash the scope must be
 * exactly this repository. */
static int map_collection(const struct policy_scope *scope, const struct reference *ref, char *out,
                          size_t size, struct error *err)
{
    const char *slash = strchr(scope->name, '/');
    const char *path = slash ? slash + 1 : "";
    size_t path_len = strlen(path), len = strlen(scope->collection);
    int n;
    if (scope->collection[len - 1] == '/') {
        const char *rest = ref->repository + path_len;
        n = snprintf(out, size, "%s%s", scope->collection, *rest == '/' ? rest + 1 : rest);
        /* The scope is the repository itself: nothing is left to append. */
        if (n > 0 && (size_t)n < size && out[n - 1] == '/')
            out[n - 1] = '\0';
    } else if (strcmp(path, ref->repository) == 0) {
        n = snprintf(out, size, "%s", scope->collection);
    } else {
        return fail(err, E_INVALID,
                    "policy scope '%s': 'collection' without '/' at its end serves one repository",
                    scope->name);
    }
    if (n < 0 || (size_t)n >= size)
        return fail(err, E_INVALID, "collection name is too long");
    return OK;
}

static void narrow(const struct policy_scope *scope, bool first, struct decision *out)
{
    if (first || scope->refresh_s < out->refresh_s)
        out->refresh_s = scope->refresh_s;
    if (scope->max_age_s >= 0 && (out->max_age_s < 0 || scope->max_age_s < out->max_age_s))
        out->max_age_s = scope->max_age_s;
    if (first || scope->offline_grace_s < out->offline_grace_s)
        out->offline_grace_s = scope->offline_grace_s;
    out->refuse_superseded |= scope->refuse_superseded;
    out->allow_tofu = first ? scope->allow_tofu : out->allow_tofu && scope->allow_tofu;
}

/* The scope's name gives way, in whole components; the rest of the path stays. */
static int map_mirror(const struct policy_scope *scope, const char *text,
                      const struct reference *ref, struct policy_mirror *out, struct error *err)
{
    const char *slash = strchr(scope->name, '/');
    const char *rest = ref->repository + (slash ? strlen(slash + 1) : 0);
    const char *path = strchr(text, '/');
    size_t host = path ? (size_t)(path - text) : strlen(text);
    rest += *rest == '/';
    int n = snprintf(out->host, sizeof out->host, "%.*s", (int)host, text);
    int m = snprintf(out->repository, sizeof out->repository, "%s%s%s", path ? path + 1 : "",
                     path && *rest ? "/" : "", rest);
    if (n < 0 || (size_t)n >= sizeof out->host || m < 0 || (size_t)m >= sizeof out->repository ||
        !repository_name_valid(out->repository, strlen(out->repository)))
        return fail(err, E_INVALID, "policy scope '%s': mirror '%s' names no repository for '%s'",
                    scope->name, text, ref->repository);
    return OK;
}

static int add_mirrors(const struct policy_scope *scope, const struct reference *ref,
                       struct decision *out, struct error *err)
{
    int rc = OK;
    for (char **p = scope->mirrors; !rc && p && *p && out->n_mirrors < POLICY_MAX_MIRRORS; p++) {
        struct policy_mirror *m = &out->mirrors[out->n_mirrors];
        bool known = false;
        rc = map_mirror(scope, *p, ref, m, err);
        for (size_t i = 0; !rc && i < out->n_mirrors; i++)
            known |= strcmp(out->mirrors[i].host, m->host) == 0 &&
                     strcmp(out->mirrors[i].repository, m->repository) == 0;
        out->n_mirrors += !rc && !known;
    }
    return rc;
}

static int apply_scope(const struct policy *p, size_t i, const struct policy_scope *scope,
                       const struct reference *ref, struct decision *out, struct error *err)
{
    /* Only the system file may choose anchor and collection where it has a scope. */
    bool binds = out->n_scopes == 0 || p->is_system[i];
    if (!binds && (scope->collection || scope->has_anchor))
        return fail(err, E_POLICY,
                    "policy '%s': only the system's policy may set 'collection' and 'root' where "
                    "it has a scope ('%s'); take them out of scope '%s'",
                    p->paths[i], out->scopes[0]->name, scope->name);
    if (scope->collection) {
        int rc = map_collection(scope, ref, out->collection, sizeof out->collection, err);
        if (rc)
            return rc;
    }
    if (scope->has_anchor)
        out->anchor = &scope->anchor;
    narrow(scope, out->n_scopes == 0, out);
    int rc = add_mirrors(scope, ref, out, err);
    if (rc)
        return rc;
    out->scopes[out->n_scopes++] = scope;
    if (!policy_tag_allowed(scope, ref)) {
        out->allowed = false;
        out->denied = true;
        (void)snprintf(out->reason, sizeof out->reason,
                       "policy '%.90s' does not allow %s%.60s%s in scope '%.60s'", p->paths[i],
                       *ref->tag ? "tag '" : "a reference without a tag", ref->tag,
                       *ref->tag ? "'" : "", scope->name);
    }
    return OK;
}

int policy_decide(const struct policy *p, const struct reference *ref, struct decision *out,
                  struct error *err)
{
    struct decision d = {
        .allowed = p->n_files > 0, .max_age_s = -1, .refresh_s = POLICY_DEFAULT_REFRESH};
    memcpy(d.collection, ref->repository, strlen(ref->repository) + 1);
    if (!p->n_files)
        (void)snprintf(d.reason, sizeof d.reason,
                       "there is no policy file; 'bulla policy allow %.60s/%.120s' permits it",
                       ref->host, ref->repository);
    for (size_t i = 0; i < p->n_files; i++) {
        const struct policy_scope *scope = policy_file_match(p->files[i], ref);
        if (!scope) {
            d.allowed = false;
            (void)snprintf(d.reason, sizeof d.reason,
                           "policy '%.60s' has no scope for it; 'bulla policy allow %.60s/%.100s' "
                           "permits it",
                           p->paths[i], ref->host, ref->repository);
            continue;
        }
        int rc = apply_scope(p, i, scope, ref, &d, err);
        if (rc)
            return rc;
    }
    *out = d;
    return OK;
}

/* --- changing the user's file --- */

static int anchor_to_js(const struct anchor *anchor, struct js **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    int rc = root ? OK : fail_nomem(err);
    if (!rc && anchor->root_file)
        rc = js_set(root, "file", js_text_new(anchor->root_file), err);
    if (!rc && anchor->n_keys) {
        CLEANUP(js_cleanup) struct js *keys = js_array_new();
        for (size_t i = 0; keys && !rc && i < anchor->n_keys; i++)
            rc = js_push(keys, js_text_new(anchor->keys[i].text), err);
        if (!rc)
            rc = js_set(root, "keys", TAKE_PTR(keys), err);
    }
    if (!rc && anchor->threshold)
        rc = js_set(root, "threshold", js_int_new(anchor->threshold), err);
    if (!rc && anchor->min_version > 1)
        rc = js_set(root, "minVersion", js_int_new(anchor->min_version), err);
    if (!rc)
        *out = TAKE_PTR(root);
    return rc;
}

static int new_document(struct js **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *doc = js_object_new();
    if (!doc)
        return fail_nomem(err);
    int rc = js_set(doc, "version", js_int_new(1), err);
    if (!rc)
        rc = js_set(doc, "default", js_text_new("deny"), err);
    if (!rc)
        rc = js_set(doc, "scopes", js_object_new(), err);
    if (!rc)
        *out = TAKE_PTR(doc);
    return rc;
}

static int read_document(const char *path, struct js **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    CLEANUP(policy_file_cleanup) struct policy_file *checked = NULL;
    int rc = file_read(AT_FDCWD, path, POLICY_MAX_BYTES, &content, err);
    if (rc == E_NOTFOUND)
        return new_document(out, err);
    if (!rc) /* never write on top of what we would refuse to read */
        rc = policy_file_parse(content.data, content.len, path, &checked, err);
    if (!rc)
        rc = js_parse(content.data, content.len, out, err);
    if (!rc && !js_edit(*out, "scopes"))
        rc = js_set(*out, "scopes", js_object_new(), err);
    return rc;
}

static int set_scope(struct js *doc, const char *scope, const struct anchor *anchor,
                     const char *collection, struct error *err)
{
    struct js *scopes = js_edit(doc, "scopes"), *root = NULL;
    int rc = OK;
    if (!js_edit(scopes, scope))
        rc = js_set(scopes, scope, js_object_new(), err);
    if (!rc && collection)
        rc = js_set(js_edit(scopes, scope), "collection", js_text_new(collection), err);
    if (!rc && !anchor)
        js_remove(js_edit(scopes, scope), "root");
    if (!rc && anchor)
        rc = anchor_to_js(anchor, &root, err);
    return !rc && anchor ? js_set(js_edit(scopes, scope), "root", root, err) : rc;
}

/* Never write what we would refuse to read. */
static int write_document(const char *path, const struct js *doc, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(policy_file_cleanup) struct policy_file *checked = NULL;
    int rc = js_write(doc, true, &text, err);
    if (!rc)
        rc = policy_file_parse(text.data, text.len, path, &checked, err);
    return rc ? rc : file_write_atomic(AT_FDCWD, path, text.data, text.len, 0644, err);
}

int policy_allow(const char *path, const char *scope, const struct anchor *anchor,
                 const char *collection, struct error *err)
{
    CLEANUP(js_cleanup) struct js *doc = NULL;
    CLEANUP(cleanup_fd) int folder = -1, lock = -1;
    CLEANUP(cleanup_free) char *parent = strdup(path);
    if (!parent)
        return fail_nomem(err);
    char *slash = strrchr(parent, '/');
    if (slash)
        *slash = '\0';
    int rc = policy_scope_check(scope, err);
    if (!rc)
        rc = file_open_dir(slash ? parent : ".", slash != NULL, &folder, err);
    if (!rc)
        rc = file_lock(folder, ".policy.lock", 5000, &lock, err);
    if (!rc)
        rc = read_document(path, &doc, err);
    if (!rc)
        rc = set_scope(doc, scope, anchor, collection, err);
    return rc ? rc : write_document(path, doc, err);
}

#include "signer/change_file.h"

#include "base/file.h"
#include "signer/difference.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define MAX_BASE 4096u

/* --- writing --- */

static int add_base(struct js *list, const char *role, const char *delegator,
                    const struct tuf_metadata *m, struct error *err)
{
    for (size_t i = 0; i < js_count(list); i++)
        if (strcmp(js_text(js_get(js_at(list, i), "role")), role) == 0)
            return OK;
    const struct bytes *bytes = tuf_metadata_bytes(m);
    CLEANUP(js_cleanup) struct js *one = js_object_new();
    CLEANUP(cleanup_free) char *text = strndup((const char *)bytes->data, bytes->len);
    int rc = one && text ? js_set(one, "role", js_text_new(role), err) : fail_nomem(err);
    if (!rc && delegator)
        rc = js_set(one, "delegator", js_text_new(delegator), err);
    if (!rc)
        rc = js_set(one, "file", js_text_new(text), err);
    return rc ? rc : js_push(list, TAKE_PTR(one), err);
}

/* The role's published file and those of all that lead to it, the uppermost first. */
static int add_chain(struct draft *d, const char *role, struct js *list, struct error *err)
{
    const struct tuf_metadata *m = NULL;
    const char *delegator = NULL;
    int rc = draft_published(d, role, &m, &delegator, err);
    if (!rc && delegator)
        rc = add_chain(d, delegator, list, err);
    return rc || !m ? rc : add_base(list, role, delegator, m, err);
}

/* A signature is added to a file that was read: its base is kept as it is. */
static int keep_base(const struct draft *d, struct js *list, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < d->n_base; i++)
        rc = add_base(list, d->base[i].role, d->base[i].delegator, d->base[i].metadata, err);
    return rc;
}

static int write_base(struct draft *d, struct js *list, struct error *err)
{
    if (!d->connected)
        return keep_base(d, list, err);
    int rc = add_base(list, "root", NULL, tuf_trusted_root(d->session.view.trusted), err);
    if (!rc)
        rc = add_chain(d, "targets", list, err);
    for (size_t i = 0; !rc && i < d->n; i++) {
        const struct draft_file *f = &d->files[i];
        if (f->delegator)
            rc = add_chain(d, f->delegator, list, err);
        if (!rc && f->delegator && f->before)
            rc = add_base(list, f->role, f->delegator, f->before, err);
    }
    return rc;
}

static int write_files(const struct draft *d, struct js *list, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < d->n; i++) {
        const struct draft_file *f = &d->files[i];
        CLEANUP(js_cleanup) struct js *one = js_object_new();
        rc = one ? js_set(one, "role", js_text_new(f->role), err) : fail_nomem(err);
        if (!rc && f->delegator)
            rc = js_set(one, "delegator", js_text_new(f->delegator), err);
        if (!rc)
            rc = js_set(one, "signatures", f->signatures ? js_dup(f->signatures) : js_array_new(),
                        err);
        if (!rc)
            rc = js_set(one, "signed", js_dup(f->tree), err);
        if (!rc)
            rc = js_push(list, TAKE_PTR(one), err);
    }
    return rc;
}

/* For whoever opens the file in an editor; nobody else reads it. */
static int write_summary(const struct draft *d, struct js *list, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    char *rest = NULL;
    int rc = draft_describe(d, &text, err);
    if (!rc)
        rc = bytes_append(&text, "", 1, err);
    for (char *line = rc ? NULL : strtok_r((char *)text.data, "\n", &rest); !rc && line;
         line = strtok_r(NULL, "\n", &rest))
        rc = js_push(list, js_text_new(line), err);
    return rc;
}

static int add_list(struct js *root, const char *name, struct js **out, struct error *err)
{
    int rc = js_set(root, name, js_array_new(), err);
    *out = js_edit(root, name);
    return rc;
}

int change_file_write(struct draft *d, const char *path, bool only_new, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct js *summary = NULL, *files = NULL, *base = NULL;
    int rc = root ? js_set(root, "bullaChange", js_int_new(1), err) : fail_nomem(err);
    if (!rc)
        rc = js_set(root, "host", js_text_new(d->ref.host), err);
    if (!rc)
        rc = js_set(root, "repository", js_text_new(d->ref.repository), err);
    if (!rc)
        rc = js_set(root, "collection", js_text_new(d->collection), err);
    if (!rc)
        rc = add_list(root, "summary", &summary, err);
    if (!rc)
        rc = write_summary(d, summary, err);
    if (!rc)
        rc = add_list(root, "files", &files, err);
    if (!rc)
        rc = write_files(d, files, err);
    if (!rc)
        rc = add_list(root, "base", &base, err);
    if (!rc)
        rc = write_base(d, base, err);
    if (!rc)
        rc = js_write(root, true, &text, err);
    if (!rc && text.len > CHANGE_FILE_MAX)
        rc = fail(err, E_LIMIT, "the change has %zu bytes, at most %u are read", text.len,
                  CHANGE_FILE_MAX);
    if (rc)
        return rc;
    if (!only_new)
        return file_write_atomic(AT_FDCWD, path, text.data, text.len, 0644, err);
    rc = file_create_atomic(AT_FDCWD, path, text.data, text.len, 0644, err);
    return rc == E_EXISTS
               ? fail(err, rc, "change file '%s' exists already: remove it or name another", path)
               : rc;
}

/* --- reading --- */

static int read_base(const struct js *list, struct draft *d, struct error *err)
{
    size_t n = js_count(list);
    if (n > MAX_BASE)
        return fail(err, E_LIMIT, "%zu published files, at most %u are read", n, MAX_BASE);
    d->base = calloc(n + 1, sizeof *d->base);
    if (!d->base)
        return fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        static const char *const keys[] = {"role", "delegator", "file", NULL};
        const char *role = NULL, *delegator = NULL, *file = NULL;
        struct draft_base *base = &d->base[d->n_base++];
        int rc = js_only_keys(js_at(list, i), keys, err);
        if (!rc)
            rc = js_want_text(js_at(list, i), "role", &role, err);
        if (!rc)
            rc = js_opt_text(js_at(list, i), "delegator", &delegator, err);
        if (!rc)
            rc = js_want_text(js_at(list, i), "file", &file, err);
        if (rc)
            return rc;
        base->role = strdup(role);
        base->delegator = delegator ? strdup(delegator) : NULL;
        if (!base->role || (delegator && !base->delegator))
            return fail_nomem(err);
        rc = tuf_metadata_parse(strcmp(role, "root") == 0 ? TUF_ROOT : TUF_TARGETS, file,
                                strlen(file), &base->metadata, err);
        if (rc)
            return wrap(err, rc, "published '%s'", role);
    }
    return OK;
}

/* The published files verify each other, by the rules of every publication. */
static int check_base(const struct draft *d, struct error *err)
{
    CLEANUP(cleanup_free) struct tuf_file *files = calloc(d->n_base + 1, sizeof *files);
    CLEANUP(tuf_accepted_cleanup) struct tuf_accepted *accepted = NULL;
    if (!files)
        return fail_nomem(err);
    for (size_t i = 0; i < d->n_base; i++) {
        const struct bytes *b = tuf_metadata_bytes(d->base[i].metadata);
        files[i] = (struct tuf_file){d->base[i].role, b->data, b->len};
    }
    struct tuf_accept_input in = {
        .collection = d->collection, .now_s = d->now_s, .current = files, .n_current = d->n_base};
    int rc = d->n_base ? tuf_accept(&in, &accepted, err) : OK;
    if (rc)
        return wrap(err, rc, "the published files it stands on");
    /* root is counted beside the roles: nothing may be in the list that nothing leads to. */
    if (accepted && accepted->n_roles + 1 != d->n_base)
        return fail(err, E_INVALID, "it lists published files that no delegation leads to");
    return OK;
}

static const struct draft_base *base_of(const struct draft *d, const char *role)
{
    for (size_t i = 0; i < d->n_base; i++)
        if (strcmp(d->base[i].role, role) == 0)
            return &d->base[i];
    return NULL;
}

static int read_signatures(const struct js *one, struct draft_file *f, struct error *err)
{
    const struct js *signatures = NULL;
    int rc = js_want_array(one, "signatures", &signatures, err);
    if (rc)
        return rc;
    f->signatures = js_dup(signatures);
    return f->signatures ? OK : fail_nomem(err);
}

static int read_file(const struct js *one, struct draft *d, struct error *err)
{
    static const char *const keys[] = {"role", "delegator", "signatures", "signed", NULL};
    const char *role = NULL, *delegator = NULL;
    const struct js *tree = NULL;
    struct draft_file *f = &d->files[d->n++];
    int rc = js_only_keys(one, keys, err);
    if (!rc)
        rc = js_want_text(one, "role", &role, err);
    if (!rc)
        rc = js_opt_text(one, "delegator", &delegator, err);
    if (!rc)
        rc = js_want_object(one, "signed", &tree, err);
    if (!rc)
        rc = read_signatures(one, f, err);
    if (rc)
        return rc;
    bool top = strcmp(role, "root") == 0 || strcmp(role, "targets") == 0;
    if (top == (delegator != NULL) || (!top && !tuf_role_name_valid(role)))
        return fail(err, E_INVALID, "'%s' is no role that can change", role);
    f->role = strdup(role);
    f->delegator = delegator ? strdup(delegator) : NULL;
    f->tree = js_dup(tree);
    if (!f->role || (delegator && !f->delegator) || !f->tree)
        return fail_nomem(err);
    const struct draft_base *base = base_of(d, role);
    f->before = base ? base->metadata : NULL;
    return OK;
}

static int read_files(const struct js *list, struct draft *d, struct error *err)
{
    size_t n = js_count(list);
    if (n == 0 || n > DRAFT_MAX_FILES)
        return fail(err, E_LIMIT, "%zu files change, 1 to %d may", n, DRAFT_MAX_FILES);
    d->files = calloc(n, sizeof *d->files);
    int rc = d->files ? OK : fail_nomem(err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = read_file(js_at(list, i), d, err);
    return rc;
}

static const struct draft_file *file_of(const struct draft *d, const char *role)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->files[i].role, role) == 0)
            return &d->files[i];
    return NULL;
}

/* Each role once, and each led to from targets: a role that vouches for its own keys vouches for
 * nothing. */
static int check_place(const struct draft *d, const struct draft_file *f, struct error *err)
{
    const char *role = f->role, *delegator = f->delegator;
    if (file_of(d, role) != f)
        return fail(err, E_INVALID, "'%s' changes twice", role);
    for (size_t i = 0; delegator; i++) {
        const struct draft_file *file = file_of(d, delegator);
        const struct draft_base *base = base_of(d, delegator);
        if (i > d->n + d->n_base || strcmp(delegator, "root") == 0 || (!file && !base))
            return fail(err, E_INVALID, "no delegation leads to '%s'", role);
        delegator = file ? file->delegator : base->delegator;
    }
    return OK;
}

/* What a person is about to sign must be the next version of just this role and collection, and
 * what a registry takes. */
static int check_file(const struct draft *d, const struct draft_file *f, struct error *err)
{
    const struct tuf_metadata *m = f->after;
    int64_t is = tuf_metadata_version(m);
    /* A role without a file may have had one before it was taken back: the registry knows. */
    int64_t wanted = f->before ? tuf_metadata_version(f->before) + 1 : f->delegator ? is : 1;
    int rc = tuf_accept_alone(m, d->collection, f->role, d->now_s, err);
    if (rc)
        return rc;
    if (is != wanted)
        return fail(err, E_CONFLICT, "'%s' has version %" PRId64 ", it must be %" PRId64, f->role,
                    is, wanted);
    return OK;
}

/* Together with its signatures the file must be one that can be read at all: what is odd would
 * otherwise be found out when everybody has signed. */
static int check_signed(struct draft_file *f, struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    int rc = draft_write_file(f, err);
    if (!rc)
        rc = tuf_metadata_parse(tuf_metadata_type(f->after), f->signed_file.data,
                                f->signed_file.len, &m, err);
    return wrap(err, rc, "'%s' with its signatures", f->role);
}

static int read_head(const struct js *root, struct reference *ref, const char **collection,
                     struct error *err)
{
    static const char *const keys[] = {"bullaChange", "host",  "repository", "collection",
                                       "summary",     "files", "base",       NULL};
    const char *host = NULL, *repository = NULL;
    char text[REFERENCE_TEXT_MAX];
    int64_t version = 0;
    int rc = js_only_keys(root, keys, err);
    if (!rc)
        rc = js_want_int(root, "bullaChange", 1, 1, &version, err);
    if (!rc)
        rc = js_want_text(root, "host", &host, err);
    if (!rc)
        rc = js_want_text(root, "repository", &repository, err);
    if (!rc)
        rc = js_want_text(root, "collection", collection, err);
    if (rc)
        return rc;
    if (strlen(*collection) > REFERENCE_REPOSITORY_MAX ||
        (size_t)snprintf(text, sizeof text, "%s/%s", host, repository) >= sizeof text)
        return fail(err, E_LIMIT, "its names are too long");
    return reference_parse(text, ref, err);
}

static int read_change(const struct collection_owner *owner, const struct js *root, struct draft *d,
                       struct error *err)
{
    struct reference ref = {.tag = ""};
    const char *collection = NULL;
    const struct js *files = NULL, *base = NULL;
    int rc = read_head(root, &ref, &collection, err);
    if (!rc)
        rc = js_want_array(root, "files", &files, err);
    if (!rc)
        rc = js_want_array(root, "base", &base, err);
    if (rc)
        return rc;
    draft_begin(owner, &ref, d);
    (void)snprintf(d->collection, sizeof d->collection, "%s", collection);
    rc = read_base(base, d, err);
    if (!rc)
        rc = check_base(d, err);
    if (!rc)
        rc = read_files(files, d, err);
    for (size_t i = 0; !rc && i < d->n; i++)
        rc = check_place(d, &d->files[i], err);
    if (!rc)
        rc = draft_compile(d, err);
    for (size_t i = 0; !rc && i < d->n; i++)
        rc = check_file(d, &d->files[i], err);
    for (size_t i = 0; !rc && i < d->n; i++)
        rc = check_signed(&d->files[i], err);
    return rc;
}

int change_file_parse(const struct collection_owner *owner, const void *data, size_t len,
                      struct draft *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = NULL;
    *out = (struct draft){.owner = owner};
    int rc = js_parse(data, len, &root, err);
    if (!rc)
        rc = read_change(owner, root, out, err);
    if (rc)
        draft_close(out);
    return rc;
}

int change_file_read(const struct collection_owner *owner, const char *path, struct draft *out,
                     struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    *out = (struct draft){.owner = owner};
    int rc = file_read(AT_FDCWD, path, CHANGE_FILE_MAX, &text, err);
    if (!rc)
        rc = change_file_parse(owner, text.data, text.len, out, err);
    return wrap(err, rc, "change file '%s'", path);
}

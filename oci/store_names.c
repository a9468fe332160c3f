#include "base/file.h"
#include "oci/reference.h"
#include "oci/store_private.h"

#include <string.h>

#define NAMES_FILE    "names.json"
#define PUSHED_FILE   "pushed.json"
#define LOCK_FILE     "names.lock"
#define LOCK_WAIT_MS  10000
#define NAMES_MAX     (64u << 20) /* some 250,000 names */
#define NAME_TEXT_MAX (REFERENCE_TEXT_MAX - 1)

static int check_name(const char *name, struct error *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_TEXT_MAX)
        return fail(err, E_USAGE, "an image name has 1 to %d bytes", NAME_TEXT_MAX);
    for (const char *p = name; *p; p++)
        if (*p <= ' ' || *p > '~')
            return fail(err, E_USAGE, "image name '%s' has blanks or unprintable bytes", name);
    return OK;
}

int store_name_complete(const char *name, char *out, struct error *err)
{
    const char *slash = strrchr(name, '/');
    const char *colon = strchr(slash ? slash : name, ':');
    size_t name_len = colon ? (size_t)(colon - name) : strlen(name);
    bool good = colon ? tag_name_valid(colon + 1, strlen(colon + 1)) : true;
    /* "host:port/…" is no repository name, but a fine name for an image in the store */
    struct reference ref;
    if (good && repository_name_valid(name, name_len)) {
        (void)snprintf(out, REFERENCE_TEXT_MAX, "%s%s", name, colon ? "" : ":latest");
        return OK;
    }
    if (reference_parse(name, &ref, NULL) == OK && ref.digest.alg == DIGEST_NONE) {
        (void)reference_format(&ref, out);
        return OK;
    }
    return fail(err, E_USAGE, "image name '%.120s' is malformed (write 'team/app:v1')", name);
}

/* A store without the file has no names. */
static int load(struct store *s, const char *file, struct js **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct error missing = ERROR_INIT;
    int rc = file_read(s->images_fd, file, NAMES_MAX, &text, &missing);
    if (rc == E_NOTFOUND) {
        *out = js_object_new();
        return *out ? OK : fail_nomem(err);
    }
    if (rc)
        return fail(err, rc, "%s", missing.message);
    CLEANUP(js_cleanup) struct js *o = NULL;
    rc = js_parse(text.data, text.len, &o, err);
    if (!rc && js_type(o) != JS_OBJECT)
        rc = fail(err, E_INVALID, "must be an object");
    if (!rc)
        *out = TAKE_PTR(o);
    return wrap(err, rc, "'%s' of the image store", file);
}

static int save(struct store *s, const char *file, const struct js *o, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = js_write(o, true, &text, err);
    return rc ? rc : file_write_atomic(s->images_fd, file, text.data, text.len, 0600, err);
}

static int set(struct store *s, const char *file, const char *name, const struct descriptor *d,
               struct error *err)
{
    CLEANUP(cleanup_fd) int lock = -1;
    CLEANUP(js_cleanup) struct js *names = NULL;
    struct js *entry = NULL;
    int rc = check_name(name, err);
    if (!rc)
        rc = file_lock(s->images_fd, LOCK_FILE, LOCK_WAIT_MS, &lock, err);
    if (!rc)
        rc = load(s, file, &names, err);
    if (!rc)
        rc = descriptor_to_js(d, &entry, err);
    if (!rc)
        rc = js_set(names, name, entry, err);
    return rc ? rc : save(s, file, names, err);
}

static int get(struct store *s, const char *file, const char *name, struct descriptor *out,
               struct error *err)
{
    CLEANUP(js_cleanup) struct js *names = NULL;
    int rc = load(s, file, &names, err);
    if (rc)
        return rc;
    const struct js *entry = js_get(names, name);
    if (!entry)
        return fail(err, E_NOTFOUND, "no image '%s' in the local store", name);
    return wrap(err, descriptor_parse(entry, out, err), "'%s' in '%s'", name, file);
}

int store_name_set(struct store *s, const char *name, const struct descriptor *d, struct error *err)
{
    return set(s, NAMES_FILE, name, d, err);
}

int store_name_get(struct store *s, const char *name, struct descriptor *out, struct error *err)
{
    return get(s, NAMES_FILE, name, out, err);
}

int store_pushed_set(struct store *s, const char *reference, const struct descriptor *d,
                     struct error *err)
{
    return set(s, PUSHED_FILE, reference, d, err);
}

int store_pushed_get(struct store *s, const char *reference, struct descriptor *out,
                     struct error *err)
{
    int rc = get(s, PUSHED_FILE, reference, out, err);
    if (rc == E_NOTFOUND)
        return fail(err, rc, "'%s' was not pushed from here", reference);
    return rc;
}

void store_names_free(struct store_name *names, size_t n)
{
    for (size_t i = 0; names && i < n; i++)
        free(names[i].name);
    free(names);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct store_name *)a)->name, ((const struct store_name *)b)->name);
}

static int fill(const struct js *o, struct store_name *names, size_t *n, struct error *err)
{
    js_foreach (o, it) {
        int rc = descriptor_parse(it.value, &names[*n].descriptor, err);
        if (rc)
            return wrap(err, rc, "'%s' in '%s'", it.key, NAMES_FILE);
        names[*n].name = strdup(it.key);
        if (!names[*n].name)
            return fail_nomem(err);
        ++*n;
    }
    return OK;
}

int store_names(struct store *s, struct store_name **out, size_t *n, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = NULL;
    size_t count = 0;
    int rc = load(s, NAMES_FILE, &o, err);
    if (rc)
        return rc;
    struct store_name *names = calloc(js_count(o) + 1, sizeof *names);
    if (!names)
        return fail_nomem(err);
    rc = fill(o, names, &count, err);
    if (rc) {
        store_names_free(names, count);
        return rc;
    }
    qsort(names, count, sizeof *names, by_name);
    *out = names;
    *n = count;
    return OK;
}

#include "registry/mirror_anchor.h"

#include "base/file.h"
#include "registry/access.h"
#include "tuf/trusted.h"

#include <fcntl.h>
#include <string.h>

struct mirror_anchors {
    const struct config_mirror *entries; /* the configuration's */
    struct bytes *roots;                 /* one each */
    size_t n;
};

void mirror_anchors_free(struct mirror_anchors *a)
{
    if (!a)
        return;
    for (size_t i = 0; a->roots && i < a->n; i++)
        bytes_done(&a->roots[i]);
    free(a->roots);
    free(a);
}

void mirror_anchors_cleanup(struct mirror_anchors **a)
{
    mirror_anchors_free(*a);
    *a = NULL;
}

/* What its own keys have not signed is a slip that should not wait for the first copy. The name of
 * the collection it has may be one of several. */
static int read_root(const char *file, struct bytes *out, struct error *err)
{
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = NULL;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    int rc = file_read(AT_FDCWD, file, TUF_MAX_ROOT_BYTES, out, err);
    if (rc == 0)
        rc = tuf_metadata_parse(TUF_ROOT, out->data, out->len, &m, err);
    if (rc == 0 && !tuf_metadata_collection(m))
        rc = fail(err, E_BINDING, "it names no collection");
    const struct tuf_trusted_options options = {0, rc == 0 ? tuf_metadata_collection(m) : ""};
    if (rc == 0)
        rc = tuf_trusted_new(&options, out->data, out->len, &t, err);
    return wrap(err, rc, "mirrors: root '%s'", file);
}

int mirror_anchors_load(const struct server_config *config, struct mirror_anchors **out,
                        struct error *err)
{
    size_t n = config->rules.n_mirrors;
    CLEANUP(mirror_anchors_cleanup) struct mirror_anchors *a = calloc(1, sizeof *a);
    if (!a)
        return fail_nomem(err);
    a->entries = config->rules.mirrors;
    a->roots = calloc(n ? n : 1, sizeof *a->roots);
    if (!a->roots)
        return fail_nomem(err);
    for (; a->n < n; a->n++) {
        a->roots[a->n] = (struct bytes)BYTES_INIT;
        int rc = read_root(a->entries[a->n].root, &a->roots[a->n], err);
        if (rc != 0) {
            bytes_done(&a->roots[a->n]);
            return rc;
        }
    }
    *out = TAKE_PTR(a);
    return 0;
}

/* Length of what stands before the star; the whole where there is none. */
static size_t fixed_part(const char *pattern)
{
    return strcspn(pattern, "*");
}

static int name_collection(const struct config_mirror *entry, const char *repository,
                           struct mirror_anchor *out, struct error *err)
{
    bool one = !strchr(entry->repository, '*');
    int n = snprintf(out->collection, sizeof out->collection, "%.*s%s",
                     (int)fixed_part(entry->collection), entry->collection,
                     one ? "" : repository + fixed_part(entry->repository));
    if (n < 0 || (size_t)n >= sizeof out->collection)
        return fail(err, E_LIMIT, "the collection's name is too long");
    return 0;
}

int mirror_anchors_find(const struct mirror_anchors *a, const char *repository,
                        struct mirror_anchor *out, struct error *err)
{
    for (size_t i = 0; a && i < a->n; i++)
        if (access_pattern_matches(a->entries[i].repository, repository)) {
            out->root = &a->roots[i];
            return name_collection(&a->entries[i], repository, out, err);
        }
    return fail(err, E_NOTFOUND,
                "'%s' is no mirror: an entry of 'mirrors' in registry.yaml makes it one",
                repository);
}

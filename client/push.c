/*
 * push_image: everything below a source's root goes to the registry, leaves first: blobs, then the
 * manifests that name them, last the root under its tag, so that a tag never names what is not all
 * there. Source: OCI distribution-spec 1.1.1 "Pushing manifests".
 */
#include "base/file.h"
#include "client/crew.h"
#include "client/known_blobs.h"
#include "client/remote_private.h"
#include "client/upload_memo.h"
#include "oci/reference.h"

#include <string.h>

#define MAX_INDEX_DEPTH 4    /* indexes of indexes exist; deeper ones do not */
#define MAX_BLOBS       8192 /* distinct blobs and manifests of one push */

struct push {
    struct remote *remote;
    struct image_source *source;
    const char *repository;
    const struct transfer_options *options;
    struct known_blobs known;
    struct descriptor *blobs; /* what is not a manifest, each once */
    size_t n_blobs;
    struct digest *done; /* manifests: first what was looked into, then what was put */
    size_t n_done;
    uint64_t manifest_bytes;
    uint64_t total; /* bytes of all blobs, for the bar */
    /* the workers' */
    atomic_uint_fast64_t bytes;
    atomic_size_t moved, present, mounted;
};

/* --- which blobs --- */

static bool is_done(const struct push *p, const struct digest *d)
{
    for (size_t i = 0; i < p->n_done; i++)
        if (digest_equal(&p->done[i], d))
            return true;
    return false;
}

static int too_many(struct error *err)
{
    return fail(err, E_LIMIT, "the image names more than %d blobs", MAX_BLOBS);
}

static int mark_done(struct push *p, const struct digest *d, struct error *err)
{
    if (p->n_done + p->n_blobs >= MAX_BLOBS)
        return too_many(err);
    struct digest *more = realloc(p->done, (p->n_done + 1) * sizeof *more);
    if (!more)
        return fail_nomem(err);
    p->done = more;
    p->done[p->n_done++] = *d;
    return OK;
}

static int list_blob(struct push *p, const struct descriptor *d, struct error *err)
{
    for (size_t i = 0; i < p->n_blobs; i++)
        if (digest_equal(&p->blobs[i].digest, &d->digest))
            return OK;
    if (p->n_done + p->n_blobs >= MAX_BLOBS)
        return too_many(err);
    struct descriptor *more = realloc(p->blobs, (p->n_blobs + 1) * sizeof *more);
    if (!more)
        return fail_nomem(err);
    p->blobs = more;
    p->blobs[p->n_blobs++] = *d;
    p->total += d->size > 0 ? (uint64_t)d->size : 0;
    return OK;
}

/* --- one blob --- */

static int send_blob(struct push *p, struct remote *r, const struct descriptor *d, int fd,
                     struct error *err)
{
    char from[REFERENCE_REPOSITORY_MAX + 1];
    bool mounted = false;
    bool elsewhere = known_blobs_find(&p->known, &d->digest, p->repository, from);
    const struct blob_upload_options options = {.store = p->options->store,
                                                .from = elsewhere ? from : NULL,
                                                .progress = p->options->progress,
                                                .mounted = &mounted};
    int rc = remote_blob_upload(r, p->repository, d, fd, &options, err);
    if (rc)
        return rc;
    if (mounted) {
        (void)atomic_fetch_add(&p->mounted, 1);
        progress_add(p->options->progress, (uint64_t)d->size);
        return OK;
    }
    (void)atomic_fetch_add(&p->moved, 1);
    (void)atomic_fetch_add(&p->bytes, (uint64_t)d->size);
    return OK;
}

/* Before anything is fetched for it: the registry itself has it elsewhere. */
static int mount_blob(struct push *p, struct remote *r, const struct descriptor *d, bool *mounted,
                      struct error *err)
{
    const char *from = p->options->mount_from;
    if (!from || strcmp(from, p->repository) == 0)
        return OK;
    int rc = remote_blob_mount(r, p->repository, &d->digest, from, mounted, err);
    if (!rc && *mounted) {
        (void)atomic_fetch_add(&p->mounted, 1);
        progress_add(p->options->progress, d->size > 0 ? (uint64_t)d->size : 0);
    }
    return rc;
}

static int push_blob(void *ctx, struct remote *r, size_t i, struct error *err)
{
    struct push *p = ctx;
    const struct descriptor *d = &p->blobs[i];
    struct image_part part;
    bool exists = false;
    int rc = remote_blob_exists(r, p->repository, &d->digest, &exists, err);
    if (rc)
        return rc;
    if (exists) {
        remote_blob_upload_forget(r, p->repository, d, p->options->store);
        (void)atomic_fetch_add(&p->present, 1);
        progress_add(p->options->progress, d->size > 0 ? (uint64_t)d->size : 0);
        return OK;
    }
    rc = mount_blob(p, r, d, &exists, err);
    if (rc || exists)
        return rc;
    const struct image_want want = {.descriptor = d, .stop = r->http_options.stop};
    rc = image_source_begin(p->source, &want, &part, err);
    /* A foreign layer's place is elsewhere; registries accept a manifest without it. */
    if (rc == E_NOTFOUND && d->non_distributable)
        return OK;
    if (rc)
        return rc;
    rc = send_blob(p, r, d, part.fd, err);
    image_source_end(p->source, &part, rc);
    return rc;
}

static int push_blobs(struct push *p, struct error *err)
{
    unsigned parallel = p->options->parallel ? p->options->parallel : TRANSFER_PARALLEL;
    char label[32];
    if (!p->n_blobs)
        return OK;
    (void)snprintf(label, sizeof label, "push %zu blob%s", p->n_blobs, p->n_blobs == 1 ? "" : "s");
    progress_begin(p->options->progress, label, p->total);
    int rc = crew_run(p->remote, parallel, p->n_blobs, push_blob, p, err);
    progress_end(p->options->progress);
    return rc;
}

/* --- manifests --- */

/* The manifest's exact bytes, checked, and what they mean. */
static int read_manifest(struct push *p, const struct descriptor *d, struct bytes *data,
                         struct manifest **out, struct error *err)
{
    const struct image_want want = {.descriptor = d, .manifest = true};
    struct image_part part;
    char text[DIGEST_TEXT_MAX];
    struct digest actual;
    int rc = image_source_begin(p->source, &want, &part, err);
    if (!rc) {
        rc = file_read_fd(part.fd, MANIFEST_MAX_BYTES, data, err);
        image_source_end(p->source, &part, rc);
    }
    if (!rc)
        rc = digest_of(d->digest.alg, bytes_text(data), data->len, &actual, err);
    if (!rc && ((uint64_t)data->len != (uint64_t)d->size || !digest_equal(&actual, &d->digest)))
        rc = fail(err, E_DIGEST, "its bytes do not have its digest and size");
    if (!rc)
        rc = manifest_parse(data->data, data->len, d->media_type, out, err);
    return wrap(err, rc, "manifest %s", digest_format(&d->digest, text));
}

/* Where a manifest is put: under its digest, the root also under its tag. */
static int put_manifest(struct push *p, const struct descriptor *d, const struct manifest *m,
                        const struct bytes *data, const char *tag, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    int rc = remote_manifest_put(p->remote, p->repository, digest_format(&d->digest, text),
                                 m->media_type, data->data, data->len, err);
    if (!rc && tag)
        rc = remote_manifest_put(p->remote, p->repository, tag, m->media_type, data->data,
                                 data->len, err);
    if (!rc)
        p->manifest_bytes += data->len;
    return rc;
}

/* What is done with a manifest once its children had their turn. */
enum walk { WALK_LIST, WALK_PUT };

static int walk_manifest(struct push *p, const struct descriptor *d, enum walk walk,
                         const char *tag, int depth, struct error *err);

static int walk_children(struct push *p, const struct manifest *m, enum walk walk, int depth,
                         struct error *err)
{
    int rc = OK;
    if (walk == WALK_LIST && m->kind == MANIFEST_IMAGE)
        rc = list_blob(p, &m->config, err);
    for (size_t i = 0; !rc && walk == WALK_LIST && i < m->n_layers; i++)
        rc = list_blob(p, &m->layers[i], err);
    for (size_t i = 0; !rc && i < m->n_manifests; i++)
        rc = walk_manifest(p, &m->manifests[i], walk, NULL, depth + 1, err);
    return rc;
}

/* Read anew in each walk, and checked anew: manifests of a large index need not all fit at once. */
static int walk_manifest(struct push *p, const struct descriptor *d, enum walk walk,
                         const char *tag, int depth, struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    if (depth > MAX_INDEX_DEPTH)
        return fail(err, E_LIMIT, "indexes are nested deeper than %d", MAX_INDEX_DEPTH);
    if (is_done(p, &d->digest))
        return OK;
    int rc = read_manifest(p, d, &data, &m, err);
    if (!rc)
        rc = walk_children(p, m, walk, depth, err);
    if (!rc && walk == WALK_PUT)
        rc = put_manifest(p, d, m, &data, tag, err);
    return rc ? rc : mark_done(p, &d->digest, err);
}

static int push_all(struct push *p, const char *tag, struct error *err)
{
    const struct descriptor *root = image_source_root(p->source);
    int rc = walk_manifest(p, root, WALK_LIST, NULL, 0, err);
    if (!rc)
        rc = push_blobs(p, err);
    p->n_done = 0;
    return rc ? rc : walk_manifest(p, root, WALK_PUT, tag, 0, err);
}

/* --- notes --- */

static void load_notes(struct push *p)
{
    if (!p->options->store)
        return;
    upload_memo_sweep(p->options->store);
    known_blobs_load(p->options->store, p->remote->base.authority, &p->known);
}

static void remember(const struct push *p)
{
    CLEANUP(cleanup_free) struct digest *all = calloc(p->n_blobs + 1, sizeof *all);
    if (!all || !p->options->store)
        return;
    for (size_t i = 0; i < p->n_blobs; i++)
        all[i] = p->blobs[i].digest;
    known_blobs_add(p->options->store, p->remote->base.authority, &p->known, p->repository, all,
                    p->n_blobs);
}

int push_image(struct remote *r, struct image_source *src, const char *repository, const char *tag,
               const struct transfer_options *options, struct transfer_count *count,
               struct error *err)
{
    struct push p = {.remote = r, .source = src, .repository = repository, .options = options};
    if (tag && !*tag)
        tag = NULL;
    remote_be_patient(r, options);
    int rc = remote_check_repository(repository, err);
    if (!rc) {
        load_notes(&p);
        rc = push_all(&p, tag, err);
    }
    if (!rc)
        remember(&p);
    free(p.done);
    free(p.blobs);
    known_blobs_done(&p.known);
    if (!rc && count)
        *count = (struct transfer_count){.bytes = p.manifest_bytes + p.bytes,
                                         .blobs = p.moved,
                                         .present = p.present,
                                         .mounted = p.mounted};
    return wrap(err, rc, "push to %s/%s", r->base.authority, repository);
}

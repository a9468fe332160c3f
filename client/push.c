/*
 * push_image: everything below a source's root goes to the registry, leaves first: blobs, then the
 * manifests that name them, last the root under its tag, so that a tag never names what is not all
 * there. Source: OCI distribution-spec 1.1.1 "Pushing manifests".
 */
#include "base/file.h"
#include "client/remote.h"
#include "client/remote_private.h"

#define MAX_INDEX_DEPTH 4    /* indexes of indexes exist; deeper ones do not */
#define MAX_BLOBS       8192 /* distinct blobs and manifests of one push */

struct push {
    struct remote *remote;
    struct image_source *source;
    const char *repository;
    struct progress *progress;
    struct transfer_count count;
    struct digest *done; /* what was sent or found, each once */
    size_t n_done;
};

static bool is_done(const struct push *p, const struct digest *d)
{
    for (size_t i = 0; i < p->n_done; i++)
        if (digest_equal(&p->done[i], d))
            return true;
    return false;
}

static int mark_done(struct push *p, const struct digest *d, struct error *err)
{
    if (p->n_done == MAX_BLOBS)
        return fail(err, E_LIMIT, "the image names more than %d blobs", MAX_BLOBS);
    struct digest *more = realloc(p->done, (p->n_done + 1) * sizeof *more);
    if (!more)
        return fail_nomem(err);
    p->done = more;
    p->done[p->n_done++] = *d;
    return OK;
}

static void label_of(const struct digest *d, char out[32])
{
    char hex[DIGEST_TEXT_MAX];
    (void)snprintf(out, 32, "push %.12s", digest_hex(d, hex));
}

static int send_blob(struct push *p, const struct descriptor *d, int fd, struct error *err)
{
    char label[32];
    label_of(&d->digest, label);
    progress_begin(p->progress, label, (uint64_t)d->size);
    int rc = remote_blob_upload(p->remote, p->repository, d, fd, p->progress, err);
    progress_end(p->progress);
    if (!rc) {
        p->count.blobs++;
        p->count.bytes += (uint64_t)d->size;
    }
    return rc;
}

static int push_blob(struct push *p, const struct descriptor *d, struct error *err)
{
    if (is_done(p, &d->digest))
        return OK;
    CLEANUP(cleanup_fd) int fd = -1;
    bool exists = false;
    int rc = remote_blob_exists(p->remote, p->repository, &d->digest, &exists, err);
    if (rc)
        return rc;
    if (exists) {
        p->count.present++;
        return mark_done(p, &d->digest, err);
    }
    rc = image_source_blob(p->source, &d->digest, &fd, NULL, err);
    /* A foreign layer's place is elsewhere; registries accept a manifest without it. */
    if (rc == E_NOTFOUND && d->non_distributable)
        return OK;
    if (!rc)
        rc = send_blob(p, d, fd, err);
    return rc ? rc : mark_done(p, &d->digest, err);
}

/* The manifest's exact bytes, checked, and what they mean. */
static int read_manifest(struct push *p, const struct descriptor *d, struct bytes *data,
                         struct manifest **out, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    char text[DIGEST_TEXT_MAX];
    struct digest actual;
    int rc = image_source_blob(p->source, &d->digest, &fd, NULL, err);
    if (!rc)
        rc = file_read_fd(fd, MANIFEST_MAX_BYTES, data, err);
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
        p->count.bytes += data->len;
    return rc;
}

static int push_children(struct push *p, const struct manifest *m, int depth, struct error *err);

static int push_manifest(struct push *p, const struct descriptor *d, const char *tag, int depth,
                         struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    if (depth > MAX_INDEX_DEPTH)
        return fail(err, E_LIMIT, "indexes are nested deeper than %d", MAX_INDEX_DEPTH);
    if (is_done(p, &d->digest))
        return OK;
    int rc = read_manifest(p, d, &data, &m, err);
    if (!rc)
        rc = push_children(p, m, depth, err);
    if (!rc)
        rc = put_manifest(p, d, m, &data, tag, err);
    return rc ? rc : mark_done(p, &d->digest, err);
}

static int push_children(struct push *p, const struct manifest *m, int depth, struct error *err)
{
    int rc = m->kind == MANIFEST_IMAGE ? push_blob(p, &m->config, err) : OK;
    for (size_t i = 0; !rc && i < m->n_layers; i++)
        rc = push_blob(p, &m->layers[i], err);
    for (size_t i = 0; !rc && i < m->n_manifests; i++)
        rc = push_manifest(p, &m->manifests[i], NULL, depth + 1, err);
    return rc;
}

int push_image(struct remote *r, struct image_source *src, const char *repository, const char *tag,
               struct progress *progress, struct transfer_count *count, struct error *err)
{
    struct push p = {.remote = r, .source = src, .repository = repository, .progress = progress};
    if (tag && !*tag)
        tag = NULL;
    int rc = remote_check_repository(repository, err);
    if (!rc)
        rc = push_manifest(&p, image_source_root(src), tag, 0, err);
    free(p.done);
    if (!rc && count)
        *count = p.count;
    return wrap(err, rc, "push to %s/%s", r->base.authority, repository);
}

/* The blobs of a bundle: known by digest before they are met, or refused. */
#include "verify/bundle_internal.h"
#include "verify/obtain.h"

#include <string.h>

enum part { PART_DOCUMENT, PART_CONFIG, PART_LAYER };

struct wanted {
    struct descriptor d;
    enum part part;
    bool optional; /* another platform's image: a bundle need not hold it */
    bool seen;
    size_t n_layers; /* of a config: those of its manifest */
};

struct walk {
    const struct tuf_metadata *targets;
    struct bundle_load *load;
    struct wanted *items;
    size_t n, n_images;
    bool in_blobs;
};

static struct wanted *find_wanted(struct walk *w, const struct digest *d)
{
    for (size_t i = 0; i < w->n; i++)
        if (digest_equal(&w->items[i].d.digest, d))
            return &w->items[i];
    return NULL;
}

static int want(struct walk *w, const struct wanted *new, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    struct wanted *known = find_wanted(w, &new->d.digest);
    if (!known && w->n == BUNDLE_MAX_BLOBS)
        return fail(err, E_LIMIT, "the image has more than %d parts", BUNDLE_MAX_BLOBS);
    if (!known) {
        w->items[w->n++] = *new;
        return OK;
    }
    if (known->d.size != new->d.size || (known->part != new->part && !known->seen))
        return fail(err, E_INVALID, "the image names '%s' twice, and differently",
                    digest_format(&new->d.digest, text));
    known->optional = known->optional && new->optional;
    return OK;
}

/* What a manifest or index asks for; an index's children go one level deep, as everywhere. */
static int want_parts(struct walk *w, const struct wanted *of, const struct manifest *m,
                      struct error *err)
{
    int rc = OK;
    if (m->kind == MANIFEST_INDEX) {
        if (of != &w->items[0])
            return fail(err, E_INVALID, "an index inside an index");
        for (size_t i = 0; !rc && i < m->n_manifests; i++) {
            struct wanted child = {.d = m->manifests[i], .part = PART_DOCUMENT, .optional = true};
            rc = want(w, &child, err);
        }
        return rc;
    }
    struct wanted config = {.d = m->config, .part = PART_CONFIG, .n_layers = m->n_layers};
    w->n_images++;
    rc = want(w, &config, err);
    for (size_t i = 0; !rc && i < m->n_layers; i++) {
        struct wanted layer = {.d = m->layers[i], .part = PART_LAYER};
        rc = want(w, &layer, err);
    }
    return rc;
}

static int read_document(struct walk *w, const struct wanted *of, const struct bytes *body,
                         struct error *err)
{
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    int rc = image_check_bans(w->targets, body->data, body->len, err);
    if (!rc)
        rc = manifest_parse(body->data, body->len, of->d.media_type, &m, err);
    return rc ? rc : want_parts(w, of, m, err);
}

static int check_config(const struct wanted *of, const struct bytes *body, struct error *err)
{
    CLEANUP(image_config_cleanup) struct image_config *config = NULL;
    int rc = image_config_parse(body->data, body->len, &config, err);
    if (!rc && config->n_diff_ids != of->n_layers)
        rc = fail(err, E_INVALID, "image config names %zu layers, its manifest %zu",
                  config->n_diff_ids, of->n_layers);
    return rc;
}

/* One blob on its way: hashed, kept where it is a small document, written where it is wanted. */
struct passage {
    struct digest_stream *hash;
    struct blob_writer *writer; /* NULL: not written */
    struct bytes body;
    bool keep;
    int64_t at;
};

static void passage_done(struct passage *p)
{
    digest_stream_cleanup(&p->hash);
    blob_writer_cleanup(&p->writer);
    bytes_done(&p->body);
}

static int pass(struct passage *p, struct tar_reader *reader, struct progress *progress,
                struct error *err)
{
    const void *data;
    size_t len;
    int64_t offset;
    for (;;) {
        int rc = tar_reader_data(reader, &data, &len, &offset, err);
        if (rc || !len)
            return rc;
        if (offset != p->at)
            return fail(err, E_UNSUPPORTED, "sparse files are not supported here");
        p->at += (int64_t)len;
        rc = digest_stream_update(p->hash, data, len, err);
        if (!rc && p->keep)
            rc = bytes_append(&p->body, data, len, err);
        if (!rc && p->writer)
            rc = blob_writer_write(p->writer, data, len, err);
        if (rc)
            return rc;
        progress_add(progress, len);
    }
}

static int start_passage(const struct walk *w, const struct wanted *item, struct passage *p,
                         struct error *err)
{
    struct bundle_load *load = w->load;
    p->keep = item->part != PART_LAYER;
    if (p->keep && item->d.size > (int64_t)MANIFEST_MAX_BYTES)
        return fail(err, E_LIMIT, "is too large for a document");
    int rc = digest_stream_new(item->d.digest.alg, &p->hash, err);
    if (rc || !load->store)
        return rc;
    /* Small ones give way even if they are there: that repairs them. */
    if (p->keep || !store_blob_exists(load->store, &item->d.digest))
        return blob_writer_new(load->store, &p->writer, err);
    load->present++;
    return OK;
}

static int end_passage(struct walk *w, const struct wanted *item, struct passage *p,
                       struct error *err)
{
    struct digest real;
    char text[DIGEST_TEXT_MAX];
    int rc = digest_stream_peek(p->hash, &real, err);
    if (!rc && (p->at != item->d.size || !digest_equal(&real, &item->d.digest)))
        rc = fail(err, E_DIGEST, "has digest '%s'", digest_format(&real, text));
    if (!rc && item->part == PART_CONFIG)
        rc = check_config(item, &p->body, err);
    if (!rc && p->writer) {
        rc = blob_writer_commit(p->writer, &item->d.digest, item->d.size, err);
        w->load->blobs += !rc;
        w->load->bytes += rc ? 0 : (uint64_t)item->d.size;
    }
    return !rc && item->part == PART_DOCUMENT ? read_document(w, item, &p->body, err) : rc;
}

static int take_blob(void *context, const char *path, const struct tar_entry *e,
                     struct tar_reader *reader, struct error *err)
{
    struct walk *w = context;
    CLEANUP(passage_done) struct passage p = {.body = BYTES_INIT};
    struct digest d;
    bool blob = bundle_blob_digest(path, &d);
    if (!blob && !w->in_blobs) /* bundle_open has read it */
        return OK;
    if (!blob)
        return fail(err, E_INVALID, "stands behind the image's blobs");
    w->in_blobs = true;
    struct wanted *item = find_wanted(w, &d);
    if (!item)
        return fail(err, E_INVALID, "is not part of the signed image");
    if (item->seen)
        return fail(err, E_INVALID, "is in the bundle twice");
    item->seen = true;
    if (e->size != item->d.size)
        return fail(err, E_DIGEST, "has %lld bytes, not %lld", (long long)e->size,
                    (long long)item->d.size);
    int rc = start_passage(w, item, &p, err);
    if (!rc)
        rc = pass(&p, reader, w->load->progress, err);
    return rc ? rc : end_passage(w, item, &p, err);
}

static int check_complete(const struct walk *w, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < w->n; i++)
        if (!w->items[i].seen && !w->items[i].optional)
            return fail(err, E_INVALID, "the bundle is cut off: blob '%s' is missing",
                        digest_format(&w->items[i].d.digest, text));
    return w->n_images ? OK : fail(err, E_INVALID, "the bundle holds an index, but no image");
}

int bundle_read_image(const struct bundle *b, const struct descriptor *root,
                      const struct tuf_metadata *targets, struct bundle_load *load,
                      struct error *err)
{
    char held[DIGEST_TEXT_MAX], is_signed[DIGEST_TEXT_MAX];
    if (!digest_equal(&b->root.digest, &root->digest))
        return fail(err, E_DIGEST, "the bundle holds image %s; the signed one is %s",
                    digest_format(&b->root.digest, held), digest_format(&root->digest, is_signed));
    CLEANUP(cleanup_free) struct wanted *items = calloc(BUNDLE_MAX_BLOBS, sizeof *items);
    if (!items)
        return fail_nomem(err);
    struct walk w = {.targets = targets, .load = load, .items = items, .n = 1};
    items[0] = (struct wanted){.d = *root, .part = PART_DOCUMENT};
    progress_begin(load->progress, load->store ? "load" : "check", 0);
    int rc = bundle_each_file(b, take_blob, &w, err);
    progress_end(load->progress);
    return rc ? wrap(err, rc, "bundle") : check_complete(&w, err);
}

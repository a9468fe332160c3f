#include "client/copy.h"

#include "base/file.h"
#include "client/remote_private.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define PART_MIN     (64 << 10)  /* smaller blobs are fetched anew sooner than resumed */
#define MANIFESTS    256u        /* kept from the listing until they are sent… */
#define MANIFEST_SUM (16u << 20) /* …and so many bytes of them */

/* Connections to the registry that is copied from: each serves one thread at a time. */
struct copy {
    const struct copy_end *from;
    const struct transfer_options *options;
    pthread_mutex_t lock;
    struct remote *idle[TRANSFER_PARALLEL_MAX];
    size_t n_idle;
    struct kept {
        struct digest digest;
        struct bytes data;
    } kept[MANIFESTS];
    size_t n_kept, kept_bytes;
};

static void copy_done(struct copy *c)
{
    for (size_t i = 0; i < c->n_idle; i++)
        remote_close(c->idle[i]);
    for (size_t i = 0; i < c->n_kept; i++)
        bytes_done(&c->kept[i].data);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

static int borrow(struct copy *c, const atomic_bool *stop, struct remote **out, struct error *err)
{
    int rc = OK;
    (void)pthread_mutex_lock(&c->lock);
    if (c->n_idle)
        *out = c->idle[--c->n_idle];
    else
        rc = remote_clone(c->from->remote, NULL, out, err);
    (void)pthread_mutex_unlock(&c->lock);
    if (!rc)
        remote_stop_at(*out, stop);
    return rc;
}

static void give_back(struct copy *c, struct remote *r)
{
    remote_stop_at(r, NULL);
    (void)pthread_mutex_lock(&c->lock);
    if (c->n_idle < TRANSFER_PARALLEL_MAX) {
        c->idle[c->n_idle++] = r;
        r = NULL;
    }
    (void)pthread_mutex_unlock(&c->lock);
    remote_close(r);
}

/* --- manifests: one thread, in memory --- */

static const struct bytes *find_kept(const struct copy *c, const struct digest *d)
{
    for (size_t i = 0; i < c->n_kept; i++)
        if (digest_equal(&c->kept[i].digest, d))
            return &c->kept[i].data;
    return NULL;
}

static void keep(struct copy *c, const struct digest *d, const struct bytes *data)
{
    struct kept *k = &c->kept[c->n_kept];
    if (c->n_kept == MANIFESTS || c->kept_bytes + data->len > MANIFEST_SUM)
        return;
    *k = (struct kept){*d, BYTES_INIT};
    if (bytes_append(&k->data, data->data, data->len, NULL))
        return;
    c->kept_bytes += data->len;
    c->n_kept++;
}

static int to_descriptor(const struct bytes *data, int *out, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = memfd_create("manifest", MFD_CLOEXEC);
    if (fd < 0)
        return fail_sys(err, errno, "memory for a manifest");
    int rc = file_write_fd(fd, bytes_text(data), data->len, err);
    if (!rc && lseek(fd, 0, SEEK_SET) != 0)
        rc = fail_sys(err, errno, "rewind");
    if (!rc)
        *out = TAKE_FD(fd);
    return rc;
}

static int open_manifest(struct copy *c, const struct digest *d, int *fd, struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    char text[DIGEST_TEXT_MAX];
    const struct bytes *kept = find_kept(c, d);
    if (kept)
        return to_descriptor(kept, fd, err);
    int rc = remote_manifest_get(c->from->remote, c->from->repository, digest_format(d, text),
                                 &data, NULL, err);
    if (rc)
        return rc;
    keep(c, d, &data);
    return to_descriptor(&data, fd, err);
}

/* --- blobs: many threads, through parts --- */

static bool is_wrong(int rc)
{
    return rc == E_DIGEST || rc == E_PROTOCOL;
}

/* A kept part may be what is wrong: once more from the first byte. */
static int fetch(struct copy *c, struct remote *r, const struct descriptor *d,
                 struct blob_writer *w, int *fd, struct error *err)
{
    bool kept = blob_writer_size(w) > 0;
    int rc = remote_blob_fetch(r, c->from->repository, d, w, NULL, err);
    if (!rc)
        rc = blob_writer_read(w, d, fd, err);
    if (!kept || !is_wrong(rc))
        return rc;
    rc = blob_writer_restart(w, err);
    if (!rc)
        rc = remote_blob_fetch(r, c->from->repository, d, w, NULL, err);
    return rc ? rc : blob_writer_read(w, d, fd, err);
}

/* A part that another process writes is its own: then this one goes without. */
static int new_part(struct copy *c, const struct descriptor *d, struct blob_writer **w,
                    struct error *err)
{
    int rc =
        d->size >= PART_MIN ? blob_writer_resume(c->options->store, &d->digest, w, err) : E_BUSY;
    return rc == E_BUSY ? blob_writer_new(c->options->store, w, err) : rc;
}

static int open_blob(struct copy *c, const struct image_want *want, struct image_part *out,
                     struct error *err)
{
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
    struct remote *r = NULL;
    const struct descriptor *d = want->descriptor;
    struct error why = ERROR_INIT;
    if (store_blob_exists(c->options->store, &d->digest))
        return store_blob_open(c->options->store, &d->digest, &out->fd, NULL, err);
    int rc = new_part(c, d, &w, err);
    if (!rc)
        rc = borrow(c, want->stop, &r, err);
    if (rc)
        return rc;
    rc = fetch(c, r, d, w, &out->fd, &why);
    give_back(c, r);
    if (is_wrong(rc))
        blob_writer_forget(w);
    if (rc)
        return fail(err, rc, "%s", why.message);
    out->held = TAKE_PTR(w);
    return OK;
}

static int fetcher_open(void *ctx, const struct image_want *want, struct image_part *out,
                        struct error *err)
{
    struct copy *c = ctx;
    int rc = want->manifest ? open_manifest(c, &want->descriptor->digest, &out->fd, err)
                            : open_blob(c, want, out, err);
    return wrap(err, rc, "from %s/%s", c->from->remote->base.authority, c->from->repository);
}

/* What arrived is not needed again, and what was wrong must not be found again. */
static void fetcher_close(void *ctx, struct image_part *part, int rc)
{
    struct blob_writer *w = part->held;
    (void)ctx;
    if (!rc || is_wrong(rc))
        blob_writer_forget(w);
    blob_writer_free(w);
    part->held = NULL;
}

int copy_image(const struct copy_end *from, const struct copy_end *to,
               const struct descriptor *root, const char *tag,
               const struct transfer_options *options, struct transfer_count *count,
               struct error *err)
{
    struct copy *c = calloc(1, sizeof *c);
    CLEANUP(image_source_cleanup) struct image_source *source = NULL;
    struct transfer_options o = *options;
    if (!c)
        return fail_nomem(err);
    c->from = from;
    c->options = options;
    (void)pthread_mutex_init(&c->lock, NULL);
    const struct image_fetcher fetcher = {fetcher_open, fetcher_close, c};
    if (strcmp(from->remote->base.authority, to->remote->base.authority) == 0)
        o.mount_from = from->repository;
    remote_be_patient(from->remote, options);
    int rc = remote_check_repository(from->repository, err);
    if (!rc)
        rc = remote_ready(from->remote, err);
    if (!rc)
        rc = image_source_new(root, &fetcher, &source, err);
    if (!rc)
        rc = push_image(to->remote, source, to->repository, tag, &o, count, err);
    copy_done(c);
    return rc;
}

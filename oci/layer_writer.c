#include "oci/layer_writer.h"

#include "oci/codec.h"

#include <string.h>

#define OUT_BLOCK 262144u

struct layer_writer {
    enum layer_compression form;
    struct digest_stream *content_hash;
    struct codec *codec;
    struct blob_writer *blob;
    uint8_t *block;
};

void layer_writer_free(struct layer_writer *w)
{
    if (!w)
        return;
    digest_stream_free(w->content_hash);
    codec_free(w->codec);
    blob_writer_free(w->blob);
    free(w->block);
    free(w);
}

void layer_writer_cleanup(struct layer_writer **w)
{
    layer_writer_free(*w);
    *w = NULL;
}

int layer_writer_new(struct store *s, enum layer_compression form, struct layer_writer **out,
                     struct error *err)
{
    CLEANUP(layer_writer_cleanup) struct layer_writer *w = calloc(1, sizeof *w);
    if (!w)
        return fail_nomem(err);
    w->form = form;
    w->block = malloc(OUT_BLOCK);
    if (!w->block)
        return fail_nomem(err);
    int rc = digest_stream_new(DIGEST_SHA256, &w->content_hash, err);
    if (!rc)
        rc = codec_encoder(form, &w->codec, err);
    if (!rc)
        rc = blob_writer_new(s, &w->blob, err);
    if (!rc)
        *out = TAKE_PTR(w);
    return rc;
}

static int encode(struct layer_writer *w, struct codec_io *io, struct error *err)
{
    bool done = false;
    int rc = OK;
    do {
        io->out = w->block;
        io->out_len = OUT_BLOCK;
        rc = codec_step(w->codec, io, &done, err);
        if (!rc)
            rc = blob_writer_write(w->blob, w->block, OUT_BLOCK - io->out_len, err);
    } while (!rc && !done && (io->in_len || !io->out_len || io->last));
    return rc;
}

int layer_writer_write(void *context, const void *data, size_t len, struct error *err)
{
    struct layer_writer *w = context;
    struct codec_io io = {.in = data, .in_len = len};
    int rc = digest_stream_update(w->content_hash, data, len, err);
    return rc || !len ? rc : encode(w, &io, err);
}

int layer_writer_finish(struct layer_writer *w, struct descriptor *layer, struct digest *diff_id,
                        struct error *err)
{
    static const char *const types[] = {
        [LAYER_NONE] = MEDIA_OCI_LAYER,
        [LAYER_GZIP] = MEDIA_OCI_LAYER_GZIP,
        [LAYER_ZSTD] = MEDIA_OCI_LAYER_ZSTD,
    };
    struct codec_io io = {.in = (const uint8_t *)"", .last = true};
    struct descriptor d = {.size = 0};
    struct digest id;
    int rc = encode(w, &io, err);
    if (!rc)
        rc = digest_stream_peek(w->content_hash, &id, err);
    if (!rc)
        rc = blob_writer_finish(w->blob, &d.digest, &d.size, err);
    if (rc)
        return rc;
    memcpy(d.media_type, types[w->form], strlen(types[w->form]) + 1);
    *layer = d;
    *diff_id = id;
    return OK;
}

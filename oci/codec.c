#include "oci/codec.h"

#include <string.h>

struct codec {
    void *state;
    const struct codec_methods *methods;
};

void codec_free(struct codec *c)
{
    if (!c)
        return;
    if (c->methods)
        c->methods->free(c->state);
    free(c);
}

void codec_cleanup(struct codec **c)
{
    codec_free(*c);
    *c = NULL;
}

static int copy_step(void *state, struct codec_io *io, bool *done, struct error *err)
{
    (void)state;
    (void)err;
    size_t n = io->in_len < io->out_len ? io->in_len : io->out_len;
    if (n)
        memcpy(io->out, io->in, n);
    io->in += n;
    io->in_len -= n;
    io->out += n;
    io->out_len -= n;
    *done = io->last && !io->in_len;
    return OK;
}

static void copy_free(void *state)
{
    (void)state;
}

static int copy_new(void **state, const struct codec_methods **methods, struct error *err)
{
    static const struct codec_methods copy = {copy_step, copy_free};
    (void)err;
    *state = NULL;
    *methods = &copy;
    return OK;
}

static int make(enum layer_compression form, bool decode, struct codec **out, struct error *err)
{
    CLEANUP(codec_cleanup) struct codec *c = calloc(1, sizeof *c);
    if (!c)
        return fail_nomem(err);
    int rc = E_INTERNAL;
    switch (form) {
    case LAYER_NONE:
        rc = copy_new(&c->state, &c->methods, err);
        break;
    case LAYER_GZIP:
        rc = (decode ? gzip_decoder_new : gzip_encoder_new)(&c->state, &c->methods, err);
        break;
    case LAYER_ZSTD:
        rc = (decode ? zstd_decoder_new : zstd_encoder_new)(&c->state, &c->methods, err);
        break;
    }
    if (!rc)
        *out = TAKE_PTR(c);
    return rc;
}

int codec_decoder(enum layer_compression form, struct codec **out, struct error *err)
{
    return make(form, true, out, err);
}

int codec_encoder(enum layer_compression form, struct codec **out, struct error *err)
{
    return make(form, false, out, err);
}

int codec_step(struct codec *c, struct codec_io *io, bool *done, struct error *err)
{
    *done = false;
    return c->methods->step(c->state, io, done, err);
}

enum layer_compression codec_sniff(const uint8_t *data, size_t len)
{
    static const uint8_t zstd_magic[] = {0x28, 0xB5, 0x2F, 0xFD};
    if (len >= 2 && data[0] == 0x1F && data[1] == 0x8B)
        return LAYER_GZIP;
    if (len >= 4 && memcmp(data, zstd_magic, 4) == 0)
        return LAYER_ZSTD;
    /* zstd's skippable frames: 0x184D2A50 to 0x184D2A5F */
    if (len >= 4 && (data[0] & 0xF0) == 0x50 && data[1] == 0x2A && data[2] == 0x4D &&
        data[3] == 0x18)
        return LAYER_ZSTD;
    return LAYER_NONE;
}

/* The adapter over libzstd. */
#include "oci/codec.h"

#include <zstd.h>

#define ZSTD_LEVEL 3
/* RFC 8878 recommends support of 8 MiB; 128 MiB is what the zstd program takes by default. */
#define ZSTD_WINDOW_LOG_MAX 27

static void advance(struct codec_io *io, size_t used, size_t made)
{
    io->in += used;
    io->in_len -= used;
    io->out += made;
    io->out_len -= made;
}

/* --- decoding --- */

struct zstd_decoder {
    ZSTD_DCtx *stream;
    bool in_frame;
    bool any;
};

static void decoder_free(void *state)
{
    struct zstd_decoder *d = state;
    ZSTD_freeDCtx(d->stream);
    free(d);
}

static int decoder_step(void *state, struct codec_io *io, bool *done, struct error *err)
{
    struct zstd_decoder *d = state;
    while (io->out_len) {
        ZSTD_inBuffer in = {io->in, io->in_len, 0};
        ZSTD_outBuffer out = {io->out, io->out_len, 0};
        if (!d->in_frame && !io->in_len)
            break;
        size_t hint = ZSTD_decompressStream(d->stream, &out, &in);
        if (ZSTD_isError(hint))
            return fail(err, E_INVALID, "zstd: %s", ZSTD_getErrorName(hint));
        advance(io, in.pos, out.pos);
        d->in_frame = hint != 0;
        d->any = d->any || hint == 0;
        if (in.pos == 0 && out.pos == 0) {
            if (io->in_len)
                return fail(err, E_INVALID, "zstd: damaged data");
            break;
        }
    }
    if (!io->last || io->in_len || !io->out_len)
        return OK;
    if (d->in_frame || !d->any)
        return fail(err, E_INVALID, "zstd: the data is cut off");
    *done = true;
    return OK;
}

int zstd_decoder_new(void **state, const struct codec_methods **methods, struct error *err)
{
    static const struct codec_methods decoder = {decoder_step, decoder_free};
    struct zstd_decoder *d = calloc(1, sizeof *d);
    if (!d)
        return fail_nomem(err);
    d->stream = ZSTD_createDCtx();
    if (!d->stream ||
        ZSTD_isError(ZSTD_DCtx_setParameter(d->stream, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX))) {
        decoder_free(d);
        return fail_nomem(err);
    }
    *state = d;
    *methods = &decoder;
    return OK;
}

/* --- encoding --- */

static void encoder_free(void *state)
{
    ZSTD_freeCCtx(state);
}

static int encoder_step(void *state, struct codec_io *io, bool *done, struct error *err)
{
    ZSTD_inBuffer in = {io->in, io->in_len, 0};
    ZSTD_outBuffer out = {io->out, io->out_len, 0};
    size_t left = ZSTD_compressStream2(state, &out, &in, io->last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left))
        return fail(err, E_INTERNAL, "zstd: %s", ZSTD_getErrorName(left));
    advance(io, in.pos, out.pos);
    *done = io->last && left == 0;
    return OK;
}

int zstd_encoder_new(void **state, const struct codec_methods **methods, struct error *err)
{
    static const struct codec_methods encoder = {encoder_step, encoder_free};
    ZSTD_CCtx *stream = ZSTD_createCCtx();
    if (!stream ||
        ZSTD_isError(ZSTD_CCtx_setParameter(stream, ZSTD_c_compressionLevel, ZSTD_LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(stream, ZSTD_c_checksumFlag, 1))) {
        ZSTD_freeCCtx(stream);
        return fail_nomem(err);
    }
    *state = stream;
    *methods = &encoder;
    return OK;
}

/* The adapter over libisal. */
#include "oci/codec.h"

#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <string.h>

/* Compression level: 3 packs a Debian root as small as zlib's level 4, eight times as fast. */
#define GZIP_LEVEL 3

static uint32_t clamp(size_t n)
{
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* --- decoding --- */

struct gzip_decoder {
    struct inflate_state stream;
    bool in_member; /* a member's header has begun */
    bool any;       /* at least one member was complete */
};

static void decoder_free(void *state)
{
    free(state);
}

static const char *decode_problem(int code)
{
    switch (code) {
    case ISAL_INVALID_WRAPPER:
        return "bytes that are no gzip member";
    case ISAL_UNSUPPORTED_METHOD:
        return "unknown compression method";
    case ISAL_INCORRECT_CHECKSUM:
        return "wrong checksum";
    case ISAL_NEED_DICT:
        return "a dictionary is needed";
    default:
        return "damaged data";
    }
}

static void start_member(struct gzip_decoder *d)
{
    isal_inflate_reset(&d->stream);
    d->stream.crc_flag = ISAL_GZIP;
    d->in_member = true;
}

/* One call into the library; advances io. */
static int decode_some(struct gzip_decoder *d, struct codec_io *io, struct error *err)
{
    uint32_t in = clamp(io->in_len), room = clamp(io->out_len);
    /* next_in is not const in this library, but only read */
    d->stream.next_in = (uint8_t *)(uintptr_t)io->in;
    d->stream.avail_in = in;
    d->stream.next_out = io->out;
    d->stream.avail_out = room;
    int code = isal_inflate(&d->stream);
    if (code < 0 || code == ISAL_NEED_DICT)
        return fail(err, E_INVALID, "gzip: %s", decode_problem(code));
    size_t used = in - d->stream.avail_in, made = room - d->stream.avail_out;
    io->in += used;
    io->in_len -= used;
    io->out += made;
    io->out_len -= made;
    if (d->stream.block_state == ISAL_BLOCK_FINISH) {
        d->in_member = false;
        d->any = true;
    }
    return OK;
}

static int decoder_step(void *state, struct codec_io *io, bool *done, struct error *err)
{
    struct gzip_decoder *d = state;
    while (io->out_len) {
        if (!d->in_member && io->in_len == 0)
            break;
        if (!d->in_member)
            start_member(d);
        size_t in = io->in_len, room = io->out_len;
        int rc = decode_some(d, io, err);
        if (rc)
            return rc;
        /* No progress: more input is wanted, else it never ends. */
        if (d->in_member && in == io->in_len && room == io->out_len) {
            if (io->in_len)
                return fail(err, E_INVALID, "gzip: damaged data");
            break;
        }
    }
    if (!io->last || io->in_len || !io->out_len)
        return OK;
    if (d->in_member || !d->any)
        return fail(err, E_INVALID, "gzip: the data is cut off");
    *done = true;
    return OK;
}

int gzip_decoder_new(void **state, const struct codec_methods **methods, struct error *err)
{
    static const struct codec_methods decoder = {decoder_step, decoder_free};
    struct gzip_decoder *d = calloc(1, sizeof *d);
    if (!d)
        return fail_nomem(err);
    isal_inflate_init(&d->stream);
    *state = d;
    *methods = &decoder;
    return OK;
}

/* --- encoding --- */

struct gzip_encoder {
    struct isal_zstream stream;
    uint8_t work[ISAL_DEF_LVL3_DEFAULT];
};

static void encoder_free(void *state)
{
    free(state);
}

static int encoder_step(void *state, struct codec_io *io, bool *done, struct error *err)
{
    struct gzip_encoder *e = state;
    uint32_t in = clamp(io->in_len), room = clamp(io->out_len);
    e->stream.next_in = (uint8_t *)(uintptr_t)io->in;
    e->stream.avail_in = in;
    e->stream.next_out = io->out;
    e->stream.avail_out = room;
    e->stream.end_of_stream = io->last && in == io->in_len;
    e->stream.flush = NO_FLUSH;
    int code = isal_deflate(&e->stream);
    if (code != COMP_OK)
        return fail(err, E_INTERNAL, "gzip: compression failed (%d)", code);
    size_t used = in - e->stream.avail_in, made = room - e->stream.avail_out;
    io->in += used;
    io->in_len -= used;
    io->out += made;
    io->out_len -= made;
    *done = e->stream.internal_state.state == ZSTATE_END;
    return OK;
}

int gzip_encoder_new(void **state, const struct codec_methods **methods, struct error *err)
{
    static const struct codec_methods encoder = {encoder_step, encoder_free};
    struct gzip_encoder *e = calloc(1, sizeof *e);
    if (!e)
        return fail_nomem(err);
    isal_deflate_init(&e->stream);
    e->stream.gzip_flag = IGZIP_GZIP; /* header without name or time: same input, same bytes */
    e->stream.level = GZIP_LEVEL;
    e->stream.level_buf = e->work;
    e->stream.level_buf_size = sizeof e->work;
    *state = e;
    *methods = &encoder;
    return OK;
}

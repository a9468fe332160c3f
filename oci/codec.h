/*
 * Streams of bytes through gzip, zstd or nothing: one shape for both directions.
 *
 * No I/O and no limits here: callers feed blocks and count what comes out. gzip goes through
 * libisal (gzip.c), zstd through libzstd (zstd.c); their types stop there. One thread per object.
 */
#ifndef BULLA_OCI_CODEC_H
#define BULLA_OCI_CODEC_H

#include "oci/store.h"

struct codec;

/* What one step reads and writes; advanced by codec_step. */
struct codec_io {
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len; /* room left */
    bool last;      /* nothing follows behind `in` */
};

int codec_decoder(enum layer_compression form, struct codec **out, struct error *err) MUST_CHECK;
int codec_encoder(enum layer_compression form, struct codec **out, struct error *err) MUST_CHECK;
void codec_free(struct codec *c);
void codec_cleanup(struct codec **c);

/*
 * Consumes and produces until the input is used up or the room is. *done becomes true once `last`
 * was set, all input is consumed and all output was written. A decoder then has seen whole streams
 * (several gzip members or zstd frames may follow each other): a cut stream, and bytes that belong
 * to no stream, are E_INVALID.
 */
int codec_step(struct codec *c, struct codec_io *io, bool *done, struct error *err) MUST_CHECK;

/* Form of the bytes by their first four (fewer: as many as there are). */
enum layer_compression codec_sniff(const uint8_t *data, size_t len);

/* --- for gzip.c and zstd.c --- */

struct codec_methods {
    int (*step)(void *state, struct codec_io *io, bool *done, struct error *err);
    void (*free)(void *state);
};
int gzip_decoder_new(void **state, const struct codec_methods **methods,
                     struct error *err) MUST_CHECK;
int gzip_encoder_new(void **state, const struct codec_methods **methods,
                     struct error *err) MUST_CHECK;
int zstd_decoder_new(void **state, const struct codec_methods **methods,
                     struct error *err) MUST_CHECK;
int zstd_encoder_new(void **state, const struct codec_methods **methods,
                     struct error *err) MUST_CHECK;

#endif

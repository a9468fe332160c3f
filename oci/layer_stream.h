/*
 * The bytes of a layer: read from a descriptor, hashed, decompressed, hashed again, handed on in
 * blocks.
 *
 * Reading, hashing and decompression run in a thread of their own beside the one that consumes, so
 * that two processors share the work of unpacking. An object belongs to one consuming thread.
 */
#ifndef BULLA_OCI_LAYER_STREAM_H
#define BULLA_OCI_LAYER_STREAM_H

#include "oci/store.h"

/* An unpacked layer of more than that is refused, and so is one that grows more than a thousandfold
 * (deflate itself cannot; zstd can: a bomb), once it is over a size that harms nobody. */
#define LAYER_MAX_BYTES     (INT64_C(64) << 30)
#define LAYER_MAX_RATIO     1100
#define LAYER_HARMLESS_SIZE (INT64_C(64) << 20)

/* All blocks but the last have this size, so tar headers (512-byte units) never straddle two. */
#define LAYER_BLOCK_SIZE (1u << 20)

struct layer_stream;

struct layer_stream_options {
    int fd; /* borrowed; read from its position */
    enum layer_compression form;
    enum digest_alg packed_alg;  /* of the bytes in fd; NONE: not hashed */
    enum digest_alg content_alg; /* of the decompressed bytes */
    int64_t size;                /* bytes that fd must have; < 0: any */
    struct progress *progress;   /* told of bytes read from fd; NULL */
};

int layer_stream_open(const struct layer_stream_options *options, struct layer_stream **out,
                      struct error *err) MUST_CHECK;
/* The next block, valid until the call after the next; *len == 0: the end. E_INVALID (damaged),
 * E_LIMIT (bomb), E_DIGEST (not `size` bytes), E_SYS. */
int layer_stream_read(struct layer_stream *s, const void **block, size_t *len,
                      struct error *err) MUST_CHECK;
/* Reads on to the end and outputs the digests (NULL where not wanted) and the decompressed size. */
int layer_stream_finish(struct layer_stream *s, struct digest *packed, struct digest *content,
                        int64_t *content_size, struct error *err) MUST_CHECK;
void layer_stream_close(struct layer_stream *s);
void layer_stream_cleanup(struct layer_stream **s);

/* Form of a layer by its media type; E_UNSUPPORTED for what is no tar layer. */
int layer_form_of(const char *media_type, enum layer_compression *out,
                  struct error *err) MUST_CHECK;

#endif

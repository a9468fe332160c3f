/*
 * Content digests as OCI writes them: `sha256:<64 hex>` and `sha512:<128 hex>`.
 *
 * A struct digest is a value; algorithm is compared before bytes. Streams are heap objects of one
 * thread each. Source: OCI image-spec 1.1 descriptor.md "Digests".
 */
#ifndef BULLA_BASE_DIGEST_H
#define BULLA_BASE_DIGEST_H

#include "base/bytes.h"

enum digest_alg { DIGEST_NONE = 0, DIGEST_SHA256, DIGEST_SHA512 };

#define DIGEST_BYTES_MAX 64
#define DIGEST_TEXT_MAX  (7 + 2 * DIGEST_BYTES_MAX + 1)

struct digest {
    enum digest_alg alg;
    uint8_t bytes[DIGEST_BYTES_MAX];
};

struct digest_stream; /* running hash */

/* Bytes of a digest of this algorithm: 32 or 64; 0 for DIGEST_NONE. */
size_t digest_len(enum digest_alg alg);
/* "sha256", "sha512". */
const char *digest_alg_name(enum digest_alg alg);

/* Exactly `alg:` and lower-case hex of the right length, nothing behind. E_INVALID, E_UNSUPPORTED
 * (well-formed, unknown algorithm). */
int digest_parse(const char *text, size_t len, struct digest *out, struct error *err) MUST_CHECK;
/* Same for a C string. */
int digest_parse_text(const char *text, struct digest *out, struct error *err) MUST_CHECK;
/* Writes `alg:hex`; returns out. */
const char *digest_format(const struct digest *d, char out[DIGEST_TEXT_MAX]);
/* Hex only. */
const char *digest_hex(const struct digest *d, char out[DIGEST_TEXT_MAX]);
/* False where either is DIGEST_NONE. */
bool digest_equal(const struct digest *a, const struct digest *b);
/* Digest of a whole buffer. alg is not DIGEST_NONE. E_INTERNAL if the library fails. */
int digest_of(enum digest_alg alg, const void *data, size_t len, struct digest *out,
              struct error *err) MUST_CHECK;

int digest_stream_new(enum digest_alg alg, struct digest_stream **out,
                      struct error *err) MUST_CHECK;
void digest_stream_free(struct digest_stream *s);
void digest_stream_cleanup(struct digest_stream **s);
int digest_stream_update(struct digest_stream *s, const void *data, size_t len,
                         struct error *err) MUST_CHECK;
/* The digest of everything so far; the stream can go on. */
int digest_stream_peek(const struct digest_stream *s, struct digest *out,
                       struct error *err) MUST_CHECK;
/* Reads fd from its position to the end through a fixed buffer; *len (may be NULL) = bytes read. */
int digest_of_fd(enum digest_alg alg, int fd, struct digest *out, uint64_t *len,
                 struct error *err) MUST_CHECK;

#endif

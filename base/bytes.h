/*
 * A growable byte buffer, text encodings and checked arithmetic.
 *
 * `struct bytes` lives in the caller's storage: BYTES_INIT, then append, then bytes_done (or
 * CLEANUP(bytes_done)). data is NULL while cap is 0. After any successful append one NUL byte lies
 * behind data[len] (not counted), so text can be read as a C string. Not thread-safe per object.
 */
#ifndef BULLA_BASE_BYTES_H
#define BULLA_BASE_BYTES_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data;
    size_t len;
    size_t cap;
};

#define BYTES_INIT                                                                                 \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

void bytes_done(struct bytes *b);
/* Empties b but keeps its memory. */
void bytes_clear(struct bytes *b);
/* Room for `more` further bytes (plus the NUL). E_NOMEM. */
int bytes_reserve(struct bytes *b, size_t more, struct error *err) MUST_CHECK;
/* Appends a copy. b is unchanged on failure. E_NOMEM. */
int bytes_append(struct bytes *b, const void *data, size_t len, struct error *err) MUST_CHECK;
int bytes_append_text(struct bytes *b, const char *text, struct error *err) MUST_CHECK;
int bytes_append_format(struct bytes *b, struct error *err, const char *format, ...)
    PRINTF_LIKE(3, 4) MUST_CHECK;
/* Content as a C string: "" while empty. Borrowed, valid until the next change. */
const char *bytes_text(const struct bytes *b);
bool bytes_equal(const void *a, size_t a_len, const void *b, size_t b_len);
/* Moves the content out; the source becomes empty. */
struct bytes bytes_take(struct bytes *b);

/* Lower-case hex of len bytes; out has 2 * len + 1 bytes. */
void hex_encode(const void *data, size_t len, char *out);
/* Exactly 2 * len lower- or upper-case digits to len bytes. E_INVALID; out untouched on failure. */
int hex_decode(const char *hex, size_t hex_len, uint8_t *out, size_t len,
               struct error *err) MUST_CHECK;

/* RFC 4648 base64 with padding, appended to out. */
int base64_encode(const void *data, size_t len, struct bytes *out, struct error *err) MUST_CHECK;
/* Strict: length a multiple of 4, no white space, canonical padding. E_INVALID. */
int base64_decode(const char *text, size_t len, struct bytes *out, struct error *err) MUST_CHECK;

/* A NUL-terminated heap copy; NULL when memory is out. */
char *text_format(const char *format, ...) PRINTF_LIKE(1, 2);
bool text_starts(const char *text, const char *prefix);
bool text_ends(const char *text, const char *suffix);
/* Decimal digits only, no sign, no blanks, at most max. E_INVALID. */
int text_to_u64(const char *text, size_t len, uint64_t max, uint64_t *out,
                struct error *err) MUST_CHECK;
/* "90s", "15m", "24h", "30d", "0" to seconds. E_INVALID. */
int text_to_duration(const char *text, int64_t *seconds, struct error *err) MUST_CHECK;
/* "512m", "1g", "64k", "1048576" (powers of 1024) to bytes. E_INVALID. */
int text_to_size(const char *text, uint64_t *out, struct error *err) MUST_CHECK;

#endif

#include "base/bytes.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <string.h>

void bytes_done(struct bytes *b)
{
    cleanup_free(&b->data);
    b->len = b->cap = 0;
}

void bytes_clear(struct bytes *b)
{
    b->len = 0;
    if (b->data)
        b->data[0] = 0;
}

int bytes_reserve(struct bytes *b, size_t more, struct error *err)
{
    size_t need;
    if (__builtin_add_overflow(b->len, more, &need) || __builtin_add_overflow(need, 1, &need) ||
        need > PTRDIFF_MAX / 2)
        return fail_nomem(err);
    if (need <= b->cap)
        return OK;
    size_t cap = b->cap * 2 > need ? b->cap * 2 : need;
    if (cap < 64)
        cap = 64;
    uint8_t *grown = realloc(b->data, cap);
    if (!grown)
        return fail_nomem(err);
    b->data = grown;
    b->cap = cap;
    return OK;
}

int bytes_append(struct bytes *b, const void *data, size_t len, struct error *err)
{
    int rc = bytes_reserve(b, len, err);
    if (rc)
        return rc;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
    return OK;
}

int bytes_append_text(struct bytes *b, const char *text, struct error *err)
{
    return bytes_append(b, text, strlen(text), err);
}

int bytes_append_format(struct bytes *b, struct error *err, const char *format, ...)
{
    CLEANUP(cleanup_free) char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) {
        text = NULL;
        return fail_nomem(err);
    }
    return bytes_append(b, text, (size_t)n, err);
}

const char *bytes_text(const struct bytes *b)
{
    return b->data ? (const char *)b->data : "";
}

bool bytes_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

struct bytes bytes_take(struct bytes *b)
{
    struct bytes moved = *b;
    *b = (struct bytes)BYTES_INIT;
    return moved;
}

void hex_encode(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = '\0';
}

/* By table: metadata of a large collection is mostly digests. One more than the value; 0: no digit.
 */
static const uint8_t hex_values[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16};

static unsigned hex_value(char c)
{
    return hex_values[(uint8_t)c] - 1u;
}

int hex_decode(const char *hex, size_t hex_len, uint8_t *out, size_t len, struct error *err)
{
    if (hex_len % 2 || hex_len / 2 != len)
        return fail(err, E_INVALID, "hex text of %zu characters where %zu are needed", hex_len,
                    len * 2);
    for (size_t i = 0; i < hex_len; i++)
        if (!hex_values[(uint8_t)hex[i]])
            return fail(err, E_INVALID, "not a hex digit at character %zu", i + 1);
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
    return OK;
}

int base64_encode(const void *data, size_t len, struct bytes *out, struct error *err)
{
    if (len > INT32_MAX / 2)
        return fail(err, E_LIMIT, "too much data for base64");
    size_t room = (len + 2) / 3 * 4;
    int rc = bytes_reserve(out, room + 1, err);
    if (rc)
        return rc;
    int n = EVP_EncodeBlock(out->data + out->len, data, (int)len);
    out->len += (size_t)n;
    out->data[out->len] = 0;
    return OK;
}

int base64_decode(const char *text, size_t len, struct bytes *out, struct error *err)
{
    if (len % 4 || len > INT32_MAX / 2)
        return fail(err, E_INVALID, "base64 text has a wrong length");
    size_t pad = 0;
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len - pad; i++)
        if (!text[i] || !strchr(alphabet, text[i]))
            return fail(err, E_INVALID, "not a base64 character at position %zu", i + 1);
    if (len == 0)
        return OK;
    /* Bits behind the last byte must be zero, or two texts would mean the same bytes. */
    size_t last = (size_t)(strchr(alphabet, text[len - 1 - pad]) - alphabet);
    if ((pad == 1 && (last & 3)) || (pad == 2 && (last & 15)))
        return fail(err, E_INVALID, "base64 text has stray bits at its end");
    int rc = bytes_reserve(out, len / 4 * 3 + 1, err);
    if (rc)
        return rc;
    int n = EVP_DecodeBlock(out->data + out->len, (const unsigned char *)text, (int)len);
    if (n >= 0)
        out->len += (size_t)n - pad;
    out->data[out->len] = 0;
    return n >= 0 ? OK : fail(err, E_INVALID, "base64 text is malformed");
}

char *text_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return n < 0 ? NULL : text;
}

bool text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

int text_to_u64(const char *text, size_t len, uint64_t max, uint64_t *out, struct error *err)
{
    uint64_t value = 0;
    if (len == 0)
        return fail(err, E_INVALID, "a number is missing");
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return fail(err, E_INVALID, "'%.*s' is not a number", (int)(len > 40 ? 40 : len), text);
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value) || value > max)
            return fail(err, E_INVALID, "number is larger than %" PRIu64, max);
    }
    *out = value;
    return OK;
}

static int scaled(const char *text, const char *units, const uint64_t *factors, uint64_t *out,
                  struct error *err)
{
    size_t len = strlen(text);
    uint64_t factor = 1, value;
    if (len && (text[len - 1] < '0' || text[len - 1] > '9')) {
        const char *unit = strchr(units, text[len - 1]);
        if (!unit)
            return fail(err, E_INVALID, "'%s' has an unknown unit (one of %s)", text, units);
        factor = factors[unit - units];
        len--;
    }
    int rc = text_to_u64(text, len, UINT64_MAX, &value, err);
    if (rc)
        return rc;
    if (__builtin_mul_overflow(value, factor, &value) || value > INT64_MAX)
        return fail(err, E_INVALID, "'%s' is too large", text);
    *out = value;
    return OK;
}

int text_to_duration(const char *text, int64_t *seconds, struct error *err)
{
    static const uint64_t factors[] = {1, 60, 3600, 86400};
    uint64_t value;
    int rc = scaled(text, "smhd", factors, &value, err);
    if (rc)
        return rc;
    *seconds = (int64_t)value;
    return OK;
}

int text_to_size(const char *text, uint64_t *out, struct error *err)
{
    static const uint64_t factors[] = {1,          1ull << 10, 1ull << 10, 1ull << 20,
                                       1ull << 20, 1ull << 30, 1ull << 30};
    return scaled(text, "bkKmMgG", factors, out, err);
}

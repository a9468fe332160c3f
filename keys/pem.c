#include "keys/pem.h"

#include <string.h>

#define PEM_BEGIN "-----BEGIN PUBLIC KEY-----"
#define PEM_END   "-----END PUBLIC KEY-----"
#define PEM_LINE  64u

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int pem_decode(const char *text, struct bytes *out, struct error *err)
{
    if (strnlen(text, PEM_MAX + 1) > PEM_MAX)
        return fail(err, E_INVALID, "PEM key is longer than %d characters", PEM_MAX);
    while (blank(*text))
        text++;
    const char *end = strstr(text, PEM_END);
    if (!text_starts(text, PEM_BEGIN) || !end)
        return fail(err, E_INVALID, "not a PEM public key");
    const char *after = end + strlen(PEM_END);
    while (blank(*after))
        after++;
    if (*after)
        return fail(err, E_INVALID, "PEM public key is followed by other text");
    CLEANUP(bytes_done) struct bytes digits = BYTES_INIT;
    int rc = OK;
    for (const char *p = text + strlen(PEM_BEGIN); !rc && p < end; p++)
        if (!blank(*p))
            rc = bytes_append(&digits, p, 1, err);
    if (!rc)
        rc = base64_decode(bytes_text(&digits), digits.len, out, err);
    return wrap(err, rc, "PEM public key");
}

int pem_encode(const void *der, size_t len, struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes digits = BYTES_INIT;
    size_t before = out->len;
    int rc = base64_encode(der, len, &digits, err);
    if (!rc)
        rc = bytes_append_text(out, PEM_BEGIN "\n", err);
    for (size_t at = 0; !rc && at < digits.len; at += PEM_LINE) {
        size_t n = digits.len - at < PEM_LINE ? digits.len - at : PEM_LINE;
        rc = bytes_append(out, digits.data + at, n, err);
        if (!rc)
            rc = bytes_append_text(out, "\n", err);
    }
    if (!rc)
        rc = bytes_append_text(out, PEM_END "\n", err);
    if (rc)
        out->len = before;
    return rc;
}

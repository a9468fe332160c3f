#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct code_row {
    int code;
    const char *name;
    int http;
    int exit;
};

static const struct code_row code_table[] = {
    {OK, "ok", 200, EXIT_DONE},
    {E_USAGE, "usage", 400, EXIT_USAGE},
    {E_NOMEM, "out-of-memory", 503, EXIT_COULD_NOT},
    {E_SYS, "system", 500, EXIT_COULD_NOT},
    {E_NOTFOUND, "not-found", 404, EXIT_COULD_NOT},
    {E_EXISTS, "exists", 409, EXIT_COULD_NOT},
    {E_INVALID, "invalid", 400, EXIT_REFUSED},
    {E_LIMIT, "limit", 413, EXIT_REFUSED},
    {E_DIGEST, "digest-mismatch", 400, EXIT_REFUSED},
    {E_SIGNATURE, "bad-signature", 400, EXIT_REFUSED},
    {E_EXPIRED, "expired", 400, EXIT_REFUSED},
    {E_ROLLBACK, "rollback", 409, EXIT_REFUSED},
    {E_BINDING, "wrong-collection-or-role", 400, EXIT_REFUSED},
    {E_UNSIGNED, "not-signed", 404, EXIT_REFUSED},
    {E_BANNED, "banned", 403, EXIT_REFUSED},
    {E_POLICY, "policy", 403, EXIT_REFUSED},
    {E_UNAUTHORIZED, "unauthorized", 401, EXIT_REFUSED},
    {E_DENIED, "denied", 403, EXIT_REFUSED},
    {E_CONFLICT, "conflict", 409, EXIT_COULD_NOT},
    {E_NETWORK, "network", 502, EXIT_COULD_NOT},
    {E_TLS, "tls", 502, EXIT_COULD_NOT},
    {E_PROTOCOL, "protocol", 502, EXIT_COULD_NOT},
    {E_TOKEN, "token", 500, EXIT_COULD_NOT},
    {E_PASSPHRASE, "wrong-passphrase", 500, EXIT_COULD_NOT},
    {E_NO_TRUST, "no-trust", 500, EXIT_COULD_NOT},
    {E_CLOCK, "clock", 500, EXIT_COULD_NOT},
    {E_STALE, "stale", 500, EXIT_COULD_NOT},
    {E_UNSUPPORTED, "unsupported", 400, EXIT_COULD_NOT},
    {E_BUSY, "busy", 429, EXIT_COULD_NOT},
    {E_TAMPERED, "tampered", 500, EXIT_REFUSED},
    {E_RANGE, "range", 416, EXIT_COULD_NOT},
    {E_INTERRUPTED, "interrupted", 503, EXIT_COULD_NOT},
    {E_NOT_EXECUTABLE, "not-executable", 500, EXIT_COULD_NOT},
    {E_NO_COMMAND, "no-command", 500, EXIT_COULD_NOT},
    {E_INTERNAL, "internal", 500, EXIT_COULD_NOT},
};

static const struct code_row *row_of(int code)
{
    for (size_t i = 0; i < sizeof code_table / sizeof code_table[0]; i++)
        if (code_table[i].code == code)
            return &code_table[i];
    return NULL;
}

const char *error_name(int code)
{
    const struct code_row *row = row_of(code);
    return row ? row->name : "unknown";
}

int error_http_status(int code)
{
    const struct code_row *row = row_of(code);
    return row ? row->http : 500;
}

int error_exit_status(int code)
{
    const struct code_row *row = row_of(code);
    return row ? row->exit : EXIT_COULD_NOT;
}

const char *error_verdict(int code)
{
    switch (error_exit_status(code)) {
    case EXIT_DONE:
        return "valid";
    case EXIT_REFUSED:
        return "refused";
    default:
        return "undetermined";
    }
}

/* Length of the well-formed UTF-8 sequence at p and its code point; 0 where there is none. NUL ends
 * every sequence, so nothing behind the text is read. */
static size_t decode_utf8(const uint8_t *p, uint32_t *point)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t extra = 0; extra < sizeof forms / sizeof forms[0]; extra++) {
        if ((*p & forms[extra].mask) != forms[extra].lead)
            continue;
        uint32_t value = *p & (uint8_t)~forms[extra].mask;
        for (size_t i = 1; i <= extra; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return 0;
            value = value << 6 | (p[i] & 0x3f);
        }
        bool surrogate = value >= 0xd800 && value <= 0xdfff;
        if (value < forms[extra].least || value > 0x10ffff || surrogate)
            return 0;
        *point = value;
        return extra + 1;
    }
    return 0;
}

/* What could move a cursor, forge a second line, or show text in another order than it has. */
static bool is_harmless(uint32_t point)
{
    bool control = point < 0x20 || (point >= 0x7f && point <= 0x9f);
    bool separator = point == 0x2028 || point == 0x2029;
    bool direction = point == 0x061c || point == 0x200e || point == 0x200f ||
                     (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
    return !control && !separator && !direction && point != 0xfeff;
}

/* Copies `text` as printable UTF-8; every other byte becomes \xNN. Doing it twice changes nothing.
 */
static void escape_into(char *out, size_t size, const char *text)
{
    size_t used = 0;
    const uint8_t *p = (const uint8_t *)text;
    while (*p) {
        uint32_t point = 0;
        size_t len = decode_utf8(p, &point);
        bool plain = len && is_harmless(point);
        size_t need = plain ? len : 4;
        if (used + need + 1 > size)
            break;
        if (plain) {
            memcpy(out + used, p, len);
            p += len;
        } else {
            (void)snprintf(out + used, size - used, "\\x%02x", *p++);
        }
        used += need;
    }
    out[used] = '\0';
}

static int record(struct error *err, int code, int sys, const char *text)
{
    if (err) {
        err->code = code;
        err->sys = sys;
        escape_into(err->message, sizeof err->message, text);
    }
    return code;
}

int fail(struct error *err, int code, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return record(err, code, 0, text);
}

static int code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return E_NOTFOUND;
    case EEXIST:
        return E_EXISTS;
    case ENOMEM:
        return E_NOMEM;
    default:
        return E_SYS;
    }
}

int fail_sys(struct error *err, int errnum, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX], reason[128], whole[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *why = strerror_r(errnum, reason, sizeof reason);
    /* The cause survives even where the subject is too long to keep whole. */
    (void)snprintf(whole, sizeof whole, "%.*s: %s", (int)(sizeof whole - sizeof reason - 3), text,
                   why);
    return record(err, code_of_errno(errnum), errnum, whole);
}

int wrap(struct error *err, int rc, const char *format, ...)
{
    if (!err || rc == 0)
        return rc;
    char context[ERROR_MESSAGE_MAX / 3], whole[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(context, sizeof context, format, args);
    va_end(args);
    (void)snprintf(whole, sizeof whole, "%s: %s", context, err->message);
    /* Both may have been cut inside a character. */
    escape_into(err->message, sizeof err->message, whole);
    return rc;
}

int fail_nomem(struct error *err)
{
    return record(err, E_NOMEM, ENOMEM, "out of memory");
}

#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
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

/*
 * Copies `text`, escaping what could move a terminal's cursor or forge a second line. UTF-8 above
 * 0x7f passes; C1 controls in their two-byte form (0xc2 0x80-0x9f) do not.
 */
static void escape_into(char *out, size_t size, const char *text)
{
    size_t used = 0;
    for (const uint8_t *p = (const uint8_t *)text; *p; p++) {
        int c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
        if (*p < 0x20 || *p == 0x7f || c1) {
            if (used + 5 > size)
                break;
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", *p);
        } else {
            if (used + 2 > size)
                break;
            out[used++] = (char)*p;
        }
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
    char context[ERROR_MESSAGE_MAX], old[ERROR_MESSAGE_MAX], escaped[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(context, sizeof context, format, args);
    va_end(args);
    escape_into(escaped, sizeof escaped, context);
    memcpy(old, err->message, sizeof old);
    (void)snprintf(err->message, sizeof err->message, "%.*s: %s", ERROR_MESSAGE_MAX / 3, escaped,
                   old);
    return rc;
}

int fail_nomem(struct error *err)
{
    return record(err, E_NOMEM, ENOMEM, "out of memory");
}

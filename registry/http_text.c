#include "registry/http_text.h"

#include <string.h>
#include <strings.h>

#define BOUNDARY_MAX 70 /* RFC 2046, 5.1.1 */

int http_decode(const char *text, size_t len, char *out, size_t size, struct error *err)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte == '%') {
            if (len - i < 3 || hex_decode(text + i + 1, 2, &byte, 1, NULL) != 0)
                return fail(err, E_INVALID, "broken percent escape in '%.*s'", (int)len, text);
            i += 2;
        }
        if (byte < 0x20 || byte > 0x7e)
            return fail(err, E_INVALID, "control or non-ASCII character in '%.*s'", (int)len, text);
        if (used + 1 >= size)
            return fail(err, E_LIMIT, "'%.32s…' is longer than %zu bytes", text, size - 1);
        out[used++] = (char)byte;
    }
    out[used] = '\0';
    return 0;
}

/* The raw value of the next `name` from *at on; NULL: none. */
static const char *next_value(const char *query, const char *name, size_t *at, size_t *value_len)
{
    size_t name_len = strlen(name);
    const char *value = NULL;
    if (!query)
        return NULL;
    for (const char *p = query + *at; *p && !value;) {
        size_t len = strcspn(p, "&");
        if (len >= name_len && strncmp(p, name, name_len) == 0 &&
            (len == name_len || p[name_len] == '=')) {
            value = len == name_len ? p + len : p + name_len + 1;
            *value_len = len == name_len ? 0 : len - name_len - 1;
        }
        p += len;
        p += *p == '&';
        *at = (size_t)(p - query);
    }
    return value;
}

int http_query_next(const char *query, const char *name, size_t *at, char *out, size_t size,
                    bool *found, struct error *err)
{
    size_t value_len = 0;
    const char *value = next_value(query, name, at, &value_len);
    if (!value) {
        out[0] = '\0';
        *found = false;
        return 0;
    }
    int rc = http_decode(value, value_len, out, size, err);
    if (rc == 0)
        *found = true;
    return wrap(err, rc, "'%s'", name);
}

int http_query_get(const char *query, const char *name, char *out, size_t size, bool *found,
                   struct error *err)
{
    size_t at = 0, ignored = 0;
    int rc = http_query_next(query, name, &at, out, size, found, err);
    if (rc == 0 && *found && next_value(query, name, &at, &ignored))
        return fail(err, E_INVALID, "'%s' is given twice", name);
    return rc;
}

bool http_etag_listed(const char *list, const char *tag, bool weak)
{
    size_t tag_len = strlen(tag);
    for (const char *p = list; p && *p;) {
        p += strspn(p, " \t,");
        size_t len = strcspn(p, " \t,");
        const char *next = p + len;
        if (len == 1 && *p == '*')
            return true;
        bool is_weak = len > 2 && strncmp(p, "W/", 2) == 0;
        if (is_weak) {
            p += 2;
            len -= 2;
        }
        if (len >= 2 && p[0] == '"' && p[len - 1] == '"') {
            p++;
            len -= 2;
        }
        if (len == tag_len && memcmp(p, tag, len) == 0 && (weak || !is_weak))
            return true;
        p = next;
    }
    return false;
}

/* Digits of text[0..len) as a position; more than 18 digits cannot be one. */
static int parse_position(const char *text, size_t len, uint64_t *out)
{
    return text_to_u64(text, len, INT64_MAX, out, NULL);
}

static int range_error(struct error *err, const char *value, uint64_t size)
{
    return fail(err, E_RANGE, "range '%.64s' does not exist in %llu bytes", value,
                (unsigned long long)size);
}

int http_range_parse(const char *value, uint64_t size, uint64_t *offset, uint64_t *len,
                     bool *partial, struct error *err)
{
    if (strncasecmp(value, "bytes=", 6) != 0) {
        *partial = false;
        return 0;
    }
    const char *from = value + 6, *dash = strchr(from, '-');
    if (!dash || strchr(from, ','))
        return range_error(err, value, size);
    const char *to = dash + 1;
    size_t from_len = (size_t)(dash - from), to_len = strlen(to);
    uint64_t first = 0, last = 0;
    if (from_len == 0) { /* the last N bytes */
        uint64_t n = 0;
        if (parse_position(to, to_len, &n) != 0 || n == 0 || size == 0)
            return range_error(err, value, size);
        first = n < size ? size - n : 0;
        last = size - 1;
    } else {
        if (parse_position(from, from_len, &first) != 0 || first >= size)
            return range_error(err, value, size);
        last = size - 1;
        if (to_len && parse_position(to, to_len, &last) != 0)
            return range_error(err, value, size);
        if (last < first)
            return range_error(err, value, size);
        last = last < size ? last : size - 1;
    }
    *offset = first;
    *len = last - first + 1;
    *partial = true;
    return 0;
}

int http_content_range_parse(const char *value, uint64_t *first, uint64_t *last, struct error *err)
{
    const char *from = value;
    size_t end = strlen(value);
    if (strncasecmp(from, "bytes ", 6) == 0) {
        from += 6;
        end = strcspn(from, "/");
    }
    const char *dash = memchr(from, '-', end);
    uint64_t a = 0, b = 0;
    if (!dash || parse_position(from, (size_t)(dash - from), &a) != 0 ||
        parse_position(dash + 1, end - (size_t)(dash + 1 - from), &b) != 0 || b < a)
        return fail(err, E_INVALID, "Content-Range '%.64s' is not FIRST-LAST", value);
    *first = a;
    *last = b;
    return 0;
}

int http_multipart_check(const char *content_type, struct error *err)
{
    static const char token[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "'()+_,-./:=?";
    static const char type[] = "multipart/form-data";
    if (strncasecmp(content_type, type, sizeof type - 1) != 0)
        return fail(err, E_INVALID, "Content-Type must be %s", type);
    const char *p = content_type + sizeof type - 1;
    p += strspn(p, " \t");
    if (*p != ';')
        return fail(err, E_INVALID, "multipart without a boundary");
    p++;
    p += strspn(p, " \t");
    if (strncasecmp(p, "boundary=", 9) != 0)
        return fail(err, E_INVALID, "multipart without a boundary");
    p += 9;
    bool quoted = *p == '"';
    p += quoted;
    size_t len = strspn(p, token);
    if (len == 0 || len > BOUNDARY_MAX)
        return fail(err, E_INVALID, "multipart boundary must be 1 to 70 token characters");
    p += len;
    if (quoted && *p++ != '"')
        return fail(err, E_INVALID, "multipart boundary must be 1 to 70 token characters");
    if (*p)
        return fail(err, E_INVALID, "unexpected text behind the multipart boundary");
    return 0;
}

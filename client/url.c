#include "client/url.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

static bool is_alnum_ascii(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Letters, digits, '-' and '.'; neither dot nor dash first or last, no empty label. */
static bool name_valid(const char *s, size_t len)
{
    if (len == 0 || !is_alnum_ascii(s[0]) || !is_alnum_ascii(s[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum_ascii(s[i]) && s[i] != '-' && !(s[i] == '.' && s[i + 1] != '.'))
            return false;
    return true;
}

/* "[…]" around hex digits, colons and dots; zone ids mean something on this machine only. */
static bool ipv6_valid(const char *s, size_t len)
{
    if (len < 4 || s[0] != '[' || s[len - 1] != ']')
        return false;
    bool colon = false;
    for (size_t i = 1; i + 1 < len; i++) {
        if (!isxdigit((unsigned char)s[i]) && s[i] != ':' && s[i] != '.')
            return false;
        colon = colon || s[i] == ':';
    }
    return colon;
}

static int parse_port(const char *text, size_t len, uint16_t *out, struct error *err)
{
    uint64_t port = 0;
    if (len == 0 || len > 5 || text_to_u64(text, len, UINT16_MAX, &port, NULL) || port == 0)
        return fail(err, E_INVALID, "port must be a number from 1 to 65535");
    *out = (uint16_t)port;
    return OK;
}

static int parse_authority(const char *text, size_t len, struct url *out, struct error *err)
{
    size_t host_len = len;
    const char *colon = NULL;
    if (len && text[0] == '[') {
        const char *end = memchr(text, ']', len);
        host_len = end ? (size_t)(end - text) + 1 : 0;
        colon = host_len && host_len < len ? text + host_len : NULL;
        if (!ipv6_valid(text, host_len) || (colon && *colon != ':'))
            return fail(err, E_INVALID, "not an IPv6 address in brackets");
    } else {
        colon = memchr(text, ':', len);
        host_len = colon ? (size_t)(colon - text) : len;
        if (!name_valid(text, host_len))
            return fail(err, E_INVALID, "not a host name");
    }
    if (host_len > URL_HOST_MAX)
        return fail(err, E_INVALID, "host name is too long");
    if (colon) {
        int rc = parse_port(colon + 1, len - host_len - 1, &out->port, err);
        if (rc)
            return rc;
    } else {
        out->port = out->https ? 443 : 80;
    }
    for (size_t i = 0; i < host_len; i++)
        out->host[i] = (char)tolower((unsigned char)text[i]);
    out->host[host_len] = '\0';
    memcpy(out->authority, text, len);
    out->authority[len] = '\0';
    return OK;
}

/* Visible ASCII but what ends or confuses a URL: '#' (fragment), '\' (a slash to some parsers). */
static bool path_valid(const char *path, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (path[i] <= ' ' || path[i] > '~' || strchr("#\\\"<>^`{|}", path[i]))
            return false;
    return true;
}

static int set_path(struct url *u, const char *path, size_t len, struct error *err)
{
    if (len > URL_MAX)
        return fail(err, E_INVALID, "URL is longer than %d bytes", URL_MAX);
    if (!path_valid(path, len))
        return fail(err, E_INVALID, "URL holds characters that do not belong there");
    memcpy(u->path, path, len);
    u->path[len] = '\0';
    return OK;
}

int url_parse(const char *text, size_t len, struct url *out, struct error *err)
{
    struct url u = {0};
    size_t skip;
    if (len >= 8 && strncasecmp(text, "https://", 8) == 0) {
        u.https = true;
        skip = 8;
    } else if (len >= 7 && strncasecmp(text, "http://", 7) == 0) {
        skip = 7;
    } else {
        return fail(err, E_INVALID, "not an http or https URL");
    }
    size_t end = skip;
    while (end < len && text[end] != '/' && text[end] != '?')
        end++;
    int rc = parse_authority(text + skip, end - skip, &u, err);
    if (rc)
        return rc;
    if (end < len && text[end] == '?')
        return fail(err, E_INVALID, "URL has a query but no path");
    rc = end < len ? set_path(&u, text + end, len - end, err) : set_path(&u, "/", 1, err);
    if (rc)
        return rc;
    *out = u;
    return OK;
}

int url_resolve(const struct url *base, const char *location, struct url *out, struct error *err)
{
    struct url u = *base;
    size_t len = strlen(location);
    int rc;
    /* "//host/…" keeps the scheme and changes the host: nobody needs it, so it is refused. */
    if (location[0] == '/' && location[1] == '/')
        rc = fail(err, E_INVALID, "it begins with '//'");
    else if (location[0] == '/')
        rc = set_path(&u, location, len, err);
    else
        rc = url_parse(location, len, &u, err);
    if (rc) {
        (void)wrap(err, rc, "the Location '%.120s' cannot be used", location);
        if (err)
            err->code = E_PROTOCOL;
        return E_PROTOCOL;
    }
    *out = u;
    return OK;
}

bool url_same_origin(const struct url *a, const struct url *b)
{
    return a->https == b->https && a->port == b->port && strcmp(a->host, b->host) == 0;
}

int url_add_query(struct url *u, const char *name, const char *value, struct error *err)
{
    CLEANUP(bytes_done) struct bytes more = BYTES_INIT;
    int rc = bytes_append_format(&more, err, "%c%s=", strchr(u->path, '?') ? '&' : '?', name);
    for (const char *p = value; !rc && *p; p++) {
        if (is_alnum_ascii(*p) || strchr("-._~", *p))
            rc = bytes_append(&more, p, 1, err);
        else
            rc = bytes_append_format(&more, err, "%%%02X", (unsigned)(unsigned char)*p);
    }
    if (rc)
        return rc;
    size_t used = strlen(u->path);
    if (more.len > URL_MAX - used)
        return fail(err, E_LIMIT, "URL is longer than %d bytes", URL_MAX);
    memcpy(u->path + used, bytes_text(&more), more.len + 1);
    return OK;
}

int url_set_path(struct url *u, struct error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(u->path, sizeof u->path, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof u->path)
        return fail(err, E_LIMIT, "URL is longer than %d bytes", URL_MAX);
    return OK;
}

int url_format(const struct url *u, struct bytes *out, struct error *err)
{
    return bytes_append_format(out, err, "%s://%s%s", u->https ? "https" : "http", u->authority,
                               u->path);
}

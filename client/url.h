/*
 * URLs as this client sends them and as peers hand them back (Location, token realm).
 *
 * A deliberately small grammar, so that no two parsers can disagree about the host: http or https,
 * a DNS name, IPv4 or bracketed IPv6 address, an optional port, then path and query in visible
 * ASCII. User names, fragments, backslashes and blanks are refused. Plain values; thread-safe.
 * Source: RFC 3986 (a subset).
 */
#ifndef BULLA_CLIENT_URL_H
#define BULLA_CLIENT_URL_H

#include "base/bytes.h"

#define URL_MAX      4096 /* upload and redirect URLs with signed queries stay below 2 KiB */
#define URL_HOST_MAX 253

struct url {
    bool https;
    char host[URL_HOST_MAX + 1];      /* lower case; IPv6 with its brackets */
    uint16_t port;                    /* effective: 443 or 80 where none is written */
    char authority[URL_HOST_MAX + 7]; /* host[:port] as written */
    char path[URL_MAX + 1];           /* from '/', query included */
};

/* len bytes without NUL. E_INVALID; out is written on success only. */
int url_parse(const char *text, size_t len, struct url *out, struct error *err) MUST_CHECK;
/* What `location` means in an answer to a request for base: an absolute URL or an absolute path;
 * other relative forms are refused. E_PROTOCOL. */
int url_resolve(const struct url *base, const char *location, struct url *out,
                struct error *err) MUST_CHECK;
/* Same scheme, host and port: credentials for a may be sent to b. */
bool url_same_origin(const struct url *a, const struct url *b);
/* Adds "name=value" to the query, value percent-encoded. E_LIMIT. */
int url_add_query(struct url *u, const char *name, const char *value, struct error *err) MUST_CHECK;
/* Replaces path and query: formatted text that starts with '/'. E_LIMIT. */
int url_set_path(struct url *u, struct error *err, const char *format, ...)
    PRINTF_LIKE(3, 4) MUST_CHECK;
/* The whole URL, appended to out. */
int url_format(const struct url *u, struct bytes *out, struct error *err) MUST_CHECK;

#endif

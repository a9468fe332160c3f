/*
 * The server's certificate and key: the pair in use, and its replacement while connections go on.
 *
 * A new pair is taken into use only when it can be read, fits together and has not expired; until
 * then the old one stays. Each handshake holds the pair it began with, so an old key is wiped once
 * the last handshake that uses it is over. Thread-safe.
 */
#ifndef BULLA_REGISTRY_HTTP_CERTIFICATE_H
#define BULLA_REGISTRY_HTTP_CERTIFICATE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct http_certificate;
struct http_certificate_pair;
struct gnutls_pcert_st;
struct gnutls_privkey_st;

/* Reads PEM files; the paths are copied. E_TLS (no certificate, no key, or not of one another),
 * E_NOTFOUND, E_SYS, E_LIMIT. */
int http_certificate_open(const char *certificate_file, const char *key_file,
                          struct http_certificate **out, struct error *err) MUST_CHECK;
/* All pairs must have been given back. NULL is fine. */
void http_certificate_close(struct http_certificate *c);

/* Reads the files again, now. On failure the old pair stays in use. E_EXPIRED beside the codes of
 * http_certificate_open. */
int http_certificate_reload(struct http_certificate *c, struct error *err) MUST_CHECK;
/* Looks at the files' dates: true once for each change, when they have been left alone since the
 * call before, so that of two files being replaced not the first one is read alone. */
bool http_certificate_changed(struct http_certificate *c);
/* When the pair in use expires, seconds since 1970. */
int64_t http_certificate_expires_s(struct http_certificate *c);

/* For a handshake. The pair, which lends what the two pointers get, is the caller's until
 * http_certificate_release. */
struct http_certificate_pair *http_certificate_use(struct http_certificate *c,
                                                   struct gnutls_pcert_st **chain, unsigned *n,
                                                   struct gnutls_privkey_st **key);
/* NULL is fine. */
void http_certificate_release(struct http_certificate *c, struct http_certificate_pair *pair);

#endif

/*
 * The text of HTTP that the registry reads for itself: escapes, queries, ranges, multipart types.
 *
 * Pure functions over C strings from the wire; nothing is decoded that was not asked for, and every
 * value is decoded once. Thread-safe.
 */
#ifndef BULLA_REGISTRY_HTTP_TEXT_H
#define BULLA_REGISTRY_HTTP_TEXT_H

#include "base/bytes.h"

/*
 * Percent-decodes text[0..len) into out (size bytes, NUL included). Refuses broken escapes, control
 * characters and bytes over 0x7e whether written or escaped: nothing the registry names needs them.
 * E_INVALID, E_LIMIT (does not fit).
 */
int http_decode(const char *text, size_t len, char *out, size_t size, struct error *err) MUST_CHECK;

/*
 * The value of `name` in a query ("a=1&b=2", NULL: none), decoded. *found is false where it is
 * absent; then out is "". The same name twice is E_INVALID: which one counts would be a guess.
 */
int http_query_get(const char *query, const char *name, char *out, size_t size, bool *found,
                   struct error *err) MUST_CHECK;

/*
 * The next value of `name` from *at on, for names that may come several times; *at is 0 at first
 * and moves on. *found is false where there is no further one. E_INVALID.
 */
int http_query_next(const char *query, const char *name, size_t *at, char *out, size_t size,
                    bool *found, struct error *err) MUST_CHECK;

/*
 * Whether an If-Match or If-None-Match list (NULL: none) names the entity tag `tag` (without
 * quotes) or is `*`. weak: W/"…" counts as well. A tag without quotes counts: docker and containerd
 * send them so. Source: RFC 9110, 13.1.
 */
bool http_etag_listed(const char *list, const char *tag, bool weak);

/*
 * A Range header against a body of `size` bytes: `bytes=A-B`, `bytes=A-`, `bytes=-N`. *partial is
 * false where the header is of another unit and must be ignored. E_RANGE: beyond the end, reversed,
 * malformed, or more than one range (a bomb, never needed). Source: RFC 9110, 14.
 */
int http_range_parse(const char *value, uint64_t size, uint64_t *offset, uint64_t *len,
                     bool *partial, struct error *err) MUST_CHECK;

/* Content-Range of an upload chunk: `A-B`, optionally `bytes A-B/…`; both inclusive. E_INVALID.
 * Source: OCI distribution-spec 1.1.1, "Pushing a blob in chunks". */
int http_content_range_parse(const char *value, uint64_t *first, uint64_t *last,
                             struct error *err) MUST_CHECK;

/* 0 where the Content-Type is multipart/form-data with one boundary of 1 to 70 token characters;
 * E_INVALID otherwise. Source: RFC 2046, 5.1.1. */
int http_multipart_check(const char *content_type, struct error *err) MUST_CHECK;

#endif

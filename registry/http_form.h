/*
 * One multipart form on its way in: libmicrohttpd's parser, with limits around it.
 *
 * Belongs to one request. What goes wrong while bytes arrive is kept and told by http_form_parts.
 * Not thread-safe.
 */
#ifndef BULLA_REGISTRY_HTTP_FORM_H
#define BULLA_REGISTRY_HTTP_FORM_H

#include "registry/http_server.h"

struct MHD_Connection;
struct http_form;

struct http_form_limits {
    size_t bytes, parts;
};

/* The Content-Type of the connection's request must have been checked (http_multipart_check).
 * E_INVALID where it is no form that could be read. */
int http_form_new(struct MHD_Connection *connection, const struct http_form_limits *limits,
                  struct http_form **out, struct error *err) MUST_CHECK;
void http_form_free(struct http_form *f);
void http_form_feed(struct http_form *f, const char *data, size_t len);
/* All of the body is here. */
void http_form_finish(struct http_form *f);
/* Ends the form with this failure, unless it failed before. */
void http_form_refuse(struct http_form *f, const struct error *why);
/* Borrowed. The first failure, if there was one: E_INVALID, E_LIMIT, E_NOMEM. */
int http_form_parts(const struct http_form *f, const struct http_part **parts, size_t *n,
                    struct error *err) MUST_CHECK;
bool http_form_failed(const struct http_form *f);
size_t http_form_max_bytes(const struct http_form *f);

#endif

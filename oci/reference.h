/*
 * Image references: host[:port]/repository[:tag][@digest], and the grammars of their parts.
 *
 * Plain values; thread-safe. Source: OCI distribution-spec 1.1.1, "Pulling manifests" (name and
 * reference grammar).
 */
#ifndef BULLA_OCI_REFERENCE_H
#define BULLA_OCI_REFERENCE_H

#include "base/digest.h"

#define REFERENCE_HOST_MAX       263 /* 253 of a DNS name, brackets or port behind it */
#define REFERENCE_REPOSITORY_MAX 255
#define REFERENCE_TAG_MAX        128
#define REFERENCE_TEXT_MAX                                                                         \
    (REFERENCE_HOST_MAX + REFERENCE_REPOSITORY_MAX + REFERENCE_TAG_MAX + DIGEST_TEXT_MAX + 4)

struct reference {
    char host[REFERENCE_HOST_MAX + 1]; /* "127.0.0.1:5443", "[::1]:5443", "registry.example.com" */
    char repository[REFERENCE_REPOSITORY_MAX + 1];
    char tag[REFERENCE_TAG_MAX + 1]; /* "" only where a digest is given and no tag */
    struct digest digest;            /* DIGEST_NONE: none given */
};

/* Strict: host is always named; no tag and no digest means tag "latest". E_USAGE with what is wrong
 * and an example of the right form. */
int reference_parse(const char *text, struct reference *out, struct error *err) MUST_CHECK;
/* Canonical text; returns out. */
const char *reference_format(const struct reference *ref, char out[REFERENCE_TEXT_MAX]);

/* Lower-case path components, at most 255 bytes. `len` excludes any NUL. */
bool repository_name_valid(const char *name, size_t len);
bool tag_name_valid(const char *tag, size_t len);

#endif

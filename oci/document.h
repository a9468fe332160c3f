/*
 * What descriptors, manifests and image configurations share: reading members of foreign JSON so
 * that no other reader can understand it differently.
 *
 * Thread-safe.
 */
#ifndef BULLA_OCI_DOCUMENT_H
#define BULLA_OCI_DOCUMENT_H

#include "base/json.h"

/*
 * Refuses members that differ from a known one only in case: many readers match names without
 * regard to case and would take "Layers" for "layers" (the last one wins there). `known` ends with
 * NULL. E_INVALID.
 */
int document_check_case(const struct js *object, const char *const *known,
                        struct error *err) MUST_CHECK;

/* RFC 6838 "type/subtype" without parameters, at most MEDIA_TYPE_MAX bytes. */
bool media_type_valid(const char *text, size_t len);

/* Copies a string member into a fixed field; a missing one leaves it empty. E_INVALID where it is
 * no string or does not fit: cutting it could make it equal another value. */
int document_copy_text(const struct js *object, const char *key, char *out, size_t size,
                       struct error *err) MUST_CHECK;

#endif

/*
 * The repositories that a caller may see: those with the right to pull.
 *
 * Grants give ranges of names; the index is asked for these alone, so the cost follows the page and
 * the caller's grants, never what others have stored. Thread-safe.
 */
#ifndef BULLA_REGISTRY_VISIBLE_H
#define BULLA_REGISTRY_VISIBLE_H

#include "registry/access.h"
#include "registry/index_content.h"

/* Names in byte order behind `last` ("": from the start), one call each; visit returns 0 to go on,
 * 1 to stop, or a code. A Bearer token's scopes are not asked: whether it is for listing is decided
 * before. */
int visible_repositories_each(struct index_tx *tx, const struct access_identity *who,
                              const char *last, const struct index_visitor *visitor,
                              struct error *err) MUST_CHECK;

#endif

/*
 * What the configuration says about tags: patterns, and which tags stay what they are.
 *
 * A tag that is immutable can be set once; then it can neither name another manifest nor be
 * removed, nor can the manifest that it names, with all that this needs. Tags `sha256-…` and
 * `sha512-…`, which clients rewrite for every new referrer, are never immutable. Checks belong into
 * the write transaction that changes the tag: of two pushes at once the second is refused.
 */
#ifndef BULLA_REGISTRY_TAG_RULES_H
#define BULLA_REGISTRY_TAG_RULES_H

#include "base/config.h"
#include "registry/index.h"

#include <stdbool.h>

/* `*` is any run of characters, `?` any one. */
bool tag_pattern_matches(const char *pattern, const char *tag);
/* A list of referrers for registries without that interface. Source: OCI distribution-spec 1.1.1,
 * "Referrers Tag Schema". */
bool tag_is_fallback(const char *tag);
bool tag_is_immutable(const struct config_rules *rules, const char *repository, const char *tag);

/* E_DENIED: the tag is immutable and names another manifest. */
int tag_check_set(struct index_tx *tx, const struct config_rules *rules, const char *repository,
                  const char *tag, const struct digest *d, struct error *err) MUST_CHECK;
/* E_DENIED: the tag (not ""), or one that names the digest or an index that needs it, is
 * immutable. */
int tag_check_remove(struct index_tx *tx, const struct config_rules *rules, const char *repository,
                     const char *tag, const struct digest *d, struct error *err) MUST_CHECK;

#endif

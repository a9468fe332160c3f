/*
 * What retention asks the index: tags by age, and manifests that nothing names any more.
 *
 * Table `untagged` has a row for a manifest from when it was pushed, or lost a tag, a signature, a
 * subject or an index that needed it; triggers add rows. Whether something else holds it is asked
 * when the row is looked at. Functions that change something need a transaction from index_write.
 */
#ifndef BULLA_REGISTRY_INDEX_RETENTION_H
#define BULLA_REGISTRY_INDEX_RETENTION_H

#include "oci/reference.h"
#include "registry/index.h"
#include "registry/index_content.h"

/* Tags of the manifest and of all that need it. visit returns 0 to go on or a code. */
int index_tags_above(struct index_tx *tx, const char *repository, const struct digest *d,
                     const struct index_visitor *visitor, struct error *err) MUST_CHECK;

struct index_tag {
    char name[REFERENCE_TAG_MAX + 1];
    struct digest digest;
    int64_t updated_s;
};
/* The n-th newest tag (from 1), without fallback tags. E_NOTFOUND: there are fewer. */
int index_tag_nth(struct index_tx *tx, int64_t repository, int64_t n, struct index_tag *out,
                  struct error *err) MUST_CHECK;
/* At most `max` tags older than `behind` (by time, then name), newest first, without
 * fallback tags; *n: how many. */
int index_tags_older(struct index_tx *tx, int64_t repository, const struct index_tag *behind,
                     struct index_tag *out, size_t max, size_t *n, struct error *err) MUST_CHECK;
/* Whether the tag, or the manifest it names, is signed. */
int index_tag_is_signed(struct index_tx *tx, int64_t repository, const struct index_tag *tag,
                        bool *is_signed, struct error *err) MUST_CHECK;
/* Removes the tag if it is still the one that was looked at. */
int index_tag_remove_same(struct index_tx *tx, int64_t repository, const struct index_tag *tag,
                          bool *removed, struct error *err) MUST_CHECK;

struct index_untagged {
    struct digest digest;
    int64_t since_s;
};
/* At most `max` rows of since_s or before, behind the row `behind` (NULL: from the start), oldest
 * first. */
int index_untagged_page(struct index_tx *tx, int64_t repository, int64_t since_s,
                        const struct index_untagged *behind, struct index_untagged *out, size_t max,
                        size_t *n, struct error *err) MUST_CHECK;
enum index_hold {
    INDEX_HOLD_NONE,
    INDEX_HOLD_NAMED, /* by a tag, an index, a signature; or it refers to a manifest that is here */
    INDEX_HOLD_WAIT,  /* by a lease begun after due_s, or a publication under way */
};
int index_untagged_hold(struct index_tx *tx, int64_t repository, const struct digest *d,
                        int64_t due_s, enum index_hold *out, struct error *err) MUST_CHECK;
/* It was looked at and is held: what takes the hold away adds the row again. */
int index_untagged_done(struct index_tx *tx, int64_t repository, const struct digest *d,
                        struct error *err) MUST_CHECK;

#endif

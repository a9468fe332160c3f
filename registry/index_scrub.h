/*
 * What scrubbing knows: where it is, and which blobs are damaged or missing.
 *
 * A damaged blob keeps its rows, so that one can say which repositories and tags need it, but
 * counts as not being there (index_link_find) until it is pushed again. Functions that change
 * something need a transaction from index_write; the others work in any.
 */
#ifndef BULLA_REGISTRY_INDEX_SCRUB_H
#define BULLA_REGISTRY_INDEX_SCRUB_H

#include "base/digest.h"
#include "registry/index.h"

struct index_scrub_state {
    char cursor[DIGEST_TEXT_MAX]; /* the last digest looked at; "": at the beginning */
    int64_t started_s,
        finished_s; /* of the round under way or the last one; of the last whole one */
};
int index_scrub_get(struct index_tx *tx, struct index_scrub_state *out,
                    struct error *err) MUST_CHECK;
int index_scrub_set(struct index_tx *tx, const struct index_scrub_state *state,
                    struct error *err) MUST_CHECK;

struct index_blob {
    struct digest digest;
    uint64_t size;
    bool damaged; /* is known to be */
};
/* At most max stored blobs behind the text of `cursor`, in that order. */
int index_blobs_after(struct index_tx *tx, const char *cursor, struct index_blob *out, size_t max,
                      size_t *n, struct error *err) MUST_CHECK;
/* Whether the index has a row for the blob. */
int index_blob_is_known(struct index_tx *tx, const struct digest *d, bool *known,
                        struct error *err) MUST_CHECK;

/* reason: "damaged", "missing". A blob without a row is no concern of anybody: nothing happens. */
int index_damaged_add(struct index_tx *tx, const struct digest *d, const char *reason,
                      struct error *err) MUST_CHECK;
/* Its right bytes are here. */
int index_damaged_remove(struct index_tx *tx, const struct digest *d, struct error *err) MUST_CHECK;

/* Who needs it: each repository with each tag that leads to it, tag NULL where none does; ordered,
 * at most max. Strings live during the call. */
struct index_user_visitor {
    int (*visit)(void *context, const char *repository, const char *tag, struct error *err);
    void *context;
};
int index_blob_users(struct index_tx *tx, const struct digest *d, size_t max,
                     const struct index_user_visitor *visitor, struct error *err) MUST_CHECK;

#endif

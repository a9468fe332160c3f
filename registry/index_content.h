/*
 * Repositories, links to blobs, manifests and tags in the index.
 *
 * Functions that change something need a transaction from index_write; the others work in any.
 * Outputs are written on success only. E_NOTFOUND where what was named is not in the repository.
 */
#ifndef BULLA_REGISTRY_INDEX_CONTENT_H
#define BULLA_REGISTRY_INDEX_CONTENT_H

#include "oci/manifest.h"
#include "registry/index.h"

int index_repository_find(struct index_tx *tx, const char *name, int64_t *id,
                          struct error *err) MUST_CHECK;
/* The same, but makes a missing one. */
int index_repository_make(struct index_tx *tx, const char *name, int64_t *id,
                          struct error *err) MUST_CHECK;

/* Records a stored blob and links it to the repository; present ones are fine. */
int index_link_add(struct index_tx *tx, int64_t repository, const struct digest *d, int64_t size,
                   struct error *err) MUST_CHECK;
/* size may be NULL. A manifest of the repository counts as linked; a blob that was found damaged
 * (index_scrub.h) is not there. */
int index_link_find(struct index_tx *tx, const char *repository, const struct digest *d,
                    int64_t *size, struct error *err) MUST_CHECK;
int index_link_remove(struct index_tx *tx, int64_t repository, const struct digest *d,
                      struct error *err) MUST_CHECK;
/* The digest of one manifest of the repository that names `child`. E_NOTFOUND: none does. */
int index_reference_find(struct index_tx *tx, int64_t repository, const struct digest *child,
                         struct digest *parent, struct error *err) MUST_CHECK;

struct index_manifest {
    struct digest digest;
    char media_type[MEDIA_TYPE_MAX + 1];
    int64_t size;
};
/* Records `digest` with its type and everything it names. The same bytes may come again under
 * another type: the last one counts. */
int index_manifest_put(struct index_tx *tx, int64_t repository, const struct index_manifest *row,
                       const struct manifest *m, struct error *err) MUST_CHECK;
int index_manifest_find(struct index_tx *tx, const char *repository, const struct digest *d,
                        struct index_manifest *out, struct error *err) MUST_CHECK;
/* With its tags. */
int index_manifest_remove(struct index_tx *tx, int64_t repository, const struct digest *d,
                          struct error *err) MUST_CHECK;

int index_tag_set(struct index_tx *tx, int64_t repository, const char *tag, const struct digest *d,
                  struct error *err) MUST_CHECK;
int index_tag_find(struct index_tx *tx, const char *repository, const char *tag,
                   struct index_manifest *out, struct error *err) MUST_CHECK;
int index_tag_remove(struct index_tx *tx, int64_t repository, const char *tag,
                     struct error *err) MUST_CHECK;

/* Names in byte order behind `last` ("": from the start), at most `limit`, one call each; visit
 * returns 0 to go on, 1 to stop, or a code. */
struct index_visitor {
    int (*visit)(void *context, const char *name, struct error *err);
    void *context;
};
int index_tags_each(struct index_tx *tx, int64_t repository, const char *last,
                    const struct index_visitor *visitor, struct error *err) MUST_CHECK;
/* Both ends excluded. */
int index_repositories_between(struct index_tx *tx, const char *after, const char *until,
                               const struct index_visitor *visitor, struct error *err) MUST_CHECK;
/* Manifests whose subject is d: visit gets one descriptor as JSON text. */
struct index_referrers {
    const struct digest *subject;
    const char *artifact_type; /* "": any */
    const char *last;          /* digests behind this text only; "": all */
};
int index_referrers_each(struct index_tx *tx, int64_t repository, const struct index_referrers *q,
                         const struct index_visitor *visitor, struct error *err) MUST_CHECK;

#endif

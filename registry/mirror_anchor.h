/*
 * Where trust in mirrored collections starts: the `mirrors` of registry.yaml with their roots.
 *
 * Read once, before the process confines itself. Immutable afterwards: any thread.
 */
#ifndef BULLA_REGISTRY_MIRROR_ANCHOR_H
#define BULLA_REGISTRY_MIRROR_ANCHOR_H

#include "base/config.h"
#include "oci/reference.h"

struct mirror_anchors;

/* config must outlive it. A root must be one: E_NOTFOUND, E_INVALID, E_SIGNATURE, E_SYS name the
 * file. No `mirrors`: *out finds nothing. */
int mirror_anchors_load(const struct server_config *config, struct mirror_anchors **out,
                        struct error *err) MUST_CHECK;
void mirror_anchors_free(struct mirror_anchors *a);
void mirror_anchors_cleanup(struct mirror_anchors **a);

struct mirror_anchor {
    char collection[REFERENCE_REPOSITORY_MAX + 1];
    const struct bytes *root; /* borrowed */
};
/* The first entry that fits. E_NOTFOUND: nothing may be mirrored there. a may be NULL. */
int mirror_anchors_find(const struct mirror_anchors *a, const char *repository,
                        struct mirror_anchor *out, struct error *err) MUST_CHECK;

#endif

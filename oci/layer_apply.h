/*
 * Applying a layer's archive to an empty folder, hardened.
 *
 * Every name is judged first (layer_path.h) and opened below the root only: folders on the way may
 * be links of the image, which then resolve as if the root were "/". Existing entries are removed,
 * never written through. Device nodes are left out and counted; extended attributes other than
 * user.* are dropped; whiteouts become overlay's form (character device 0:0,
 * trusted.overlay.opaque). One thread per call.
 */
#ifndef BULLA_OCI_LAYER_APPLY_H
#define BULLA_OCI_LAYER_APPLY_H

#include "oci/tar.h"

#include "base/digest.h"

/* Bytes of holes in sparse files, over all files of a layer. */
#define LAYER_MAX_HOLES (INT64_C(4) << 30)
#define LAYER_MAX_XATTR 65536

/*
 * Reads r to its end mark, builds the tree below root_fd (an empty folder) and writes its record.
 * Nothing is synced. On failure the folder holds part of the tree. E_INVALID (names, types, links
 * that cannot be), E_LIMIT, E_SYS.
 */
int layer_apply(int root_fd, struct tar_reader *r, const struct digest *diff_id,
                struct bytes *record, struct error *err) MUST_CHECK;

#endif

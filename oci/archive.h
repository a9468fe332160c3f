/*
 * Image archives on their way into a temporary image layout.
 *
 * The archive's own names are never used as paths: an OCI archive's files are taken only where
 * their name has the layout's exact form, a Docker archive's files are stored under their digest.
 * Thread-safe.
 */
#ifndef BULLA_OCI_ARCHIVE_H
#define BULLA_OCI_ARCHIVE_H

#include "oci/manifest.h"

/* Takes oci-layout, index.json and blobs/ALG/HEX out of the archive into layout_fd, an empty
 * folder. Blobs are not hashed here: they are hashed when they are read. */
int archive_unpack_oci(int archive_fd, int layout_fd, struct error *err) MUST_CHECK;

/*
 * Takes every file of a `docker save` archive into layout_fd/blobs/sha256, and makes a manifest for
 * the image that `reference` names (NULL: the only one). Uncompressed layers must have their diff
 * ids. E_INVALID, E_NOTFOUND (no such reference), E_USAGE (several images, none named), E_DIGEST.
 */
int archive_unpack_docker(int archive_fd, int layout_fd, const char *reference,
                          struct descriptor *manifest, struct error *err) MUST_CHECK;

#endif

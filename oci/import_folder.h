/*
 * Writing a folder as a layer: entries in tree order, numeric owners, whole seconds.
 *
 * Thread-safe.
 */
#ifndef BULLA_OCI_IMPORT_FOLDER_H
#define BULLA_OCI_IMPORT_FOLDER_H

#include "oci/layer_writer.h"

/* root_fd: the folder, readable. Device nodes and sockets are left out and counted. Extended
 * attributes other than user.* are left out: unpacking would drop them. E_SYS names the file that
 * cannot be read; E_INVALID: a file changed meanwhile, or a name that means a whiteout. */
int import_folder(int root_fd, struct layer_writer *writer, struct progress *progress,
                  size_t *n_skipped, struct error *err) MUST_CHECK;

#endif

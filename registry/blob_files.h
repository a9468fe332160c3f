/*
 * Blobs as files: DATA/blobs/<alg>/<2 hex>/<hex>, the same below DATA/aside and DATA/quarantine,
 * and DATA/uploads for what is arriving.
 *
 * A file appears under blobs/ by rename only, after its bytes were made durable.
 */
#ifndef BULLA_REGISTRY_BLOB_FILES_H
#define BULLA_REGISTRY_BLOB_FILES_H

#include "registry/blob_store.h"

/* Makes missing folders. data_dir is not needed afterwards. E_SYS. */
int blob_files_open(const char *data_dir, struct blob_store *out, struct error *err) MUST_CHECK;

#endif

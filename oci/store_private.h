/*
 * What the files of the store share; nobody outside oci/ includes this.
 */
#ifndef BULLA_OCI_STORE_PRIVATE_H
#define BULLA_OCI_STORE_PRIVATE_H

#include "oci/store.h"
#include "oci/temporary.h"

struct store {
    int images_fd; /* HOME/images */
    int blobs_fd;  /* …/blobs */
    int layers_fd; /* …/layers */
    int tmp_fd;    /* …/tmp */
};

/* E_DENIED: a file or folder of another user, or one that others may write to. */
int store_check_private(int fd, struct error *err) MUST_CHECK;

/* "sha256/<hex>" */
#define BLOB_NAME_MAX (8 + 2 * DIGEST_BYTES_MAX)
const char *store_blob_name(const struct digest *d, char out[BLOB_NAME_MAX]);

/* A regular file below a blobs folder, read-only. E_NOTFOUND, E_INVALID. */
int store_open_regular(int dir_fd, const char *name, int *fd, int64_t *size,
                       struct error *err) MUST_CHECK;

/* The folder of an unpacked layer below layers/: "<alg>-<hex>". */
#define LAYER_NAME_MAX DIGEST_TEXT_MAX
const char *store_layer_name(const struct digest *diff_id, char out[LAYER_NAME_MAX]);

/* "NAME" or "NAME:TAG" as import and store: take it, completed to NAME:TAG. out has
 * REFERENCE_TEXT_MAX bytes. E_USAGE. */
int store_name_complete(const char *name, char *out, struct error *err) MUST_CHECK;

#endif

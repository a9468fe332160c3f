/*
 * What bundle.c and bundle_image.c share.
 */
#ifndef BULLA_VERIFY_BUNDLE_INTERNAL_H
#define BULLA_VERIFY_BUNDLE_INTERNAL_H

#include "oci/archive_files.h"
#include "verify/bundle.h"

struct bundle_file {
    char *name; /* below bulla/tuf/ */
    struct bytes content;
};

struct bundle {
    int fd;
    struct bundle_note note;
    struct descriptor root; /* index.json's one image: a claim */
    struct bundle_file *files;
    size_t n_files;
};

/* From the archive's first byte. Entries have the very names that `fn` is told. */
int bundle_each_file(const struct bundle *b, archive_file_fn *fn, void *context,
                     struct error *err) MUST_CHECK;
/* "blobs/ALG/HEX" of a digest we know. */
bool bundle_blob_digest(const char *path, struct digest *out);

#endif

/*
 * Reading the files of an image archive one after the other; for archive_oci.c and
 * archive_docker.c.
 */
#ifndef BULLA_OCI_ARCHIVE_FILES_H
#define BULLA_OCI_ARCHIVE_FILES_H

#include "oci/layer_path.h"
#include "oci/tar.h"

/* Entries of an image archive: some per layer. */
#define ARCHIVE_MAX_ENTRIES 65536

/* path is clean ("a/b"). Folders are not told of. */
typedef int archive_file_fn(void *context, const char *path, const struct tar_entry *entry,
                            struct tar_reader *reader, struct error *err);

/* Reads the archive (plain, gzip, zstd) from its beginning. */
int archive_each_file(int archive_fd, archive_file_fn *fn, void *context,
                      struct error *err) MUST_CHECK;

/* Writes the current entry's content to fd. Sparse entries are E_UNSUPPORTED. digest may be
 * NULL. */
int archive_copy(struct tar_reader *reader, const struct tar_entry *entry, int fd,
                 struct digest *digest, struct error *err) MUST_CHECK;

#endif

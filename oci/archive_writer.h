/*
 * Writing an OCI archive: an image layout in a tar file, entry after entry.
 *
 * Same content, same bytes: entries have no owner, mode 0644 and no date. Files of other purpose
 * may stand beside the layout's: readers of OCI archives ignore them. One thread per object.
 * Source: image-spec 1.1 image-layout.md.
 */
#ifndef BULLA_OCI_ARCHIVE_WRITER_H
#define BULLA_OCI_ARCHIVE_WRITER_H

#include "oci/store.h"

#define ARCHIVE_LAYOUT_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}"
#define ARCHIVE_REF_NAME    "org.opencontainers.image.ref.name"

struct archive_writer;

/* Writes to fd, borrowed, from its position. */
int archive_writer_new(int fd, struct archive_writer **out, struct error *err) MUST_CHECK;
void archive_writer_free(struct archive_writer *w);
void archive_writer_cleanup(struct archive_writer **w);

/* One file with these bytes; path is relative and clean. */
int archive_writer_file(struct archive_writer *w, const char *path, const void *data, size_t len,
                        struct error *err) MUST_CHECK;
/* oci-layout, and an index.json that names `root` alone, as `name`. */
int archive_writer_layout(struct archive_writer *w, const struct descriptor *root, const char *name,
                          struct error *err) MUST_CHECK;
/* blobs/ALG/HEX out of the store, hashed on the way: E_TAMPERED, E_NOTFOUND. */
int archive_writer_blob(struct archive_writer *w, struct store *s, const struct descriptor *d,
                        struct progress *progress, struct error *err) MUST_CHECK;
/* The end mark. Nothing is synced. */
int archive_writer_finish(struct archive_writer *w, struct error *err) MUST_CHECK;

#endif

/*
 * A new layer blob in the making: uncompressed tar bytes go in, a compressed blob in the store and
 * its diff id come out.
 *
 * One thread per object.
 */
#ifndef BULLA_OCI_LAYER_WRITER_H
#define BULLA_OCI_LAYER_WRITER_H

#include "oci/store.h"

struct layer_writer;

int layer_writer_new(struct store *s, enum layer_compression form, struct layer_writer **out,
                     struct error *err) MUST_CHECK;
/* Has the shape of tar_write_fn: context is the struct layer_writer. */
int layer_writer_write(void *context, const void *data, size_t len, struct error *err) MUST_CHECK;
/* The blob becomes visible; its descriptor and diff id. */
int layer_writer_finish(struct layer_writer *w, struct descriptor *layer, struct digest *diff_id,
                        struct error *err) MUST_CHECK;
void layer_writer_free(struct layer_writer *w);
void layer_writer_cleanup(struct layer_writer **w);

#endif

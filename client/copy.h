/*
 * Copying an image from one registry to another, whole: an index with all its children.
 *
 * Nothing is unpacked. A blob that the destination lacks is mounted where both are one registry,
 * else it passes through a part in the store's tmp/ that goes with its upload; a copy that broke
 * off goes on with it. Every byte is checked against the root's digest. Each registry sees its own
 * credentials only. Memory does not grow with the image.
 */
#ifndef BULLA_CLIENT_COPY_H
#define BULLA_CLIENT_COPY_H

#include "client/remote.h"

struct copy_end {
    struct remote *remote;
    const char *repository;
};

/* root: digest and size. tag: at the destination, "" or NULL: none. options->store must be given.
 * The tag is set last. count is what was sent. */
int copy_image(const struct copy_end *from, const struct copy_end *to,
               const struct descriptor *root, const char *tag,
               const struct transfer_options *options, struct transfer_count *count,
               struct error *err) MUST_CHECK;

#endif

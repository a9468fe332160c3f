/*
 * What changes between two versions of one role's metadata, in words.
 *
 * Pure. The lines are made from the metadata itself and from nothing that came along with it: a
 * person signs what is read here.
 */
#ifndef BULLA_SIGNER_DIFFERENCE_H
#define BULLA_SIGNER_DIFFERENCE_H

#include "tuf/metadata.h"

/* Appends lines that end in '\n': "targets: version 3 -> 4, expires 2027-…", then one indented line
 * per key, delegation, tag, ban or other member that comes, goes or changes. No line is longer than
 * 700 bytes. before NULL: all of it is new. */
int difference_describe(const char *role, const struct tuf_metadata *before,
                        const struct tuf_metadata *after, struct bytes *out,
                        struct error *err) MUST_CHECK;

#endif

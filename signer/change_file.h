/*
 * A change on its way between machines: a file that collects signatures before it is published.
 *
 * JSON: where it belongs, the published files it stands on, the new `signed` parts, and the
 * signatures so far. Whoever reads one trusts none of its words: the published files are verified
 * against each other, and what a person is shown is made anew from the metadata.
 */
#ifndef BULLA_SIGNER_CHANGE_FILE_H
#define BULLA_SIGNER_CHANGE_FILE_H

#include "signer/draft.h"

#define CHANGE_FILE_MAX (64u << 20)

/* Writes the draft (compiled) with its signatures, replacing `path` atomically. `only_new`:
 * E_EXISTS where the file is there already. */
int change_file_write(struct draft *d, const char *path, bool only_new,
                      struct error *err) MUST_CHECK;
/* Reads and verifies a file into a draft that stands on its own published files, without a
 * connection; `owner` as for draft_open. E_INVALID, E_LIMIT, E_SIGNATURE, E_BINDING: it does not
 * hang together. End with draft_close. */
int change_file_read(const struct collection_owner *owner, const char *path, struct draft *out,
                     struct error *err) MUST_CHECK;

/* The same of bytes. */
int change_file_parse(const struct collection_owner *owner, const void *data, size_t len,
                      struct draft *out, struct error *err) MUST_CHECK;

#endif

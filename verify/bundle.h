/*
 * Bundles: one image with all that its verification needs, in one file.
 *
 * A bundle is an ordinary OCI archive (oci-layout, index.json, blobs/) that also holds
 * bulla/bundle.json (whose image this is) and bulla/tuf/ (the chain of roots, timestamp, snapshot,
 * targets and the delegated files that the name leads through). Everything but the blobs stands
 * first, so that a reader knows what to expect before it meets them.
 *
 * A bundle says nothing by itself: its metadata goes the same way as a registry's, and its blobs
 * count only as the digests that this leads to. No name in it is ever used as a path. One thread
 * per object.
 */
#ifndef BULLA_VERIFY_BUNDLE_H
#define BULLA_VERIFY_BUNDLE_H

#include "oci/reference.h"
#include "oci/store.h"
#include "tuf/metadata.h"

#define BUNDLE_MAX_HEAD_BYTES ((size_t)64 << 20) /* all files but the blobs */
#define BUNDLE_MAX_FILES      1024               /* so many of them: roots, roles */
#define BUNDLE_MAX_BLOBS      4096
#define BUNDLE_NOTE_MAX_BYTES 16384

#define BUNDLE_NOTE_PATH "bulla/bundle.json"
#define BUNDLE_TUF       "bulla/tuf/"

struct bundle;

/* Whose image a bundle says to hold. */
struct bundle_note {
    struct reference ref; /* a tag, or a digest where the image has none */
    char collection[REFERENCE_REPOSITORY_MAX + 1];
};
/* The text of bulla/bundle.json, strict in both directions. */
int bundle_note_parse(const void *data, size_t len, struct bundle_note *out,
                      struct error *err) MUST_CHECK;
int bundle_note_write(const struct bundle_note *note, struct bytes *out,
                      struct error *err) MUST_CHECK;

/* Reads everything before the blobs. E_INVALID: no bundle, damaged or cut off; E_LIMIT. */
int bundle_open(const char *path, struct bundle **out, struct error *err) MUST_CHECK;
/* The same for an open file that can be read again from its beginning; takes fd in every case. */
int bundle_open_fd(int fd, struct bundle **out, struct error *err) MUST_CHECK;
void bundle_close(struct bundle *b);
void bundle_cleanup(struct bundle **b);

const struct bundle_note *bundle_note(const struct bundle *b);
/* A file of bulla/tuf/, as a trust_source gets it: E_NOTFOUND, E_LIMIT. */
int bundle_trust_get(const struct bundle *b, const char *name, size_t max, struct bytes *out,
                     struct error *err) MUST_CHECK;

struct bundle_load {
    struct store *store;       /* NULL: only check */
    struct progress *progress; /* NULL: quiet */
    uint64_t bytes;            /* out: written to the store… */
    size_t blobs, present;     /* …as so many blobs; those that were there */
};
/*
 * Reads all blobs: nothing missing, nothing damaged, nothing that is not part of the image behind
 * `root`, the descriptor that a verdict gave. targets: its list of bans. With a store, each blob
 * gets there once it had its digest. E_DIGEST, E_BANNED, E_INVALID, E_LIMIT.
 */
int bundle_read_image(const struct bundle *b, const struct descriptor *root,
                      const struct tuf_metadata *targets, struct bundle_load *load,
                      struct error *err) MUST_CHECK;

#endif

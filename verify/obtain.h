/*
 * From a reference to an opened image: verdict, download, unpacked layers.
 *
 * The one way in for `pull`, `load` and `run`: what comes out follows by digest from the verdict.
 */
#ifndef BULLA_VERIFY_OBTAIN_H
#define BULLA_VERIFY_OBTAIN_H

#include "oci/store.h"
#include "verify/verdict.h"

struct image {
    struct descriptor manifest; /* the image manifest: the signed one, or an index's child */
    struct manifest *parsed;
    struct image_config *config; /* as many diff_ids as the manifest has layers */
};
void image_done(struct image *image);

/* Opens what is in the store below the signed descriptor `root`: every byte is hashed again.
 * E_NOTFOUND: a blob is missing; E_TAMPERED; E_INVALID; E_BANNED (targets may be NULL: no check).
 */
int image_open(struct store *s, const struct descriptor *root, const struct tuf_metadata *targets,
               struct image *out, struct error *err) MUST_CHECK;

/* E_BANNED where one of the document's digests is on the list. targets may be NULL. */
int image_check_bans(const struct tuf_metadata *targets, const void *data, size_t len,
                     struct error *err) MUST_CHECK;
/* The index's entry for this machine; borrowed. E_NOTFOUND. */
int image_child_here(const struct manifest *index, const struct descriptor **out,
                     struct error *err) MUST_CHECK;

enum pull_when { PULL_MISSING, PULL_NEVER };
struct obtain_options {
    const struct verify_options *verify;
    struct store *store;
    struct progress *progress; /* NULL: quiet */
    unsigned parallel;         /* blobs at once; 0: the usual number */
    /* Told what is tried again, from any thread: one line. NULL: nobody listens. */
    void (*notice)(void *ctx, const char *text);
    void *notice_ctx;
    enum pull_when pull;
    bool unpack; /* layers are unpacked too */
    bool repair; /* pull: what is damaged in the store is fetched and unpacked anew */
};
struct obtained {
    struct verdict verdict;
    struct image image;
    struct transfer_count moved;
    size_t n_repaired; /* damaged blobs and layers that were replaced */
};
/* Verdict, then whatever is missing is pulled by digest, or comes out of verify->bundle. On failure
 * out->verdict is as verify_reference left it; obtained_done frees either way. */
int verify_obtain(const struct obtain_options *options, const struct reference *ref,
                  struct obtained *out, struct error *err) MUST_CHECK;
void obtained_done(struct obtained *o);

#endif

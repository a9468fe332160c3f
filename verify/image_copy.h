/*
 * Copying an image with its proofs between registries: verify, copy, hand the proofs to the mirror.
 *
 * The destination is asked first whether it takes the proofs, so that nothing is sent in vain.
 */
#ifndef BULLA_VERIFY_IMAGE_COPY_H
#define BULLA_VERIFY_IMAGE_COPY_H

#include "client/copy.h"
#include "verify/verdict.h"

struct image_copy {
    const struct verify_options *verify;
    const struct transfer_options *transfer; /* with a store */
    bool image_only; /* verified, and its proofs stay behind: for registries of any kind */
    bool unverified; /* what the source's tag says now; implies image_only */
};

enum image_copy_proofs { COPY_PROOFS_NONE, COPY_PROOFS_SAME, COPY_PROOFS_TAKEN };

struct image_copied {
    struct descriptor root;
    struct transfer_count moved;
    bool image; /* it is there, whatever came of the proofs */
    enum image_copy_proofs proofs;
    int64_t missing; /* signed manifests that are not at the destination */
    char collection[REFERENCE_REPOSITORY_MAX + 1]; /* "" where unverified */
    char warnings[VERDICT_MAX_WARNINGS][256];      /* of the verdict */
    size_t n_warnings;
};

/*
 * to: with the tag it gets, or none. The codes of verify_reference; E_UNSUPPORTED: the destination
 * takes no proofs (nothing was copied); E_POLICY… ; E_CONFLICT: it has newer proofs, or signs there
 * (out->image says that the image is there). *out is written in any case.
 */
int image_copy(const struct image_copy *copy, const struct reference *from,
               const struct reference *to, struct image_copied *out, struct error *err) MUST_CHECK;

#endif

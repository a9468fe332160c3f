/*
 * Writing bundles: an image of the store and the metadata that a fresh verdict rests on.
 *
 * One thread per object.
 */
#ifndef BULLA_VERIFY_BUNDLE_SAVE_H
#define BULLA_VERIFY_BUNDLE_SAVE_H

#include "verify/obtain.h"

struct bundle_save {
    const struct obtain_options *obtain; /* as for a pull; unpack and verify->bundle are not used */
    const char *path;
    bool replace; /* an existing file gives way; else it is E_EXISTS */
};
struct bundle_saved {
    struct obtained obtained;
    int64_t bytes; /* of the file */
};
/*
 * Asks the registry, pulls what the store lacks, writes the bundle beside `path` and moves it there
 * when it is whole and on disk. E_NETWORK and the like where only stored metadata could be had;
 * E_CONFLICT where the name was signed anew meanwhile. obtained_done frees out->obtained either
 * way.
 */
int bundle_save(const struct bundle_save *save, const struct reference *ref,
                struct bundle_saved *out, struct error *err) MUST_CHECK;

#endif

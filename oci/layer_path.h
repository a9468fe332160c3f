/*
 * Judging names in layer archives before anything is touched.
 *
 * Pure and thread-safe.
 */
#ifndef BULLA_OCI_LAYER_PATH_H
#define BULLA_OCI_LAYER_PATH_H

#include "oci/layer_record.h"

/*
 * Brings an archive's name into the form "a/b" ("" is the root): "./", "//" and, for folders, a
 * trailing "/" go. E_INVALID: absolute, empty, "..", a trailing "/" on anything but a folder;
 * E_LIMIT: longer than LAYER_MAX_PATH, a component over 255 bytes, deeper than LAYER_MAX_DEPTH.
 */
int layer_path_clean(const char *name, bool folder, char out[LAYER_MAX_PATH + 1],
                     struct error *err) MUST_CHECK;

enum whiteout {
    WHITEOUT_NONE,
    WHITEOUT_ONE,    /* ".wh.NAME": the lower layers' NAME is gone */
    WHITEOUT_OPAQUE, /* ".wh..wh..opq": everything that lower layers have in this folder is gone */
    WHITEOUT_AUFS,   /* other ".wh..wh.…": bookkeeping of an old file system, to be left out */
};

/*
 * What a clean path says. *hidden (WHITEOUT_ONE): the name that is gone, inside path. E_INVALID for
 * forms that hide nothing sensible: no name, "." or "..", a whiteout as folder of something, and an
 * opaque mark on the root itself. Source: image-spec 1.1 layer.md "Whiteouts".
 */
int whiteout_of(const char *path, enum whiteout *kind, const char **hidden,
                struct error *err) MUST_CHECK;

#endif

/*
 * Walking an unpacked layer in tree order, and reading what the record holds of each entry.
 *
 * Links are never followed, mounts are not looked for: the tree is private to its owner. One thread
 * per call.
 */
#ifndef BULLA_OCI_LAYER_TREE_H
#define BULLA_OCI_LAYER_TREE_H

#include "oci/layer_record.h"

#include <sys/stat.h>

/* Folders below each other. Removing such a tree holds two descriptors per level, and 1024 are what
 * a process has at least. */
#define LAYER_MAX_DEPTH 256

struct tree_entry {
    const char *path; /* "" for the root */
    const char *name; /* last component; "." for the root */
    int parent_fd;    /* borrowed; folder that holds name */
    struct stat st;
};

/* Called for each entry, a folder before its content; a failure ends the walk. */
typedef int tree_visit_fn(void *context, struct tree_entry *entry, struct error *err);

/* root_fd: readable folder. E_LIMIT (depth, path length), E_SYS, what visit says. */
int tree_walk(int root_fd, tree_visit_fn *visit, void *context, struct error *err) MUST_CHECK;

/* Memory that tree_describe's results live in; reused from entry to entry. */
struct tree_scratch {
    struct bytes target, xattrs, names;
};
#define TREE_SCRATCH_INIT                                                                          \
    {                                                                                              \
        BYTES_INIT, BYTES_INIT, BYTES_INIT                                                         \
    }
void tree_scratch_done(struct tree_scratch *s);

/* Everything but sha256 (zero), from the disk; results live in s until its next use. E_TAMPERED:
 * a type of file that no layer has. */
int tree_describe(const struct tree_entry *entry, struct tree_scratch *s, struct layer_item *out,
                  struct error *err) MUST_CHECK;

#endif

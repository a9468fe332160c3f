/*
 * What is known of files and folders by inode number, while one layer is being applied.
 *
 * One file system, one thread. A number that is used again after a removal is overwritten.
 */
#ifndef BULLA_OCI_INODE_TABLE_H
#define BULLA_OCI_INODE_TABLE_H

#include "base/bytes.h"

struct inode_note {
    uint64_t inode; /* 0: free slot */
    int64_t mtime_s;
    uint32_t mtime_ns;
    bool has_digest;
    uint8_t sha256[32];
};

struct inode_table {
    struct inode_note *slots;
    size_t n_slots; /* a power of two, or 0 */
    size_t n_used;
};

void inode_table_done(struct inode_table *t);
/* Replaces what was known of note->inode (not 0). */
int inode_table_set(struct inode_table *t, const struct inode_note *note,
                    struct error *err) MUST_CHECK;
/* Borrowed until the next set; NULL: unknown. */
const struct inode_note *inode_table_get(const struct inode_table *t, uint64_t inode);

#endif

/*
 * Work in progress below a store: files and folders that nobody may see yet.
 *
 * Each lies in the store's tmp/ under a random name and is held by an exclusive flock as long as
 * its descriptor is open. What a killed process left behind has no lock and is swept by the next
 * store_open; what is in use is never swept. Thread-safe.
 */
#ifndef BULLA_OCI_TEMPORARY_H
#define BULLA_OCI_TEMPORARY_H

#include "base/bytes.h"

struct temporary {
    int parent_fd; /* borrowed: the tmp folder */
    int fd;        /* owned: the file (read and write) or folder (read); carries the lock */
    char name[32]; /* "" once it was moved away or removed */
};

#define TEMPORARY_INIT                                                                             \
    {                                                                                              \
        -1, -1, ""                                                                                 \
    }

/* A new empty file (0600) or folder (0700). E_SYS. */
int temporary_file(int tmp_fd, struct temporary *out, struct error *err) MUST_CHECK;
int temporary_folder(int tmp_fd, struct temporary *out, struct error *err) MUST_CHECK;
/* Renames it to `name` in the folder to_fd. replace: an existing file gives way; else E_EXISTS. The
 * descriptor stays open. The caller has synced the content; this does not sync the folder. */
int temporary_move(struct temporary *t, int to_fd, const char *name, bool replace,
                   struct error *err) MUST_CHECK;
/* Removes it unless it was moved, closes the descriptor. The empty value is fine. */
void temporary_done(struct temporary *t);
/* Removes what nobody holds. */
int temporary_sweep(int tmp_fd, struct error *err) MUST_CHECK;

#endif

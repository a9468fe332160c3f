/*
 * Work in progress below a store: files and folders that nobody may see yet.
 *
 * Each lies in the store's tmp/ under a random name and is held by an exclusive flock as long as
 * its descriptor is open. What a killed process left behind has no lock and is swept by the next
 * store_open; what is in use is never swept. Thread-safe.
 *
 * A kept file has a name of its maker's choice and may outlive its process: whoever opens it next
 * finds what was written. It is swept where nobody has touched it for TEMPORARY_KEEP_S.
 */
#ifndef BULLA_OCI_TEMPORARY_H
#define BULLA_OCI_TEMPORARY_H

#include "base/bytes.h"

#define TEMPORARY_NAME_MAX 160

struct temporary {
    int parent_fd; /* borrowed: the tmp folder */
    int fd;        /* owned: the file (read and write) or folder (read); carries the lock */
    char name[TEMPORARY_NAME_MAX]; /* "" once it was moved away or removed */
};

#define TEMPORARY_INIT                                                                             \
    {                                                                                              \
        -1, -1, ""                                                                                 \
    }

/* A new empty file (0600) or folder (0700). E_SYS. */
int temporary_file(int tmp_fd, struct temporary *out, struct error *err) MUST_CHECK;
int temporary_folder(int tmp_fd, struct temporary *out, struct error *err) MUST_CHECK;
#define TEMPORARY_KEEP_S (7 * 24 * 3600)
/* The kept file `what` ("sha256-…", at most 150 bytes of a name), opened or made empty. E_BUSY:
 * somebody else holds it. */
int temporary_kept(int tmp_fd, const char *what, struct temporary *out,
                   struct error *err) MUST_CHECK;
/* Its size now, held or not; 0: there is none. */
int64_t temporary_kept_size(int tmp_fd, const char *what);
/* Closes it and leaves it where it is. */
void temporary_keep(struct temporary *t);
/* Renames it to `name` in the folder to_fd. replace: an existing file gives way; else E_EXISTS. The
 * descriptor stays open. The caller has synced the content; this does not sync the folder. */
int temporary_move(struct temporary *t, int to_fd, const char *name, bool replace,
                   struct error *err) MUST_CHECK;
/* Removes it unless it was moved, closes the descriptor. The empty value is fine. */
void temporary_done(struct temporary *t);
/* Removes what nobody holds. */
int temporary_sweep(int tmp_fd, struct error *err) MUST_CHECK;

#endif

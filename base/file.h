/*
 * Whole files: bounded reads, atomic and durable writes, locks.
 *
 * Names are relative to dir_fd (AT_FDCWD for ordinary paths given by the user). Thread-safe.
 */
#ifndef BULLA_BASE_FILE_H
#define BULLA_BASE_FILE_H

#include "base/bytes.h"

#include <sys/types.h>

/* Appends the file's content to out. Only regular files (others: E_INVALID); more than max bytes is
 * E_LIMIT. E_NOTFOUND, E_SYS. out is unchanged on failure. */
int file_read(int dir_fd, const char *name, size_t max, struct bytes *out,
              struct error *err) MUST_CHECK;
/* The same from an open descriptor, from its current position. */
int file_read_fd(int fd, size_t max, struct bytes *out, struct error *err) MUST_CHECK;
/* Writes all of it, across short writes and EINTR. */
int file_write_fd(int fd, const void *data, size_t len, struct error *err) MUST_CHECK;

/* Replaces `name`: temporary file beside it → write → fsync → rename → fsync of the folder. Readers
 * see the old or the new content, never a mixture; a crash leaves one of the two. */
int file_write_atomic(int dir_fd, const char *name, const void *data, size_t len, mode_t mode,
                      struct error *err) MUST_CHECK;
/* The same, but an existing `name` is E_EXISTS and stays as it is (link instead of rename). */
int file_create_atomic(int dir_fd, const char *name, const void *data, size_t len, mode_t mode,
                       struct error *err) MUST_CHECK;
/* fsync of a folder given by descriptor (O_PATH is fine). */
int file_sync_dir(int dir_fd, struct error *err) MUST_CHECK;

/* Opens (makes, 0600; never through a link) `name` and takes an exclusive flock; waits at most
 * wait_ms. The lock ends when *fd is closed. E_BUSY when somebody else holds it for longer. */
int file_lock(int dir_fd, const char *name, int wait_ms, int *fd, struct error *err) MUST_CHECK;

/* Opens a folder for use as dir_fd, making it (mode 0700) and its parents if `make`. */
int file_open_dir(const char *path, bool make, int *fd, struct error *err) MUST_CHECK;

#endif

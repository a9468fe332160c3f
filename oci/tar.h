/*
 * Reading and writing tar archives: the adapter over libarchive, for parsing and formatting only.
 *
 * Nothing here touches a file: callers give bytes through a function and get entries. Names come
 * out as they stand in the archive (".." and all): who applies them judges them. Only the tar
 * family is recognised, no compression filters, no Apple metadata. Character set: names are bytes;
 * conversions that libarchive makes on the way run under C.UTF-8 for the calling thread only.
 */
#ifndef BULLA_OCI_TAR_H
#define BULLA_OCI_TAR_H

#include "base/bytes.h"

#include <sys/types.h>

enum tar_type {
    TAR_FILE,
    TAR_FOLDER,
    TAR_SYMLINK,
    TAR_HARDLINK,
    TAR_FIFO,
    TAR_DEVICE, /* character or block device, or a socket */
};

struct tar_xattr {
    const char *name;
    const void *value;
    size_t len;
};

#define TAR_MAX_XATTRS 64

/* All pointers are borrowed and valid until the next call on the same reader. */
struct tar_entry {
    const char *path;
    const char *target; /* of links, "" else */
    enum tar_type type;
    mode_t mode; /* permission bits, 07777 at most */
    uid_t uid;
    gid_t gid;
    int64_t size; /* files: bytes, ≥ 0 */
    int64_t mtime_s;
    uint32_t mtime_ns;
    struct tar_xattr xattrs[TAR_MAX_XATTRS];
    size_t n_xattrs;
};

struct tar_reader;

/* Gives the next block of the archive, valid until the call after the next; *len == 0: the end.
 * Blocks are multiples of 512 bytes but for the last. */
typedef int tar_read_fn(void *context, const void **block, size_t *len, struct error *err);

int tar_reader_new(tar_read_fn *read, void *context, struct tar_reader **out,
                   struct error *err) MUST_CHECK;
void tar_reader_free(struct tar_reader *r);
void tar_reader_cleanup(struct tar_reader **r);
/* The next entry; *end: there is none, and what follows the end mark is zeros only (checked as far
 * as it lies in the same block). E_INVALID, E_LIMIT, or what `read` said. */
int tar_reader_next(struct tar_reader *r, struct tar_entry *out, bool *end,
                    struct error *err) MUST_CHECK;
/* The next piece of the entry's content at *offset (gaps between pieces are holes); *len == 0: no
 * more. Pieces come in order and lie within the entry's size. */
int tar_reader_data(struct tar_reader *r, const void **data, size_t *len, int64_t *offset,
                    struct error *err) MUST_CHECK;

struct tar_writer;

typedef int tar_write_fn(void *context, const void *data, size_t len, struct error *err);

/* ustar, with pax headers where an entry needs them: same entries, same bytes. */
int tar_writer_new(tar_write_fn *write, void *context, struct tar_writer **out,
                   struct error *err) MUST_CHECK;
/* Header of one entry; for files exactly `size` bytes of content follow. */
int tar_writer_entry(struct tar_writer *w, const struct tar_entry *entry,
                     struct error *err) MUST_CHECK;
int tar_writer_data(struct tar_writer *w, const void *data, size_t len,
                    struct error *err) MUST_CHECK;
/* Writes the end mark. */
int tar_writer_finish(struct tar_writer *w, struct error *err) MUST_CHECK;
void tar_writer_free(struct tar_writer *w);
void tar_writer_cleanup(struct tar_writer **w);

#endif

/*
 * The record of an unpacked layer: what lies where, with the digest of every file.
 *
 * A canonical binary form, so that "unchanged" is "the same bytes": a header, the entries in tree
 * order (a folder before its content, names of one folder in byte order, '/' below every other
 * byte), and the SHA-256 of all that at the end. All numbers little-endian. Layout:
 *
 *     "bulla layer record 1\n"  u8 algorithm  64 bytes diff id  u64 entries  u64 left out
 *     entry: u8 type  u32 mode  u32 uid  u32 gid  i64 mtime s  u32 mtime ns
 *            u16 length of path, path, NUL
 *            files: u64 size, 32 bytes SHA-256     symbolic links: u16 length, target, NUL
 *            u32 length of extended attributes: (u16 length, name, u32 length, value) by name
 *     32 bytes SHA-256
 *
 * Parsing borrows from the caller's buffer. Thread-safe.
 */
#ifndef BULLA_OCI_LAYER_RECORD_H
#define BULLA_OCI_LAYER_RECORD_H

#include "base/digest.h"

#define LAYER_RECORD_MAX_BYTES (512u << 20)
#define LAYER_MAX_ENTRIES      (1u << 20) /* Debian minbase has 8,743; a large desktop image 400,000 */
#define LAYER_MAX_PATH         4095       /* PATH_MAX without its NUL */

enum layer_item_type {
    LAYER_ITEM_FOLDER = 'd',
    LAYER_ITEM_FILE = 'f',
    LAYER_ITEM_SYMLINK = 'l',
    LAYER_ITEM_FIFO = 'p',
    LAYER_ITEM_WHITEOUT = 'w', /* overlay form: character device 0:0 */
};

struct layer_item {
    const char *path; /* "" for the root, else "a/b" */
    enum layer_item_type type;
    uint32_t mode; /* 07777 at most */
    uint32_t uid, gid;
    int64_t mtime_s;
    uint32_t mtime_ns;
    uint64_t size;      /* files */
    uint8_t sha256[32]; /* files */
    const char *target; /* symbolic links, "" else */
    const uint8_t *xattrs;
    size_t xattrs_len;
};

/* Writing: begin, append in tree order, finish (fills in the counts, adds the digest). */
int layer_record_begin(struct bytes *out, const struct digest *diff_id,
                       struct error *err) MUST_CHECK;
int layer_record_append(struct bytes *out, const struct layer_item *item,
                        struct error *err) MUST_CHECK;
int layer_record_finish(struct bytes *out, uint64_t n_entries, uint64_t n_left_out,
                        struct error *err) MUST_CHECK;

struct layer_record {
    struct digest diff_id;
    uint64_t n_entries, n_left_out;
    uint8_t sha256[32]; /* of the record itself */
    /* reading position */
    const uint8_t *at, *end;
    uint64_t n_read;
    const char *last_path;
    bool last_is_folder;
};

/* Checks digest and header. E_INVALID. */
int layer_record_open(const void *data, size_t len, struct layer_record *out,
                      struct error *err) MUST_CHECK;
/* The next entry and its encoded bytes (raw may be NULL). *end: there were exactly n_entries.
 * E_INVALID: order, types, names, cut off. */
int layer_record_next(struct layer_record *r, struct layer_item *out, struct bytes *raw, bool *end,
                      struct error *err) MUST_CHECK;

/* <0, 0, >0: tree order of two paths. */
int layer_path_order(const char *a, const char *b);

#endif

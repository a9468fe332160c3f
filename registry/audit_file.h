/*
 * One chain of the audit log on disk: DATA/audit/<chain>-<number of its first record>.jsonl, one
 * segment after the other.
 *
 * Segments are only ever appended to, by any number of processes that take turns through a lock
 * file; who gets the lock first reads what the others added. What a broken write left behind (a
 * power cut) is not removed: a record says how many bytes of which hash it is, and the chain goes
 * on behind it. One thread per object.
 */
#ifndef BULLA_REGISTRY_AUDIT_FILE_H
#define BULLA_REGISTRY_AUDIT_FILE_H

#include "base/audit_record.h"

#define AUDIT_FOLDER "audit"
#define AUDIT_SEGMENT_BYTES                                                                        \
    (64u << 20) /* the same for all: a process knows from it when to look                          \
                 */
#define AUDIT_LOCK_WAIT_MS 5000
#define AUDIT_BUFFER_BYTES (128u << 10)

/* Names of segments end with this many digits and the suffix. */
#define AUDIT_SEGMENT_DIGITS   16
#define AUDIT_SEGMENT_NAME_MAX 48

struct audit_file;

/* Where a record is: for finding it again without reading the whole log. */
struct audit_place {
    struct audit_link link;
    uint64_t segment; /* number of the first record of its segment */
    uint64_t offset;  /* of the record's line */
};

/* data_fd: the data folder. segment_bytes: AUDIT_SEGMENT_BYTES, less in tests. keep: the lock is
 * kept between appends (one writer only). E_BUSY, E_TAMPERED (the newest segment cannot belong to
 * this chain). */
int audit_file_open(int data_fd, enum audit_chain chain, uint64_t segment_bytes, bool keep,
                    struct audit_file **out, struct error *err) MUST_CHECK;
void audit_file_close(struct audit_file *f);

/* Puts a record into the buffer; at most AUDIT_BUFFER_BYTES of them: E_LIMIT, flush first. Between
 * audit_file_lock and flush, or with `keep`. */
int audit_file_add(struct audit_file *f, const struct audit_event *e, struct error *err) MUST_CHECK;
/* The buffer goes to the operating system: a kill loses nothing of it any more. All of it or none:
 * on failure it is dropped, and the chain is where it was. */
int audit_file_flush(struct audit_file *f, struct error *err) MUST_CHECK;
size_t audit_file_buffered(const struct audit_file *f, uint64_t *n_records);

int audit_file_lock(struct audit_file *f, struct error *err) MUST_CHECK;
void audit_file_unlock(struct audit_file *f);

/* A descriptor of its own for fdatasync: everything flushed so far is in that file, or was synced
 * before. The caller closes it. */
int audit_file_dup(const struct audit_file *f, int *fd, struct error *err) MUST_CHECK;
/* The last record that was flushed. */
struct audit_place audit_file_last(const struct audit_file *f);
/* 0 where the record is where it was. E_TAMPERED, E_NOTFOUND (no such segment). */
int audit_file_confirm(const struct audit_file *f, const struct audit_place *place,
                       struct error *err) MUST_CHECK;

/* --- segments --- */

struct audit_segment {
    uint64_t first; /* number of its first record */
    uint64_t size;
};
/* All of a chain, oldest first; owned. No folder: none. */
int audit_segments(int data_fd, enum audit_chain chain, struct audit_segment **out, size_t *n,
                   struct error *err) MUST_CHECK;
/* "audit/changes-0000000000000001.jsonl" */
const char *audit_segment_name(enum audit_chain chain, uint64_t first,
                               char out[AUDIT_SEGMENT_NAME_MAX]);

#endif

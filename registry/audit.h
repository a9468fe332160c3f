/*
 * The audit log: who did what, from where, with which result.
 *
 * Two chains under DATA/audit/ (see base/audit_record.h, audit_file.h). A change is first recorded
 * as "begun", durably, then made, then recorded with its result: a log that cannot be written
 * refuses changes before they happen, and nothing that happened is without a record. What is only
 * read or refused is buffered for a second; it is never the reason for a refusal. The index keeps
 * the heads of both chains, a few seconds old.
 *
 * Thread-safe. Several processes may append changes; accesses are the server's alone.
 */
#ifndef BULLA_REGISTRY_AUDIT_H
#define BULLA_REGISTRY_AUDIT_H

#include "base/audit_record.h"
#include "registry/index.h"

#define AUDIT_ANCHOR_EVERY_S 10
#define AUDIT_FLUSH_EVERY_MS 1000
#define AUDIT_LOGINS_BURST   50 /* refused logins among the changes, at once … */
#define AUDIT_LOGINS_EVERY_S 10 /* … and in the long run */

struct audit;

struct audit_options {
    const char *data_dir;
    struct index *index;    /* started; must outlive the log */
    bool access;            /* record accesses, too: the server */
    uint64_t access_bytes;  /* the oldest segments of accesses go beyond this */
    uint64_t segment_bytes; /* 0: AUDIT_SEGMENT_BYTES */
};

/* Opens or begins the log, notes what does not fit to what the index knows of it, and starts the
 * thread that flushes. E_BUSY, E_SYS. */
int audit_open(const struct audit_options *options, struct audit **out,
               struct error *err) MUST_CHECK;
/* Writes and anchors what is left. NULL is fine. */
void audit_close(struct audit *a);

/* Appends to the changes; survives the end of this process when it returns 0. *seq: for audit_sync,
 * may be NULL. E_SYS, E_BUSY: the change must not be made. */
int audit_change(struct audit *a, const struct audit_event *e, uint64_t *seq,
                 struct error *err) MUST_CHECK;
/* The change's record survives a power cut, too. Calls that wait at the same time share one sync.
 */
int audit_sync(struct audit *a, uint64_t seq, struct error *err) MUST_CHECK;
/* The result of a change, or a change that is over already: as audit_change, but a failure is only
 * logged. */
void audit_note(struct audit *a, const struct audit_event *e);
/* A refused login: a durable change, but for those that come faster than people and scripts that
 * are meant well; they go to the accesses, which are shortened. The changes never are: at most some
 * megabytes a day are there for who guesses day and night. */
void audit_failed_login(struct audit *a, const struct audit_event *e);
/* Appends to the accesses, buffered. A failure is logged and counted. */
void audit_access(struct audit *a, const struct audit_event *e);

/* Syncs both chains, keeps their heads in the index, and shortens the accesses: by itself every
 * AUDIT_ANCHOR_EVERY_S. */
int audit_anchor(struct audit *a, struct error *err) MUST_CHECK;

struct audit_stats {
    uint64_t changes, accesses; /* records written by this process */
    uint64_t lost;              /* accesses that could not be */
    bool failing;               /* the last attempt to write failed: changes are refused */
};
void audit_get_stats(struct audit *a, struct audit_stats *out);

#endif

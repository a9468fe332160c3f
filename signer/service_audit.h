/*
 * The signing service's own log: what it signed, refused, and was told by a local admin.
 *
 * A chain of records in its database (base/audit_record.h); a signature's record is part of the
 * transaction that remembers the signature, so neither is there without the other. The oldest
 * records go beyond a number that is kept. The functions need a struct db of one thread; any number
 * of processes may append.
 */
#ifndef BULLA_SIGNER_SERVICE_AUDIT_H
#define BULLA_SIGNER_SERVICE_AUDIT_H

#include "base/audit_record.h"
#include "base/db.h"

#define SERVICE_AUDIT_KEEP 200000u /* about 100 MB */

/* The last record; seq 0: none yet. In any transaction. */
int service_audit_last(struct db *db, struct audit_link *out, struct error *err) MUST_CHECK;
/* Appends within the caller's write transaction. keep: how many records stay at least. */
int service_audit_append(struct db *db, const struct audit_event *e, uint64_t keep,
                         struct audit_link *out, struct error *err) MUST_CHECK;
/* The same in a transaction of its own. */
int service_audit_note(struct db *db, const struct audit_event *e, uint64_t keep,
                       struct error *err) MUST_CHECK;
/* Whether the record is the one that has its number. A number that was removed on purpose counts as
 * right; one that is not there yet does not. */
int service_audit_has(struct db *db, const struct audit_link *link, bool *out,
                      struct error *err) MUST_CHECK;

/* Its hash in hex, "" where it is not there (any more). */
int service_audit_hash(struct db *db, uint64_t seq, char hex[static AUDIT_HASH_HEX + 1],
                       struct error *err) MUST_CHECK;

struct service_audit_result {
    uint64_t first, n_records;
    struct audit_link last;
};
/* Reads the whole chain of one moment. head: hash of a record that must be there, or NULL. visit:
 * NULL, or called for each record in order, without its newline; a code ends the walk. E_TAMPERED
 * names the first record that is not what it should be. */
struct service_audit_walk {
    struct db *db;
    const uint8_t *head; /* AUDIT_HASH_LEN bytes */
    int (*visit)(void *context, const char *line, size_t len, struct error *err);
    void *context;
};
int service_audit_scan(const struct service_audit_walk *walk, struct service_audit_result *out,
                       struct error *err) MUST_CHECK;

#endif

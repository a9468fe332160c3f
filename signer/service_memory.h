/*
 * Whether the signing service still remembers all that it ever signed.
 *
 * Its database may have been put back from an older copy, or lost; whoever signs on top of that
 * signs a second snapshot of one version. Signs of it: the database says that it is a copy
 * (`backup` writes so into it); the mark beside it, a small file that names the last record of the
 * log, names one that the database has not got; the registry shows something newer that this
 * service signed. From then on all collections are in doubt: nothing is signed for one until a
 * local admin states its highest published versions and they are found to be remembered. The epoch
 * counts doubts; a collection is in doubt while its own epoch is behind.
 *
 * Not noticed: the whole folder put back, with the mark, while the registry shows nothing newer,
 * and a registry that keeps silent. One thread per object; several processes per database.
 */
#ifndef BULLA_SIGNER_SERVICE_MEMORY_H
#define BULLA_SIGNER_SERVICE_MEMORY_H

#include "base/audit_record.h"
#include "base/db.h"

#define SERVICE_MEMORY_MARK    "last-signed" /* beside the database; not in its backup */
#define SERVICE_MEMORY_ID_LEN  16u
#define SERVICE_MEMORY_ID_HEX  (2u * SERVICE_MEMORY_ID_LEN)
#define SERVICE_MEMORY_WHY_MAX 400u

struct service_memory;

/* database: its path; the mark lies in the same folder. db is borrowed and migrated. Finds doubts
 * and writes them down, and the mark. */
int service_memory_open(struct db *db, const char *database, struct service_memory **out,
                        struct error *err) MUST_CHECK;
void service_memory_close(struct service_memory *m);

/* Within the transaction that stores a signature or a key: numbers it in the log. */
int service_memory_record(struct service_memory *m, const struct audit_event *e,
                          struct error *err) MUST_CHECK;
/* After that transaction, before anything is answered: moves the mark. */
int service_memory_mark(struct service_memory *m, struct error *err) MUST_CHECK;
/* A record of its own: refusals, doubts. */
int service_memory_note(struct service_memory *m, const struct audit_event *e,
                        struct error *err) MUST_CHECK;

/* E_STALE with what to do where the collection is in doubt; for an unknown one: where the service
 * as a whole is. */
int service_memory_check(struct service_memory *m, const char *collection,
                         struct error *err) MUST_CHECK;
/* A proof that something was forgotten: all collections are in doubt from now on. Does nothing
 * where this one is already. */
int service_memory_doubt(struct service_memory *m, const char *collection, const char *why,
                         struct error *err) MUST_CHECK;

/* What the registry showed for a collection, after it was verified; 0: nothing. */
struct service_versions {
    int64_t snapshot, timestamp;
};
int service_memory_shown(struct service_memory *m, const char *collection,
                         const struct service_versions *shown, struct error *err) MUST_CHECK;
/* What an admin stated for it; E_NOTFOUND: nothing. */
int service_memory_stated(struct service_memory *m, const char *collection,
                          struct service_versions *out, struct error *err) MUST_CHECK;
/* What was stated is remembered now: the collection is out of doubt. */
int service_memory_settle(struct service_memory *m, const char *collection, const char *detail,
                          struct error *err) MUST_CHECK;

struct service_memory_status {
    char identity[SERVICE_MEMORY_ID_HEX + 1]; /* of the database: another one is another memory */
    struct audit_link last;
    int64_t n_collections, n_doubted;
    bool doubted; /* new collections are refused, too */
    char why[SERVICE_MEMORY_WHY_MAX];
};
int service_memory_status(struct db *db, struct service_memory_status *out,
                          struct error *err) MUST_CHECK;

/* --- local commands, beside a running service or without one --- */

/* The highest published versions of one collection. */
struct service_statement {
    const char *collection;
    struct service_versions versions;
    bool set_lost; /* nobody has that set any more: go on from what is remembered, above them */
};
/* *settled: nothing else is needed; else the registry must hand that set over first. E_CONFLICT:
 * more is remembered than is stated, or nothing is in doubt. */
int service_memory_state(struct db *db, const struct service_statement *statement, bool *settled,
                         struct error *err) MUST_CHECK;
/* For every collection in doubt: what is remembered, or what the registry showed where that is
 * newer, is the highest there was. ahead: so many versions are left out, for what may have been
 * signed that nobody has any more. *n_waiting: those for which the registry must hand over what it
 * showed. */
int service_memory_state_all(struct db *db, int64_t ahead, int64_t *n_settled, int64_t *n_waiting,
                             struct error *err) MUST_CHECK;

struct service_memory_row {
    const char *collection;
    struct service_versions own, shown, stated;
    bool known, doubted;
};
/* All collections, also those that only the registry showed; in the order of their names. */
int service_memory_rows(struct db *db,
                        int (*visit)(void *context, const struct service_memory_row *row,
                                     struct error *err),
                        void *context, struct error *err) MUST_CHECK;
/* Makes this database say that it is a copy. */
int service_memory_set_copy(struct db *db, struct error *err) MUST_CHECK;

#endif

/*
 * What the signing service remembers: one SQLite database with, per collection, the encrypted
 * snapshot and timestamp keys and the files it signed last.
 *
 * Each collection's row and files are signed as a whole with a key that only this database has and
 * only the passphrase unlocks: whoever changes the file without the passphrase is noticed
 * (E_TAMPERED) before anything is signed. An older copy of the whole file: see service_memory.h.
 * One thread per object; one process per database (the caller's lock).
 */
#ifndef BULLA_SIGNER_SERVICE_STORE_H
#define BULLA_SIGNER_SERVICE_STORE_H

#include "oci/reference.h"
#include "signer/link.h"
#include "signer/service_keyring.h"
#include "signer/service_memory.h"
#include "tuf/trusted.h"

#define SERVICE_STORE_FILE "signer.db"

struct service_store;

struct service_collection {
    char name[REFERENCE_REPOSITORY_MAX + 1];
    struct bytes snapshot_key, timestamp_key;   /* encrypted */
    struct bytes snapshot_next, timestamp_next; /* wait for a root that lists them; empty: none */
    struct signer_set set;                      /* no files: nothing was published yet */
    struct signer_set gone; /* roles that nothing delegates to any more: should one come back, its
                               versions go on */
    struct key_id taken[2]; /* keys of the token that this collection takes when it is saved */
    size_t n_taken;
    int64_t snapshot_expires_s, timestamp_expires_s; /* as in the files; set before saving */
    int64_t floor_snapshot, floor_timestamp; /* published before, as an admin stated; not saved */
    const char *event;                       /* what the log calls its saving; NULL: by itself */
};
void service_collection_done(struct service_collection *c);

/* Opens or makes `path`; the ring must outlive the store. E_PASSPHRASE: made with another one. */
int service_store_open(const char *path, struct service_keyring *ring, struct service_store **out,
                       struct error *err) MUST_CHECK;
/* The database alone, for local commands; it must exist, and is brought to this version. */
int service_store_open_plain(const char *path, struct db **out, struct error *err) MUST_CHECK;
void service_store_close(struct service_store *store);
void service_store_cleanup(struct service_store **store);

/* Reads and checks one collection, but for the two dates, which are the files' own; the caller ends
 * with service_collection_done. E_NOTFOUND, E_TAMPERED. */
int service_store_load(struct service_store *store, const char *name,
                       struct service_collection *out, struct error *err) MUST_CHECK;
/* Writes all of it in one transaction; durable when it returns. */
int service_store_save(struct service_store *store, const struct service_collection *c,
                       struct error *err) MUST_CHECK;

/* Adds a root that was verified; a version that is here stays as it is. */
int service_store_add_root(struct service_store *store, const char *name,
                           const struct signer_set_file *root, struct error *err) MUST_CHECK;

/* Both borrowed. */
struct service_memory *service_store_memory(struct service_store *store);
struct db *service_store_db(struct service_store *store);

/* Whether any collection has, or ever had, this key of a token. */
int service_store_taken(struct service_store *store, const struct key_id *id, bool *out,
                        struct error *err) MUST_CHECK;
/* Whether the database came back from the past since the keys on the token were last counted: any
 * that it does not know may have served. Before one is handed out each is to be counted as used;
 * `counted` ends that, in this order, so that a stop in between does no harm. */
int service_store_token_forgotten(struct service_store *store, bool *out,
                                  struct error *err) MUST_CHECK;
int service_store_token_count_used(struct service_store *store, const struct key_id *id,
                                   struct error *err) MUST_CHECK;
int service_store_token_counted(struct service_store *store, struct error *err) MUST_CHECK;

/* Roots in one answer: more than a client takes at once, and well below a message's length. */
#define SERVICE_STORE_MAX_ROOTS   TUF_MAX_ROOT_ROTATIONS
#define SERVICE_STORE_ROOTS_BYTES (16u << 20)
/* Roots of the collection after version `since`, in order; the caller ends with signer_set_done.
 * The name need not be known: then there are none. */
int service_store_roots(struct service_store *store, const char *name, int64_t since,
                        struct signer_set *out, struct error *err) MUST_CHECK;

/* What makes a collection due: a file that expires before (or, after a clock was put back, far
 * behind) these times. */
struct service_due {
    int64_t now_s;
    int64_t timestamp_before_s, timestamp_after_s;
    int64_t snapshot_before_s, snapshot_after_s;
};
/* The name of one that is due; "" if there is none. */
int service_store_next_due(struct service_store *store, const struct service_due *due,
                           char name[REFERENCE_REPOSITORY_MAX + 1], struct error *err) MUST_CHECK;
/* next_due leaves it out for a minute. */
int service_store_defer(struct service_store *store, const char *name, int64_t now_s,
                        struct error *err) MUST_CHECK;

#endif

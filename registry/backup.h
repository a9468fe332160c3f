/*
 * Copies of a registry's data that are consistent while it runs, and the way back.
 *
 * A backup is a folder:
 *
 *     registry           which registry it is of; written first
 *     blobs/             the blobs, as in a data folder; shared by all states
 *     state-<N>/         index.db, audit/, registry.yaml of one moment
 *     backup.json        which state counts, with the index's SHA-256; replaced as a whole at the
 * end
 *
 * Whatever happens before backup.json is replaced, the backup before is whole. The index is the
 * list of what belongs to it: a blob is its own digest, the audit log is chained and anchored in
 * the index. A later backup into the same folder adds what is new and removes what is gone.
 *
 * Not in it, because it opens doors and can be made again: TLS keys, token signing keys, the
 * signing service's keys and passphrase; and uploads under way. Not thread-safe.
 */
#ifndef BULLA_REGISTRY_BACKUP_H
#define BULLA_REGISTRY_BACKUP_H

#include "base/config.h"
#include "registry/index.h"

#define BACKUP_FILE   "backup.json"
#define BACKUP_FORMAT "bulla-registry backup 1"

struct backup_options {
    const struct server_config *config;
    const char *folder;
    bool copy;   /* never hard links */
    bool verify; /* hash what was in the folder before, too */
};

struct backup_report {
    uint64_t blobs, bytes;         /* in the backup */
    uint64_t new_blobs, new_bytes; /* of these, added now */
    uint64_t lacking;              /* blobs that the registry itself has not any more */
};

/* Makes or renews the backup. A blob whose bytes are wrong is not taken and counts as lacking.
 * E_EXISTS: the folder holds something else. E_BUSY: another backup into it is running. */
int backup_make(const struct backup_options *o, struct backup_report *out,
                struct error *err) MUST_CHECK;

struct restore_options {
    const struct server_config *config; /* its data folder must be missing or empty */
    const char *folder;                 /* a backup */
};
/* Copies a backup into the data folder of `config`, which appears as a whole at the end. Every
 * blob's digest and the audit log are checked on the way: E_TAMPERED, E_DIGEST. E_EXISTS: there is
 * something already. As root, everything is given to the configuration's user. */
int backup_restore(const struct restore_options *o, struct backup_report *out,
                   struct error *err) MUST_CHECK;

/* --- what both need --- */

struct backup_state {
    char registry[33]; /* id */
    char name[32];     /* "state-3" */
    uint64_t number;   /* 3 */
    char index_sha256[2 * 32 + 1];
    int64_t time_s;
};
/* E_NOTFOUND: no finished backup is there. E_INVALID: something else of that name. */
int backup_state_read(int folder_fd, struct backup_state *out, struct error *err) MUST_CHECK;
int backup_state_write(int folder_fd, const struct backup_state *state,
                       const struct backup_report *report, struct error *err) MUST_CHECK;
/* SHA-256 of a file, as hex. */
int backup_hash_file(int dir_fd, const char *name, char out[65], struct error *err) MUST_CHECK;
/* All segments of both logs, from one data folder to another; last lines that are not whole are
 * left out. link: full segments may be linked. */
int backup_copy_audit(int from_fd, int to_fd, bool link, struct error *err) MUST_CHECK;
/* Whether both logs in the folder are whole and are what the index knows. */
int backup_check_audit(int data_fd, struct index *index, struct error *err) MUST_CHECK;

#endif

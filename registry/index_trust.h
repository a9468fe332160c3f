/*
 * Trust metadata in the index: the exact bytes of every published version, which are in force, and
 * which tags and digests the current metadata names.
 *
 * Functions that change something need a transaction from index_write; the others work in any.
 */
#ifndef BULLA_REGISTRY_INDEX_TRUST_H
#define BULLA_REGISTRY_INDEX_TRUST_H

#include "registry/index.h"
#include "signer/link.h"

/* Appends the file to out. version 0: the one in force. E_NOTFOUND. */
int index_trust_find(struct index_tx *tx, const char *repository, const char *role, int64_t version,
                     struct bytes *out, struct error *err) MUST_CHECK;

struct index_trust_file {
    char *role;
    int64_t version;
    struct bytes data;
};
/* All files in force, owned by the caller (index_trust_files_free). None: *n is 0. */
int index_trust_current(struct index_tx *tx, const char *repository, struct index_trust_file **out,
                        size_t *n, struct error *err) MUST_CHECK;
/* The same without their bytes: however much they hold, only their names and versions are read. */
int index_trust_names(struct index_tx *tx, const char *repository, struct index_trust_file **out,
                      size_t *n, struct error *err) MUST_CHECK;
void index_trust_files_free(struct index_trust_file *files, size_t n);

/* Stores a file and makes it the one in force of its role. A version stored before keeps its bytes
 * unless they are signed anew under other online keys (TUF 5.3.11). */
int index_trust_put(struct index_tx *tx, int64_t repository, const char *role, int64_t version,
                    const struct bytes *data, struct error *err) MUST_CHECK;
/* No role is in force any more; index_trust_put follows for those that are. */
int index_trust_retire(struct index_tx *tx, int64_t repository, struct error *err) MUST_CHECK;
/* The role has no file in force any more. */
int index_trust_retire_role(struct index_tx *tx, int64_t repository, const char *role,
                            struct error *err) MUST_CHECK;
/* When the timestamp in force was issued and expires, seconds since 1970. */
int index_trust_set_timestamp(struct index_tx *tx, int64_t repository, int64_t issued_s,
                              int64_t expires_s, struct error *err) MUST_CHECK;

struct index_trust_target {
    const char *name;
    struct digest digest;
};
/* What the role in force vouches for. */
int index_trust_target_add(struct index_tx *tx, int64_t repository, const char *role,
                           const struct index_trust_target *target, struct error *err) MUST_CHECK;
int index_trust_target_remove(struct index_tx *tx, int64_t repository, const char *role,
                              const struct index_trust_target *target,
                              struct error *err) MUST_CHECK;
/* Forgets what roles vouched for that are not in force any more. */
int index_trust_targets_prune(struct index_tx *tx, int64_t repository,
                              struct error *err) MUST_CHECK;
/* E_NOTFOUND where the metadata in force does not name `d` as `name`. */
int index_trust_target_find(struct index_tx *tx, const char *repository, const char *name,
                            const struct digest *d, struct error *err) MUST_CHECK;
/* E_DENIED ("revoke first") where the tag (not "") or the digest, or an index that needs the
 * digest, is signed; E_CONFLICT where a publication under way may sign it. */
int index_trust_check_unsigned(struct index_tx *tx, int64_t repository, const char *tag,
                               const struct digest *d, struct error *err) MUST_CHECK;

/* Every root, oldest first; as index_trust_current. */
int index_trust_roots(struct index_tx *tx, const char *repository, struct index_trust_file **out,
                      size_t *n, struct error *err) MUST_CHECK;
/* The version in force of a role that this registry's signing service signs for; 0: none. */
int index_trust_version(struct index_tx *tx, const char *repository, const char *role,
                        int64_t *version, struct error *err) MUST_CHECK;

/* Up to where the signing service's log has been followed; identity "": not yet. */
struct index_trust_place {
    char identity[SIGNER_IDENTITY_MAX];
    int64_t number;
    char hash[SIGNER_HASH_MAX];
};
int index_trust_place(struct index_tx *tx, struct index_trust_place *out,
                      struct error *err) MUST_CHECK;
int index_trust_set_place(struct index_tx *tx, const struct index_trust_place *place,
                          struct error *err) MUST_CHECK;

/* Every timestamp counts as due: the signing service may know newer ones. */
int index_trust_all_due(struct index_tx *tx, struct error *err) MUST_CHECK;
/* Names of repositories whose timestamp has less than half its life left at now_s, and that were
 * not put off beyond now_s: at most max, longest due first. */
int index_trust_due(struct index_tx *tx, int64_t now_s, size_t max,
                    int (*visit)(void *context, const char *repository, struct error *err),
                    void *context, struct error *err) MUST_CHECK;
/* A timestamp that is still due was not renewed: not due again for 10 s, twice that after the next
 * failure, and so on up to a twentieth of its life. A new timestamp ends that. */
int index_trust_put_off(struct index_tx *tx, const char *repository, int64_t now_s,
                        struct error *err) MUST_CHECK;

/*
 * From before the signing service is asked until what it signed is stored, the manifests that a
 * publication names must not be removed: once signed, the set cannot be refused any more. A hold
 * whose publication was cut off ends at until_s.
 */
struct index_trust_hold {
    const char *repository;
    int64_t publication; /* a random number of its own */
    int64_t until_s;
};
int index_trust_hold(struct index_tx *tx, const struct index_trust_hold *hold,
                     const struct digest *d, struct error *err) MUST_CHECK;
int index_trust_release(struct index_tx *tx, int64_t publication, struct error *err) MUST_CHECK;
int index_trust_release_old(struct index_tx *tx, int64_t now_s, struct error *err) MUST_CHECK;

#endif

/*
 * Publication rules: what a repository takes, decided the same way by registry and signing service.
 *
 * Pure. Given the current set and the uploaded files it decides all or nothing.
 */
#ifndef BULLA_TUF_ACCEPT_H
#define BULLA_TUF_ACCEPT_H

#include "tuf/metadata.h"

/* One file by role: "root", "targets", "snapshot", "timestamp" or a delegated role. Borrowed. */
struct tuf_file {
    const char *role;
    const void *data;
    size_t len;
};

#define TUF_MAX_CHANGES                                                                            \
    2100 /* files in one publication: all bins of a split, and what is above                       \
          */

struct tuf_accept_input {
    const char *collection; /* not NULL */
    int64_t now_s;
    const struct tuf_file
        *current; /* root, targets and delegated roles as published; may be empty */
    size_t n_current;
    const struct tuf_file
        *changes; /* root, targets, delegated roles; never snapshot or timestamp */
    size_t n_changes;
    /* The published snapshot, NULL: not looked at. A role that it lists and that has no current
     * file goes on from the version there. */
    const struct tuf_metadata *snapshot;
    /*
     * Settled: the roles that the delegations in `current` reach were accepted together by these
     * rules, and nobody else can change them. What neither changes itself nor is named by anything
     * that changes is then not verified once more, and bins, which cannot delegate, are not even
     * read: a publication costs what it changes, however large the collection is. The caller keeps
     * bins that were not looked at exactly as they are. With it, data of current files may be NULL;
     * read appends them to out.
     */
    bool settled;
    int (*read)(void *context, const char *role, struct bytes *out, struct error *err);
    void *read_context;
};

/* An accepted change: parsed files and what follows from them. Heap, owned by the caller. */
struct tuf_accepted {
    struct tuf_metadata *root;   /* the root in force afterwards */
    struct tuf_metadata **roles; /* all targets roles in force afterwards, targets first; NULL: a
                                    bin that stays as it is and was not looked at (settled) */
    char **role_names;           /* "targets" first; bins by their own names */
    size_t n_roles;
    bool root_changed;
    bool snapshot_keys_changed, timestamp_keys_changed; /* version memory restarts: TUF 5.3.11 */
    struct digest *added; /* digests that targets name now and did not before; settled: perhaps
                             also some that only bins that were not looked at have named */
    int64_t *added_lengths;
    size_t n_added;
};

/*
 * Checks the rules of trust.md: signatures and thresholds against the current root (a new root:
 * against the old one, whose expiry is ignored, and itself; the first root: itself), version
 * exactly +1 (first: 1), not expired, collection and role names, sizes, delegations, target names.
 * A change equal byte for byte to the current file is allowed and ignored. A role that no reachable
 * delegation names any more is dropped; while its file stays among `current`, its version counts
 * on. A role that is delegated but in neither list is not signed yet and is left out. Every role in
 * force must verify afterwards for each delegator that names it, so new keys come with new files.
 * A bin holds nothing but targets that belong there, and delegates to nobody.
 * Under an expired root only a new root is taken. Digests leave x-bulla-banned only if the root
 * keys have signed the new targets file, too. Expiry of roles that stay as they are does not
 * matter. E_CONFLICT: version is not current + 1 (judged before signatures). E_SIGNATURE,
 * E_EXPIRED, E_BINDING, E_INVALID, E_LIMIT; *out only on success.
 */
int tuf_accept(const struct tuf_accept_input *input, struct tuf_accepted **out,
               struct error *err) MUST_CHECK;
/* Those of the rules that one new file of a role must keep by itself, whoever signs it: names and
 * bindings, expiry, thresholds that its keys can reach. E_BINDING, E_INVALID, E_LIMIT, E_EXPIRED.
 */
int tuf_accept_alone(const struct tuf_metadata *m, const char *collection, const char *role,
                     int64_t now_s, struct error *err) MUST_CHECK;
void tuf_accepted_free(struct tuf_accepted *a);
void tuf_accepted_cleanup(struct tuf_accepted **a);

#endif

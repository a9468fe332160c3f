/*
 * A TUF client's state machine: checks 5.3 to 5.7 of the specification, and nothing else.
 *
 * Pure: the caller fetches and stores bytes, this decides. Feed it in the order of the workflow:
 * the anchor root, newer roots one by one, then (optionally) what was stored last time, then
 * timestamp, snapshot, targets, delegated roles. A refused file leaves the state unchanged, so the
 * caller stores exactly those bytes that a call accepted. One thread per object.
 */
#ifndef BULLA_TUF_TRUSTED_H
#define BULLA_TUF_TRUSTED_H

#include "tuf/metadata.h"

#define TUF_MAX_ROOT_ROTATIONS 256 /* newer roots in one refresh */
#define TUF_MAX_VISITED_ROLES  64  /* delegated roles visited in one search */

struct tuf_trusted;

struct tuf_trusted_options {
    int64_t now_s;          /* one start time for all expiry checks. TUF 5.1 */
    const char *collection; /* trust name that every role must carry; NULL only for the conformance
                               front, which follows the bare specification */
};

/* Starts from a root that is trusted already (anchor or store); its expiry does not matter, its own
 * threshold must hold. TUF 5.2. */
int tuf_trusted_new(const struct tuf_trusted_options *options, const void *root, size_t len,
                    struct tuf_trusted **out, struct error *err) MUST_CHECK;
/* For owners, who renew what has expired; everything else is checked as ever. Never for a verdict.
 */
void tuf_trusted_ignore_expiry(struct tuf_trusted *t);
/* For a repository: its timestamps stay fresh under an expired root, so that whoever repairs it
 * sees the newest state. Never for a verdict. */
void tuf_trusted_ignore_root_expiry(struct tuf_trusted *t);
void tuf_trusted_free(struct tuf_trusted *t);
void tuf_trusted_cleanup(struct tuf_trusted **t);

/* Version N+1, signed by thresholds of N and of itself. *online_keys_changed (may be NULL) tells
 * that timestamp or snapshot keys differ from N's: the stored timestamp and snapshot must be
 * deleted and the loaded ones are dropped here. TUF 5.3.3–5.3.8, 5.3.11. */
int tuf_trusted_update_root(struct tuf_trusted *t, const void *root, size_t len,
                            bool *online_keys_changed, struct error *err) MUST_CHECK;
/* No newer root is to be had: E_EXPIRED if the last one is past its date. TUF 5.3.10. */
int tuf_trusted_finish_root(struct tuf_trusted *t, struct error *err) MUST_CHECK;

/*
 * Loads what an earlier refresh stored, for rollback checks and reuse. Signatures are checked
 * again; expiry is not (an expired one still protects from rollback). Failing leaves the state as
 * it was; the caller then goes on without it.
 */
int tuf_trusted_load_timestamp(struct tuf_trusted *t, const void *data, size_t len,
                               struct error *err) MUST_CHECK;
int tuf_trusted_load_snapshot(struct tuf_trusted *t, const void *data, size_t len,
                              struct error *err) MUST_CHECK;

/* TUF 5.4. *changed: false where the version equals the trusted one (bytes are discarded; expiry is
 * checked all the same). E_SIGNATURE, E_ROLLBACK, E_EXPIRED, E_BINDING, E_CLOCK (x-bulla-issued
 * more than 5 minutes ahead of now_s), E_INVALID (no length or hash of the snapshot, unless
 * collection is NULL). */
int tuf_trusted_update_timestamp(struct tuf_trusted *t, const void *data, size_t len, bool *changed,
                                 struct error *err) MUST_CHECK;
/* Accepts the loaded timestamp as the current one without a new one (offline): E_EXPIRED unless
 * now_s < expiry + grace_s; E_CLOCK as above; E_NO_TRUST where none is loaded. */
int tuf_trusted_use_loaded_timestamp(struct tuf_trusted *t, int64_t grace_s,
                                     struct error *err) MUST_CHECK;

/* What to fetch next: the snapshot entry of the timestamp. NULL before the timestamp. If the loaded
 * snapshot satisfies it, tuf_trusted_reuse_snapshot says so (0) and no fetch is needed. */
const struct tuf_meta *tuf_trusted_wanted_snapshot(const struct tuf_trusted *t);
int tuf_trusted_reuse_snapshot(struct tuf_trusted *t, struct error *err) MUST_CHECK;
/* TUF 5.5. */
int tuf_trusted_update_snapshot(struct tuf_trusted *t, const void *data, size_t len,
                                struct error *err) MUST_CHECK;

/* Snapshot entry of a role ("targets" or delegated); NULL: not in the snapshot. */
const struct tuf_meta *tuf_trusted_wanted(const struct tuf_trusted *t, const char *role);
/* TUF 5.6 for top-level targets (delegator NULL), or for `role` as delegated by `delegator`
 * ("targets" or an already accepted role). Stored bytes and fetched bytes take the same way. A role
 * accepted through one delegator is verified anew for each further one. */
int tuf_trusted_update_targets(struct tuf_trusted *t, const char *role, const char *delegator,
                               const void *data, size_t len, struct error *err) MUST_CHECK;

/* Drops an accepted role that is not needed again, so that thousands of bins can be looked at one
 * after the other: as if it had not been fed. Its delegated roles stay, until it is fed again they
 * cannot be. */
void tuf_trusted_forget(struct tuf_trusted *t, const char *role);

/* Accepted metadata, borrowed; NULL where not (yet) accepted. */
const struct tuf_metadata *tuf_trusted_root(const struct tuf_trusted *t);
const struct tuf_metadata *tuf_trusted_timestamp(const struct tuf_trusted *t);
const struct tuf_metadata *tuf_trusted_snapshot(const struct tuf_trusted *t);
const struct tuf_metadata *tuf_trusted_targets(const struct tuf_trusted *t, const char *role);

/* Pre-order search for `name` (TUF 5.6.7). Either found, or names the role that must be fed through
 * tuf_trusted_update_targets before the search is asked again, or E_UNSIGNED. */
struct tuf_found {
    struct tuf_target target; /* valid while t lives */
    const char *role;         /* role that vouches for it; a bin does so in its role's name */
    const char *bin;          /* the bin that names it, NULL: the role itself */
    struct key_id signers[16];
    size_t n_signers;           /* keys whose signatures counted for that role, at most 16 */
    const char *need_role;      /* not NULL: feed this role… */
    const char *need_delegator; /* …as delegated by this one, then search again */
};
int tuf_trusted_search(struct tuf_trusted *t, const char *name, struct tuf_found *out,
                       struct error *err) MUST_CHECK;

#endif

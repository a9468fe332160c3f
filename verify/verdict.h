/*
 * The verdict on a reference: policy, fresh trust metadata, and the digest that may be used.
 *
 * 0 means valid; refused and could-not-determine are different codes (error_verdict). Callers act
 * on the digest in the result and on nothing else.
 */
#ifndef BULLA_VERIFY_VERDICT_H
#define BULLA_VERIFY_VERDICT_H

#include "client/remote.h"
#include "verify/anchor.h"
#include "verify/bundle.h"

#define VERDICT_MAX_WARNINGS 8

struct verify_options {
    const char *home;
    const struct policy *policy;
    const char *ca_file, *auth_file; /* NULL: defaults */
    bool tofu;                       /* --tofu was typed */
    bool require_policy;             /* run: policy must allow */
    bool reuse_recent;               /* run: a refresh younger than policy's `refresh` is enough */
    bool look_at_registry_tag;       /* verify: warn where the registry's tag differs */
    struct bundle *bundle;           /* borrowed: ask this and no registry. NULL: the registry */
    struct progress *progress;       /* of reading a bundle's image; NULL: quiet */
    const struct digest
        *recorded; /* of a container that is to go on (restart, exec, unpause): it
                      is   judged, not what the tag means now. NULL: a fresh start */
};

struct verdict {
    struct reference ref;
    char collection[REFERENCE_REPOSITORY_MAX + 1];
    struct descriptor manifest; /* digest, length, media type that are vouched for */
    struct digest also;         /* its SHA-512, where both digests were signed; alg none: not */
    bool superseded; /* the recorded digest was replaced: `manifest` is what the tag means
                        now, policy lets the recorded one go on all the same */
    char role[65];
    struct key_id signers[16];
    size_t n_signers;
    struct verdict_version {
        const char *role; /* static text */
        int64_t version, expires_s;
    } versions[4]; /* root, timestamp, snapshot, targets */
    enum anchor_origin anchor;
    enum freshness freshness;
    int64_t age_s;
    size_t place; /* who answered: 0: the registry, else policy's mirror of this number, from 1 */
    bool policy_allows;      /* a run would pass the policy */
    char policy_reason[256]; /* why not */
    char warnings[VERDICT_MAX_WARNINGS][256];
    size_t n_warnings;
    struct tuf_metadata *targets; /* owned: bans are checked again for an index's children */
};

/* Decides. With options->recorded: E_UNSIGNED or E_BANNED where it was revoked, E_POLICY where it
 * was superseded and policy says `superseded: refuse`. On failure *out has ref, collection and
 * warnings only. verdict_done frees it. With a bundle, ref is what the bundle says (bundle_note),
 * and its image is read whole. */
int verify_reference(const struct verify_options *options, const struct reference *ref,
                     struct verdict *out, struct error *err) MUST_CHECK;
struct trust_session;
/* The same, and on success *session stays open: with all metadata that was needed. */
int verify_reference_keep(const struct verify_options *options, const struct reference *ref,
                          struct verdict *out, struct trust_session *session,
                          struct error *err) MUST_CHECK;

void verdict_done(struct verdict *v);

/* The verdict as JSON for --json: never fails half-way, owned by the caller. code and err describe
 * a failed verdict (0: valid). */
int verdict_to_js(const struct verdict *v, int code, const struct error *why, struct js **out,
                  struct error *err) MUST_CHECK;

/* --- open trust in one collection, for owners (signer/) and for `trust show` --- */

struct trust_session {
    struct remote *remote;
    struct trust_store *store;
    struct trust_view view;
    struct resolved_anchor anchor;
    char repository[REFERENCE_REPOSITORY_MAX + 1];
    char collection[REFERENCE_REPOSITORY_MAX + 1];
    struct trust_source source;
    const struct verify_options *options;
    struct reference ref;
    /* 0: the registry itself; then policy's mirrors. repository is that of the one in use */
    struct policy_mirror places[1 + POLICY_MAX_MIRRORS];
    size_t n_places, place;
    bool for_owner;   /* expiry is not judged */
    bool must_ask;    /* only what the registry says now counts */
    bool had_history; /* this machine published in the collection before */
};
/* Resolves the anchor, refreshes, leaves everything open. decision: from policy_decide. */
int trust_session_open(const struct verify_options *options, const struct reference *ref,
                       const struct decision *decision, struct trust_session *out,
                       struct error *err) MUST_CHECK;
/* The same for whoever looks at the collection as its owner: what has expired is shown, not
 * refused. must_ask: changes follow, so that only what the registry says now counts. */
int trust_session_open_for_owner(const struct verify_options *options, const struct reference *ref,
                                 const struct decision *decision, bool must_ask,
                                 struct trust_session *out, struct error *err) MUST_CHECK;
void trust_session_close(struct trust_session *s);
/* The connection, opened on first use. */
int trust_session_remote(struct trust_session *s, struct remote **out,
                         struct error *err) MUST_CHECK;
/* Asks the registry now, whatever policy allows to be reused. What was found before is void. */
int trust_session_ask(struct trust_session *s, const struct decision *decision,
                      struct error *err) MUST_CHECK;
/* After a mirror's metadata turned out not to do: asks the mirrors behind it. E_NO_TRUST: there are
 * none that answer. What was found before is void. */
int trust_session_next(struct trust_session *s, const struct decision *decision,
                       struct error *err) MUST_CHECK;
/* Refreshes once more (after a publication). */
int trust_session_refresh(struct trust_session *s, struct error *err) MUST_CHECK;

#endif

/*
 * A draft: the next versions of some of a collection's files, before anybody has signed them.
 *
 * It stands on a verified view of what is published. Its trees may be changed at will; version and
 * expiry are set already. Compiling parses the trees as a verifier would and finds out whose
 * signatures each file needs. Linked into `bulla` only; one thread.
 */
#ifndef BULLA_SIGNER_DRAFT_H
#define BULLA_SIGNER_DRAFT_H

#include "signer/collection_keys.h"
#include "tuf/accept.h"

#define DRAFT_MAX_FILES TUF_MAX_CHANGES

/* Ids of which `threshold` must sign. Borrowed. */
struct draft_authority {
    const char *name; /* "root", "the root in force", "role 'x'" for messages */
    const struct tuf_keys *keys;
    const struct tuf_role_keys *role;
};

/* A published file that a draft stands on. */
struct draft_base {
    char *role;
    char *delegator; /* NULL for root and targets */
    struct tuf_metadata *metadata;
};

struct draft_file {
    char *role;
    char *delegator;                   /* NULL for root and targets */
    struct js *tree;                   /* `signed` */
    const struct tuf_metadata *before; /* published, the view's; NULL: the first version */
    struct tuf_metadata *after;        /* unsigned; of draft_compile */
    struct draft_authority authorities[2];
    size_t n_authorities;  /* all must be satisfied */
    struct js *signatures; /* collected so far: [{keyid, sig}], NULL: none */
    struct bytes signed_file;
};

struct draft {
    const struct collection_owner *owner;
    struct trust_session session; /* open where `connected` */
    bool connected;
    struct reference ref;
    char collection[REFERENCE_REPOSITORY_MAX + 1];
    struct draft_base *base; /* what it stands on where it is not connected */
    size_t n_base;
    int64_t now_s, lifetime_s; /* lifetime 0: the default of each role */
    struct draft_file *files;
    size_t n;
};

/* Opens the collection for its owner: fresh from the registry, expiry not judged. */
int draft_open(const struct collection_owner *owner, const struct reference *ref, struct draft *out,
               struct error *err) MUST_CHECK;
/* The same to look only: where the registry cannot be reached, at what is stored here. */
int draft_open_to_look(const struct collection_owner *owner, const struct reference *ref,
                       struct draft *out, struct error *err) MUST_CHECK;
/* A draft of a collection that does not exist yet: no connection, root and targets version 1. */
void draft_begin(const struct collection_owner *owner, const struct reference *ref,
                 struct draft *out);
void draft_close(struct draft *d);
/* Asks the registry again and forgets all changes. */
int draft_reset(struct draft *d, struct error *err) MUST_CHECK;

/* The next version's tree of a file, opened on the first call; owned by the draft. */
int draft_root(struct draft *d, struct js **tree, struct error *err) MUST_CHECK;
/* delegator NULL: "targets", or wherever the published metadata delegates the role. E_USAGE: there
 * is no such role. What the published delegator does not name begins empty, behind the last version
 * that was ever published under that name. */
int draft_role(struct draft *d, const char *role, const char *delegator, struct js **tree,
               struct error *err) MUST_CHECK;
/* The published file of a role, NULL where it was never signed; *delegator (may be NULL) is set to
 * the role that delegates to it, NULL for targets. Both are borrowed from the view. E_USAGE. */
int draft_published(struct draft *d, const char *role, const struct tuf_metadata **out,
                    const char **delegator, struct error *err) MUST_CHECK;
/* The published file of a role by its delegator (NULL for targets); *out is NULL where the snapshot
 * does not list it. */
int draft_fetch(struct draft *d, const char *role, const char *delegator,
                const struct tuf_metadata **out, struct error *err) MUST_CHECK;
/* Whether a role of that name was published that nothing delegates to any more. */
int draft_has_gone(struct draft *d, const char *role, bool *out, struct error *err) MUST_CHECK;
/* When a file of this type expires that is signed now. */
int64_t draft_expiry(const struct draft *d, enum tuf_type type);
/* Visits every role that can be reached, delegators first. A large collection has thousands of
 * bins, each a file to fetch: say which are wanted. E_LIMIT: more than 8192 names. */
struct draft_walk {
    /* 0, or a code that ends the walk. metadata is NULL for roles that nobody has signed yet. */
    int (*visit)(void *context, const char *role, const char *delegator,
                 const struct tuf_metadata *metadata, struct error *err);
    void *context;
    bool all_bins;
    bool may_miss;   /* offline, what is not stored here is visited without metadata */
    const char *tag; /* only the bins responsible for it; NULL: none, or all */
};
int draft_walk(struct draft *d, const struct draft_walk *walk, struct error *err) MUST_CHECK;

/* Parses all trees and finds authorities. E_INVALID: a change that no verifier would read. */
int draft_compile(struct draft *d, struct error *err) MUST_CHECK;
/* Lines that say what changes. After draft_compile. */
int draft_describe(const struct draft *d, struct bytes *out, struct error *err) MUST_CHECK;
/* Whether any authority of the file lists the key. */
bool draft_wants_key(const struct draft_file *f, const char *key_id);
/* Adds the signatures of those keys that each file lists to the ones it has. E_USAGE: a key that no
 * file lists. */
int draft_sign(struct draft *d, const struct role_signers *signers, struct error *err) MUST_CHECK;
/* Counts valid signatures of distinct keys. E_SIGNATURE: a threshold is not reached; the message
 * says whose. */
int draft_check_signatures(const struct draft *d, struct error *err) MUST_CHECK;
/* The same of one authority: how many of `threshold` are there. */
int draft_count_signatures(const struct draft_file *f, const struct draft_authority *a, size_t *n,
                           struct error *err) MUST_CHECK;
/* The file with all its signatures, made from tree and signatures. */
int draft_write_file(struct draft_file *f, struct error *err) MUST_CHECK;
/* Whether the published files that a connected draft `now` sees are those that d stands on.
 * E_CONFLICT. */
int draft_check_base(const struct draft *d, struct draft *now, struct error *err) MUST_CHECK;
/* Publishes the signed files and looks at them as a verifier. E_CONFLICT: somebody was faster. */
int draft_publish(struct draft *d, struct error *err) MUST_CHECK;
/* The same over another draft's connection to the same collection. */
int draft_publish_on(struct draft *d, struct draft *connected, struct error *err) MUST_CHECK;
/* Publishes the first root of a collection, pins it here, and looks at the collection as a
 * verifier. E_EXISTS: another root is pinned here.
 */
int draft_publish_first(struct draft *d, struct error *err) MUST_CHECK;

#endif

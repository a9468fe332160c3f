/*
 * Inside of the TUF data model: shared by the files that parse one role each. Not for other layers.
 *
 * Every parse_* function fills its part of a zeroed struct tuf_metadata and leaves clean-up to
 * tuf_metadata_free, which accepts half-filled parts. Texts are borrowed from the JSON tree unless
 * said otherwise.
 */
#ifndef BULLA_TUF_METADATA_INTERNAL_H
#define BULLA_TUF_METADATA_INTERNAL_H

#include "tuf/metadata.h"

#define TUF_MAX_NAME     255u   /* bytes of a role, target or pattern name, whoever wrote it */
#define TUF_MAX_PATTERNS 4096u  /* patterns in one delegation table: bounds the work of a search */
#define TUF_MAX_BANNED   10000u /* digests on the ban list */

/* Names to positions, sorted for look-up: tables of 60,000 entries fit into the size limits. */
struct name_ref {
    const char *name;
    size_t i;
};
struct name_index {
    struct name_ref *refs;
    size_t n;
};

struct tuf_signature {
    struct key_id id;
    const char *hex; /* even number of hex digits, perhaps none */
};

struct root_part {
    bool consistent_snapshot;
    struct tuf_keys keys;
    struct tuf_role_keys roles[4]; /* by enum tuf_type */
};

struct meta_part {
    struct tuf_meta *items;
    char **names; /* owned, without ".json" */
    size_t n;
    struct name_index index;
};

struct targets_part {
    struct tuf_target *items;
    size_t n;
    struct name_index index;
    struct tuf_keys keys;
    struct tuf_delegation *delegations;
    size_t n_delegations;
    bool has_bins;
    struct tuf_bins bins;
    struct digest *banned; /* sorted by compare_digests */
    size_t n_banned;
};

struct tuf_metadata {
    size_t refs;
    enum tuf_type type;
    struct bytes bytes;     /* as received */
    struct bytes canonical; /* of `body`: what the signatures are over */
    struct js *tree;
    const struct js *body; /* the `signed` member */
    int64_t version, expires, issued;
    const char *collection, *role;
    struct tuf_signature *signatures;
    size_t n_signatures;
    struct root_part root;
    struct meta_part meta;
    struct targets_part targets;
};

/* Sorts index->refs, whose n entries the caller has filled. */
void name_index_sort(struct name_index *index);
/* Position of `name`, SIZE_MAX where it is not. */
size_t name_index_find(const struct name_index *index, const char *name);

/* 1 to max bytes without control characters. E_INVALID names `what`. */
int tuf_check_text(const char *text, size_t max, const char *what, struct error *err) MUST_CHECK;
/* {"<id>": key object…}. */
int tuf_keys_parse(const struct js *object, struct tuf_keys *out, struct error *err) MUST_CHECK;
void tuf_keys_done(struct tuf_keys *keys);
/* {"keyids": […], "threshold": n}; other members are left alone. */
int tuf_role_keys_parse(const struct js *object, struct tuf_role_keys *out,
                        struct error *err) MUST_CHECK;
void tuf_role_keys_done(struct tuf_role_keys *role);
/* Same ids, in any order. */
bool tuf_role_keys_same_ids(const struct tuf_role_keys *a, const struct tuf_role_keys *b);
/* {"sha256": hex, …}; *known tells whether any algorithm is one we compute. */
int tuf_hashes_parse(const struct js *hashes, struct digest *sha256, struct digest *sha512,
                     bool *known, struct error *err) MUST_CHECK;

int tuf_root_parse(struct tuf_metadata *m, struct error *err) MUST_CHECK;
int tuf_meta_parse(struct tuf_metadata *m, struct error *err) MUST_CHECK;
int tuf_targets_parse(struct tuf_metadata *m, struct error *err) MUST_CHECK;
int tuf_delegations_parse(const struct js *object, struct targets_part *out,
                          struct error *err) MUST_CHECK;
void tuf_delegations_done(struct targets_part *part);

/* The snapshot's own copy of the name, NULL where it does not list the role. */
const char *tuf_snapshot_role(const struct tuf_metadata *snapshot, const char *role);
/* The value of succinct_roles. On failure *out may hold keys to be freed. */
int tuf_bins_parse(const struct js *object, struct tuf_bins *out, struct error *err) MUST_CHECK;

/* tuf_delegation_covers with its one failure (hashing) told apart from "no". */
int tuf_delegation_test(const struct tuf_delegation *delegation, const char *name, bool *covers,
                        struct error *err) MUST_CHECK;
/* One path pattern against one name; '*' and '?' stop at '/'. */
bool tuf_pattern_matches(const char *pattern, const char *name);

/*
 * Bulla's own demands: the file is for this collection and role, names are in Bulla's grammar,
 * lengths and hashes are there. collection NULL: the bare specification, everything passes.
 * E_BINDING, E_INVALID.
 */
int tuf_binding_check(const struct tuf_metadata *m, const char *collection, const char *role,
                      struct error *err) MUST_CHECK;
/* E_EXPIRED where the file's date is not after now_s. */
int tuf_expiry_check(const struct tuf_metadata *m, const char *role, int64_t now_s,
                     struct error *err) MUST_CHECK;

#endif

/*
 * The TUF data model: parsed, shape-checked metadata of the roles.
 *
 * Parsers take bytes and return immutable heap objects that own everything inside; no signature is
 * checked here, but every field's shape is, before anything else happens with the bytes. The parsed
 * JSON tree is kept, so unknown members survive and the canonical form of `signed` is exact.
 * Source: TUF specification 1.0.34, section 4. Bulla's own members are in design:
 * x-bulla-collection, x-bulla-role, x-bulla-issued, x-bulla-banned.
 */
#ifndef BULLA_TUF_METADATA_H
#define BULLA_TUF_METADATA_H

#include "base/digest.h"
#include "base/json.h"
#include "keys/public_key.h"

#define TUF_MAX_TIMESTAMP_BYTES 16384u /* stock clients' limits: what is larger they refuse */
#define TUF_MAX_ROOT_BYTES      512000u
#define TUF_MAX_SNAPSHOT_BYTES  2000000u
#define TUF_MAX_TARGETS_BYTES   5000000u
#define TUF_MAX_KEYS            256u  /* keys in one root or delegation table */
#define TUF_MAX_SIGNATURES      256u  /* signatures looked at in one file */
#define TUF_MAX_DELEGATIONS     1024u /* delegated roles in one targets file */
#define TUF_MAX_ROLE_NAME       64u
#define TUF_MAX_BIN_BITS        32   /* the specification's limit; Bulla publishes far fewer */
#define TUF_BIN_NAME_MAX        272u /* longest prefix, '-', 8 digits, NUL */
#define TUF_MAX_VERSION         9007199254740991 /* 2^53 - 1: what stock clients can represent */

enum tuf_type { TUF_ROOT, TUF_TIMESTAMP, TUF_SNAPSHOT, TUF_TARGETS };

/* "root", "timestamp", "snapshot", "targets": the value of _type. */
const char *tuf_type_name(enum tuf_type type);
size_t tuf_type_max_bytes(enum tuf_type type);
/* [a-z][a-z0-9._-]{0,63} and none of the four top-level names. */
bool tuf_role_name_valid(const char *name);
/* OCI tag, or sha256:<hex> / sha512:<hex>. */
bool tuf_target_name_valid(const char *name);

/* A set of keys of which `threshold` distinct ones must sign. */
struct tuf_role_keys {
    struct key_id *ids; /* distinct */
    size_t n_ids;
    int64_t threshold; /* ≥ 1; may exceed n_ids (then nothing verifies) */
};

struct tuf_key {
    struct key_id id;       /* recomputed from the object, equal to its name there */
    struct public_key *key; /* NULL: keytype or scheme not supported; never verifies */
};

struct tuf_keys {
    struct tuf_key *items;
    size_t n;
};
/* NULL where the table has no such id. */
const struct tuf_key *tuf_keys_find(const struct tuf_keys *keys, const struct key_id *id);

/* meta entry of timestamp and snapshot. */
struct tuf_meta {
    int64_t version;
    int64_t length;       /* -1: not given */
    struct digest sha256; /* alg DIGEST_NONE: not given */
    struct digest sha512;
};

struct tuf_target {
    const char *name; /* borrowed from the metadata */
    int64_t length;
    struct digest sha256; /* DIGEST_NONE: not given */
    struct digest sha512;
    const struct js *custom; /* NULL: none; borrowed */
};

struct tuf_delegation {
    const char *name;
    struct tuf_role_keys keys;
    bool terminating;
    const char *const *paths; /* NULL where path_hash_prefixes are used */
    size_t n_paths;
    const char *const *hash_prefixes;
    size_t n_hash_prefixes;
};

/*
 * succinct_roles: 2^bits bins named prefix-HEX, each responsible for the targets whose name's
 * SHA-256 begins with its number. All bins have the same keys; the delegation is terminating.
 * Source: TUF 4.5.
 */
struct tuf_bins {
    const char *prefix; /* borrowed from the metadata */
    unsigned bits;      /* 1 to TUF_MAX_BIN_BITS */
    struct tuf_role_keys keys;
};

/* One parsed file: signatures + signed. */
struct tuf_metadata;

/* Parses and shape-checks; `type` is what it must be. Trailing bytes, duplicate members, wrong
 * shapes: E_INVALID; over a limit: E_LIMIT; spec_version other than 1.x: E_UNSUPPORTED. The bytes
 * are copied where needed. */
int tuf_metadata_parse(enum tuf_type type, const void *data, size_t len, struct tuf_metadata **out,
                       struct error *err) MUST_CHECK;
struct tuf_metadata *tuf_metadata_ref(struct tuf_metadata *m); /* shared, counted; one thread */
void tuf_metadata_free(struct tuf_metadata *m);
void tuf_metadata_cleanup(struct tuf_metadata **m);

enum tuf_type tuf_metadata_type(const struct tuf_metadata *m);
int64_t tuf_metadata_version(const struct tuf_metadata *m);
int64_t tuf_metadata_expires(const struct tuf_metadata *m); /* seconds since 1970 */
/* x-bulla-collection, x-bulla-role; NULL where absent. */
const char *tuf_metadata_collection(const struct tuf_metadata *m);
const char *tuf_metadata_role(const struct tuf_metadata *m);
/* x-bulla-issued in seconds; -1 where absent. */
int64_t tuf_metadata_issued(const struct tuf_metadata *m);
/* The exact bytes it was parsed from. */
const struct bytes *tuf_metadata_bytes(const struct tuf_metadata *m);
/* The `signed` tree, borrowed. */
const struct js *tuf_metadata_signed(const struct tuf_metadata *m);
/* Key ids that have a signature in the file (unverified). */
size_t tuf_metadata_n_signatures(const struct tuf_metadata *m);

/* root */
bool tuf_root_consistent_snapshot(const struct tuf_metadata *root);
const struct tuf_keys *tuf_root_keys(const struct tuf_metadata *root);
const struct tuf_role_keys *tuf_root_role(const struct tuf_metadata *root, enum tuf_type role);

/* timestamp: its one entry; snapshot: the entry of "<role>.json", NULL if absent. */
const struct tuf_meta *tuf_timestamp_snapshot(const struct tuf_metadata *timestamp);
const struct tuf_meta *tuf_snapshot_find(const struct tuf_metadata *snapshot, const char *role);
size_t tuf_snapshot_count(const struct tuf_metadata *snapshot);
/* Entry i; *role is borrowed and has no ".json". */
const struct tuf_meta *tuf_snapshot_at(const struct tuf_metadata *snapshot, size_t i,
                                       const char **role);

/* targets and delegated targets */
bool tuf_targets_find(const struct tuf_metadata *targets, const char *name, struct tuf_target *out);
size_t tuf_targets_count(const struct tuf_metadata *targets);
void tuf_targets_at(const struct tuf_metadata *targets, size_t i, struct tuf_target *out);
size_t tuf_targets_n_delegations(const struct tuf_metadata *targets);
const struct tuf_delegation *tuf_targets_delegation(const struct tuf_metadata *targets, size_t i);
const struct tuf_keys *tuf_targets_keys(const struct tuf_metadata *targets);
/* NULL where the role has no bins. A role has either delegations or bins. */
const struct tuf_bins *tuf_targets_bins(const struct tuf_metadata *targets);
uint64_t tuf_bins_count(const struct tuf_bins *bins);
/* The name of bin number `bin` (below tuf_bins_count). */
void tuf_bins_name(const struct tuf_bins *bins, uint64_t bin, char out[TUF_BIN_NAME_MAX]);
/* The number of the bin that is responsible for target `target`. */
int tuf_bins_find(const struct tuf_bins *bins, const char *target, uint64_t *bin,
                  struct error *err) MUST_CHECK;
/* Whether `role` is the exact name of one of the bins. */
bool tuf_bins_has(const struct tuf_bins *bins, const char *role);
/* Ids and threshold by which `delegator` delegates to `role`, a delegation or a bin; NULL: it does
 * not. The keys are in tuf_targets_keys. */
const struct tuf_role_keys *tuf_targets_authority(const struct tuf_metadata *delegator,
                                                  const char *role);
size_t tuf_targets_n_banned(const struct tuf_metadata *targets);
/* Number i of the ban list, sorted; borrowed. */
const struct digest *tuf_targets_banned_at(const struct tuf_metadata *targets, size_t i);
/* True where the digest is in x-bulla-banned. One document has a digest per algorithm: ask for each
 * (image_check_bans in verify/ does). */
bool tuf_targets_banned(const struct tuf_metadata *targets, const struct digest *d);
/* Whether target `name` is inside the delegation's paths ('*' and '?' do not match '/') or hash
 * prefixes. Source: TUF 4.5. */
bool tuf_delegation_covers(const struct tuf_delegation *delegation, const char *name);

/*
 * Threshold of distinct keys: counts each key of `role` once, however many ids or signatures it
 * has. 0 or E_SIGNATURE ("2 of 3 needed signatures are valid"). n_valid (may be NULL) is written in
 * both cases. signers (may be NULL) receives up to max_signers ids that count. Source:
 * TUF 5.3.4, 5.4.2, 5.5.3, 5.6.3.
 */
int tuf_verify_threshold(const struct tuf_metadata *m, const struct tuf_keys *keys,
                         const struct tuf_role_keys *role, struct key_id *signers,
                         size_t max_signers, size_t *n_valid, struct error *err) MUST_CHECK;

/* length and hashes of `meta` against the bytes of a file. E_DIGEST. `strict`: length and SHA-256
 * must be given, else E_INVALID. */
int tuf_meta_check(const struct tuf_meta *meta, const void *data, size_t len, bool strict,
                   struct error *err) MUST_CHECK;

#endif

/*
 * Local policy: which images may be trusted and run, and from which anchor.
 *
 * A policy set is one or two strictly parsed files (system, user). Each is evaluated alone; all
 * must allow; constraints intersect. Nothing here touches the network. Immutable after loading.
 * Source: docs/policy.md, design "Policy".
 */
#ifndef BULLA_VERIFY_POLICY_H
#define BULLA_VERIFY_POLICY_H

#include "keys/public_key.h"
#include "oci/reference.h"

#define POLICY_MAX_BYTES       (1u << 20)
#define POLICY_MAX_ROOT_KEYS   32
#define POLICY_MAX_SIGNED_BY   16
#define POLICY_MAX_PINNED_KEYS 16   /* of one entry of signedBy */
#define POLICY_MAX_ROLE_DEPTH  8    /* role names in a path of signedBy */
#define POLICY_MAX_SCOPES      4096 /* each has room for all its settings */
#define POLICY_DEFAULT_REFRESH 60   /* seconds */
#define POLICY_MAX_MIRRORS     8    /* of one scope, and of one decision */

/* Where trust in a collection starts. */
struct anchor {
    char *root_file;                          /* path of a root; NULL where keys are used */
    struct key_id keys[POLICY_MAX_ROOT_KEYS]; /* root key ids */
    size_t n_keys;
    int64_t threshold;   /* how many of the keys must have signed the first root; 0: all of them */
    int64_t min_version; /* lowest acceptable root version, ≥ 1 */
};

/* One entry of signedBy: this role must vouch for the digest too. */
struct signed_by {
    char *role; /* delegated by targets, or a path from there: "security/alice"; or "targets" */
    struct key_id keys[POLICY_MAX_PINNED_KEYS]; /* none: any of the role's keys */
    size_t n_keys;
    int64_t threshold; /* of the pinned keys; 1 by default */
};

/* run constraints; "unset" values leave the runner's default. */
struct policy_mount {
    char *source;
    bool read_only;
};
struct policy_run {
    bool user_non_root; /* "user": "non-root" */
    bool read_only;     /* "readOnly": true forbids --writable */
    bool has_network;   /* network list given */
    bool network_none, network_private, network_host;
    bool has_capabilities; /* list given: no others may be added */
    char **capabilities;   /* NULL-terminated */
    uint64_t memory;       /* upper bound in bytes, 0 unset */
    int64_t pids;          /* upper bound, 0 unset */
    bool has_mounts;
    struct policy_mount *mounts;
    size_t n_mounts;
};

/* A scope of one file. */
struct policy_scope {
    char *name;       /* "host[:port]/path…" */
    char *collection; /* NULL: the repository's own name */
    bool has_anchor;
    struct anchor anchor;
    struct signed_by signed_by[POLICY_MAX_SIGNED_BY];
    size_t n_signed_by;
    char **tags_allow, **tags_deny; /* NULL-terminated glob lists; NULL: not given */
    int64_t refresh_s;              /* default 60 */
    int64_t max_age_s;              /* -1: not given */
    int64_t offline_grace_s;        /* default 0 */
    bool refuse_superseded;
    bool allow_tofu;
    char **mirrors; /* "host[:port]/path…" in the place of the scope's name, in order; NULL: none */
    struct policy_run run;
};

struct policy_file; /* one parsed file */

/* Strict parse; `path` is used in messages and to resolve relative root files. E_INVALID with line
 * and column (syntax) or a JSON pointer (meaning). E_UNSUPPORTED: `hardware`. */
int policy_file_parse(const void *data, size_t len, const char *path, struct policy_file **out,
                      struct error *err) MUST_CHECK;
void policy_file_free(struct policy_file *f);
void policy_file_cleanup(struct policy_file **f);
/* "default": "deny" (false) or "allow-signed"? Bulla knows only deny; kept for show. */
size_t policy_file_n_scopes(const struct policy_file *f);
const struct policy_scope *policy_file_scope(const struct policy_file *f, size_t i);
/* The longest scope that is `host/repository` or a prefix of it in whole components; NULL: none. */
const struct policy_scope *policy_file_match(const struct policy_file *f,
                                             const struct reference *ref);

#define POLICY_MAX_FILES 2
struct policy {
    struct policy_file *files[POLICY_MAX_FILES];
    char *paths[POLICY_MAX_FILES];
    bool is_system[POLICY_MAX_FILES];
    bool is_named[POLICY_MAX_FILES]; /* --policy or BULLA_POLICY, in the place of others */
    size_t n_files;
};

struct policy_options {
    const char *system_path; /* "/etc/bulla/policy.json" */
    const char *user_path;   /* $XDG_CONFIG_HOME/bulla/policy.json; may be absent */
    const char *override;    /* --policy or BULLA_POLICY: must exist; NULL: none */
    bool is_root;            /* the override replaces all files */
};
/* Missing default files are fine (then nothing is allowed); a missing override is E_NOTFOUND.
 * E_POLICY: a default file that others own or may write. */
int policy_load(const struct policy_options *options, struct policy *out,
                struct error *err) MUST_CHECK;
void policy_done(struct policy *p);

/* Where else a repository's proofs and content may be had: nothing there is believed. */
struct policy_mirror {
    char host[REFERENCE_HOST_MAX + 1];
    char repository[REFERENCE_REPOSITORY_MAX + 1];
};

/* What policy says about one reference. Borrows from the policy. */
struct decision {
    bool allowed;     /* every file has a matching scope (and there is at least one file) */
    bool denied;      /* a matching scope's rule says no: not even verify may pass */
    char reason[256]; /* why not, for people; "" where allowed */
    const struct policy_scope *scopes[POLICY_MAX_FILES];
    size_t n_scopes;
    const struct anchor *anchor; /* NULL: policy names none */
    char collection[REFERENCE_REPOSITORY_MAX + 1];
    int64_t refresh_s, max_age_s, offline_grace_s;
    bool refuse_superseded, allow_tofu;
    struct policy_mirror mirrors[POLICY_MAX_MIRRORS]; /* of all files, in order */
    size_t n_mirrors;
};
/* Maps scope and collection, checks tag rules. Always fills *out; fails with E_INVALID only where
 * files contradict each other. */
int policy_decide(const struct policy *p, const struct reference *ref, struct decision *out,
                  struct error *err) MUST_CHECK;

/* Whether the scope's tag rules let the reference through. A bare digest needs a pattern that
 * begins with its algorithm, as "sha256:*", where there is a list of what is allowed. */
bool policy_tag_allowed(const struct policy_scope *scope, const struct reference *ref);

/* Adds or changes a scope in the file at `path` (made if missing, 0644, atomic, under a lock): its
 * root becomes `anchor` (NULL: it names none), its collection `collection` (NULL: as it is). Other
 * scopes and settings stay as they are. */
int policy_allow(const char *path, const char *scope, const struct anchor *anchor,
                 const char *collection, struct error *err) MUST_CHECK;
/* host[:port]/component… . E_USAGE. */
int policy_scope_check(const char *scope, struct error *err) MUST_CHECK;

/* '*' any run, '?' one character; everything else literal. */
bool policy_glob(const char *pattern, const char *text);

#endif

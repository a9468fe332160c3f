/*
 * A collection from its owner's side: making it and signing into it.
 *
 * Every change starts from metadata that was verified first, is signed here, and is published all
 * or nothing; afterwards it is fetched and verified again before success is reported. Linked into
 * `bulla` only.
 * Source: design "Roles", "Publication rules".
 */
#ifndef BULLA_SIGNER_COLLECTION_H
#define BULLA_SIGNER_COLLECTION_H

#include "keys/signing_key.h"
#include "verify/verdict.h"

#define COLLECTION_MAX_KEYS 16

#define COLLECTION_ROOT_LIFETIME_S    (730 * 86400ll)
#define COLLECTION_TARGETS_LIFETIME_S (365 * 86400ll)

/* Who acts: everything is borrowed. */
struct collection_owner {
    const struct verify_options *verify;
    struct keystore *keystore;
    struct secret_source *passphrases, *pins;
    /* Called before a token signs so many files, one after the other: somebody may have to touch
     * it for each. NULL: nobody is told. */
    void (*about_to_sign)(void *context, const char *label, size_t n_files);
    void *context;
};

struct collection_init_options {
    const char *const *root_keys; /* key names or pkcs11: URIs, at least one */
    size_t n_root_keys;
    int64_t root_threshold;
    const char *const *targets_keys; /* none: the root keys */
    size_t n_targets_keys;
    int64_t targets_threshold;
    /* A ceremony: root and targets are written there, signed by `keys` only (maybe none), and the
     * keys above may be files with public keys. NULL: publish now, all keys sign. */
    const char *stage_file;
    const char *const *keys;
    size_t n_keys;
};
struct collection_key_info {
    char id[65];
    char label[160];
};
struct collection_init_result {
    struct collection_key_info root[COLLECTION_MAX_KEYS], targets[COLLECTION_MAX_KEYS];
    size_t n_root, n_targets;
    bool targets_use_root_keys;
    struct bytes summary; /* what a ceremony signs; owned */
};
/* Makes root and targets version 1, publishes them and pins the root here. All n root keys and all
 * targets keys sign. E_EXISTS: the collection has trust metadata already. E_USAGE: thresholds. */
int collection_init(const struct collection_owner *owner, const struct reference *ref,
                    const struct collection_init_options *options,
                    struct collection_init_result *result, struct error *err) MUST_CHECK;

struct collection_sign_options {
    const char *target;         /* tag, or sha256:<hex> */
    struct descriptor manifest; /* what it shall vouch for */
    const char *const *keys;    /* none: the one local key that the role lists */
    size_t n_keys;
    const char *role;   /* NULL: "targets" */
    int64_t lifetime_s; /* 0: COLLECTION_TARGETS_LIFETIME_S */
    bool believe;       /* struct collection_publish */
};
/* From so many tags in one file on, `sign` advises to split the role into bins: each verifier
 * fetches the file whole, about 180 bytes a tag. Stock clients take 5 MB. */
#define COLLECTION_SPLIT_TAGS 1000u

struct collection_sign_result {
    int64_t version;
    size_t n_tags; /* in the role's file afterwards; 0: the role has bins, or signed it before */
    int64_t expires_s;
    bool already;  /* the role vouched for it before; nothing was published */
    bool replaced; /* the tag pointed to `previous` before */
    struct digest previous;
    int n_rebased; /* times somebody else had published first */
    struct collection_key_info keys[COLLECTION_MAX_KEYS];
    size_t n_keys;
};
/* Adds target → manifest to the role and publishes. E_USAGE: which key? (message names the
 * candidates); E_UNSUPPORTED: the digest is no SHA-256; E_SIGNATURE: fewer keys than the threshold;
 * codes of trust_refresh. */
int collection_sign(const struct collection_owner *owner, const struct reference *ref,
                    const struct collection_sign_options *options,
                    struct collection_sign_result *result, struct error *err) MUST_CHECK;

#endif

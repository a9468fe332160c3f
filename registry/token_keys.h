/*
 * The keys that sign the registry's own Bearer tokens (Ed25519).
 *
 * One file of 32 bytes (the seed, 0600) per key in DATA_DIR/token-keys (0700); its name, without
 * ".key", is the key's id: creation time and random digits, in hex. The newest signs; the one
 * before it is good until its last token expired, then its file is removed. A key older than
 * `rotate_after_s` is replaced when it is next asked to sign. Another process may add or remove
 * files at any time (`bulla-registry token-key rotate`): the folder is looked at before it is used,
 * at most once a second. Thread-safe.
 */
#ifndef BULLA_REGISTRY_TOKEN_KEYS_H
#define BULLA_REGISTRY_TOKEN_KEYS_H

#include "base/bytes.h"

#define TOKEN_KEYS_FOLDER   "token-keys"
#define TOKEN_KEYS_MAX      16u
#define TOKEN_KEY_ID_LEN    24u /* 12 hex digits of seconds since 1970, 12 random ones */
#define TOKEN_SIGNATURE_LEN 64u

struct token_keys;

struct token_keys_options {
    const char *data_dir;
    int64_t rotate_after_s; /* 0: never by age */
    int64_t keep_s;         /* how long tokens of a replaced key may still be around */
};

/* Makes the folder and the first key where they are missing; they get the owner of data_dir.
 * E_TAMPERED: a file is no key; E_SYS. */
int token_keys_open(const struct token_keys_options *options, struct token_keys **out,
                    struct error *err) MUST_CHECK;
void token_keys_free(struct token_keys *keys);
void token_keys_cleanup(struct token_keys **keys);

/* Id of the key that signs now. */
int token_keys_current(struct token_keys *keys, char id[TOKEN_KEY_ID_LEN + 1],
                       struct error *err) MUST_CHECK;
/* E_NOTFOUND: no such key. */
int token_keys_sign(struct token_keys *keys, const char *id, const void *msg, size_t len,
                    uint8_t out[TOKEN_SIGNATURE_LEN], struct error *err) MUST_CHECK;
/* 0, E_SIGNATURE, E_NOTFOUND (no such key). A success is remembered under a keyed hash of message
 * and signature until the set of keys changes. */
int token_keys_verify(struct token_keys *keys, const char *id, const void *msg, size_t len,
                      const uint8_t sig[TOKEN_SIGNATURE_LEN], struct error *err) MUST_CHECK;

/* Adds a key, which signs from now on. id receives its id. */
int token_keys_rotate(const char *data_dir, char id[TOKEN_KEY_ID_LEN + 1],
                      struct error *err) MUST_CHECK;
/* From the folder alone, newest (the one that signs) first; visit returns 0 to go on, or a code. */
int token_keys_list(const char *data_dir,
                    int (*visit)(void *context, const char *id, int64_t created_s,
                                 struct error *err),
                    void *context, struct error *err) MUST_CHECK;

#endif

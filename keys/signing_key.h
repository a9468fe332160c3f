/*
 * Something that can sign: a key from an encrypted file, or one on a PKCS#11 token.
 *
 * One thread at a time per object.
 */
#ifndef BULLA_KEYS_SIGNING_KEY_H
#define BULLA_KEYS_SIGNING_KEY_H

#include "keys/public_key.h"
#include "keys/secret.h"

struct signing_key;

/* Its public half; borrowed. */
const struct public_key *signing_key_public(const struct signing_key *key);
/* How a person knows it: "key 'alice'" or "token 'YubiKey PIV #123', id 02". Borrowed. */
const char *signing_key_label(const struct signing_key *key);
/* Its holder may be asked to touch something for each signature. */
bool signing_key_on_token(const struct signing_key *key);
/* Appends the signature in TUF's form (Ed25519 64 bytes, ECDSA DER). Each signature is verified
 * with the public half before it is returned. E_TOKEN, E_PASSPHRASE (PIN), E_INTERNAL. */
int signing_key_sign(struct signing_key *key, const void *msg, size_t len, struct bytes *out,
                     struct error *err) MUST_CHECK;
void signing_key_free(struct signing_key *key);
void signing_key_cleanup(struct signing_key **key);

/* --- the key store: encrypted key files in one folder --- */

struct keystore;

struct key_entry {
    char name[65];
    enum key_type type;
    struct key_id id;
    bool public_only; /* somebody else's: it can be named, and signs nothing */
};

/* Opens (and makes, 0700) the folder `path`. */
int keystore_open(const char *path, struct keystore **out, struct error *err) MUST_CHECK;
void keystore_close(struct keystore *ks);
void keystore_cleanup(struct keystore **ks);
/* Makes a key under `name` ([a-zA-Z0-9][a-zA-Z0-9._-]{0,63}); asks `secrets` for a new passphrase
 * with confirmation. E_EXISTS: nothing is overwritten. Outputs the entry. */
int keystore_generate(struct keystore *ks, const char *name, enum key_type type,
                      struct secret_source *secrets, struct key_entry *out,
                      struct error *err) MUST_CHECK;
/* Decrypts `name`. E_NOTFOUND, E_PASSPHRASE (wrong one), E_TAMPERED (file damaged). */
int keystore_load(struct keystore *ks, const char *name, struct secret_source *secrets,
                  struct signing_key **out, struct error *err) MUST_CHECK;
/* The encrypted file as it lies there, appended. E_NOTFOUND; E_UNSUPPORTED: only a public half. */
int keystore_export(struct keystore *ks, const char *name, struct bytes *out,
                    struct error *err) MUST_CHECK;
/* Takes a file that keystore_export wrote, under its passphrase, which is asked for: what cannot be
 * decrypted is not taken. E_EXISTS: the name, or this key under another name. */
int keystore_import(struct keystore *ks, const char *name, const struct bytes *file,
                    struct secret_source *secrets, struct key_entry *out,
                    struct error *err) MUST_CHECK;
/* Keeps somebody's public key under a name. E_EXISTS likewise. */
int keystore_import_public(struct keystore *ks, const char *name, const struct public_key *key,
                           struct key_entry *out, struct error *err) MUST_CHECK;
/* Encrypts the key anew: asks `before` for the passphrase in force, then `after` for another. The
 * file is replaced in one step, when the new one was seen to open. */
int keystore_change_passphrase(struct keystore *ks, const char *name, struct secret_source *before,
                               struct secret_source *after, struct error *err) MUST_CHECK;
/* Public half without a passphrase (it is authenticated on load). */
int keystore_public(struct keystore *ks, const char *name, struct public_key **out,
                    struct error *err) MUST_CHECK;
/* All entries, sorted by name; *out is a heap array of *n, freed by the caller. */
int keystore_list(struct keystore *ks, struct key_entry **out, size_t *n,
                  struct error *err) MUST_CHECK;
/* Files in the folder that look like keys and are none: appends one line "NAME.key: reason" each.
 * keystore_list leaves them out. */
int keystore_problems(struct keystore *ks, struct bytes *out, struct error *err) MUST_CHECK;
int keystore_remove(struct keystore *ks, const char *name, struct error *err) MUST_CHECK;

/* --- PKCS#11 tokens, through the helper process bulla-pkcs11 --- */

struct token_key {
    char uri[512];   /* RFC 7512, names token and object; what --key takes */
    char token[64];  /* token label */
    char label[128]; /* certificate subject or object label, "" if none */
    struct key_id id;
    enum key_type type;
};

/* Keys on all tokens of the configured modules. `module`: path of a PKCS#11 library, NULL: taken
 * from BULLA_PKCS11_MODULE, else p11-kit's proxy. Heap array, freed by the caller. E_TOKEN. */
int token_list(const char *module, struct token_key **out, size_t *n, struct error *err) MUST_CHECK;
/* Opens the key that `uri` names (exactly one must match). `pins` is asked for the PIN when the
 * token wants it, with the token's label in the prompt. E_TOKEN, E_NOTFOUND. */
int token_open(const char *module, const char *uri, struct secret_source *pins,
               struct signing_key **out, struct error *err) MUST_CHECK;

/* A key by what the user wrote: `pkcs11:…` opens a token, anything else a name in ks. */
int signing_key_open(struct keystore *ks, const char *key, struct secret_source *passphrases,
                     struct secret_source *pins, struct signing_key **out,
                     struct error *err) MUST_CHECK;
/* Same, public half only, without any secret. */
int public_key_open(struct keystore *ks, const char *key, struct public_key **out,
                    struct error *err) MUST_CHECK;

/* --- one encrypted key file (used by the key store and by bulla-signer) --- */

/* Fresh key pair in locked memory, not stored anywhere. */
int signing_key_generate(enum key_type type, const char *label, struct signing_key **out,
                         struct error *err) MUST_CHECK;
/* An Ed25519 key from the 32 bytes of its seed, which it takes over on success. E_INVALID. */
int signing_key_from_seed(struct secret *seed, const char *label, struct signing_key **out,
                          struct error *err) MUST_CHECK;
/* Encrypted serialisation (Argon2id + XChaCha20-Poly1305) for a file or a database; header and
 * public half are authenticated. `fast` lowers Argon2id's cost to libsodium's interactive limits:
 * for passphrases that are themselves 256 random bits. */
int signing_key_seal(const struct signing_key *key, const struct secret *passphrase, bool fast,
                     struct bytes *out, struct error *err) MUST_CHECK;
int signing_key_unseal(const void *data, size_t len, const struct secret *passphrase,
                       const char *label, struct signing_key **out, struct error *err) MUST_CHECK;

#endif

#include "keys/signing_key_kind.h"

#include <string.h>

struct signing_key {
    const struct signing_key_kind *kind;
    void *state;
    struct public_key *public_half;
    char *label;
};

int signing_key_new(const struct signing_key_kind *kind, void *state,
                    struct public_key *public_half, const char *label, struct signing_key **out,
                    struct error *err)
{
    struct signing_key *key = calloc(1, sizeof *key);
    char *copy = strdup(label);
    if (!key || !copy) {
        free(copy);
        free(key);
        kind->free(state);
        public_key_free(public_half);
        return fail_nomem(err);
    }
    *key = (struct signing_key){kind, state, public_half, copy};
    *out = key;
    return OK;
}

void *signing_key_state(const struct signing_key *key, const struct signing_key_kind *kind)
{
    return key->kind == kind ? key->state : NULL;
}

const struct public_key *signing_key_public(const struct signing_key *key)
{
    return key->public_half;
}

const char *signing_key_label(const struct signing_key *key)
{
    return key->label;
}

bool signing_key_on_token(const struct signing_key *key)
{
    return key->kind->on_token;
}

void signing_key_free(struct signing_key *key)
{
    if (!key)
        return;
    key->kind->free(key->state);
    public_key_free(key->public_half);
    free(key->label);
    free(key);
}

void signing_key_cleanup(struct signing_key **key)
{
    signing_key_free(*key);
    *key = NULL;
}

int signing_key_sign(struct signing_key *key, const void *msg, size_t len, struct bytes *out,
                     struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    int rc = bytes_append(&text, msg, len, err);
    if (!rc)
        rc = key->kind->sign(key->state, key->public_half, &text, &sig, err);
    if (rc)
        return wrap(err, rc, "%s", key->label);
    /* A faulty signature may give the private key away, and a token's certificate may belong to
     * another key: nothing leaves unverified. */
    rc = public_key_verify(key->public_half, text.data, text.len, sig.data, sig.len, err);
    if (rc == E_SIGNATURE)
        return fail(err, key->kind->mismatch, "%s: its signature does not verify", key->label);
    return rc ? rc : bytes_append(out, sig.data, sig.len, err);
}

static bool is_token_uri(const char *key)
{
    return text_starts(key, "pkcs11:");
}

int signing_key_open(struct keystore *ks, const char *key, struct secret_source *passphrases,
                     struct secret_source *pins, struct signing_key **out, struct error *err)
{
    if (is_token_uri(key))
        return token_open(NULL, key, pins, out, err);
    return keystore_load(ks, key, passphrases, out, err);
}

int public_key_open(struct keystore *ks, const char *key, struct public_key **out,
                    struct error *err)
{
    if (!is_token_uri(key))
        return keystore_public(ks, key, out, err);
    CLEANUP(signing_key_cleanup) struct signing_key *opened = NULL;
    int rc = token_open(NULL, key, NULL, &opened, err);
    if (rc)
        return rc;
    *out = TAKE_PTR(opened->public_half);
    return OK;
}

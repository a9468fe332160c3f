/*
 * What a kind of signing key (file, token) has to offer. Private to keys/.
 */
#ifndef BULLA_KEYS_SIGNING_KEY_KIND_H
#define BULLA_KEYS_SIGNING_KEY_KIND_H

#include "keys/signing_key.h"

struct signing_key_kind {
    /* Appends a signature over msg; signing_key_sign verifies it afterwards. */
    int (*sign)(void *state, const struct public_key *public_half, const struct bytes *msg,
                struct bytes *out, struct error *err);
    void (*free)(void *state);
    /* Code for a signature that does not verify with the public half. */
    int mismatch;
    bool on_token;
};

/* Takes over state and public_half in every case; copies label. */
int signing_key_new(const struct signing_key_kind *kind, void *state,
                    struct public_key *public_half, const char *label, struct signing_key **out,
                    struct error *err) MUST_CHECK;
/* Borrowed state, NULL where key is of another kind. */
void *signing_key_state(const struct signing_key *key, const struct signing_key_kind *kind);

#endif

/*
 * Keys of the signing service that lie on a PKCS#11 token.
 *
 * The token's administrator makes key pairs on it; a collection's new key is one of them that no
 * collection ever had. What is stored of it is its name and its public half. Nothing waits long for
 * a token, and a PIN that it refused is never sent again, or three tries would lock it. One thread
 * per object.
 */
#ifndef BULLA_SIGNER_SERVICE_TOKEN_H
#define BULLA_SIGNER_SERVICE_TOKEN_H

#include "keys/token_host.h"

struct service_token;

struct service_token_options {
    const char *label;       /* of the token; copied */
    const char *module;      /* NULL: p11-kit's proxy; copied */
    const char *collections; /* whose new keys come from it, with * (NULL: all); copied */
    struct secret *pin;      /* moved, also when this fails */
    struct token_host *host; /* NULL: helpers are started here; moved on success only */
};

int service_token_new(const struct service_token_options *options, struct service_token **out,
                      struct error *err) MUST_CHECK;
void service_token_free(struct service_token *token);
void service_token_cleanup(struct service_token **token);

/* Whether the collection's new keys come from the token. NULL: there is none. */
bool service_token_serves(const struct service_token *token, const char *collection);

/* Appends the record of a key for which `taken` says no. E_TOKEN, also where the token has none. */
struct service_token_taken {
    int (*taken)(void *context, const struct key_id *id, bool *out, struct error *err);
    void *context;
};
int service_token_take(struct service_token *token, const struct service_token_taken *taken,
                       struct bytes *record, struct key_id *id, struct error *err) MUST_CHECK;

/* Calls `each` for every key on the token. E_TOKEN where none can be seen. */
int service_token_each(struct service_token *token,
                       int (*each)(void *context, const struct key_id *id, struct error *err),
                       void *context, struct error *err) MUST_CHECK;

/* Whether stored bytes are such a record (and no encrypted key). */
bool service_token_is_record(const struct bytes *stored);
/* The public half, without the token. E_TAMPERED. */
int service_token_public(const struct bytes *record, struct public_key **out,
                         struct error *err) MUST_CHECK;
/* The key on the token; token NULL: E_TOKEN, as for a token that is not there, a key that is not
 * the recorded one. E_PASSPHRASE: the PIN was refused before. */
int service_token_open(struct service_token *token, const struct bytes *record,
                       struct signing_key **out, struct error *err) MUST_CHECK;
/* What came of a signature with one of its keys; NULL: none. */
void service_token_note(struct service_token *token, int rc, const struct error *err);
/* Looks whether the token is there, where nobody had to do with it for a while. NULL: there is
 * none.
 */
void service_token_watch(struct service_token *token);
/* What was found last; NULL: false. */
bool service_token_failing(const struct service_token *token);

#endif

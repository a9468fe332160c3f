/*
 * RFC 7512 `pkcs11:` URIs: the adapter over p11-kit. Used by the helper process only.
 *
 * Private to keys/. One thread per object.
 */
#ifndef BULLA_KEYS_TOKEN_URI_H
#define BULLA_KEYS_TOKEN_URI_H

#include "base/bytes.h"

#define TOKEN_ID_MAX 64 /* CKA_ID; 1 to 32 bytes in practice */

/* A key on a token, as modules name it: texts without their padding. */
struct token_name {
    char label[33];
    char manufacturer[33];
    char model[17];
    char serial[17];
    uint8_t id[TOKEN_ID_MAX];
    size_t id_len;
};

struct token_uri;

/* `pkcs11:…` with the attributes token, manufacturer, model, serial, id, type and the query
 * attribute module-path. E_USAGE: malformed, or attributes that would be ignored (object, slot,
 * library, pin-value…): a URI must not match more than it says. */
int token_uri_parse(const char *text, struct token_uri **out, struct error *err) MUST_CHECK;
void token_uri_free(struct token_uri *uri);
void token_uri_cleanup(struct token_uri **uri);
bool token_uri_matches(struct token_uri *uri, const struct token_name *name);
/* Its module-path, NULL without one. Borrowed. */
const char *token_uri_module(const struct token_uri *uri);
/* The URI that names this key: token, serial, id, type=private. */
int token_uri_format(const struct token_name *name, char *out, size_t size,
                     struct error *err) MUST_CHECK;

#endif

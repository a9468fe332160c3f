/*
 * API tokens and client certificates in the index: other ways to be a user.
 *
 * Only a token's hash is stored. Both go with their user (foreign keys). Functions that change
 * something need a transaction from index_write; the others work in any.
 */
#ifndef BULLA_REGISTRY_INDEX_CREDENTIALS_H
#define BULLA_REGISTRY_INDEX_CREDENTIALS_H

#include "base/digest.h"
#include "oci/reference.h"
#include "registry/index_accounts.h"

#define API_TOKEN_ID_LEN    16u /* hex digits; names the token, says nothing of its secret */
#define API_TOKEN_HASH_LEN  32u
#define ACCESS_PATTERN_MAX  (REFERENCE_REPOSITORY_MAX + 2) /* "prefix" and slash-star */
#define API_TOKENS_PER_USER 100

struct index_api_token {
    char id[API_TOKEN_ID_LEN + 1];
    char user[USER_NAME_MAX + 1];
    uint8_t hash[API_TOKEN_HASH_LEN];
    char pattern[ACCESS_PATTERN_MAX + 1]; /* it works for these repositories only… */
    int64_t actions; /* …and for these actions, as far as the user has them */
    int64_t created_s, expires_s;
};

/* E_NOTFOUND: no such user; E_LIMIT: the user has API_TOKENS_PER_USER. Expired ones are removed. */
int index_api_token_add(struct index_tx *tx, const struct index_api_token *token,
                        struct error *err) MUST_CHECK;
/* E_NOTFOUND. */
int index_api_token_remove(struct index_tx *tx, const char *id, struct error *err) MUST_CHECK;
/* Expired or not. E_NOTFOUND. */
int index_api_token_find(struct index_tx *tx, const char *id, struct index_api_token *out,
                         struct error *err) MUST_CHECK;
/* By user and age; visit returns 0 to go on, or a code. */
int index_api_tokens_each(struct index_tx *tx,
                          int (*visit)(void *context, const struct index_api_token *token,
                                       struct error *err),
                          void *context, struct error *err) MUST_CHECK;

/* E_EXISTS: a certificate stands for one user; E_NOTFOUND: no such user. */
int index_certificate_add(struct index_tx *tx, const struct digest *fingerprint, const char *user,
                          struct error *err) MUST_CHECK;
/* E_NOTFOUND. */
int index_certificate_remove(struct index_tx *tx, const struct digest *fingerprint,
                             struct error *err) MUST_CHECK;
/* user: USER_NAME_MAX + 1 bytes. E_NOTFOUND. */
int index_certificate_find(struct index_tx *tx, const struct digest *fingerprint, char *user,
                           struct error *err) MUST_CHECK;
int index_certificates_each(struct index_tx *tx,
                            int (*visit)(void *context, const char *fingerprint, const char *user,
                                         struct error *err),
                            void *context, struct error *err) MUST_CHECK;

#endif

/*
 * API tokens: passwords made by the registry, for programs.
 *
 * Text: "bulla_" ID "_" SECRET; ID is 16 hex digits, SECRET 43 characters of base64url (256 random
 * bits). The index keeps a hash of the whole text: with that much randomness one pass of HMAC is as
 * good as Argon2id, and costs nobody anything. Thread-safe.
 */
#ifndef BULLA_REGISTRY_API_TOKEN_H
#define BULLA_REGISTRY_API_TOKEN_H

#include "registry/index_credentials.h"

#define API_TOKEN_PREFIX   "bulla_"
#define API_TOKEN_TEXT_LEN (6 + API_TOKEN_ID_LEN + 1 + 43)

/* Fills in id and hash; the text is all there will ever be of the secret. */
void api_token_make(struct index_api_token *token, char text[API_TOKEN_TEXT_LEN + 1]);
/* Whether the text has the form of one; then its id. */
bool api_token_parse(const char *text, char id[API_TOKEN_ID_LEN + 1]);
/* Time does not depend on how much of it is right. */
bool api_token_matches(const struct index_api_token *token, const char *text);

#endif

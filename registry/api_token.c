#include "registry/api_token.h"

#include "keys/secret.h"
#include "registry/password.h"

#include <string.h>

#define SECRET_LEN 43u

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* No key: what is hashed has 256 random bits. The words keep it apart from other uses. */
static void hash_text(const char *text, uint8_t out[API_TOKEN_HASH_LEN])
{
    static const uint8_t key[32] = "API token of a bulla registry";
    _Static_assert(API_TOKEN_HASH_LEN == PASSWORD_MAC_LEN, "length of the hash");
    password_mac(key, (const char *const[]){text, "", ""}, out);
}

void api_token_make(struct index_api_token *token, char text[API_TOKEN_TEXT_LEN + 1])
{
    uint8_t id[API_TOKEN_ID_LEN / 2], secret[SECRET_LEN];
    password_random(id, sizeof id);
    password_random(secret, sizeof secret);
    hex_encode(id, sizeof id, token->id);
    int n = snprintf(text, API_TOKEN_TEXT_LEN + 1, API_TOKEN_PREFIX "%s_", token->id);
    for (size_t i = 0; i < SECRET_LEN; i++)
        text[(size_t)n + i] = alphabet[secret[i] % 64];
    text[API_TOKEN_TEXT_LEN] = '\0';
    secret_wipe(secret, sizeof secret);
    hash_text(text, token->hash);
}

bool api_token_parse(const char *text, char id[API_TOKEN_ID_LEN + 1])
{
    const char *at = text + strlen(API_TOKEN_PREFIX);
    if (strlen(text) != API_TOKEN_TEXT_LEN || !text_starts(text, API_TOKEN_PREFIX) ||
        strspn(at, "0123456789abcdef") != API_TOKEN_ID_LEN || at[API_TOKEN_ID_LEN] != '_' ||
        strspn(at + API_TOKEN_ID_LEN + 1, alphabet) != SECRET_LEN)
        return false;
    memcpy(id, at, API_TOKEN_ID_LEN);
    id[API_TOKEN_ID_LEN] = '\0';
    return true;
}

bool api_token_matches(const struct index_api_token *token, const char *text)
{
    uint8_t hash[API_TOKEN_HASH_LEN];
    hash_text(text, hash);
    return password_mac_equal(hash, token->hash);
}

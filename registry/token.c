#include "registry/token.h"

#include "base/json.h"
#include "registry/password.h"

#include <string.h>

#define HEADER_MAX   256u
#define ID_LEN       16u
#define LIFETIME_MAX 3600 /* whatever the token says of itself */

/* --- base64url without padding, RFC 7515 section 2 --- */

static int encode_part(const void *data, size_t len, struct bytes *out, struct error *err)
{
    size_t start = out->len;
    int rc = base64_encode(data, len, out, err);
    if (rc != 0)
        return rc;
    while (out->len > start && out->data[out->len - 1] == '=')
        out->data[--out->len] = '\0';
    for (size_t i = start; i < out->len; i++)
        if (out->data[i] == '+')
            out->data[i] = '-';
        else if (out->data[i] == '/')
            out->data[i] = '_';
    return 0;
}

/* Strict: one text for one content, so that no bit of a token can be changed. */
static int decode_part(const char *text, size_t len, struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes padded = BYTES_INIT;
    int rc = bytes_append(&padded, text, len, err);
    for (size_t i = 0; rc == 0 && i < len; i++) {
        uint8_t *c = &padded.data[i];
        if (*c == '+' || *c == '/' || *c == '=')
            return fail(err, E_UNAUTHORIZED, "the token is malformed");
        *c = *c == '-' ? '+' : *c == '_' ? '/' : *c;
    }
    while (rc == 0 && padded.len % 4 != 0)
        rc = bytes_append_text(&padded, "=", err);
    if (rc == 0)
        rc = base64_decode(bytes_text(&padded), padded.len, out, err);
    return rc == E_INVALID ? fail(err, E_UNAUTHORIZED, "the token is malformed") : rc;
}

/* --- issuing --- */

static int add_actions(struct js *entry, unsigned actions, struct error *err)
{
    char text[ACCESS_ACTIONS_TEXT_MAX];
    struct js *list = js_array_new();
    int rc = list ? 0 : fail_nomem(err);
    for (unsigned bit = 1; rc == 0 && bit <= ACCESS_ALL; bit <<= 1)
        if (actions & bit)
            rc = js_push(list, js_text_new(access_actions_format(bit, text)), err);
    if (rc == 0)
        rc = js_set(entry, "actions", TAKE_PTR(list), err);
    js_free(list);
    return rc;
}

static int add_access(struct js *list, const char *type, const char *name, unsigned actions,
                      struct error *err)
{
    CLEANUP(js_cleanup) struct js *entry = js_object_new();
    int rc = js_set(entry, "type", js_text_new(type), err);
    if (rc == 0)
        rc = js_set(entry, "name", js_text_new(name), err);
    if (rc == 0)
        rc = add_actions(entry, actions, err);
    return rc == 0 ? js_push(list, TAKE_PTR(entry), err) : rc;
}

static int set_scopes(struct js *claims, const struct access_scopes *scopes, struct error *err)
{
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    int rc = list ? 0 : fail_nomem(err);
    for (size_t i = 0; rc == 0 && i < scopes->n; i++)
        if (scopes->list[i].actions)
            rc = add_access(list, "repository", scopes->list[i].repository, scopes->list[i].actions,
                            err);
    if (rc == 0 && scopes->catalog)
        rc = add_access(list, "registry", "catalog", 0, err);
    return rc == 0 ? js_set(claims, "access", TAKE_PTR(list), err) : rc;
}

static int set_times(struct js *claims, const struct token_order *order, struct error *err)
{
    uint8_t random[ID_LEN];
    char id[2 * ID_LEN + 1];
    password_random(random, sizeof random);
    hex_encode(random, sizeof random, id);
    int rc = js_set(claims, "iat", js_int_new(order->now_s), err);
    if (rc == 0)
        rc = js_set(claims, "nbf", js_int_new(order->now_s), err);
    if (rc == 0)
        rc = js_set(claims, "exp", js_int_new(order->now_s + order->lifetime_s), err);
    return rc == 0 ? js_set(claims, "jti", js_text_new(id), err) : rc;
}

static int claims_write(const struct token_order *order, struct bytes *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *claims = js_object_new();
    int rc = js_set(claims, "iss", js_text_new(TOKEN_SERVICE), err);
    if (rc == 0)
        rc = js_set(claims, "aud", js_text_new(TOKEN_SERVICE), err);
    if (rc == 0)
        rc = js_set(claims, "sub", js_text_new(order->who->name), err);
    if (rc == 0)
        rc = js_set(claims, "serial", js_int_new(order->who->serial), err);
    if (rc == 0)
        rc = js_set(claims, "api", js_text_new(order->who->api_token), err);
    if (rc == 0)
        rc = set_times(claims, order, err);
    if (rc == 0)
        rc = set_scopes(claims, order->scopes, err);
    return rc == 0 ? js_write(claims, false, out, err) : rc;
}

int token_issue(struct token_keys *keys, const struct token_order *order, struct bytes *out,
                struct error *err)
{
    CLEANUP(bytes_done) struct bytes claims = BYTES_INIT, text = BYTES_INIT;
    char id[TOKEN_KEY_ID_LEN + 1], header[HEADER_MAX];
    uint8_t sig[TOKEN_SIGNATURE_LEN];
    int rc = token_keys_current(keys, id, err);
    if (rc == 0)
        rc = claims_write(order, &claims, err);
    if (rc != 0)
        return rc;
    snprintf(header, sizeof header, "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"JWT\"}", id);
    rc = encode_part(header, strlen(header), &text, err);
    if (rc == 0)
        rc = bytes_append_text(&text, ".", err);
    if (rc == 0)
        rc = encode_part(claims.data, claims.len, &text, err);
    if (rc == 0)
        rc = token_keys_sign(keys, id, text.data, text.len, sig, err);
    if (rc == 0)
        rc = bytes_append_text(&text, ".", err);
    if (rc == 0)
        rc = encode_part(sig, sizeof sig, &text, err);
    if (rc == 0 && text.len > TOKEN_TEXT_MAX)
        rc = fail(err, E_LIMIT, "too many scopes for one token");
    return rc == 0 ? bytes_append(out, text.data, text.len, err) : rc;
}

/* --- reading --- */

static int refused(struct error *err, const char *why)
{
    return fail(err, E_UNAUTHORIZED, "the token is %s", why);
}

/* Three parts between two dots. */
struct parts {
    const char *header, *claims, *signature;
    size_t header_len, claims_len, signature_len;
};

static int split(const char *text, struct parts *out, struct error *err)
{
    size_t len = strnlen(text, TOKEN_TEXT_MAX + 1);
    const char *first = len <= TOKEN_TEXT_MAX ? strchr(text, '.') : NULL;
    const char *second = first ? strchr(first + 1, '.') : NULL;
    if (len > TOKEN_TEXT_MAX)
        return refused(err, "too long");
    if (!second || strchr(second + 1, '.'))
        return refused(err, "malformed");
    *out = (struct parts){text,
                          first + 1,
                          second + 1,
                          (size_t)(first - text),
                          (size_t)(second - first - 1),
                          len - (size_t)(second + 1 - text)};
    return out->header_len <= HEADER_MAX ? 0 : refused(err, "malformed");
}

/* Strict JSON of exactly these members. */
static int parse_object(const char *text, size_t len, const char *const *members, struct js **out,
                        struct error *err)
{
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    int rc = decode_part(text, len, &json, err);
    if (rc != 0)
        return rc;
    rc = js_parse(json.data, json.len, out, err);
    if (rc == 0)
        rc = js_only_keys(*out, members, err);
    return rc == 0 || rc == E_NOMEM ? rc : refused(err, "malformed");
}

static bool says(const struct js *object, const char *key, const char *value)
{
    const char *text = js_text(js_get(object, key));
    return text && strcmp(text, value) == 0;
}

/* The key's id. What else a header may carry (jwk, jku, x5c, crit) is what forgers write there. */
static int read_header(const struct parts *p, char id[TOKEN_KEY_ID_LEN + 1], struct error *err)
{
    static const char *const members[] = {"alg", "kid", "typ", NULL};
    CLEANUP(js_cleanup) struct js *header = NULL;
    int rc = parse_object(p->header, p->header_len, members, &header, err);
    if (rc != 0)
        return rc;
    const char *kid = js_text(js_get(header, "kid"));
    if (!says(header, "alg", "EdDSA") || !says(header, "typ", "JWT") || !kid ||
        strlen(kid) != TOKEN_KEY_ID_LEN)
        return refused(err, "not of this registry");
    memcpy(id, kid, TOKEN_KEY_ID_LEN + 1);
    return 0;
}

static int check_signature(struct token_keys *keys, const struct parts *p, const char *id,
                           struct error *err)
{
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    int rc = decode_part(p->signature, p->signature_len, &sig, err);
    if (rc != 0)
        return rc;
    if (sig.len != TOKEN_SIGNATURE_LEN)
        return refused(err, "malformed");
    size_t signed_len = p->header_len + 1 + p->claims_len;
    rc = token_keys_verify(keys, id, p->header, signed_len, sig.data, err);
    if (rc == E_NOTFOUND)
        return refused(err, "signed by a key that is not in use");
    return rc == E_SIGNATURE ? refused(err, "forged") : rc;
}

static int check_times(const struct js *claims, int64_t now_s, struct error *err)
{
    int64_t issued = 0, start = 0, end = 0;
    if (js_want_int(claims, "iat", 0, INT64_MAX / 2, &issued, NULL) != 0 ||
        js_want_int(claims, "nbf", 0, INT64_MAX / 2, &start, NULL) != 0 ||
        js_want_int(claims, "exp", 0, INT64_MAX / 2, &end, NULL) != 0 || end <= issued ||
        end - issued > LIFETIME_MAX)
        return refused(err, "malformed");
    if (end <= now_s)
        return refused(err, "expired");
    if (start > now_s + TOKEN_SKEW_S || issued > now_s + TOKEN_SKEW_S)
        return refused(err, "not valid yet");
    return 0;
}

static int read_actions(const struct js *entry, unsigned *out, struct error *err)
{
    const struct js *list = NULL;
    if (js_want_array(entry, "actions", &list, NULL) != 0)
        return refused(err, "malformed");
    *out = 0;
    for (size_t i = 0; i < js_count(list); i++) {
        const char *word = js_text(js_at(list, i));
        unsigned bit = word ? access_action_bit(word, strlen(word)) : 0;
        if (!bit)
            return refused(err, "malformed");
        *out |= bit;
    }
    return 0;
}

static int read_access(const struct js *entry, struct access_scopes *out, struct error *err)
{
    static const char *const members[] = {"type", "name", "actions", NULL};
    const char *name = js_text(js_get(entry, "name"));
    unsigned actions = 0;
    if (js_type(entry) != JS_OBJECT || js_only_keys(entry, members, NULL) != 0 || !name)
        return refused(err, "malformed");
    int rc = read_actions(entry, &actions, err);
    if (rc != 0)
        return rc;
    if (says(entry, "type", "registry") && strcmp(name, "catalog") == 0) {
        out->catalog = true;
        return 0;
    }
    if (!says(entry, "type", "repository") || !repository_name_valid(name, strlen(name)))
        return refused(err, "malformed");
    rc = access_scopes_add(out, name, actions, err);
    return rc == E_LIMIT ? refused(err, "malformed") : rc;
}

static int read_claims(const struct js *claims, struct access_identity *out, struct error *err)
{
    const struct js *list = NULL;
    const char *name = js_text(js_get(claims, "sub")), *api = js_text(js_get(claims, "api"));
    bool is_user = false;
    if (!says(claims, "iss", TOKEN_SERVICE) || !says(claims, "aud", TOKEN_SERVICE))
        return refused(err, "for another service");
    if (!name || access_subject_check(name, &is_user, NULL) != 0 || !api ||
        strlen(api) >= sizeof out->api_token ||
        js_want_int(claims, "serial", 0, INT64_MAX, &out->serial, NULL) != 0 ||
        js_want_array(claims, "access", &list, NULL) != 0 || !js_text(js_get(claims, "jti")))
        return refused(err, "malformed");
    memcpy(out->name, name, strlen(name) + 1);
    memcpy(out->api_token, api, strlen(api) + 1);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < js_count(list); i++)
        rc = read_access(js_at(list, i), &out->scopes, err);
    return rc;
}

int token_read(struct token_keys *keys, const char *text, int64_t now_s,
               struct access_identity *out, struct error *err)
{
    static const char *const members[] = {"iss", "aud", "sub", "serial", "api", "iat",
                                          "nbf", "exp", "jti", "access", NULL};
    CLEANUP(access_identity_done)
    struct access_identity who = {.method = ACCESS_BY_BEARER};
    CLEANUP(js_cleanup) struct js *claims = NULL;
    struct parts parts = {.header = NULL};
    char id[TOKEN_KEY_ID_LEN + 1];
    int rc = split(text, &parts, err);
    if (rc == 0)
        rc = read_header(&parts, id, err);
    /* Nothing of the claims is looked at before the signature over them holds. */
    if (rc == 0)
        rc = check_signature(keys, &parts, id, err);
    if (rc == 0)
        rc = parse_object(parts.claims, parts.claims_len, members, &claims, err);
    if (rc == 0)
        rc = check_times(claims, now_s, err);
    if (rc == 0)
        rc = read_claims(claims, &who, err);
    if (rc != 0)
        return rc;
    *out = who;
    who.scopes = (struct access_scopes){NULL, 0, false};
    return 0;
}

#include "registry/token_request.h"

#include "keys/secret.h"

#include <string.h>

#define SCOPE_MAX 4096u /* decoded, with several in one value */

/* --- application/x-www-form-urlencoded --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of text[*at..len); a NUL would end what follows early. */
static int decode_byte(const char *text, size_t len, size_t *at, char *out)
{
    char c = text[(*at)++];
    if (c == '%') {
        int high = *at + 1 < len ? hex_digit(text[*at]) : -1;
        int low = high >= 0 ? hex_digit(text[*at + 1]) : -1;
        if (low < 0)
            return -1;
        *at += 2;
        c = (char)(high << 4 | low);
    }
    *out = c;
    return c ? 0 : -1;
}

static int decode(const char *text, size_t len, char *out, size_t size, struct error *err)
{
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        bool blank = text[at] == '+';
        if (n + 1 >= size)
            return fail(err, E_INVALID, "a value is too long");
        if (decode_byte(text, len, &at, &out[n]) != 0)
            return fail(err, E_INVALID, "a broken escape");
        if (blank)
            out[n] = ' ';
        n++;
    }
    out[n] = '\0';
    return 0;
}

/* --- scopes --- */

/* "pull,push": bits; unknown words ask for nothing. */
static unsigned read_actions(const char *text, size_t len)
{
    unsigned bits = 0;
    for (size_t at = 0; at <= len;) {
        const char *comma = memchr(text + at, ',', len - at);
        size_t word = comma ? (size_t)(comma - text) - at : len - at;
        if (word == 1 && text[at] == '*')
            bits |= ACCESS_ALL;
        else
            bits |= access_action_bit(text + at, word);
        at += word + 1;
    }
    return bits;
}

static int read_scope(const char *text, size_t len, struct access_scopes *out, struct error *err)
{
    char name[REFERENCE_REPOSITORY_MAX + 1];
    const char *first = memchr(text, ':', len), *last = memrchr(text, ':', len);
    if (!first || first == last)
        return fail(err, E_INVALID, "a scope is not TYPE:NAME:ACTIONS");
    size_t type_len = (size_t)(first - text), name_len = (size_t)(last - first - 1);
    unsigned actions = read_actions(last + 1, len - (size_t)(last + 1 - text));
    if (type_len == 8 && memcmp(text, "registry", 8) == 0) {
        out->catalog |= name_len == 7 && memcmp(first + 1, "catalog", 7) == 0 && actions;
        return 0;
    }
    if (type_len != 10 || memcmp(text, "repository", 10) != 0 || !actions ||
        name_len >= sizeof name || !repository_name_valid(first + 1, name_len))
        return 0; /* granted to nobody */
    memcpy(name, first + 1, name_len);
    name[name_len] = '\0';
    return access_scopes_add(out, name, actions, err);
}

static int read_scopes(const char *text, struct access_scopes *out, struct error *err)
{
    int rc = 0;
    for (const char *at = text; rc == 0 && *at;) {
        at += strspn(at, " ");
        size_t len = strcspn(at, " ");
        if (len > 0)
            rc = read_scope(at, len, out, err);
        at += len;
    }
    return rc;
}

/* --- members --- */

struct member {
    const char *name;
    char *value;
    size_t size;
};

static int take_member(const char *name, const char *value, size_t len,
                       struct token_request *request, struct error *err)
{
    const struct member members[] = {
        {"grant_type", request->grant_type, sizeof request->grant_type},
        {"service", request->service, sizeof request->service},
        {"username", request->username, sizeof request->username},
        {"password", request->password, sizeof request->password},
        {"refresh_token", request->refresh_token, sizeof request->refresh_token}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (strcmp(members[i].name, name) != 0)
            continue;
        if (members[i].value[0])
            return fail(err, E_INVALID, "'%s' is given twice", name);
        return wrap(err, decode(value, len, members[i].value, members[i].size, err), "'%s'", name);
    }
    return 0;
}

static int take_pair(const char *pair, size_t len, struct token_request *request, struct error *err)
{
    char name[16], scope[SCOPE_MAX];
    const char *equals = memchr(pair, '=', len);
    size_t name_len = equals ? (size_t)(equals - pair) : len;
    /* A name too long for ours is none of ours. */
    if (!equals || decode(pair, name_len, name, sizeof name, NULL) != 0)
        return 0;
    size_t value_len = len - name_len - 1;
    if (strcmp(name, "scope") != 0)
        return take_member(name, equals + 1, value_len, request, err);
    int rc = decode(equals + 1, value_len, scope, sizeof scope, err);
    return rc == 0 ? read_scopes(scope, &request->scopes, err) : wrap(err, rc, "'scope'");
}

int token_request_parse(const char *text, size_t len, struct token_request *out, struct error *err)
{
    *out = (struct token_request){.grant_type = ""};
    if (len > TOKEN_REQUEST_MAX)
        return fail(err, E_INVALID, "more than %u bytes", TOKEN_REQUEST_MAX);
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < len;) {
        const char *end = memchr(text + at, '&', len - at);
        size_t pair = end ? (size_t)(end - text) - at : len - at;
        rc = take_pair(text + at, pair, out, err);
        at += pair + 1;
    }
    return rc;
}

void token_request_done(struct token_request *request)
{
    access_scopes_done(&request->scopes);
    secret_wipe(request, sizeof *request);
}

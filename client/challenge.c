#include "client/challenge.h"

#include <string.h>
#include <strings.h>

struct cursor {
    const char *at, *end;
};

static bool is_token_char(char c)
{
    return c > ' ' && c <= '~' && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
}

/* RFC 9110 5.6.2; *token is borrowed. */
static size_t take_token(struct cursor *c, const char **token)
{
    *token = c->at;
    while (c->at < c->end && is_token_char(*c->at))
        c->at++;
    return (size_t)(c->at - *token);
}

/* RFC 9110 5.6.4 quoted-string, or the token68 and URL characters servers send unquoted. */
static int take_value(struct cursor *c, char out[CHALLENGE_VALUE_MAX + 1], struct error *err)
{
    bool quoted = c->at < c->end && *c->at == '"';
    size_t n = 0;
    if (quoted)
        c->at++;
    for (; c->at < c->end; c->at++) {
        char ch = *c->at;
        if (quoted ? ch == '"' : (ch == ',' || ch == ' ' || ch == '\t'))
            break;
        if (quoted && ch == '\\' && ++c->at < c->end)
            ch = *c->at;
        if (c->at == c->end || ch < ' ' || ch > '~' || n == CHALLENGE_VALUE_MAX)
            return fail(err, E_PROTOCOL, "a value in WWW-Authenticate is too long or not text");
        out[n++] = ch;
    }
    if (quoted && c->at == c->end)
        return fail(err, E_PROTOCOL, "a quote in WWW-Authenticate is not closed");
    if (quoted)
        c->at++;
    out[n] = '\0';
    return OK;
}

static char *slot_for(struct challenge *ch, const char *name, size_t len)
{
    if (len == 5 && strncasecmp(name, "realm", 5) == 0)
        return ch->realm;
    if (len == 7 && strncasecmp(name, "service", 7) == 0)
        return ch->service;
    if (len == 5 && strncasecmp(name, "scope", 5) == 0)
        return ch->scope;
    return NULL;
}

static int take_parameter(struct cursor *c, struct challenge *ch, struct error *err)
{
    const char *name;
    size_t len = take_token(c, &name);
    skip_blanks(c);
    if (len == 0 || c->at == c->end || *c->at != '=')
        return fail(err, E_PROTOCOL, "WWW-Authenticate is not scheme name=\"value\", …");
    c->at++;
    skip_blanks(c);
    char value[CHALLENGE_VALUE_MAX + 1];
    int rc = take_value(c, value, err);
    char *slot = slot_for(ch, name, len);
    if (rc || !slot)
        return rc;
    if (*slot)
        return fail(err, E_PROTOCOL, "WWW-Authenticate names '%.*s' twice", (int)len, name);
    memcpy(slot, value, strlen(value) + 1);
    return OK;
}

static enum challenge_scheme scheme_of(const char *name, size_t len)
{
    if (len == 5 && strncasecmp(name, "basic", 5) == 0)
        return CHALLENGE_BASIC;
    if (len == 6 && strncasecmp(name, "bearer", 6) == 0)
        return CHALLENGE_BEARER;
    return CHALLENGE_OTHER;
}

int challenge_parse(const char *text, size_t len, struct challenge *out, struct error *err)
{
    struct cursor c = {text, text + len};
    struct challenge ch = {0};
    const char *scheme;
    skip_blanks(&c);
    size_t scheme_len = take_token(&c, &scheme);
    if (scheme_len == 0)
        return fail(err, E_PROTOCOL, "WWW-Authenticate names no scheme");
    ch.scheme = scheme_of(scheme, scheme_len);
    skip_blanks(&c);
    /* Parameters of schemes we do not speak (Negotiate's base64, say) have their own forms. */
    while (ch.scheme != CHALLENGE_OTHER && c.at < c.end) {
        int rc = take_parameter(&c, &ch, err);
        if (rc)
            return rc;
        skip_blanks(&c);
        if (c.at < c.end && *c.at++ != ',')
            return fail(err, E_PROTOCOL, "WWW-Authenticate lacks a comma between parameters");
        skip_blanks(&c);
    }
    *out = ch;
    return OK;
}

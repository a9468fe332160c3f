#include "oci/reference.h"

#include <string.h>

#define REFERENCE_EXAMPLE "registry.example.com/team/app:v1"

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* Length of a separator at p: ".", "_", "__" or any number of "-"; 0: none. */
static size_t separator_len(const char *p, size_t len)
{
    size_t n = 0;
    if (*p == '-') {
        while (n < len && p[n] == '-')
            n++;
        return n;
    }
    if (*p == '_')
        return len > 1 && p[1] == '_' ? 2 : 1;
    return *p == '.';
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* */
static bool component_valid(const char *p, size_t len)
{
    bool need_char = true;
    for (size_t i = 0; i < len;) {
        if (is_lower_alnum(p[i])) {
            need_char = false;
            i++;
            continue;
        }
        size_t n = need_char ? 0 : separator_len(p + i, len - i);
        if (!n)
            return false;
        need_char = true;
        i += n;
    }
    return !need_char;
}

bool repository_name_valid(const char *name, size_t len)
{
    if (len > REFERENCE_REPOSITORY_MAX)
        return false;
    const char *end = name + len;
    for (;;) {
        const char *slash = memchr(name, '/', (size_t)(end - name));
        const char *stop = slash ? slash : end;
        if (!component_valid(name, (size_t)(stop - name)))
            return false;
        if (!slash)
            return true;
        name = slash + 1;
    }
}

bool tag_name_valid(const char *tag, size_t len)
{
    if (len == 0 || len > REFERENCE_TAG_MAX || !(is_alnum(tag[0]) || tag[0] == '_'))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_alnum(tag[i]) && tag[i] != '_' && tag[i] != '.' && tag[i] != '-')
            return false;
    return true;
}

/* Labels of letters, digits and inner hyphens (RFC 1123), or dotted digits. */
static bool dns_name_valid(const char *p, size_t len)
{
    if (len == 0 || len > 253)
        return false;
    size_t label = 0;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '.') {
            if (!label || p[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        if (!(is_alnum(p[i]) || (p[i] == '-' && label)) || ++label > 63)
            return false;
    }
    return label && p[len - 1] != '-';
}

/* "[…]" of an IPv6 address; the resolver judges its meaning, only harmless bytes pass here. */
static bool ipv6_literal_valid(const char *p, size_t len)
{
    if (len < 4 || len > 47 || p[0] != '[' || p[len - 1] != ']')
        return false;
    size_t colons = 0;
    for (size_t i = 1; i + 1 < len; i++) {
        colons += p[i] == ':';
        if (!strchr("0123456789abcdefABCDEF:.", p[i]) || !p[i])
            return false;
    }
    return colons >= 2;
}

static bool port_valid(const char *p, size_t len)
{
    uint64_t port;
    return len >= 1 && len <= 5 && p[0] != '0' && text_to_u64(p, len, 65535, &port, NULL) == OK;
}

static bool host_valid(const char *p, size_t len)
{
    const char *name_end = p + len;
    const char *close = p[0] == '[' ? memchr(p, ']', len) : NULL;
    const char *search = close ? close : p;
    const char *colon = memchr(search, ':', (size_t)(name_end - search));
    if (colon) {
        if (!port_valid(colon + 1, (size_t)(name_end - colon - 1)))
            return false;
        name_end = colon;
    }
    size_t name_len = (size_t)(name_end - p);
    return p[0] == '[' ? ipv6_literal_valid(p, name_len) : dns_name_valid(p, name_len);
}

/* The first component is a host only where nobody can take it for a repository: "acme/app" must not
 * quietly become the host "acme". */
static bool looks_like_host(const char *p, size_t len)
{
    return memchr(p, '.', len) || memchr(p, ':', len) || bytes_equal(p, len, "localhost", 9);
}

static int parse_host(const char *text, size_t len, struct reference *out, struct error *err)
{
    if (!looks_like_host(text, len))
        return fail(err, E_USAGE, "reference names no registry host (write '%s' or 'localhost/%s')",
                    REFERENCE_EXAMPLE, "team/app:v1");
    if (len > REFERENCE_HOST_MAX || !host_valid(text, len))
        return fail(err, E_USAGE, "registry host '%.*s' is malformed (write '%s')",
                    (int)(len > 80 ? 80 : len), text, REFERENCE_EXAMPLE);
    /* Host names ignore case; one spelling keeps policies and trust stores unambiguous. */
    for (size_t i = 0; i < len; i++)
        out->host[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
    out->host[len] = '\0';
    return OK;
}

/* repository[:tag] */
static int parse_path(const char *path, size_t len, struct reference *out, struct error *err)
{
    const char *colon = memchr(path, ':', len);
    size_t name_len = colon ? (size_t)(colon - path) : len;
    if (!repository_name_valid(path, name_len))
        return fail(err, E_USAGE,
                    "repository '%.*s' is malformed (lower-case letters, digits, single '.', '_', "
                    "'-' between them, at most %d bytes; for example '%s')",
                    (int)(name_len > 80 ? 80 : name_len), path, REFERENCE_REPOSITORY_MAX,
                    REFERENCE_EXAMPLE);
    memcpy(out->repository, path, name_len);
    if (!colon)
        return OK;
    size_t tag_len = len - name_len - 1;
    if (!tag_name_valid(colon + 1, tag_len))
        return fail(err, E_USAGE,
                    "tag '%.*s' is malformed (at most %d letters, digits, '.', '_', '-'; for "
                    "example '%s')",
                    (int)(tag_len > 80 ? 80 : tag_len), colon + 1, REFERENCE_TAG_MAX,
                    REFERENCE_EXAMPLE);
    memcpy(out->tag, colon + 1, tag_len);
    return OK;
}

static int parse_digest(const char *text, struct reference *out, struct error *err)
{
    int rc = digest_parse_text(text, &out->digest, err);
    if (!rc)
        return OK;
    if (rc == E_INVALID || rc == E_UNSUPPORTED)
        return fail(err, E_USAGE, "digest '%.80s' is malformed (write 'sha256:' and 64 hex digits)",
                    text);
    return rc;
}

int reference_parse(const char *text, struct reference *out, struct error *err)
{
    const char *slash = strchr(text, '/');
    if (!slash)
        return fail(err, E_USAGE, "reference '%.80s' is malformed (write '%s')", text,
                    REFERENCE_EXAMPLE);
    struct reference ref = {.digest = {.alg = DIGEST_NONE}};
    const char *at = strchr(slash, '@');
    const char *path = slash + 1;
    int rc = parse_host(text, (size_t)(slash - text), &ref, err);
    if (!rc)
        rc = parse_path(path, at ? (size_t)(at - path) : strlen(path), &ref, err);
    if (!rc && at)
        rc = parse_digest(at + 1, &ref, err);
    if (rc)
        return rc;
    if (!at && !ref.tag[0])
        memcpy(ref.tag, "latest", sizeof "latest");
    *out = ref;
    return OK;
}

const char *reference_format(const struct reference *ref, char out[REFERENCE_TEXT_MAX])
{
    char digest[DIGEST_TEXT_MAX] = "";
    if (ref->digest.alg != DIGEST_NONE)
        (void)digest_format(&ref->digest, digest);
    (void)snprintf(out, REFERENCE_TEXT_MAX, "%s/%s%s%s%s%s", ref->host, ref->repository,
                   ref->tag[0] ? ":" : "", ref->tag, digest[0] ? "@" : "", digest);
    return out;
}

#include "registry/access.h"

#include "registry/index_accounts.h"

#include <string.h>

static const struct {
    const char *name;
    unsigned bit;
} actions_table[] = {{"pull", ACCESS_PULL},
                     {"push", ACCESS_PUSH},
                     {"delete", ACCESS_DELETE},
                     {"sign", ACCESS_SIGN},
                     {"admin", ACCESS_ADMIN}};
#define N_ACTIONS (sizeof actions_table / sizeof *actions_table)

static unsigned action_bit(const char *word, size_t len)
{
    for (size_t i = 0; i < N_ACTIONS; i++)
        if (strlen(actions_table[i].name) == len && memcmp(actions_table[i].name, word, len) == 0)
            return actions_table[i].bit;
    return 0;
}

int access_actions_parse(const char *text, unsigned *out, struct error *err)
{
    unsigned bits = 0;
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        unsigned bit = action_bit(p, len);
        if (!bit)
            return fail(err, E_USAGE,
                        "unknown action '%.*s': use pull, push, delete, sign, admin, "
                        "separated by commas",
                        (int)len, p);
        bits |= bit;
        p += len;
        if (!*p)
            break;
    }
    *out = bits;
    return 0;
}

const char *access_actions_format(unsigned actions, char out[ACCESS_ACTIONS_TEXT_MAX])
{
    out[0] = '\0';
    size_t used = 0;
    for (size_t i = 0; i < N_ACTIONS; i++)
        if (actions & actions_table[i].bit)
            used += (size_t)snprintf(out + used, ACCESS_ACTIONS_TEXT_MAX - used, "%s%s",
                                     used ? "," : "", actions_table[i].name);
    return out;
}

int access_pattern_check(const char *pattern, struct error *err)
{
    size_t len = strlen(pattern);
    if (strcmp(pattern, "*") == 0)
        return 0;
    if (len > 2 && strcmp(pattern + len - 2, "/*") == 0)
        len -= 2;
    if (!repository_name_valid(pattern, len))
        return fail(err, E_USAGE, "pattern '%s' is neither a repository, nor 'prefix/*', nor '*'",
                    pattern);
    return 0;
}

int access_subject_check(const char *subject, bool *is_user, struct error *err)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(subject);
    if (len == 0 || len > USER_NAME_MAX || !strchr(first, subject[0]) ||
        strspn(subject, rest) != len)
        return fail(err, E_USAGE,
                    "name '%s' is not valid: lower-case letters, digits, '.', '_', '-'; at most %d",
                    subject, USER_NAME_MAX);
    *is_user = strcmp(subject, ACCESS_ANONYMOUS) != 0;
    return 0;
}

bool access_pattern_matches(const char *pattern, const char *repository)
{
    if (strcmp(pattern, "*") == 0)
        return true;
    size_t len = strlen(pattern);
    if (len > 2 && strcmp(pattern + len - 2, "/*") == 0)
        return strncmp(pattern, repository, len - 1) == 0 && repository[len - 1] != '\0';
    return strcmp(pattern, repository) == 0;
}

static bool reads(enum http_method method)
{
    return method == HTTP_GET || method == HTTP_HEAD;
}

/* 0: the endpoint has no such method; else the actions, or KNOWN where none are asked for. */
#define KNOWN 128u

static unsigned needed(const struct route *route, enum http_method method)
{
    switch (route->kind) {
    case ROUTE_BASE:
    case ROUTE_CATALOG:
    case ROUTE_HEALTH:
    case ROUTE_READY:
        return reads(method) ? KNOWN : 0;
    case ROUTE_METRICS: /* of everything: only a grant on '*' matches no repository */
        return reads(method) ? ACCESS_ADMIN : 0;
    case ROUTE_MANIFEST:
        if (method == HTTP_PUT)
            return ACCESS_PUSH;
        return reads(method) ? ACCESS_PULL : method == HTTP_DELETE ? ACCESS_DELETE : 0;
    case ROUTE_BLOB:
        return reads(method) ? ACCESS_PULL : method == HTTP_DELETE ? ACCESS_DELETE : 0;
    case ROUTE_UPLOADS:
        return method == HTTP_POST ? ACCESS_PUSH : 0;
    case ROUTE_UPLOAD:
        return method == HTTP_POST || method == HTTP_OTHER ? 0 : ACCESS_PUSH;
    case ROUTE_TRUST:
        return method == HTTP_POST ? ACCESS_SIGN : 0;
    case ROUTE_TRUST_KEY:
        return reads(method) ? ACCESS_SIGN : 0;
    case ROUTE_TAGS:
    case ROUTE_REFERRERS:
    case ROUTE_TRUST_FILE:
    case ROUTE_TRUST_TARGET:
        return reads(method) ? ACCESS_PULL : 0;
    }
    return 0;
}

int access_needed(const struct route *route, enum http_method method, unsigned *actions,
                  struct error *err)
{
    unsigned bits = needed(route, method);
    if (bits == 0)
        return fail(err, E_UNSUPPORTED, "this endpoint has no such method");
    *actions = bits & ACCESS_ALL;
    return 0;
}

struct wanted {
    const char *repository;
    unsigned missing;
};

static int look_at_grant(void *context, const struct index_grant *grant, struct error *err)
{
    (void)err;
    struct wanted *wanted = context;
    if (access_pattern_matches(grant->pattern, wanted->repository))
        wanted->missing &= ~(unsigned)grant->actions;
    return wanted->missing == 0;
}

int access_check(struct index_tx *tx, const char *subject, const char *repository, unsigned actions,
                 struct error *err)
{
    struct wanted wanted = {repository, actions};
    if (actions == 0)
        return 0;
    int rc = index_grants_each(tx, subject, look_at_grant, &wanted, err);
    if (rc == 0 && wanted.missing) {
        char text[ACCESS_ACTIONS_TEXT_MAX];
        return fail(err, E_DENIED, "'%s' may not %s in '%s'", subject,
                    access_actions_format(wanted.missing, text), repository);
    }
    return rc;
}

#include "registry/access.h"

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

unsigned access_action_bit(const char *word, size_t len)
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
        unsigned bit = access_action_bit(p, len);
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

static int check_name(const char *subject, struct error *err)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(subject);
    if (len == 0 || len > USER_NAME_MAX || !strchr(first, subject[0]) ||
        strspn(subject, rest) != len)
        return fail(err, E_USAGE,
                    "name '%s' is not valid: lower-case letters, digits, '.', '_', '-'; at most %d",
                    subject, USER_NAME_MAX);
    return 0;
}

int access_subject_check(const char *subject, bool *is_user, struct error *err)
{
    int rc = check_name(subject, err);
    if (rc == 0)
        *is_user = strcmp(subject, ACCESS_ANONYMOUS) != 0;
    return rc;
}

int access_group_check(const char *group, struct error *err)
{
    return check_name(group, err);
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

bool access_pattern_covers(const char *wide, const char *narrow)
{
    size_t len = strlen(wide);
    if (strcmp(wide, "*") == 0 || strcmp(wide, narrow) == 0)
        return true;
    return len > 2 && strcmp(wide + len - 2, "/*") == 0 && strncmp(wide, narrow, len - 1) == 0 &&
           narrow[len - 1] != '\0';
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
    case ROUTE_TOKEN:
        return reads(method) || method == HTTP_POST ? KNOWN : 0;
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
        return reads(method) ? ACCESS_SIGN : method == HTTP_POST ? ACCESS_ADMIN : 0;
    case ROUTE_TRUST_MIRROR:
        return reads(method) || method == HTTP_POST ? ACCESS_ADMIN : 0;
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

unsigned access_scope_wanted(unsigned actions)
{
    if (actions & (ACCESS_PUSH | ACCESS_SIGN))
        actions |= ACCESS_PULL;
    return actions & ACCESS_SIGN ? actions | ACCESS_ADMIN : actions;
}

/* --- identities --- */

static struct access_scope *find_scope(const struct access_scopes *scopes, const char *repository)
{
    for (size_t i = 0; i < scopes->n; i++)
        if (strcmp(scopes->list[i].repository, repository) == 0)
            return &scopes->list[i];
    return NULL;
}

int access_scopes_add(struct access_scopes *scopes, const char *repository, unsigned actions,
                      struct error *err)
{
    struct access_scope *scope = find_scope(scopes, repository);
    size_t len = strlen(repository);
    if (scope) {
        scope->actions |= actions;
        return 0;
    }
    if (len > REFERENCE_REPOSITORY_MAX)
        return fail(err, E_LIMIT, "a repository's name is too long");
    if (scopes->n == ACCESS_SCOPES_MAX)
        return fail(err, E_LIMIT, "more than %u scopes in one token", ACCESS_SCOPES_MAX);
    struct access_scope *list = realloc(scopes->list, (scopes->n + 1) * sizeof *list);
    if (!list)
        return fail_nomem(err);
    scopes->list = list;
    memcpy(list[scopes->n].repository, repository, len + 1);
    list[scopes->n++].actions = actions;
    return 0;
}

void access_scopes_done(struct access_scopes *scopes)
{
    free(scopes->list);
    *scopes = (struct access_scopes){NULL, 0, false};
}

void access_identity_done(struct access_identity *who)
{
    access_scopes_done(&who->scopes);
}

bool access_is_anonymous(const struct access_identity *who)
{
    return strcmp(who->name, ACCESS_ANONYMOUS) == 0;
}

/* --- decisions --- */

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

int access_granted(struct index_tx *tx, const struct access_identity *who, const char *repository,
                   unsigned *asked, struct error *err)
{
    if (who->pattern[0])
        *asked &= access_pattern_matches(who->pattern, repository) ? who->actions : 0;
    struct wanted wanted = {repository, *asked};
    int rc = 0;
    if (wanted.missing)
        rc = index_grants_each(tx, who->name, look_at_grant, &wanted, err);
    /* Most have what they need by themselves. */
    if (rc == 0 && wanted.missing && !access_is_anonymous(who))
        rc = index_grants_shared_each(tx, who->name, look_at_grant, &wanted, err);
    *asked = rc == 0 ? *asked & ~wanted.missing : 0;
    return rc;
}

int access_check(struct index_tx *tx, const struct access_identity *who, const char *repository,
                 unsigned actions, struct error *err)
{
    char text[ACCESS_ACTIONS_TEXT_MAX];
    unsigned granted = actions;
    int rc = access_granted(tx, who, repository, &granted, err);
    if (rc != 0 || actions == 0)
        return rc;
    if (granted != actions)
        return fail(err, E_DENIED, "'%s' may not %s in '%s'", who->name,
                    access_actions_format(actions & ~granted, text), repository);
    if (who->method != ACCESS_BY_BEARER)
        return 0;
    const struct access_scope *scope = find_scope(&who->scopes, repository);
    unsigned missing = actions & ~(scope ? scope->actions : 0);
    if (missing)
        return fail(err, E_UNAUTHORIZED, "the token is not for '%s' in '%s'",
                    access_actions_format(missing, text), repository);
    return 0;
}

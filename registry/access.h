/*
 * Who may do what: one typed decision per operation.
 *
 * A grant is subject × repository pattern × actions. Denied unless a grant says otherwise; no
 * action implies another. Patterns are whole components: `*` is every repository, `acme/app` that
 * one, "acme/" and a star every repository below acme, however deep; the last
 * matches neither `acme` nor `acme-evil/x`. What is granted to "anonymous" everybody has, known or
 * not; a member has what is granted to the group. An API token narrows its user to one pattern and
 * some actions; the scope of a Bearer token narrows the call further. Both are looked at when they
 * are used, with the grants of that moment. Thread-safe.
 */
#ifndef BULLA_REGISTRY_ACCESS_H
#define BULLA_REGISTRY_ACCESS_H

#include "registry/http_server.h"
#include "registry/index_credentials.h"
#include "registry/route.h"

#define ACCESS_ANONYMOUS "anonymous" /* subject of whoever sends no credentials */
#define ACCESS_GROUP     "group:"    /* begins the subject of grants to a group */

enum access_action {
    ACCESS_PULL = 1,
    ACCESS_PUSH = 2,
    ACCESS_DELETE = 4,
    ACCESS_SIGN = 8,
    ACCESS_ADMIN = 16,
    ACCESS_ALL = 31,
};

enum access_method {
    ACCESS_BY_NOTHING,
    ACCESS_BY_PASSWORD,
    ACCESS_BY_API_TOKEN,
    ACCESS_BY_BEARER,
    ACCESS_BY_CERTIFICATE,
};

/* Actions on one repository, as a Bearer token carries them. */
struct access_scope {
    char repository[REFERENCE_REPOSITORY_MAX + 1];
    unsigned actions;
};
struct access_scopes {
    struct access_scope *list; /* heap; no repository twice */
    size_t n;
    bool catalog; /* may list repositories */
};
#define ACCESS_SCOPES_MAX 64u /* a push that mounts from many repositories needs a dozen */
/* Adds the actions. E_LIMIT, E_NOMEM. */
int access_scopes_add(struct access_scopes *scopes, const char *repository, unsigned actions,
                      struct error *err) MUST_CHECK;
void access_scopes_done(struct access_scopes *scopes);

/* Who calls, and what narrows the call. All zero but for the name: a user without limits. */
struct access_identity {
    char name[USER_NAME_MAX + 1]; /* a user, or "anonymous"; "" while it is not known */
    enum access_method method;
    int64_t serial;                       /* of the user, see index_accounts.h; 0: anonymous */
    char api_token[API_TOKEN_ID_LEN + 1]; /* "": none is involved */
    char pattern[ACCESS_PATTERN_MAX + 1]; /* of the API token; "": no limit */
    unsigned actions;                     /* of the API token, where there is a pattern */
    struct access_scopes scopes;          /* of the Bearer token, where it is one */
};
void access_identity_done(struct access_identity *who);
bool access_is_anonymous(const struct access_identity *who);

/* "pull,push" to bits. E_USAGE names the unknown word. */
int access_actions_parse(const char *text, unsigned *out, struct error *err) MUST_CHECK;
#define ACCESS_ACTIONS_TEXT_MAX 40
/* "pull,push"; returns out. */
const char *access_actions_format(unsigned actions, char out[ACCESS_ACTIONS_TEXT_MAX]);
/* E_USAGE. */
int access_pattern_check(const char *pattern, struct error *err) MUST_CHECK;
/* [a-z0-9][a-z0-9._-]{0,63}; E_USAGE. `anonymous` is a subject, not a user: *is_user tells. */
int access_subject_check(const char *subject, bool *is_user, struct error *err) MUST_CHECK;
/* [a-z0-9][a-z0-9._-]{0,63}; E_USAGE. */
int access_group_check(const char *group, struct error *err) MUST_CHECK;
bool access_pattern_matches(const char *pattern, const char *repository);
/* Whatever `narrow` matches, `wide` matches. */
bool access_pattern_covers(const char *wide, const char *narrow);
/* The bit of one action's word; 0: unknown. */
unsigned access_action_bit(const char *word, size_t len);

/* What an operation asks for. 0: being known is enough (base, catalogue). E_UNSUPPORTED: the
 * endpoint has no such method. */
int access_needed(const struct route *route, enum http_method method, unsigned *actions,
                  struct error *err) MUST_CHECK;
/* What a token should allow for it: a push reads, too, and whoever signs may found a collection. */
unsigned access_scope_wanted(unsigned actions);

/* What the caller may do in the repository by grants and API token, whatever a Bearer token's scope
 * says: bits of `asked`. */
int access_granted(struct index_tx *tx, const struct access_identity *who, const char *repository,
                   unsigned *asked, struct error *err) MUST_CHECK;
/* 0 where the caller may do all of `actions` in the repository; E_DENIED; E_UNAUTHORIZED: another
 * Bearer token of the same user would do. */
int access_check(struct index_tx *tx, const struct access_identity *who, const char *repository,
                 unsigned actions, struct error *err) MUST_CHECK;

#endif

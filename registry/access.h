/*
 * Who may do what: one typed decision per operation.
 *
 * A grant is subject × repository pattern × actions. Denied unless a grant says otherwise; no
 * action implies another. Patterns are whole components: `*` is every repository, `acme/app` that
 * one, "acme/" and a star every repository below acme, however deep; the last
 * matches neither `acme` nor `acme-evil/x`. Thread-safe.
 */
#ifndef BULLA_REGISTRY_ACCESS_H
#define BULLA_REGISTRY_ACCESS_H

#include "registry/http_server.h"
#include "registry/index.h"
#include "registry/route.h"

#define ACCESS_ANONYMOUS "anonymous" /* subject of whoever sends no credentials */

enum access_action {
    ACCESS_PULL = 1,
    ACCESS_PUSH = 2,
    ACCESS_DELETE = 4,
    ACCESS_SIGN = 8,
    ACCESS_ADMIN = 16,
    ACCESS_ALL = 31,
};

/* "pull,push" to bits. E_USAGE names the unknown word. */
int access_actions_parse(const char *text, unsigned *out, struct error *err) MUST_CHECK;
#define ACCESS_ACTIONS_TEXT_MAX 40
/* "pull,push"; returns out. */
const char *access_actions_format(unsigned actions, char out[ACCESS_ACTIONS_TEXT_MAX]);
/* E_USAGE. */
int access_pattern_check(const char *pattern, struct error *err) MUST_CHECK;
/* [a-z0-9][a-z0-9._-]{0,63}; E_USAGE. `anonymous` is a subject, not a user: *is_user tells. */
int access_subject_check(const char *subject, bool *is_user, struct error *err) MUST_CHECK;
bool access_pattern_matches(const char *pattern, const char *repository);

/* What an operation asks for. 0: being known is enough (base, catalogue). E_UNSUPPORTED: the
 * endpoint has no such method. */
int access_needed(const struct route *route, enum http_method method, unsigned *actions,
                  struct error *err) MUST_CHECK;
/* 0 where the subject has all of `actions` on the repository; E_DENIED. */
int access_check(struct index_tx *tx, const char *subject, const char *repository, unsigned actions,
                 struct error *err) MUST_CHECK;

#endif

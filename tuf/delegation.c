#include "tuf/metadata_internal.h"

#include <string.h>

/* --- parsing --- */

static bool is_hash_prefix(const char *text)
{
    size_t len = strlen(text);
    return len >= 1 && len <= 64 && strspn(text, "0123456789abcdef") == len;
}

/* A list of strings; *out is an owned array of borrowed texts. */
static int parse_texts(const struct js *list, const char *const **out, size_t *n, struct error *err)
{
    size_t count = js_count(list);
    CLEANUP(cleanup_free) const char **texts = calloc(count + 1, sizeof *texts);
    if (!texts)
        return fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        texts[i] = js_text(js_at(list, i));
        if (!texts[i])
            return fail(err, E_INVALID, "a path or prefix must be a string");
    }
    *out = (const char *const *)TAKE_PTR(texts);
    *n = count;
    return OK;
}

static int parse_scope(const struct js *v, struct tuf_delegation *out, struct error *err)
{
    const struct js *paths = NULL, *prefixes = NULL;
    int rc = js_opt_array(v, "paths", &paths, err);
    if (!rc)
        rc = js_opt_array(v, "path_hash_prefixes", &prefixes, err);
    if (rc)
        return rc;
    if (!paths == !prefixes)
        return fail(err, E_INVALID, "exactly one of 'paths' and 'path_hash_prefixes' is needed");
    if (paths) {
        rc = parse_texts(paths, &out->paths, &out->n_paths, err);
        for (size_t i = 0; !rc && i < out->n_paths; i++)
            rc = tuf_check_text(out->paths[i], TUF_MAX_NAME, "a path pattern", err);
        return rc;
    }
    rc = parse_texts(prefixes, &out->hash_prefixes, &out->n_hash_prefixes, err);
    for (size_t i = 0; !rc && i < out->n_hash_prefixes; i++)
        if (!is_hash_prefix(out->hash_prefixes[i]))
            rc = fail(err, E_INVALID, "a path hash prefix must be 1 to 64 lower-case hex digits");
    return rc;
}

static bool is_top_level(const char *name)
{
    for (int type = TUF_ROOT; type <= TUF_TARGETS; type++)
        if (strcmp(name, tuf_type_name((enum tuf_type)type)) == 0)
            return true;
    return false;
}

static int parse_delegation(const struct js *v, struct tuf_delegation *out, struct error *err)
{
    if (js_type(v) != JS_OBJECT)
        return fail(err, E_INVALID, "a delegated role must be an object");
    int rc = js_want_text(v, "name", &out->name, err);
    if (!rc)
        rc = tuf_check_text(out->name, TUF_MAX_NAME, "the role's name", err);
    if (rc)
        return rc;
    if (is_top_level(out->name))
        return fail(err, E_INVALID, "'%s' cannot be delegated", out->name);
    rc = tuf_role_keys_parse(v, &out->keys, err);
    if (!rc)
        rc = js_want_bool(v, "terminating", &out->terminating, err);
    if (!rc)
        rc = parse_scope(v, out, err);
    return wrap(err, rc, "role '%s'", out->name);
}

static int check_distinct(const struct targets_part *part, struct error *err)
{
    struct name_index index = {calloc(part->n_delegations + 1, sizeof *index.refs),
                               part->n_delegations};
    CLEANUP(cleanup_free) struct name_ref *refs = index.refs;
    if (!refs)
        return fail_nomem(err);
    for (size_t i = 0; i < index.n; i++)
        refs[i] = (struct name_ref){part->delegations[i].name, i};
    name_index_sort(&index);
    for (size_t i = 1; i < index.n; i++)
        if (strcmp(refs[i - 1].name, refs[i].name) == 0)
            return fail(err, E_INVALID, "role '%s' is delegated twice", refs[i].name);
    return OK;
}

static int parse_roles(const struct js *list, struct targets_part *out, struct error *err)
{
    size_t n = js_count(list), n_patterns = 0;
    if (n > TUF_MAX_DELEGATIONS)
        return fail(err, E_LIMIT, "%zu delegated roles, at most %u are allowed", n,
                    TUF_MAX_DELEGATIONS);
    out->delegations = calloc(n + 1, sizeof *out->delegations);
    if (!out->delegations)
        return fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        struct tuf_delegation *d = &out->delegations[out->n_delegations++];
        int rc = parse_delegation(js_at(list, i), d, err);
        if (rc)
            return rc;
        n_patterns += d->n_paths;
    }
    if (n_patterns > TUF_MAX_PATTERNS)
        return fail(err, E_LIMIT, "%zu path patterns, at most %u are allowed", n_patterns,
                    TUF_MAX_PATTERNS);
    return check_distinct(out, err);
}

int tuf_delegations_parse(const struct js *object, struct targets_part *out, struct error *err)
{
    const struct js *keys = NULL, *roles = NULL;
    const struct js *succinct = js_get(object, "succinct_roles");
    int rc = js_want_object(object, "keys", &keys, err);
    if (!rc)
        rc = tuf_keys_parse(keys, &out->keys, err);
    if (rc)
        return rc;
    if (succinct && js_get(object, "roles"))
        return fail(err, E_INVALID, "only one of 'roles' and 'succinct_roles' may be given");
    if (succinct) {
        out->has_bins = true;
        return wrap(err, tuf_bins_parse(succinct, &out->bins, err), "succinct_roles");
    }
    rc = js_want_array(object, "roles", &roles, err);
    return rc ? rc : parse_roles(roles, out, err);
}

void tuf_delegations_done(struct targets_part *part)
{
    for (size_t i = 0; i < part->n_delegations; i++) {
        struct tuf_delegation *d = &part->delegations[i];
        tuf_role_keys_done(&d->keys);
        cleanup_free(&d->paths);
        cleanup_free(&d->hash_prefixes);
    }
    free(part->delegations);
    tuf_role_keys_done(&part->bins.keys);
    tuf_keys_done(&part->keys);
}

/* --- matching --- */

/*
 * C35, TUF 4.5: one pattern, shell style, where '*' and '?' stay inside a path segment and nothing
 * else is special. Only the last '*' is ever tried again, so the work is at most |pattern| *
 * |name|.
 */
bool tuf_pattern_matches(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            retry = name;
        } else if (*pattern == '?' ? *name != '/' : *pattern == *name) {
            pattern++;
            name++;
        } else if (star && *retry != '/') {
            pattern = star + 1;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

int tuf_delegation_test(const struct tuf_delegation *delegation, const char *name, bool *covers,
                        struct error *err)
{
    for (size_t i = 0; i < delegation->n_paths; i++) {
        if (tuf_pattern_matches(delegation->paths[i], name)) {
            *covers = true;
            return OK;
        }
    }
    *covers = false;
    if (!delegation->n_hash_prefixes)
        return OK;
    struct digest d;
    char hex[DIGEST_TEXT_MAX];
    int rc = digest_of(DIGEST_SHA256, name, strlen(name), &d, err);
    if (rc)
        return rc;
    digest_hex(&d, hex);
    for (size_t i = 0; !*covers && i < delegation->n_hash_prefixes; i++)
        *covers = text_starts(hex, delegation->hash_prefixes[i]);
    return OK;
}

bool tuf_delegation_covers(const struct tuf_delegation *delegation, const char *name)
{
    bool covers;
    return tuf_delegation_test(delegation, name, &covers, NULL) == OK && covers;
}

#include "base/config_rules.h"

#include <inttypes.h>
#include <string.h>

#define MAX_VALUE     512u
#define MAX_PATH      4096u
#define DAY           86400
#define DECADE        (3653 * DAY)
#define TAG_CHARS     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-*?"
#define NAME_CHARS    "abcdefghijklmnopqrstuvwxyz0123456789._-/"
#define TAG_MAX       128u
#define MAX_KEEP      1000000u
#define TEXT(s, k, m) CYAML_FIELD_STRING_PTR(k, CYAML_FLAG_OPTIONAL, struct s, m, 1, MAX_VALUE)

static const cyaml_schema_field_t immutable_fields[] = {
    TEXT(raw_immutable, "repository", repository), TEXT(raw_immutable, "pattern", pattern),
    CYAML_FIELD_END};
static const cyaml_schema_value_t immutable_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_immutable, immutable_fields)};
const cyaml_schema_field_t config_tags_fields[] = {
    CYAML_FIELD_SEQUENCE("immutable", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw_tags,
                         immutable, &immutable_entry, 0, CONFIG_RULES_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t tag_entry = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, MAX_VALUE)};
static const cyaml_schema_field_t retention_fields[] = {
    TEXT(raw_retention, "repository", repository),
    TEXT(raw_retention, "keepLast", keep_last),
    TEXT(raw_retention, "keepWithin", keep_within),
    TEXT(raw_retention, "deleteUntagged", delete_untagged),
    CYAML_FIELD_SEQUENCE("keepTags", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw_retention,
                         keep_tags, &tag_entry, 0, CONFIG_RULES_MAX),
    CYAML_FIELD_END};
const cyaml_schema_value_t config_retention_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_retention, retention_fields)};

static const cyaml_schema_field_t quota_fields[] = {
    TEXT(raw_quota, "prefix", prefix), TEXT(raw_quota, "bytes", bytes),
    TEXT(raw_quota, "repositories", repositories), CYAML_FIELD_END};
const cyaml_schema_value_t config_quota_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_quota, quota_fields)};

static const cyaml_schema_field_t mirror_fields[] = {
    TEXT(raw_mirror, "repository", repository), TEXT(raw_mirror, "collection", collection),
    CYAML_FIELD_STRING_PTR("root", CYAML_FLAG_OPTIONAL, struct raw_mirror, root, 1, MAX_PATH),
    CYAML_FIELD_END};
const cyaml_schema_value_t config_mirror_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_mirror, mirror_fields)};

/* --- where something stands --- */

struct place {
    const char *text;    /* the file */
    const char *section; /* whose list */
    unsigned item;       /* which of it */
};

static const char *next(const char *line)
{
    const char *newline = strchr(line, '\n');
    return newline ? newline + 1 : NULL;
}

static bool line_has_key(const char *line, const char *key)
{
    size_t len = strlen(key);
    const char *at = line + strspn(line, " -{");
    return strncmp(at, key, len) == 0 && at[len] == ':';
}

/* libcyaml keeps no positions: found by counting the dashes of the list. A list in [ ] has none;
 * then it is the list's own line. */
static size_t line_of(const struct place *place, const char *key)
{
    size_t number = 1, list = 0, item = 0, indent = 0;
    unsigned n = 0;
    for (const char *line = place->text; line; line = next(line), number++) {
        size_t space = strspn(line, " ");
        if (!list) {
            list = line_has_key(line, place->section) ? number : 0;
            continue;
        }
        if (line[space] == '-' && n == 0)
            indent = space;
        if (line[space] == '-' && space == indent && n++ == place->item)
            item = number;
        if (n > place->item + 1)
            break;
        if (item && line_has_key(line, key))
            return number;
    }
    return item ? item : list;
}

static int at_line(const struct place *place, const char *key, int rc, struct error *err)
{
    return wrap(err, rc, "line %zu: %s.%s", line_of(place, key), place->section, key);
}

/* --- values --- */

static int missing(const struct place *place, const char *key, struct error *err)
{
    return at_line(place, key, fail(err, E_INVALID, "is missing"), err);
}

static int copy(const char *text, char **out, struct error *err)
{
    *out = strdup(text);
    return *out ? OK : fail_nomem(err);
}

/* A repository's name, or the folder of several; whether it is one in full the registry knows. */
static bool name_valid(const char *text, size_t len)
{
    return len > 0 && len <= 255 && strspn(text, NAME_CHARS) >= len && text[0] != '/' &&
           text[len - 1] != '/';
}

static int take_repository(const struct place *place, const char *text, char **out,
                           struct error *err)
{
    if (!text)
        return missing(place, "repository", err);
    size_t len = strlen(text);
    bool folder = len > 2 && strcmp(text + len - 2, "/*") == 0;
    if (strcmp(text, "*") != 0 && !name_valid(text, folder ? len - 2 : len))
        return at_line(
            place, "repository",
            fail(err, E_INVALID, "'%s' is neither a repository, nor 'prefix/*', nor '*'", text),
            err);
    return copy(text, out, err);
}

static int take_tag_pattern(const struct place *place, const char *key, const char *text,
                            char **out, struct error *err)
{
    if (!text)
        return missing(place, key, err);
    size_t len = strlen(text);
    if (len > TAG_MAX || strspn(text, TAG_CHARS) != len)
        return at_line(place, key,
                       fail(err, E_INVALID,
                            "'%s' is no pattern of tags: letters, digits, . _ - "
                            "and the wildcards * and ?",
                            text),
                       err);
    return copy(text, out, err);
}

static int take_duration(const struct place *place, const char *key, const char *text, int64_t *out,
                         struct error *err)
{
    if (!text)
        return OK;
    int rc = text_to_duration(text, out, err);
    if (!rc && *out > DECADE)
        rc = fail(err, E_INVALID, "'%s' is too large", text);
    return rc ? at_line(place, key, rc, err) : OK;
}

static int take_count(const struct place *place, const char *key, const char *text, uint32_t *out,
                      struct error *err)
{
    uint64_t value = 0;
    if (!text)
        return OK;
    int rc = text_to_u64(text, strlen(text), MAX_KEEP, &value, err);
    if (!rc && value == 0)
        rc = fail(err, E_INVALID, "'%s' is too small", text);
    *out = (uint32_t)value;
    return rc ? at_line(place, key, rc, err) : OK;
}

/* --- the lists --- */

static int convert_immutable(const struct raw_rules *raw, const char *text,
                             struct config_rules *out, struct error *err)
{
    unsigned n = raw->tags.immutable_count;
    out->immutable = calloc(n ? n : 1, sizeof *out->immutable);
    if (!out->immutable)
        return fail_nomem(err);
    int rc = OK;
    for (unsigned i = 0; !rc && i < n; i++) {
        const struct place place = {text, "immutable", i};
        struct config_immutable *to = &out->immutable[out->n_immutable++];
        rc = take_repository(&place, raw->tags.immutable[i].repository, &to->repository, err);
        if (!rc)
            rc = take_tag_pattern(&place, "pattern", raw->tags.immutable[i].pattern, &to->pattern,
                                  err);
    }
    return rc;
}

static int convert_keep_tags(const struct place *place, const struct raw_retention *raw,
                             struct config_retention *to, struct error *err)
{
    to->keep_tags = calloc(raw->keep_tags_count ? raw->keep_tags_count : 1, sizeof *to->keep_tags);
    if (!to->keep_tags)
        return fail_nomem(err);
    int rc = OK;
    for (unsigned i = 0; !rc && i < raw->keep_tags_count; i++)
        rc = take_tag_pattern(place, "keepTags", raw->keep_tags[i],
                              &to->keep_tags[to->n_keep_tags++], err);
    return rc;
}

static int convert_retention_rule(const struct place *place, const struct raw_retention *raw,
                                  struct config_retention *to, struct error *err)
{
    *to = (struct config_retention){.keep_within_s = -1, .delete_untagged_s = -1};
    int rc = take_repository(place, raw->repository, &to->repository, err);
    if (!rc)
        rc = take_count(place, "keepLast", raw->keep_last, &to->keep_last, err);
    if (!rc)
        rc = take_duration(place, "keepWithin", raw->keep_within, &to->keep_within_s, err);
    if (!rc)
        rc = take_duration(place, "deleteUntagged", raw->delete_untagged, &to->delete_untagged_s,
                           err);
    if (!rc)
        rc = convert_keep_tags(place, raw, to, err);
    /* Patterns alone would mean "remove every other tag": that must be said with a number. */
    if (!rc && to->n_keep_tags > 0 && to->keep_last == 0 && to->keep_within_s < 0)
        rc = at_line(place, "keepTags",
                     fail(err, E_INVALID, "needs keepLast or keepWithin for the other tags"), err);
    if (!rc && to->keep_last == 0 && to->keep_within_s < 0 && to->delete_untagged_s < 0)
        rc = at_line(place, "repository",
                     fail(err, E_INVALID,
                          "the rule says nothing: keepLast, keepWithin or "
                          "deleteUntagged is missing"),
                     err);
    return rc;
}

static int convert_retention(const struct raw_rules *raw, const char *text,
                             struct config_rules *out, struct error *err)
{
    unsigned n = raw->retention_count;
    out->retention = calloc(n ? n : 1, sizeof *out->retention);
    if (!out->retention)
        return fail_nomem(err);
    int rc = OK;
    for (unsigned i = 0; !rc && i < n; i++) {
        const struct place place = {text, "retention", i};
        rc = convert_retention_rule(&place, &raw->retention[i], &out->retention[out->n_retention++],
                                    err);
    }
    return rc;
}

static int convert_quota(const struct place *place, const struct raw_quota *raw,
                         struct config_quota *to, struct error *err)
{
    if (!raw->prefix)
        return missing(place, "prefix", err);
    bool all = strcmp(raw->prefix, "*") == 0;
    if (!all && !name_valid(raw->prefix, strlen(raw->prefix)))
        return at_line(
            place, "prefix",
            fail(err, E_INVALID, "'%s' is neither the beginning of names nor '*'", raw->prefix),
            err);
    int rc = copy(all ? "" : raw->prefix, &to->prefix, err);
    if (!rc && raw->bytes) {
        rc = text_to_size(raw->bytes, &to->bytes, err);
        if (!rc && (to->bytes == 0 || to->bytes > INT64_MAX))
            rc = fail(err, E_INVALID, "'%s' is too %s", raw->bytes, to->bytes ? "large" : "small");
        if (rc)
            return at_line(place, "bytes", rc, err);
    }
    if (!rc)
        rc = take_count(place, "repositories", raw->repositories, &to->repositories, err);
    if (!rc && !raw->bytes && !raw->repositories)
        rc = missing(place, "bytes", err);
    return rc;
}

static int convert_quotas(const struct raw_rules *raw, const char *text, struct config_rules *out,
                          struct error *err)
{
    unsigned n = raw->quotas_count;
    out->quotas = calloc(n ? n : 1, sizeof *out->quotas);
    if (!out->quotas)
        return fail_nomem(err);
    int rc = OK;
    for (unsigned i = 0; !rc && i < n; i++) {
        const struct place place = {text, "quotas", i};
        struct config_quota *to = &out->quotas[out->n_quotas++];
        rc = convert_quota(&place, &raw->quotas[i], to, err);
        for (size_t k = 0; !rc && k + 1 < out->n_quotas; k++)
            if (strcmp(out->quotas[k].prefix, to->prefix) == 0)
                rc = at_line(&place, "prefix", fail(err, E_INVALID, "is given twice"), err);
    }
    return rc;
}

static bool is_pattern(const char *text)
{
    return strcmp(text, "*") == 0 || text_ends(text, "/*");
}

static int take_collection(const struct place *place, const struct raw_mirror *raw,
                           struct config_mirror *to, struct error *err)
{
    const char *text = raw->collection ? raw->collection : raw->repository;
    size_t len = strlen(text);
    bool folder = len > 2 && text_ends(text, "/*");
    if (strcmp(text, "*") != 0 && !name_valid(text, folder ? len - 2 : len))
        return at_line(
            place, "collection",
            fail(err, E_INVALID, "'%s' is neither a collection, nor 'prefix/*', nor '*'", text),
            err);
    if (is_pattern(text) != is_pattern(to->repository))
        return at_line(place, "collection",
                       fail(err, E_INVALID,
                            "'%s' and repository '%s': either both or neither end in '*'", text,
                            to->repository),
                       err);
    return copy(text, &to->collection, err);
}

static int convert_mirror(const struct place *place, const char *folder,
                          const struct raw_mirror *raw, struct config_mirror *to, struct error *err)
{
    int rc = take_repository(place, raw->repository, &to->repository, err);
    if (!rc)
        rc = take_collection(place, raw, to, err);
    if (!rc && !raw->root)
        rc = missing(place, "root", err);
    if (rc)
        return rc;
    to->root = *raw->root == '/' ? strdup(raw->root) : text_format("%s/%s", folder, raw->root);
    return to->root ? OK : fail_nomem(err);
}

static int convert_mirrors(const struct raw_rules *raw, const struct config_source *source,
                           struct config_rules *out, struct error *err)
{
    unsigned n = raw->mirrors_count;
    out->mirrors = calloc(n ? n : 1, sizeof *out->mirrors);
    if (!out->mirrors)
        return fail_nomem(err);
    int rc = OK;
    for (unsigned i = 0; !rc && i < n; i++) {
        const struct place place = {source->text, "mirrors", i};
        rc = convert_mirror(&place, source->folder, &raw->mirrors[i],
                            &out->mirrors[out->n_mirrors++], err);
    }
    return rc;
}

int config_rules_convert(const struct raw_rules *raw, const struct config_source *source,
                         struct config_rules *out, struct error *err)
{
    int rc = convert_immutable(raw, source->text, out, err);
    if (!rc)
        rc = convert_retention(raw, source->text, out, err);
    if (!rc)
        rc = convert_quotas(raw, source->text, out, err);
    return rc ? rc : convert_mirrors(raw, source, out, err);
}

void config_rules_done(struct config_rules *rules)
{
    for (size_t i = 0; i < rules->n_immutable; i++) {
        free(rules->immutable[i].repository);
        free(rules->immutable[i].pattern);
    }
    for (size_t i = 0; i < rules->n_retention; i++) {
        free(rules->retention[i].repository);
        for (size_t k = 0; k < rules->retention[i].n_keep_tags; k++)
            free(rules->retention[i].keep_tags[k]);
        free(rules->retention[i].keep_tags);
    }
    for (size_t i = 0; i < rules->n_quotas; i++)
        free(rules->quotas[i].prefix);
    for (size_t i = 0; i < rules->n_mirrors; i++) {
        free(rules->mirrors[i].repository);
        free(rules->mirrors[i].collection);
        free(rules->mirrors[i].root);
    }
    free(rules->mirrors);
    free(rules->immutable);
    free(rules->retention);
    free(rules->quotas);
    *rules = (struct config_rules){.immutable = NULL};
}

#include "registry/tag_rules.h"

#include "registry/access.h"
#include "registry/index_content.h"
#include "registry/index_retention.h"

#include <string.h>

bool tag_pattern_matches(const char *pattern, const char *tag)
{
    const char *star = NULL, *resume = NULL; /* the last star, and where it is tried again from */
    while (*tag) {
        if (*pattern == '*') {
            star = pattern++;
            resume = tag;
        } else if (*pattern == '?' || *pattern == *tag) {
            pattern++;
            tag++;
        } else if (star) {
            pattern = star + 1;
            tag = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool tag_is_fallback(const char *tag)
{
    return text_starts(tag, "sha256-") || text_starts(tag, "sha512-");
}

bool tag_is_immutable(const struct config_rules *rules, const char *repository, const char *tag)
{
    for (size_t i = 0; i < rules->n_immutable && !tag_is_fallback(tag); i++)
        if (access_pattern_matches(rules->immutable[i].repository, repository) &&
            tag_pattern_matches(rules->immutable[i].pattern, tag))
            return true;
    return false;
}

int tag_check_set(struct index_tx *tx, const struct config_rules *rules, const char *repository,
                  const char *tag, const struct digest *d, struct error *err)
{
    struct index_manifest now;
    char text[DIGEST_TEXT_MAX];
    if (!tag_is_immutable(rules, repository, tag))
        return 0;
    int rc = index_tag_find(tx, repository, tag, &now, err);
    if (rc == E_NOTFOUND || (rc == 0 && digest_equal(&now.digest, d)))
        return 0;
    if (rc != 0)
        return rc;
    return fail(err, E_DENIED, "tag '%s' is immutable and names %s: push under another tag", tag,
                digest_format(&now.digest, text));
}

struct naming {
    const struct config_rules *rules;
    const char *repository;
};

static int check_tag(void *context, const char *tag, struct error *err)
{
    const struct naming *n = context;
    return tag_is_immutable(n->rules, n->repository, tag)
               ? fail(err, E_DENIED, "tag '%s', which is immutable, needs it", tag)
               : 0;
}

int tag_check_remove(struct index_tx *tx, const struct config_rules *rules, const char *repository,
                     const char *tag, const struct digest *d, struct error *err)
{
    struct naming naming = {rules, repository};
    const struct index_visitor visitor = {check_tag, &naming};
    if (rules->n_immutable == 0)
        return 0;
    if (tag[0])
        return tag_is_immutable(rules, repository, tag)
                   ? fail(err, E_DENIED, "tag '%s' is immutable", tag)
                   : 0;
    return index_tags_above(tx, repository, d, &visitor, err);
}

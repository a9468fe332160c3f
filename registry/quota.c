#include "registry/quota.h"

#include <inttypes.h>
#include <string.h>

static bool covers(const struct config_quota *quota, const char *repository)
{
    size_t len = strlen(quota->prefix);
    return len == 0 || (strncmp(repository, quota->prefix, len) == 0 &&
                        (repository[len] == '\0' || repository[len] == '/'));
}

int quota_fail(const struct quota_excess *excess, struct error *err)
{
    const char *prefix = excess->prefix[0] ? excess->prefix : "*";
    return fail(err, E_DENIED,
                "the quota of '%s' is %" PRIu64 " %s, %" PRIu64 " are used: "
                "delete something, or ask for more",
                prefix, excess->limit, excess->what, excess->used);
}

int quota_room(struct index_tx *tx, const struct config_rules *rules, const char *repository,
               uint64_t *room, struct quota_excess *excess, struct error *err)
{
    uint64_t least = UINT64_MAX;
    struct quota_excess tightest = {NULL, "bytes", 0, 0};
    for (size_t i = 0; i < rules->n_quotas; i++) {
        const struct config_quota *quota = &rules->quotas[i];
        struct index_usage usage;
        if (quota->bytes == 0 || !covers(quota, repository))
            continue;
        int rc = index_usage_find(tx, quota->prefix, &usage, err);
        if (rc != 0)
            return rc;
        uint64_t used = (uint64_t)usage.bytes;
        uint64_t left = used < quota->bytes ? quota->bytes - used : 0;
        if (left < least) {
            least = left;
            tightest = (struct quota_excess){quota->prefix, "bytes", used, quota->bytes};
        }
    }
    *room = least;
    *excess = tightest;
    return 0;
}

int quota_before(struct index_tx *tx, const struct config_rules *rules, const char *repository,
                 struct index_usage *out, struct error *err)
{
    *out = (struct index_usage){0, 0};
    return rules->n_quotas == 0 ? 0 : index_usage_find(tx, repository, out, err);
}

/* Every prefix of the repository grew by the same: whether it grew at all is the repository's own
 * count. */
int quota_check(struct index_tx *tx, const struct config_rules *rules, const char *repository,
                const struct index_usage *before, struct quota_excess *excess, struct error *err)
{
    struct index_usage after = *before, usage;
    int rc = quota_before(tx, rules, repository, &after, err);
    *excess = (struct quota_excess){NULL, "", 0, 0};
    for (size_t i = 0; rc == 0 && i < rules->n_quotas; i++) {
        const struct config_quota *quota = &rules->quotas[i];
        if (!covers(quota, repository))
            continue;
        rc = index_usage_find(tx, quota->prefix, &usage, err);
        if (rc != 0)
            break;
        uint64_t grown = (uint64_t)(after.bytes - before->bytes);
        if (quota->bytes && after.bytes > before->bytes && (uint64_t)usage.bytes > quota->bytes)
            *excess = (struct quota_excess){quota->prefix, "bytes", (uint64_t)usage.bytes - grown,
                                            quota->bytes};
        else if (quota->repositories && after.repositories > before->repositories &&
                 usage.repositories > quota->repositories)
            *excess = (struct quota_excess){quota->prefix, "repositories",
                                            (uint64_t)usage.repositories - 1, quota->repositories};
        if (excess->prefix)
            return quota_fail(excess, err);
    }
    return rc;
}

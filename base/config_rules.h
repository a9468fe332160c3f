/*
 * The lists in registry.yaml: immutable tags, retention, quotas. Part of the adapter over libcyaml,
 * for config.c only; what comes out is in config.h.
 */
#ifndef BULLA_BASE_CONFIG_RULES_H
#define BULLA_BASE_CONFIG_RULES_H

#include "base/config.h"

#include <cyaml/cyaml.h>

/* As text; libcyaml owns it. */
struct raw_immutable {
    char *repository, *pattern;
};
struct raw_retention {
    char *repository, *keep_last, *keep_within, *delete_untagged;
    char **keep_tags;
    unsigned keep_tags_count;
};
struct raw_quota {
    char *prefix, *bytes, *repositories;
};
struct raw_mirror {
    char *repository, *collection, *root;
};
struct raw_tags {
    struct raw_immutable *immutable;
    unsigned immutable_count;
};
struct raw_rules {
    struct raw_tags tags;
    struct raw_retention *retention;
    unsigned retention_count;
    struct raw_quota *quotas;
    unsigned quotas_count;
    struct raw_mirror *mirrors;
    unsigned mirrors_count;
};

#define CONFIG_RULES_MAX 1000u /* of one list */

extern const cyaml_schema_field_t config_tags_fields[];
extern const cyaml_schema_value_t config_retention_entry, config_quota_entry, config_mirror_entry;

struct config_source {
    const char *text;   /* the whole file, for line numbers */
    const char *folder; /* that relative paths start from */
};
/* *out is owned, also on failure: config_rules_done. E_INVALID ("line N: …"), E_NOMEM. */
int config_rules_convert(const struct raw_rules *raw, const struct config_source *source,
                         struct config_rules *out, struct error *err) MUST_CHECK;
void config_rules_done(struct config_rules *rules);

#endif

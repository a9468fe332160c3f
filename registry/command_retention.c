/* bulla-registry retention: what the rules remove, listed or done. */
#include "base/args.h"
#include "registry/audit_command.h"
#include "registry/commands.h"
#include "registry/deployment.h"
#include "registry/retention.h"

#include "base/json.h"

#include <inttypes.h>
#include <string.h>

struct retaining {
    struct server_config config;
    struct index *index;
    struct audit *audit; /* NULL: a dry run */
    bool dry_run, json;
    uint64_t n;
};

static void retaining_done(struct retaining *r)
{
    audit_close(r->audit);
    index_close(r->index);
    server_config_done(&r->config);
}

static int print_json(const struct retention_item *item, const char *digest, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = js_set(o, "repository", js_text_new(item->repository), err);
    if (rc == 0 && item->tag)
        rc = js_set(o, "tag", js_text_new(item->tag), err);
    if (rc == 0)
        rc = js_set(o, "digest", js_text_new(digest), err);
    if (rc == 0)
        rc = js_set(o, "rule", js_int_new((int64_t)item->rule), err);
    if (rc == 0)
        rc = js_set(o, "why", js_text_new(item->why), err);
    if (rc == 0)
        rc = js_write(o, false, &text, err);
    return rc == 0 && puts(bytes_text(&text)) < 0 ? fail_sys(err, errno, "write") : rc;
}

static int take_item(void *context, const struct retention_item *item, struct error *err)
{
    struct retaining *r = context;
    char digest[DIGEST_TEXT_MAX], who[AUDIT_WHO_MAX];
    digest_format(item->digest, digest);
    r->n++;
    if (r->audit) {
        const struct audit_event event = {.event = "retention.remove",
                                          .result = "done",
                                          .who = audit_local_who(who),
                                          .from = "local",
                                          .repository = item->repository,
                                          .object = item->tag ? item->tag : digest,
                                          .detail = item->why};
        audit_note(r->audit, &event);
    }
    if (r->json)
        return print_json(item, digest, err);
    int n = item->tag
                ? printf("%s:%s (%s): rule %zu, %s\n", item->repository, item->tag, digest,
                         item->rule, item->why)
                : printf("%s@%s: rule %zu, %s\n", item->repository, digest, item->rule, item->why);
    return n < 0 ? fail_sys(err, errno, "write") : 0;
}

static int run(struct retaining *r, struct error *err)
{
    const struct audit_options options = {.data_dir = r->config.data_dir, .index = r->index};
    const struct retention retention = {.index = r->index,
                                        .rules = &r->config.rules,
                                        .lease_s = r->config.gc.lease_s,
                                        .dry_run = r->dry_run,
                                        .visit = take_item,
                                        .context = r};
    int rc = r->dry_run ? 0 : audit_open(&options, &r->audit, err);
    if (rc == 0)
        rc = retention_run(&retention, err);
    if (rc == 0 && !r->json &&
        printf("%s %" PRIu64 "\n", r->dry_run ? "would remove" : "removed", r->n) < 0)
        rc = fail_sys(err, errno, "write");
    return rc;
}

int command_retention(char **args, struct error *err)
{
    CLEANUP(retaining_done) struct retaining r = {.index = NULL};
    const char *file = NULL;
    bool go = args[0] && strcmp(args[0], "run") == 0;
    const struct args_option options[] = {{"--config", &file, NULL},
                                          {"--dry-run", NULL, &r.dry_run},
                                          {"--json", NULL, &r.json},
                                          {NULL, NULL, NULL}};
    int rc = args_parse(args + go, options, NULL, 0, err);
    if (rc == 0 && !go && !r.dry_run)
        rc = fail(err, E_USAGE, "say 'retention run' to remove, or 'retention --dry-run' to see");
    if (rc == 0)
        rc = server_config_load(file ? file : COMMAND_DEFAULT_CONFIG, &r.config, err);
    if (rc == 0)
        rc = command_become_owner(&r.config, err);
    if (rc == 0)
        rc = deployment_check_initialised(&r.config, err);
    if (rc == 0)
        rc = index_open(r.config.data_dir, &r.index, err);
    if (rc == 0)
        rc = index_start(r.index, err);
    return rc == 0 ? run(&r, err) : rc;
}

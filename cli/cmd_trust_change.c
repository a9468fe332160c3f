/* bulla trust delegate, undelegate, rotate, repair, renew, revoke, split. */
#include "cli/command.h"
#include "signer/collection_change.h"

#include <string.h>

/* What all of them share: the collection, the keys that sign, the result. */
struct change_run {
    struct reference ref;
    struct collection_owner owner;
    struct collection_publish publish;
    const char *keys[OPTION_VALUES_MAX];
    struct collection_role role;
};

static void change_run_done(struct change_run *r)
{
    collection_role_done(&r->role);
}

static int read_number(struct context *ctx, const char *option, uint64_t max, uint64_t *out,
                       struct error *err)
{
    const char *text = option_text(&ctx->options, option);
    if (text && (text_to_u64(text, strlen(text), max, out, err) || !*out))
        return fail(err, E_USAGE, "--%s '%s' is not a number from 1 to %llu", option, text,
                    (unsigned long long)max);
    return OK;
}

static int read_lifetime(struct context *ctx, int64_t *out, struct error *err)
{
    const char *text = option_text(&ctx->options, "expires");
    if (text && (text_to_duration(text, out, err) || *out <= 0))
        return fail(err, E_USAGE, "--expires '%s' is not a time like 90d or 12h", text);
    return OK;
}

static int prepare(struct context *ctx, struct change_run *r, struct error *err)
{
    int rc = parse_reference(ctx->options.args[0], &r->ref, err);
    if (!rc)
        rc = read_lifetime(ctx, &r->publish.lifetime_s, err);
    if (!rc)
        rc = context_owner(ctx, &r->owner, err);
    if (rc)
        return rc;
    r->publish.keys = r->keys;
    r->publish.n_keys = option_list(&ctx->options, "key", r->keys, OPTION_VALUES_MAX);
    r->publish.stage_file = option_text(&ctx->options, "stage");
    r->publish.believe = option_given(&ctx->options, "without-history");
    return OK;
}

/* The keys that an option names, with --threshold. */
static int open_role(struct context *ctx, struct change_run *r, const char *option,
                     struct error *err)
{
    const char *texts[OPTION_VALUES_MAX];
    uint64_t threshold = 0;
    size_t n = option_list(&ctx->options, option, texts, OPTION_VALUES_MAX);
    int rc = read_number(ctx, "threshold", COLLECTION_MAX_KEYS, &threshold, err);
    if (!rc && !n)
        rc = fail(err, E_USAGE, "name the keys with --%s", option);
    return rc ? rc : collection_role_open(&r->owner, texts, n, (int64_t)threshold, &r->role, err);
}

static int describe(struct context *ctx, const struct collection_changed *c, struct error *err)
{
    CLEANUP(js_cleanup) struct js *lines = js_array_new();
    CLEANUP(cleanup_free) char *text = c->summary.len ? strdup(bytes_text(&c->summary)) : NULL;
    char *rest = NULL;
    int rc = lines ? OK : fail_nomem(err);
    if (c->nothing)
        say(ctx, "nothing to change");
    for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; !rc && line;
         line = strtok_r(NULL, "\n", &rest)) {
        say(ctx, "%s", line);
        rc = js_push(lines, js_text_new(line), err);
    }
    for (size_t i = 0; i < c->n_keys; i++)
        say(ctx, "signed with %s", c->keys[i].label);
    if (c->n_rebased)
        say(ctx, "note: somebody else published meanwhile; their changes were kept");
    if (!rc)
        rc = result_set(ctx, "changed", js_bool_new(!c->nothing), err);
    return rc ? rc : result_set(ctx, "changes", TAKE_PTR(lines), err);
}

static int say_staged(struct context *ctx, const char *file, struct error *err)
{
    say(ctx, "staged in '%s': 'bulla trust add-signature' signs it, 'bulla trust publish' ends it",
        file);
    return result_text(ctx, "staged", file, err);
}

static int carry_out(struct context *ctx, struct change_run *r, collection_change *change,
                     void *context, struct error *err)
{
    struct collection_changed changed;
    int rc = collection_apply(&r->owner, &r->ref, &r->publish, change, context, &changed, err);
    if (!rc)
        rc = describe(ctx, &changed, err);
    if (!rc && r->publish.stage_file && !changed.nothing)
        rc = say_staged(ctx, r->publish.stage_file, err);
    bytes_done(&changed.summary);
    return wrap(err, rc, "%s '%s/%s'", ctx->command->name, r->ref.host, r->ref.repository);
}

#define RUN CLEANUP(change_run_done) struct change_run

int command_trust_delegate(struct context *ctx, struct error *err)
{
    RUN r = {.role = {.n_keys = 0}};
    const char *patterns[OPTION_VALUES_MAX];
    struct change_delegate change = {
        .role = ctx->options.args[1],
        .from = option_text(&ctx->options, "from"),
        .keys = &r.role,
        .patterns = patterns,
        .n_patterns = option_list(&ctx->options, "tags", patterns, OPTION_VALUES_MAX),
        .terminating = option_given(&ctx->options, "terminating"),
        .first = option_given(&ctx->options, "first"),
    };
    int rc = prepare(ctx, &r, err);
    if (!rc)
        rc = open_role(ctx, &r, "role-key", err);
    return rc ? rc : carry_out(ctx, &r, change_delegate, &change, err);
}

int command_trust_undelegate(struct context *ctx, struct error *err)
{
    RUN r = {.role = {.n_keys = 0}};
    struct change_undelegate change = {ctx->options.args[1]};
    int rc = prepare(ctx, &r, err);
    return rc ? rc : carry_out(ctx, &r, change_undelegate, &change, err);
}

static int rotate(struct context *ctx, bool needs_history, struct error *err)
{
    RUN r = {.role = {.n_keys = 0}};
    struct change_rotate change = {ctx->options.args[1], &r.role};
    int rc = prepare(ctx, &r, err);
    r.publish.needs_history = needs_history;
    if (!rc)
        rc = open_role(ctx, &r, "new-key", err);
    return rc ? rc : carry_out(ctx, &r, change_rotate, &change, err);
}

static bool is_service_role(const char *role)
{
    return strcmp(role, "snapshot") == 0 || strcmp(role, "timestamp") == 0;
}

/* Their keys come from the registry's signing service; nobody else may hold them. */
static int rotate_service(struct context *ctx, struct error *err)
{
    RUN r = {.role = {.n_keys = 0}};
    const char *ignored[1];
    CLEANUP(change_rotate_service_done)
    struct change_rotate_service change = {.another = option_given(&ctx->options, "another")};
    for (size_t i = 1; i < ctx->options.n_args; i++) {
        if (!is_service_role(ctx->options.args[i]))
            return fail(err, E_USAGE, "'%s' is rotated by itself", ctx->options.args[i]);
        if (strcmp(ctx->options.args[i], "snapshot") == 0)
            change.snapshot = true;
        else
            change.timestamp = true;
    }
    if (option_list(&ctx->options, "new-key", ignored, 1) ||
        option_given(&ctx->options, "threshold"))
        return fail(err, E_USAGE, "the signing service makes the keys of %s: no --new-key here",
                    ctx->options.args[1]);
    int rc = prepare(ctx, &r, err);
    return rc ? rc : carry_out(ctx, &r, change_rotate_service, &change, err);
}

int command_trust_rotate(struct context *ctx, struct error *err)
{
    if (is_service_role(ctx->options.args[1]))
        return rotate_service(ctx, err);
    if (ctx->options.n_args > 2)
        return fail(err, E_USAGE, "one role at a time, but for snapshot and timestamp");
    if (option_given(&ctx->options, "another"))
        return fail(err, E_USAGE, "--another is for snapshot and timestamp");
    return rotate(ctx, false, err);
}

int command_trust_repair(struct context *ctx, struct error *err)
{
    return rotate(ctx, true, err);
}

int command_trust_renew(struct context *ctx, struct error *err)
{
    RUN r = {.role = {.n_keys = 0}};
    struct change_renew change = {ctx->options.args + 1, ctx->options.n_args - 1};
    int rc = prepare(ctx, &r, err);
    r.publish.needs_history = true;
    return rc ? rc : carry_out(ctx, &r, change_renew, &change, err);
}

/* No tag means "latest" elsewhere; what is taken back is typed. */
static bool names_image(const char *text)
{
    const char *slash = strrchr(text, '/');
    return strchr(text, '@') || (slash && strchr(slash, ':'));
}

int command_trust_revoke(struct context *ctx, struct error *err)
{
    RUN r = {.role = {.n_keys = 0}};
    int rc = prepare(ctx, &r, err);
    struct change_revoke change = {.block = option_given(&ctx->options, "block")};
    if (rc)
        return rc;
    if (!names_image(ctx->options.args[0]))
        return fail(err, E_USAGE, "name the tag or the digest to take back, as %s/%s:TAG",
                    r.ref.host, r.ref.repository);
    change.digest = r.ref.digest;
    if (r.ref.digest.alg == DIGEST_NONE)
        change.tag = r.ref.tag;
    else if (change.block)
        return fail(err, E_USAGE, "--block is for tags; a digest is banned for good anyway");
    return carry_out(ctx, &r, change_revoke, &change, err);
}

static unsigned bits_of(uint64_t bins)
{
    unsigned bits = 0;
    while (bins > 1) {
        bins >>= 1;
        bits++;
    }
    return bits;
}

int command_trust_split(struct context *ctx, struct error *err)
{
    RUN r = {.role = {.n_keys = 0}};
    uint64_t bins = 0;
    struct change_split change = {
        .role = ctx->options.n_args > 1 ? ctx->options.args[1] : "targets", .bin_keys = &r.role};
    int rc = prepare(ctx, &r, err);
    if (!rc)
        rc = read_number(ctx, "bins", 2048, &bins, err);
    if (!rc && bins & (bins - 1))
        rc = fail(err, E_USAGE, "--bins must be a power of two");
    if (!rc && bins == 1)
        rc = fail(err, E_USAGE, "one bin would split nothing");
    if (!rc)
        rc = read_number(ctx, "expect-tags", UINT32_MAX, &change.n_tags, err);
    if (!rc && bins && change.n_tags)
        rc = fail(err, E_USAGE, "--expect-tags and --bins both say how many bins");
    if (!rc)
        rc = open_role(ctx, &r, "bin-key", err);
    change.bits = bits_of(bins);
    return rc ? rc : carry_out(ctx, &r, change_split, &change, err);
}

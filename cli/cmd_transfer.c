/* bulla push, pull. */
#include "cli/command.h"
#include "verify/obtain.h"

#include <string.h>

static int transfer_result(struct context *ctx, const struct transfer_count *c, struct error *err)
{
    int rc = result_int(ctx, "bytes", (int64_t)c->bytes, err);
    if (!rc)
        rc = result_int(ctx, "blobs", (int64_t)c->blobs, err);
    return rc ? rc : result_int(ctx, "present", (int64_t)c->present, err);
}

static int push(struct context *ctx, const struct reference *ref, struct image_source *source,
                struct error *err)
{
    struct transfer_options options = {
        .progress = ctx->progress, .notice = say_retry, .notice_ctx = ctx};
    CLEANUP(remote_cleanup) struct remote *remote = NULL;
    struct transfer_count count = {.bytes = 0};
    char name[REFERENCE_TEXT_MAX], digest[DIGEST_TEXT_MAX], size[24];
    const struct descriptor *root = image_source_root(source);
    int rc = context_parallel(ctx, &options.parallel, err);
    if (!rc)
        rc = context_store(ctx, &options.store, err);
    if (!rc)
        rc = context_remote(ctx, ref, &remote, err);
    if (!rc)
        rc = push_image(remote, source, ref->repository, ref->tag, &options, &count, err);
    if (!rc)
        rc = store_pushed_set(options.store, reference_format(ref, name), root, err);
    if (rc)
        return wrap(err, rc, "push '%s'", reference_format(ref, name));
    digest_format(&root->digest, digest);
    say(ctx, "pushed %s", name);
    if (count.mounted)
        say(ctx, "digest %s  (%s sent, %zu blobs, %zu were there, %zu mounted)", digest,
            human_size(count.bytes, size), count.blobs, count.present, count.mounted);
    else
        say(ctx, "digest %s  (%s sent, %zu blobs, %zu were there)", digest,
            human_size(count.bytes, size), count.blobs, count.present);
    rc = result_text(ctx, "reference", name, err);
    if (!rc)
        rc = result_text(ctx, "digest", digest, err);
    if (!rc)
        rc = result_int(ctx, "mounted", (int64_t)count.mounted, err);
    return rc ? rc : transfer_result(ctx, &count, err);
}

int command_push(struct context *ctx, struct error *err)
{
    struct reference ref;
    struct store *store;
    CLEANUP(image_source_cleanup) struct image_source *source = NULL;
    int rc = parse_reference(ctx->options.args[1], &ref, err);
    if (!rc && ref.digest.alg)
        rc = fail(err, E_USAGE, "push to a tag, not to a digest");
    if (!rc && !option_given(&ctx->options, "sign") &&
        (option_given(&ctx->options, "role") || option_given(&ctx->options, "expires")))
        rc = fail(err, E_USAGE, "--role and --expires need --sign");
    if (!rc)
        rc = context_store(ctx, &store, err);
    if (!rc)
        rc = image_source_open(store, ctx->options.args[0], &source, err);
    if (!rc)
        rc = push(ctx, &ref, source, err);
    if (!rc && option_given(&ctx->options, "sign"))
        rc = wrap(err, sign_manifest(ctx, &ref, image_source_root(source), err),
                  "pushed, but not signed");
    return rc;
}

static int describe_pull(struct context *ctx, const struct obtained *o, const char *name,
                         struct error *err)
{
    char digest[DIGEST_TEXT_MAX], size[24];
    digest_format(&o->verdict.manifest.digest, digest);
    say(ctx, "pulled %s", name);
    if (o->moved.blobs)
        say(ctx, "digest %s  (%s received, %zu blobs, %zu were there)", digest,
            human_size(o->moved.bytes, size), o->moved.blobs, o->moved.present);
    else
        say(ctx, "digest %s  (everything was there)", digest);
    if (o->n_repaired)
        note(ctx, "bulla: replaced %zu damaged parts of the local store", o->n_repaired);
    for (size_t i = 0; i < o->verdict.n_warnings; i++)
        note(ctx, "warning: %s", o->verdict.warnings[i]);
    int rc = result_text(ctx, "reference", name, err);
    if (!rc)
        rc = result_text(ctx, "digest", digest, err);
    return rc ? rc : transfer_result(ctx, &o->moved, err);
}

int command_pull(struct context *ctx, struct error *err)
{
    struct reference ref;
    struct store *store;
    struct obtained obtained;
    char name[REFERENCE_TEXT_MAX];
    int rc = parse_reference(ctx->options.args[0], &ref, err);
    if (!rc)
        rc = context_policy(ctx, err);
    if (!rc)
        rc = context_store(ctx, &store, err);
    unsigned parallel = 0;
    if (!rc)
        rc = context_parallel(ctx, &parallel, err);
    if (rc)
        return rc;
    ctx->verify.tofu = option_given(&ctx->options, "tofu");
    struct obtain_options options = {.verify = &ctx->verify,
                                     .store = store,
                                     .progress = ctx->progress,
                                     .parallel = parallel,
                                     .notice = say_retry,
                                     .notice_ctx = ctx,
                                     .unpack = geteuid() == 0,
                                     .repair = true};
    rc = verify_obtain(&options, &ref, &obtained, err);
    if (!rc)
        rc = describe_pull(ctx, &obtained, reference_format(&ref, name), err);
    else
        rc = wrap(err, rc, "pull '%s'", reference_format(&ref, name));
    obtained_done(&obtained);
    return rc;
}

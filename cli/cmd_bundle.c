/* bulla save, load: images and their trust in one file. */
#include "cli/command.h"
#include "verify/bundle_save.h"

#include <string.h>

static int obtain_options(struct context *ctx, struct obtain_options *out, struct error *err)
{
    struct store *store;
    int rc = context_policy(ctx, err);
    if (!rc)
        rc = context_store(ctx, &store, err);
    if (rc)
        return rc;
    *out = (struct obtain_options){.verify = &ctx->verify,
                                   .store = store,
                                   .progress = ctx->progress,
                                   .notice = say_retry,
                                   .notice_ctx = ctx,
                                   .repair = true};
    return OK;
}

static int describe(struct context *ctx, const struct obtained *o, const char *name,
                    struct error *err)
{
    char digest[DIGEST_TEXT_MAX];
    say(ctx, "digest %s", digest_format(&o->verdict.manifest.digest, digest));
    if (o->n_repaired)
        note(ctx, "bulla: replaced %zu damaged parts of the local store", o->n_repaired);
    for (size_t i = 0; i < o->verdict.n_warnings; i++)
        note(ctx, "warning: %s", o->verdict.warnings[i]);
    int rc = result_text(ctx, "reference", name, err);
    return rc ? rc : result_text(ctx, "digest", digest, err);
}

static int describe_saved(struct context *ctx, const struct bundle_saved *saved, const char *path,
                          const char *name, struct error *err)
{
    char size[24];
    say(ctx, "saved %s", name);
    say(ctx, "file   %s  (%s)", path, human_size((uint64_t)saved->bytes, size));
    int rc = describe(ctx, &saved->obtained, name, err);
    if (!rc)
        rc = result_text(ctx, "file", path, err);
    return rc ? rc : result_int(ctx, "bytes", saved->bytes, err);
}

int command_save(struct context *ctx, struct error *err)
{
    struct reference ref;
    struct obtain_options obtain;
    struct bundle_saved saved;
    char name[REFERENCE_TEXT_MAX];
    struct bundle_save save = {.obtain = &obtain,
                               .path = option_text(&ctx->options, "output"),
                               .replace = option_given(&ctx->options, "force")};
    int rc = parse_reference(ctx->options.args[0], &ref, err);
    if (!rc && !save.path)
        rc = fail(err, E_USAGE, "name the file to write with -o");
    if (!rc)
        rc = obtain_options(ctx, &obtain, err);
    if (!rc)
        rc = context_parallel(ctx, &obtain.parallel, err);
    if (rc)
        return rc;
    rc = bundle_save(&save, &ref, &saved, err);
    if (!rc)
        rc = describe_saved(ctx, &saved, save.path, reference_format(&ref, name), err);
    else
        rc = wrap(err, rc, "save '%s'", reference_format(&ref, name));
    obtained_done(&saved.obtained);
    return rc;
}

static int describe_loaded(struct context *ctx, const struct obtained *o, const char *name,
                           struct error *err)
{
    char size[24];
    say(ctx, "loaded %s", name);
    if (o->moved.blobs)
        say(ctx, "%s written, %zu blobs, %zu were there", human_size(o->moved.bytes, size),
            o->moved.blobs, o->moved.present);
    int rc = describe(ctx, o, name, err);
    if (!rc)
        rc = result_int(ctx, "bytes", (int64_t)o->moved.bytes, err);
    return rc ? rc : result_int(ctx, "blobs", (int64_t)o->moved.blobs, err);
}

int command_load(struct context *ctx, struct error *err)
{
    CLEANUP(bundle_cleanup) struct bundle *bundle = NULL;
    struct obtain_options obtain;
    struct obtained obtained;
    char name[REFERENCE_TEXT_MAX];
    int rc = bundle_open(ctx->options.args[0], &bundle, err);
    if (!rc)
        rc = obtain_options(ctx, &obtain, err);
    if (rc)
        return rc;
    const struct reference *ref = &bundle_note(bundle)->ref;
    ctx->verify.bundle = bundle;
    ctx->verify.progress = ctx->progress;
    obtain.unpack = geteuid() == 0;
    rc = verify_obtain(&obtain, ref, &obtained, err);
    ctx->verify.bundle = NULL;
    if (!rc)
        rc = describe_loaded(ctx, &obtained, reference_format(ref, name), err);
    else
        rc = wrap(err, rc, "load '%s'", reference_format(ref, name));
    obtained_done(&obtained);
    return rc;
}

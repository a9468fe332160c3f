/* bulla copy: an image with its proofs, from one registry to another. */
#include "cli/command.h"
#include "verify/image_copy.h"

#include <string.h>

/* The destination's tag is the source's: that is what is signed. */
static int read_destination(struct context *ctx, const struct reference *from, bool with_proofs,
                            struct reference *to, struct error *err)
{
    const char *text = ctx->options.args[1];
    const char *slash = strrchr(text, '/');
    bool named = slash && strchr(slash, ':');
    int rc = parse_reference(text, to, err);
    if (!rc && to->digest.alg)
        rc = fail(err, E_USAGE, "copy to a tag, or to a repository, not to a digest");
    if (!rc && !named)
        memcpy(to->tag, from->tag, sizeof to->tag);
    if (!rc && with_proofs && strcmp(to->tag, from->tag) != 0)
        rc = fail(err, E_USAGE,
                  "what is signed as '%s' cannot be verified as '%s': name no other tag, or leave "
                  "the proofs behind with --image-only",
                  *from->tag ? from->tag : "a digest", to->tag);
    if (!rc && strcmp(from->host, to->host) == 0 && strcmp(from->repository, to->repository) == 0)
        rc = fail(err, E_USAGE, "source and destination are the same repository");
    return rc;
}

static const char *proofs_word(const struct image_copied *c)
{
    static const char *const words[] = {"none", "unchanged", "copied"};
    return words[c->proofs];
}

static int describe(struct context *ctx, const struct image_copied *c, const char *name,
                    struct error *err)
{
    char digest[DIGEST_TEXT_MAX], size[24];
    digest_format(&c->root.digest, digest);
    if (c->image) {
        say(ctx, "copied %s", name);
        say(ctx, "digest %s  (%s sent, %zu blobs, %zu were there, %zu mounted)", digest,
            human_size(c->moved.bytes, size), c->moved.blobs, c->moved.present, c->moved.mounted);
        if (c->proofs != COPY_PROOFS_NONE)
            say(ctx, "proofs %s", proofs_word(c));
        if (c->missing)
            note(ctx, "bulla: %lld other signed images of the collection are not there",
                 (long long)c->missing);
    }
    for (size_t i = 0; i < c->n_warnings; i++)
        note(ctx, "warning: %s", c->warnings[i]);
    int rc = result_text(ctx, "destination", name, err);
    if (!rc && c->image)
        rc = result_text(ctx, "digest", digest, err);
    if (!rc)
        rc = result_set(ctx, "image", js_bool_new(c->image), err);
    if (!rc)
        rc = result_text(ctx, "proofs", proofs_word(c), err);
    if (!rc)
        rc = result_int(ctx, "missing", c->missing, err);
    if (!rc)
        rc = result_int(ctx, "bytes", (int64_t)c->moved.bytes, err);
    if (!rc)
        rc = result_int(ctx, "blobs", (int64_t)c->moved.blobs, err);
    if (!rc)
        rc = result_int(ctx, "present", (int64_t)c->moved.present, err);
    return rc ? rc : result_int(ctx, "mounted", (int64_t)c->moved.mounted, err);
}

int command_copy(struct context *ctx, struct error *err)
{
    struct reference from, to;
    struct transfer_options transfer = {
        .progress = ctx->progress, .notice = say_retry, .notice_ctx = ctx};
    struct image_copy copy = {.verify = &ctx->verify,
                              .transfer = &transfer,
                              .image_only = option_given(&ctx->options, "image-only"),
                              .unverified = option_given(&ctx->options, "unverified")};
    struct image_copied copied;
    char a[REFERENCE_TEXT_MAX], b[REFERENCE_TEXT_MAX];
    int rc = parse_reference(ctx->options.args[0], &from, err);
    if (!rc)
        rc = read_destination(ctx, &from, !copy.image_only && !copy.unverified, &to, err);
    if (!rc && !copy.unverified)
        rc = context_policy(ctx, err);
    if (!rc)
        rc = context_store(ctx, &transfer.store, err);
    if (!rc)
        rc = context_parallel(ctx, &transfer.parallel, err);
    if (rc)
        return rc;
    struct error why = ERROR_INIT;
    int copying = image_copy(&copy, &from, &to, &copied, &why);
    rc = describe(ctx, &copied, reference_format(&to, b), err);
    if (copying)
        rc =
            fail(err, copying, "copy '%s' to '%s': %s", reference_format(&from, a), b, why.message);
    return rc;
}

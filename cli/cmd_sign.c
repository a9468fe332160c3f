/* bulla sign, and the signing half of push --sign. */
#include "base/clock.h"
#include "cli/command.h"
#include "signer/collection.h"

#include <inttypes.h>
#include <string.h>

/* What this machine pushed, the digest that was named, or (only when asked for) the remote tag. */
static int find_manifest(struct context *ctx, const struct reference *ref, struct descriptor *out,
                         struct error *err)
{
    struct store *store;
    struct reference tag_only = *ref;
    char name[REFERENCE_TEXT_MAX];
    bool remote_tag = option_given(&ctx->options, "trust-remote-tag");
    int rc = context_store(ctx, &store, err);
    if (rc)
        return rc;
    tag_only.digest.alg = DIGEST_NONE;
    if (!ref->digest.alg && !remote_tag) {
        rc = store_pushed_get(store, reference_format(&tag_only, name), out, err);
        if (rc == E_NOTFOUND)
            return fail(err, E_USAGE,
                        "this machine has not pushed '%s': name the digest (%s@sha256:…), or sign "
                        "what the registry's tag says now with --trust-remote-tag",
                        name, name);
        return rc;
    }
    CLEANUP(remote_cleanup) struct remote *remote = NULL;
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    char digest[DIGEST_TEXT_MAX];
    const char *what =
        ref->digest.alg ? digest_format(&ref->digest, digest) : (const char *)ref->tag;
    rc = context_remote(ctx, ref, &remote, err);
    if (!rc)
        rc = remote_manifest_get(remote, ref->repository, what, &body, out->media_type, err);
    if (!rc)
        rc = digest_of(DIGEST_SHA256, body.data, body.len, &out->digest, err);
    out->size = (int64_t)body.len;
    return rc;
}

/* What everybody who verifies one tag has to fetch, once it has become much. */
static int advise_split(struct context *ctx, const struct reference *ref, const char *role,
                        const struct collection_sign_result *r, struct error *err)
{
    bool split = r->n_tags >= COLLECTION_SPLIT_TAGS;
    if (split && !ctx->json)
        note(ctx,
             "note: role '%s' holds %zu tags in one file, which every verifier fetches whole: "
             "'bulla "
             "trust split %s/%s %s' spreads them over bins",
             role, r->n_tags, ref->host, ref->repository, role);
    return result_set(ctx, "splitAdvised", js_bool_new(split), err);
}

static int describe(struct context *ctx, const struct collection_sign_result *r, const char *target,
                    const char *role, const struct descriptor *manifest, struct error *err)
{
    char digest[DIGEST_TEXT_MAX], previous[DIGEST_TEXT_MAX], when[CLOCK_TEXT_MAX];
    digest_format(&manifest->digest, digest);
    clock_format(r->expires_s, when);
    if (r->already)
        say(ctx, "'%s' is signed already (role %s, version %" PRId64 ")", target, role, r->version);
    else
        say(ctx, "signed '%s' in role %s, version %" PRId64 ", until %s", target, role, r->version,
            when);
    say(ctx, "digest %s", digest);
    if (r->replaced)
        say(ctx, "before %s", digest_format(&r->previous, previous));
    for (size_t i = 0; i < r->n_keys; i++)
        say(ctx, "with   %s", r->keys[i].label);
    if (r->n_rebased)
        say(ctx, "note   somebody else published meanwhile; their changes were kept");
    int rc = result_text(ctx, "target", target, err);
    if (!rc)
        rc = result_text(ctx, "role", role, err);
    if (!rc)
        rc = result_text(ctx, "digest", digest, err);
    if (!rc)
        rc = result_int(ctx, "version", r->version, err);
    if (!rc)
        rc = result_set(ctx, "already", js_bool_new(r->already), err);
    return rc ? rc : result_text(ctx, "expires", when, err);
}

static int lifetime(struct context *ctx, int64_t *out, struct error *err)
{
    const char *text = option_text(&ctx->options, "expires");
    if (!text)
        return OK;
    if (text_to_duration(text, out, err) || *out <= 0)
        return fail(err, E_USAGE, "--expires '%s' is not a time like 90d or 12h", text);
    return OK;
}

int sign_manifest(struct context *ctx, const struct reference *ref,
                  const struct descriptor *manifest, struct error *err)
{
    const char *keys[OPTION_VALUES_MAX];
    char digest[DIGEST_TEXT_MAX];
    struct collection_owner owner;
    struct collection_sign_result result;
    const char *role = option_text(&ctx->options, "role");
    struct collection_sign_options options = {
        .target = *ref->tag ? ref->tag : digest_format(&manifest->digest, digest),
        .manifest = *manifest,
        .keys = keys,
        .n_keys = option_list(&ctx->options, "key", keys, OPTION_VALUES_MAX),
        .role = role,
        .believe = option_given(&ctx->options, "without-history"),
    };
    int rc = lifetime(ctx, &options.lifetime_s, err);
    if (!rc)
        rc = context_owner(ctx, &owner, err);
    if (rc)
        return rc;
    rc = collection_sign(&owner, ref, &options, &result, err);
    role = role ? role : "targets";
    if (!rc)
        rc = describe(ctx, &result, options.target, role, manifest, err);
    return rc ? rc : advise_split(ctx, ref, role, &result, err);
}

int command_sign(struct context *ctx, struct error *err)
{
    struct reference ref;
    struct descriptor manifest = {.size = 0};
    int rc = parse_reference(ctx->options.args[0], &ref, err);
    if (!rc && ref.digest.alg == DIGEST_SHA512)
        rc = fail(err, E_USAGE,
                  "a manifest is signed by its SHA-256: name it with its sha256 digest");
    if (!rc)
        rc = find_manifest(ctx, &ref, &manifest, err);
    return rc ? rc : sign_manifest(ctx, &ref, &manifest, err);
}

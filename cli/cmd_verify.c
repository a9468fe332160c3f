/* bulla verify: the verdict for people and for scripts. */
#include "base/clock.h"
#include "cli/command.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static void show_freshness(const struct context *ctx, const struct verdict *v)
{
    if (v->freshness == FRESH_CACHED)
        say(ctx, "freshness  cached, %" PRId64 " s old", v->age_s);
    else if (v->freshness == FRESH_MIRROR)
        say(ctx, "freshness  mirror, %" PRId64 " s old", v->age_s);
    else if (v->freshness == FRESH_BUNDLE)
        say(ctx, "freshness  bundle, %" PRId64 " s old", v->age_s);
    else
        say(ctx, "freshness  asked the registry just now");
}

int show_verdict(struct context *ctx, const struct verdict *v, int code, const struct error *why,
                 struct error *err)
{
    char text[REFERENCE_TEXT_MAX], when[CLOCK_TEXT_MAX], digest[DIGEST_TEXT_MAX];
    static const char *const origins[] = {"policy", "pin", "first use"};
    if (!code) {
        say(ctx, v->superseded ? "superseded %s" : "valid      %s",
            reference_format(&v->ref, text));
        say(ctx, "digest     %s", digest_format(&v->manifest.digest, digest));
        say(ctx, "collection %s  (anchor: %s)", v->collection, origins[v->anchor]);
        say(ctx, "role       %s", v->role);
        for (size_t i = 0; i < v->n_signers; i++)
            say(ctx, "signer     %s", v->signers[i].text);
        for (size_t i = 0; i < 4; i++)
            say(ctx, "%-10s version %" PRId64 ", expires %s", v->versions[i].role,
                v->versions[i].version, clock_format(v->versions[i].expires_s, when));
        show_freshness(ctx, v);
    }
    for (size_t i = 0; i < v->n_warnings; i++)
        note(ctx, "warning: %s", v->warnings[i]);
    struct js *object = NULL;
    int rc = verdict_to_js(v, code, why, &object, err);
    if (rc)
        return rc;
    js_cleanup(&ctx->result);
    ctx->result = object;
    return OK;
}

/* A reference has a '/' behind its host and starts with a letter, a digit or '['. */
static bool names_file(const char *text)
{
    return *text == '/' || *text == '.' || (!strchr(text, '/') && access(text, F_OK) == 0);
}

static int open_what(struct context *ctx, const char *text, struct bundle **bundle,
                     struct reference *ref, struct error *err)
{
    if (!names_file(text))
        return parse_reference(text, ref, err);
    if (option_given(&ctx->options, "tofu"))
        return fail(err, E_USAGE, "--tofu is for registries; a bundle is judged by a known root");
    int rc = bundle_open(text, bundle, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_USAGE, "'%s' is neither a file nor a reference", text);
    if (!rc)
        *ref = bundle_note(*bundle)->ref;
    return rc;
}

int command_verify(struct context *ctx, struct error *err)
{
    CLEANUP(bundle_cleanup) struct bundle *bundle = NULL;
    struct reference ref;
    struct verdict verdict;
    struct digest recorded;
    const char *digest = option_text(&ctx->options, "recorded");
    int rc = digest ? digest_parse_text(digest, &recorded, NULL) : OK;
    if (rc)
        return fail(err, E_USAGE, "--recorded '%s' is no digest (sha256:…)", digest);
    rc = open_what(ctx, ctx->options.args[0], &bundle, &ref, err);
    if (!rc)
        rc = context_policy(ctx, err);
    if (rc)
        return rc;
    ctx->verify.tofu = option_given(&ctx->options, "tofu");
    ctx->verify.look_at_registry_tag = true;
    ctx->verify.bundle = bundle;
    ctx->verify.recorded = digest ? &recorded : NULL;
    ctx->verify.progress = ctx->progress;
    int code = verify_reference(&ctx->verify, &ref, &verdict, err);
    struct error why = *err, printing = ERROR_INIT;
    rc = show_verdict(ctx, &verdict, code, &why, &printing);
    verdict_done(&verdict);
    ctx->verify.bundle = NULL;
    ctx->verify.recorded = NULL;
    if (rc)
        *err = printing;
    else if (code)
        rc = wrap(err, code, "%s '%s'",
                  error_exit_status(code) == EXIT_REFUSED ? "refused" : "could not determine",
                  ctx->options.args[0]);
    return rc;
}

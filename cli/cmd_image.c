/* bulla import, images: the local image store. */
#include "cli/command.h"

#include <string.h>

/* A JSON array of strings as a NULL-terminated list borrowed from *doc. */
static int json_words(const char *option, const char *text, struct js **doc, char ***out,
                      struct error *err)
{
    int rc = js_parse(text, strlen(text), doc, err);
    if (!rc && js_type(*doc) != JS_ARRAY)
        rc = fail(err, E_INVALID, "not an array");
    size_t n = rc ? 0 : js_count(*doc);
    char **words = (char **)calloc(n + 1, sizeof *words);
    if (!words)
        return fail_nomem(err);
    *out = words;
    for (size_t i = 0; !rc && i < n; i++) {
        /* The list is only read; the interface of store_import has no const inside. */
        words[i] = (char *)(uintptr_t)js_text(js_at(*doc, i));
        if (!words[i])
            rc = fail(err, E_INVALID, "element %zu is not a string", i + 1);
    }
    if (rc)
        return fail(err, E_USAGE, "--%s wants a JSON array of strings, like '[\"/bin/sh\",\"-c\"]'",
                    option);
    return OK;
}

static int parse_compression(const char *text, enum layer_compression *out, struct error *err)
{
    if (!text || strcmp(text, "gzip") == 0)
        *out = LAYER_GZIP;
    else if (strcmp(text, "zstd") == 0)
        *out = LAYER_ZSTD;
    else if (strcmp(text, "none") == 0)
        *out = LAYER_NONE;
    else
        return fail(err, E_USAGE, "unknown compression '%s' (gzip, zstd or none)", text);
    return OK;
}

static int check_name(const char *name, struct error *err)
{
    const char *colon = strrchr(name, ':');
    if (!colon || !repository_name_valid(name, (size_t)(colon - name)) ||
        !tag_name_valid(colon + 1, strlen(colon + 1)))
        return fail(err, E_USAGE, "'%s' is not a NAME:TAG (like demo/app:v1, lower case)", name);
    return OK;
}

struct import_words {
    struct js *docs[2];
    char **lists[2];
};

static void import_words_done(struct import_words *w)
{
    for (int i = 0; i < 2; i++) {
        free((void *)w->lists[i]);
        js_cleanup(&w->docs[i]);
    }
}

static int import_settings(struct context *ctx, struct import_words *w, const char **env,
                           struct import_options *out, struct error *err)
{
    static const char *const names[2] = {"entrypoint", "cmd"};
    const struct options *o = &ctx->options;
    int rc = parse_compression(option_text(o, "compress"), &out->compression, err);
    for (int i = 0; !rc && i < 2; i++)
        if (option_given(o, names[i]))
            rc = json_words(names[i], option_text(o, names[i]), &w->docs[i], &w->lists[i], err);
    size_t n = option_list(o, "env", env, OPTION_VALUES_MAX);
    for (size_t i = 0; !rc && i < n; i++)
        if (env[i][0] == '=' || !strchr(env[i], '='))
            rc = fail(err, E_USAGE, "--env '%s' is not NAME=VALUE", env[i]);
    out->entrypoint = w->lists[0];
    out->cmd = w->lists[1];
    out->env = (char *const *)(uintptr_t)env;
    out->user = option_text(o, "user");
    out->working_dir = option_text(o, "workdir");
    return rc;
}

int command_import(struct context *ctx, struct error *err)
{
    const char *path = ctx->options.args[0], *name = ctx->options.args[1];
    CLEANUP(import_words_done) struct import_words words = {{NULL, NULL}, {NULL, NULL}};
    const char *env[OPTION_VALUES_MAX + 1] = {NULL};
    struct import_options options = {.compression = LAYER_GZIP};
    struct descriptor image;
    struct store *store;
    size_t skipped = 0;
    char digest[DIGEST_TEXT_MAX];
    int rc = check_name(name, err);
    if (!rc)
        rc = import_settings(ctx, &words, env, &options, err);
    if (!rc)
        rc = context_store(ctx, &store, err);
    if (!rc)
        rc = store_import(store, path, name, &options, ctx->progress, &image, &skipped, err);
    if (rc)
        return rc;
    if (skipped)
        note(ctx, "bulla: left out %zu device nodes or sockets", skipped);
    digest_format(&image.digest, digest);
    say(ctx, "store:%s", name);
    say(ctx, "digest %s", digest);
    rc = result_text(ctx, "name", name, err);
    return rc ? rc : result_text(ctx, "digest", digest, err);
}

static int image_row(struct context *ctx, const struct store_name *n, struct js *list,
                     struct error *err)
{
    char digest[DIGEST_TEXT_MAX], brief[32];
    bool whole = option_given(&ctx->options, "digests");
    digest_format(&n->descriptor.digest, digest);
    say(ctx, "%-48s %s", n->name, whole ? digest : short_digest(&n->descriptor.digest, brief));
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? js_set(o, "name", js_text_new(n->name), err) : fail_nomem(err);
    if (!rc)
        rc = js_set(o, "digest", js_text_new(digest), err);
    if (!rc)
        rc = js_set(o, "mediaType", js_text_new(n->descriptor.media_type), err);
    return rc ? rc : js_push(list, TAKE_PTR(o), err);
}

int command_images(struct context *ctx, struct error *err)
{
    struct store *store;
    struct store_name *names = NULL;
    size_t n = 0;
    CLEANUP(js_cleanup) struct js *list = js_array_new();
    int rc = list ? context_store(ctx, &store, err) : fail_nomem(err);
    if (!rc)
        rc = store_names(store, &names, &n, err);
    if (rc)
        return rc;
    if (n)
        say(ctx, "%-48s %s", "IMAGE", "DIGEST");
    else
        say(ctx, "no images; 'bulla pull REF' or 'bulla import' brings some");
    for (size_t i = 0; !rc && i < n; i++)
        rc = image_row(ctx, &names[i], list, err);
    store_names_free(names, n);
    return rc ? rc : result_set(ctx, "images", TAKE_PTR(list), err);
}

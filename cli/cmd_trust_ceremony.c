/* bulla trust stage, add-signature, publish. */
#include "cli/command.h"
#include "signer/collection_change.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- stage: the change's own command, with --stage FILE --- */

static const char *const stageable[] = {"init",  "delegate", "undelegate", "rotate", "repair",
                                        "renew", "revoke",   "split",      NULL};

/* Common options that stood before FILE are the command's. */
static size_t count_common(const struct options *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_specs; i++)
        n += o->text[i] != NULL;
    return n;
}

static int join_option(const struct option_spec *spec, const char *value, char **out,
                       struct error *err)
{
    *out = spec->kind == OPTION_FLAG ? text_format("--%s", spec->name)
                                     : text_format("--%s=%s", spec->name, value);
    return *out ? OK : fail_nomem(err);
}

struct words {
    char **items; /* owned texts; NULL-terminated */
    size_t n;
};

static void words_done(struct words *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->items[i]);
    free(w->items);
}

static int add_word(struct words *w, const char *text, struct error *err)
{
    w->items[w->n] = strdup(text);
    return w->items[w->n] ? (w->n++, OK) : fail_nomem(err);
}

static int make_words(const struct options *o, struct words *w, struct error *err)
{
    w->items = calloc(o->n_args + count_common(o) + 5, sizeof *w->items);
    if (!w->items)
        return fail_nomem(err);
    int rc = add_word(w, "bulla", err);
    if (!rc)
        rc = add_word(w, "trust", err);
    if (!rc)
        rc = add_word(w, o->args[1], err);
    for (size_t i = 0; !rc && i < o->n_specs; i++)
        if (o->text[i]) {
            rc = join_option(o->specs[i], o->text[i], &w->items[w->n], err);
            w->n += !rc;
        }
    if (!rc)
        rc = add_word(w, "--stage", err);
    if (!rc)
        rc = add_word(w, o->args[0], err);
    for (size_t i = 2; !rc && i < o->n_args; i++)
        rc = add_word(w, o->args[i], err);
    return rc;
}

int command_trust_stage(struct context *ctx, struct error *err)
{
    CLEANUP(words_done) struct words w = {NULL, 0};
    size_t i = 0;
    while (stageable[i] && strcmp(stageable[i], ctx->options.args[1]) != 0)
        i++;
    if (!stageable[i])
        return fail(err, E_USAGE, "'%s' cannot be staged; 'bulla trust stage --help' says what can",
                    ctx->options.args[1]);
    int rc = make_words(&ctx->options, &w, err);
    if (rc)
        return rc;
    ctx->json = false; /* the command that runs now prints the object */
    ctx->exit_status = dispatch((int)w.n, w.items);
    return OK;
}

/* --- add-signature --- */

static bool asked_and_agreed(void)
{
    char line[16];
    (void)fprintf(stderr, "Sign this? Type 'yes': ");
    return fgets(line, sizeof line, stdin) && strcmp(line, "yes\n") == 0;
}

static int show(struct context *ctx, const struct collection_ceremony *c, struct error *err)
{
    CLEANUP(js_cleanup) struct js *lines = js_array_new();
    CLEANUP(cleanup_free) char *text = strdup(bytes_text(&c->summary));
    char *rest = NULL;
    int rc = lines && text ? OK : fail_nomem(err);
    say(ctx, "collection '%s' at %s/%s", c->draft.collection, c->draft.ref.host,
        c->draft.ref.repository);
    if (!c->known && c->draft.n_base)
        say(ctx, "this machine does not know that root: compare its keys with what you know");
    for (char *line = rc ? NULL : strtok_r(text, "\n", &rest); !rc && line;
         line = strtok_r(NULL, "\n", &rest)) {
        say(ctx, "%s", line);
        rc = js_push(lines, js_text_new(line), err);
    }
    if (!rc)
        rc = result_text(ctx, "collection", c->draft.collection, err);
    if (!rc)
        rc = result_set(ctx, "known", js_bool_new(c->known), err);
    return rc ? rc : result_set(ctx, "changes", TAKE_PTR(lines), err);
}

static int show_progress(struct context *ctx, const struct collection_ceremony *c,
                         struct error *err)
{
    struct collection_progress p;
    size_t missing = 0;
    for (size_t i = 0; collection_ceremony_progress(c, i, &p); i++) {
        if (p.n_missing)
            say(ctx, "%s: %zu signatures, %zu more needed", p.role, p.n, p.n_missing);
        missing += p.n_missing;
    }
    if (!missing)
        say(ctx, "all signatures are there: 'bulla trust publish' publishes the change");
    return result_set(ctx, "complete", js_bool_new(missing == 0), err);
}

static int agree(struct context *ctx, struct error *err)
{
    if (option_given(&ctx->options, "yes"))
        return OK;
    (void)fflush(stdout);
    if (ctx->json || !isatty(STDIN_FILENO))
        return fail(err, E_USAGE, "nobody is there to read and agree: --yes signs without asking");
    return asked_and_agreed() ? OK : fail(err, E_INTERRUPTED, "not signed");
}

static int open_ceremony(struct context *ctx, struct collection_owner *owner,
                         struct collection_ceremony *c, struct error *err)
{
    int rc = context_owner(ctx, owner, err);
    return rc ? rc : collection_ceremony_open(owner, ctx->options.args[0], c, err);
}

int command_trust_add_signature(struct context *ctx, struct error *err)
{
    const char *keys[OPTION_VALUES_MAX];
    size_t n = option_list(&ctx->options, "key", keys, OPTION_VALUES_MAX);
    struct collection_owner owner;
    struct collection_ceremony c;
    int rc = open_ceremony(ctx, &owner, &c, err);
    if (rc)
        return rc;
    rc = show(ctx, &c, err);
    if (!rc)
        rc = agree(ctx, err);
    if (!rc)
        rc = collection_ceremony_sign(&c, ctx->options.args[0], keys, n, err);
    if (!rc)
        rc = show_progress(ctx, &c, err);
    collection_ceremony_close(&c);
    return rc;
}

/* --- publish --- */

int command_trust_publish(struct context *ctx, struct error *err)
{
    struct collection_owner owner;
    struct collection_ceremony c;
    int rc = open_ceremony(ctx, &owner, &c, err);
    if (rc)
        return rc;
    rc = collection_ceremony_publish(&c, err);
    if (!rc)
        rc = show(ctx, &c, err);
    if (!rc)
        say(ctx, "published");
    rc = wrap(err, rc, "trust publish '%s/%s'", c.draft.ref.host, c.draft.ref.repository);
    collection_ceremony_close(&c);
    return rc;
}

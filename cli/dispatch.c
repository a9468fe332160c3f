/* Finds the command, parses its options, runs it, reports what went wrong once. */
#include "cli/command.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

static void print_options(const struct option_spec *specs)
{
    for (; specs && specs->name; specs++) {
        char left[64];
        (void)snprintf(left, sizeof left, "%s%c%s--%s%s%s", specs->letter ? "-" : " ",
                       specs->letter ? specs->letter : ' ', specs->letter ? ", " : "  ",
                       specs->name, specs->value ? " " : "", specs->value ? specs->value : "");
        printf("  %-34s %s\n", left, specs->help);
    }
}

static void print_command_help(const struct command *c)
{
    printf("usage: bulla %s [options] %s\n\n%s\n", c->name, c->arguments, c->summary);
    if (c->options) {
        printf("\noptions:\n");
        print_options(c->options);
    }
    printf("\ncommon options:\n");
    print_options(common_options);
    if (c->notes)
        printf("\n%s", c->notes);
    printf("\nexit status: 0 done, 1 refused, 2 wrong usage, 3 could not\n");
}

static void print_overview(const char *group)
{
    printf("usage: bulla COMMAND [options] [arguments]\n\n"
           "Pushes, signs, verifies and runs container images whose every byte was vouched for.\n\n"
           "commands:\n");
    for (const struct command *c = commands; c->name; c++)
        if (!group || (text_starts(c->name, group) && c->name[strlen(group)] == ' '))
            printf("  %-18s %s\n", c->name, c->summary);
    printf("\n'bulla COMMAND --help' says more about one.\n");
}

/* The first n words of argv behind the program's name, joined. */
static void join_words(char **argv, int n, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 1; i <= n && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i > 1 ? " " : "", argv[i]);
}

/* Words a command name has: the table's longest match wins. */
static const struct command *find_command(int argc, char **argv, int *words)
{
    for (int n = argc > 3 ? 3 : argc - 1; n >= 1; n--) {
        char name[64];
        join_words(argv, n, name, sizeof name);
        for (const struct command *c = commands; c->name; c++)
            if (strcmp(c->name, name) == 0) {
                *words = n;
                return c;
            }
    }
    return NULL;
}

static bool is_group(const char *word)
{
    for (const struct command *c = commands; c->name; c++)
        if (text_starts(c->name, word) && c->name[strlen(word)] == ' ')
            return true;
    return false;
}

static int unknown_command(int argc, char **argv)
{
    const char *nearest = NULL;
    size_t best = 3;
    char word[64];
    bool group = is_group(argv[1]);
    (void)snprintf(word, sizeof word, group && argc > 2 ? "%.30s %.30s" : "%.30s", argv[1],
                   argc > 2 ? argv[2] : "");
    for (const struct command *c = commands; c->name; c++) {
        size_t d = word_distance(word, c->name);
        if (d < best) {
            best = d;
            nearest = c->name;
        }
    }
    struct error err = ERROR_INIT;
    if (nearest)
        (void)fail(&err, E_USAGE, "unknown command '%s'; did you mean '%s'?", word, nearest);
    else if (group && argc > 2 && argv[2][0] != '-')
        (void)fail(&err, E_USAGE, "unknown command '%s'; 'bulla %s --help' lists them", word,
                   argv[1]);
    else if (group)
        (void)fail(&err, E_USAGE, "'%s' needs a second word; 'bulla %s --help' lists them", word,
                   argv[1]);
    else
        (void)fail(&err, E_USAGE, "unknown command '%s'; 'bulla --help' lists them", word);
    (void)fprintf(stderr, "bulla: %s\n", err.message);
    return EXIT_USAGE;
}

static int check_arguments(const struct command *c, const struct options *o, struct error *err)
{
    if (o->n_args >= c->min_args && o->n_args <= c->max_args)
        return OK;
    return fail(err, E_USAGE, "usage: bulla %s %s ('bulla %s --help' says more)", c->name,
                c->arguments, c->name);
}

/* With --json exactly one object goes to standard output, whatever happened. */
static void print_result(struct context *ctx, int rc, const struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct js *o = result_object(ctx);
    if (!o)
        return;
    if (rc && !js_get(o, "verdict") &&
        (js_set(o, "error", js_text_new(error_name(rc)), NULL) ||
         js_set(o, "message", js_text_new(err->message), NULL)))
        return;
    if (js_write(o, true, &text, NULL) == OK)
        (void)fwrite(text.data, 1, text.len, stdout);
}

static int finish(struct context *ctx, int rc, struct error *err)
{
    if (ctx->json)
        print_result(ctx, rc, err);
    if (fflush(stdout) && !rc)
        rc = fail_sys(err, errno, "write output");
    if (rc)
        (void)fprintf(stderr, "bulla: %s\n", err->message);
    return ctx->exit_status >= 0 ? ctx->exit_status : error_exit_status(rc);
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0)
            return true;
        else if (argv[i][0] != '-')
            return false; /* `run IMAGE ls --help` is ls's */
    return false;
}

static int run_command(const struct command *c, int argc, char **argv)
{
    struct context ctx = {.command = c, .exit_status = -1};
    struct error err = ERROR_INIT;
    const struct option_spec *tables[] = {common_options, c->options, NULL};
    if (wants_help(argc, argv) || (!c->stop_at && argc && strcmp(argv[argc - 1], "--help") == 0)) {
        print_command_help(c);
        return EXIT_DONE;
    }
    int rc = options_parse(tables, c->stop_at, argc, (const char *const *)argv, &ctx.options, &err);
    if (rc) {
        (void)fprintf(stderr, "bulla: %s\n", err.message);
        return EXIT_USAGE;
    }
    if (option_given(&ctx.options, "verbose"))
        log_setup("bulla", LOG_LEVEL_DEBUG, LOG_TEXT);
    rc = check_arguments(c, &ctx.options, &err);
    if (!rc)
        rc = context_init(&ctx, &err);
    if (!rc)
        rc = c->run(&ctx, &err);
    int status = finish(&ctx, rc, &err);
    context_done(&ctx);
    return status;
}

/* Common options may stand before the command: how many words they take. */
static int leading_options(int argc, char **argv)
{
    int at = 1;
    while (at < argc && argv[at][0] == '-' && argv[at][1]) {
        const struct option_spec *s = common_options;
        bool separate = !strchr(argv[at], '=');
        while (s->name && !(text_starts(argv[at], "--") && strcmp(argv[at] + 2, s->name) == 0))
            s++;
        at += s->name && s->kind != OPTION_FLAG && separate ? 2 : 1;
    }
    return at < argc ? at - 1 : 0;
}

/* "bulla --home X verify Y" means "bulla verify --home X Y". words: of the command's name. */
static void rotate(char **argv, int leading, int words)
{
    for (int w = 0; w < words; w++) {
        char *word = argv[1 + leading + w];
        memmove((void *)&argv[2 + w], (void *)&argv[1 + w], (size_t)leading * sizeof *argv);
        argv[1 + w] = word;
    }
}

static bool is_word(const char *given, const char *a, const char *b)
{
    return strcmp(given, a) == 0 || strcmp(given, b) == 0;
}

int dispatch(int argc, char **argv)
{
    int words = 0;
    if (argc < 2 || is_word(argv[1], "--help", "help")) {
        print_overview(NULL);
        return argc < 2 ? EXIT_USAGE : EXIT_DONE;
    }
    if (is_word(argv[1], "--version", "version")) {
        printf("bulla %s\n", BULLA_VERSION);
        return EXIT_DONE;
    }
    int leading = leading_options(argc, argv);
    const struct command *c = find_command(argc - leading, argv + leading, &words);
    if (c) {
        rotate(argv, leading, words);
        return run_command(c, argc - 1 - words, argv + 1 + words);
    }
    argc -= leading;
    argv += leading;
    if (argc == 3 && is_group(argv[1]) && strcmp(argv[2], "--help") == 0) {
        print_overview(argv[1]);
        return EXIT_DONE;
    }
    return unknown_command(argc, argv);
}

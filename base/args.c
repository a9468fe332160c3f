#include "base/args.h"

#include <string.h>

static const struct args_option *find(const struct args_option *options, const char *arg,
                                      size_t len)
{
    for (const struct args_option *o = options; o->name; o++)
        if (strlen(o->name) == len && memcmp(o->name, arg, len) == 0)
            return o;
    return NULL;
}

/* The known option that shares the longest beginning. */
static const char *nearest(const struct args_option *options, const char *arg)
{
    const char *best = NULL;
    size_t best_len = 2;
    for (const struct args_option *o = options; o->name; o++) {
        size_t same = 0;
        while (arg[same] && arg[same] == o->name[same])
            same++;
        if (same > best_len) {
            best = o->name;
            best_len = same;
        }
    }
    return best;
}

static int unknown(const struct args_option *options, const char *arg, struct error *err)
{
    const char *near = nearest(options, arg);
    if (near)
        return fail(err, E_USAGE, "unknown option '%s': did you mean '%s'?", arg, near);
    return fail(err, E_USAGE, "unknown option '%s'; --help lists them", arg);
}

/* One option; *used: how many arguments it took. */
static int take_option(char **args, const struct args_option *options, int *used, struct error *err)
{
    const char *arg = args[0], *equals = strchr(arg, '=');
    const struct args_option *o = find(options, arg, equals ? (size_t)(equals - arg) : strlen(arg));
    if (!o)
        return unknown(options, arg, err);
    *used = 1;
    if (!o->value) {
        if (equals || *o->flag)
            return fail(err, E_USAGE, "option '%s' %s", o->name,
                        equals ? "takes no value" : "is given twice");
        *o->flag = true;
        return 0;
    }
    if (*o->value)
        return fail(err, E_USAGE, "option '%s' is given twice", o->name);
    *o->value = equals ? equals + 1 : args[1];
    *used = equals ? 1 : 2;
    return *o->value ? 0 : fail(err, E_USAGE, "option '%s' needs a value", o->name);
}

int args_parse(char **args, const struct args_option *options, const char **words, int max,
               struct error *err)
{
    int n = 0;
    bool only_words = false;
    while (*args) {
        if (!only_words && strcmp(*args, "--") == 0) {
            only_words = true;
            args++;
        } else if (!only_words && (*args)[0] == '-' && (*args)[1]) {
            int used = 0;
            int rc = take_option(args, options, &used, err);
            if (rc != 0)
                return rc;
            args += used;
        } else if (n == max) {
            return fail(err, E_USAGE, "'%s' is one argument too many; --help shows the order",
                        *args);
        } else {
            words[n++] = *args++;
        }
    }
    return n == max ? 0 : fail(err, E_USAGE, "an argument is missing; --help shows the order");
}

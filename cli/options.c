#include "cli/options.h"

#include "base/cleanup.h"

#include <assert.h>
#include <string.h>

#define WORD_MAX 40 /* longer words are never close to a real one */

size_t word_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), row[WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

static size_t find(const struct options *o, const char *name, size_t len)
{
    for (size_t i = 0; i < o->n_specs; i++)
        if (strlen(o->specs[i]->name) == len && memcmp(o->specs[i]->name, name, len) == 0)
            return i;
    return OPTIONS_MAX;
}

static int unknown(const struct options *o, const char *name, size_t len, struct error *err)
{
    char word[WORD_MAX + 1];
    const char *nearest = NULL;
    size_t best = 3; /* further away is no help */
    (void)snprintf(word, sizeof word, "%.*s", (int)len, name);
    for (size_t i = 0; i < o->n_specs; i++) {
        size_t d = word_distance(word, o->specs[i]->name);
        if (d < best) {
            best = d;
            nearest = o->specs[i]->name;
        }
    }
    if (nearest)
        return fail(err, E_USAGE, "unknown option '--%s'; did you mean '--%s'?", word, nearest);
    return fail(err, E_USAGE, "unknown option '--%s'; --help lists them", word);
}

static int put(struct options *o, size_t i, const char *value, struct error *err)
{
    const struct option_spec *spec = o->specs[i];
    if (spec->kind == OPTION_LIST) {
        if (o->n_list == OPTION_VALUES_MAX)
            return fail(err, E_USAGE, "too many options");
        o->list[o->n_list].spec = i;
        o->list[o->n_list++].value = value;
        return OK;
    }
    if (o->text[i])
        return fail(err, E_USAGE, "option '--%s' is given twice", spec->name);
    o->text[i] = value;
    return OK;
}

struct words {
    int argc;
    const char *const *argv;
    int at;
};

static int take_value(struct options *o, size_t i, struct words *w, struct error *err)
{
    if (w->at + 1 >= w->argc)
        return fail(err, E_USAGE, "option '--%s' needs a value (%s)", o->specs[i]->name,
                    o->specs[i]->value);
    return put(o, i, w->argv[++w->at], err);
}

static int long_option(struct options *o, struct words *w, struct error *err)
{
    const char *name = w->argv[w->at] + 2;
    size_t len = strcspn(name, "=");
    size_t i = find(o, name, len);
    if (i == OPTIONS_MAX)
        return unknown(o, name, len, err);
    if (o->specs[i]->kind == OPTION_FLAG)
        return name[len] ? fail(err, E_USAGE, "option '--%s' takes no value", o->specs[i]->name)
                         : put(o, i, "", err);
    return name[len] ? put(o, i, name + len + 1, err) : take_value(o, i, w, err);
}

static int letters(struct options *o, struct words *w, struct error *err)
{
    for (const char *p = w->argv[w->at] + 1; *p; p++) {
        size_t i = 0;
        while (i < o->n_specs && o->specs[i]->letter != *p)
            i++;
        if (i == o->n_specs)
            return fail(err, E_USAGE, "unknown option '-%c'; --help lists them", *p);
        if (o->specs[i]->kind != OPTION_FLAG)
            return p[1] ? put(o, i, p + 1, err) : take_value(o, i, w, err);
        int rc = put(o, i, "", err);
        if (rc)
            return rc;
    }
    return OK;
}

static void add_tables(struct options *o, const struct option_spec *const tables[])
{
    for (; *tables; tables++)
        for (const struct option_spec *s = *tables; s->name; s++) {
            assert(o->n_specs < OPTIONS_MAX);
            o->specs[o->n_specs++] = s;
        }
}

int options_parse(const struct option_spec *const tables[], size_t stop_at, int argc,
                  const char *const *argv, struct options *out, struct error *err)
{
    struct words w = {argc, argv, 0};
    bool ended = false;
    int rc = OK;
    memset(out, 0, sizeof *out);
    add_tables(out, tables);
    out->args = (const char **)calloc((size_t)argc + 1, sizeof *out->args);
    if (!out->args)
        return fail_nomem(err);
    for (; !rc && w.at < argc; w.at++) {
        const char *word = argv[w.at];
        if (stop_at && out->n_args >= stop_at)
            ended = true;
        if (ended || word[0] != '-' || !word[1])
            out->args[out->n_args++] = word;
        else if (strcmp(word, "--") == 0)
            ended = true;
        else
            rc = word[1] == '-' ? long_option(out, &w, err) : letters(out, &w, err);
    }
    if (rc)
        options_done(out);
    return rc;
}

void options_done(struct options *o)
{
    free((void *)o->args);
    o->args = NULL;
    o->n_args = 0;
}

const char *option_text(const struct options *o, const char *name)
{
    size_t i = find(o, name, strlen(name));
    assert(i < OPTIONS_MAX);
    return o->text[i];
}

bool option_given(const struct options *o, const char *name)
{
    return option_text(o, name) != NULL;
}

size_t option_list(const struct options *o, const char *name, const char **out, size_t max)
{
    size_t i = find(o, name, strlen(name)), n = 0;
    assert(i < OPTIONS_MAX);
    for (size_t k = 0; k < o->n_list && n < max; k++)
        if (o->list[k].spec == i)
            out[n++] = o->list[k].value;
    return n;
}

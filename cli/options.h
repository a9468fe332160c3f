/*
 * Command-line options: declared in tables, parsed strictly.
 *
 * Long options take `--name VALUE` or `--name=VALUE`, letters `-x VALUE`; flags of one letter may
 * be joined (-qv). A single option given twice, an unknown one or a missing value is E_USAGE;
 * unknown ones name the nearest match.
 */
#ifndef BULLA_CLI_OPTIONS_H
#define BULLA_CLI_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_LIST };

struct option_spec {
    const char *name; /* without dashes; NULL ends a table */
    char letter;      /* 0: none */
    enum option_kind kind;
    const char *value; /* how the help calls its value: "FILE" */
    const char *help;
};

#define OPTIONS_MAX       64  /* options known to one command, common ones included */
#define OPTION_VALUES_MAX 256 /* values of all list options together */

struct options {
    const struct option_spec *specs[OPTIONS_MAX];
    const char *text[OPTIONS_MAX]; /* value; a flag that was given has "" */
    size_t n_specs;
    struct {
        size_t spec;
        const char *value;
    } list[OPTION_VALUES_MAX];
    size_t n_list;
    const char **args; /* positionals, NULL-terminated; heap */
    size_t n_args;
};

/* tables: NULL-terminated option tables. stop_at: this many positionals end the options (the rest
 * belongs to somebody else, as in `run`); 0: options may stand anywhere, "--" ends them. Values are
 * borrowed from argv. */
int options_parse(const struct option_spec *const tables[], size_t stop_at, int argc,
                  const char *const *argv, struct options *out, struct error *err) MUST_CHECK;
void options_done(struct options *o);

/* The name must be in a table (asserted). */
bool option_given(const struct options *o, const char *name);
const char *option_text(const struct options *o, const char *name); /* NULL: not given */
/* Values of a list option in order, at most max. Returns their number (E_USAGE is not possible: the
 * parser bounds it). */
size_t option_list(const struct options *o, const char *name, const char **out, size_t max);

/* Distance of two words; small = similar. For "did you mean". */
size_t word_distance(const char *a, const char *b);

#endif

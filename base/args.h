/*
 * Command-line arguments of bulla-registry and bulla-signer: long options and positional words.
 *
 * Strict: unknown and repeated options are errors that name the nearest known one. Not thread-safe.
 */
#ifndef BULLA_BASE_ARGS_H
#define BULLA_BASE_ARGS_H

#include "base/error.h"

#include <stdbool.h>

struct args_option {
    const char *name;   /* "--config" */
    const char **value; /* NULL: the option is a flag */
    bool *flag;
};

/* options ends with name NULL. Words go to words[], which has room for max; exactly max must be
 * there. E_USAGE. */
int args_parse(char **args, const struct args_option *options, const char **words, int max,
               struct error *err) MUST_CHECK;

#endif

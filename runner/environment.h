/*
 * The command's environment: PATH, HOME and HOSTNAME, overridden by what the image and the user
 * set. Nothing of the runner's own environment gets in. Thread-safe.
 */
#ifndef BULLA_RUNNER_ENVIRONMENT_H
#define BULLA_RUNNER_ENVIRONMENT_H

#include "base/error.h"

/*
 * A NULL-terminated array in one allocation chain, freed with environment_free. set: "NAME=value"
 * entries, later ones win; NULL: none. E_INVALID (no name, no '='), E_LIMIT, E_NOMEM.
 */
int environment_new(const char *const *set, const char *home, const char *hostname, char ***out,
                    struct error *err) MUST_CHECK;
void environment_free(char **env);
void environment_cleanup(char ***env);

#endif

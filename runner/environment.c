#include "runner/environment.h"

#include "base/bytes.h"
#include "runner/run.h"

#include <string.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

void environment_free(char **env)
{
    if (!env)
        return;
    for (char **e = env; *e; e++)
        free(*e);
    free(env);
}

void environment_cleanup(char ***env)
{
    environment_free(*env);
    *env = NULL;
}

/* Takes ownership of entry (NULL: out of memory); replaces one of the same name. */
static int put(char **env, size_t *n, char *entry, struct error *err)
{
    if (!entry)
        return fail_nomem(err);
    size_t name_len = strcspn(entry, "=") + 1;
    for (size_t i = 0; i < *n; i++) {
        if (strncmp(env[i], entry, name_len) == 0) {
            free(env[i]);
            env[i] = entry;
            return OK;
        }
    }
    env[(*n)++] = entry;
    return OK;
}

static int check(const char *entry, struct error *err)
{
    const char *equals = strchr(entry, '=');
    if (!equals || equals == entry)
        return fail(err, E_INVALID, "environment entry '%s' is not NAME=value", entry);
    return OK;
}

int environment_new(const char *const *set, const char *home, const char *hostname, char ***out,
                    struct error *err)
{
    size_t n_set = 0, n = 0;
    while (set && set[n_set])
        if (++n_set > RUN_MAX_ENV)
            return fail(err, E_LIMIT, "more than %d environment variables", RUN_MAX_ENV);
    CLEANUP(environment_cleanup) char **env = calloc(n_set + 4, sizeof *env);
    if (!env)
        return fail_nomem(err);
    int rc = put(env, &n, strdup(DEFAULT_PATH), err);
    if (!rc)
        rc = put(env, &n, text_format("HOME=%s", home), err);
    if (!rc)
        rc = put(env, &n, text_format("HOSTNAME=%s", hostname), err);
    for (size_t i = 0; !rc && i < n_set; i++) {
        rc = check(set[i], err);
        if (!rc)
            rc = put(env, &n, strdup(set[i]), err);
    }
    if (!rc)
        *out = TAKE_PTR(env);
    return rc;
}

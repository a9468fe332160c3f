#include "cli/run_limits.h"

#include <string.h>

static char *keep(struct run_plan *p, char *text)
{
    if (text)
        p->texts[p->n_texts++] = text;
    return text;
}

void run_plan_done(struct run_plan *p)
{
    for (size_t i = 0; i < p->n_texts; i++)
        free(p->texts[i]);
    free((void *)p->argv);
    free((void *)p->env);
    memset(p, 0, sizeof *p);
}

static size_t list_len(char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

/* Docker's rule: words behind REF replace the image's command; --entrypoint replaces its entry
 * point and drops its command. */
static int plan_argv(struct context *ctx, const struct image_config *c, struct run_plan *p,
                     struct error *err)
{
    const char *entrypoint = option_text(&ctx->options, "entrypoint");
    const char **words = ctx->options.args + 1;
    size_t n_words = ctx->options.n_args - 1, n = 0;
    p->argv = (const char **)calloc(list_len(c->entrypoint) + list_len(c->cmd) + n_words + 2,
                                    sizeof *p->argv);
    if (!p->argv)
        return fail_nomem(err);
    if (entrypoint && *entrypoint)
        p->argv[n++] = entrypoint;
    else if (!entrypoint)
        for (char **w = c->entrypoint; *w; w++)
            p->argv[n++] = *w;
    for (size_t i = 0; i < n_words; i++)
        p->argv[n++] = words[i];
    if (!n_words && !entrypoint)
        for (char **w = c->cmd; *w; w++)
            p->argv[n++] = *w;
    p->spec.argv = p->argv;
    return n ? OK : fail(err, E_USAGE, "the image names no command: say which to run behind REF");
}

static int plan_env(struct context *ctx, const struct image_config *c, struct run_plan *p,
                    struct error *err)
{
    const char *given[OPTION_VALUES_MAX];
    size_t n_given = option_list(&ctx->options, "env", given, OPTION_VALUES_MAX), n = 0;
    p->env = (const char **)calloc(list_len(c->env) + n_given + 1, sizeof *p->env);
    if (!p->env)
        return fail_nomem(err);
    for (char **e = c->env; *e; e++)
        p->env[n++] = *e;
    for (size_t i = 0; i < n_given; i++) {
        const char *value = strchr(given[i], '=') ? NULL : getenv(given[i]);
        if (!*given[i] || *given[i] == '=')
            return fail(err, E_USAGE, "--env '%s' is not NAME=VALUE", given[i]);
        if (strchr(given[i], '='))
            p->env[n++] = given[i];
        else if (value && !(p->env[n++] = keep(p, text_format("%s=%s", given[i], value))))
            return fail_nomem(err);
    }
    p->spec.env = p->env;
    return OK;
}

static int plan_volume(const char *text, struct run_plan *p, struct run_volume *out,
                       struct error *err)
{
    char *copy = keep(p, strdup(text)), *rest = copy;
    if (!copy)
        return fail_nomem(err);
    char *source = strsep(&rest, ":"), *destination = strsep(&rest, ":"),
         *mode = strsep(&rest, ":");
    if (!source || *source != '/' || !destination || *destination != '/' || rest)
        return fail(err, E_USAGE, "--volume '%s' is not /SOURCE:/DESTINATION[:ro]", text);
    if (mode && strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0)
        return fail(err, E_USAGE, "--volume '%s': the mode is ro or rw", text);
    *out = (struct run_volume){source, destination, mode && strcmp(mode, "ro") == 0};
    return OK;
}

static int plan_tmpfs(const char *text, struct run_plan *p, struct run_tmpfs *out,
                      struct error *err)
{
    char *copy = keep(p, strdup(text)), *rest = copy;
    if (!copy)
        return fail_nomem(err);
    *out = (struct run_tmpfs){.destination = strsep(&rest, ":")};
    if (*out->destination != '/')
        return fail(err, E_USAGE, "--tmpfs '%s' does not start with '/'", text);
    for (char *o = strsep(&rest, ","); o; o = strsep(&rest, ",")) {
        struct error why = ERROR_INIT;
        if (!text_starts(o, "size=") || text_to_size(o + 5, &out->size_bytes, &why))
            return fail(err, E_USAGE, "--tmpfs '%s': the only option is size=N (like size=64k)",
                        text);
    }
    return OK;
}

static int plan_mounts(struct context *ctx, struct run_plan *p, struct error *err)
{
    const char *values[RUN_MAX_MOUNTS + 1];
    int rc = OK;
    size_t n = option_list(&ctx->options, "volume", values, RUN_MAX_MOUNTS + 1);
    if (n > RUN_MAX_MOUNTS)
        return fail(err, E_USAGE, "at most %d volumes", RUN_MAX_MOUNTS);
    for (size_t i = 0; !rc && i < n; i++)
        rc = plan_volume(values[i], p, &p->volumes[i], err);
    p->spec.volumes = p->volumes;
    p->spec.n_volumes = n;
    n = option_list(&ctx->options, "tmpfs", values, RUN_MAX_MOUNTS + 1);
    if (!rc && n > RUN_MAX_MOUNTS)
        return fail(err, E_USAGE, "at most %d tmpfs mounts", RUN_MAX_MOUNTS);
    for (size_t i = 0; !rc && i < n; i++)
        rc = plan_tmpfs(values[i], p, &p->tmpfs[i], err);
    p->spec.tmpfs = p->tmpfs;
    p->spec.n_tmpfs = n;
    return rc;
}

/* "1.5" to 1500: at most three digits behind the point. */
static int parse_cpus(const char *text, uint32_t *out, struct error *err)
{
    const char *point = strchr(text, '.');
    size_t whole = point ? (size_t)(point - text) : strlen(text);
    size_t digits = point ? strlen(point + 1) : 0;
    uint64_t n = 0, fraction = 0;
    struct error why = ERROR_INIT;
    bool good = digits <= 3 && (!point || digits) &&
                !(whole && text_to_u64(text, whole, 100000, &n, &why)) && (whole || digits) &&
                !(digits && text_to_u64(point + 1, digits, 999, &fraction, &why));
    for (size_t i = digits; i < 3; i++)
        fraction *= 10;
    if (!good || n * 1000 + fraction == 0)
        return fail(err, E_USAGE, "--cpus '%s' is not a number like 0.5 or 2", text);
    *out = (uint32_t)(n * 1000 + fraction);
    return OK;
}

static int plan_limits(struct context *ctx, struct run_limits *limits, struct error *err)
{
    const char *memory = option_text(&ctx->options, "memory");
    const char *cpus = option_text(&ctx->options, "cpus");
    const char *pids = option_text(&ctx->options, "pids-limit");
    uint64_t n = 0;
    struct error why = ERROR_INIT;
    if (memory && (text_to_size(memory, &limits->memory_bytes, &why) || !limits->memory_bytes))
        return fail(err, E_USAGE, "--memory '%s' is not a size like 512m", memory);
    if (pids && (text_to_u64(pids, strlen(pids), 4194304, &n, &why) || !n))
        return fail(err, E_USAGE, "--pids-limit '%s' is not a number from 1", pids);
    limits->pids = (uint32_t)n;
    return cpus ? parse_cpus(cpus, &limits->cpu_milli, err) : OK;
}

static int check_modes(struct context *ctx, struct run_plan *p, struct error *err)
{
    const char *network = option_text(&ctx->options, "network");
    if (network && strcmp(network, "private") != 0 && strcmp(network, "host") != 0 &&
        strcmp(network, "none") != 0)
        return fail(err, E_USAGE, "unknown network '%s' (none, private or host)", network);
    if (network && strcmp(network, "none") != 0)
        return fail(err, E_UNSUPPORTED, "network '%s' is not available in this version", network);
    p->spec.writable = option_given(&ctx->options, "writable");
    if (p->spec.writable && option_given(&ctx->options, "read-only"))
        return fail(err, E_USAGE, "--writable and --read-only exclude each other");
    return OK;
}

int run_plan_make(struct context *ctx, const struct image_config *c, struct run_plan *p,
                  struct error *err)
{
    const char *user = option_text(&ctx->options, "user");
    const char *workdir = option_text(&ctx->options, "workdir");
    memset(p, 0, sizeof *p);
    p->spec.user = user ? user : c->user;
    p->spec.cwd = workdir ? workdir : c->working_dir;
    p->spec.hostname = option_text(&ctx->options, "hostname");
    /* No volume may show keys, trust state or the image store. */
    p->protected_paths[0] = ctx->home;
    p->spec.protected_paths = p->protected_paths;
    int rc = check_modes(ctx, p, err);
    if (!rc)
        rc = plan_argv(ctx, c, p, err);
    if (!rc)
        rc = plan_env(ctx, c, p, err);
    if (!rc)
        rc = plan_mounts(ctx, p, err);
    if (!rc)
        rc = plan_limits(ctx, &p->spec.limits, err);
    if (rc)
        run_plan_done(p);
    return rc;
}

static int constrain_volumes(const struct run_plan *p, const struct policy_scope *scope,
                             struct error *err)
{
    const struct policy_run *run = &scope->run;
    for (size_t i = 0; run->has_mounts && i < p->spec.n_volumes; i++) {
        const struct run_volume *v = &p->spec.volumes[i];
        bool found = false;
        for (size_t k = 0; k < run->n_mounts && !found; k++)
            found = strcmp(run->mounts[k].source, v->source) == 0 &&
                    (v->read_only || !run->mounts[k].read_only);
        if (!found)
            return fail(err, E_POLICY, "policy scope '%s' does not allow the volume '%s'%s",
                        scope->name, v->source, v->read_only ? "" : " (writable)");
    }
    return OK;
}

static int constrain_to(struct run_plan *p, const struct policy_scope *scope, struct error *err)
{
    const struct policy_run *run = &scope->run;
    struct run_limits *limits = &p->spec.limits;
    uint32_t pids = limits->pids ? limits->pids : RUN_DEFAULT_PIDS;
    if (run->has_network && !run->network_none)
        return fail(err, E_POLICY, "policy scope '%s' does not allow network 'none'", scope->name);
    if (run->read_only && p->spec.writable)
        return fail(err, E_POLICY, "policy scope '%s' does not allow --writable", scope->name);
    if (run->memory && limits->memory_bytes > run->memory)
        return fail(err, E_POLICY, "policy scope '%s' allows at most %llu bytes of memory",
                    scope->name, (unsigned long long)run->memory);
    if (run->pids && limits->pids && (int64_t)limits->pids > run->pids)
        return fail(err, E_POLICY, "policy scope '%s' allows at most %lld processes", scope->name,
                    (long long)run->pids);
    if (run->memory && !limits->memory_bytes)
        limits->memory_bytes = run->memory;
    if (run->pids && (int64_t)pids > run->pids)
        limits->pids = (uint32_t)run->pids;
    p->spec.require_non_root |= run->user_non_root;
    return constrain_volumes(p, scope, err);
}

int run_plan_constrain(struct run_plan *p, const struct decision *decision, struct error *err)
{
    for (size_t i = 0; i < decision->n_scopes; i++) {
        int rc = constrain_to(p, decision->scopes[i], err);
        if (rc)
            return rc;
    }
    return OK;
}

#include "cli/run_limits.h"

#include "runner/options.h"

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

/* The parsers cut the text up in place, and the plan points into it. */
static int own_copy(struct run_plan *p, const char *text, char **out, struct error *err)
{
    *out = keep(p, strdup(text));
    return *out ? OK : fail_nomem(err);
}

static int plan_mounts(struct context *ctx, struct run_plan *p, struct error *err)
{
    const char *volumes[RUN_MAX_MOUNTS + 1], *tmpfs[RUN_MAX_MOUNTS + 1];
    size_t n_volumes = option_list(&ctx->options, "volume", volumes, RUN_MAX_MOUNTS + 1);
    size_t n_tmpfs = option_list(&ctx->options, "tmpfs", tmpfs, RUN_MAX_MOUNTS + 1);
    char *text = NULL;
    int rc = OK;
    if (n_volumes > RUN_MAX_MOUNTS || n_tmpfs > RUN_MAX_MOUNTS)
        return fail(err, E_USAGE, "at most %d volumes and %d tmpfs mounts", RUN_MAX_MOUNTS,
                    RUN_MAX_MOUNTS);
    for (size_t i = 0; !rc && i < n_volumes; i++) {
        rc = own_copy(p, volumes[i], &text, err);
        if (!rc)
            rc = options_parse_volume(text, &p->volumes[i], err);
    }
    for (size_t i = 0; !rc && i < n_tmpfs; i++) {
        rc = own_copy(p, tmpfs[i], &text, err);
        if (!rc)
            rc = options_parse_tmpfs(text, &p->tmpfs[i], err);
    }
    options_sort_volumes(p->volumes, rc ? 0 : n_volumes);
    p->spec.volumes = p->volumes;
    p->spec.n_volumes = n_volumes;
    p->spec.tmpfs = p->tmpfs;
    p->spec.n_tmpfs = n_tmpfs;
    return rc;
}

static int plan_limits(struct context *ctx, struct run_limits *limits, struct error *err)
{
    const char *memory = option_text(&ctx->options, "memory");
    const char *cpus = option_text(&ctx->options, "cpus");
    const char *pids = option_text(&ctx->options, "pids-limit");
    int rc = memory ? options_parse_memory(memory, &limits->memory_bytes, err) : OK;
    if (!rc && pids)
        rc = options_parse_pids(pids, &limits->pids, err);
    return !rc && cpus ? options_parse_cpus(cpus, &limits->cpu_milli, err) : rc;
}

static int check_modes(struct context *ctx, struct run_plan *p, struct error *err)
{
    const char *network = option_text(&ctx->options, "network");
    int rc = network ? options_check_network(network, err) : OK;
    if (rc)
        return rc;
    p->spec.writable = option_given(&ctx->options, "writable");
    if (p->spec.writable && option_given(&ctx->options, "read-only"))
        return fail(err, E_USAGE, "--writable and --read-only exclude each other");
    return OK;
}

/* What the image says wrongly is not the caller's usage. */
static int check_image_folder(const struct image_config *c, struct error *err)
{
    struct error why = ERROR_INIT;
    if (*c->working_dir && options_check_path(c->working_dir, "working folder", &why))
        return fail(err, E_INVALID, "the image's own %s; choose another with --workdir",
                    why.message);
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
    char *home = realpath(ctx->home, NULL);
    p->protected_paths[0] = keep(p, home); /* sources are compared with their links resolved */
    p->spec.protected_paths = p->protected_paths;
    int rc = home ? OK : fail_sys(err, errno, "resolve '%s'", ctx->home);
    if (!rc)
        rc = check_modes(ctx, p, err);
    if (!rc && !workdir)
        rc = check_image_folder(c, err);
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

/* asked: the caller's own; what another file has filled in is no wish of theirs. */
static int constrain_to(struct run_plan *p, const struct run_limits *asked,
                        const struct policy_scope *scope, struct error *err)
{
    const struct policy_run *run = &scope->run;
    struct run_limits *limits = &p->spec.limits;
    uint32_t pids = limits->pids ? limits->pids : RUN_DEFAULT_PIDS;
    if (run->has_network && !run->network_none)
        return fail(err, E_POLICY, "policy scope '%s' does not allow network 'none'", scope->name);
    if (run->read_only && p->spec.writable)
        return fail(err, E_POLICY, "policy scope '%s' does not allow --writable", scope->name);
    if (run->memory && asked->memory_bytes > run->memory)
        return fail(err, E_POLICY, "policy scope '%s' allows at most %llu bytes of memory",
                    scope->name, (unsigned long long)run->memory);
    if (run->pids && asked->pids && (int64_t)asked->pids > run->pids) /* "no limit" included */
        return fail(err, E_POLICY, "policy scope '%s' allows at most %lld processes", scope->name,
                    (long long)run->pids);
    if (run->memory && (!limits->memory_bytes || limits->memory_bytes > run->memory))
        limits->memory_bytes = run->memory;
    if (run->pids && (int64_t)pids > run->pids)
        limits->pids = (uint32_t)run->pids;
    p->spec.require_non_root |= run->user_non_root;
    return constrain_volumes(p, scope, err);
}

int run_plan_constrain(struct run_plan *p, const struct decision *decision, struct error *err)
{
    const struct run_limits asked = p->spec.limits;
    for (size_t i = 0; i < decision->n_scopes; i++) {
        int rc = constrain_to(p, &asked, decision->scopes[i], err);
        if (rc)
            return rc;
    }
    return OK;
}

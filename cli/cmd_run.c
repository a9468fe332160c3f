/* bulla run: policy, verdict, layers re-checked, then the sandbox. */
#include "base/file.h"
#include "base/path.h"
#include "cli/run_limits.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define RUN_EXIT_FAILED 125

struct layer_fds {
    int fds[RUN_MAX_LAYERS];
    size_t n;
};

static void layer_fds_done(struct layer_fds *l)
{
    while (l->n)
        cleanup_fd(&l->fds[--l->n]);
}

/* parent/bulla/checked/<boot id>, where parent is a tmpfs; NULL where it is none, or where somebody
 * else was there first. */
static char *check_cache_in(const char *parent, const char *boot_id)
{
    CLEANUP(cleanup_fd) int fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC), own = -1;
    struct statfs fs;
    struct stat st;
    char below[80];
    (void)snprintf(below, sizeof below, "bulla/checked/%.36s", boot_id);
    if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != TMPFS_MAGIC ||
        path_make_dirs(fd, below, 0700, NULL) ||
        path_open(fd, "bulla", PATH_NO_SYMLINKS, O_PATH | O_DIRECTORY, 0, &own, NULL))
        return NULL;
    if (fstat(own, &st) || st.st_uid != 0 || (st.st_mode & 077))
        return NULL;
    return text_format("%s/%s", parent, below);
}

/*
 * Where full checks of this boot are remembered: only on a tmpfs (it must not survive a boot) and
 * only in a folder of root's. NULL: every start checks everything.
 */
static char *check_cache(void)
{
    CLEANUP(bytes_done) struct bytes id = BYTES_INIT;
    if (geteuid() != 0 || file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &id, NULL) ||
        id.len < 36)
        return NULL;
    char *cache = check_cache_in("/run", bytes_text(&id));
    return cache ? cache : check_cache_in("/dev/shm", bytes_text(&id));
}

static int open_layers(struct store *store, const struct image *image, struct layer_fds *out,
                       struct error *err)
{
    CLEANUP(cleanup_free) char *cache = check_cache();
    const struct image_config *c = image->config;
    if (c->n_diff_ids > RUN_MAX_LAYERS)
        return fail(err, E_LIMIT, "the image has %zu layers, at most %d can be run", c->n_diff_ids,
                    RUN_MAX_LAYERS);
    for (size_t i = 0; i < c->n_diff_ids; i++) {
        int rc =
            store_layer_open(store, &c->diff_ids[i], cache ? LAYER_CHECK_CACHED : LAYER_CHECK_FULL,
                             cache, &out->fds[out->n], err);
        if (rc)
            return wrap(err, rc, "layer %zu", i + 1);
        out->n++;
    }
    return out->n ? OK : fail(err, E_INVALID, "the image has no layers");
}

static int start(struct context *ctx, const struct reference *ref, struct store *store,
                 const struct image *image, struct error *err)
{
    CLEANUP(layer_fds_done) struct layer_fds layers = {.n = 0};
    struct run_plan plan;
    struct decision decision;
    int status = RUN_EXIT_FAILED;
    int rc = run_plan_make(ctx, image->config, &plan, err);
    if (rc)
        return rc;
    rc = policy_decide(&ctx->policy, ref, &decision, err);
    if (!rc)
        rc = run_plan_constrain(&plan, &decision, err);
    if (!rc)
        rc = open_layers(store, image, &layers, err);
    if (rc == E_TAMPERED) {
        struct error why = *err;
        rc = fail(err, rc, "%s; 'bulla pull %s' puts it right", why.message, ctx->options.args[0]);
    }
    plan.spec.layer_fds = layers.fds;
    plan.spec.n_layers = layers.n;
    if (!rc)
        rc = run_container(&plan.spec, &status, err);
    run_plan_done(&plan);
    ctx->exit_status = rc ? run_exit_status(rc) : status;
    return rc;
}

static int pull_when(struct context *ctx, enum pull_when *out, struct error *err)
{
    const char *text = option_text(&ctx->options, "pull");
    *out = PULL_MISSING;
    if (!text || strcmp(text, "missing") == 0)
        return OK;
    if (strcmp(text, "never") != 0)
        return fail(err, E_USAGE, "unknown --pull '%s' (missing or never)", text);
    *out = PULL_NEVER;
    return OK;
}

static int obtain_and_start(struct context *ctx, const struct reference *ref, struct error *err)
{
    struct store *store;
    struct obtained obtained;
    struct obtain_options options = {
        .verify = &ctx->verify, .progress = ctx->progress, .unpack = true};
    int rc = pull_when(ctx, &options.pull, err);
    if (!rc)
        rc = context_policy(ctx, err);
    if (!rc)
        rc = context_store(ctx, &store, err);
    if (rc)
        return rc;
    options.store = store;
    rc = verify_obtain(&options, ref, &obtained, err);
    if (rc)
        rc = wrap(err, rc, "%s '%s'",
                  error_exit_status(rc) == EXIT_REFUSED ? "refused" : "could not run",
                  ctx->options.args[0]);
    for (size_t i = 0; !rc && i < obtained.verdict.n_warnings; i++)
        note(ctx, "bulla: warning: %s", obtained.verdict.warnings[i]);
    if (!rc)
        rc = start(ctx, ref, store, &obtained.image, err);
    obtained_done(&obtained);
    return rc;
}

int command_run(struct context *ctx, struct error *err)
{
    struct reference ref;
    ctx->verify.tofu = option_given(&ctx->options, "tofu");
    ctx->verify.require_policy = true;
    ctx->verify.reuse_recent = true;
    int rc = parse_reference(ctx->options.args[0], &ref, err);
    if (!rc)
        rc = obtain_and_start(ctx, &ref, err);
    /* Usage stays 2; whatever else kept the container from starting is the runner's 125. */
    if (rc && rc != E_USAGE && ctx->exit_status < 0)
        ctx->exit_status = RUN_EXIT_FAILED;
    if (rc == E_USAGE)
        ctx->exit_status = EXIT_USAGE;
    return rc;
}

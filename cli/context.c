#include "cli/command.h"

#include "base/file.h"

#include <stdarg.h>
#include <string.h>

#define SYSTEM_HOME   "/var/lib/bulla"
#define SYSTEM_POLICY "/etc/bulla/policy.json"

static const char *non_empty(const char *text)
{
    return text && *text ? text : NULL;
}

/* Environment of a setuid or otherwise privileged start is ignored. */
static const char *environment(const char *name)
{
    return non_empty(secure_getenv(name));
}

static int find_home(struct context *ctx, struct error *err)
{
    const char *home = option_text(&ctx->options, "home");
    const char *user = environment("HOME");
    if (!home)
        home = environment("BULLA_HOME");
    if (home)
        ctx->home = strdup(home);
    else if (geteuid() == 0)
        ctx->home = strdup(SYSTEM_HOME);
    else if (user)
        ctx->home = text_format("%s/.local/share/bulla", user);
    else
        return fail(err, E_USAGE, "HOME is not set; name a folder with --home");
    return ctx->home ? OK : fail_nomem(err);
}

int context_init(struct context *ctx, struct error *err)
{
    const struct options *o = &ctx->options;
    const char *passphrase_file = option_text(o, "passphrase-file");
    const char *pin_file = option_text(o, "pin-file");
    ctx->json = option_given(o, "json");
    ctx->quiet = option_given(o, "quiet");
    ctx->exit_status = -1;
    secret_source_init(&ctx->passphrases,
                       passphrase_file ? passphrase_file : environment("BULLA_PASSPHRASE_FILE"));
    secret_source_init(&ctx->pins, pin_file ? pin_file : environment("BULLA_PIN_FILE"));
    if (!ctx->json && !ctx->quiet && !option_given(o, "no-progress"))
        ctx->progress = progress_new();
    int rc = find_home(ctx, err);
    ctx->verify = (struct verify_options){
        .home = ctx->home,
        .policy = &ctx->policy,
        .ca_file = option_text(o, "cacert"),
    };
    return rc;
}

void context_done(struct context *ctx)
{
    store_cleanup(&ctx->store);
    keystore_cleanup(&ctx->keystore);
    policy_done(&ctx->policy);
    progress_cleanup(&ctx->progress);
    js_cleanup(&ctx->result);
    cleanup_free(&ctx->home);
    options_done(&ctx->options);
}

int context_keystore(struct context *ctx, struct keystore **out, struct error *err)
{
    if (!ctx->keystore) {
        CLEANUP(cleanup_free) char *path = text_format("%s/keys", ctx->home);
        if (!path)
            return fail_nomem(err);
        int rc = keystore_open(path, &ctx->keystore, err);
        if (rc)
            return rc;
    }
    *out = ctx->keystore;
    return OK;
}

int context_store(struct context *ctx, struct store **out, struct error *err)
{
    if (!ctx->store) {
        int rc = store_open(ctx->home, &ctx->store, err);
        if (rc)
            return rc;
    }
    *out = ctx->store;
    return OK;
}

int context_remote(struct context *ctx, const struct reference *ref, struct remote **out,
                   struct error *err)
{
    struct remote_options options = {
        .host = ref->host, .repository = ref->repository, .ca_file = ctx->verify.ca_file};
    return remote_open(&options, out, err);
}

int context_parallel(const struct context *ctx, unsigned *out, struct error *err)
{
    const char *text = option_text(&ctx->options, "parallel");
    uint64_t n = 0;
    if (text && (text_to_u64(text, strlen(text), TRANSFER_PARALLEL_MAX, &n, NULL) || n == 0))
        return fail(err, E_USAGE, "--parallel takes a number from 1 to %d", TRANSFER_PARALLEL_MAX);
    *out = (unsigned)n;
    return OK;
}

static int user_policy_path(char **out, struct error *err)
{
    const char *config = environment("XDG_CONFIG_HOME"), *home = environment("HOME");
    if (config)
        *out = text_format("%s/bulla/policy.json", config);
    else if (home)
        *out = text_format("%s/.config/bulla/policy.json", home);
    else
        return fail(err, E_USAGE, "HOME is not set; name a file with --policy");
    return *out ? OK : fail_nomem(err);
}

static const char *policy_override(const struct context *ctx)
{
    const char *file = option_text(&ctx->options, "policy");
    return file ? file : environment("BULLA_POLICY");
}

int context_policy_path(struct context *ctx, char **out, struct error *err)
{
    const char *override = policy_override(ctx);
    if (!override)
        return user_policy_path(out, err);
    *out = strdup(override);
    return *out ? OK : fail_nomem(err);
}

int context_policy(struct context *ctx, struct error *err)
{
    CLEANUP(cleanup_free) char *user = NULL;
    struct policy_options options = {
        .system_path = SYSTEM_POLICY, .override = policy_override(ctx), .is_root = geteuid() == 0};
    if (ctx->policy_loaded)
        return OK;
    if (!options.override && (environment("HOME") || environment("XDG_CONFIG_HOME"))) {
        int rc = user_policy_path(&user, err);
        if (rc)
            return rc;
        options.user_path = user;
    }
    int rc = policy_load(&options, &ctx->policy, err);
    ctx->policy_loaded = rc == OK;
    return rc;
}

int context_system_policy(struct context *ctx, struct policy *out, struct error *err)
{
    const struct policy_options options = {.system_path = SYSTEM_POLICY};
    if (policy_override(ctx) && geteuid() == 0) /* it replaces all files */
        return OK;
    return policy_load(&options, out, err);
}

/* --- output --- */

static void write_line(FILE *to, const char *format, va_list args) PRINTF_LIKE(2, 0);
static void write_line(FILE *to, const char *format, va_list args)
{
    char text[ERROR_MESSAGE_MAX];
    struct error escaped = ERROR_INIT;
    (void)vsnprintf(text, sizeof text, format, args);
    (void)fail(&escaped, E_INTERNAL, "%s", text); /* for its escaping of outside bytes */
    (void)fprintf(to, "%s\n", escaped.message);
}

void say(const struct context *ctx, const char *format, ...)
{
    if (ctx->json || ctx->quiet)
        return;
    va_list args;
    va_start(args, format);
    write_line(stdout, format, args);
    va_end(args);
}

void note(const struct context *ctx, const char *format, ...)
{
    if (ctx->quiet)
        return;
    va_list args;
    va_start(args, format);
    write_line(stderr, format, args);
    va_end(args);
}

static void announce_token(void *context, const char *label, size_t n_files)
{
    if (n_files == 1)
        note(context, "%s signs; touch it if it asks for that", label);
    else
        note(context, "%s signs %zu files; touch it for each if it asks for that", label, n_files);
}

int context_owner(struct context *ctx, struct collection_owner *out, struct error *err)
{
    struct keystore *ks = NULL;
    int rc = context_policy(ctx, err);
    if (!rc)
        rc = context_keystore(ctx, &ks, err);
    *out = (struct collection_owner){&ctx->verify,   ks, &ctx->passphrases, &ctx->pins,
                                     announce_token, ctx};
    return rc;
}

void say_retry(void *context, const char *text)
{
    const struct context *ctx = context;
    if (ctx->progress) /* its unfinished line makes room */
        (void)fputs("\r\033[K", stderr);
    note(ctx, "bulla: %s", text);
}

struct js *result_object(struct context *ctx)
{
    if (!ctx->result)
        ctx->result = js_object_new();
    return ctx->result;
}

int result_set(struct context *ctx, const char *key, struct js *value, struct error *err)
{
    struct js *o = result_object(ctx);
    if (!o) {
        js_free(value);
        return fail_nomem(err);
    }
    return js_set(o, key, value, err);
}

int result_text(struct context *ctx, const char *key, const char *value, struct error *err)
{
    return result_set(ctx, key, js_text_new(value), err);
}

int result_int(struct context *ctx, const char *key, int64_t value, struct error *err)
{
    return result_set(ctx, key, js_int_new(value), err);
}

int parse_reference(const char *text, struct reference *out, struct error *err)
{
    return reference_parse(text, out, err);
}

const char *human_size(uint64_t bytes, char out[24])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t unit = 0;
    while (n >= 1024 && unit < 4) {
        n /= 1024;
        unit++;
    }
    (void)snprintf(out, 24, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
    return out;
}

const char *short_digest(const struct digest *d, char out[32])
{
    char text[DIGEST_TEXT_MAX];
    (void)snprintf(out, 32, "%.19s", digest_format(d, text));
    return out;
}

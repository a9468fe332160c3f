/* bulla login, logout: credentials in containers-auth.json. */
#include "cli/command.h"
#include "client/auth.h"
#include "client/realm.h"

#include <string.h>

#define PASSWORD_MAX 1024

/* One line from standard input; the line end does not belong to it. */
static int password_from_stdin(struct secret *out, struct error *err)
{
    char line[PASSWORD_MAX + 2];
    size_t used = 0;
    ssize_t n;
    while (used < sizeof line && (n = read(STDIN_FILENO, line + used, sizeof line - used)) > 0)
        used += (size_t)n;
    while (used && (line[used - 1] == '\n' || line[used - 1] == '\r'))
        used--;
    int rc = used == 0             ? fail(err, E_USAGE, "no password on standard input")
             : used > PASSWORD_MAX ? fail(err, E_LIMIT, "password is too long")
                                   : secret_copy(line, used, out, err);
    secret_wipe(line, sizeof line);
    return rc;
}

static int get_password(struct context *ctx, const char *host, const char *user, struct secret *out,
                        struct error *err)
{
    if (option_given(&ctx->options, "password-stdin"))
        return password_from_stdin(out, err);
    struct secret_source terminal;
    char prompt[512];
    secret_source_init(&terminal, NULL);
    (void)snprintf(prompt, sizeof prompt, "password of '%s' at %s", user, host);
    return terminal.ask(&terminal, prompt, false, out, err);
}

/* Who is logged in, as far as the files and helpers say; nobody is asked. */
static int get_login(struct context *ctx, const char *host, struct error *err)
{
    CLEANUP(credentials_done) struct credentials c = CREDENTIALS_INIT;
    int rc = auth_find(NULL, host, NULL, &c, err);
    if (rc)
        return rc;
    const char *user = c.identity ? "<token>" : c.user;
    if (!user)
        return fail(err, E_NOTFOUND, "not logged in to '%s'", host);
    say(ctx, "%s", user);
    return result_text(ctx, "username", user, err);
}

/* Nothing is stored that does not work. */
static int try_out(const struct remote_options *options, struct error *err)
{
    CLEANUP(remote_cleanup) struct remote *remote = NULL;
    int rc = remote_open(options, &remote, err);
    return rc ? rc : remote_ping(remote, err);
}

static int store_login(struct context *ctx, const struct remote_options *o, struct error *err)
{
    CLEANUP(cleanup_free) char *file = NULL;
    CLEANUP(cleanup_free) char *helper = NULL;
    int rc = auth_file_path(&file, err);
    if (!rc)
        rc = auth_store(file, o->host, o->user, o->password, &helper, err);
    if (!rc && o->token_service)
        rc = realm_allow(o->host, o->token_service, err);
    if (rc)
        return rc;
    say(ctx, "logged in to %s as '%s' (stored in %s%s)", o->host, o->user,
        helper ? "credential helper " : "", helper ? helper : file);
    rc = result_text(ctx, "registry", o->host, err);
    if (!rc)
        rc = result_text(ctx, "username", o->user, err);
    return rc ? rc : result_text(ctx, helper ? "helper" : "file", helper ? helper : file, err);
}

int command_login(struct context *ctx, struct error *err)
{
    const char *host = ctx->options.args[0], *user = option_text(&ctx->options, "username");
    const char *service = option_text(&ctx->options, "token-service");
    CLEANUP(secret_done) struct secret password = SECRET_INIT;
    struct url url;
    if (option_given(&ctx->options, "get-login"))
        return get_login(ctx, host, err);
    if (!user || !*user)
        return fail(err, E_USAGE, "name the user with --username");
    int rc = service ? realm_parse(service, false, &url, err) : OK;
    if (!rc)
        rc = get_password(ctx, host, user, &password, err);
    if (rc)
        return rc;
    const struct remote_options options = {.host = host,
                                           .ca_file = ctx->verify.ca_file,
                                           .user = user,
                                           .password = (const char *)password.data,
                                           .token_service = service};
    rc = try_out(&options, err);
    return rc ? rc : store_login(ctx, &options, err);
}

int command_logout(struct context *ctx, struct error *err)
{
    const char *host = ctx->options.args[0];
    CLEANUP(cleanup_free) char *file = NULL;
    CLEANUP(cleanup_free) char *helper = NULL;
    int rc = auth_file_path(&file, err);
    if (!rc)
        rc = auth_erase(file, host, &helper, err);
    if (!rc)
        say(ctx, "logged out of %s", host);
    return rc ? rc : result_text(ctx, "registry", host, err);
}

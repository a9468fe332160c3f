/* bulla login, logout: credentials in containers-auth.json. */
#include "cli/command.h"

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

int command_login(struct context *ctx, struct error *err)
{
    const char *host = ctx->options.args[0], *user = option_text(&ctx->options, "username");
    CLEANUP(secret_done) struct secret password = SECRET_INIT;
    CLEANUP(remote_cleanup) struct remote *remote = NULL;
    CLEANUP(cleanup_free) char *file = NULL;
    if (!user || !*user)
        return fail(err, E_USAGE, "name the user with --username");
    int rc = get_password(ctx, host, user, &password, err);
    if (rc)
        return rc;
    struct remote_options options = {.host = host,
                                     .ca_file = ctx->verify.ca_file,
                                     .user = user,
                                     .password = (const char *)password.data};
    rc = remote_open(&options, &remote, err);
    if (!rc) /* nothing is stored that does not work */
        rc = remote_ping(remote, err);
    if (!rc)
        rc = auth_file_path(&file, err);
    if (!rc)
        rc = auth_store(file, host, user, (const char *)password.data, err);
    if (!rc)
        say(ctx, "logged in to %s as '%s' (stored in %s)", host, user, file);
    return rc;
}

int command_logout(struct context *ctx, struct error *err)
{
    CLEANUP(cleanup_free) char *file = NULL;
    int rc = auth_file_path(&file, err);
    if (!rc)
        rc = auth_erase(file, ctx->options.args[0], err);
    if (!rc)
        say(ctx, "logged out of %s", ctx->options.args[0]);
    return rc;
}

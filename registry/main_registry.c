/* bulla-registry: finds the command; each does the rest. */
#include "registry/commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: bulla-registry COMMAND …        all but init take --config FILE\n"
    "\n"
    "  init DIR [--listen ADDR:PORT] [--admin NAME [--password-stdin]]\n"
    "                                        a new registry with development certificates\n"
    "  serve                                 run it\n"
    "  gc [--dry-run] [--why DIGEST] [--json]\n"
    "                                        remove what nothing needs, beside a running server "
    "too\n"
    "  retention run | retention --dry-run   remove what the rules name, or list it\n"
    "  config check                          is the configuration right\n"
    "  user add NAME [--password-stdin]      also: passwd, disable, enable, remove NAME; list\n"
    "  user certificate add NAME FILE|SHA256 log in with a client certificate; also: remove, list\n"
    "  group add NAME                        also: remove NAME, list\n"
    "  group member add GROUP USER           also: remove\n"
    "  grant add SUBJECT PATTERN ACTIONS     also: remove, list\n"
    "  api-token create USER [--expires TIME] [--repository PATTERN] [--actions ACTIONS]\n"
    "                                        a password for programs, shown once\n"
    "  api-token revoke ID                   end it; also: list\n"
    "  token-key rotate                      sign logins with a new key; also: list\n"
    "  audit verify                          is the audit log whole; also: export\n"
    "  scrub [--rate BYTES/S]                read all blobs again, quarantine damaged ones\n"
    "  backup FOLDER                         copy the data while it runs\n"
    "  restore FOLDER                        the way back, into an empty data folder\n"
    "\n"
    "SUBJECT: a user, 'group:NAME', or 'anonymous', which is everybody. PATTERN: a repository,\n"
    "'prefix/*', or '*'. TIME: 90s, 15m, 24h, 30d. Lists take --json.\n"
    "ACTIONS: pull, push, delete, sign, admin, separated by commas.\n"
    "Default configuration: " COMMAND_DEFAULT_CONFIG "\n";

static const struct {
    const char *name;
    int (*run)(char **args, struct error *err);
} commands[] = {{"init", command_init},
                {"serve", command_serve},
                {"config", command_config},
                {"user", command_user},
                {"group", command_group},
                {"grant", command_grant},
                {"api-token", command_api_token},
                {"token-key", command_token_key},
                {"audit", command_audit},
                {"scrub", command_scrub},
                {"backup", command_backup},
                {"restore", command_restore},
                {"gc", command_gc},
                {"retention", command_retention}};

static int run(char **args, struct error *err)
{
    const char *word = args[0] ? args[0] : "";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return fputs(help, stdout) < 0 ? fail(err, E_SYS, "write the help text") : 0;
    if (strcmp(word, "--version") == 0)
        return puts("bulla-registry " BULLA_VERSION) < 0 ? fail(err, E_SYS, "write") : 0;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, word) == 0)
            return commands[i].run(args + 1, err);
    return fail(err, E_USAGE, "no such command: '%s', see bulla-registry --help", word);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    /* A client that goes away is an error of one write, not the end of the server. */
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = run(argv + (argc > 0), &err);
    if (rc == 0 && fflush(stdout) != 0)
        rc = fail(&err, E_SYS, "write to standard output");
    if (rc != 0)
        (void)fprintf(stderr, "bulla-registry: %s\n", err.message);
    return rc ? error_exit_status(rc) : EXIT_DONE;
}

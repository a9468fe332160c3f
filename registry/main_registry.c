/* bulla-registry: finds the command; each does the rest. */
#include "registry/commands.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
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
    "'bulla-registry COMMAND --help' says more. Default configuration: " COMMAND_DEFAULT_CONFIG "\n"
    "exit status: 0 done, 1 refused, 2 wrong usage, 3 could not\n";

#define CONFIG_HELP                                                                                \
    "\n"                                                                                           \
    "--config FILE: the configuration, default " COMMAND_DEFAULT_CONFIG "\n"                       \
    "exit status: 0 done, 1 refused, 2 wrong usage, 3 could not\n"

static const char init_help[] =
    "usage: bulla-registry init DIR [--listen ADDR:PORT] [--admin NAME [--password-stdin]]\n"
    "\n"
    "Makes DIR with a commented registry.yaml, a development CA and certificate, the signing\n"
    "service's passphrase, an empty registry, and with --admin a user who may do everything. The\n"
    "password is asked for, or is the first line of standard input. A DIR that holds a registry\n"
    "is not touched. --listen: default 127.0.0.1:5443.\n"
    "\n"
    "exit status: 0 done, 1 refused, 2 wrong usage, 3 could not\n";

static const char serve_help[] =
    "usage: bulla-registry serve [--config FILE]\n"
    "\n"
    "Runs the registry and, where none runs yet, its signing service. Prints 'listening on\n"
    "ADDRESS' when it is ready. SIGTERM or SIGINT ends it when running requests are done, a\n"
    "second one at once; SIGHUP reads the certificate again.\n" CONFIG_HELP;

static const char gc_help[] =
    "usage: bulla-registry gc [--dry-run] [--json] [--config FILE]\n"
    "       bulla-registry gc --why DIGEST [--json] [--config FILE]\n"
    "\n"
    "Removes what no tag, manifest, referrer or signature needs, beside a running server too.\n"
    "--dry-run lists it instead; --why says what keeps a blob. With --json an object a "
    "line.\n" CONFIG_HELP;

static const char retention_help[] =
    "usage: bulla-registry retention run [--json] [--config FILE]\n"
    "       bulla-registry retention --dry-run [--json] [--config FILE]\n"
    "\n"
    "Removes the tags and manifests that the configuration's retention rules name, or lists\n"
    "them; signed and immutable tags stay. 'gc' frees the space. With --json an object a "
    "line.\n" CONFIG_HELP;

static const char config_help[] = "usage: bulla-registry config check [--config FILE]\n"
                                  "\n"
                                  "Reads the configuration as the server would, and says what is "
                                  "unsafe or will not work.\n" CONFIG_HELP;

static const char user_help[] =
    "usage: bulla-registry user add NAME [--password-stdin] [--config FILE]\n"
    "       bulla-registry user passwd NAME [--password-stdin] [--config FILE]\n"
    "       bulla-registry user disable|enable|remove NAME [--config FILE]\n"
    "       bulla-registry user list [--json] [--config FILE]\n"
    "       bulla-registry user certificate add NAME FILE|SHA256 [--config FILE]\n"
    "       bulla-registry user certificate remove FILE|SHA256 [--config FILE]\n"
    "       bulla-registry user certificate list [--json] [--config FILE]\n"
    "\n"
    "A password is asked for, or is the first line of standard input. A new user may do nothing\n"
    "until 'grant add' says so. FILE: the certificate as PEM; SHA256: its "
    "fingerprint.\n" CONFIG_HELP;

static const char group_help[] =
    "usage: bulla-registry group add|remove NAME [--config FILE]\n"
    "       bulla-registry group list [--json] [--config FILE]\n"
    "       bulla-registry group member add|remove GROUP USER [--config FILE]\n" CONFIG_HELP;

static const char grant_help[] =
    "usage: bulla-registry grant add|remove SUBJECT PATTERN ACTIONS [--config FILE]\n"
    "       bulla-registry grant list [--json] [--config FILE]\n"
    "\n"
    "SUBJECT: a user, 'group:NAME', or 'anonymous', which is everybody. PATTERN: a repository,\n"
    "'prefix/*', or '*'. ACTIONS: pull, push, delete, sign, admin, separated by "
    "commas.\n" CONFIG_HELP;

static const char api_token_help[] =
    "usage: bulla-registry api-token create USER [--expires TIME] [--repository PATTERN]\n"
    "                                       [--actions ACTIONS] [--json] [--config FILE]\n"
    "       bulla-registry api-token revoke ID [--config FILE]\n"
    "       bulla-registry api-token list [--json] [--config FILE]\n"
    "\n"
    "A token works as USER's password, for the pattern and actions given, as far as USER has\n"
    "them. It is shown once. TIME: 90s, 15m, 24h, 30d; default and at most\n"
    "access.apiTokenMaxLifetime. PATTERN and ACTIONS: see 'grant --help'; default "
    "all.\n" CONFIG_HELP;

static const char token_key_help[] =
    "usage: bulla-registry token-key rotate [--json] [--config FILE]\n"
    "       bulla-registry token-key list [--json] [--config FILE]\n"
    "\n"
    "rotate signs the tokens of logins with a new key; the old one counts until its tokens have\n"
    "expired.\n" CONFIG_HELP;

static const struct {
    const char *name;
    int (*run)(char **args, struct error *err);
    const char *help; /* NULL: the command prints its own */
} commands[] = {{"init", command_init, init_help},
                {"serve", command_serve, serve_help},
                {"config", command_config, config_help},
                {"user", command_user, user_help},
                {"group", command_group, group_help},
                {"grant", command_grant, grant_help},
                {"api-token", command_api_token, api_token_help},
                {"token-key", command_token_key, token_key_help},
                {"audit", command_audit, NULL},
                {"scrub", command_scrub, NULL},
                {"backup", command_backup, NULL},
                {"restore", command_restore, NULL},
                {"gc", command_gc, gc_help},
                {"retention", command_retention, retention_help}};

static bool wants_help(char **args)
{
    for (; *args && strcmp(*args, "--") != 0; args++)
        if (strcmp(*args, "--help") == 0 || strcmp(*args, "-h") == 0)
            return true;
    return false;
}

static int print_help(size_t i, struct error *err)
{
    char word[] = "--help", *args[] = {word, NULL};
    if (!commands[i].help)
        return commands[i].run(args, err);
    return fputs(commands[i].help, stdout) < 0 ? fail_sys(err, errno, "write the help text") : 0;
}

static int run(char **args, struct error *err)
{
    const char *word = args[0] ? args[0] : "";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return fputs(help, stdout) < 0 ? fail_sys(err, errno, "write the help text") : 0;
    if (strcmp(word, "--version") == 0)
        return puts("bulla-registry " BULLA_VERSION) < 0 ? fail_sys(err, errno, "write") : 0;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, word) == 0)
            return wants_help(args + 1) ? print_help(i, err) : commands[i].run(args + 1, err);
    if (word[0] == '-')
        return fail(err, E_USAGE,
                    "the command comes first, '%s' behind it, see bulla-registry --help", word);
    return fail(err, E_USAGE,
                *word ? "no such command: '%s', see bulla-registry --help"
                      : "a command is missing%s, see bulla-registry --help",
                word);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    /* A client that goes away is an error of one write, not the end of the server. */
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = run(argv + (argc > 0), &err);
    if (rc == 0 && fflush(stdout) != 0)
        rc = fail_sys(&err, errno, "write to standard output");
    if (rc != 0)
        (void)fprintf(stderr, "bulla-registry: %s\n", err.message);
    return rc ? error_exit_status(rc) : EXIT_DONE;
}

/* bulla-signer: the online signing service. Reads its options and its configuration; the rest is
 * service_start(). */
#include "base/config.h"
#include "signer/service_commands.h"
#include "signer/service_start.h"

#include <signal.h>
#include <string.h>

static const char help[] =
    "usage: bulla-signer serve --config FILE [--parent PID]\n"
    "       bulla-signer state [--json] --config FILE\n"
    "       bulla-signer resume REPOSITORY --snapshot-version N --timestamp-version N "
    "[--set-lost]\n"
    "                           --config FILE\n"
    "       bulla-signer resume --all [--ahead N] --config FILE\n"
    "       bulla-signer audit verify [--head HASH] [--json] --config FILE\n"
    "       bulla-signer audit export --config FILE\n"
    "       bulla-signer metrics --config FILE\n"
    "       bulla-signer backup FILE --config FILE\n"
    "       bulla-signer restore FILE --config FILE\n"
    "\n"
    "Holds the snapshot and timestamp keys of a registry's collections, verifies for itself what\n"
    "it is asked to sign, and renews timestamps before they expire. 'serve' prints 'listening on\n"
    "SOCKET' when it is ready; SIGTERM ends it. The others work beside it or without it.\n"
    "\n"
    "'backup' copies its database into the new file FILE; the keys in it stay encrypted with the\n"
    "passphrase, which is not copied. 'restore' puts such a copy into place. A service that finds\n"
    "that it may have forgotten something signs nothing: 'state' says why and what is known, and\n"
    "'resume' states the highest versions that were published. Where the registry holds that set\n"
    "it hands it over.\n"
    "\n"
    "  --set-lost     nobody has that set: go on from the one remembered, above these versions\n"
    "  --all          every collection: what is remembered, or the registry holds, was the last\n"
    "  --ahead N      leave out N versions, for what may have been published since the backup\n"
    "  --config FILE  registry.yaml, shared with bulla-registry (section 'signer')\n"
    "  --parent PID   end when the process that started this one ends; PID is its number\n"
    "  --help         this text\n"
    "  --version      the version\n";

struct options {
    const char *config;
    pid_t parent;
};

static int set_once(const char *name, const char **to, const char *value, struct error *err)
{
    if (!value)
        return fail(err, E_USAGE, "option '%s' needs a value", name);
    if (*to)
        return fail(err, E_USAGE, "option '%s' is given twice", name);
    *to = value;
    return OK;
}

static int parse_options(char **args, struct options *out, struct error *err)
{
    const char *parent = NULL;
    int rc = OK;
    for (; *args && !rc; args++) {
        const char **to = strcmp(*args, "--config") == 0   ? &out->config
                          : strcmp(*args, "--parent") == 0 ? &parent
                                                           : NULL;
        if (!to)
            return fail(err, E_USAGE,
                        "unknown option '%s': serve takes --config FILE and --parent PID", *args);
        rc = set_once(*args, to, args[1], err);
        if (!rc)
            args++;
    }
    if (!rc && !out->config)
        return fail(err, E_USAGE, "serve needs --config FILE");
    uint64_t pid = 0;
    if (!rc && parent)
        rc = text_to_u64(parent, strlen(parent), INT32_MAX, &pid, err);
    if (rc)
        return fail(err, E_USAGE, "%s", err->message);
    out->parent = (pid_t)pid;
    return OK;
}

static int serve(char **args, struct error *err)
{
    struct options options = {NULL, 0};
    CLEANUP(server_config_done) struct server_config config = {0};
    int rc = parse_options(args, &options, err);
    if (!rc)
        rc = server_config_load(options.config, &config, err);
    if (rc)
        return rc;
    log_setup("bulla-signer", config.log.level, config.log.form);
    const struct service_start start = {.config = &config, .parent = options.parent};
    return service_start(&start, err);
}

struct verb {
    const char *name;
    int (*run)(char **args, struct error *err);
};

static const struct verb verbs[] = {
    {"serve", serve},
    {"state", service_command_state},
    {"resume", service_command_resume},
    {"audit", service_command_audit},
    {"metrics", service_command_metrics},
    {"backup", service_command_backup},
    {"restore", service_command_restore},
};

static const struct verb *verb_of(const char *word)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].name, word) == 0)
            return &verbs[i];
    return NULL;
}

static int command(char **args, struct error *err)
{
    if (!*args)
        return fail(err, E_USAGE, "no command: try 'bulla-signer --help'");
    const char *word = *args;
    const struct verb *verb = verb_of(word);
    if (verb && args[1] && strcmp(args[1], "--help") == 0)
        word = args[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return fputs(help, stdout) < 0 ? fail(err, E_SYS, "write the help text") : OK;
    if (strcmp(word, "--version") == 0)
        return printf("bulla-signer %s\n", BULLA_VERSION) < 0
                   ? fail(err, E_SYS, "write the version")
                   : OK;
    if (verb)
        return verb->run(args + 1, err);
    return fail(err, E_USAGE, "%s '%s': try 'bulla-signer --help'",
                word[0] == '-' ? "unknown option" : "unknown command", word);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    /* A client that goes away is an error of one write, not the end of the service. */
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = command(argv + (argc > 0), &err);
    if (rc)
        (void)fprintf(stderr, "bulla-signer: %s\n", err.message);
    return rc ? error_exit_status(rc) : EXIT_DONE;
}

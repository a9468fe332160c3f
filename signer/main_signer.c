/* bulla-signer: the online signing service. Reads its options and its configuration; the rest is
 * service_start(). */
#include "base/config.h"
#include "base/db.h"
#include "signer/service_start.h"
#include "signer/service_store.h"

#include <signal.h>
#include <string.h>

static const char help[] =
    "usage: bulla-signer serve --config FILE [--parent PID]\n"
    "       bulla-signer backup FILE --config FILE\n"
    "\n"
    "Holds the snapshot and timestamp keys of a registry's collections, verifies for itself what\n"
    "it is asked to sign, and renews timestamps before they expire. Prints 'listening on SOCKET'\n"
    "when it is ready; SIGTERM ends it. 'backup' copies its database, also while it runs, into "
    "the\n"
    "new file FILE; the keys in it stay encrypted with the passphrase, which is not copied.\n"
    "\n"
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

/* FILE --config FILE, in any order. */
static int parse_backup(char **args, const char **config, const char **to, struct error *err)
{
    int rc = OK;
    for (; *args && !rc; args++) {
        if (strcmp(*args, "--config") == 0) {
            rc = set_once(*args, config, args[1], err);
            args += !rc;
        } else if ((*args)[0] == '-' || *to) {
            return fail(err, E_USAGE, "'%s': backup takes FILE and --config FILE", *args);
        } else {
            *to = *args;
        }
    }
    return !rc && (!*config || !*to) ? fail(err, E_USAGE, "backup needs FILE and --config FILE")
                                     : rc;
}

/* A copy of one moment, also while the service runs; its private keys stay encrypted. */
static int backup(char **args, struct error *err)
{
    const char *file = NULL, *to = NULL;
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(cleanup_free) char *path = NULL;
    CLEANUP(db_cleanup) struct db *db = NULL;
    int rc = parse_backup(args, &file, &to, err);
    if (!rc)
        rc = server_config_load(file, &config, err);
    if (rc)
        return rc;
    path = text_format("%s/" SERVICE_STORE_FILE, config.signer.data_dir);
    if (!path)
        return fail_nomem(err);
    rc = db_open(path, 0, &db, err);
    if (!rc)
        rc = db_backup_to(db, to, err);
    if (!rc && printf("copied to '%s'; its keys are encrypted with the passphrase in\n"
                      "'%s', which is not in it: keep a copy of that apart\n",
                      to, config.signer.passphrase_file) < 0)
        rc = fail(err, E_SYS, "write");
    return rc;
}

static int command(char **args, struct error *err)
{
    if (!*args)
        return fail(err, E_USAGE, "no command: try 'bulla-signer --help'");
    const char *word = *args;
    if ((strcmp(word, "serve") == 0 || strcmp(word, "backup") == 0) && args[1] &&
        strcmp(args[1], "--help") == 0)
        word = args[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return fputs(help, stdout) < 0 ? fail(err, E_SYS, "write the help text") : OK;
    if (strcmp(word, "--version") == 0)
        return printf("bulla-signer %s\n", BULLA_VERSION) < 0
                   ? fail(err, E_SYS, "write the version")
                   : OK;
    if (strcmp(word, "serve") == 0)
        return serve(args + 1, err);
    if (strcmp(word, "backup") == 0)
        return backup(args + 1, err);
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

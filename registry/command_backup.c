/* bulla-registry backup, restore. */
#include "base/args.h"
#include "registry/backup.h"
#include "registry/commands.h"
#include "registry/deployment.h"

#include "base/json.h"

#include <inttypes.h>
#include <string.h>

static int print_report_json(const struct backup_report *r, struct error *err)
{
    CLEANUP(js_cleanup) struct js *root = js_object_new();
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"blobs", r->blobs},
                   {"bytes", r->bytes},
                   {"newBlobs", r->new_blobs},
                   {"newBytes", r->new_bytes},
                   {"lacking", r->lacking}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof numbers / sizeof *numbers; i++)
        rc = js_set(root, numbers[i].name, js_int_new((int64_t)numbers[i].value), err);
    if (rc == 0)
        rc = js_write(root, true, &text, err);
    if (rc == 0 && fputs(bytes_text(&text), stdout) < 0)
        rc = fail_sys(err, errno, "write");
    return rc;
}

static const char backup_help[] =
    "usage: bulla-registry backup FOLDER [--copy] [--verify] [--json] [--config FILE]\n"
    "\n"
    "Copies the registry's data into FOLDER, consistent also while the server runs. A FOLDER that\n"
    "holds a backup of this registry is brought up to date. On one file system blobs are linked,\n"
    "which costs no space but shares their bytes with the registry; --copy copies them always.\n"
    "--verify hashes again what FOLDER had before.\n"
    "\n"
    "Not copied, because it opens doors: TLS keys, token signing keys (made again at the next\n"
    "start; clients log in again), and all of the signing service: 'bulla-signer backup' copies\n"
    "its database, whose keys are encrypted; keep the passphrase file elsewhere.\n"
    "\n"
    "exit status: 0 done, 1 done, but the registry lacks blobs, 2 usage, 3 could not\n";

int command_backup(char **args, struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    struct backup_options o = {.config = &config};
    struct backup_report report = {0};
    const char *file = NULL;
    bool json = false;
    const struct args_option options[] = {{"--config", &file, NULL},
                                          {"--copy", NULL, &o.copy},
                                          {"--verify", NULL, &o.verify},
                                          {"--json", NULL, &json},
                                          {NULL, NULL, NULL}};
    if (args[0] && strcmp(args[0], "--help") == 0)
        return fputs(backup_help, stdout) < 0 ? fail_sys(err, errno, "write") : 0;
    int rc = args_parse(args, options, &o.folder, 1, err);
    if (rc == 0)
        rc = server_config_load(file ? file : COMMAND_DEFAULT_CONFIG, &config, err);
    if (rc == 0)
        rc = deployment_check_initialised(&config, err);
    if (rc == 0)
        rc = deployment_outside(&config, "the backup", o.folder, err);
    if (rc == E_INVALID)
        return fail(err, E_USAGE,
                    "'%s' lies in dataDir: name a folder elsewhere, best on another "
                    "disk",
                    o.folder);
    if (rc == 0)
        rc = backup_make(&o, &report, err);
    if (rc == 0 && json)
        rc = print_report_json(&report, err);
    else if (rc == 0 && printf("backed up %" PRIu64 " blobs, %" PRIu64 " bytes; new: %" PRIu64
                               " blobs, %" PRIu64 " bytes\n"
                               "the signing service is backed up apart: bulla-signer backup\n",
                               report.blobs, report.bytes, report.new_blobs, report.new_bytes) < 0)
        rc = fail_sys(err, errno, "write");
    if (rc == 0 && report.lacking)
        rc = fail(err, E_TAMPERED,
                  "%" PRIu64 " blobs are damaged or missing in the registry and not in the backup: "
                  "'bulla-registry scrub' names them",
                  report.lacking);
    return rc;
}

static const char restore_help[] =
    "usage: bulla-registry restore FOLDER [--json] [--config FILE]\n"
    "\n"
    "Copies a backup into dataDir of the configuration, which must be missing or empty and "
    "appears\n"
    "as a whole at the end. Every blob's digest and the audit log are checked on the way.\n"
    "\n"
    "exit status: 0 done, 1 the backup is damaged, 2 usage, 3 could not\n";

static int say_what_next(const struct server_config *config, const struct backup_report *r,
                         struct error *err)
{
    int n = printf("restored %" PRIu64 " blobs, %" PRIu64 " bytes into '%s'\n", r->blobs, r->bytes,
                   config->data_dir);
    if (n >= 0 && r->lacking)
        n = printf("%" PRIu64 " blobs were lost before the backup: push them again\n", r->lacking);
    if (n >= 0)
        n = printf("go on with\n"
                   "  bulla-registry config check --config %s\n"
                   "  bulla-registry serve --config %s\n"
                   "newer trust metadata is fetched from the signing service by itself; users, "
                   "tokens and grants\n"
                   "are those of the backup: remove again what was removed since; clients log in "
                   "again\n",
                   config->file, config->file);
    return n < 0 ? fail_sys(err, errno, "write") : 0;
}

int command_restore(char **args, struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    struct restore_options o = {.config = &config};
    struct backup_report report = {0};
    const char *file = NULL;
    bool json = false;
    const struct args_option options[] = {
        {"--config", &file, NULL}, {"--json", NULL, &json}, {NULL, NULL, NULL}};
    if (args[0] && strcmp(args[0], "--help") == 0)
        return fputs(restore_help, stdout) < 0 ? fail_sys(err, errno, "write") : 0;
    int rc = args_parse(args, options, &o.folder, 1, err);
    if (rc == 0)
        rc = server_config_load(file ? file : COMMAND_DEFAULT_CONFIG, &config, err);
    if (rc == 0)
        rc = backup_restore(&o, &report, err);
    if (rc == 0)
        rc = json ? print_report_json(&report, err) : say_what_next(&config, &report, err);
    return rc;
}

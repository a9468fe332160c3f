/* bulla-registry config check. */
#include "base/args.h"
#include "registry/commands.h"
#include "registry/deployment.h"
#include "registry/http_certificate.h"
#include "registry/mirror_anchor.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

int command_load_config(char **args, struct server_config *config, struct error *err)
{
    const char *file = NULL;
    const struct args_option options[] = {{"--config", &file, NULL}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    return rc == 0 ? server_config_load(file ? file : COMMAND_DEFAULT_CONFIG, config, err) : rc;
}

/* What a person should know, and what does not keep the server from starting. */
static int advise(const struct server_config *config, struct error *err)
{
    bool readable = true;
    struct deployment_folders folders;
    int rc = deployment_tls_readable(config, &readable, err);
    if (rc == 0)
        rc = deployment_tls_folders(config, &folders, err);
    if (rc != 0)
        return rc;
    bool watched = folders.watched;
    deployment_folders_done(&folders);
    if (printf("'%s' is fine\n", config->file) < 0)
        return fail_sys(err, errno, "write");
    if (!readable &&
        printf("%s%s%s cannot read '%s': a new certificate needs a restart; make the key "
               "readable to that user for reloading\n",
               config->user ? "user '" : "the user of this command",
               config->user ? config->user : "", config->user ? "'" : "", config->tls.key) < 0)
        return fail_sys(err, errno, "write");
    if (!watched &&
        puts("the TLS files lie beside the signer's secrets: a new certificate needs a restart; "
             "give them a folder of their own for reloading") < 0)
        return fail_sys(err, errno, "write");
    bool apart =
        config->signer.user && config->user && strcmp(config->signer.user, config->user) != 0;
    if (!apart &&
        puts("development set-up: registry and signer share one account, so a taken-over\n"
             "registry could reach the online keys; set 'user' and 'signer: user'") < 0)
        return fail_sys(err, errno, "write");
    return 0;
}

/* Who checks may be somebody who cannot read the key, and is told so. */
static int check_certificate(const struct server_config *config, struct error *err)
{
    struct http_certificate *pair = NULL;
    struct error why = ERROR_INIT;
    int rc = http_certificate_open(config->tls.certificate, config->tls.key, &pair, &why);
    http_certificate_close(pair);
    return rc == 0 || why.sys == EACCES ? 0 : fail(err, rc, "%s", why.message);
}

static int config_check(char **args, struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    CLEANUP(mirror_anchors_cleanup) struct mirror_anchors *anchors = NULL;
    int rc = command_load_config(args, &config, err);
    if (rc == 0)
        rc = deployment_check(&config, err);
    if (rc == 0)
        rc = check_certificate(&config, err);
    if (rc == 0)
        rc = mirror_anchors_load(&config, &anchors, err);
    return rc == 0 ? advise(&config, err) : rc;
}

int command_config(char **args, struct error *err)
{
    if (args[0] && strcmp(args[0], "check") == 0)
        return config_check(args + 1, err);
    return fail(err, E_USAGE, "say 'config check', see bulla-registry config --help");
}

/* The service's database to a file and back; see service_commands.h. */
#include "base/args.h"
#include "base/config.h"
#include "base/confine.h"
#include "base/file.h"
#include "signer/service_commands.h"
#include "signer/service_store.h"

#include <fcntl.h>
#include <string.h>

struct copying {
    struct server_config config;
    char *data, *temporary; /* paths: the service's database, and what is being written */
    struct db *from, *to;
    int folder_fd, lock_fd;
};

static void copying_done(struct copying *c)
{
    db_cleanup(&c->from);
    db_cleanup(&c->to);
    cleanup_fd(&c->lock_fd);
    cleanup_fd(&c->folder_fd);
    if (c->temporary)
        (void)unlink(c->temporary);
    free(c->data);
    free(c->temporary);
    server_config_done(&c->config);
}

static int read_words(char **args, struct copying *c, const char **file, struct error *err)
{
    const char *config = NULL;
    const struct args_option options[] = {{"--config", &config, NULL}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, file, 1, err);
    if (!rc && !config)
        rc = fail(err, E_USAGE, "--config FILE is missing");
    if (!rc)
        rc = server_config_load(config, &c->config, err);
    if (!rc && !(c->data = text_format("%s/" SERVICE_STORE_FILE, c->config.signer.data_dir)))
        rc = fail_nomem(err);
    return rc;
}

/* Whoever signs with it must have asked first: the copy itself says that it is one. */
static int copy(struct copying *c, const char *from, const char *to, struct error *err)
{
    c->temporary = text_format("%s.new", to);
    if (!c->temporary)
        return fail_nomem(err);
    (void)unlink(c->temporary); /* of a copy that was cut off */
    int rc = db_open(from, 0, &c->from, err);
    if (!rc)
        rc = db_backup_to(c->from, c->temporary, err);
    if (!rc)
        rc = service_store_open_plain(c->temporary, &c->to, err);
    if (!rc)
        rc = service_memory_set_copy(c->to, err);
    db_cleanup(&c->to);
    if (!rc && link(c->temporary, to))
        rc = fail_sys(err, errno, "make '%s'", to);
    return rc;
}

int service_command_backup(char **args, struct error *err)
{
    CLEANUP(copying_done) struct copying c = {.folder_fd = -1, .lock_fd = -1};
    const char *to = NULL;
    int rc = read_words(args, &c, &to, err);
    if (!rc)
        rc = copy(&c, c.data, to, err);
    if (!rc && printf("copied to '%s'; its keys are encrypted with the passphrase in\n"
                      "'%s', which is not in it: keep a copy of that apart\n",
                      to, c.config.signer.passphrase_file) < 0)
        rc = fail(err, E_SYS, "write");
    return rc;
}

/* As the service's start does it: a running one is not pulled from under its feet. */
static int lock_folder(struct copying *c, uid_t uid, gid_t gid, struct error *err)
{
    const char *path = c->config.signer.data_dir;
    int rc = file_open_dir(path, true, &c->folder_fd, err);
    if (!rc)
        rc = file_lock(c->folder_fd, "lock", 0, &c->lock_fd, err);
    if (rc == E_BUSY)
        return fail(err, rc, "the signing service works with '%s': stop it first", path);
    if (!rc && uid && (fchown(c->folder_fd, uid, gid) || fchown(c->lock_fd, uid, gid)))
        rc = fail_sys(err, errno, "give '%s' to the service's user", path);
    return rc;
}

static int give(const struct copying *c, uid_t uid, gid_t gid, struct error *err)
{
    int rc = uid && chown(c->data, uid, gid) ? fail_sys(err, errno, "give it to its user") : OK;
    return rc ? rc : file_sync_dir(c->folder_fd, err);
}

static int find_owner(const struct server_config *config, uid_t *uid, gid_t *gid, struct error *err)
{
    const char *user = config->signer.user ? config->signer.user : config->user;
    return geteuid() == 0 && user ? confine_find_user(user, uid, gid, err) : OK;
}

int service_command_restore(char **args, struct error *err)
{
    CLEANUP(copying_done) struct copying c = {.folder_fd = -1, .lock_fd = -1};
    const char *from = NULL;
    uid_t uid = 0;
    gid_t gid = 0;
    int rc = read_words(args, &c, &from, err);
    if (!rc)
        rc = find_owner(&c.config, &uid, &gid, err);
    if (!rc)
        rc = lock_folder(&c, uid, gid, err);
    if (!rc && access(c.data, F_OK) == 0)
        rc = fail(err, E_EXISTS, "'%s' is there: move it away before you restore", c.data);
    if (!rc)
        rc = copy(&c, from, c.data, err);
    if (!rc)
        rc = give(&c, uid, gid, err);
    if (!rc &&
        printf("restored to '%s'. It signs nothing until it knows what was published since:\n"
               "start it, look at 'bulla-signer state', and run 'bulla-signer resume'\n",
               c.data) < 0)
        rc = fail(err, E_SYS, "write");
    return rc;
}

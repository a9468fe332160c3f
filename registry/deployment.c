#include "registry/deployment.h"

#include "base/cleanup.h"
#include "base/confine.h"
#include "registry/index.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/wait.h>

/* The real name of `path`, or of its nearest folder that exists with the rest appended: what is not
 * there yet can be placed, too. NULL when memory is out. */
static char *real_name(const char *path)
{
    CLEANUP(cleanup_free) char *head = strdup(path);
    if (!head)
        return NULL;
    for (char *end = head + strlen(head);;) {
        CLEANUP(cleanup_free) char *real = realpath(*head ? head : "/", NULL);
        if (real)
            return text_format("%s%s", strcmp(real, "/") == 0 ? "" : real, path + (end - head));
        if (errno == ENOMEM) /* else a link could go unseen */
            return NULL;
        while (end > head && *--end != '/')
            ;
        *end = '\0';
    }
}

static bool is_below(const char *folder, const char *path)
{
    size_t len = strlen(folder);
    return strncmp(folder, path, len) == 0 && (path[len] == '/' || !path[len]);
}

static int check_outside(const char *folder, const char *what, const char *path, struct error *err)
{
    CLEANUP(cleanup_free) char *real = real_name(path);
    CLEANUP(cleanup_free) char *parent = real_name(folder);
    if (!real || !parent)
        return fail_nomem(err);
    if (!is_below(parent, real) && !is_below(folder, path))
        return 0;
    return fail(err, E_INVALID,
                "%s '%s' lies in dataDir '%s', which the server may read and write: move one of "
                "them",
                what, path, folder);
}

int deployment_outside(const struct server_config *config, const char *what, const char *path,
                       struct error *err)
{
    return check_outside(config->data_dir, what, path, err);
}

int deployment_check(const struct server_config *config, struct error *err)
{
    const struct {
        const char *what, *path;
    } secrets[] = {{"tls.key", config->tls.key},
                   {"tls.certificate", config->tls.certificate},
                   {"signer.dataDir", config->signer.data_dir},
                   {"signer.passphraseFile", config->signer.passphrase_file},
                   {"signer.tokenPinFile", config->signer.token_pin_file},
                   {"the configuration", config->file}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof secrets / sizeof *secrets; i++)
        rc = !secrets[i].path
                 ? 0
                 : check_outside(config->data_dir, secrets[i].what, secrets[i].path, err);
    return rc;
}

/* --- is it there --- */

int deployment_check_initialised(const struct server_config *config, struct error *err)
{
    CLEANUP(cleanup_free) char *path = text_format("%s/%s", config->data_dir, INDEX_FILE_NAME);
    if (!path)
        return fail_nomem(err);
    if (access(path, F_OK) == 0)
        return 0;
    if (errno == EACCES)
        return fail(
            err, E_SYS,
            "data folder '%s' is closed to this account (uid %u), Permission denied: run this "
            "as root or as the account that serves, to which the folder must belong",
            config->data_dir, (unsigned)geteuid());
    if (errno != ENOENT && errno != ENOTDIR)
        return fail_sys(err, errno, "data folder '%s'", config->data_dir);
    return fail(
        err, E_NOTFOUND,
        "'%s' holds no registry: is its disk mounted? 'bulla-registry init' makes a new one",
        config->data_dir);
}

/* --- where new certificates appear --- */

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strndup(path, slash && slash > path ? (size_t)(slash - path) : 1);
}

static int holds_secrets(const struct server_config *config, const char *folder, bool *out,
                         struct error *err)
{
    const char *const secrets[] = {config->signer.data_dir, config->signer.passphrase_file};
    CLEANUP(cleanup_free) char *real_folder = real_name(folder);
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        CLEANUP(cleanup_free) char *real = real_name(secrets[i]);
        if (!real || !real_folder)
            return fail_nomem(err);
        *out |= strcmp(real_folder, "/") == 0 || is_below(real_folder, real);
    }
    return 0;
}

static int add_folder(const struct server_config *config, char *file,
                      struct deployment_folders *out, struct error *err)
{
    bool secret = false;
    CLEANUP(cleanup_free) char *folder = file ? folder_of(file) : NULL;
    free(file);
    if (!folder)
        return fail_nomem(err);
    int rc = holds_secrets(config, folder, &secret, err);
    if (rc != 0)
        return rc;
    if (secret) {
        out->watched = false;
        return 0;
    }
    for (size_t i = 0; i < DEPLOYMENT_FOLDERS; i++) {
        if (out->names[i] && strcmp(out->names[i], folder) == 0)
            return 0;
        if (!out->names[i]) {
            out->names[i] = TAKE_PTR(folder);
            return 0;
        }
    }
    return 0;
}

int deployment_tls_folders(const struct server_config *config, struct deployment_folders *out,
                           struct error *err)
{
    const char *const files[] = {config->tls.certificate, config->tls.key};
    *out = (struct deployment_folders){.watched = true};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof files / sizeof *files; i++) {
        rc = add_folder(config, strdup(files[i]), out, err);
        if (rc == 0)
            rc = add_folder(config, real_name(files[i]), out, err);
    }
    if (rc != 0)
        deployment_folders_done(out);
    return rc;
}

void deployment_folders_done(struct deployment_folders *folders)
{
    for (size_t i = 0; i < DEPLOYMENT_FOLDERS; i++)
        cleanup_free(&folders->names[i]);
}

/* --- who can read them --- */

static bool can_read(const char *path)
{
    CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return fd >= 0;
}

static bool can_read_both(const struct server_config *config)
{
    return can_read(config->tls.certificate) && can_read(config->tls.key);
}

int deployment_tls_readable(const struct server_config *config, bool *out, struct error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    int status = 0;
    if (!config->user || geteuid() != 0) {
        *out = can_read_both(config);
        return 0;
    }
    int rc = confine_find_user(config->user, &uid, &gid, err);
    if (rc != 0)
        return rc;
    pid_t child = fork();
    if (child < 0)
        return fail_sys(err, errno, "fork");
    if (child == 0) {
        if (confine_become(uid, gid, NULL) != 0)
            _exit(2);
        _exit(can_read_both(config) ? 0 : 1);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
        return fail(err, E_SYS, "try what user '%s' can read", config->user);
    *out = WEXITSTATUS(status) == 0;
    return 0;
}

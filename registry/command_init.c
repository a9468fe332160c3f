/* bulla-registry init: a folder with everything a first registry needs. */
#include "base/args.h"
#include "registry/access.h"
#include "registry/blobs.h"
#include "registry/commands.h"
#include "registry/devca.h"
#include "registry/index_accounts.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "keys/secret.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define DEFAULT_LISTEN "127.0.0.1:5443"

struct init {
    const char *dir, *admin;
    char *address;
    uint16_t port;
    char hash[PASSWORD_HASH_MAX];
    int dir_fd;
    struct server_config config;
};

static void init_done(struct init *in)
{
    free(in->address);
    cleanup_fd(&in->dir_fd);
    server_config_done(&in->config);
    secret_wipe(in->hash, sizeof in->hash);
}

/* The folder that will hold `path`; present is fine. */
static int make_parent(const char *path, mode_t mode, struct error *err)
{
    CLEANUP(cleanup_free) char *dir = strdup(path);
    char *slash = dir ? strrchr(dir, '/') : NULL;
    if (!slash)
        return fail_nomem(err);
    *slash = '\0';
    if (mkdir(dir, mode) != 0 && errno != EEXIST)
        return fail_sys(err, errno, "make '%s'", dir);
    return 0;
}

static int make_folders(const struct server_config *config, struct error *err)
{
    int rc = make_parent(config->tls.certificate, 0755, err);
    if (rc == 0)
        rc = make_parent(config->tls.key, 0755, err);
    if (rc == 0)
        rc = make_parent(config->signer.socket, 0755, err);
    if (rc == 0)
        rc = make_parent(config->signer.passphrase_file, 0700, err);
    return rc;
}

static int write_new(const char *path, const struct bytes *data, mode_t mode, struct error *err)
{
    int rc = file_write_atomic(AT_FDCWD, path, data->data, data->len, mode, err);
    return wrap(err, rc, "write '%s'", path);
}

static int write_certificates(struct init *in, struct error *err)
{
    struct devca ca = {BYTES_INIT, BYTES_INIT, BYTES_INIT, BYTES_INIT};
    int rc = devca_make(in->address, &ca, err);
    if (rc == 0)
        rc = file_write_atomic(in->dir_fd, "ca.crt", ca.ca_certificate.data, ca.ca_certificate.len,
                               0644, err);
    if (rc == 0)
        rc = file_write_atomic(in->dir_fd, "ca.key", ca.ca_key.data, ca.ca_key.len, 0600, err);
    if (rc == 0)
        rc = write_new(in->config.tls.certificate, &ca.certificate, 0644, err);
    if (rc == 0)
        rc = write_new(in->config.tls.key, &ca.key, 0600, err);
    devca_done(&ca);
    return rc;
}

static int write_passphrase(struct init *in, struct error *err)
{
    uint8_t random[32];
    char hex[2 * sizeof random + 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail_sys(err, errno, "getrandom");
    hex_encode(random, sizeof random, hex);
    hex[2 * sizeof random] = '\n'; /* a line, as a person would write it; the NUL is not needed */
    struct bytes text = {(uint8_t *)hex, sizeof hex - 1, sizeof hex};
    int rc = write_new(in->config.signer.passphrase_file, &text, 0600, err);
    secret_wipe(random, sizeof random);
    secret_wipe(hex, sizeof hex);
    return rc;
}

static int add_admin(struct index_tx *tx, void *arg, struct error *err)
{
    const struct init *in = arg;
    const struct index_grant all = {in->admin, "*", ACCESS_ALL};
    int rc = index_user_add(tx, in->admin, in->hash, err);
    return rc == 0 ? index_grant_add(tx, &all, err) : rc;
}

static int make_storage(struct init *in, struct error *err)
{
    CLEANUP(index_cleanup) struct index *ix = NULL;
    struct blobs *blobs = NULL;
    int rc = blobs_open(in->config.data_dir, &blobs, err);
    blobs_close(blobs);
    if (rc == 0)
        rc = index_open(in->config.data_dir, &ix, err);
    if (rc == 0)
        rc = index_start(ix, err);
    if (rc == 0 && in->admin)
        rc = index_write(ix, add_admin, in, err);
    return rc;
}

static int make_all(struct init *in, struct error *err)
{
    CLEANUP(cleanup_free) char *file = text_format("%s/%s", in->dir, CONFIG_FILE_NAME);
    if (!file)
        return fail_nomem(err);
    int rc = server_config_write_default(in->dir_fd, in->address, in->port, err);
    if (rc != 0)
        return rc;
    rc = server_config_load(file, &in->config, err);
    if (rc == 0)
        rc = make_folders(&in->config, err);
    if (rc == 0)
        rc = write_certificates(in, err);
    if (rc == 0)
        rc = write_passphrase(in, err);
    if (rc == 0)
        rc = make_storage(in, err);
    if (rc != 0) /* without it the folder is no registry, and init can be tried again */
        unlinkat(in->dir_fd, CONFIG_FILE_NAME, 0);
    return rc;
}

static int say_what_next(const struct init *in, struct error *err)
{
    bool v6 = strchr(in->address, ':');
    int n = printf("made '%s'; go on with\n", in->dir);
    if (n >= 0 && !in->admin)
        n = printf(
            "  bulla-registry user add NAME --config %s/%s\n"
            "  bulla-registry grant add NAME '*' pull,push,delete,sign,admin --config %s/%s\n",
            in->dir, CONFIG_FILE_NAME, in->dir, CONFIG_FILE_NAME);
    if (n >= 0)
        n = printf("  bulla-registry serve --config %s/%s\n"
                   "  bulla login --cacert %s/ca.crt %s%s%s:%u --username %s\n",
                   in->dir, CONFIG_FILE_NAME, in->dir, v6 ? "[" : "", in->address, v6 ? "]" : "",
                   (unsigned)in->port, in->admin ? in->admin : "NAME");
    return n < 0 ? fail_sys(err, errno, "write") : 0;
}

/* Others may pass through to read ca.crt; what is secret inside is 0600 or 0700. */
static int open_folder(struct init *in, struct error *err)
{
    struct stat st;
    if (mkdir(in->dir, 0755) != 0 && errno != EEXIST)
        return fail_sys(err, errno, "make '%s'", in->dir);
    int rc = file_open_dir(in->dir, false, &in->dir_fd, err);
    if (rc == 0 && fstatat(in->dir_fd, CONFIG_FILE_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return fail(err, E_EXISTS, "'%s' holds a registry already", in->dir);
    return rc;
}

int command_init(char **args, struct error *err)
{
    CLEANUP(init_done) struct init in = {.dir_fd = -1};
    const char *listen = NULL;
    bool from_stdin = false, is_user = false;
    const struct args_option options[] = {{"--listen", &listen, NULL},
                                          {"--admin", &in.admin, NULL},
                                          {"--password-stdin", NULL, &from_stdin},
                                          {NULL, NULL, NULL}};
    int rc = args_parse(args, options, &in.dir, 1, err);
    if (rc == 0 && from_stdin && !in.admin)
        rc = fail(err, E_USAGE, "--password-stdin is for the admin: name one with --admin");
    if (rc == 0)
        rc = config_parse_listen(listen ? listen : DEFAULT_LISTEN, &in.address, &in.port, err);
    if (rc == E_INVALID)
        return fail(err, E_USAGE, "--listen '%s' is not ADDRESS:PORT (127.0.0.1:5443, [::1]:5443)",
                    listen);
    if (rc == 0 && in.admin)
        rc = access_subject_check(in.admin, &is_user, err);
    if (rc == 0 && in.admin && !is_user)
        rc = fail(err, E_USAGE, "'%s' stands for callers without credentials", in.admin);
    if (rc == 0)
        rc = open_folder(&in, err);
    if (rc == 0 && in.admin)
        rc = command_read_password(in.admin, from_stdin, in.hash, err);
    if (rc == 0)
        rc = make_all(&in, err);
    return rc == 0 ? say_what_next(&in, err) : rc;
}

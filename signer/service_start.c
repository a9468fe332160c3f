#include "signer/service_start.h"

#include "base/confine.h"
#include "base/digest.h"
#include "base/file.h"
#include "signer/service_server.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#define LOCK_WAIT_MS  5000 /* a predecessor that was told to end */
#define IO_TIMEOUT_MS 10000
#define RENEW_MIN_MS  100
#define RENEW_MAX_MS  30000

struct accounts {
    uid_t self;
    gid_t self_group;
    uid_t registry;
};

struct start {
    const struct server_config *config;
    struct accounts accounts;
    struct secret passphrase, pin;
    struct token_host *host;
    struct service_token *token;
    int data_fd, lock_fd, listen_fd, stop_fd;
    struct service *service;
};

static void start_done(struct start *s)
{
    service_cleanup(&s->service);
    service_token_cleanup(&s->token);
    token_host_cleanup(&s->host);
    secret_done(&s->passphrase);
    secret_done(&s->pin);
    cleanup_fd(&s->listen_fd);
    cleanup_fd(&s->stop_fd);
    cleanup_fd(&s->lock_fd);
    cleanup_fd(&s->data_fd);
}

static int find_accounts(const struct server_config *config, struct accounts *out,
                         struct error *err)
{
    struct accounts a = {.self = geteuid(), .self_group = getegid(), .registry = geteuid()};
    gid_t group = 0;
    int rc = OK;
    if (config->user)
        rc = confine_find_user(config->user, &a.registry, &group, err);
    if (rc)
        return rc;
    const char *own = config->signer.user ? config->signer.user : config->user;
    if (own)
        rc = confine_find_user(own, &a.self, &a.self_group, err);
    if (!rc)
        *out = a;
    return rc;
}

/* What root makes for the service belongs to the service. */
static int give(const struct start *s, int fd, struct error *err)
{
    if (geteuid() != 0 || s->accounts.self == 0)
        return OK;
    return fchown(fd, s->accounts.self, s->accounts.self_group)
               ? fail_sys(err, errno, "give files to the service's user")
               : OK;
}

static int open_data(struct start *s, struct error *err)
{
    const char *path = s->config->signer.data_dir;
    int rc = file_open_dir(path, true, &s->data_fd, err);
    if (!rc)
        rc = give(s, s->data_fd, err);
    if (!rc)
        rc = file_lock(s->data_fd, "lock", LOCK_WAIT_MS, &s->lock_fd, err);
    if (rc == E_BUSY)
        return fail(err, rc, "another signing service works with '%s'", path);
    return rc ? rc : give(s, s->lock_fd, err);
}

static int read_passphrase(struct start *s, struct error *err)
{
    struct secret_source source;
    secret_source_init(&source, s->config->signer.passphrase_file);
    int rc = source.ask(&source, "passphrase of the signing service", false, &s->passphrase, err);
    return wrap(err, rc, "passphrase file");
}

static int become(const struct start *s, struct error *err);

static int become_in_host(void *context, struct error *err)
{
    return become(context, err);
}

/* The process that may start PKCS#11 helpers is made before any secret is known here; only who has
 * a token has it. */
static int start_host(struct start *s, struct error *err)
{
    const struct token_host_options options = {.become = become_in_host, .context = s};
    return s->config->signer.token ? token_host_start(&options, &s->host, err) : OK;
}

static int read_pin(struct start *s, struct error *err)
{
    struct secret_source source;
    const char *file = s->config->signer.token_pin_file;
    if (!s->config->signer.token || !file)
        return OK;
    secret_source_init(&source, file);
    int rc = source.ask(&source, "PIN of the signing service's token", false, &s->pin, err);
    return wrap(err, rc, "PIN file");
}

static int open_token(struct start *s, struct error *err)
{
    const struct server_config *c = s->config;
    const struct service_token_options options = {.label = c->signer.token,
                                                  .module = c->signer.token_module,
                                                  .collections = c->signer.token_collections,
                                                  .pin = &s->pin,
                                                  .host = s->host};
    if (!c->signer.token)
        return OK;
    int rc = service_token_new(&options, &s->token, err);
    if (!rc)
        (void)TAKE_PTR(s->host);
    return rc;
}

/* The folder is open to others: the registry may be another user, and the socket guards itself. */
static int make_socket_folder(const char *socket_path, struct error *err)
{
    CLEANUP(cleanup_free) char *folder = strdup(socket_path);
    if (!folder)
        return fail_nomem(err);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return OK;
    *slash = 0;
    if (mkdir(folder, 0755) && errno != EEXIST)
        return fail_sys(err, errno, "make '%s'", folder);
    return OK;
}

static int open_stop_fd(struct start *s, struct error *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return fail_sys(err, errno, "block signals");
    s->stop_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->stop_fd < 0 ? fail_sys(err, errno, "open a signal descriptor") : OK;
}

static int become(const struct start *s, struct error *err)
{
    const struct accounts *a = &s->accounts;
    if (a->self == 0 || (geteuid() != 0 && a->self == geteuid()))
        return OK;
    return confine_become(a->self, a->self_group, err);
}

/* After the change of user, which clears it. A parent that ended before is found by its number. */
static int follow_parent(pid_t parent, struct error *err)
{
    if (!parent)
        return OK;
    if (prctl(PR_SET_PDEATHSIG, SIGTERM))
        return fail_sys(err, errno, "follow the parent process");
    return getppid() == parent ? OK : fail(err, E_INTERRUPTED, "the parent process has ended");
}

static int open_service(struct start *s, struct error *err)
{
    const struct server_config *c = s->config;
    CLEANUP(cleanup_free)
    char *database = text_format("%s/%s", c->signer.data_dir, SERVICE_STORE_FILE);
    if (!database)
        return fail_nomem(err);
    const struct service_options options = {
        .database = database,
        .passphrase = &s->passphrase,
        .token = s->token ? &s->token : NULL,
        .lifetimes = {.snapshot_s = c->signer.snapshot_lifetime_s,
                      .timestamp_s = c->signer.timestamp_lifetime_s},
    };
    /* Libraries read their own settings at first use: that is over before files are out of reach.
     */
    struct digest warm;
    int rc = digest_of(DIGEST_SHA256, "", 0, &warm, err);
    return rc ? rc : service_open(&options, &s->service, err);
}

static int confine(const struct start *s, struct error *err)
{
    const struct confine_path paths[] = {{.path = s->config->signer.data_dir, .write = true}};
    struct confine_report report = {0};
    int rc = confine_no_new_privs(err);
    if (!rc)
        rc = confine_not_dumpable(err);
    if (!rc)
        rc = confine_landlock(paths, 1, &report, err);
    if (!rc)
        rc = confine_seccomp(CONFINE_SIGNER, err);
    if (!rc && !report.landlock_abi)
        log_warn("this kernel has no Landlock: the signing service's files are not confined");
    return wrap(err, rc, "confine the signing service");
}

/* Often enough that little of the half that is left goes by unused. */
static int64_t renew_every_ms(const struct server_config *c)
{
    int64_t shorter_s = c->signer.timestamp_lifetime_s < c->signer.snapshot_lifetime_s
                            ? c->signer.timestamp_lifetime_s
                            : c->signer.snapshot_lifetime_s;
    int64_t ms = shorter_s * 1000 / 20;
    return ms < RENEW_MIN_MS ? RENEW_MIN_MS : ms > RENEW_MAX_MS ? RENEW_MAX_MS : ms;
}

static int serve(const struct start *s, struct error *err)
{
    const struct service_server_options options = {
        .service = s->service,
        .listen_fd = s->listen_fd,
        .stop_fd = s->stop_fd,
        .peers = {s->accounts.self, s->accounts.registry},
        .io_timeout_ms = IO_TIMEOUT_MS,
        .renew_every_ms = renew_every_ms(s->config),
    };
    CLEANUP(cleanup_free) char *line = text_format("listening on %s\n", s->config->signer.socket);
    if (!line)
        return fail_nomem(err);
    int rc = file_write_fd(STDOUT_FILENO, line, strlen(line), err);
    if (rc)
        return wrap(err, rc, "say that the service is ready");
    log_info("listening on %s", s->config->signer.socket);
    rc = service_server_run(&options, err);
    if (!rc)
        log_info("ended as asked");
    return rc;
}

int service_start(const struct service_start *start, struct error *err)
{
    CLEANUP(start_done)
    struct start s = {.config = start->config,
                      .passphrase = SECRET_INIT,
                      .pin = SECRET_INIT,
                      .data_fd = -1,
                      .lock_fd = -1,
                      .listen_fd = -1,
                      .stop_fd = -1};
    int rc = find_accounts(s.config, &s.accounts, err);
    if (!rc)
        rc = open_stop_fd(&s, err);
    if (!rc)
        rc = open_data(&s, err);
    if (!rc)
        rc = start_host(&s, err);
    if (!rc)
        rc = read_passphrase(&s, err);
    if (!rc)
        rc = read_pin(&s, err);
    if (!rc)
        rc = make_socket_folder(s.config->signer.socket, err);
    if (!rc)
        rc = service_server_listen(s.config->signer.socket, s.accounts.registry, &s.listen_fd, err);
    if (!rc)
        rc = become(&s, err);
    if (!rc)
        rc = follow_parent(start->parent, err);
    if (!rc)
        rc = open_token(&s, err);
    if (!rc)
        rc = open_service(&s, err);
    if (!rc)
        rc = confine(&s, err);
    return rc ? rc : serve(&s, err);
}

/* bulla-registry serve. */
#include "registry/commands.h"
#include "registry/deployment.h"
#include "registry/health.h"
#include "registry/listener.h"
#include "registry/maintenance.h"
#include "registry/metrics.h"
#include "registry/service.h"
#include "registry/signer_child.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/confine.h"
#include "base/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLIENT_CA_MAX     (256u << 10)
#define WATCH_EVERY_MS    1000 /* the certificate's files */
#define STOP_EVERY_MS     20   /* is the last request done */
#define DESCRIPTORS_WORK  3u   /* of a working request: two files of the index, and a blob */
#define DESCRIPTORS_SPARE 64u  /* our own, and those of passing work */
#define WORKING_MAX       1024u
#define PLAIN_CONNECTIONS 32u
#define CROWD             64 /* connections */

struct serving {
    struct server_config config;
    struct http_certificate *certificate;
    struct bytes client_ca;
    struct deployment_folders tls_folders;
    int listen_fd, plain_fd; /* plain_fd -1: no metrics socket */
    uint16_t port;
    struct http_server *server, *plain;
    struct signer_child signer;
    bool open;
    struct registry registry;
};

static void serving_done(struct serving *s)
{
    if (s->open)
        registry_close(&s->registry);
    http_certificate_close(s->certificate);
    bytes_done(&s->client_ca);
    deployment_folders_done(&s->tls_folders);
    cleanup_fd(&s->listen_fd);
    cleanup_fd(&s->plain_fd);
    signer_child_done(&s->signer);
    server_config_done(&s->config);
}

/* Where there are few descriptors each connection is reckoned to work; where there are many, most
 * of the connections wait. */
static rlim_t descriptors_for(rlim_t connections)
{
    rlim_t working = connections < WORKING_MAX ? connections : WORKING_MAX;
    return DESCRIPTORS_SPARE + connections + working * DESCRIPTORS_WORK;
}

static unsigned connections_for(rlim_t descriptors)
{
    rlim_t each = 1 + DESCRIPTORS_WORK;
    if (descriptors < DESCRIPTORS_SPARE + WORKING_MAX * each)
        return (unsigned)((descriptors - DESCRIPTORS_SPARE) / each);
    return (unsigned)(descriptors - DESCRIPTORS_SPARE - WORKING_MAX * DESCRIPTORS_WORK);
}

/*
 * The usual limit of 1024 descriptors is fewer than the connections allowed: then one peer's silent
 * connections would leave none for the files that answers need.
 */
static int reserve_descriptors(struct server_config *config, struct error *err)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return fail_sys(err, errno, "read the limit of open files");
    rlim_t wanted = descriptors_for(config->limits.connections);
    if (r.rlim_cur < wanted) {
        r.rlim_cur = wanted < r.rlim_max ? wanted : r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) != 0)
            return fail_sys(err, errno, "raise the limit of open files");
    }
    if (r.rlim_cur >= wanted)
        return 0;
    if (r.rlim_cur < DESCRIPTORS_SPARE + 1 + DESCRIPTORS_WORK)
        return fail(err, E_LIMIT, "only %ju files may be open at once", (uintmax_t)r.rlim_cur);
    unsigned fit = connections_for(r.rlim_cur);
    log_warn("%ju open files are allowed: at most %u of %u connections at once",
             (uintmax_t)r.rlim_cur, fit, config->limits.connections);
    config->limits.connections = fit;
    if (config->limits.connections_per_address > fit)
        config->limits.connections_per_address = fit;
    return 0;
}

static int open_plain(struct serving *s, struct error *err)
{
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;
    const struct server_config *config = &s->config;
    if (!config->metrics.socket)
        return 0;
    int rc = config->user && geteuid() == 0 ? confine_find_user(config->user, &uid, &gid, err) : 0;
    return rc == 0 ? listener_open_unix(config->metrics.socket, uid, gid, &s->plain_fd, err) : rc;
}

/* An empty or damaged file must not mean that certificates of no authority are asked for. */
static int read_client_ca(struct serving *s, struct error *err)
{
    const char *file = s->config.tls.client_ca;
    if (!file)
        return 0;
    int rc = file_read(AT_FDCWD, file, CLIENT_CA_MAX, &s->client_ca, err);
    if (rc == 0 && !strstr(bytes_text(&s->client_ca), "-----BEGIN CERTIFICATE-----"))
        rc = fail(err, E_INVALID, "'%s' holds no certificate", file);
    return wrap(err, rc, "tls.clientCa");
}

/* What needs the rights the process was started with. */
static int prepare(struct serving *s, struct error *err)
{
    const struct server_config *config = &s->config;
    s->port = config->listen_port;
    int rc = deployment_check(config, err);
    if (rc == 0)
        rc = deployment_tls_folders(config, &s->tls_folders, err);
    if (rc == 0)
        rc = reserve_descriptors(&s->config, err);
    if (rc == 0)
        rc = http_certificate_open(config->tls.certificate, config->tls.key, &s->certificate, err);
    if (rc == 0)
        rc = read_client_ca(s, err);
    if (rc == 0)
        rc = listener_open(config->listen_address, &s->port, &s->listen_fd, err);
    if (rc == 0)
        rc = open_plain(s, err);
    return rc == 0 ? signer_child_start(config, &s->signer, err) : rc;
}

static int become_user(const struct server_config *config, struct error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    if (!config->user || geteuid() != 0) {
        if (geteuid() == 0)
            log_warn("running as root: name a 'user' in the configuration");
        return 0;
    }
    int rc = confine_find_user(config->user, &uid, &gid, err);
    return rc == 0 ? confine_become(uid, gid, err) : rc;
}

static int confine(struct serving *s, struct error *err)
{
    struct confine_report report = {0};
    struct confine_path paths[2 + DEPLOYMENT_FOLDERS] = {{s->config.data_dir, true, false},
                                                         {s->config.signer.socket, false, true}};
    size_t n = 2;
    for (size_t i = 0; i < DEPLOYMENT_FOLDERS && s->tls_folders.names[i]; i++)
        paths[n++] = (struct confine_path){s->tls_folders.names[i], false, true};
    int rc = confine_no_new_privs(err);
    if (rc == 0)
        rc = confine_not_dumpable(err);
    if (rc == 0)
        rc = confine_landlock(paths, n, &report, err);
    if (rc == 0)
        rc = confine_seccomp(CONFINE_SERVER, err);
    if (rc == 0 && report.landlock_abi == 0)
        log_warn("this kernel has no Landlock: files outside the data folder are not walled off");
    return rc;
}

/* Better said at the start than on the day the certificate expires. */
static void warn_of_certificate(struct serving *s)
{
    struct error err = ERROR_INIT;
    int64_t expires = http_certificate_expires_s(s->certificate);
    char when[CLOCK_TEXT_MAX];
    metrics_set(METRICS_CERTIFICATE_EXPIRY_S, expires);
    if (expires <= clock_now_s())
        log_error("the certificate expired on %s: clients will refuse it",
                  clock_format(expires, when));
    if (!s->tls_folders.watched)
        log_warn("the TLS files lie beside the signer's secrets: a new certificate needs a "
                 "restart; give them a folder of their own for reloading");
    else if (http_certificate_reload(s->certificate, &err) != 0 && err.code != E_EXPIRED)
        log_warn("the certificate cannot be read a second time (%s): a new one needs a restart; "
                 "make certificate and key readable to the user that serves",
                 err.message);
}

static void reload_certificate(struct serving *s)
{
    struct error err = ERROR_INIT;
    char when[CLOCK_TEXT_MAX];
    int rc = http_certificate_reload(s->certificate, &err);
    metrics_add(rc == 0 ? METRICS_CERTIFICATE_RELOADS : METRICS_CERTIFICATE_FAILURES, 1);
    if (rc != 0) {
        log_error("the new certificate is not used, the one before stays: %s", err.message);
        return;
    }
    int64_t expires = http_certificate_expires_s(s->certificate);
    metrics_set(METRICS_CERTIFICATE_EXPIRY_S, expires);
    log_info("a new certificate is in use; it expires on %s", clock_format(expires, when));
}

static int announce(const struct serving *s, struct error *err)
{
    const char *address = s->config.listen_address;
    bool v6 = strchr(address, ':') != NULL;
    if (printf("listening on %s%s%s:%u\n", v6 ? "[" : "", address, v6 ? "]" : "",
               (unsigned)s->port) < 0 ||
        fflush(stdout) != 0)
        return fail_sys(err, errno, "write to standard output");
    return 0;
}

/* What it never did it will not do after a restart either: wrong passphrase, damaged keys. */
static int reap_signer(struct serving *s, struct error *err)
{
    int rc = 0;
    while (rc == 0 && waitpid(-1, NULL, WNOHANG) > 0) {
        rc = signer_child_check_ended(&s->signer, err);
        if (rc == 0)
            log_error("the signing service ended: nothing can be published until a restart");
    }
    return rc;
}

/* The next signal within so many milliseconds; 0: none. */
static int next_signal(const sigset_t *signals, int wait_ms)
{
    const struct timespec wait = {wait_ms / 1000, (wait_ms % 1000) * 1000000L};
    int number = sigtimedwait(signals, NULL, &wait);
    return number > 0 ? number : 0;
}

/* A crowd that has left leaves holes all over the heap, which free() gives back only at its end. */
static void return_memory(int64_t *most)
{
    int64_t open = metrics_gauge(METRICS_OPEN_CONNECTIONS);
    if (open > *most)
        *most = open;
    if (*most < CROWD || open > *most / 2)
        return;
    *most = open;
    (void)malloc_trim(0);
}

/* Until SIGTERM or SIGINT. The end of the signing service stops signing, not serving, unless it
 * never came up. */
static int wait_for_end(struct serving *s, const sigset_t *signals, struct error *err)
{
    int64_t most = 0;
    for (;;) {
        return_memory(&most);
        int number = next_signal(signals, WATCH_EVERY_MS);
        if (number == SIGTERM || number == SIGINT)
            return 0;
        int rc = number == SIGCHLD ? reap_signer(s, err) : 0;
        if (rc != 0)
            return rc;
        /* Files that Landlock hides look gone, not changed. */
        bool changed = s->tls_folders.watched && http_certificate_changed(s->certificate);
        if (number == SIGHUP || changed)
            reload_certificate(s);
    }
}

/* What runs is finished, within the time allowed or until told again. */
static void finish_requests(struct serving *s, const sigset_t *signals)
{
    int64_t until = clock_monotonic_ms() + s->config.limits.stop_grace_s * 1000;
    unsigned running = http_server_n_running(s->server);
    http_server_close(s->server);
    cleanup_fd(&s->listen_fd);
    if (running > 0)
        log_info("stopping: %u requests are running", running);
    while ((running = http_server_n_running(s->server)) > 0 && clock_monotonic_ms() < until) {
        int number = next_signal(signals, STOP_EVERY_MS);
        if (number == SIGTERM || number == SIGINT) {
            log_warn("stopping at once: %u requests are broken off", running);
            _exit(EXIT_DONE); /* what was acknowledged is durable; nothing else needs us */
        }
    }
    if (running > 0)
        log_warn("stopping: %u requests took too long and are broken off", running);
}

static int start_servers(struct serving *s, struct error *err)
{
    const struct server_config *config = &s->config;
    struct http_app app;
    struct http_options options = {
        .listen_fd = s->listen_fd,
        .certificate = s->certificate,
        .client_ca = config->tls.client_ca ? bytes_text(&s->client_ca) : NULL,
        .connections = config->limits.connections,
        .connections_per_address = config->limits.connections_per_address,
        .idle_timeout_s = config->limits.idle_timeout_s,
        .rate_bytes_s = config->limits.rate_bytes_s,
        .body_bytes = config->limits.body_bytes,
    };
    api_app(&s->registry, &app);
    int rc = http_server_start(&options, &app, &s->server, err);
    if (rc != 0 || s->plain_fd < 0)
        return rc;
    options.listen_fd = s->plain_fd;
    options.certificate = NULL;
    options.connections = options.connections_per_address = PLAIN_CONNECTIONS;
    health_app(s->registry.health, &app);
    return http_server_start(&options, &app, &s->plain, err);
}

static int run_server(struct serving *s, const sigset_t *signals, struct error *err)
{
    struct maintenance *maintenance = NULL;
    int rc = registry_start(&s->registry, err);
    if (rc == 0)
        rc = maintenance_start(&s->registry, &maintenance, err);
    if (rc == 0)
        rc = start_servers(s, err);
    if (rc == 0)
        rc = announce(s, err);
    if (rc == 0) {
        rc = wait_for_end(s, signals, err);
        finish_requests(s, signals);
    }
    http_server_stop(s->server);
    http_server_stop(s->plain);
    maintenance_stop(maintenance);
    return rc;
}

/*
 * One arena per core would be filled anew by each of thousands of threads, and a threshold that
 * grows with each large block freed would keep such blocks for ever.
 */
static void spare_memory(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 10);
}

static void block_signals(sigset_t *signals)
{
    /* Blocked in every thread to come, taken by the main one. */
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
    sigaddset(signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, signals, NULL);
}

int command_serve(char **args, struct error *err)
{
    CLEANUP(serving_done)
    struct serving s = {.listen_fd = -1, .plain_fd = -1, .signer = {-1, -1}};
    sigset_t signals;
    int rc = command_load_config(args, &s.config, err);
    if (rc != 0)
        return rc;
    spare_memory();
    log_setup("bulla-registry", s.config.log.level, s.config.log.form);
    block_signals(&signals);
    rc = prepare(&s, err);
    if (rc == 0)
        rc = become_user(&s.config, err);
    if (rc == 0)
        rc = deployment_check_initialised(&s.config, err);
    if (rc == 0)
        rc = registry_open(&s.config, &s.registry, err);
    if (rc != 0)
        return rc;
    s.open = true;
    rc = confine(&s, err);
    if (rc != 0)
        return rc;
    warn_of_certificate(&s);
    return run_server(&s, &signals, err);
}

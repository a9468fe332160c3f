/* bulla-registry serve, config check. */
#include "registry/args.h"
#include "registry/commands.h"
#include "registry/listener.h"
#include "registry/maintenance.h"
#include "registry/service.h"
#include "registry/signer_child.h"

#include "base/cleanup.h"
#include "base/confine.h"
#include "base/file.h"
#include "keys/secret.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define PEM_MAX           (256u << 10)
#define STOP_GRACE_MS     5000
#define DESCRIPTORS_EACH  4u
#define DESCRIPTORS_SPARE 64u /* our own, and those of passing work */

struct serving {
    struct server_config config;
    struct bytes certificate, key;
    int listen_fd;
    uint16_t port;
    int signer_life_fd; /* the signing service ends when it is closed */
    bool open;
    struct registry registry;
};

static void serving_done(struct serving *s)
{
    if (s->open)
        registry_close(&s->registry);
    secret_wipe(s->key.data, s->key.len);
    bytes_done(&s->certificate);
    bytes_done(&s->key);
    cleanup_fd(&s->listen_fd);
    cleanup_fd(&s->signer_life_fd);
    server_config_done(&s->config);
}

/*
 * The usual limit of 1024 descriptors is fewer than the connections allowed: then one peer's silent
 * connections would leave none for the files that answers need. A working request holds its socket,
 * two files of the index, and a blob.
 */
static int reserve_descriptors(struct server_config *config, struct error *err)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return fail_sys(err, errno, "read the limit of open files");
    rlim_t wanted = DESCRIPTORS_SPARE + (rlim_t)config->limits.connections * DESCRIPTORS_EACH;
    if (r.rlim_cur < wanted) {
        r.rlim_cur = wanted < r.rlim_max ? wanted : r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) != 0)
            return fail_sys(err, errno, "raise the limit of open files");
    }
    if (r.rlim_cur >= wanted)
        return 0;
    if (r.rlim_cur < DESCRIPTORS_SPARE + DESCRIPTORS_EACH)
        return fail(err, E_LIMIT, "only %ju files may be open at once", (uintmax_t)r.rlim_cur);
    unsigned fit = (unsigned)((r.rlim_cur - DESCRIPTORS_SPARE) / DESCRIPTORS_EACH);
    log_warn("%ju open files are allowed: at most %u of %u connections at once",
             (uintmax_t)r.rlim_cur, fit, config->limits.connections);
    config->limits.connections = fit;
    if (config->limits.connections_per_address > fit)
        config->limits.connections_per_address = fit;
    return 0;
}

/* What needs the rights the process was started with. */
static int prepare(struct serving *s, struct error *err)
{
    const struct server_config *config = &s->config;
    s->port = config->listen_port;
    int rc = reserve_descriptors(&s->config, err);
    if (rc == 0)
        rc = file_read(AT_FDCWD, config->tls.certificate, PEM_MAX, &s->certificate, err);
    if (rc == 0)
        rc = file_read(AT_FDCWD, config->tls.key, PEM_MAX, &s->key, err);
    if (rc == 0)
        rc = listener_open(config->listen_address, &s->port, &s->listen_fd, err);
    return rc == 0 ? signer_child_start(config, &s->signer_life_fd, err) : rc;
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

static int confine(const struct server_config *config, struct error *err)
{
    struct confine_report report = {0};
    const struct confine_path paths[] = {{config->data_dir, true, false},
                                         {config->signer.socket, false, true}};
    int rc = confine_no_new_privs(err);
    if (rc == 0)
        rc = confine_not_dumpable(err);
    if (rc == 0)
        rc = confine_landlock(paths, sizeof paths / sizeof *paths, &report, err);
    if (rc == 0)
        rc = confine_seccomp(CONFINE_SERVER, err);
    if (rc == 0 && report.landlock_abi == 0)
        log_warn("this kernel has no Landlock: files outside the data folder are not walled off");
    return rc;
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

/* Until SIGTERM or SIGINT. The end of the signing service stops signing, not serving. */
static void wait_for_end(const sigset_t *signals)
{
    for (;;) {
        int number = 0;
        if (sigwait(signals, &number) != 0)
            return;
        if (number != SIGCHLD)
            return;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            log_error("the signing service ended: nothing can be published until a restart");
    }
}

static int run_server(struct serving *s, const sigset_t *signals, struct error *err)
{
    const struct server_config *config = &s->config;
    struct http_app app;
    struct http_server *server = NULL;
    struct maintenance *maintenance = NULL;
    const struct http_options options = {
        .listen_fd = s->listen_fd,
        .certificate = bytes_text(&s->certificate),
        .key = bytes_text(&s->key),
        .connections = config->limits.connections,
        .connections_per_address = config->limits.connections_per_address,
        .idle_timeout_s = config->limits.idle_timeout_s,
        .rate_bytes_s = config->limits.rate_bytes_s,
    };
    api_app(&s->registry, &app);
    int rc = registry_start(&s->registry, err);
    if (rc == 0)
        rc = maintenance_start(&s->registry, &maintenance, err);
    if (rc == 0)
        rc = http_server_start(&options, &app, &server, err);
    if (rc == 0)
        rc = announce(s, err);
    if (rc == 0)
        wait_for_end(signals);
    http_server_stop(server, STOP_GRACE_MS);
    maintenance_stop(maintenance);
    return rc;
}

static int load_config(char **args, struct server_config *config, struct error *err)
{
    const char *file = NULL;
    const struct args_option options[] = {{"--config", &file, NULL}, {NULL, NULL, NULL}};
    int rc = args_parse(args, options, NULL, 0, err);
    return rc == 0 ? server_config_load(file ? file : COMMAND_DEFAULT_CONFIG, config, err) : rc;
}

int command_serve(char **args, struct error *err)
{
    CLEANUP(serving_done) struct serving s = {.listen_fd = -1, .signer_life_fd = -1};
    sigset_t signals;
    int rc = load_config(args, &s.config, err);
    if (rc != 0)
        return rc;
    log_setup("bulla-registry", s.config.log.level, s.config.log.form);
    /* Blocked in every thread to come, taken by wait_for_end. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    rc = prepare(&s, err);
    if (rc == 0)
        rc = become_user(&s.config, err);
    if (rc == 0)
        rc = registry_open(&s.config, &s.registry, err);
    if (rc != 0)
        return rc;
    s.open = true;
    rc = confine(&s.config, err);
    return rc == 0 ? run_server(&s, &signals, err) : rc;
}

static int config_check(char **args, struct error *err)
{
    CLEANUP(server_config_done) struct server_config config = {0};
    int rc = load_config(args, &config, err);
    if (rc != 0)
        return rc;
    if (printf("'%s' is fine\n", config.file) < 0)
        return fail_sys(err, errno, "write");
    bool apart = config.signer.user && config.user && strcmp(config.signer.user, config.user) != 0;
    if (!apart &&
        puts("development set-up: registry and signer share one account, so a taken-over\n"
             "registry could reach the online keys; set 'user' and 'signer: user'") < 0)
        return fail_sys(err, errno, "write");
    return 0;
}

int command_config(char **args, struct error *err)
{
    if (args[0] && strcmp(args[0], "check") == 0)
        return config_check(args + 1, err);
    return fail(err, E_USAGE, "'config %s': no such command, see bulla-registry --help",
                args[0] ? args[0] : "");
}

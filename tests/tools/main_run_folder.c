/*
 * run-folder: starts a container from plain folders, for the sandbox tests.
 *
 * Usage: run-folder [options] LAYER[,LAYER…] -- COMMAND… ; layers lowest first. Options as in
 * `bulla run`: -e -w -u -v --tmpfs --hostname --memory --cpus --pids-limit --writable --network.
 * Never installed: it asks neither policy nor signature.
 */
#include "base/cleanup.h"
#include "runner/options.h"
#include "runner/run.h"

#include <fcntl.h>
#include <getopt.h>
#include <string.h>

#define MAX_LIST 256

struct request {
    struct run_spec spec;
    int layers[RUN_MAX_LAYERS + 1];
    const char *env[MAX_LIST + 1];
    size_t n_env;
    struct run_volume volumes[RUN_MAX_MOUNTS];
    struct run_tmpfs tmpfs[RUN_MAX_MOUNTS];
};

enum { OPT_TMPFS = 256, OPT_HOSTNAME, OPT_MEMORY, OPT_CPUS, OPT_PIDS, OPT_WRITABLE, OPT_NETWORK };

static const struct option options[] = {
    {"env", required_argument, NULL, 'e'},
    {"workdir", required_argument, NULL, 'w'},
    {"user", required_argument, NULL, 'u'},
    {"volume", required_argument, NULL, 'v'},
    {"tmpfs", required_argument, NULL, OPT_TMPFS},
    {"hostname", required_argument, NULL, OPT_HOSTNAME},
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"cpus", required_argument, NULL, OPT_CPUS},
    {"pids-limit", required_argument, NULL, OPT_PIDS},
    {"writable", no_argument, NULL, OPT_WRITABLE},
    {"network", required_argument, NULL, OPT_NETWORK},
    {NULL, 0, NULL, 0},
};

static int add_volume(struct request *r, struct error *err)
{
    if (r->spec.n_volumes == RUN_MAX_MOUNTS)
        return fail(err, E_LIMIT, "too many volumes");
    return options_parse_volume(optarg, &r->volumes[r->spec.n_volumes++], err);
}

static int add_tmpfs(struct request *r, struct error *err)
{
    if (r->spec.n_tmpfs == RUN_MAX_MOUNTS)
        return fail(err, E_LIMIT, "too many tmpfs mounts");
    return options_parse_tmpfs(optarg, &r->tmpfs[r->spec.n_tmpfs++], err);
}

static int take_option(struct request *r, int c, struct error *err)
{
    switch (c) {
    case 'e':
        if (r->n_env == MAX_LIST)
            return fail(err, E_LIMIT, "too many variables");
        r->env[r->n_env++] = optarg;
        return OK;
    case 'w':
        r->spec.cwd = optarg;
        return OK;
    case 'u':
        r->spec.user = optarg;
        return OK;
    case 'v':
        return add_volume(r, err);
    case OPT_TMPFS:
        return add_tmpfs(r, err);
    case OPT_HOSTNAME:
        r->spec.hostname = optarg;
        return OK;
    case OPT_MEMORY:
        return options_parse_memory(optarg, &r->spec.limits.memory_bytes, err);
    case OPT_CPUS:
        return options_parse_cpus(optarg, &r->spec.limits.cpu_milli, err);
    case OPT_PIDS:
        return options_parse_pids(optarg, &r->spec.limits.pids, err);
    case OPT_WRITABLE:
        r->spec.writable = true;
        return OK;
    case OPT_NETWORK:
        return options_check_network(optarg, err);
    default:
        return fail(err, E_USAGE, "unknown option");
    }
}

static int open_layers(struct request *r, char *list, struct error *err)
{
    for (char *path = strsep(&list, ","); path; path = strsep(&list, ",")) {
        int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return fail_sys(err, errno, "open '%s'", path);
        if (r->spec.n_layers < RUN_MAX_LAYERS + 1)
            r->layers[r->spec.n_layers++] = fd;
    }
    return OK;
}

int main(int argc, char **argv)
{
    static struct request r;
    struct error err = ERROR_INIT;
    int status = 125, c;
    int rc = run_open_standard_files(&err);
    while (!rc && (c = getopt_long(argc, argv, "+e:w:u:v:", options, NULL)) != -1)
        rc = take_option(&r, c, &err);
    if (!rc && optind >= argc)
        rc = fail(&err, E_USAGE, "usage: run-folder [options] LAYER[,LAYER…] -- COMMAND…");
    if (!rc)
        rc = open_layers(&r, argv[optind], &err);
    if (!rc) {
        char **command = argv + optind + 1;
        if (*command && strcmp(*command, "--") == 0)
            command++;
        r.spec.argv = (const char *const *)command;
        r.spec.layer_fds = r.layers;
        r.spec.env = r.env;
        r.spec.volumes = r.volumes;
        r.spec.tmpfs = r.tmpfs;
        rc = run_container(&r.spec, &status, &err);
    }
    if (rc) {
        fprintf(stderr, "run-folder: %s\n", err.message);
        status = run_exit_status(rc);
    }
    for (size_t i = 0; i < r.spec.n_layers; i++)
        cleanup_fd(&r.layers[i]);
    return status;
}

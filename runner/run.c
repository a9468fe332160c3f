#include "runner/run.h"

#include "base/bytes.h"
#include "base/file.h"
#include "runner/cgroup.h"
#include "runner/channel.h"
#include "runner/child.h"
#include "runner/idmap.h"
#include "runner/init.h"
#include "runner/options.h"
#include "runner/rootfs.h"
#include "runner/volumes.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define STATE_DIR    "/run/bulla"
#define MAX_HOSTNAME 64
#define MAX_POINTS   (3 + CHILD_MAX_TMPFS + RUN_MAX_MOUNTS + 1)

/* One start, from preparation to end; everything in it is released by run_done. */
struct run {
    const struct run_spec *spec;
    struct child_plan plan;
    char hostname[MAX_HOSTNAME + 1];
    int state_fd;
    struct idrange range;
    struct cgroup cgroup;
    struct volume_source volumes[RUN_MAX_MOUNTS];
    struct mount_point volume_points[RUN_MAX_MOUNTS];
    struct mount_point points[MAX_POINTS];
    size_t n_points;
    int init_fd;
    int sock, child_sock;
    int signal_fd;
    sigset_t old_mask;
    bool masked;
    pid_t pid;
    int pidfd;
};

static const char *relative(const char *path)
{
    return path + strspn(path, "/");
}

static int check_lists(const struct run_spec *spec, struct error *err)
{
    if (!spec->argv || !spec->argv[0])
        return fail(err, E_USAGE, "no command given, and the image names none");
    if (spec->n_volumes > RUN_MAX_MOUNTS || spec->n_tmpfs > RUN_MAX_MOUNTS)
        return fail(err, E_LIMIT, "more than %d volumes or tmpfs mounts", RUN_MAX_MOUNTS);
    for (size_t i = 0; i < spec->n_volumes; i++) {
        int rc = options_check_path(spec->volumes[i].destination, "volume destination", err);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < spec->n_tmpfs; i++) {
        int rc = options_check_path(spec->tmpfs[i].destination, "tmpfs destination", err);
        if (rc)
            return rc;
    }
    if (spec->cwd && *spec->cwd)
        return options_check_path(spec->cwd, "working folder", err);
    return OK;
}

int run_open_standard_files(struct error *err)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd <= 2 && fcntl(fd, F_SETFD, 0) == 0);
    if (fd < 0)
        return fail_sys(err, errno, "open '/dev/null'");
    cleanup_fd(&fd);
    return OK;
}

/* A folder as standard input would be a door to the host's files. */
static int check_standard_files(struct error *err)
{
    for (int fd = 0; fd <= 2; fd++) {
        struct stat st;
        if (fstat(fd, &st))
            return fail_sys(err, errno, "look at descriptor %d", fd);
        if (S_ISDIR(st.st_mode))
            return fail(err, E_INVALID, "standard %s is a folder",
                        fd == 0 ? "input" : (fd == 1 ? "output" : "error"));
    }
    return OK;
}

static int check_hostname(const char *name, struct error *err)
{
    size_t len = strlen(name);
    bool good = len > 0 && len <= MAX_HOSTNAME && name[0] != '-' && name[0] != '.';
    for (size_t i = 0; i < len; i++)
        good = good && ((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
                        (name[i] >= '0' && name[i] <= '9') || name[i] == '-' || name[i] == '.');
    return good ? OK : fail(err, E_USAGE, "'%s' is not a host name", name);
}

static int choose_hostname(struct run *run, struct error *err)
{
    uint8_t random[6];
    if (run->spec->hostname) {
        int rc = check_hostname(run->spec->hostname, err);
        if (!rc)
            snprintf(run->hostname, sizeof run->hostname, "%s", run->spec->hostname);
        return rc;
    }
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail_sys(err, errno, "make a random host name");
    hex_encode(random, sizeof random, run->hostname);
    return OK;
}

static bool has_tmpfs(const struct child_plan *plan, const char *destination)
{
    for (size_t i = 0; i < plan->n_tmpfs; i++)
        if (strcmp(relative(plan->tmpfs[i].destination), relative(destination)) == 0)
            return true;
    return false;
}

static bool is_volume(const struct run_spec *spec, const char *destination)
{
    for (size_t i = 0; i < spec->n_volumes; i++)
        if (strcmp(relative(spec->volumes[i].destination), relative(destination)) == 0)
            return true;
    return false;
}

static void plan_tmpfs(struct run *run)
{
    static const struct run_tmpfs defaults[] = {
        {"/tmp", 0, 01777}, {"/run", 0, 0755}, {"/var/tmp", 0, 01777}};
    struct child_plan *plan = &run->plan;
    for (size_t i = 0; i < run->spec->n_tmpfs; i++)
        plan->tmpfs[plan->n_tmpfs++] = run->spec->tmpfs[i];
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (!has_tmpfs(plan, defaults[i].destination) &&
            !is_volume(run->spec, defaults[i].destination))
            plan->tmpfs[plan->n_tmpfs++] = defaults[i];
    /* "/run" before "/run/lock", or it would cover it. */
    for (size_t i = 1; i < plan->n_tmpfs; i++) {
        const struct run_tmpfs t = plan->tmpfs[i];
        size_t depth = options_depth(t.destination), k = i;
        for (; k && options_depth(plan->tmpfs[k - 1].destination) > depth; k--)
            plan->tmpfs[k] = plan->tmpfs[k - 1];
        plan->tmpfs[k] = t;
    }
}

/* Places on a tmpfs cannot be made before it is there: the child makes those. */
static bool lies_on_tmpfs(const struct child_plan *plan, const char *path)
{
    for (size_t i = 0; i < plan->n_tmpfs; i++) {
        const char *place = relative(plan->tmpfs[i].destination);
        size_t len = strlen(place);
        if (strncmp(path, place, len) == 0 && path[len] == '/')
            return true;
    }
    return false;
}

static void add_point(struct run *run, const char *path, bool is_file)
{
    const struct mount_point point = {relative(path), is_file};
    if (!lies_on_tmpfs(&run->plan, point.path))
        run->points[run->n_points++] = point;
}

static void plan_points(struct run *run)
{
    const struct run_spec *spec = run->spec;
    add_point(run, "/dev", false);
    add_point(run, "/proc", false);
    add_point(run, "/sys", false);
    for (size_t i = 0; i < run->plan.n_tmpfs; i++)
        add_point(run, run->plan.tmpfs[i].destination, false);
    for (size_t i = 0; i < spec->n_volumes; i++) {
        const char *destination = spec->volumes[i].destination;
        run->volume_points[i] =
            (struct mount_point){relative(destination), run->volumes[i].is_file};
        add_point(run, destination, run->volumes[i].is_file);
    }
    run->plan.volume_points = run->volume_points;
    if (spec->cwd && *spec->cwd)
        add_point(run, spec->cwd, false);
}

static int open_volumes(struct run *run, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < run->spec->n_volumes; i++)
        rc =
            volumes_open(&run->spec->volumes[i], run->spec->protected_paths, &run->volumes[i], err);
    return rc;
}

/* All that can be refused without having made anything. */
static int prepare(struct run *run, struct error *err)
{
    if (geteuid() != 0)
        return fail(err, E_UNSUPPORTED,
                    "running containers needs root: rootless start is not available yet");
    int rc = check_lists(run->spec, err);
    if (!rc)
        rc = run_open_standard_files(err);
    if (!rc)
        rc = check_standard_files(err);
    if (!rc)
        rc = choose_hostname(run, err);
    if (!rc)
        rc = open_volumes(run, err);
    if (!rc)
        rc = init_prepare(&run->init_fd, err);
    if (!rc)
        rc = file_open_dir(STATE_DIR, true, &run->state_fd, err);
    if (!rc)
        rc = idrange_take(run->state_fd, &run->range, err);
    if (!rc)
        rc = channel_open(&run->sock, &run->child_sock, err);
    plan_tmpfs(run);
    plan_points(run);
    return rc;
}

static void forwarded_signals(sigset_t *set)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
    sigemptyset(set);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaddset(set, signals[i]);
}

/* Before the child exists: what arrives from now on waits and is passed on. The child starts with
 * every signal blocked and gives that to bulla-init, which never misses one. */
static int catch_signals(struct run *run, struct error *err)
{
    sigset_t set;
    forwarded_signals(&set);
    if (pthread_sigmask(SIG_BLOCK, &set, &run->old_mask))
        return fail_sys(err, EINVAL, "block signals");
    run->masked = true;
    run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->signal_fd < 0 ? fail_sys(err, errno, "watch for signals") : OK;
}

static int start_child(struct run *run, struct error *err)
{
    struct clone_args args = {
        .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS |
                 CLONE_NEWIPC | CLONE_PIDFD,
        .exit_signal = SIGCHLD,
        .pidfd = (uint64_t)(uintptr_t)&run->pidfd,
    };
    run->plan.init_fd = run->init_fd;
    run->plan.sock = run->child_sock;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        close(run->sock);
        child_main(&run->plan);
    }
    int failed = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return fail_sys(err, failed, "make the container's namespaces");
    run->pid = (pid_t)pid;
    cleanup_fd(&run->child_sock);
    return OK;
}

static int hand_over_root(struct run *run, struct error *err)
{
    const struct idmap map = {0, run->range.base, 0, run->range.base, IDRANGE_SIZE};
    CLEANUP(cleanup_fd) int userns = -1;
    CLEANUP(cleanup_fd) int root = -1;
    int rc = idmap_write(run->pid, &map, err);
    if (!rc)
        rc = idmap_open_namespace(run->pid, &userns, err);
    const struct rootfs_request request = {
        .layer_fds = run->spec->layer_fds,
        .n_layers = run->spec->n_layers,
        .userns_fd = userns,
        .base = run->range.base,
        .writable = run->spec->writable,
        .workdir = STATE_DIR,
        .points = run->points,
        .n_points = run->n_points,
    };
    if (!rc)
        rc = rootfs_assemble(&request, &root, err);
    const struct channel_message m = {.kind = CHANNEL_ROOT};
    return rc ? rc : channel_send(run->sock, &m, &root, 1, err);
}

static int hand_over_volumes(struct run *run, struct error *err)
{
    struct channel_message m;
    int mounts[RUN_MAX_MOUNTS];
    size_t n = run->spec->n_volumes;
    if (n == 0)
        return OK;
    int rc = channel_receive(run->sock, CHANNEL_USER, &m, NULL, 0, err);
    if (!rc && (m.a >= IDRANGE_SIZE || m.b >= IDRANGE_SIZE))
        rc = fail(err, E_INTERNAL, "user %u:%u is outside the container", m.a, m.b);
    for (size_t i = 0; !rc && i < n; i++) {
        mounts[i] = run->volumes[i].mount_fd;
        rc = volumes_shift(&run->volumes[i], run->spec->volumes[i].read_only, run->range.base + m.a,
                           run->range.base + m.b, err);
        wrap(err, rc, "volume '%s'", run->spec->volumes[i].source);
    }
    m = (struct channel_message){.kind = CHANNEL_VOLUMES};
    return rc ? rc : channel_send(run->sock, &m, mounts, n, err);
}

static int pass_signals(struct run *run, struct error *err)
{
    struct signalfd_siginfo info;
    while (read(run->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        if (pidfd_send_signal(run->pidfd, (int)info.ssi_signo, NULL, 0) && errno != ESRCH)
            return fail_sys(err, errno, "pass signal %u on to the container", info.ssi_signo);
    return OK;
}

/* The end of the channel without a report: the command is running. */
static int hear_report(struct run *run, struct error *err)
{
    struct channel_message m;
    int rc = channel_receive(run->sock, CHANNEL_FAILED, &m, NULL, 0, err);
    cleanup_fd(&run->sock);
    if (rc == E_INTERRUPTED)
        return OK;
    if (rc == E_NO_COMMAND || rc == E_NOT_EXECUTABLE)
        wrap(err, rc, "command '%s'", run->spec->argv[0]);
    return rc ? rc : fail(err, E_INTERNAL, "a report of nothing");
}

static int reap(struct run *run, int *status, struct error *err)
{
    siginfo_t info = {0};
    while (waitid(P_PIDFD, (id_t)run->pidfd, &info, WEXITED) < 0)
        if (errno != EINTR)
            return fail_sys(err, errno, "wait for the container");
    run->pid = -1;
    *status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return OK;
}

/* Passes signals on and listens until the container ends. */
static int attend(struct run *run, int *status, struct error *err)
{
    int rc = OK;
    for (;;) {
        struct pollfd events[] = {
            {run->pidfd, POLLIN, 0}, {run->signal_fd, POLLIN, 0}, {run->sock, POLLIN, 0}};
        if (poll(events, 3, -1) < 0) {
            if (errno == EINTR)
                continue;
            return fail_sys(err, errno, "watch the container");
        }
        if (events[1].revents)
            rc = pass_signals(run, err);
        /* Before the end is seen: a report may have come just ahead of it. */
        if (!rc && events[2].revents)
            rc = hear_report(run, err);
        if (rc)
            return rc;
        if (events[0].revents && run->sock < 0)
            return reap(run, status, err);
    }
}

/* When we fail to talk to the child, its own report says why. */
static int prefer_report(struct run *run, int rc, struct error *err)
{
    struct error told = ERROR_INIT;
    struct channel_message m;
    if (!rc || run->sock < 0 || !err || err->sys != EPIPE)
        return rc;
    int reported = channel_receive(run->sock, CHANNEL_FAILED, &m, NULL, 0, &told);
    if (reported == OK || reported == E_INTERRUPTED)
        return rc;
    *err = told;
    return reported;
}

static int start(struct run *run, struct error *err)
{
    int rc = catch_signals(run, err);
    if (!rc)
        rc = start_child(run, err);
    if (!rc)
        rc = hand_over_root(run, err);
    if (!rc)
        rc = hand_over_volumes(run, err);
    /* Meanwhile the child builds its mounts; it waits for this before it runs anything. */
    if (!rc)
        rc = cgroup_enter(&run->cgroup, run->pid, err);
    const struct channel_message m = {.kind = CHANNEL_GO};
    if (!rc)
        rc = channel_send(run->sock, &m, NULL, 0, err);
    return prefer_report(run, rc, err);
}

static void run_done(struct run *run)
{
    if (run->pid > 0) {
        kill(run->pid, SIGKILL);
        while (waitpid(run->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    cgroup_remove(&run->cgroup);
    for (size_t i = 0; i < run->spec->n_volumes && i < RUN_MAX_MOUNTS; i++)
        cleanup_fd(&run->volumes[i].mount_fd);
    cleanup_fd(&run->sock);
    cleanup_fd(&run->child_sock);
    cleanup_fd(&run->pidfd);
    cleanup_fd(&run->init_fd);
    cleanup_fd(&run->signal_fd);
    idrange_release(&run->range);
    cleanup_fd(&run->state_fd);
    if (run->masked)
        pthread_sigmask(SIG_SETMASK, &run->old_mask, NULL);
}

int run_container(const struct run_spec *spec, int *exit_status, struct error *err)
{
    struct run run = {
        .spec = spec,
        .plan = {.spec = spec, .workdir = STATE_DIR},
        .state_fd = -1,
        .range = IDRANGE_INIT,
        .cgroup = CGROUP_INIT,
        .init_fd = -1,
        .sock = -1,
        .child_sock = -1,
        .signal_fd = -1,
        .pid = -1,
        .pidfd = -1,
    };
    run.plan.hostname = run.hostname;
    for (size_t i = 0; i < RUN_MAX_MOUNTS; i++)
        run.volumes[i].mount_fd = -1;
    int status = 0;
    int rc = prepare(&run, err);
    if (!rc)
        rc = cgroup_make(&spec->limits, &run.range, run.state_fd, &run.cgroup, &run.plan.soft_pids,
                         err);
    if (!rc)
        rc = start(&run, err);
    if (!rc)
        rc = attend(&run, &status, err);
    run_done(&run);
    if (!rc)
        *exit_status = status;
    return rc;
}

int run_exit_status(int code)
{
    switch (code) {
    case E_NOT_EXECUTABLE:
        return 126;
    case E_NO_COMMAND:
        return 127;
    default:
        return 125;
    }
}

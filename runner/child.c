#include "runner/child.h"

#include "base/path.h"
#include "runner/capabilities.h"
#include "runner/channel.h"
#include "runner/devices.h"
#include "runner/environment.h"
#include "runner/masks.h"
#include "runner/report.h"
#include "runner/seccomp.h"
#include "runner/user.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define INIT_FD       (REPORT_FD + 1)
#define SOFT_NOFILE   1024
#define DEFAULT_TMPFS ((uint64_t)256 << 20)
#define DEFAULT_MODE  01777

/* What the steps hand on to each other. */
struct child {
    const struct child_plan *plan;
    int root_fd;
    int proc_fd;
    int sys_fd;
    struct run_user user;
    int volume_fds[RUN_MAX_MOUNTS];
    char **env;
    const char **argv;
};

typedef int (*step_function)(struct child *c, struct error *err);

/* The kernel ends the container when the runner dies. Setting it races with a runner that is dead
 * already; then the channel's other end is closed. */
static int die_with_parent(struct child *c, struct error *err)
{
    (void)c;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return fail_sys(err, errno, "tie the container to the runner");
    return OK;
}

/* Until the ids are mapped we are nobody; from here we own what we make. */
static int become_root(struct child *c, struct error *err)
{
    struct channel_message m;
    int rc = channel_receive(c->plan->sock, CHANNEL_ROOT, &m, &c->root_fd, 1, err);
    if (rc)
        return rc;
    if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
        return fail_sys(err, errno, "become the container's root");
    /* Changing ids switched it off. */
    return die_with_parent(c, err);
}

/* Away from the runner's terminal and process group. */
static int leave_session(struct child *c, struct error *err)
{
    (void)c;
    return setsid() < 0 ? fail_sys(err, errno, "start a session") : OK;
}

/* No mount made here may reach the host, and none made there comes in. */
static int make_mounts_private(struct child *c, struct error *err)
{
    (void)c;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return fail_sys(err, errno, "make mounts private");
    return OK;
}

/* The new root needs a place in this namespace: pivot_root takes mount points only. */
static int place_root(struct child *c, struct error *err)
{
    if (move_mount(c->root_fd, "", AT_FDCWD, c->plan->workdir, MOVE_MOUNT_F_EMPTY_PATH))
        return fail_sys(err, errno, "mount the container's root at '%s'", c->plan->workdir);
    return OK;
}

/* From the image alone, before a volume could cover its /etc. */
static int find_user(struct child *c, struct error *err)
{
    const char *text = c->plan->spec->user ? c->plan->spec->user : "";
    int rc = user_lookup(c->root_fd, text, &c->user, err);
    /* Decided here: only the image's own passwd says which names are root. */
    if (!rc && c->plan->spec->require_non_root && c->user.uid == 0)
        rc = fail(err, E_POLICY, "policy wants a user other than root; choose one with --user");
    return rc;
}

/* Volumes show their owner as this user; only the parent can make such mounts. */
static int ask_for_volumes(struct child *c, struct error *err)
{
    size_t n = c->plan->spec->n_volumes;
    struct channel_message m = {.kind = CHANNEL_USER, .a = c->user.uid, .b = c->user.gid};
    if (n == 0)
        return OK;
    int rc = channel_send(c->plan->sock, &m, NULL, 0, err);
    return rc ? rc : channel_receive(c->plan->sock, CHANNEL_VOLUMES, &m, c->volume_fds, n, err);
}

static int mount_devices(struct child *c, struct error *err)
{
    return devices_mount(c->root_fd, err);
}

/* Both new: they show this container's processes and network. The kernel allows them only where the
 * host's own are not covered. */
static int mount_kernel_views(struct child *c, struct error *err)
{
    const unsigned attr = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    int rc = mounts_new("proc", NULL, attr, &c->proc_fd, err);
    if (!rc)
        rc = mounts_attach_strict(c->proc_fd, c->root_fd, "proc", err);
    if (!rc)
        rc = mounts_new("sysfs", NULL, attr | MOUNT_ATTR_RDONLY, &c->sys_fd, err);
    if (!rc)
        rc = mounts_attach_strict(c->sys_fd, c->root_fd, "sys", err);
    return rc;
}

/*
 * Opens the place for a mount, links of the image resolved inside the root. Not on /proc, /sys or
 * /dev, wherever a link leads: covering them would undo what is hidden there.
 */
static int open_place(const struct child *c, const struct mount_point *point, int *fd,
                      struct error *err)
{
    CLEANUP(cleanup_fd) int place = -1;
    struct statfs fs;
    struct stat here, dev;
    /* Below a tmpfs, places could not be made beforehand. */
    int rc = mounts_check_point(c->root_fd, point, err);
    if (rc == E_NOTFOUND)
        rc = mounts_make_point(c->root_fd, point, 0, err);
    if (!rc)
        rc = path_open(c->root_fd, point->path, PATH_IN_ROOT, O_PATH, 0, &place, err);
    if (rc)
        return rc;
    if (fstatfs(place, &fs) || fstat(place, &here) || fstatat(c->root_fd, "dev", &dev, 0))
        return fail_sys(err, errno, "look at '/%s'", point->path);
    if (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC || here.st_dev == dev.st_dev)
        return fail(err, E_INVALID, "'/%s' leads into /proc, /sys or /dev of the container",
                    point->path);
    *fd = TAKE_FD(place);
    return OK;
}

static int mount_one_tmpfs(const struct child *c, const struct run_tmpfs *t, struct error *err)
{
    char size[24], mode[8];
    CLEANUP(cleanup_fd) int fd = -1;
    CLEANUP(cleanup_fd) int place = -1;
    const struct mount_point point = {t->destination + strspn(t->destination, "/"), false};
    snprintf(size, sizeof size, "%llu",
             (unsigned long long)(t->size_bytes ? t->size_bytes : DEFAULT_TMPFS));
    snprintf(mode, sizeof mode, "%o", (unsigned)(t->mode ? t->mode : DEFAULT_MODE));
    const struct mount_option options[] = {{"size", size}, {"mode", mode}, {NULL, NULL}};
    int rc = open_place(c, &point, &place, err);
    if (!rc)
        rc = mounts_new("tmpfs", options, MOUNT_ATTR_NODEV, &fd, err);
    return rc ? rc : mounts_attach(fd, place, t->destination, err);
}

/* The writable places of a read-only root. */
static int mount_tmpfs(struct child *c, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < c->plan->n_tmpfs; i++)
        rc = mount_one_tmpfs(c, &c->plan->tmpfs[i], err);
    return rc;
}

/* After all else that is mounted, so that a volume is never covered by it. */
static int mount_volumes(struct child *c, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < c->plan->spec->n_volumes; i++) {
        CLEANUP(cleanup_fd) int place = -1;
        rc = open_place(c, &c->plan->volume_points[i], &place, err);
        if (!rc)
            rc = mounts_attach(c->volume_fds[i], place, c->plan->spec->volumes[i].destination, err);
    }
    return rc;
}

/* While the host's /dev/null can still be opened; through the descriptors of the new mounts. */
static int mask_paths(struct child *c, struct error *err)
{
    return masks_apply(c->proc_fd, c->sys_fd, err);
}

static int change_root(struct child *c, struct error *err)
{
    return mounts_pivot(c->root_fd, err);
}

/* The limits are in place; only a cgroup namespace made now shows the container's cgroup as "/". */
static int wait_for_limits(struct child *c, struct error *err)
{
    struct channel_message m;
    int rc = channel_receive(c->plan->sock, CHANNEL_GO, &m, NULL, 0, err);
    if (!rc && unshare(CLONE_NEWCGROUP))
        rc = fail_sys(err, errno, "make a cgroup namespace");
    return rc;
}

static int set_hostname(struct child *c, struct error *err)
{
    if (sethostname(c->plan->hostname, strlen(c->plan->hostname)))
        return fail_sys(err, errno, "set the host name '%s'", c->plan->hostname);
    return OK;
}

/* Programs expect 127.0.0.1 to answer even without a network. */
static int raise_loopback(struct child *c, struct error *err)
{
    (void)c;
    struct ifreq request = {.ifr_name = "lo"};
    CLEANUP(cleanup_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request))
        return fail_sys(err, errno, "look at the loopback interface");
    request.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &request))
        return fail_sys(err, errno, "raise the loopback interface");
    return OK;
}

/* The kernel's keyrings are not namespaced: without this the runner's session keys are inherited.
 */
static int join_keyring(struct child *c, struct error *err)
{
    (void)c;
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
        return fail_sys(err, errno, "start a session keyring");
    return OK;
}

/* Only ever lowered: raising a hard limit needs CAP_SYS_RESOURCE on the host. */
static int set_limit(int which, const char *name, rlim_t soft, rlim_t hard, struct error *err)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)which, &limit))
        return fail_sys(err, errno, "read limit '%s'", name);
    if (hard < limit.rlim_max)
        limit.rlim_max = hard;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    if (setrlimit((__rlimit_resource_t)which, &limit))
        return fail_sys(err, errno, "set limit '%s'", name);
    return OK;
}

static int set_limits(struct child *c, struct error *err)
{
    rlim_t pids = c->plan->soft_pids;
    int rc = set_limit(RLIMIT_NOFILE, "nofile", SOFT_NOFILE, RLIM_INFINITY, err);
    if (!rc)
        rc = set_limit(RLIMIT_CORE, "core", 0, 0, err);
    if (!rc && pids)
        rc = set_limit(RLIMIT_NPROC, "nproc", pids, pids, err);
    return rc;
}

/* Memory for exec: nothing after the seccomp filter should have to grow. */
static int prepare_exec(struct child *c, struct error *err)
{
    const struct run_spec *spec = c->plan->spec;
    size_t n = 0;
    while (spec->argv[n])
        n++;
    c->argv = calloc(n + 2, sizeof *c->argv);
    if (!c->argv)
        return fail_nomem(err);
    c->argv[0] = "bulla-init";
    memcpy(c->argv + 1, spec->argv, n * sizeof *c->argv);
    return environment_new(spec->env, c->user.home, c->plan->hostname, &c->env, err);
}

/* All but standard input, output, error, the report line and init: a descriptor of the host is a
 * door (CVE-2024-21626). Init's closes itself on exec. */
static int close_descriptors(struct child *c, struct error *err)
{
    /* Away from the two numbers first, whichever way they lie. */
    int sock = fcntl(c->plan->sock, F_DUPFD_CLOEXEC, INIT_FD + 1);
    int init = fcntl(c->plan->init_fd, F_DUPFD_CLOEXEC, INIT_FD + 1);
    if (sock < 0 || init < 0 || dup2(sock, REPORT_FD) < 0 || dup3(init, INIT_FD, O_CLOEXEC) < 0 ||
        close_range(INIT_FD + 1, ~0u, 0))
        return fail_sys(err, errno, "close descriptors");
    return OK;
}

/* Needs CAP_SETPCAP, which goes with the user. */
static int bound_capabilities(struct child *c, struct error *err)
{
    return capabilities_bound(c->user.uid == 0, err);
}

/* Groups while we may, the group before the user. */
static int become_user(struct child *c, struct error *err)
{
    const struct run_user *u = &c->user;
    if (setgroups(u->n_groups, u->groups))
        return fail_sys(err, errno, "set supplementary groups");
    if (setresgid(u->gid, u->gid, u->gid))
        return fail_sys(err, errno, "become group %u", u->gid);
    if (setresuid(u->uid, u->uid, u->uid))
        return fail_sys(err, errno, "become user %u", u->uid);
    return OK;
}

/* With the user's own rights. The kernel must give the folder a path: one outside the root has
 * none (CVE-2024-21626). */
static int enter_folder(struct child *c, struct error *err)
{
    const char *cwd = c->plan->spec->cwd && *c->plan->spec->cwd ? c->plan->spec->cwd : "/";
    char path[PATH_MAX];
    if (chdir(cwd))
        return fail_sys(err, errno, "enter working folder '%s'", cwd);
    long len = syscall(SYS_getcwd, path, sizeof path);
    if (len < 0)
        return fail_sys(err, errno, "look at the working folder");
    if (path[0] != '/')
        return fail(err, E_INVALID, "working folder '%s' lies outside the container", cwd);
    return OK;
}

static int set_capabilities(struct child *c, struct error *err)
{
    return capabilities_set(c->user.uid == 0, err);
}

/* Setuid programs of the image gain nothing; and without it seccomp needs a capability. */
static int forbid_new_privileges(struct child *c, struct error *err)
{
    (void)c;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fail_sys(err, errno, "forbid new privileges");
    return OK;
}

/* Changing the user switched it off; the last moment before it must hold. */
static int die_with_parent_again(struct child *c, struct error *err)
{
    int rc = die_with_parent(c, err);
    char byte;
    if (!rc && recv(REPORT_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        rc = fail(err, E_INTERRUPTED, "the runner is gone");
    return rc;
}

/* Last: it denies most of what the steps before needed. */
static int install_filters(struct child *c, struct error *err)
{
    (void)c;
    return seccomp_install(err);
}

static int execute(struct child *c, struct error *err)
{
    syscall(SYS_execveat, INIT_FD, "", c->argv, c->env, AT_EMPTY_PATH);
    return fail_sys(err, errno, "start bulla-init");
}

/* The order is the point: each step's reason stands at its function. */
static const step_function steps[] = {
    die_with_parent,
    leave_session,
    become_root,
    make_mounts_private,
    place_root,
    find_user,
    ask_for_volumes,
    mount_devices,
    mount_kernel_views,
    mount_tmpfs,
    mount_volumes,
    mask_paths,
    change_root,
    wait_for_limits,
    set_hostname,
    raise_loopback,
    join_keyring,
    set_limits,
    prepare_exec,
    close_descriptors,
    bound_capabilities,
    become_user,
    enter_folder,
    set_capabilities,
    forbid_new_privileges,
    die_with_parent_again,
    install_filters,
    execute,
};

_Noreturn void child_main(const struct child_plan *plan)
{
    struct child c = {.plan = plan, .root_fd = -1, .proc_fd = -1, .sys_fd = -1};
    struct error err = ERROR_INIT;
    int sock = plan->sock;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i](&c, &err)) {
            channel_report(sock, &err);
            _exit(125);
        }
        /* The steps after this one know the channel by its final number only. */
        if (steps[i] == close_descriptors)
            sock = REPORT_FD;
    }
    _exit(125);
}

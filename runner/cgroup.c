#include "runner/cgroup.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/path.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_MOUNTINFO  ((size_t)4 << 20)
#define MAX_PROCS_TEXT ((size_t)1 << 20)
#define FOLDER         "bulla"
#define REMOVE_TRIES   200 /* of 10 ms */
#define CPU_PERIOD_US  100000

static const char *const controller_names[CGROUP_N] = {"pids", "memory", "cpu"};

static bool has_option(const char *options, size_t len, const char *wanted)
{
    const char *end = options + len;
    while (options < end) {
        const char *comma = memchr(options, ',', (size_t)(end - options));
        const char *stop = comma ? comma : end;
        if ((size_t)(stop - options) == strlen(wanted) &&
            memcmp(options, wanted, strlen(wanted)) == 0)
            return true;
        options = stop + (comma != NULL);
    }
    return false;
}

/* The word that starts `n` blanks after p, or "" beyond the line's end. */
static const char *word(const char *p, int n, size_t *len)
{
    for (; n > 0; n--) {
        p += strcspn(p, " \n");
        if (*p == ' ')
            p++;
    }
    *len = strcspn(p, " \n");
    return p;
}

bool cgroup_find_v1(const char *mountinfo, const char *controller, char *out, size_t size)
{
    for (const char *line = mountinfo; *line;) {
        size_t len = strcspn(line, "\n");
        const char *dash = memmem(line, len, " - ", 3);
        size_t type_len, options_len, point_len;
        if (dash) {
            const char *type = word(dash + 3, 0, &type_len);
            const char *options = word(dash + 3, 2, &options_len);
            const char *point = word(line, 4, &point_len);
            /* A backslash: an escaped character, which no sane host has in this path. */
            if (type_len == 6 && memcmp(type, "cgroup", 6) == 0 &&
                has_option(options, options_len, controller) && point_len < size &&
                !memchr(point, '\\', point_len)) {
                memcpy(out, point, point_len);
                out[point_len] = '\0';
                return true;
            }
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

/* Opens the folder `bulla` of a hierarchy; *fd stays -1 where the controller is not mounted. */
static int open_hierarchy(const char *mountinfo, enum cgroup_controller which, int *fd,
                          struct error *err)
{
    char point[PATH_MAX];
    CLEANUP(cleanup_fd) int top = -1;
    if (!cgroup_find_v1(mountinfo, controller_names[which], point, sizeof point))
        return OK;
    int rc = file_open_dir(point, false, &top, err);
    if (!rc && mkdirat(top, FOLDER, 0755) && errno != EEXIST)
        rc = fail_sys(err, errno, "make cgroup '%s/%s'", point, FOLDER);
    if (!rc)
        rc = path_open(top, FOLDER, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, fd, err);
    return rc;
}

static int write_file(int dir_fd, const char *group, const char *file, const char *text,
                      struct error *err)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", group, file);
    CLEANUP(cleanup_fd) int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fail_sys(err, errno, "open cgroup file '%s'", path);
    if (write(fd, text, strlen(text)) < 0)
        return fail_sys(err, errno, "write '%s' to cgroup file '%s'", text, path);
    return OK;
}

static int write_number(int dir_fd, const char *group, const char *file, uint64_t value,
                        struct error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return write_file(dir_fd, group, file, text, err);
}

static void kill_members(int dir_fd, const char *group)
{
    char path[128];
    CLEANUP(bytes_done) struct bytes procs = BYTES_INIT;
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    if (file_read(dir_fd, path, MAX_PROCS_TEXT, &procs, NULL))
        return;
    for (const char *p = bytes_text(&procs); *p;) {
        size_t len = strcspn(p, "\n");
        uint64_t pid;
        if (text_to_u64(p, len, INT_MAX, &pid, NULL) == OK && pid > 1)
            kill((pid_t)pid, SIGKILL);
        p += len + (p[len] == '\n');
    }
}

/* False where it is still there after two seconds. */
static bool remove_group(int dir_fd, const char *group)
{
    for (int i = 0; i < REMOVE_TRIES; i++) {
        if (unlinkat(dir_fd, group, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return true;
        if (errno != EBUSY)
            return false;
        kill_members(dir_fd, group);
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    return false;
}

/* Removes the cgroups of runners that are gone: those whose range nobody holds. */
static void sweep(int hierarchy_fd, int state_fd, const struct idrange *mine)
{
    int copy = openat(hierarchy_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(cleanup_dir) DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) {
        cleanup_fd(&copy);
        return;
    }
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        static const char prefix[] = "range-";
        const char *number = e->d_name + sizeof prefix - 1;
        uint64_t index;
        if (!text_starts(e->d_name, prefix) ||
            text_to_u64(number, strlen(number), IDRANGE_COUNT - 1, &index, NULL) ||
            index == mine->index)
            continue;
        struct idrange stale = IDRANGE_INIT;
        if (idrange_take_index(state_fd, (uint32_t)index, &stale, NULL))
            continue;
        remove_group(hierarchy_fd, e->d_name);
        idrange_release(&stale);
    }
}

static int set_memory(int dir_fd, const char *group, uint64_t bytes, struct error *err)
{
    int rc = write_number(dir_fd, group, "memory.limit_in_bytes", bytes, err);
    if (rc)
        return rc;
    /* Memory and swap together: without this the limit only moves the rest to swap. The file is
     * missing where the kernel does not account swap. */
    rc = write_number(dir_fd, group, "memory.memsw.limit_in_bytes", bytes, err);
    return rc == E_NOTFOUND ? OK : rc;
}

static int set_cpu(int dir_fd, const char *group, uint32_t milli, struct error *err)
{
    int rc = write_number(dir_fd, group, "cpu.cfs_period_us", CPU_PERIOD_US, err);
    if (!rc)
        rc = write_number(dir_fd, group, "cpu.cfs_quota_us",
                          (uint64_t)milli * (CPU_PERIOD_US / 1000), err);
    return rc;
}

static int set_limit(int dir_fd, const char *group, enum cgroup_controller which, uint64_t value,
                     struct error *err)
{
    switch (which) {
    case CGROUP_PIDS:
        return write_number(dir_fd, group, "pids.max", value, err);
    case CGROUP_MEMORY:
        return set_memory(dir_fd, group, value, err);
    default:
        return set_cpu(dir_fd, group, (uint32_t)value, err);
    }
}

static int make_one(struct cgroup *c, enum cgroup_controller which, uint64_t value, int state_fd,
                    const struct idrange *range, struct error *err)
{
    int fd = c->hierarchy_fd[which];
    sweep(fd, state_fd, range);
    /* The range's lock is ours, so a cgroup of its name is a leftover; a limit on a group that
     * already has members would not hold for what they use. */
    if (mkdirat(fd, c->name, 0755)) {
        if (errno != EEXIST || !remove_group(fd, c->name) || mkdirat(fd, c->name, 0755))
            return fail_sys(err, errno, "make cgroup '%s' for %s", c->name,
                            controller_names[which]);
    }
    return set_limit(fd, c->name, which, value, err);
}

int cgroup_make(const struct run_limits *limits, const struct idrange *range, int state_fd,
                struct cgroup *out, uint32_t *soft_pids, struct error *err)
{
    uint32_t pids = limits->pids ? limits->pids : RUN_DEFAULT_PIDS;
    const uint64_t values[CGROUP_N] = {
        [CGROUP_PIDS] = pids == RUN_PIDS_NO_LIMIT ? 0 : pids,
        [CGROUP_MEMORY] = limits->memory_bytes,
        [CGROUP_CPU] = limits->cpu_milli,
    };
    CLEANUP(bytes_done) struct bytes mounts = BYTES_INIT;
    int rc = file_read(AT_FDCWD, "/proc/self/mountinfo", MAX_MOUNTINFO, &mounts, err);
    snprintf(out->name, sizeof out->name, "range-%u", range->index);
    *soft_pids = 0;
    for (enum cgroup_controller i = 0; !rc && i < CGROUP_N; i++) {
        if (!values[i])
            continue;
        rc = open_hierarchy(bytes_text(&mounts), i, &out->hierarchy_fd[i], err);
        if (!rc && out->hierarchy_fd[i] >= 0)
            rc = make_one(out, i, values[i], state_fd, range, err);
        else if (!rc && i == CGROUP_PIDS && limits->pids == 0)
            *soft_pids = pids;
        else if (!rc)
            rc = fail(err, E_UNSUPPORTED,
                      "cannot limit %s: this host has no cgroup v1 controller '%s', and cgroup v2 "
                      "is not supported yet",
                      controller_names[i], controller_names[i]);
    }
    if (rc)
        cgroup_remove(out);
    return rc;
}

int cgroup_enter(const struct cgroup *c, pid_t pid, struct error *err)
{
    int rc = OK;
    for (enum cgroup_controller i = 0; !rc && i < CGROUP_N; i++)
        if (c->hierarchy_fd[i] >= 0)
            rc = write_number(c->hierarchy_fd[i], c->name, "cgroup.procs", (uint64_t)pid, err);
    return rc;
}

void cgroup_remove(struct cgroup *c)
{
    for (enum cgroup_controller i = 0; i < CGROUP_N; i++) {
        if (c->hierarchy_fd[i] >= 0 && c->name[0])
            remove_group(c->hierarchy_fd[i], c->name);
        cleanup_fd(&c->hierarchy_fd[i]);
    }
}

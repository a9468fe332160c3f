#include "base/confine.h"

#include "base/cleanup.h"
#include "base/sanitized.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* --- user --- */

int confine_find_user(const char *name, uid_t *uid, gid_t *gid, struct error *err)
{
    struct passwd entry, *found = NULL;
    char room[4096];
    int errnum = getpwnam_r(name, &entry, room, sizeof room, &found);
    if (errnum)
        return fail_sys(err, errnum, "look up user '%s'", name);
    if (!found)
        return fail(err, E_NOTFOUND, "there is no user '%s' on this machine", name);
    *uid = entry.pw_uid;
    *gid = entry.pw_gid;
    return OK;
}

static bool is_wholly(uid_t uid, gid_t gid)
{
    uid_t u[3];
    gid_t g[3];
    return getresuid(&u[0], &u[1], &u[2]) == 0 && getresgid(&g[0], &g[1], &g[2]) == 0 &&
           u[0] == uid && u[1] == uid && u[2] == uid && g[0] == gid && g[1] == gid && g[2] == gid;
}

/* Securebits can make the kernel keep capabilities across setresuid; then nothing was given up. */
static int check_no_capabilities(struct error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}, {0}};
    if (syscall(SYS_capget, &header, data))
        return fail_sys(err, errno, "read capabilities");
    if (data[0].permitted | data[1].permitted | data[0].effective | data[1].effective)
        return fail(err, E_UNSUPPORTED, "capabilities outlive the change of user");
    return OK;
}

static int check_no_way_back(struct error *err)
{
    if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || setresgid((gid_t)-1, 0, (gid_t)-1) == 0)
        return fail(err, E_UNSUPPORTED, "root can still be had after the change of user");
    return OK;
}

int confine_become(uid_t uid, gid_t gid, struct error *err)
{
    if (uid == 0 || gid == 0)
        return fail(err, E_USAGE, "the account to run as must not be root");
    if (is_wholly(uid, gid))
        return check_no_way_back(err);
    /* Groups first: without root they cannot be changed any more. */
    if (setgroups(0, NULL))
        return fail_sys(err, errno, "drop supplementary groups");
    if (setresgid(gid, gid, gid))
        return fail_sys(err, errno, "become group %u", gid);
    if (setresuid(uid, uid, uid))
        return fail_sys(err, errno, "become user %u", uid);
    if (!is_wholly(uid, gid) || getgroups(0, NULL) != 0)
        return fail(err, E_UNSUPPORTED, "the change of user did not take effect");
    int rc = check_no_capabilities(err);
    return rc ? rc : check_no_way_back(err);
}

/* --- process attributes --- */

int confine_no_new_privs(struct error *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fail_sys(err, errno, "set no_new_privs");
    return OK;
}

int confine_not_dumpable(struct error *err)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        return fail_sys(err, errno, "forbid core dumps and tracing");
    return OK;
}

/* --- Landlock --- */

/* Newer than the headers of Debian 12. Source: Linux 6.12, include/uapi/linux/landlock.h. */
#define FS_TRUNCATE         (1ull << 14) /* ABI 3 */
#define FS_IOCTL_DEV        (1ull << 15) /* ABI 5 */
#define NET_ALL             3ull         /* bind and connect, ABI 4 */
#define SCOPE_ALL           3ull         /* abstract Unix sockets and signals, ABI 6 */
#define RULESET_SIZE_FS     8u
#define RULESET_SIZE_NET    16u
#define RULESET_SIZE_SCOPED 24u

struct ruleset {
    uint64_t fs, net, scoped;
};

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                                                   \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                               \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |  \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE)
/* The rights that a rule for something other than a folder may name; others are EINVAL. */
#define FS_OF_FILES                                                                                \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

static int landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi < 0 ? 0 : (int)abi;
}

/* Everything the ABI knows is handled, so that what no rule allows is forbidden. */
static size_t describe(int abi, struct ruleset *set)
{
    *set = (struct ruleset){.fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    if (abi >= 2)
        set->fs |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        set->fs |= FS_TRUNCATE;
    if (abi >= 5)
        set->fs |= FS_IOCTL_DEV;
    set->net = NET_ALL;
    set->scoped = SCOPE_ALL;
    return abi >= 6 ? RULESET_SIZE_SCOPED : abi >= 4 ? RULESET_SIZE_NET : RULESET_SIZE_FS;
}

static int allow(int ruleset_fd, uint64_t handled, const struct confine_path *path,
                 struct error *err)
{
    CLEANUP(cleanup_fd) int fd = open(path->path, O_PATH | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && path->optional)
        return OK;
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return fail_sys(err, errno, "confine to '%s'", path->path);
    uint64_t rights = FS_READ | (path->write ? FS_WRITE : 0);
    if (!S_ISDIR(st.st_mode))
        rights &= FS_OF_FILES;
    struct landlock_path_beneath_attr rule = {.allowed_access = rights & handled, .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
        return fail_sys(err, errno, "confine to '%s'", path->path);
    return OK;
}

/* What libraries ask for on their own: SQLite seeds itself from a file. */
static const struct confine_path always[] = {
    {.path = "/dev/urandom", .optional = true},
#ifdef BULLA_SANITIZED
    /* The leak checker walks the threads and mappings of its own process. */
    {.path = "/proc", .optional = true},
#endif
};

static int allow_all(int ruleset_fd, uint64_t handled, const struct confine_path *paths, size_t n,
                     struct error *err)
{
    int rc = OK;
    for (size_t i = 0; !rc && i < sizeof always / sizeof always[0]; i++)
        rc = allow(ruleset_fd, handled, &always[i], err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = allow(ruleset_fd, handled, &paths[i], err);
    return rc;
}

int confine_landlock(const struct confine_path *paths, size_t n, struct confine_report *report,
                     struct error *err)
{
    struct ruleset set;
    int abi = landlock_abi();
    if (abi) {
        size_t size = describe(abi, &set);
        CLEANUP(cleanup_fd) int fd = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
        if (fd < 0)
            return fail_sys(err, errno, "make a Landlock rule set");
        int rc = allow_all(fd, set.fs, paths, n, err);
        if (rc)
            return rc;
        if (syscall(SYS_landlock_restrict_self, fd, 0))
            return fail_sys(err, errno, "enter the Landlock rule set");
    }
    if (report)
        *report = (struct confine_report){.landlock_abi = abi,
                                          .landlock_rename = abi >= 2,
                                          .landlock_truncate = abi >= 3,
                                          .landlock_tcp = abi >= 4,
                                          .landlock_processes = abi >= 6};
    return OK;
}

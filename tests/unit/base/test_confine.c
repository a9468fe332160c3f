/* Each case runs in a child, for none of these steps can be taken back. */
#include "base/confine.h"
#include "base/db.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/sanitized.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

/* In a child: leaves with the number of the line whose condition does not hold. */
#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "# line %d: %s (errno %d)\n", __LINE__, #condition, errno);      \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

enum { NOBODY = 65534 };

static int become_nobody(void *context)
{
    (void)context;
    struct error err = ERROR_INIT;
    const gid_t extra[] = {4, 6};
    NEED(setgroups(2, extra) == 0);
    NEED(confine_become(NOBODY, NOBODY, &err) == OK);
    NEED(getuid() == NOBODY && geteuid() == NOBODY && getgid() == NOBODY && getegid() == NOBODY);
    NEED(getgroups(0, NULL) == 0);
    NEED(setuid(0) != 0 && setgid(0) != 0);
    NEED(open("/etc/shadow", O_RDONLY | O_CLOEXEC) < 0);
    /* The second time there is nothing to do. */
    NEED(confine_become(NOBODY, NOBODY, &err) == OK);
    NEED(confine_become(1, 1, &err) == E_SYS && err.sys == EPERM);
    return 0;
}

static int become_with_capabilities(void *context)
{
    (void)context;
    struct error err = ERROR_INIT;
    /* SECBIT_NO_SETUID_FIXUP: the kernel would leave every capability to the new user. */
    NEED(prctl(PR_SET_SECUREBITS, 1 << 2, 0, 0, 0) == 0);
    NEED(confine_become(NOBODY, NOBODY, &err) == E_UNSUPPORTED);
    NEED(strstr(err.message, "capabilities"));
    return 0;
}

static int become_with_saved_root(void *context)
{
    (void)context;
    struct error err = ERROR_INIT;
    NEED(setresgid(NOBODY, NOBODY, NOBODY) == 0);
    NEED(setresuid(NOBODY, NOBODY, 0) == 0); /* looks like nobody, can be root again */
    int rc = confine_become(NOBODY, NOBODY, &err);
    NEED(rc != OK);
    return 0;
}

static void root_becomes_another_user(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    assert_int_equal(confine_become(0, NOBODY, &err), E_USAGE);
    assert_int_equal(confine_become(NOBODY, 0, &err), E_USAGE);
    if (geteuid() != 0)
        skip_test("needs root");
    assert_int_equal(scratch_child(become_nobody, NULL), 0);
    assert_int_equal(scratch_child(become_with_capabilities, NULL), 0);
    assert_int_equal(scratch_child(become_with_saved_root, NULL), 0);
}

static void users_are_found_by_name(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    uid_t uid = 77;
    gid_t gid = 77;
    assert_int_equal(confine_find_user("no-such-user-here", &uid, &gid, &err), E_NOTFOUND);
    assert_int_equal(uid, 77);
    assert_int_equal(confine_find_user("root", &uid, &gid, &err), OK);
    assert_int_equal(uid, 0);
    assert_int_equal(gid, 0);
}

static int attributes(void *context)
{
    (void)context;
    struct error err = ERROR_INIT;
    NEED(confine_no_new_privs(&err) == OK);
    NEED(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    NEED(confine_not_dumpable(&err) == OK);
    NEED(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    return 0;
}

static void attributes_are_set(void **state)
{
    (void)state;
    assert_int_equal(scratch_child(attributes, NULL), 0);
}

/* --- Landlock --- */

static int enter(const struct scratch *s, struct confine_report *report)
{
    struct error err = ERROR_INIT;
    char data[128], config[128], missing[128];
    (void)snprintf(data, sizeof data, "%s/data", s->path);
    (void)snprintf(config, sizeof config, "%s/config", s->path);
    (void)snprintf(missing, sizeof missing, "%s/missing", s->path);
    const struct confine_path paths[] = {
        {.path = data, .write = true}, {.path = config}, {.path = missing, .optional = true}};
    NEED(confine_no_new_privs(&err) == OK);
    int rc = confine_landlock(paths, 3, report, &err);
    if (rc)
        (void)fprintf(stderr, "# %s\n", err.message);
    return rc ? 1 : 0;
}

static int is_refused(int result)
{
    return result < 0 && (errno == EACCES || errno == EPERM || errno == EXDEV);
}

static int landlock_files(void *context)
{
    const struct scratch *s = context;
    struct confine_report report;
    NEED(enter(s, &report) == 0);
    NEED(report.landlock_abi >= 1);
    NEED(is_refused(open("/etc/passwd", O_RDONLY | O_CLOEXEC)));
    NEED(is_refused(open(scratch_name(s, "secret"), O_RDONLY | O_CLOEXEC)));
    NEED(open(scratch_name(s, "config"), O_RDONLY | O_CLOEXEC) >= 0);
    NEED(is_refused(open(scratch_name(s, "config"), O_WRONLY | O_CLOEXEC)));
    NEED(is_refused(unlink(scratch_name(s, "config"))));
    NEED(open(scratch_name(s, "data/new"), O_RDWR | O_CREAT | O_CLOEXEC, 0600) >= 0);
    NEED(mkdir(scratch_name(s, "data/a"), 0700) == 0 &&
         mkdir(scratch_name(s, "data/b"), 0700) == 0);
    NEED(rename(scratch_name(s, "data/new"), scratch_name(s, "data/a/new")) == 0);
    NEED(rename(scratch_name(s, "data/a/new"), scratch_name(s, "data/b/newer")) == 0);
    NEED(is_refused(rename(scratch_name(s, "data/b/newer"), scratch_name(s, "out"))));
    NEED(is_refused(link(scratch_name(s, "data/b/newer"), scratch_name(s, "out"))));
    NEED(is_refused(symlink("/etc/passwd", scratch_name(s, "data/link"))));
    NEED(is_refused(mknod(scratch_name(s, "data/null"), S_IFCHR | 0600, 0x103)));
    NEED(chmod(scratch_name(s, "data/tool"), 0755) == 0);
    char *const argv[] = {(char *)(uintptr_t) "tool", NULL}, *const env[] = {NULL};
    /* Were it allowed, the script, its own interpreter, would go round in circles: ELOOP. */
    NEED(execve(scratch_name(s, "data/tool"), argv, env) < 0 && errno == EACCES);
    return 0;
}

static int landlock_rest(void *context)
{
    const struct scratch *s = context;
    struct confine_report report;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    NEED(bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 1) == 0);
    NEED(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    NEED(enter(s, &report) == 0);
    if (report.landlock_tcp) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        NEED(connect(fd, (struct sockaddr *)&address, len) < 0 && errno == EACCES);
        address.sin_port = 0;
        NEED(bind(fd, (struct sockaddr *)&address, len) < 0 && errno == EACCES);
    }
    if (report.landlock_truncate)
        NEED(is_refused(truncate(scratch_name(s, "secret"), 0)));
    if (report.landlock_processes)
        NEED(kill(getppid(), 0) < 0 && errno == EPERM);
    return 0;
}

/* Libraries that are set up only now must not need files that are gone: all hashing goes here. */
static int landlock_digest_and_database(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    struct digest digest;
    char text[DIGEST_TEXT_MAX];
    NEED(enter(s, NULL) == 0);
    NEED(digest_of(DIGEST_SHA256, "abc", 3, &digest, &err) == OK);
    NEED(strncmp(digest_format(&digest, text), "sha256:ba7816bf", 15) == 0);
    struct db *db = NULL;
    NEED(db_open(scratch_name(s, "data/x.db"), DB_CREATE, &db, &err) == OK);
    NEED(db_exec(db, "CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(70000))", &err) == OK);
    NEED(db_backup_to(db, scratch_name(s, "data/y.db"), &err) == OK);
    db_close(db);
    return 0;
}

static void prepare(struct scratch *s)
{
    assert_int_equal(mkdirat(s->fd, "data", 0700), 0);
    scratch_write_text(s, "config", "x");
    scratch_write_text(s, "secret", "x");
    char script[128];
    (void)snprintf(script, sizeof script, "#!%s/data/tool\n", s->path);
    scratch_write_text(s, "data/tool", script);
}

static void landlock_leaves_only_the_named_paths(void **state)
{
    prepare(*state);
    assert_int_equal(scratch_child(landlock_files, *state), 0);
}

static void landlock_leaves_no_network_and_no_other_process(void **state)
{
    prepare(*state);
    assert_int_equal(scratch_child(landlock_rest, *state), 0);
}

static void digest_and_database_work_under_landlock(void **state)
{
    prepare(*state);
    assert_int_equal(scratch_child(landlock_digest_and_database, *state), 0);
}

static int landlock_missing(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    const struct confine_path gone = {.path = scratch_name(s, "gone")};
    NEED(confine_no_new_privs(&err) == OK);
    NEED(confine_landlock(&gone, 1, NULL, &err) == E_NOTFOUND);
    NEED(strstr(err.message, "gone"));
    return 0;
}

static void landlock_wants_the_paths_it_was_told(void **state)
{
    assert_int_equal(scratch_child(landlock_missing, *state), 0);
}

/* --- seccomp --- */

static int filter(enum confine_purpose purpose)
{
    struct error err = ERROR_INIT;
    NEED(confine_no_new_privs(&err) == OK);
    NEED(confine_seccomp(purpose, &err) == OK);
    return 0;
}

static void *answer(void *argument)
{
    return argument;
}

static int honest_work(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    NEED(mkdir(scratch_name(s, "data"), 0700) == 0);
    NEED(filter(CONFINE_SERVER) == 0);
    pthread_t thread;
    void *got = NULL;
    NEED(pthread_create(&thread, NULL, answer, &err) == 0);
    NEED(pthread_join(thread, &got) == 0 && got == &err);
    struct db *db = NULL;
    NEED(db_open(scratch_name(s, "data/x.db"), DB_CREATE, &db, &err) == OK);
    NEED(db_exec(db, "CREATE TABLE t (a); INSERT INTO t VALUES (1)", &err) == OK);
    NEED(db_backup_to(db, scratch_name(s, "data/y.db"), &err) == OK);
    db_close(db);
    NEED(file_write_atomic(s->fd, "data/z", "z", 1, 0600, &err) == OK);
    int lock = -1;
    NEED(file_lock(s->fd, "data/lock", 0, &lock, &err) == OK);
    struct digest digest;
    NEED(digest_of(DIGEST_SHA512, "abc", 3, &digest, &err) == OK);
    int unix_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nonexistent"};
    NEED(unix_socket >= 0);
    NEED(connect(unix_socket, (struct sockaddr *)&address, sizeof address) < 0 && errno == ENOENT);
    NEED(kill(getpid(), 0) == 0);
    /* A thread's stack and large buffers come and go. */
    void *memory = mmap(NULL, 1u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(memory != MAP_FAILED && mprotect(memory, 4096, PROT_NONE) == 0);
    return 0;
}

static int refused_calls(void *context)
{
    int purpose = *(int *)context;
    NEED(filter((enum confine_purpose)purpose) == 0);
    NEED(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM);
    NEED(socket(AF_NETLINK, SOCK_RAW, 0) < 0 && errno == EPERM);
    if (purpose == CONFINE_SIGNER)
        NEED(socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM);
    NEED(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0);
    NEED(syscall(SYS_setresuid, 0, 0, 0) < 0 && errno == EPERM);
    NEED(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
    NEED(syscall(599) < 0 && errno == ENOSYS);
    struct rlimit limit;
    NEED(syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, NULL, &limit) < 0 && errno == EPERM);
#ifndef BULLA_SANITIZED
    NEED(kill(getppid(), 0) < 0 && errno == EPERM);
    NEED(fork() < 0 && errno == EPERM);
    NEED(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) < 0 && errno == EPERM);
    NEED(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 && errno == EPERM);
#endif
    return 0;
}

struct deadly {
    const char *name;
    long number;
};

static int deadly_call(void *context)
{
    const struct deadly *call = context;
    NEED(filter(CONFINE_SERVER) == 0);
    (void)syscall(call->number, 0, 0, 0, 0, 0, 0);
    return 3;
}

static void honest_work_goes_on_under_seccomp(void **state)
{
    assert_int_equal(scratch_child(honest_work, *state), 0);
}

static void other_calls_are_refused(void **state)
{
    (void)state;
    int purpose = CONFINE_SERVER;
    assert_int_equal(scratch_child(refused_calls, &purpose), 0);
    purpose = CONFINE_SIGNER;
    assert_int_equal(scratch_child(refused_calls, &purpose), 0);
}

static void deadly_calls_end_the_process(void **state)
{
    (void)state;
    static const struct deadly calls[] = {
        {"execve", SYS_execve},
        {"execveat", SYS_execveat},
        {"mount", SYS_mount},
        {"umount2", SYS_umount2},
        {"bpf", SYS_bpf},
        {"keyctl", SYS_keyctl},
        {"add_key", SYS_add_key},
        {"init_module", SYS_init_module},
        {"finit_module", SYS_finit_module},
        {"kexec_load", SYS_kexec_load},
        {"unshare", SYS_unshare},
        {"setns", SYS_setns},
        {"chroot", SYS_chroot},
        {"pivot_root", SYS_pivot_root},
        {"userfaultfd", SYS_userfaultfd},
        {"perf_event_open", SYS_perf_event_open},
        {"io_uring_setup", SYS_io_uring_setup},
        {"open_by_handle_at", SYS_open_by_handle_at},
        {"process_vm_writev", SYS_process_vm_writev},
        {"pidfd_getfd", SYS_pidfd_getfd},
#ifndef BULLA_SANITIZED
        {"ptrace", SYS_ptrace},
#endif
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct deadly call = calls[i];
        int status = scratch_child(deadly_call, &call);
        if (status != 1000 + SIGSYS)
            fail_msg("%s: ended with %d", call.name, status);
    }
}

static int filter_without_no_new_privs(void *context)
{
    (void)context;
    struct error err = ERROR_INIT;
    /* libseccomp sets no_new_privs itself; what counts is that it cannot be forgotten. */
    NEED(confine_seccomp(CONFINE_SERVER, &err) == OK);
    NEED(syscall(SYS_setresuid, 0, 0, 0) < 0);
    return 0;
}

static void seccomp_alone_is_safe(void **state)
{
    (void)state;
    assert_int_equal(scratch_child(filter_without_no_new_privs, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_becomes_another_user),
        cmocka_unit_test(users_are_found_by_name),
        cmocka_unit_test(attributes_are_set),
        cmocka_unit_test_setup_teardown(landlock_leaves_only_the_named_paths, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(landlock_leaves_no_network_and_no_other_process,
                                        scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(digest_and_database_work_under_landlock, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(landlock_wants_the_paths_it_was_told, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(honest_work_goes_on_under_seccomp, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(other_calls_are_refused),
        cmocka_unit_test(deadly_calls_end_the_process),
        cmocka_unit_test(seccomp_alone_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

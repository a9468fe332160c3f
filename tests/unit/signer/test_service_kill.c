/*
 * kill -9 at each step of the real program: before every write, sync, rename and send of a
 * publication and of a renewal. Whatever was answered, before or after, no version of snapshot or
 * timestamp is ever seen with two contents.
 */
#include "base/file.h"
#include "tests/unit/signer/service_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define VERSIONS 512

/* As tests/tools/disk_shim.c reads it. */
struct control {
    _Atomic int32_t fault;
    _Atomic int32_t
        steps_left; /* 0: no end; the step at which it becomes 0 is not taken any more */
    _Atomic int64_t clock_offset_s;
};

struct victim {
    struct scratch *dir;
    struct control *control;
    pid_t pid;
    struct signer_link *link;
    struct toy_repo repo;
    struct bytes seen[2][VERSIONS]; /* snapshot, timestamp */
};

/* --- the program --- */

static void run_program(struct victim *v, int out_fd)
{
    const char *old = getenv("ASAN_OPTIONS");
    char *options = text_format("%s:verify_asan_link_order=0", old ? old : "");
    int log = open(scratch_name(v->dir, "log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    setenv("ASAN_OPTIONS", options, 1);
    setenv("LD_PRELOAD", TEST_BIN "/disk-shim.so", 1);
    setenv("DISK_SHIM_ROOT", v->dir->path, 1);
    setenv("DISK_SHIM_CONTROL", scratch_name(v->dir, "control"), 1);
    if (dup2(out_fd, 1) >= 0 && dup2(log, 2) >= 0)
        execl(TEST_BIN "/bulla-signer", "bulla-signer", "serve", "--config",
              scratch_name(v->dir, "registry.yaml"), (char *)NULL);
    _exit(91);
}

static void start(struct victim *v)
{
    int out[2];
    char byte = 0;
    atomic_store(&v->control->steps_left, 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    v->pid = fork();
    assert_true(v->pid >= 0);
    if (v->pid == 0)
        run_program(v, out[1]);
    close(out[1]);
    if (read(out[0], &byte, 1) != 1)
        fail_msg("the service does not start: see %s/log", v->dir->path);
    close(out[0]);
}

static void end(struct victim *v)
{
    if (v->pid <= 0)
        return;
    (void)kill(v->pid, SIGKILL);
    (void)waitpid(v->pid, NULL, 0);
    v->pid = 0;
}

static void restart(struct victim *v)
{
    end(v);
    start(v);
}

static struct public_key *key_of(struct victim *v, enum tuf_type role)
{
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    toy_ok(signer_link_key(v->link, FX_COLLECTION, role, &json, err));
    return fx_parse_key(&json);
}

static void make_control(struct victim *v)
{
    static const struct control zero;
    scratch_write(v->dir, "control", &zero, sizeof zero);
    CLEANUP(cleanup_fd) int fd = open(scratch_name(v->dir, "control"), O_RDWR | O_CLOEXEC);
    v->control = mmap(NULL, sizeof *v->control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(v->control, MAP_FAILED);
    atomic_store(&v->control->clock_offset_s, TOY_NOW - (int64_t)time(NULL));
}

static int victim_setup(void **state)
{
    struct victim *v = calloc(1, sizeof *v);
    void *dir = NULL;
    assert_non_null(v);
    scratch_setup(&dir);
    v->dir = dir;
    make_control(v);
    scratch_write_text(v->dir, "passphrase", FX_PASSPHRASE "\n");
    assert_int_equal(chmod(scratch_name(v->dir, "passphrase"), 0600), 0);
    scratch_write_text(v->dir, "registry.yaml",
                       "dataDir: data\nsigner:\n  socket: run/s.sock\n  dataDir: signer\n"
                       "  passphraseFile: passphrase\n");
    start(v);
    toy_ok(signer_link_new(scratch_name(v->dir, "run/s.sock"), &v->link, err));
    toy_init(&v->repo, FX_COLLECTION);
    CLEANUP(public_key_cleanup) struct public_key *snapshot = key_of(v, TUF_SNAPSHOT);
    CLEANUP(public_key_cleanup) struct public_key *timestamp = key_of(v, TUF_TIMESTAMP);
    fx_root_lists(&v->repo, snapshot, timestamp, 1);
    toy_sign(&v->repo.roles[TUF_ROOT]);
    toy_sign(&v->repo.roles[TUF_TARGETS]);
    *state = v;
    return 0;
}

static int victim_teardown(void **state)
{
    struct victim *v = *state;
    void *dir = v->dir;
    end(v);
    signer_link_free(v->link);
    toy_done(&v->repo);
    for (size_t i = 0; i < VERSIONS; i++) {
        bytes_done(&v->seen[0][i]);
        bytes_done(&v->seen[1][i]);
    }
    (void)munmap(v->control, sizeof *v->control);
    free(v);
    return scratch_teardown(&dir);
}

/* --- what was answered --- */

static void remember(struct victim *v, const struct signer_set *set)
{
    static const char *const roles[] = {"snapshot", "timestamp"};
    for (size_t i = 0; i < 2; i++) {
        int64_t version = fx_version(set, roles[i]);
        const struct bytes *now = fx_bytes(set, roles[i]);
        assert_in_range(version, 1, VERSIONS - 1);
        struct bytes *known = &v->seen[i][version];
        if (known->len == 0)
            toy_ok(bytes_append(known, now->data, now->len, err));
        else if (!bytes_equal(known->data, known->len, now->data, now->len))
            fail_msg("two contents of %s version %d", roles[i], (int)version);
    }
}

static int publish(struct victim *v, const struct tuf_file *files, size_t n)
{
    struct error err = ERROR_INIT;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    int rc = signer_link_publish(v->link, FX_COLLECTION, files, n, &set, &err);
    if (rc == OK)
        remember(v, &set);
    else if (rc != E_NETWORK && rc != E_CONFLICT)
        fail_msg("%s", err.message);
    return rc;
}

static int refresh(struct victim *v)
{
    struct error err = ERROR_INIT;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    int rc = signer_link_refresh(v->link, FX_COLLECTION, &set, &err);
    if (rc == OK)
        remember(v, &set);
    else if (rc != E_NETWORK)
        fail_msg("%s", err.message);
    return rc;
}

static struct tuf_file targets_file(struct victim *v, const struct bytes *data)
{
    (void)v;
    return (struct tuf_file){"targets", data->data, data->len};
}

/* The next version of targets, cut off at this step, and then another one of the same version.
 * Returns whether the program came to the step. */
static bool cut_publication(struct victim *v, int step)
{
    struct toy_role *targets = toy_role(&v->repo, "targets");
    CLEANUP(bytes_done) struct bytes first = BYTES_INIT;
    char tag[24];
    toy_bump(targets);
    snprintf(tag, sizeof tag, "a%d", step);
    toy_target(&v->repo, "targets", tag, tag);
    toy_sign(targets);
    toy_ok(bytes_append(&first, targets->file.data, targets->file.len, err));
    const struct tuf_file a = targets_file(v, &first);
    atomic_store(&v->control->steps_left, step);
    (void)publish(v, &a, 1);
    bool reached = atomic_load(&v->control->steps_left) <= 0;
    restart(v);
    tag[0] = 'b';
    toy_target(&v->repo, "targets", tag, tag);
    toy_sign(targets);
    const struct tuf_file b = targets_file(v, &targets->file);
    if (publish(v, &b, 1) == E_CONFLICT)
        assert_int_equal(publish(v, &a, 1), OK); /* the first was remembered */
    return reached;
}

static void no_step_of_a_publication_forks(void **state)
{
    struct victim *v = *state;
    const struct tuf_file all[] = {
        {"root", v->repo.roles[TUF_ROOT].file.data, v->repo.roles[TUF_ROOT].file.len},
        targets_file(v, &v->repo.roles[TUF_TARGETS].file)};
    assert_int_equal(publish(v, all, 2), OK);
    int step = 1;
    while (cut_publication(v, step))
        step++;
    print_message("# %d steps\n", step - 1);
    assert_in_range(step, 10, 200);
}

static bool cut_renewal(struct victim *v, int step)
{
    atomic_fetch_add(&v->control->clock_offset_s, FX_TIMESTAMP / 2 + 60);
    atomic_store(&v->control->steps_left, step);
    (void)refresh(v);
    bool reached = atomic_load(&v->control->steps_left) <= 0;
    /* Signed again, it would be issued later: other bytes. */
    atomic_fetch_add(&v->control->clock_offset_s, 1);
    restart(v);
    assert_int_equal(refresh(v), OK);
    return reached;
}

static void no_step_of_a_renewal_forks(void **state)
{
    struct victim *v = *state;
    const struct tuf_file all[] = {
        {"root", v->repo.roles[TUF_ROOT].file.data, v->repo.roles[TUF_ROOT].file.len},
        targets_file(v, &v->repo.roles[TUF_TARGETS].file)};
    assert_int_equal(publish(v, all, 2), OK);
    int step = 1;
    while (cut_renewal(v, step))
        step++;
    print_message("# %d steps\n", step - 1);
    assert_in_range(step, 10, 200);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, victim_setup, victim_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(no_step_of_a_publication_forks),
        CASE(no_step_of_a_renewal_forks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The contract of blob storages, over files; and what only files have: a process that is killed at
 * every system call. */
#include "base/cleanup.h"
#include "base/path.h"
#include "registry/blob_files.h"
#include "tests/support/scratch.h"
#include "tests/unit/registry/contract_blobs.h"
#include "tests/unit/registry/contract_place.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

/* --- places --- */

static int open_place(void *place, struct blob_store *out, struct error *err)
{
    return blob_files_open(contract_place_path(place), out, err);
}

static void damage(void *place, const struct digest *d)
{
    char hex[DIGEST_TEXT_MAX], path[256], byte;
    digest_hex(d, hex);
    snprintf(path, sizeof path, "%s/blobs/%s/%.2s/%s", contract_place_path(place),
             digest_alg_name(d->alg), hex, hex);
    assert_int_equal(chmod(path, 0600), 0);
    CLEANUP(cleanup_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, 3), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 3), 1);
}

static const struct contract_blobs files = {
    "files", contract_place_new,      contract_place_free,         open_place,
    damage,  contract_place_set_room, contract_place_set_read_only};

/* --- killed at every system call --- */

#define N_BLOBS 3u

static const char *const texts[N_BLOBS] = {"first", "second, a little longer", "first"};

/* One byte goes to `out` for each blob that was acknowledged. */
static int push_some(const char *dir, int out)
{
    struct blobs *b = NULL;
    int rc = blobs_open(dir, &b, NULL);
    for (size_t i = 0; rc == 0 && i < N_BLOBS; i++) {
        struct digest d;
        struct blob_upload *u = NULL;
        size_t len = strlen(texts[i]);
        rc = digest_of(DIGEST_SHA256, texts[i], len, &d, NULL);
        if (rc == 0)
            rc = blobs_begin(b, DIGEST_SHA256, &u, NULL);
        if (rc == 0)
            rc = blobs_append(b, u, texts[i], len, NULL);
        if (rc == 0)
            rc = blobs_commit(b, u, &d, NULL);
        if (rc == 0 && write(out, "y", 1) != 1)
            rc = E_SYS;
        blobs_upload_free(u);
    }
    blobs_close(b);
    return rc != 0;
}

/* Lets the child make n system calls. True: it was killed at the next one. */
static bool run_and_kill(const char *dir, int out, unsigned n)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(push_some(dir, out));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSTOPPED(status)) {
        fail_msg("the child cannot be traced");
        return false;
    }
    /* Two stops per call, before and after it; killed before. */
    for (unsigned stops = 0; stops < 2 * n + 1 && WIFSTOPPED(status); stops++) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    if (WIFSTOPPED(status)) {
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) == pid && !WIFEXITED(status) && !WIFSIGNALED(status))
            ;
    }
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return !WIFEXITED(status);
}

static int check_bytes(void *context, const struct blob_info *info, struct error *err)
{
    CLEANUP(bytes_done) struct bytes read = BYTES_INIT;
    return blobs_read_verified(context, &info->digest, 1000, &read, err);
}

/* What is there afterwards: right bytes only, everything acknowledged, and room to go on. */
static void check_after(const char *dir, size_t n_acknowledged)
{
    struct blobs *b = NULL;
    size_t ignored;
    assert_int_equal(blobs_open(dir, &b, NULL), 0);
    const struct blob_visitor visitor = {check_bytes, b};
    assert_int_equal(blobs_walk(b, &visitor, NULL), 0);
    for (size_t i = 0; i < n_acknowledged; i++) {
        struct digest d;
        uint64_t size;
        assert_int_equal(digest_of(DIGEST_SHA256, texts[i], strlen(texts[i]), &d, NULL), 0);
        assert_int_equal(blobs_stat(b, &d, &size, NULL), 0);
    }
    assert_int_equal(blobs_sweep_uploads(b, -1, NULL, &ignored, NULL), 0);
    blobs_close(b);
}

static void killed_at_every_system_call(void **state)
{
    struct scratch *dir = *state;
    bool killed = true;
    unsigned n = 0;
    size_t most = 0;
    for (; killed; n++) {
        int pipes[2];
        char answers[N_BLOBS + 1], folder[96];
        snprintf(folder, sizeof folder, "%s/%u", dir->path, n);
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        killed = run_and_kill(folder, pipes[1], n);
        close(pipes[1]);
        ssize_t got = read(pipes[0], answers, sizeof answers);
        close(pipes[0]);
        assert_true(got >= 0);
        check_after(folder, (size_t)got);
        most = (size_t)got > most ? (size_t)got : most;
        assert_in_range(n, 0, 1000);
    }
    assert_int_equal(most, N_BLOBS);
    assert_in_range(n, 40, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_at_every_system_call, scratch_setup,
                                        scratch_teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + contract_blobs_run(&files);
}

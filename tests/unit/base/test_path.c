#include "base/path.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

/* root/ holds the tree that nobody may leave; secret lies beside it. */
static int tree(const struct scratch *s)
{
    assert_int_equal(mkdirat(s->fd, "root", 0700), 0);
    assert_int_equal(mkdirat(s->fd, "root/dir", 0700), 0);
    assert_int_equal(mkdirat(s->fd, "root/etc", 0700), 0);
    scratch_write_text(s, "secret", "secret");
    scratch_write_text(s, "root/dir/file", "inside");
    scratch_write_text(s, "root/etc/passwd", "inside");
    static const char *const links[][2] = {
        {"../secret", "root/up"},
        {"/etc/passwd", "root/absolute"},
        {"dir/file", "root/fine"},
        {"loop", "root/loop"},
        {"../root/dir/file", "root/around"},
        {"..", "root/dir/parent"},
        {"/", "root/slash"},
        {"dir", "root/alias"},
    };
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
        assert_int_equal(symlinkat(links[i][0], s->fd, links[i][1]), 0);
    int root = openat(s->fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(root >= 0);
    return root;
}

/* What a read of `path` gives: "inside", "secret", or NULL where opening failed. */
static const char *content(int root, const char *path, enum path_how how)
{
    static char text[16];
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open(root, path, how, O_RDONLY, 0, &fd, &err);
    if (rc) {
        assert_int_equal(fd, -1);
        return NULL;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return n < 0 ? NULL : text;
}

static void nothing_outside_is_reached(void **state)
{
    CLEANUP(cleanup_fd) int root = tree(*state);
    char magic[64];
    (void)snprintf(magic, sizeof magic, "/proc/self/fd/%d/dir/file", root);
    assert_int_equal(symlinkat(magic, root, "magic"), 0);
    static const char *const never[] = {
        "../secret",
        "dir/../../secret",
        "up",
        "alias/../../secret",
        "dir/parent/../secret",
        "./../secret",
        "slash/../secret",
        "",
        "loop",
        "missing",
        "../root/../secret",
        "dir/file/../../../secret",
        "magic",
    };
    static const enum path_how ways[] = {PATH_NO_SYMLINKS, PATH_BENEATH, PATH_IN_ROOT};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        for (size_t w = 0; w < 3; w++) {
            const char *got = content(root, never[i], ways[w]);
            if (got)
                fail_msg("'%s' way %zu gave '%s'", never[i], w, got);
        }
    /* Absolute paths and links: only where root plays "/", and then inside. */
    static const char *const in_root_only[] = {"/etc/passwd", "absolute", "slash/etc/passwd",
                                               "/dir/../../../etc/passwd", "../etc/passwd"};
    for (size_t i = 0; i < sizeof in_root_only / sizeof in_root_only[0]; i++) {
        assert_null(content(root, in_root_only[i], PATH_NO_SYMLINKS));
        assert_null(content(root, in_root_only[i], PATH_BENEATH));
        const char *got = content(root, in_root_only[i], PATH_IN_ROOT);
        assert_non_null(got);
        assert_string_equal(got, "inside");
    }
}

static void what_lies_inside_is(void **state)
{
    CLEANUP(cleanup_fd) int root = tree(*state);
    static const char *const plain[] = {"dir/file", "./dir//file", "dir/../dir/file"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        assert_non_null(content(root, plain[i], PATH_NO_SYMLINKS));
    static const char *const linked[] = {"fine", "alias/file", "dir/parent/dir/file"};
    for (size_t i = 0; i < sizeof linked / sizeof linked[0]; i++) {
        assert_null(content(root, linked[i], PATH_NO_SYMLINKS));
        assert_non_null(content(root, linked[i], PATH_BENEATH));
        assert_non_null(content(root, linked[i], PATH_IN_ROOT));
    }
    /* It leaves and comes back: leaving is what counts. */
    assert_null(content(root, "around", PATH_BENEATH));
}

static void codes_and_flags(void **state)
{
    CLEANUP(cleanup_fd) int root = tree(*state);
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    assert_int_equal(path_open(root, "none", PATH_BENEATH, O_RDONLY, 0, &fd, &err), E_NOTFOUND);
    assert_int_equal(path_open(root, "fine", PATH_NO_SYMLINKS, O_RDONLY, 0, &fd, &err), E_SYS);
    assert_int_equal(err.sys, ELOOP);
    assert_int_equal(path_open(root, "../secret", PATH_BENEATH, O_RDONLY, 0, &fd, &err), E_SYS);
    assert_int_equal(err.sys, EXDEV);
    assert_int_equal(
        path_open(root, "dir/file", PATH_BENEATH, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, &err),
        E_EXISTS);
    assert_int_equal(fd, -1);
    assert_int_equal(path_open(root, "dir/new", PATH_BENEATH, O_RDWR | O_CREAT, 0640, &fd, &err),
                     OK);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    cleanup_fd(&fd);
    assert_int_equal(path_open(root, "dir", PATH_BENEATH, O_RDWR | O_TMPFILE, 0600, &fd, &err), OK);
    cleanup_fd(&fd);
    /* A dangling link that leads out must not be created through. */
    assert_int_equal(symlinkat("../made-outside", root, "dangling"), 0);
    assert_int_not_equal(
        path_open(root, "dangling", PATH_BENEATH, O_WRONLY | O_CREAT, 0600, &fd, &err), OK);
    assert_int_not_equal(
        path_open(root, "dangling", PATH_NO_SYMLINKS, O_WRONLY | O_CREAT, 0600, &fd, &err), OK);
    assert_int_equal(access(scratch_name(*state, "made-outside"), F_OK), -1);
}

static void parents(void **state)
{
    CLEANUP(cleanup_fd) int root = tree(*state);
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_fd) int fd = -1;
    const char *last = NULL;
    static const char *const bad[] = {"",  ".",    "..",   "dir/",        "dir/.",  "dir/..",
                                      "/", "../x", "up/x", "dir/../../x", "none/x", "dir/file/x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (path_open_parent(root, bad[i], PATH_NO_SYMLINKS, &fd, &last, &err) == OK)
            fail_msg("'%s' was accepted", bad[i]);
        assert_int_equal(fd, -1);
        assert_null(last);
    }
    assert_int_equal(path_open_parent(root, "dir/x", PATH_NO_SYMLINKS, &fd, &last, &err), OK);
    assert_string_equal(last, "x");
    cleanup_fd(&fd);
    assert_int_equal(path_open_parent(root, "x", PATH_NO_SYMLINKS, &fd, &last, &err), OK);
    assert_string_equal(last, "x");
    cleanup_fd(&fd);
    assert_int_equal(path_open_parent(root, "/x", PATH_BENEATH, &fd, &last, &err), E_SYS);
    assert_int_equal(path_open_parent(root, "/x", PATH_IN_ROOT, &fd, &last, &err), OK);
    struct stat parent, top;
    assert_int_equal(fstat(fd, &parent) | fstat(root, &top), 0);
    assert_int_equal(parent.st_ino, top.st_ino);
}

static void folders_are_made_inside_only(void **state)
{
    const struct scratch *s = *state;
    CLEANUP(cleanup_fd) int root = tree(s);
    struct error err = ERROR_INIT;
    assert_int_equal(path_make_dirs(root, "a/b//c", 0700, &err), OK);
    assert_int_equal(path_make_dirs(root, "a/b/c", 0700, &err), OK);
    struct stat st;
    assert_int_equal(fstatat(root, "a/b/c", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    static const char *const bad[] = {"../out", "a/../../out", "alias/x", "slash/out",
                                      "up/x",   "dir/file/x",  "dir/file"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (path_make_dirs(root, bad[i], 0700, &err) == OK)
            fail_msg("'%s' was accepted", bad[i]);
    assert_int_equal(fstatat(s->fd, "out", &st, 0), -1);
    assert_int_equal(fstatat(root, "dir/x", &st, 0), -1);
}

/* --- a link that changes while the path is walked --- */

struct swap {
    int root;
    atomic_bool stop;
};

static void *swap_forever(void *argument)
{
    struct swap *swap = argument;
    while (!atomic_load(&swap->stop)) {
        (void)renameat2(swap->root, "flip", swap->root, "flop", RENAME_EXCHANGE);
    }
    return NULL;
}

static void a_swapped_link_wins_nothing(void **state)
{
    const struct scratch *s = *state;
    struct swap swap = {.root = tree(s)};
    assert_int_equal(mkdirat(swap.root, "flip", 0700), 0);
    assert_int_equal(symlinkat("..", swap.root, "flop"), 0);
    scratch_write_text(s, "root/flip/secret", "inside");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, swap_forever, &swap), 0);
    unsigned opened = 0;
    for (int i = 0; i < 20000; i++) {
        const char *got =
            content(swap.root, "flip/secret", i % 2 ? PATH_BENEATH : PATH_NO_SYMLINKS);
        if (got)
            assert_string_equal(got, "inside");
        opened += got != NULL;
    }
    atomic_store(&swap.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(opened > 0);
    cleanup_fd(&swap.root);
}

/* --- removal --- */

static void removal_follows_nothing(void **state)
{
    const struct scratch *s = *state;
    CLEANUP(cleanup_fd) int root = tree(s);
    struct error err = ERROR_INIT;
    assert_int_equal(mkdirat(s->fd, "other", 0700), 0);
    scratch_write_text(s, "other/kept", "x");
    assert_int_equal(symlinkat("../../other", root, "dir/to-other"), 0);
    assert_int_equal(symlinkat("../other", root, "other"), 0);
    assert_int_equal(path_remove_tree(root, "other/kept", &err), E_SYS); /* through a link */
    assert_int_equal(path_remove_tree(root, "../other", &err), E_SYS);
    assert_int_equal(path_remove_tree(root, "..", &err), E_INVALID);
    assert_int_equal(path_remove_tree(root, ".", &err), E_INVALID);
    assert_int_equal(path_remove_tree(root, "", &err), E_INVALID);
    assert_int_equal(path_remove_tree(root, "other", &err), OK); /* the link itself */
    assert_int_equal(path_remove_tree(root, "dir", &err), OK);
    assert_int_equal(faccessat(root, "dir", F_OK, 0), -1);
    assert_int_equal(access(scratch_name(s, "other/kept"), F_OK), 0);
    assert_int_equal(access(scratch_name(s, "secret"), F_OK), 0);
    assert_int_equal(path_remove_tree(root, "dir", &err), OK); /* missing is fine */
    assert_int_equal(path_remove_tree(root, "none/x", &err), OK);
    assert_int_equal(path_remove_tree(root, "etc/passwd", &err), OK);
    assert_int_equal(path_remove_tree(s->fd, "root", &err), OK);
}

static int remove_with_few_descriptors(void *context)
{
    const struct scratch *s = context;
    struct error err = ERROR_INIT;
    const struct rlimit few = {100, 100};
    if (setrlimit(RLIMIT_NOFILE, &few))
        return 1;
    int rc = path_remove_tree(s->fd, "deep", &err);
    if (rc)
        (void)fprintf(stderr, "# %s\n", err.message);
    return rc ? 2 : 0;
}

static void deep_trees_need_few_descriptors(void **state)
{
    const struct scratch *s = *state;
    assert_int_equal(mkdirat(s->fd, "deep", 0700), 0);
    CLEANUP(cleanup_fd) int at = openat(s->fd, "deep", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 1500; i++) {
        assert_int_equal(mkdirat(at, i % 7 ? "d" : ".deep-3", 0700), 0);
        int next = openat(at, i % 7 ? "d" : ".deep-3", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int file = openat(at, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(next >= 0 && file >= 0);
        cleanup_fd(&file);
        cleanup_fd(&at);
        at = next;
    }
    assert_int_equal(scratch_child(remove_with_few_descriptors, *state), 0);
    assert_int_equal(access(scratch_name(s, "deep"), F_OK), -1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_outside_is_reached),
        CASE(what_lies_inside_is),
        CASE(codes_and_flags),
        CASE(parents),
        CASE(folders_are_made_inside_only),
        CASE(a_swapped_link_wins_nothing),
        CASE(removal_follows_nothing),
        CASE(deep_trees_need_few_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

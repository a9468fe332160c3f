/* What a start notices of changes to an unpacked layer. */
#include "tests/unit/oci/layer_fixture.h"

#include <time.h>

static void make_layer(struct layer_fixture *f)
{
    tar_folder(&f->tar, "bin/");
    tar_add(
        &f->tar,
        &(struct tar_member){
            .name = "bin/tool", .type = '0', .mode = 0755, .data = "#!/bin/sh\n", .mtime = 1000});
    tar_folder(&f->tar, "etc/");
    tar_folder(&f->tar, "etc/sub/");
    tar_file(&f->tar, "etc/sub/conf", "a=b");
    tar_file(&f->tar, "etc-after", "x");
    tar_symlink(&f->tar, "link", "bin/tool");
    tar_hardlink(&f->tar, "second", "bin/tool");
    tar_add(&f->tar, &(struct tar_member){.name = "pipe", .type = '6'});
    tar_file(&f->tar, ".wh.gone", "");
    assert_int_equal(unpack(f), OK);
}

static int check(struct layer_fixture *f, enum layer_check how, bool cached)
{
    char cache[128];
    int fd = -1;
    (void)snprintf(cache, sizeof cache, "%s/cache", f->dir);
    f->err = (struct error)ERROR_INIT;
    int rc = store_layer_open(f->store, &f->diff_id, how, cached ? cache : NULL, &fd, &f->err);
    if (rc)
        assert_int_equal(fd, -1);
    else
        assert_int_equal(faccessat(fd, "bin/tool", F_OK, 0), 0);
    cleanup_fd(&fd);
    return rc;
}

/* A cache whose stamps are trusted: the files have lain still. */
static void settle(struct layer_fixture *f)
{
    const struct timespec still = {.tv_sec = 3, .tv_nsec = 100000000};
    assert_int_equal(nanosleep(&still, NULL), 0);
    assert_int_equal(check(f, LAYER_CHECK_FULL, true), OK);
}

static const char *at(const struct layer_fixture *f, const char *path)
{
    static char whole[2][700];
    static int turn;
    turn = !turn;
    (void)snprintf(whole[turn], sizeof whole[turn], "%s/%s", f->root, path);
    return whole[turn];
}

static void overwrite(const char *path, const char *text)
{
    CLEANUP(cleanup_fd) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void set_date(const char *path, time_t s)
{
    const struct timespec times[2] = {{.tv_sec = s}, {.tv_sec = s}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* --- one change each --- */

/* Keeps size and date: only the content gives it away. */
static void change_content(struct layer_fixture *f)
{
    overwrite(at(f, "bin/tool"), "#!/bin/sX\n");
    set_date(at(f, "bin/tool"), 1000);
}
static void change_size(struct layer_fixture *f)
{
    overwrite(at(f, "etc/sub/conf"), "a=b\nc=d");
    set_date(at(f, "etc/sub/conf"), 0);
}
static void change_mode(struct layer_fixture *f)
{
    assert_int_equal(chmod(at(f, "bin/tool"), 04755), 0);
}
static void change_owner(struct layer_fixture *f)
{
    assert_int_equal(chown(at(f, "etc/sub/conf"), 1, 0), 0);
}
static void change_date(struct layer_fixture *f)
{
    set_date(at(f, "etc/sub/conf"), 12345);
}
static void change_attribute(struct layer_fixture *f)
{
    assert_int_equal(setxattr(at(f, "etc/sub/conf"), "user.x", "1", 1, 0), 0);
}
static void make_opaque(struct layer_fixture *f)
{
    assert_int_equal(setxattr(at(f, "etc"), "trusted.overlay.opaque", "y", 1, 0), 0);
}
static void add_capability(struct layer_fixture *f)
{
    static const uint8_t cap[20] = {1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(setxattr(at(f, "bin/tool"), "security.capability", cap, sizeof cap, 0), 0);
}
/* Restores the folder's date as an attacker would. */
static void add_file(struct layer_fixture *f)
{
    overwrite(at(f, "etc/sub/new"), "evil");
    set_date(at(f, "etc/sub"), 0);
}
static void add_last_file(struct layer_fixture *f)
{
    overwrite(at(f, "zzz"), "evil");
    set_date(at(f, ""), 0);
}
static void remove_file(struct layer_fixture *f)
{
    assert_int_equal(unlink(at(f, "etc/sub/conf")), 0);
    set_date(at(f, "etc/sub"), 0);
}
static void remove_last_file(struct layer_fixture *f)
{
    assert_int_equal(unlink(at(f, "second")), 0);
    set_date(at(f, ""), 0);
}
static void remove_whiteout(struct layer_fixture *f)
{
    assert_int_equal(unlink(at(f, "gone")), 0);
    set_date(at(f, ""), 0);
}
static void change_target(struct layer_fixture *f)
{
    assert_int_equal(unlink(at(f, "link")), 0);
    assert_int_equal(symlink("bin/evil", at(f, "link")), 0);
    set_date(at(f, "link"), 0);
    set_date(at(f, ""), 0);
}
static void file_to_link(struct layer_fixture *f)
{
    assert_int_equal(unlink(at(f, "etc/sub/conf")), 0);
    assert_int_equal(symlink("/etc/passwd", at(f, "etc/sub/conf")), 0);
    set_date(at(f, "etc/sub"), 0);
}
static void folder_to_link(struct layer_fixture *f)
{
    assert_int_equal(rename(at(f, "etc"), at(f, "etc2")), 0);
    assert_int_equal(symlink("etc2", at(f, "etc")), 0);
    set_date(at(f, ""), 0);
}
static void add_device(struct layer_fixture *f)
{
    assert_int_equal(mknod(at(f, "etc/mem"), S_IFCHR | 0666, makedev(1, 1)), 0);
    set_date(at(f, "etc"), 0);
}
static void swap_files(struct layer_fixture *f)
{
    assert_int_equal(rename(at(f, "etc-after"), at(f, "etc/sub/conf")), 0);
    overwrite(at(f, "etc-after"), "x");
    set_date(at(f, "etc/sub"), 0);
    set_date(at(f, ""), 0);
}
static void cut_record(struct layer_fixture *f)
{
    char path[700];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/../record", f->root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
}
static void remove_record(struct layer_fixture *f)
{
    assert_int_equal(unlink(at(f, "../record")), 0);
}

struct change {
    void (*make)(struct layer_fixture *f);
    const char *said;
};

static const struct change changes[] = {
    {change_content, "'bin/tool': content"},
    {change_size, "'etc/sub/conf': size"},
    {change_mode, "'bin/tool': mode"},
    {change_owner, "'etc/sub/conf': owner"},
    {change_date, "'etc/sub/conf': date"},
    {change_attribute, "'etc/sub/conf': extended attributes"},
    {make_opaque, "'etc': extended attributes"},
    {add_capability, "'bin/tool': extended attributes"},
    {add_file, "'etc/sub/new' does not belong"},
    {add_last_file, "'zzz' does not belong"},
    {remove_file, "'etc/sub/conf' is missing"},
    {remove_last_file, "'second' is missing"},
    {remove_whiteout, "'gone' is missing"},
    {change_target, "'link': link target"},
    {file_to_link, "'etc/sub/conf': type"},
    {folder_to_link, "'etc': type"},
    {add_device, "'etc/mem' does not belong"},
    {swap_files, "'etc/sub/conf': size"},
    {cut_record, "record"},
    {remove_record, "record"},
};

static void expect_notice(struct layer_fixture *f, const struct change *c, enum layer_check how,
                          bool cached)
{
    c->make(f);
    int rc = check(f, how, cached);
    if (rc != E_TAMPERED || !strstr(f->err.message, c->said))
        fail_msg("%s: %d '%s'", c->said, rc, f->err.message);
    /* and a refused layer stays refused */
    assert_int_equal(check(f, how, cached), E_TAMPERED);
}

static void a_full_check_notices_every_change(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        void *one = NULL;
        assert_int_equal(layer_set_up(&one), 0);
        make_layer(one);
        expect_notice(one, &changes[i], LAYER_CHECK_FULL, false);
        assert_int_equal(layer_tear_down(&one), 0);
    }
}

/* All layers settle together: one pause instead of one per change. */
static void a_cached_check_notices_every_change(void **state)
{
    enum { N = sizeof changes / sizeof changes[0] };
    void *states[N] = {NULL};
    const struct timespec still = {.tv_sec = 3, .tv_nsec = 100000000};
    (void)state;
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(layer_set_up(&states[i]), 0);
        make_layer(states[i]);
    }
    assert_int_equal(nanosleep(&still, NULL), 0);
    for (size_t i = 0; i < N; i++) {
        struct layer_fixture *f = states[i];
        assert_int_equal(check(f, LAYER_CHECK_FULL, true), OK);
        assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
        expect_notice(f, &changes[i], LAYER_CHECK_CACHED, true);
        assert_int_equal(layer_tear_down(&states[i]), 0);
    }
}

static void an_unchanged_layer_passes(void **state)
{
    struct layer_fixture *f = *state;
    make_layer(f);
    assert_int_equal(check(f, LAYER_CHECK_FULL, false), OK);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, false), OK);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
    settle(f);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
    /* touched, but the same in the end: read again and accepted */
    set_date(at(f, "bin/tool"), 5);
    set_date(at(f, "bin/tool"), 1000);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
}

/* git's "racily clean" problem: same size, same date, within the clock's granularity. */
static void a_change_right_after_the_check_is_noticed(void **state)
{
    struct layer_fixture *f = *state;
    make_layer(f);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
        overwrite(at(f, "bin/tool"), "#!/bin/sX\n");
        set_date(at(f, "bin/tool"), 1000);
        assert_int_equal(check(f, LAYER_CHECK_CACHED, true), E_TAMPERED);
        overwrite(at(f, "bin/tool"), "#!/bin/sh\n");
        set_date(at(f, "bin/tool"), 1000);
    }
}

/* The cache lists only what lay still, so a young layer is read every time: seen by making a change
 * that no stamp shows. */
static void young_files_are_not_trusted(void **state)
{
    struct layer_fixture *f = *state;
    char path[200], hex[DIGEST_TEXT_MAX];
    CLEANUP(bytes_done) struct bytes cache = BYTES_INIT;
    make_layer(f);
    assert_int_equal(check(f, LAYER_CHECK_FULL, true), OK);
    (void)snprintf(path, sizeof path, "%s/cache/sha256-%s", f->dir, digest_hex(&f->diff_id, hex));
    assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &cache, NULL), OK);
    /* header of 96 bytes, then 40 bytes of zeros per entry */
    assert_int_equal((cache.len - 96) % 40, 0);
    for (size_t i = 96; i < cache.len; i++)
        assert_int_equal(cache.data[i], 0);
}

static void a_damaged_cache_is_no_cache(void **state)
{
    struct layer_fixture *f = *state;
    char path[200], hex[DIGEST_TEXT_MAX];
    make_layer(f);
    settle(f);
    (void)snprintf(path, sizeof path, "%s/cache/sha256-%s", f->dir, digest_hex(&f->diff_id, hex));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    for (off_t i = 0; i < st.st_size; i += 7) {
        CLEANUP(cleanup_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, i), 1);
        byte ^= 0xff;
        assert_int_equal(pwrite(fd, &byte, 1, i), 1);
        assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
    }
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
}

/* A full tmpfs, say: the check itself passed. Somebody else's use of it must not keep this machine
 * from starting what is good; what was changed is found as ever. */
static void a_cache_that_cannot_be_written_costs_time_only(void **state)
{
    struct layer_fixture *f = *state;
    char path[200];
    make_layer(f);
    (void)snprintf(path, sizeof path, "%s/cache", f->dir);
    CLEANUP(cleanup_fd) int in_its_place = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(in_its_place >= 0);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
    (void)snprintf(path, sizeof path, "%s/bin/tool", f->root);
    CLEANUP(cleanup_fd) int file = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, "X", 1, 0), 1);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), E_TAMPERED);
}

static void a_cache_that_others_may_write_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    char path[200], hex[DIGEST_TEXT_MAX];
    make_layer(f);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), OK);
    (void)snprintf(path, sizeof path, "%s/cache/sha256-%s", f->dir, digest_hex(&f->diff_id, hex));
    assert_int_equal(chown(path, 1000, 1000), 0);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), E_DENIED);
    assert_int_equal(chown(path, 0, 0), 0);
    (void)snprintf(path, sizeof path, "%s/cache", f->dir);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(check(f, LAYER_CHECK_CACHED, true), E_DENIED);
}

static void another_layers_record_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    char first[512], command[1200];
    make_layer(f);
    strcpy(first, f->root);
    tar_folder(&f->tar, "bin/");
    tar_file(&f->tar, "bin/tool", "other");
    assert_int_equal(unpack(f), OK);
    /* the whole of another layer, record and all, in the place of this one */
    (void)snprintf(command, sizeof command,
                   "rm -rf '%s' && cp -a '%s' '%s' && cp -a '%s/../record' '%s/../record'", f->root,
                   first, f->root, first, f->root);
    assert_int_equal(system(command), 0);
    assert_int_equal(check(f, LAYER_CHECK_FULL, false), E_TAMPERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAYER_CASE(an_unchanged_layer_passes),
        cmocka_unit_test(a_full_check_notices_every_change),
        cmocka_unit_test(a_cached_check_notices_every_change),
        LAYER_CASE(a_change_right_after_the_check_is_noticed),
        LAYER_CASE(young_files_are_not_trusted),
        LAYER_CASE(a_damaged_cache_is_no_cache),
        LAYER_CASE(a_cache_that_cannot_be_written_costs_time_only),
        LAYER_CASE(a_cache_that_others_may_write_is_refused),
        LAYER_CASE(another_layers_record_is_refused),
    };
    if (geteuid() != 0) {
        printf("1..0 # SKIP layers are unpacked by root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

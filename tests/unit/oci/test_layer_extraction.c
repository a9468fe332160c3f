/* Every way out of a layer's root that is known to have worked somewhere. */
#include "tests/unit/oci/layer_fixture.h"

#include "oci/layer_writer.h"

#include <sys/resource.h>

static void assert_refused(struct layer_fixture *f, int code)
{
    int rc = unpack(f);
    if (rc != code)
        fail_msg("gave %d (%s), not %d", rc, f->err.message, code);
}

/* --- names --- */

static void names_that_climb_are_refused(void **state)
{
    static const char *const names[] = {
        "../x", "..", "a/../../x", "a/..", "./../x", "a/b/../../../x", "../outside/victim"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tar_file(&((struct layer_fixture *)*state)->tar, names[i], "evil");
        assert_refused(*state, E_INVALID);
    }
}

static void folders_and_links_that_climb_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    tar_folder(&f->tar, "../outside/");
    assert_refused(f, E_INVALID);
    tar_symlink(&f->tar, "../outside/l", "x");
    assert_refused(f, E_INVALID);
    tar_file(&f->tar, "a", "a");
    tar_hardlink(&f->tar, "../outside/h", "a");
    assert_refused(f, E_INVALID);
}

static void absolute_names_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/victim", f->outside);
    tar_file(&f->tar, path, "evil");
    assert_refused(f, E_INVALID);
    tar_file(&f->tar, "/x", "evil");
    assert_refused(f, E_INVALID);
}

static void an_empty_name_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    tar_file(&f->tar, "", "evil");
    assert_refused(f, E_INVALID);
    tar_add_pax(&f->tar, "path", "", 0);
    tar_file(&f->tar, "", "evil");
    assert_refused(f, E_INVALID);
}

static void a_name_with_nul_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    tar_add_pax(&f->tar, "path", "good\0/../../outside/victim", 26);
    tar_file(&f->tar, "x", "evil");
    assert_refused(f, E_INVALID);
    tar_add_pax(&f->tar, "linkpath", "good\0evil", 9);
    tar_symlink(&f->tar, "x", "y");
    assert_refused(f, E_INVALID);
}

static void the_root_cannot_be_replaced(void **state)
{
    static const char *const names[] = {".", "./", "/", "./.", "././/"};
    struct layer_fixture *f = *state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tar_symlink(&f->tar, names[i], f->outside);
        tar_file(&f->tar, "victim", "evil");
        assert_refused(f, E_INVALID);
        tar_add(&f->tar, &(struct tar_member){.name = names[i], .type = '3'});
        /* a device at the root is left out before it could matter, or refused */
        assert_refused(f, E_INVALID);
    }
    tar_file(&f->tar, ".", "evil");
    assert_refused(f, E_INVALID);
    tar_file(&f->tar, "a", "a");
    tar_hardlink(&f->tar, ".", "a");
    assert_refused(f, E_INVALID);
}

static void the_root_may_be_described(void **state)
{
    struct layer_fixture *f = *state;
    struct stat st;
    tar_add(&f->tar, &(struct tar_member){
                         .name = "./", .type = '5', .mode = 0711, .uid = 7, .gid = 8, .mtime = 99});
    tar_file(&f->tar, "./a//b/./c", "x");
    assert_int_equal(unpack(f), OK);
    assert_int_equal(look(f, "", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0711);
    assert_int_equal(st.st_uid, 7);
    assert_int_equal(st.st_gid, 8);
    assert_int_equal(st.st_mtime, 99);
    assert_content(f, "a/b/c", "x");
    assert_int_equal(look(f, "a", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
}

static void overlong_and_deep_names_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    char name[5000];
    memset(name, 'a', 256);
    name[256] = '\0';
    tar_add_pax(&f->tar, "path", name, 256);
    tar_file(&f->tar, "x", "x");
    assert_refused(f, E_LIMIT);
    for (size_t i = 0; i < 4200; i++)
        name[i] = i % 200 == 199 ? '/' : 'a';
    tar_add_pax(&f->tar, "path", name, 4200);
    tar_file(&f->tar, "x", "x");
    assert_refused(f, E_LIMIT);
    for (size_t i = 0; i < 600; i++)
        name[i] = i % 2 ? '/' : 'd';
    tar_add_pax(&f->tar, "path", name, 599);
    tar_file(&f->tar, "x", "x");
    assert_refused(f, E_LIMIT);
    /* GNU's form of the same */
    name[599] = '\0';
    tar_add_long(&f->tar, 'L', name);
    tar_file(&f->tar, "x", "x");
    assert_refused(f, E_LIMIT);
}

static void depth_cannot_be_built_through_links(void **state)
{
    struct layer_fixture *f = *state;
    char path[600] = "", link[16], tmp[128];
    struct rlimit files, few;
    struct stat st;
    for (int i = 0; i < 200; i++)
        strcat(path, "d/");
    /* a: 200 deep; l0 → there; l0/d…: 400 deep */
    tar_add_pax(&f->tar, "path", path, strlen(path));
    tar_folder(&f->tar, "x");
    for (int i = 0; i < 3; i++) {
        (void)snprintf(link, sizeof link, "l%d", i);
        char target[700], inner[700];
        if (i)
            (void)snprintf(target, sizeof target, "l%d/%s", i - 1, path);
        else
            (void)snprintf(target, sizeof target, "%s", path);
        tar_add_pax(&f->tar, "linkpath", target, strlen(target));
        tar_symlink(&f->tar, link, "x");
        (void)snprintf(inner, sizeof inner, "%s/%s", link, path);
        tar_add_pax(&f->tar, "path", inner, strlen(inner));
        tar_folder(&f->tar, "x");
    }
    /* refused before what is there already is too deep to be removed again */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    few = (struct rlimit){.rlim_cur = 1024, .rlim_max = files.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_refused(f, E_LIMIT);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    (void)snprintf(tmp, sizeof tmp, "%s/home/images/tmp", f->dir);
    assert_int_equal(stat(tmp, &st), 0);
    assert_int_equal(st.st_nlink, 2);
}

static void more_than_a_million_entries_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(layer_writer_cleanup) struct layer_writer *w = NULL;
    struct descriptor layer;
    struct error err = ERROR_INIT;
    /* device nodes: nothing is made on the disk */
    for (int i = 0; i < 2048; i++)
        tar_add(&f->tar, &(struct tar_member){.name = "d", .type = '3'});
    assert_int_equal(layer_writer_new(f->store, LAYER_GZIP, &w, NULL), OK);
    for (int i = 0; i < 513; i++)
        assert_int_equal(layer_writer_write(w, f->tar.data, f->tar.len, NULL), OK);
    bytes_clear(&f->tar);
    tar_end(&f->tar);
    assert_int_equal(layer_writer_write(w, f->tar.data, f->tar.len, NULL), OK);
    assert_int_equal(layer_writer_finish(w, &layer, &f->diff_id, NULL), OK);
    assert_int_equal(store_layer_unpack(f->store, &layer, &f->diff_id, NULL, &err), E_LIMIT);
    assert_non_null(strstr(err.message, "entries"));
}

/* --- links --- */

static void writing_through_a_link_stays_inside(void **state)
{
    struct layer_fixture *f = *state;
    tar_symlink(&f->tar, "l", f->outside);
    tar_file(&f->tar, "l/victim", "evil");
    assert_refused(f, E_INVALID);
    tar_symlink(&f->tar, "l", "/");
    tar_file(&f->tar, "l/x", "inside");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "x", "inside");
    tar_symlink(&f->tar, "l", "../../../../../../../..");
    tar_file(&f->tar, "l/y", "inside");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "y", "inside");
    tar_folder(&f->tar, "usr/lib/");
    tar_symlink(&f->tar, "lib", "/usr/lib");
    tar_file(&f->tar, "lib/z", "inside");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "usr/lib/z", "inside");
}

static void replacing_the_file_behind_a_link_replaces_the_link(void **state)
{
    struct layer_fixture *f = *state;
    char path[128];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/victim", f->outside);
    tar_symlink(&f->tar, "l", path);
    tar_file(&f->tar, "l", "inside");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "l", "inside");
    /* CVE-2021-32760: mode, owner, date and attributes of a folder behind a link */
    tar_symlink(&f->tar, "l", f->outside);
    tar_add_pax(&f->tar, "SCHILY.xattr.user.evil", "1", 1);
    tar_add(&f->tar,
            &(struct tar_member){.name = "l", .type = '5', .mode = 0777, .uid = 5, .mtime = 1});
    assert_int_equal(unpack(f), OK);
    assert_int_equal(look(f, "l", &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_uid, 5);
}

static void a_link_of_an_earlier_layer_is_not_followed(void **state)
{
    struct layer_fixture *f = *state;
    tar_symlink(&f->tar, "l", f->outside);
    assert_int_equal(unpack(f), OK);
    tar_file(&f->tar, "l/victim", "evil");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "l/victim", "evil");
}

static void loops_of_links_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    tar_symlink(&f->tar, "a", "b");
    tar_symlink(&f->tar, "b", "a");
    tar_file(&f->tar, "a/x", "evil");
    assert_refused(f, E_INVALID);
    tar_symlink(&f->tar, "self", "self");
    tar_file(&f->tar, "self/x", "evil");
    assert_refused(f, E_INVALID);
    /* as such they are harmless */
    tar_symlink(&f->tar, "a", "b");
    tar_symlink(&f->tar, "b", "a");
    assert_int_equal(unpack(f), OK);
}

static void a_chain_of_links_stays_inside(void **state)
{
    struct layer_fixture *f = *state;
    tar_folder(&f->tar, "d/");
    tar_symlink(&f->tar, "d/up", "..");
    tar_symlink(&f->tar, "e", "d/up/..");
    tar_symlink(&f->tar, "g", "e/../..");
    tar_file(&f->tar, "g/x", "inside");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "x", "inside");
}

static void hard_links_to_the_outside_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/victim", f->outside);
    tar_hardlink(&f->tar, "h", path);
    tar_file(&f->tar, "h", "evil");
    assert_refused(f, E_INVALID);
    tar_hardlink(&f->tar, "h", "../../../../../outside/victim");
    assert_refused(f, E_INVALID);
    tar_symlink(&f->tar, "l", f->outside);
    tar_hardlink(&f->tar, "h", "l/victim");
    assert_refused(f, E_INVALID);
    tar_hardlink(&f->tar, "h", "not-there");
    assert_refused(f, E_INVALID);
    tar_hardlink(&f->tar, "h", "");
    assert_refused(f, E_INVALID);
}

static void a_hard_link_to_a_link_is_a_second_name_of_it(void **state)
{
    struct layer_fixture *f = *state;
    struct stat st;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/victim", f->outside);
    tar_symlink(&f->tar, "l", path);
    tar_hardlink(&f->tar, "h", "l");
    tar_file(&f->tar, "h", "inside");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "h", "inside");
    assert_int_equal(look(f, "l", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void hard_links_inside_work_and_are_not_written_through(void **state)
{
    struct layer_fixture *f = *state;
    struct stat a, b;
    tar_file(&f->tar, "a", "one");
    tar_hardlink(&f->tar, "b", "./a");
    tar_hardlink(&f->tar, "c", "a");
    tar_hardlink(&f->tar, "a", "a");
    tar_file(&f->tar, "c", "two");
    assert_int_equal(unpack(f), OK);
    assert_int_equal(look(f, "a", &a), 0);
    assert_int_equal(look(f, "b", &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_content(f, "a", "one");
    assert_content(f, "c", "two");
    /* a link to the target is not the target */
    tar_file(&f->tar, "a", "one");
    tar_symlink(&f->tar, "s", "a");
    tar_hardlink(&f->tar, "s", "a");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "s", "one");
    /* not to folders, whiteouts, fifos */
    tar_folder(&f->tar, "d/");
    tar_hardlink(&f->tar, "h", "d");
    assert_refused(f, E_INVALID);
    tar_file(&f->tar, ".wh.w", "");
    tar_hardlink(&f->tar, "h", "w");
    assert_refused(f, E_INVALID);
    tar_add(&f->tar, &(struct tar_member){.name = "p", .type = '6'});
    tar_hardlink(&f->tar, "h", "p");
    assert_refused(f, E_INVALID);
    /* the link removes its own target */
    tar_file(&f->tar, "d/t", "x");
    tar_hardlink(&f->tar, "d", "d/t");
    assert_refused(f, E_INVALID);
}

static void symbolic_links_need_a_target(void **state)
{
    struct layer_fixture *f = *state;
    tar_symlink(&f->tar, "l", "");
    assert_refused(f, E_INVALID);
}

/* --- whiteouts --- */

static void whiteouts_of_nothing_are_refused(void **state)
{
    static const char *const names[] = {".wh.",     ".wh..",        ".wh...",        "a/.wh..",
                                        "a/.wh...", ".wh.a/b",      ".wh.a/.wh.b",   "a/.wh.b/c",
                                        ".wh../x",  ".wh..wh..opq", ".wh..wh..opq/x"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tar_file(&((struct layer_fixture *)*state)->tar, names[i], "");
        assert_refused(*state, E_INVALID);
    }
}

static void a_whiteout_is_an_empty_file_and_nothing_else(void **state)
{
    struct layer_fixture *f = *state;
    tar_folder(&f->tar, ".wh.a/");
    assert_refused(f, E_INVALID);
    tar_symlink(&f->tar, ".wh.a", f->outside);
    assert_refused(f, E_INVALID);
    tar_file(&f->tar, "x", "x");
    tar_hardlink(&f->tar, ".wh.a", "x");
    assert_refused(f, E_INVALID);
    tar_file(&f->tar, ".wh.a", "content");
    assert_refused(f, E_INVALID);
    tar_folder(&f->tar, "d/.wh..wh..opq/");
    assert_refused(f, E_INVALID);
}

static void whiteouts_become_overlay_ones(void **state)
{
    struct layer_fixture *f = *state;
    tar_folder(&f->tar, "d/");
    tar_file(&f->tar, "d/.wh.gone", "");
    tar_file(&f->tar, "e/.wh..wh..opq", "");
    tar_file(&f->tar, ".wh.top", "");
    tar_file(&f->tar, "d/.wh..wh.plnk", "");
    assert_int_equal(unpack(f), OK);
    assert_whiteout(f, "d/gone");
    assert_whiteout(f, "top");
    assert_true(is_opaque(f, "e"));
    assert_false(is_opaque(f, "d"));
    assert_absent(f, "d/.wh.gone");
    assert_absent(f, "e/.wh..wh..opq");
    assert_absent(f, "e/.opq");
    assert_absent(f, "d/.wh..wh.plnk");
}

static void whiteouts_do_not_hide_their_own_layer(void **state)
{
    struct layer_fixture *f = *state;
    tar_file(&f->tar, "d/before", "1");
    tar_file(&f->tar, "d/.wh..wh..opq", "");
    tar_file(&f->tar, "d/after", "2");
    tar_file(&f->tar, "x", "mine");
    tar_file(&f->tar, ".wh.x", "");
    tar_file(&f->tar, ".wh.y", "");
    tar_file(&f->tar, "y", "mine");
    tar_folder(&f->tar, "g/");
    tar_file(&f->tar, "g/mine", "3");
    tar_file(&f->tar, ".wh.g", "");
    tar_file(&f->tar, ".wh.h", "");
    tar_folder(&f->tar, "h/");
    tar_file(&f->tar, ".wh.i", "");
    tar_file(&f->tar, "i/on/the/way", "4");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "d/before", "1");
    assert_content(f, "d/after", "2");
    assert_true(is_opaque(f, "d"));
    assert_content(f, "x", "mine");
    assert_content(f, "y", "mine");
    assert_content(f, "g/mine", "3");
    /* what lower layers have in these folders must not shine through */
    assert_true(is_opaque(f, "g"));
    assert_true(is_opaque(f, "h"));
    assert_true(is_opaque(f, "i"));
    assert_content(f, "i/on/the/way", "4");
}

static void a_whiteout_through_a_link_stays_inside(void **state)
{
    struct layer_fixture *f = *state;
    tar_symlink(&f->tar, "l", f->outside);
    tar_file(&f->tar, "l/.wh.victim", "");
    assert_refused(f, E_INVALID);
    tar_symlink(&f->tar, "l", f->outside);
    tar_file(&f->tar, "l/.wh..wh..opq", "");
    assert_refused(f, E_INVALID);
    tar_symlink(&f->tar, "l", "/");
    tar_file(&f->tar, "l/.wh.victim", "");
    assert_int_equal(unpack(f), OK);
    assert_whiteout(f, "victim");
}

/* --- types and attributes --- */

static void device_nodes_are_left_out(void **state)
{
    struct layer_fixture *f = *state;
    struct stat st;
    tar_add(&f->tar, &(struct tar_member){.name = "dev/null", .type = '3'});
    tar_add(&f->tar, &(struct tar_member){.name = "dev/sda", .type = '4'});
    tar_add(&f->tar, &(struct tar_member){.name = "pipe", .type = '6', .mode = 0640, .uid = 3});
    tar_add(&f->tar, &(struct tar_member){.name = "su", .type = '0', .mode = 04755, .data = "x"});
    tar_add(&f->tar,
            &(struct tar_member){
                .name = "sg", .type = '0', .mode = 06711, .uid = 9, .gid = 9, .data = "x"});
    tar_add(&f->tar, &(struct tar_member){.name = "t/", .type = '5', .mode = 01777});
    assert_int_equal(unpack(f), OK);
    assert_absent(f, "dev/null");
    assert_absent(f, "dev/sda");
    assert_int_equal(look(f, "pipe", &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_uid, 3);
    /* kept: every mount of a layer is nosuid */
    assert_int_equal(look(f, "su", &st), 0);
    assert_int_equal(st.st_mode & 07777, 04755);
    assert_int_equal(look(f, "sg", &st), 0);
    assert_int_equal(st.st_mode & 07777, 06711);
    assert_int_equal(look(f, "t", &st), 0);
    assert_int_equal(st.st_mode & 07777, 01777);
}

static void only_harmless_attributes_are_kept(void **state)
{
    static const char capability[20] = {1, 0, 0, 2, (char)0xff, (char)0xff, (char)0xff, (char)0xff};
    struct layer_fixture *f = *state;
    char path[600], list[512];
    tar_add_pax(&f->tar, "SCHILY.xattr.user.kept", "yes", 3);
    tar_file(&f->tar, "a", "a");
    tar_add_pax(&f->tar, "SCHILY.xattr.security.capability", capability, sizeof capability);
    tar_file(&f->tar, "b", "b");
    tar_add_pax(&f->tar, "SCHILY.xattr.trusted.overlay.redirect", "/etc", 4);
    tar_folder(&f->tar, "c/");
    tar_add_pax(&f->tar, "SCHILY.xattr.trusted.overlay.opaque", "y", 1);
    tar_folder(&f->tar, "d/");
    tar_add_pax(&f->tar, "SCHILY.xattr.user.overlay.opaque", "y", 1);
    tar_folder(&f->tar, "e/");
    assert_int_equal(unpack(f), OK);
    (void)snprintf(path, sizeof path, "%s/a", f->root);
    assert_int_equal(lgetxattr(path, "user.kept", list, sizeof list), 3);
    for (const char *name = "bcde"; *name; name++) {
        (void)snprintf(path, sizeof path, "%s/%c", f->root, *name);
        assert_int_equal(llistxattr(path, list, sizeof list), 0);
    }
}

static void huge_attributes_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(cleanup_free) char *value = malloc(900000);
    memset(value, 'v', 900000);
    tar_add_pax(&f->tar, "SCHILY.xattr.user.big", value, 900000);
    tar_file(&f->tar, "a", "a");
    assert_refused(f, E_LIMIT);
    tar_add_pax(&f->tar, "SCHILY.xattr.user.huge", value, 70000);
    tar_folder(&f->tar, "a/");
    assert_refused(f, E_LIMIT);
}

static void impossible_owners_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    tar_add_pax(&f->tar, "uid", "4294967295", 10);
    tar_file(&f->tar, "a", "a");
    assert_refused(f, E_INVALID);
    tar_add_pax(&f->tar, "gid", "4294967296", 10);
    tar_file(&f->tar, "a", "a");
    assert_refused(f, E_INVALID);
    tar_add_pax(&f->tar, "uid", "-1", 2);
    tar_file(&f->tar, "a", "a");
    int rc = unpack(f);
    assert_true(rc == E_INVALID);
}

/* --- one path, several entries --- */

static void the_last_entry_of_a_path_wins(void **state)
{
    struct layer_fixture *f = *state;
    struct stat st;
    tar_folder(&f->tar, "p/");
    tar_file(&f->tar, "p/old", "1");
    tar_file(&f->tar, "p", "file");
    tar_folder(&f->tar, "p/");
    tar_file(&f->tar, "p/new", "2");
    tar_add(&f->tar, &(struct tar_member){.name = "p", .type = '5', .mode = 0700});
    assert_int_equal(unpack(f), OK);
    assert_absent(f, "p/old");
    assert_content(f, "p/new", "2");
    assert_int_equal(look(f, "p", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    tar_file(&f->tar, "q", "file");
    tar_file(&f->tar, "q/below", "evil");
    assert_refused(f, E_INVALID);
}

static void names_are_bytes(void **state)
{
    struct layer_fixture *f = *state;
    tar_file(&f->tar, "Readme", "1");
    tar_file(&f->tar, "README", "2");
    /* one letter, composed and decomposed, in plain headers and in pax headers */
    tar_file(&f->tar, "\xC3\xA9", "3");
    tar_file(&f->tar, "e\xCC\x81", "4");
    tar_add_pax(&f->tar, "path", "pax-\xC3\xA9", 6);
    tar_file(&f->tar, "x", "5");
    tar_add_pax(&f->tar, "path", "pax-e\xCC\x81", 7);
    tar_file(&f->tar, "x", "6");
    tar_add_pax(&f->tar, "linkpath", "e\xCC\x81", 3);
    tar_symlink(&f->tar, "link", "x");
    tar_file(&f->tar, "not-utf8-\xFF\xFE", "7");
    tar_file(&f->tar, "._x", "8");
    assert_int_equal(unpack(f), OK);
    assert_content(f, "Readme", "1");
    assert_content(f, "README", "2");
    assert_content(f, "\xC3\xA9", "3");
    assert_content(f, "e\xCC\x81", "4");
    assert_content(f, "pax-\xC3\xA9", "5");
    assert_content(f, "pax-e\xCC\x81", "6");
    assert_content(f, "not-utf8-\xFF\xFE", "7");
    char link[600], target[16];
    (void)snprintf(link, sizeof link, "%s/link", f->root);
    assert_int_equal(readlink(link, target, sizeof target), 3);
    assert_memory_equal(target, "e\xCC\x81", 3);
    assert_content(f, "._x", "8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAYER_CASE(names_that_climb_are_refused),
        LAYER_CASE(folders_and_links_that_climb_are_refused),
        LAYER_CASE(absolute_names_are_refused),
        LAYER_CASE(an_empty_name_is_refused),
        LAYER_CASE(a_name_with_nul_is_refused),
        LAYER_CASE(the_root_cannot_be_replaced),
        LAYER_CASE(the_root_may_be_described),
        LAYER_CASE(overlong_and_deep_names_are_refused),
        LAYER_CASE(depth_cannot_be_built_through_links),
        LAYER_CASE(more_than_a_million_entries_are_refused),
        LAYER_CASE(writing_through_a_link_stays_inside),
        LAYER_CASE(replacing_the_file_behind_a_link_replaces_the_link),
        LAYER_CASE(a_link_of_an_earlier_layer_is_not_followed),
        LAYER_CASE(loops_of_links_are_refused),
        LAYER_CASE(a_chain_of_links_stays_inside),
        LAYER_CASE(hard_links_to_the_outside_are_refused),
        LAYER_CASE(a_hard_link_to_a_link_is_a_second_name_of_it),
        LAYER_CASE(hard_links_inside_work_and_are_not_written_through),
        LAYER_CASE(symbolic_links_need_a_target),
        LAYER_CASE(whiteouts_of_nothing_are_refused),
        LAYER_CASE(a_whiteout_is_an_empty_file_and_nothing_else),
        LAYER_CASE(whiteouts_become_overlay_ones),
        LAYER_CASE(whiteouts_do_not_hide_their_own_layer),
        LAYER_CASE(a_whiteout_through_a_link_stays_inside),
        LAYER_CASE(device_nodes_are_left_out),
        LAYER_CASE(only_harmless_attributes_are_kept),
        LAYER_CASE(huge_attributes_are_refused),
        LAYER_CASE(impossible_owners_are_refused),
        LAYER_CASE(the_last_entry_of_a_path_wins),
        LAYER_CASE(names_are_bytes),
    };
    if (geteuid() != 0) {
        printf("1..0 # SKIP layers are unpacked by root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

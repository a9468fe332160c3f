/* Every way out of a layer's root that is known to have worked somewhere. */
#include "tests/unit/oci/layer_fixture.h"

#include "oci/layer_writer.h"

#include <signal.h>
#include <sys/wait.h>

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
    char path[600] = "", link[16];
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
    assert_refused(f, E_LIMIT);
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

/* --- the archive itself --- */

static void confused_types_are_what_their_type_says(void **state)
{
    struct layer_fixture *f = *state;
    struct stat st;
    tar_add(&f->tar, &(struct tar_member){.name = "a", .type = '0', .data = "x", .link = "/etc"});
    tar_add(&f->tar, &(struct tar_member){.name = "old/", .type = 0});
    assert_int_equal(unpack(f), OK);
    assert_content(f, "a", "x");
    assert_int_equal(look(f, "old", &st), 0);
    assert_true(S_ISDIR(st.st_mode));
}

static void content_behind_a_link_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    char hidden[512] = {0};
    struct bytes inner = BYTES_INIT;
    /* readers that skip it and readers that do not see different entries */
    tar_file(&inner, "hidden", "evil");
    memcpy(hidden, inner.data, sizeof hidden);
    tar_file(&f->tar, "a", "x");
    tar_add_pax(&f->tar, "size", "512", 3);
    tar_add(&f->tar, &(struct tar_member){
                         .name = "h", .type = '1', .link = "a", .data = hidden, .size = 512});
    int rc = unpack(f);
    bytes_done(&inner);
    assert_int_equal(rc, E_INVALID);
}

static void two_names_of_one_entry_are_refused(void **state)
{
    struct layer_fixture *f = *state;
    tar_add_pax(&f->tar, "path", "one", 3);
    tar_add_pax(&f->tar, "path", "two", 3);
    tar_file(&f->tar, "three", "x");
    assert_refused(f, E_INVALID);
    tar_add_long(&f->tar, 'L', "one");
    tar_add_pax(&f->tar, "path", "two", 3);
    tar_file(&f->tar, "three", "x");
    assert_refused(f, E_INVALID);
    tar_add_pax(&f->tar, "path", "one", 3);
    tar_add_long(&f->tar, 'L', "two");
    tar_file(&f->tar, "three", "x");
    assert_refused(f, E_INVALID);
    /* a long name with something behind its end */
    tar_add(&f->tar, &(struct tar_member){
                         .name = "././@LongLink", .type = 'L', .data = "one\0two", .size = 8});
    tar_file(&f->tar, "three", "x");
    assert_refused(f, E_INVALID);
    tar_add_long(&f->tar, 'L', "long");
    tar_add_long(&f->tar, 'K', "target");
    tar_symlink(&f->tar, "x", "y");
    assert_int_equal(unpack(f), OK);
    struct stat st;
    assert_int_equal(look(f, "long", &st), 0);
    assert_int_equal(st.st_size, 6);
}

static void a_size_that_lies_is_refused(void **state)
{
    static const char huge[12] = {(char)0x80, 0,          0,          0,
                                  0x7f,       (char)0xff, (char)0xff, (char)0xff,
                                  (char)0xff, (char)0xff, (char)0xff, (char)0xff};
    static const char negative[12] = {(char)0xff, (char)0xff, (char)0xff, (char)0xff,
                                      (char)0xff, (char)0xff, (char)0xff, (char)0xff,
                                      (char)0xff, (char)0xff, (char)0xff, (char)0xf0};
    struct layer_fixture *f = *state;
    tar_add(&f->tar, &(struct tar_member){.name = "a", .type = '0', .raw_size = huge});
    int rc = unpack(f);
    assert_true(rc == E_LIMIT || rc == E_INVALID);
    tar_add(&f->tar, &(struct tar_member){.name = "a", .type = '0', .raw_size = negative});
    assert_refused(f, E_INVALID);
    tar_add(&f->tar, &(struct tar_member){.name = "a", .type = '0', .raw_size = "77777777777"});
    assert_refused(f, E_INVALID);
    tar_add_pax(&f->tar, "size", "9223372036854775807", 19);
    tar_file(&f->tar, "a", "x");
    rc = unpack(f);
    assert_true(rc == E_LIMIT || rc == E_INVALID);
    /* pax says more than there is: the rest of the archive would become content */
    tar_add_pax(&f->tar, "size", "9999", 4);
    tar_file(&f->tar, "a", "x");
    assert_refused(f, E_INVALID);
}

static void sparse_files_are_bounded(void **state)
{
    struct layer_fixture *f = *state;
    /* GNU pax 0.1: 8 EiB of hole and one byte */
    tar_add_pax(&f->tar, "GNU.sparse.size", "9223372036854775807", 19);
    tar_add_pax(&f->tar, "GNU.sparse.map", "9223372036854775000,1", 21);
    tar_file(&f->tar, "a", "x");
    int rc = unpack(f);
    assert_true(rc == E_LIMIT || rc == E_INVALID);
    static const char pax[] = "22 GNU.sparse.major=0\n22 GNU.sparse.minor=1\n"
                              "33 GNU.sparse.size=8000000000000\n"
                              "36 GNU.sparse.map=7999999999999,1\n\n";
    tar_add(&f->tar, &(struct tar_member){.name = "p", .type = 'x', .data = pax});
    tar_file(&f->tar, "a", "x");
    rc = unpack(f);
    assert_true(rc == E_LIMIT || rc == E_INVALID);
}

static void data_behind_the_end_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    static const char zeros[65536];
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    tar_file(&f->tar, "hidden", "evil");
    assert_refused(f, E_INVALID);
    /* also far behind, in another block of the stream */
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    for (int i = 0; i < 40; i++)
        assert_int_equal(bytes_append(&f->tar, zeros, sizeof zeros, NULL), OK);
    tar_file(&f->tar, "hidden", "evil");
    assert_refused(f, E_INVALID);
    /* padding is fine, and so is a missing end mark */
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    for (int i = 0; i < 40; i++)
        assert_int_equal(bytes_append(&f->tar, zeros, sizeof zeros, NULL), OK);
    assert_int_equal(unpack(f), OK);
    tar_file(&f->tar, "b", "x");
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), OK);
    assert_content(f, "b", "x");
}

static void every_cut_is_refused_or_ends_between_entries(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(bytes_done) struct bytes whole = BYTES_INIT;
    tar_file(&whole, "a", "some content");
    tar_folder(&whole, "d/");
    tar_add_pax(&whole, "path", "longer", 6);
    tar_file(&whole, "x", "more content");
    /* 0 a 512 data 1024 d 1536 pax 2048 data 2560 x 3072 data 3584 */
    for (size_t len = 1; len < whole.len; len += 51) {
        bytes_clear(&f->tar);
        assert_int_equal(bytes_append(&f->tar, whole.data, len, NULL), OK);
        int rc = unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len);
        if (len % 512)
            assert_int_equal(rc, E_INVALID);
    }
    /* a pax header that belongs to nothing */
    bytes_clear(&f->tar);
    assert_int_equal(bytes_append(&f->tar, whole.data, 2560, NULL), OK);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), E_INVALID);
}

static void what_is_no_archive_is_refused(void **state)
{
    struct layer_fixture *f = *state;
    tar_need(bytes_append_text(&f->tar, "#!/bin/sh\necho hello\n", NULL));
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), E_INVALID);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER_GZIP, f->tar.data, f->tar.len), E_INVALID);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER_ZSTD, f->tar.data, f->tar.len), E_INVALID);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_CONFIG, f->tar.data, f->tar.len), E_UNSUPPORTED);
}

/* --- digests, interruption --- */

static void a_wrong_diff_id_leaves_nothing(void **state)
{
    struct layer_fixture *f = *state;
    struct descriptor layer = {.media_type = MEDIA_OCI_LAYER};
    struct digest wrong;
    struct error err = ERROR_INIT;
    char tmp[128];
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    layer.size = (int64_t)f->tar.len;
    assert_int_equal(store_blob_put(f->store, f->tar.data, f->tar.len, &layer.digest, NULL), OK);
    assert_int_equal(digest_of(DIGEST_SHA256, "other", 5, &wrong, NULL), OK);
    assert_int_equal(store_layer_unpack(f->store, &layer, &wrong, NULL, &err), E_DIGEST);
    int fd = -1;
    assert_int_equal(store_layer_open(f->store, &wrong, LAYER_CHECK_FULL, NULL, &fd, &err),
                     E_NOTFOUND);
    (void)snprintf(tmp, sizeof tmp, "%s/home/images/tmp", f->dir);
    assert_int_equal(rmdir(tmp), 0);
}

static void a_changed_blob_is_named_as_such(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(layer_writer_cleanup) struct layer_writer *w = NULL;
    struct descriptor layer;
    struct error err = ERROR_INIT;
    char path[300], hex[DIGEST_TEXT_MAX];
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    assert_int_equal(layer_writer_new(f->store, LAYER_GZIP, &w, NULL), OK);
    assert_int_equal(layer_writer_write(w, f->tar.data, f->tar.len, NULL), OK);
    assert_int_equal(layer_writer_finish(w, &layer, &f->diff_id, NULL), OK);
    (void)snprintf(path, sizeof path, "%s/home/images/blobs/sha256/%s", f->dir,
                   digest_hex(&layer.digest, hex));
    CLEANUP(cleanup_fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    for (off_t at = 0; at < layer.size; at++) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(store_layer_unpack(f->store, &layer, &f->diff_id, NULL, &err), E_TAMPERED);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_int_equal(ftruncate(fd, layer.size - 1), 0);
    assert_int_equal(store_layer_unpack(f->store, &layer, &f->diff_id, NULL, &err), E_TAMPERED);
}

static void a_killed_unpacking_leaves_nothing_visible(void **state)
{
    struct layer_fixture *f = *state;
    CLEANUP(store_cleanup) struct store *again = NULL;
    CLEANUP(cleanup_free) char *big = calloc(1, 4 << 20);
    struct stat st;
    char name[32], path[128];
    for (int i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof name, "file%d", i);
        tar_add(&f->tar,
                &(struct tar_member){.name = name, .type = '0', .data = big, .size = 4 << 20});
    }
    tar_end(&f->tar);
    pid_t child = fork();
    if (child == 0) {
        (void)unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len);
        _exit(0);
    }
    usleep(20000);
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)snprintf(path, sizeof path, "%s/home", f->dir);
    assert_int_equal(store_open(path, &again, NULL), OK);
    (void)snprintf(path, sizeof path, "%s/home/images/tmp", f->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_nlink, 2);
    /* another try completes it, or finds it complete */
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), OK);
    assert_int_equal(look(f, "file7", &st), 0);
    assert_int_equal(st.st_size, 4 << 20);
}

static void two_processes_unpack_one_layer(void **state)
{
    struct layer_fixture *f = *state;
    int status;
    tar_file(&f->tar, "a", "x");
    tar_end(&f->tar);
    pid_t child = fork();
    if (child == 0)
        _exit(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len) != OK);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), OK);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(unpack_bytes(f, MEDIA_OCI_LAYER, f->tar.data, f->tar.len), OK);
}

static void only_root_unpacks(void **state)
{
    struct layer_fixture *f = *state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct descriptor layer = {.media_type = MEDIA_OCI_LAYER};
        struct digest id = {.alg = DIGEST_SHA256};
        if (setuid(65534))
            _exit(1);
        _exit(store_layer_unpack(f->store, &layer, &id, NULL, NULL) != E_UNSUPPORTED);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
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
        LAYER_CASE(confused_types_are_what_their_type_says),
        LAYER_CASE(content_behind_a_link_is_refused),
        LAYER_CASE(two_names_of_one_entry_are_refused),
        LAYER_CASE(a_size_that_lies_is_refused),
        LAYER_CASE(sparse_files_are_bounded),
        LAYER_CASE(data_behind_the_end_is_refused),
        LAYER_CASE(every_cut_is_refused_or_ends_between_entries),
        LAYER_CASE(what_is_no_archive_is_refused),
        LAYER_CASE(a_wrong_diff_id_leaves_nothing),
        LAYER_CASE(a_changed_blob_is_named_as_such),
        LAYER_CASE(a_killed_unpacking_leaves_nothing_visible),
        LAYER_CASE(two_processes_unpack_one_layer),
        LAYER_CASE(only_root_unpacks),
    };
    if (geteuid() != 0) {
        printf("1..0 # SKIP layers are unpacked by root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

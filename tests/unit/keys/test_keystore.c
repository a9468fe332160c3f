/* The folder of encrypted key files. */
#include "base/file.h"
#include "keys/signing_key.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct words {
    struct secret_source source;
    const char *word;
    int asked, confirmed;
    char prompt[128];
};

static int give(struct secret_source *self, const char *prompt, bool confirm, struct secret *out,
                struct error *err)
{
    struct words *words = (struct words *)self;
    words->asked++;
    words->confirmed += confirm;
    (void)snprintf(words->prompt, sizeof words->prompt, "%s", prompt);
    return secret_copy(words->word, strlen(words->word), out, err);
}

static struct words words_of(const char *word)
{
    return (struct words){.source = {.ask = give}, .word = word};
}

static struct keystore *store_in(const struct scratch *s)
{
    struct keystore *ks = NULL;
    assert_int_equal(keystore_open(scratch_name(s, "home/keys"), &ks, NULL), OK);
    return ks;
}

static struct key_entry make(struct keystore *ks, const char *name, enum key_type type)
{
    struct words good = words_of("good");
    struct key_entry entry;
    assert_int_equal(keystore_generate(ks, name, type, &good.source, &entry, NULL), OK);
    assert_int_equal(good.asked, 1);
    assert_int_equal(good.confirmed, 1);
    return entry;
}

static mode_t mode_of(const struct scratch *s, const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode & 07777;
}

static void makes_and_loads(void **state)
{
    const struct scratch *s = *state;
    CLEANUP(keystore_cleanup) struct keystore *ks = store_in(s);
    static const enum key_type types[] = {KEY_ED25519, KEY_ECDSA_P256};
    static const char *const names[] = {"alice", "Bob_2.key-x"};
    for (size_t i = 0; i < 2; i++) {
        struct key_entry entry = make(ks, names[i], types[i]);
        assert_string_equal(entry.name, names[i]);
        assert_int_equal(entry.type, types[i]);
        struct words good = words_of("good");
        CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
        CLEANUP(public_key_cleanup) struct public_key *public_half = NULL;
        struct key_id id;
        assert_int_equal(signing_key_open(ks, names[i], &good.source, NULL, &key, NULL), OK);
        assert_int_equal(good.confirmed, 0);
        assert_int_equal(public_key_id(signing_key_public(key), &id, NULL), OK);
        assert_string_equal(id.text, entry.id.text);
        assert_int_equal(public_key_open(ks, names[i], &public_half, NULL), OK);
        assert_true(public_key_equal(public_half, signing_key_public(key)));
    }
    assert_int_equal(mode_of(s, "home/keys"), 0700);
    assert_int_equal(mode_of(s, "home/keys/alice.key"), 0600);
}

static void wrong_passphrase_leaves_the_file(void **state)
{
    const struct scratch *s = *state;
    CLEANUP(keystore_cleanup) struct keystore *ks = store_in(s);
    CLEANUP(bytes_done) struct bytes before = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes after = BYTES_INIT;
    (void)make(ks, "alice", KEY_ED25519);
    assert_int_equal(file_read(s->fd, "home/keys/alice.key", 4096, &before, NULL), OK);
    struct words bad = words_of("bad");
    struct signing_key *key = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(keystore_load(ks, "alice", &bad.source, &key, &err), E_PASSPHRASE);
    assert_string_equal(err.message, "wrong passphrase for key 'alice'");
    assert_string_equal(bad.prompt, "passphrase for key 'alice'");
    assert_int_equal(bad.asked, 1);
    assert_null(key);
    assert_int_equal(error_exit_status(err.code), EXIT_COULD_NOT);
    assert_int_equal(file_read(s->fd, "home/keys/alice.key", 4096, &after, NULL), OK);
    assert_true(bytes_equal(before.data, before.len, after.data, after.len));
}

static void never_overwrites(void **state)
{
    const struct scratch *s = *state;
    CLEANUP(keystore_cleanup) struct keystore *ks = store_in(s);
    CLEANUP(bytes_done) struct bytes after = BYTES_INIT;
    scratch_write_text(s, "home/keys/alice.key", "precious");
    struct words good = words_of("good");
    struct key_entry entry;
    assert_int_equal(keystore_generate(ks, "alice", KEY_ED25519, &good.source, &entry, NULL),
                     E_EXISTS);
    /* Nobody is asked for a passphrase in vain. */
    assert_int_equal(good.asked, 0);
    assert_int_equal(file_read(s->fd, "home/keys/alice.key", 100, &after, NULL), OK);
    assert_string_equal(bytes_text(&after), "precious");
    assert_int_equal(symlinkat("/nonexistent", s->fd, "home/keys/link.key"), 0);
    assert_int_equal(keystore_generate(ks, "link", KEY_ED25519, &good.source, &entry, NULL),
                     E_EXISTS);
}

/* The name is taken while the person types. */
static int give_and_race(struct secret_source *self, const char *prompt, bool confirm,
                         struct secret *out, struct error *err)
{
    assert_int_equal(symlink("/nonexistent", ((struct words *)self)->word), 0);
    ((struct words *)self)->word = "good";
    return give(self, prompt, confirm, out, err);
}

static void loses_a_race_cleanly(void **state)
{
    const struct scratch *s = *state;
    CLEANUP(keystore_cleanup) struct keystore *ks = store_in(s);
    struct words late = words_of(scratch_name(s, "home/keys/alice.key"));
    late.source.ask = give_and_race;
    struct key_entry entry;
    assert_int_equal(keystore_generate(ks, "alice", KEY_ED25519, &late.source, &entry, NULL),
                     E_EXISTS);
    CLEANUP(cleanup_dir) DIR *dir = opendir(scratch_name(s, "home/keys"));
    int files = 0;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        files += e->d_type != DT_DIR;
    assert_int_equal(files, 1);
}

static void refuses_bad_names(void **state)
{
    CLEANUP(keystore_cleanup) struct keystore *ks = store_in(*state);
    char long_name[66];
    memset(long_name, 'a', 65);
    long_name[65] = '\0';
    const char *const bad[] = {"",    ".",   "..",  "../x",     "a/b",  ".a",     "-a", "_a",
                               "a b", "a\n", "a:b", "\xc3\xa4", "a\\b", "/etc/x", "~",  long_name};
    struct words good = words_of("good");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct key_entry entry;
        struct signing_key *key = NULL;
        struct public_key *public_half = NULL;
        assert_int_equal(keystore_generate(ks, bad[i], KEY_ED25519, &good.source, &entry, NULL),
                         E_USAGE);
        assert_int_equal(keystore_load(ks, bad[i], &good.source, &key, NULL), E_USAGE);
        assert_int_equal(keystore_public(ks, bad[i], &public_half, NULL), E_USAGE);
        assert_int_equal(keystore_remove(ks, bad[i], NULL), E_USAGE);
    }
    assert_int_equal(good.asked, 0);
    long_name[64] = '\0';
    (void)make(ks, long_name, KEY_ED25519);
    assert_int_equal(keystore_remove(ks, long_name, NULL), OK);
}

static void lists_sorted_and_past_bad_files(void **state)
{
    const struct scratch *s = *state;
    CLEANUP(keystore_cleanup) struct keystore *ks = store_in(s);
    CLEANUP(cleanup_free) struct key_entry *none = NULL;
    CLEANUP(cleanup_free) struct key_entry *keys = NULL;
    CLEANUP(bytes_done) struct bytes problems = BYTES_INIT;
    size_t n = 9;
    assert_int_equal(keystore_list(ks, &none, &n, NULL), OK);
    assert_int_equal(n, 0);
    struct key_entry zoe = make(ks, "zoe", KEY_ED25519);
    (void)make(ks, "alice", KEY_ECDSA_P256);
    scratch_write_text(s, "home/keys/broken.key", "BULLAKEY and so on");
    scratch_write_text(s, "home/keys/no good.key", "x");
    scratch_write_text(s, "home/keys/notes.txt", "x");
    scratch_write_text(s, "home/keys/.tmp-0", "x");
    assert_int_equal(mkdirat(s->fd, "home/keys/folder.key", 0700), 0);
    assert_int_equal(symlinkat("zoe.key", s->fd, "home/keys/link.key"), 0);
    assert_int_equal(mkfifoat(s->fd, "home/keys/fifo.key", 0600), 0);
    assert_int_equal(keystore_list(ks, &keys, &n, NULL), OK);
    assert_int_equal(n, 2);
    assert_string_equal(keys[0].name, "alice");
    assert_string_equal(keys[1].name, "zoe");
    assert_int_equal(keys[0].type, KEY_ECDSA_P256);
    assert_string_equal(keys[1].id.text, zoe.id.text);
    assert_int_equal(keystore_problems(ks, &problems, NULL), OK);
    const char *const expected[] = {
        "broken.key: ", "no good.key: ", "folder.key: ", "link.key: ", "fifo.key: "};
    size_t lines = 0;
    for (size_t i = 0; i < problems.len; i++)
        lines += problems.data[i] == '\n';
    assert_int_equal(lines, 5);
    for (size_t i = 0; i < 5; i++)
        assert_non_null(strstr(bytes_text(&problems), expected[i]));
}

static void damaged_files_ask_for_nothing(void **state)
{
    const struct scratch *s = *state;
    CLEANUP(keystore_cleanup) struct keystore *ks = store_in(s);
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    (void)make(ks, "alice", KEY_ED25519);
    assert_int_equal(file_read(s->fd, "home/keys/alice.key", 4096, &file, NULL), OK);
    struct words good = words_of("good");
    struct signing_key *key = NULL;
    struct error err = ERROR_INIT;
    file.data[70] ^= 1;
    scratch_write(s, "home/keys/alice.key", file.data, file.len);
    assert_int_equal(keystore_load(ks, "alice", &good.source, &key, &err), E_TAMPERED);
    assert_string_equal(err.message, "key 'alice': key file is damaged");
    scratch_write(s, "home/keys/alice.key", file.data, 0);
    assert_int_equal(keystore_load(ks, "alice", &good.source, &key, &err), E_INVALID);
    CLEANUP(cleanup_free) char *large = calloc(1, 1u << 20);
    memcpy(large, "BULLAKEY", 8);
    scratch_write(s, "home/keys/alice.key", large, 1u << 20);
    assert_int_equal(keystore_load(ks, "alice", &good.source, &key, &err), E_TAMPERED);
    assert_int_equal(keystore_load(ks, "bob", &good.source, &key, &err), E_NOTFOUND);
    assert_non_null(strstr(err.message, "no key 'bob' in"));
    assert_int_equal(symlinkat("alice.key", s->fd, "home/keys/link.key"), 0);
    assert_int_equal(keystore_load(ks, "link", &good.source, &key, &err), E_SYS);
    assert_int_equal(err.sys, ELOOP);
    assert_int_equal(good.asked, 0);
    assert_null(key);
}

static void removes(void **state)
{
    const struct scratch *s = *state;
    CLEANUP(keystore_cleanup) struct keystore *ks = store_in(s);
    (void)make(ks, "alice", KEY_ED25519);
    assert_int_equal(keystore_remove(ks, "alice", NULL), OK);
    assert_int_equal(faccessat(s->fd, "home/keys/alice.key", F_OK, 0), -1);
    assert_int_equal(keystore_remove(ks, "alice", NULL), E_NOTFOUND);
}

static void refuses_folders_open_to_others(void **state)
{
    const struct scratch *s = *state;
    struct keystore *ks = NULL;
    static const mode_t bad[] = {0770, 0720, 0702, 0777};
    assert_int_equal(mkdirat(s->fd, "keys", 0700), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(fchmodat(s->fd, "keys", bad[i], 0), 0);
        assert_int_equal(keystore_open(scratch_name(s, "keys"), &ks, NULL), E_DENIED);
    }
    assert_int_equal(fchmodat(s->fd, "keys", 0755, 0), 0);
    assert_int_equal(keystore_open(scratch_name(s, "keys"), &ks, NULL), OK);
    keystore_close(ks);
    scratch_write_text(s, "file", "x");
    ks = NULL;
    assert_int_not_equal(keystore_open(scratch_name(s, "file"), &ks, NULL), OK);
    assert_null(ks);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(makes_and_loads),
        CASE(wrong_passphrase_leaves_the_file),
        CASE(never_overwrites),
        CASE(loses_a_race_cleanly),
        CASE(refuses_bad_names),
        CASE(lists_sorted_and_past_bad_files),
        CASE(damaged_files_ask_for_nothing),
        CASE(removes),
        CASE(refuses_folders_open_to_others),
    };
    return cmocka_run_group_tests_name("keys: keystore", tests, NULL, NULL);
}

#include "keys/signing_key.h"

#include "base/file.h"
#include "base/path.h"
#include "keys/key_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define KEY_SUFFIX   ".key"
#define PUB_SUFFIX   ".pub" /* a TUF key object; as long as KEY_SUFFIX */
#define PUB_FILE_MAX 4096   /* an RSA key of 8192 bits needs 1,600 */
#define NAME_MAX_LEN 64u    /* leaves room for the suffix in any file system */
#define MAX_KEYS     4096u  /* far above any team's; bounds the work of a hostile folder */

struct keystore {
    int dir_fd;
    char *path; /* for messages only */
};

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool name_valid(const char *name, size_t len)
{
    if (len == 0 || len > NAME_MAX_LEN || !name_char(name[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!name_char(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
            return false;
    return true;
}

/* name → "name.key" or "name.pub" */
static int file_of(const char *name, const char *suffix,
                   char out[static NAME_MAX_LEN + sizeof KEY_SUFFIX], struct error *err)
{
    size_t len = strnlen(name, NAME_MAX_LEN + 1);
    if (!name_valid(name, len))
        return fail(err, E_USAGE,
                    "'%.80s' is no key name (letters, digits, '.', '_', '-'; at most %u)", name,
                    NAME_MAX_LEN);
    memcpy(out, name, len);
    memcpy(out + len, suffix, sizeof KEY_SUFFIX);
    return OK;
}

/* Whoever may write here can put his own key under a known name. */
static int check_folder(int fd, const char *path, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat key folder '%s'", path);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return fail(err, E_DENIED, "key folder '%s' can be written by others; use chmod 700", path);
    return OK;
}

int keystore_open(const char *path, struct keystore **out, struct error *err)
{
    CLEANUP(keystore_cleanup) struct keystore *ks = calloc(1, sizeof *ks);
    if (!ks)
        return fail_nomem(err);
    ks->dir_fd = -1;
    ks->path = strdup(path);
    if (!ks->path)
        return fail_nomem(err);
    int rc = file_open_dir(path, true, &ks->dir_fd, err);
    if (!rc)
        rc = check_folder(ks->dir_fd, path, err);
    if (!rc)
        *out = TAKE_PTR(ks);
    return rc;
}

void keystore_close(struct keystore *ks)
{
    if (!ks)
        return;
    cleanup_fd(&ks->dir_fd);
    cleanup_free(&ks->path);
    free(ks);
}

void keystore_cleanup(struct keystore **ks)
{
    keystore_close(*ks);
    *ks = NULL;
}

/* Content of a file; `file` is a single checked component. */
static int read_file(const struct keystore *ks, const char *file, size_t max, struct bytes *out,
                     struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct stat st;
    int rc = path_open(ks->dir_fd, file, PATH_NO_SYMLINKS, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd,
                       err);
    if (rc)
        return rc;
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat '%s'", file);
    if (!S_ISREG(st.st_mode))
        return fail(err, E_INVALID, "'%s' is not a regular file", file);
    rc = file_read_fd(fd, max, out, err);
    /* A file that grew is a damaged key file, not "too much". */
    return rc == E_LIMIT ? fail(err, E_TAMPERED, "key file is damaged: too long") : rc;
}

static bool has_file(const struct keystore *ks, const char *name, const char *suffix)
{
    char file[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    return file_of(name, suffix, file, NULL) == OK &&
           faccessat(ks->dir_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int read_key(const struct keystore *ks, const char *name, struct bytes *out,
                    struct error *err)
{
    char file[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    int rc = file_of(name, KEY_SUFFIX, file, err);
    if (rc)
        return rc;
    rc = read_file(ks, file, KEY_FILE_MAX, out, err);
    if (rc == E_NOTFOUND && has_file(ks, name, PUB_SUFFIX))
        return fail(err, E_UNSUPPORTED, "only the public half of key '%s' is here", name);
    if (rc == E_NOTFOUND)
        return fail(err, E_NOTFOUND, "no key '%s' in '%s'", name, ks->path);
    return wrap(err, rc, "key '%s'", name);
}

static int read_public(const struct keystore *ks, const char *name, struct public_key **out,
                       struct error *err)
{
    char file[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = file_of(name, PUB_SUFFIX, file, err);
    if (!rc)
        rc = read_file(ks, file, PUB_FILE_MAX, &text, err);
    if (!rc)
        rc = public_key_parse(&text, out, err);
    return wrap(err, rc, "public key '%s'", name);
}

static int fill_entry(const char *name, size_t len, const struct public_key *key,
                      struct key_entry *out, struct error *err)
{
    struct key_entry entry = {.type = public_key_type(key)};
    int rc = public_key_id(key, &entry.id, err);
    if (rc)
        return rc;
    memcpy(entry.name, name, len);
    *out = entry;
    return OK;
}

static int ask_passphrase(struct secret_source *secrets, const char *name, bool confirm,
                          struct secret *out, struct error *err)
{
    char prompt[128];
    (void)snprintf(prompt, sizeof prompt, "%spassphrase for key '%s'", confirm ? "new " : "", name);
    return secrets->ask(secrets, prompt, confirm, out, err);
}

static int store_new(struct keystore *ks, const char *name, const struct signing_key *key,
                     const struct secret *passphrase, struct error *err)
{
    CLEANUP(bytes_done) struct bytes sealed = BYTES_INIT;
    char file[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    int rc = file_of(name, KEY_SUFFIX, file, err);
    if (!rc)
        rc = signing_key_seal(key, passphrase, false, &sealed, err);
    if (!rc)
        rc = file_create_atomic(ks->dir_fd, file, sealed.data, sealed.len, 0600, err);
    return rc;
}

/* Before anything is asked: nobody should choose a passphrase for nothing. */
static int check_free(struct keystore *ks, const char *name, struct error *err)
{
    static const char *const suffixes[] = {KEY_SUFFIX, PUB_SUFFIX};
    char file[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    struct stat st;
    int rc = OK;
    for (size_t i = 0; !rc && i < sizeof suffixes / sizeof suffixes[0]; i++) {
        rc = file_of(name, suffixes[i], file, err);
        if (rc)
            return rc;
        if (fstatat(ks->dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0)
            return fail(err, E_EXISTS, "key '%s' exists already in '%s'", name, ks->path);
        rc = errno == ENOENT ? OK : fail_sys(err, errno, "stat '%s'", file);
    }
    return rc;
}

int keystore_generate(struct keystore *ks, const char *name, enum key_type type,
                      struct secret_source *secrets, struct key_entry *out, struct error *err)
{
    CLEANUP(secret_done) struct secret passphrase = SECRET_INIT;
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    struct key_entry entry;
    char label[80];
    int rc = check_free(ks, name, err);
    if (rc)
        return rc;
    (void)snprintf(label, sizeof label, "key '%s'", name);
    rc = signing_key_generate(type, label, &key, err);
    if (!rc)
        rc = ask_passphrase(secrets, name, true, &passphrase, err);
    if (!rc)
        rc = fill_entry(name, strlen(name), signing_key_public(key), &entry, err);
    if (!rc)
        rc = store_new(ks, name, key, &passphrase, err);
    if (!rc)
        *out = entry;
    return rc;
}

int keystore_load(struct keystore *ks, const char *name, struct secret_source *secrets,
                  struct signing_key **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes sealed = BYTES_INIT;
    CLEANUP(secret_done) struct secret passphrase = SECRET_INIT;
    CLEANUP(public_key_cleanup) struct public_key *stated = NULL;
    char label[80];
    int rc = read_key(ks, name, &sealed, err);
    if (rc)
        return rc;
    (void)snprintf(label, sizeof label, "key '%s'", name);
    /* A damaged file is reported before anyone types a passphrase. */
    rc = wrap(err, key_file_public(sealed.data, sealed.len, &stated, err), "%s", label);
    if (!rc)
        rc = ask_passphrase(secrets, name, false, &passphrase, err);
    return rc ? rc : signing_key_unseal(sealed.data, sealed.len, &passphrase, label, out, err);
}

int keystore_public(struct keystore *ks, const char *name, struct public_key **out,
                    struct error *err)
{
    CLEANUP(bytes_done) struct bytes sealed = BYTES_INIT;
    int rc = read_key(ks, name, &sealed, err);
    if (rc == E_UNSUPPORTED)
        return read_public(ks, name, out, err);
    if (rc)
        return rc;
    return wrap(err, key_file_public(sealed.data, sealed.len, out, err), "key '%s'", name);
}

int keystore_remove(struct keystore *ks, const char *name, struct error *err)
{
    char file[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    int rc = file_of(name, has_file(ks, name, PUB_SUFFIX) ? PUB_SUFFIX : KEY_SUFFIX, file, err);
    if (rc)
        return rc;
    if (unlinkat(ks->dir_fd, file, 0)) {
        if (errno == ENOENT)
            return fail(err, E_NOTFOUND, "no key '%s' in '%s'", name, ks->path);
        return fail_sys(err, errno, "remove key '%s'", name);
    }
    return file_sync_dir(ks->dir_fd, err);
}

/* --- listing --- */

/* Grows as keys are found. */
struct key_list {
    struct key_entry *entries;
    size_t n;
    struct bytes *problems; /* NULL: not wanted */
};

static void key_list_done(struct key_list *list)
{
    cleanup_free(&list->entries);
}

static int add_entry(struct key_list *list, const struct key_entry *entry, struct error *err)
{
    if (list->n == MAX_KEYS)
        return fail(err, E_LIMIT, "more than %u keys", MAX_KEYS);
    struct key_entry *more = reallocarray(list->entries, list->n + 1, sizeof *more);
    if (!more)
        return fail_nomem(err);
    list->entries = more;
    list->entries[list->n++] = *entry;
    return OK;
}

/* One bad file must not hide the good ones: it becomes a line of `problems`. */
static int list_file(const struct keystore *ks, const char *file, struct key_list *list,
                     struct error *err)
{
    size_t len = strlen(file) - strlen(KEY_SUFFIX);
    bool public_only = text_ends(file, PUB_SUFFIX);
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    struct key_entry entry;
    struct error why = ERROR_INIT;
    int rc = name_valid(file, len) ? OK : fail(&why, E_INVALID, "not a key name");
    if (!rc)
        rc = read_file(ks, file, public_only ? PUB_FILE_MAX : KEY_FILE_MAX, &content, &why);
    if (!rc)
        rc = public_only ? public_key_parse(&content, &key, &why)
                         : key_file_public(content.data, content.len, &key, &why);
    if (!rc)
        rc = fill_entry(file, len, key, &entry, &why);
    entry.public_only = public_only;
    if (!rc)
        return add_entry(list, &entry, err);
    if (rc == E_NOMEM)
        return fail_nomem(err);
    if (rc == E_NOTFOUND || !list->problems)
        return OK; /* removed meanwhile, or nobody asked */
    struct error line = ERROR_INIT;
    (void)fail(&line, rc, "%s: %s", file, why.message); /* escapes the file's name */
    return bytes_append_format(list->problems, err, "%s\n", line.message);
}

static int walk(const struct keystore *ks, struct key_list *list, struct error *err)
{
    int copy = openat(ks->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return fail_sys(err, errno, "open key folder '%s'", ks->path);
    CLEANUP(cleanup_dir) DIR *dir = fdopendir(copy);
    if (!dir) {
        cleanup_fd(&copy);
        return fail_sys(err, errno, "read key folder '%s'", ks->path);
    }
    int rc = OK;
    while (!rc) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? fail_sys(err, errno, "read key folder '%s'", ks->path) : OK;
        if (entry->d_name[0] != '.' &&
            (text_ends(entry->d_name, KEY_SUFFIX) || text_ends(entry->d_name, PUB_SUFFIX)))
            rc = list_file(ks, entry->d_name, list, err);
    }
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct key_entry *left = a, *right = b;
    return strcmp(left->name, right->name);
}

int keystore_list(struct keystore *ks, struct key_entry **out, size_t *n, struct error *err)
{
    CLEANUP(key_list_done) struct key_list list = {.problems = NULL};
    int rc = walk(ks, &list, err);
    if (rc)
        return rc;
    if (list.n)
        qsort(list.entries, list.n, sizeof *list.entries, by_name);
    *out = TAKE_PTR(list.entries);
    *n = list.n;
    return OK;
}

int keystore_problems(struct keystore *ks, struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes lines = BYTES_INIT;
    CLEANUP(key_list_done) struct key_list list = {.problems = &lines};
    int rc = walk(ks, &list, err);
    return rc ? rc : bytes_append(out, lines.data, lines.len, err);
}

/* --- from and to elsewhere --- */

int keystore_export(struct keystore *ks, const char *name, struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes sealed = BYTES_INIT;
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    int rc = read_key(ks, name, &sealed, err);
    /* A damaged file is no copy to rely on. */
    if (!rc)
        rc = wrap(err, key_file_public(sealed.data, sealed.len, &key, err), "key '%s'", name);
    return rc ? rc : bytes_append(out, sealed.data, sealed.len, err);
}

/* One key under two names would make "the one local key that the role lists" two. */
static int check_unknown(struct keystore *ks, const struct key_entry *entry, struct error *err)
{
    CLEANUP(cleanup_free) struct key_entry *entries = NULL;
    size_t n = 0;
    int rc = keystore_list(ks, &entries, &n, err);
    for (size_t i = 0; !rc && i < n; i++)
        if (strcmp(entries[i].id.text, entry->id.text) == 0)
            rc = fail(err, E_EXISTS, "this key is here already, as '%s'", entries[i].name);
    return rc;
}

/* Name and key are new here; the entry says so. */
static int check_new(struct keystore *ks, const char *name, const struct public_key *key,
                     struct key_entry *entry, struct error *err)
{
    int rc = check_free(ks, name, err);
    if (!rc)
        rc = fill_entry(name, strlen(name), key, entry, err);
    return rc ? rc : check_unknown(ks, entry, err);
}

int keystore_import(struct keystore *ks, const char *name, const struct bytes *file,
                    struct secret_source *secrets, struct key_entry *out, struct error *err)
{
    CLEANUP(secret_done) struct secret passphrase = SECRET_INIT;
    CLEANUP(public_key_cleanup) struct public_key *stated = NULL;
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    char label[80], path[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    struct key_entry entry;
    int rc = key_file_public(file->data, file->len, &stated, err);
    if (!rc)
        rc = check_new(ks, name, stated, &entry, err);
    if (!rc)
        rc = ask_passphrase(secrets, name, false, &passphrase, err);
    if (rc)
        return rc;
    (void)snprintf(label, sizeof label, "key '%s'", name);
    rc = signing_key_unseal(file->data, file->len, &passphrase, label, &key, err);
    if (!rc)
        rc = file_of(name, KEY_SUFFIX, path, err);
    if (!rc)
        rc = file_create_atomic(ks->dir_fd, path, file->data, file->len, 0600, err);
    if (!rc)
        *out = entry;
    return rc;
}

int keystore_import_public(struct keystore *ks, const char *name, const struct public_key *key,
                           struct key_entry *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    char path[NAME_MAX_LEN + sizeof PUB_SUFFIX];
    struct key_entry entry = {.name = ""};
    int rc = check_new(ks, name, key, &entry, err);
    entry.public_only = true;
    if (!rc)
        rc = public_key_to_tuf(key, &object, err);
    if (!rc)
        rc = js_write(object, false, &text, err);
    if (!rc)
        rc = file_of(name, PUB_SUFFIX, path, err);
    if (!rc)
        rc = file_create_atomic(ks->dir_fd, path, text.data, text.len, 0600, err);
    if (!rc)
        *out = entry;
    return rc;
}

/* Held by the folder itself: no file is left behind, and it ends with the process. */
static int lock_store(const struct keystore *ks, int *fd, struct error *err)
{
    *fd = openat(ks->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 || flock(*fd, LOCK_EX))
        return fail_sys(err, errno, "lock the key store");
    return OK;
}

/* It may have been removed, made anew or sealed anew while somebody typed. */
static int check_same(const struct keystore *ks, const char *name, const struct bytes *before,
                      struct error *err)
{
    CLEANUP(bytes_done) struct bytes now = BYTES_INIT;
    int rc = read_key(ks, name, &now, err);
    return !rc && !bytes_equal(now.data, now.len, before->data, before->len)
               ? fail(err, E_CONFLICT, "key '%s' was changed meanwhile; try again", name)
               : rc;
}

int keystore_change_passphrase(struct keystore *ks, const char *name, struct secret_source *before,
                               struct secret_source *after, struct error *err)
{
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    CLEANUP(signing_key_cleanup) struct signing_key *again = NULL;
    CLEANUP(secret_done) struct secret passphrase = SECRET_INIT;
    CLEANUP(bytes_done) struct bytes sealed = BYTES_INIT;
    CLEANUP(bytes_done) struct bytes old = BYTES_INIT;
    char path[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    int rc = read_key(ks, name, &old, err);
    if (!rc)
        rc = keystore_load(ks, name, before, &key, err);
    if (!rc)
        rc = file_of(name, KEY_SUFFIX, path, err);
    if (!rc)
        rc = ask_passphrase(after, name, true, &passphrase, err);
    if (!rc)
        rc = signing_key_seal(key, &passphrase, false, &sealed, err);
    /* The old file goes for good: first see that the new one opens. */
    if (!rc)
        rc = signing_key_unseal(sealed.data, sealed.len, &passphrase, signing_key_label(key),
                                &again, err);
    CLEANUP(cleanup_fd) int lock = -1;
    if (!rc)
        rc = lock_store(ks, &lock, err);
    if (!rc)
        rc = check_same(ks, name, &old, err);
    return rc ? rc : file_write_atomic(ks->dir_fd, path, sealed.data, sealed.len, 0600, err);
}

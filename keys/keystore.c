#include "keys/signing_key.h"

#include "base/file.h"
#include "base/path.h"
#include "keys/key_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_SUFFIX   ".key"
#define NAME_MAX_LEN 64u   /* leaves room for the suffix in any file system */
#define MAX_KEYS     4096u /* far above any team's; bounds the work of a hostile folder */

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

/* name → "name.key" */
static int file_of(const char *name, char out[static NAME_MAX_LEN + sizeof KEY_SUFFIX],
                   struct error *err)
{
    size_t len = strnlen(name, NAME_MAX_LEN + 1);
    if (!name_valid(name, len))
        return fail(err, E_USAGE,
                    "'%.80s' is no key name (letters, digits, '.', '_', '-'; at most %u)", name,
                    NAME_MAX_LEN);
    memcpy(out, name, len);
    memcpy(out + len, KEY_SUFFIX, sizeof KEY_SUFFIX);
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

/* Content of NAME.key; `file` is a single checked component. */
static int read_file(const struct keystore *ks, const char *file, struct bytes *out,
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
    rc = file_read_fd(fd, KEY_FILE_MAX, out, err);
    /* A file that grew is a damaged key file, not "too much". */
    return rc == E_LIMIT ? fail(err, E_TAMPERED, "key file is damaged: too long") : rc;
}

static int read_key(const struct keystore *ks, const char *name, struct bytes *out,
                    struct error *err)
{
    char file[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    int rc = file_of(name, file, err);
    if (rc)
        return rc;
    rc = read_file(ks, file, out, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_NOTFOUND, "no key '%s' in '%s'", name, ks->path);
    return wrap(err, rc, "key '%s'", name);
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
    int rc = file_of(name, file, err);
    if (!rc)
        rc = signing_key_seal(key, passphrase, false, &sealed, err);
    if (!rc)
        rc = file_create_atomic(ks->dir_fd, file, sealed.data, sealed.len, 0600, err);
    return rc;
}

/* Before anything is asked: nobody should choose a passphrase for nothing. */
static int check_free(struct keystore *ks, const char *name, struct error *err)
{
    char file[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    struct stat st;
    int rc = file_of(name, file, err);
    if (rc)
        return rc;
    if (fstatat(ks->dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return fail(err, E_EXISTS, "key '%s' exists already in '%s'", name, ks->path);
    return errno == ENOENT ? OK : fail_sys(err, errno, "stat '%s'", file);
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
    if (rc)
        return rc;
    return wrap(err, key_file_public(sealed.data, sealed.len, out, err), "key '%s'", name);
}

int keystore_remove(struct keystore *ks, const char *name, struct error *err)
{
    char file[NAME_MAX_LEN + sizeof KEY_SUFFIX];
    int rc = file_of(name, file, err);
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
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    struct key_entry entry;
    struct error why = ERROR_INIT;
    int rc = name_valid(file, len) ? OK : fail(&why, E_INVALID, "not a key name");
    if (!rc)
        rc = read_file(ks, file, &content, &why);
    if (!rc)
        rc = key_file_public(content.data, content.len, &key, &why);
    if (!rc)
        rc = fill_entry(file, len, key, &entry, &why);
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
        if (entry->d_name[0] != '.' && text_ends(entry->d_name, KEY_SUFFIX))
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

#include "client/upload_memo.h"

#include "base/file.h"
#include "base/path.h"
#include "client/url.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define FOLDER   "uploads"
#define FILE_MAX (URL_MAX + 1024)

/* The file's name is a hash: hosts and repositories are longer than names may be. */
static int name_memo(const char *authority, const char *repository, const struct digest *d,
                     struct upload_memo *m, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    struct digest hash;
    m->key = text_format("%s\n%s\n%s\n", authority, repository, digest_format(d, text));
    if (!m->key)
        return fail_nomem(err);
    int rc = digest_of(DIGEST_SHA256, m->key, strlen(m->key), &hash, err);
    if (!rc)
        (void)snprintf(m->name, sizeof m->name, "%s", digest_hex(&hash, text));
    return rc;
}

/* Whether the locked file is still the one of that name: its last holder may have removed it. */
static bool is_current(const struct upload_memo *m)
{
    struct stat held, named;
    return fstat(m->fd, &held) == 0 && S_ISREG(held.st_mode) &&
           fstatat(m->dir_fd, m->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

int upload_memo_open(struct store *s, const char *authority, const char *repository,
                     const struct digest *d, struct upload_memo *out, struct error *err)
{
    CLEANUP(upload_memo_done) struct upload_memo m = UPLOAD_MEMO_INIT;
    int rc = name_memo(authority, repository, d, &m, err);
    if (!rc)
        rc = store_folder_open(s, FOLDER, &m.dir_fd, err);
    for (int tries = 0; !rc && tries < 10; tries++) {
        cleanup_fd(&m.fd);
        rc = path_open(m.dir_fd, m.name, PATH_NO_SYMLINKS, O_RDWR | O_CREAT, 0600, &m.fd, err);
        if (!rc && flock(m.fd, LOCK_EX | LOCK_NB))
            rc = fail(err, E_BUSY, "another process uploads this blob");
        if (!rc && is_current(&m)) {
            *out = m;
            m = (struct upload_memo)UPLOAD_MEMO_INIT;
            return OK;
        }
    }
    return rc ? rc : fail(err, E_BUSY, "cannot hold the memo of an upload");
}

int upload_memo_read(const struct upload_memo *m, struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    if (m->fd < 0)
        return OK;
    if (lseek(m->fd, 0, SEEK_SET) != 0)
        return fail_sys(err, errno, "read memo");
    int rc = file_read_fd(m->fd, FILE_MAX, &text, err);
    size_t key_len = strlen(m->key);
    /* Torn or odd: as if it were not there. */
    if (rc || text.len <= key_len + 1 || memchr(text.data, '\0', text.len) ||
        memcmp(text.data, m->key, key_len) != 0 || text.data[text.len - 1] != '\n')
        return OK;
    return bytes_append(out, text.data + key_len, text.len - key_len - 1, err);
}

int upload_memo_write(const struct upload_memo *m, const char *location, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    if (m->fd < 0)
        return OK;
    int rc = bytes_append_format(&text, err, "%s%s\n", m->key, location);
    if (!rc && (ftruncate(m->fd, 0) || lseek(m->fd, 0, SEEK_SET) != 0))
        rc = fail_sys(err, errno, "empty memo");
    return rc ? rc : file_write_fd(m->fd, text.data, text.len, err);
}

void upload_memo_forget(struct upload_memo *m)
{
    if (m->fd >= 0)
        (void)unlinkat(m->dir_fd, m->name, 0);
    cleanup_fd(&m->fd);
}

void upload_memo_done(struct upload_memo *m)
{
    cleanup_fd(&m->fd);
    cleanup_fd(&m->dir_fd);
    cleanup_free(&m->key);
}

static void sweep_one(int dir_fd, const char *name)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) ||
        time(NULL) - st.st_mtime < UPLOAD_MEMO_KEEP_S)
        return;
    if (path_open(dir_fd, name, PATH_NO_SYMLINKS, O_RDONLY, 0, &fd, NULL) == OK &&
        flock(fd, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(dir_fd, name, 0);
}

void upload_memo_sweep(struct store *s)
{
    int fd = -1;
    if (store_folder_open(s, FOLDER, &fd, NULL))
        return;
    CLEANUP(cleanup_dir) DIR *dir = fdopendir(fd);
    if (!dir) {
        cleanup_fd(&fd);
        return;
    }
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        sweep_one(dirfd(dir), entry->d_name);
}

#include "registry/blobs.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define PATH_TEXT_MAX 192u
#define NOTE_MAX      1024u
#define BUFFER_BYTES  (256u << 10) /* large writes get large folios: half the kernel work */
#define WRITEBACK_BYTES                                                                            \
    (8u << 20) /* the kernel starts writing before the final sync waits for it */

struct blobs {
    int root_fd, uploads_fd;
};

struct blob_upload {
    char id[BLOB_UPLOAD_ID_LEN + 1];
    int fd; /* -1: at rest */
    enum digest_alg alg;
    struct digest_stream *hash; /* of the first `len` bytes, which are in the file */
    uint64_t len, written_back;
    uint8_t *buffer; /* what follows them; NULL: at rest */
    size_t buffered;
};

/* --- places --- */

static void blob_path(const struct digest *d, char out[PATH_TEXT_MAX])
{
    char hex[DIGEST_TEXT_MAX];
    digest_hex(d, hex);
    snprintf(out, PATH_TEXT_MAX, "blobs/%s/%.2s/%s", digest_alg_name(d->alg), hex, hex);
}

int blobs_open(const char *data_dir, struct blobs **out, struct error *err)
{
    struct blobs *b = calloc(1, sizeof *b);
    if (!b)
        return fail_nomem(err);
    *b = (struct blobs){-1, -1};
    int rc = file_open_dir(data_dir, true, &b->root_fd, err);
    if (rc == 0)
        rc = path_make_dirs(b->root_fd, "uploads", 0700, err);
    if (rc == 0)
        rc = path_make_dirs(b->root_fd, "blobs/sha256", 0700, err);
    if (rc == 0)
        rc = path_make_dirs(b->root_fd, "blobs/sha512", 0700, err);
    if (rc == 0)
        rc = path_open(b->root_fd, "uploads", PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0,
                       &b->uploads_fd, err);
    if (rc != 0) {
        blobs_close(b);
        return wrap(err, rc, "storage '%s'", data_dir);
    }
    *out = b;
    return 0;
}

void blobs_close(struct blobs *b)
{
    if (!b)
        return;
    cleanup_fd(&b->root_fd);
    cleanup_fd(&b->uploads_fd);
    free(b);
}

static void note_name(const char *id, char out[BLOB_UPLOAD_ID_LEN + 8])
{
    snprintf(out, BLOB_UPLOAD_ID_LEN + 8, "%s.note", id);
}

/* --- uploads --- */

void blobs_upload_free(struct blob_upload *u)
{
    if (!u)
        return;
    cleanup_fd(&u->fd);
    digest_stream_free(u->hash);
    free(u->buffer);
    free(u);
}

static int upload_new(enum digest_alg alg, struct blob_upload **out, struct error *err)
{
    struct blob_upload *u = calloc(1, sizeof *u);
    if (!u)
        return fail_nomem(err);
    u->fd = -1;
    u->alg = alg;
    int rc = digest_stream_new(alg, &u->hash, err);
    if (rc != 0)
        blobs_upload_free(u);
    else
        *out = u;
    return rc;
}

int blobs_begin(struct blobs *b, enum digest_alg alg, struct blob_upload **out, struct error *err)
{
    struct blob_upload *u = NULL;
    int rc = upload_new(alg, &u, err);
    if (rc != 0)
        return rc;
    uint8_t random[BLOB_UPLOAD_ID_LEN / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        blobs_upload_free(u);
        return fail_sys(err, errno, "getrandom");
    }
    hex_encode(random, sizeof random, u->id);
    rc = path_open(b->uploads_fd, u->id, PATH_NO_SYMLINKS, O_RDWR | O_CREAT | O_EXCL, 0600, &u->fd,
                   err);
    if (rc != 0)
        blobs_upload_free(u);
    else
        *out = u;
    return rc;
}

static int open_upload(struct blobs *b, struct blob_upload *u, struct error *err)
{
    if (u->fd >= 0)
        return 0;
    return path_open(b->uploads_fd, u->id, PATH_NO_SYMLINKS, O_RDWR, 0, &u->fd, err);
}

/* Reads the whole file through the upload's own running hash. */
static int rehash(struct blob_upload *u, struct error *err)
{
    size_t block = 256u << 10;
    CLEANUP(cleanup_free) char *buffer = malloc(block);
    if (!buffer)
        return fail_nomem(err);
    u->len = 0;
    for (;;) {
        ssize_t n = pread(u->fd, buffer, block, (off_t)u->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "read upload");
        if (n == 0)
            return 0;
        int rc = digest_stream_update(u->hash, buffer, (size_t)n, err);
        if (rc != 0)
            return rc;
        u->len += (uint64_t)n;
    }
}

int blobs_resume(struct blobs *b, const char *id, struct blob_upload **out, struct error *err)
{
    struct blob_upload *u = NULL;
    int rc = upload_new(DIGEST_SHA256, &u, err);
    if (rc != 0)
        return rc;
    snprintf(u->id, sizeof u->id, "%s", id);
    rc = open_upload(b, u, err);
    if (rc == 0)
        rc = rehash(u, err);
    if (rc != 0)
        blobs_upload_free(u);
    else
        *out = u;
    return rc;
}

const char *blobs_upload_id(const struct blob_upload *u)
{
    return u->id;
}

uint64_t blobs_upload_len(const struct blob_upload *u)
{
    return u->len + u->buffered;
}

static int write_at(int fd, const uint8_t *data, size_t len, uint64_t offset, struct error *err)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "write upload");
        data += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int blobs_upload_flush(struct blob_upload *u, struct error *err)
{
    if (u->buffered == 0)
        return 0;
    int rc = write_at(u->fd, u->buffer, u->buffered, u->len, err);
    /* A write that failed half-way must not leave bytes behind that nobody hashed. */
    if (rc != 0 && ftruncate(u->fd, (off_t)u->len) != 0)
        log_debug("upload: cannot be cut to %llu bytes", (unsigned long long)u->len);
    /* Hashed only once written: after a failure the upload goes on from what is in the file. */
    if (rc == 0)
        rc = digest_stream_update(u->hash, u->buffer, u->buffered, err);
    if (rc == 0)
        u->len += u->buffered;
    u->buffered = 0;
    if (rc == 0 && u->len - u->written_back >= WRITEBACK_BYTES) {
        (void)sync_file_range(u->fd, (off_t)u->written_back, (off_t)(u->len - u->written_back),
                              SYNC_FILE_RANGE_WRITE);
        u->written_back = u->len;
    }
    return rc;
}

void blobs_upload_rest(struct blob_upload *u)
{
    struct error err = ERROR_INIT;
    if (blobs_upload_flush(u, &err) != 0)
        log_debug("upload: %s", err.message);
    cleanup_fd(&u->fd);
    free(u->buffer);
    u->buffer = NULL;
}

int blobs_append(struct blobs *b, struct blob_upload *u, const void *data, size_t len,
                 struct error *err)
{
    int rc = open_upload(b, u, err);
    if (rc == 0 && !u->buffer) {
        u->buffer = malloc(BUFFER_BYTES);
        rc = u->buffer ? 0 : fail_nomem(err);
    }
    for (const uint8_t *from = data; rc == 0 && len > 0;) {
        size_t room = BUFFER_BYTES - u->buffered, part = len < room ? len : room;
        memcpy(u->buffer + u->buffered, from, part);
        u->buffered += part;
        from += part;
        len -= part;
        if (u->buffered == BUFFER_BYTES)
            rc = blobs_upload_flush(u, err);
    }
    return rc;
}

int blobs_upload_set_alg(struct blob_upload *u, enum digest_alg alg, struct error *err)
{
    struct digest_stream *hash = NULL;
    int rc = digest_stream_new(alg, &hash, err);
    if (rc != 0)
        return rc;
    digest_stream_free(u->hash);
    u->hash = hash;
    u->alg = alg;
    return 0;
}

static int check_digest(struct blob_upload *u, const struct digest *expected, struct error *err)
{
    struct digest got = {.alg = DIGEST_NONE};
    struct stat st;
    if (fstat(u->fd, &st) != 0 || (uint64_t)st.st_size != u->len)
        return fail(err, E_TAMPERED, "upload has not the length that was received");
    int rc = 0;
    if (u->alg != expected->alg) { /* chunks came before the algorithm was named */
        rc = blobs_upload_set_alg(u, expected->alg, err);
        if (rc == 0)
            rc = rehash(u, err);
    }
    if (rc == 0)
        rc = digest_stream_peek(u->hash, &got, err);
    if (rc == 0 && !digest_equal(&got, expected)) {
        char text[DIGEST_TEXT_MAX];
        return fail(err, E_DIGEST, "the %llu bytes received have the digest %s",
                    (unsigned long long)u->len, digest_format(&got, text));
    }
    return rc;
}

/* What a failed write left behind could not be cut off: the file is more than was hashed. */
static int check_length(const struct blob_upload *u, struct error *err)
{
    struct stat st;
    if (fstat(u->fd, &st) != 0)
        return fail_sys(err, errno, "stat upload");
    return (uint64_t)st.st_size == u->len
               ? 0
               : fail(err, E_DIGEST, "the upload's file is longer than what was received");
}

/* The new folder's own name must be durable, too, or the blob vanishes with it. */
static int make_blob_dir(struct blobs *b, const char *path, int *dir_fd, const char **last,
                         struct error *err)
{
    int rc = path_open_parent(b->root_fd, path, PATH_NO_SYMLINKS, dir_fd, last, err);
    if (rc != E_NOTFOUND)
        return rc;
    char dir[PATH_TEXT_MAX];
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    rc = path_make_dirs(b->root_fd, dir, 0700, err);
    CLEANUP(cleanup_fd) int parent_fd = -1;
    const char *ignored = NULL;
    if (rc == 0)
        rc = path_open_parent(b->root_fd, dir, PATH_NO_SYMLINKS, &parent_fd, &ignored, err);
    if (rc == 0)
        rc = file_sync_dir(parent_fd, err);
    if (rc == 0)
        rc = path_open_parent(b->root_fd, path, PATH_NO_SYMLINKS, dir_fd, last, err);
    return rc;
}

int blobs_commit(struct blobs *b, struct blob_upload *u, const struct digest *expected,
                 struct error *err)
{
    char path[PATH_TEXT_MAX];
    const char *last = NULL;
    CLEANUP(cleanup_fd) int dir_fd = -1;
    int rc = open_upload(b, u, err);
    if (rc == 0)
        rc = blobs_upload_flush(u, err);
    if (rc == 0)
        rc = check_digest(u, expected, err);
    if (rc == 0)
        rc = check_length(u, err);
    if (rc != 0)
        return rc;
    blob_path(expected, path);
    rc = make_blob_dir(b, path, &dir_fd, &last, err);
    if (rc != 0)
        return rc;
    /* Bytes before name: after a power cut a name never stands for bytes that were not written. */
    if (fchmod(u->fd, 0400) != 0 || fdatasync(u->fd) != 0)
        return fail_sys(err, errno, "sync upload");
    if (renameat(b->uploads_fd, u->id, dir_fd, last) != 0)
        return fail_sys(err, errno, "rename upload");
    char note[BLOB_UPLOAD_ID_LEN + 8];
    note_name(u->id, note);
    unlinkat(b->uploads_fd, note, 0);
    cleanup_fd(&u->fd);
    return file_sync_dir(dir_fd, err);
}

void blobs_upload_cancel(struct blobs *b, struct blob_upload *u)
{
    if (!u)
        return;
    char note[BLOB_UPLOAD_ID_LEN + 8];
    note_name(u->id, note);
    unlinkat(b->uploads_fd, u->id, 0);
    unlinkat(b->uploads_fd, note, 0);
    blobs_upload_free(u);
}

int blobs_upload_note_write(struct blobs *b, const char *id, const char *text, struct error *err)
{
    char name[BLOB_UPLOAD_ID_LEN + 8];
    note_name(id, name);
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open(b->uploads_fd, name, PATH_NO_SYMLINKS, O_WRONLY | O_CREAT | O_EXCL, 0600,
                       &fd, err);
    return rc == 0 ? file_write_fd(fd, text, strlen(text), err) : rc;
}

int blobs_upload_note_read(struct blobs *b, const char *id, struct bytes *out, struct error *err)
{
    char name[BLOB_UPLOAD_ID_LEN + 8];
    note_name(id, name);
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open(b->uploads_fd, name, PATH_NO_SYMLINKS, O_RDONLY, 0, &fd, err);
    return rc == 0 ? file_read_fd(fd, NOTE_MAX, out, err) : rc;
}

/* --- stored blobs --- */

int blobs_put(struct blobs *b, const void *data, size_t len, const struct digest *d,
              struct error *err)
{
    struct blob_upload *u = NULL;
    int rc = blobs_begin(b, d->alg, &u, err);
    if (rc == 0)
        rc = blobs_append(b, u, data, len, err);
    if (rc == 0)
        rc = blobs_commit(b, u, d, err);
    if (rc == 0)
        blobs_upload_free(u);
    else
        blobs_upload_cancel(b, u);
    return rc;
}

int blobs_get(struct blobs *b, const struct digest *d, int *fd, uint64_t *size, struct error *err)
{
    char path[PATH_TEXT_MAX];
    blob_path(d, path);
    CLEANUP(cleanup_fd) int opened = -1;
    struct stat st;
    int rc = path_open(b->root_fd, path, PATH_NO_SYMLINKS, O_RDONLY, 0, &opened, err);
    if (rc != 0)
        return rc;
    if (fstat(opened, &st) != 0)
        return fail_sys(err, errno, "stat blob");
    *size = (uint64_t)st.st_size;
    *fd = TAKE_FD(opened);
    return 0;
}

int blobs_stat(struct blobs *b, const struct digest *d, uint64_t *size, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    return blobs_get(b, d, &fd, size, err);
}

int blobs_delete(struct blobs *b, const struct digest *d, struct error *err)
{
    char path[PATH_TEXT_MAX];
    const char *last = NULL;
    CLEANUP(cleanup_fd) int dir_fd = -1;
    blob_path(d, path);
    int rc = path_open_parent(b->root_fd, path, PATH_NO_SYMLINKS, &dir_fd, &last, err);
    if (rc == E_NOTFOUND)
        return 0;
    if (rc == 0 && unlinkat(dir_fd, last, 0) != 0 && errno != ENOENT)
        return fail_sys(err, errno, "remove blob");
    return rc;
}

/* --- walking --- */

struct walk {
    int (*visit)(void *context, const struct digest *d, uint64_t size, struct error *err);
    void *context;
    enum digest_alg alg;
};

static int open_dir(int at_fd, const char *name, DIR **out, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open(at_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (rc != 0)
        return rc;
    *out = fdopendir(fd);
    if (!*out)
        return fail_sys(err, errno, "open folder '%s'", name);
    (void)TAKE_FD(fd);
    return 0;
}

static int visit_file(const struct walk *walk, int dir_fd, const char *name, struct error *err)
{
    struct digest d = {.alg = walk->alg};
    struct stat st;
    if (hex_decode(name, strlen(name), d.bytes, digest_len(d.alg), NULL) != 0)
        return 0;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : fail_sys(err, errno, "stat blob");
    return S_ISREG(st.st_mode) ? walk->visit(walk->context, &d, (uint64_t)st.st_size, err) : 0;
}

static int walk_fan(const struct walk *walk, int alg_fd, const char *name, struct error *err)
{
    CLEANUP(cleanup_dir) DIR *dir = NULL;
    int rc = open_dir(alg_fd, name, &dir, err);
    if (rc != 0)
        return rc;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        rc = visit_file(walk, dirfd(dir), e->d_name, err);
    return rc;
}

int blobs_walk(struct blobs *b,
               int (*visit)(void *context, const struct digest *d, uint64_t size,
                            struct error *err),
               void *context, struct error *err)
{
    static const enum digest_alg algs[] = {DIGEST_SHA256, DIGEST_SHA512};
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++) {
        struct walk walk = {visit, context, algs[i]};
        char name[32];
        snprintf(name, sizeof name, "blobs/%s", digest_alg_name(algs[i]));
        CLEANUP(cleanup_dir) DIR *dir = NULL;
        int rc = open_dir(b->root_fd, name, &dir, err);
        for (struct dirent *e; rc == 0 && (e = readdir(dir));)
            if (strlen(e->d_name) == 2 && e->d_name[0] != '.')
                rc = walk_fan(&walk, dirfd(dir), e->d_name, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int blobs_sweep_uploads(struct blobs *b, int64_t age_s, size_t *n_removed, struct error *err)
{
    CLEANUP(cleanup_dir) DIR *dir = NULL;
    int rc = open_dir(b->root_fd, "uploads", &dir, err);
    if (rc != 0)
        return rc;
    time_t oldest = time(NULL) - (time_t)age_s;
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISREG(st.st_mode) && st.st_mtime <= oldest)
            n += unlinkat(dirfd(dir), e->d_name, 0) == 0;
    }
    *n_removed = n;
    return 0;
}

#include "registry/blob_files.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_TEXT_MAX 192u
#define NAME_TEXT_MAX 64u
/* The kernel starts writing before the final sync waits for it. */
#define WRITEBACK_BYTES (8u << 20)

/* Which folders' names this process has synced. */
struct synced {
    atomic_bool place, alg, fan[256];
};

struct files {
    int root_fd, uploads_fd;
    int64_t opened_s, opened_monotonic_ms; /* two clocks at one moment */
    struct synced synced[3][2];            /* by place and algorithm */
};

struct file_upload {
    int fd;
    uint64_t written_back;
    char id[NAME_TEXT_MAX];
};

static const char *const place_names[] = {"blobs", "aside", "quarantine"};
static const enum digest_alg algs[] = {DIGEST_SHA256, DIGEST_SHA512};

/* --- places --- */

static void blob_path(const struct digest *d, enum blob_place place, char out[PATH_TEXT_MAX])
{
    char hex[DIGEST_TEXT_MAX];
    digest_hex(d, hex);
    snprintf(out, PATH_TEXT_MAX, "%s/%s/%.2s/%s", place_names[place], digest_alg_name(d->alg), hex,
             hex);
}

static void note_name(const char *id, char out[NAME_TEXT_MAX])
{
    snprintf(out, NAME_TEXT_MAX, "%s.note", id);
}

static int sync_parent(struct files *f, const char *dir, atomic_bool *known, struct error *err)
{
    CLEANUP(cleanup_fd) int parent_fd = -1;
    const char *ignored = NULL;
    if (atomic_load(known))
        return 0;
    int rc = path_open_parent(f->root_fd, dir, PATH_NO_SYMLINKS, &parent_fd, &ignored, err);
    if (rc == 0)
        rc = file_sync_dir(parent_fd, err);
    if (rc == 0)
        atomic_store(known, true);
    return rc;
}

/* The folders' own names must be durable before what is in them counts, or all vanish together. A
 * folder that is there may be one whose maker was killed, or has not synced it yet: its name is
 * synced once by each process. */
static int sync_names(struct files *f, const struct digest *d, enum blob_place place,
                      const char *dir, struct error *err)
{
    struct synced *synced = &f->synced[place][d->alg == DIGEST_SHA512];
    char alg_dir[PATH_TEXT_MAX];
    snprintf(alg_dir, sizeof alg_dir, "%s/%s", place_names[place], digest_alg_name(d->alg));
    int rc = sync_parent(f, dir, &synced->fan[d->bytes[0]], err);
    if (rc == 0)
        rc = sync_parent(f, alg_dir, &synced->alg, err);
    return rc == 0 ? sync_parent(f, place_names[place], &synced->place, err) : rc;
}

/* The folder of a blob, made if need be; the blob's name in it is its digest's hex. */
static int make_blob_dir(struct files *f, const struct digest *d, enum blob_place place,
                         int *dir_fd, struct error *err)
{
    char path[PATH_TEXT_MAX], dir[PATH_TEXT_MAX];
    const char *last = NULL;
    blob_path(d, place, path);
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open_parent(f->root_fd, path, PATH_NO_SYMLINKS, &fd, &last, err);
    if (rc == E_NOTFOUND) {
        rc = path_make_dirs(f->root_fd, dir, 0700, err);
        if (rc == 0)
            rc = path_open_parent(f->root_fd, path, PATH_NO_SYMLINKS, &fd, &last, err);
    }
    if (rc == 0)
        rc = sync_names(f, d, place, dir, err);
    if (rc == 0)
        *dir_fd = TAKE_FD(fd);
    return rc;
}

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

/* --- uploads --- */

static void upload_close(void *upload)
{
    struct file_upload *u = upload;
    cleanup_fd(&u->fd);
    free(u);
}

static int upload_open(void *store, const char *id, bool create, void **upload, struct error *err)
{
    struct files *f = store;
    struct file_upload *u = calloc(1, sizeof *u);
    if (!u)
        return fail_nomem(err);
    u->fd = -1;
    snprintf(u->id, sizeof u->id, "%s", id);
    int rc = path_open(f->uploads_fd, id, PATH_NO_SYMLINKS,
                       O_RDWR | (create ? O_CREAT | O_EXCL : 0), create ? 0600 : 0, &u->fd, err);
    if (rc == E_NOTFOUND && create) /* nothing that the peer asked for is missing */
        rc = fail(err, E_INTERNAL, "the folder for uploads is gone: is its disk mounted?");
    if (rc != 0)
        upload_close(u);
    else
        *upload = u;
    return rc;
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

static int upload_write(void *upload, const void *data, size_t len, uint64_t offset,
                        struct error *err)
{
    struct file_upload *u = upload;
    int rc = write_at(u->fd, data, len, offset, err);
    /* A write that failed half-way must not leave bytes behind that nobody hashed. */
    if (rc != 0 && ftruncate(u->fd, (off_t)offset) != 0)
        log_debug("upload: cannot be cut to %llu bytes", (unsigned long long)offset);
    uint64_t end = offset + len;
    if (rc == 0 && end >= u->written_back + WRITEBACK_BYTES) {
        (void)sync_file_range(u->fd, (off_t)u->written_back, (off_t)(end - u->written_back),
                              SYNC_FILE_RANGE_WRITE);
        u->written_back = end;
    }
    return rc;
}

static int read_at(int fd, void *out, size_t max, uint64_t offset, size_t *got, struct error *err)
{
    ssize_t n;
    do
        n = pread(fd, out, max, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return fail_sys(err, errno, "read blob");
    *got = (size_t)n;
    return 0;
}

static int upload_read(void *upload, void *out, size_t max, uint64_t offset, size_t *got,
                       struct error *err)
{
    const struct file_upload *u = upload;
    return read_at(u->fd, out, max, offset, got, err);
}

static int upload_flush(void *upload, struct error *err)
{
    (void)upload, (void)err; /* what was written is in the page cache, which outlives the process */
    return 0;
}

static int upload_publish(void *store, void *upload, const struct digest *d, uint64_t len,
                          struct error *err)
{
    struct files *f = store;
    const struct file_upload *u = upload;
    char name[DIGEST_TEXT_MAX], note[NAME_TEXT_MAX];
    CLEANUP(cleanup_fd) int dir_fd = -1;
    struct stat st;
    if (fstat(u->fd, &st) != 0)
        return fail_sys(err, errno, "stat upload");
    if ((uint64_t)st.st_size != len)
        return fail(err, E_TAMPERED, "the upload's file has not the length that was received");
    digest_hex(d, name);
    int rc = make_blob_dir(f, d, BLOB_STORED, &dir_fd, err);
    if (rc != 0)
        return rc;
    /* Bytes before name: after a power cut a name never stands for bytes that were not written. */
    if (fchmod(u->fd, 0400) != 0 || fdatasync(u->fd) != 0)
        return fail_sys(err, errno, "sync upload");
    if (renameat(f->uploads_fd, u->id, dir_fd, name) != 0)
        return fail_sys(err, errno, "rename upload");
    note_name(u->id, note);
    unlinkat(f->uploads_fd, note, 0);
    return file_sync_dir(dir_fd, err);
}

static void upload_remove(void *store, const char *id)
{
    const struct files *f = store;
    char note[NAME_TEXT_MAX];
    note_name(id, note);
    unlinkat(f->uploads_fd, id, 0);
    unlinkat(f->uploads_fd, note, 0);
}

static int note_write(void *store, const char *id, const char *text, struct error *err)
{
    const struct files *f = store;
    char name[NAME_TEXT_MAX];
    note_name(id, name);
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open(f->uploads_fd, name, PATH_NO_SYMLINKS, O_WRONLY | O_CREAT | O_EXCL, 0600,
                       &fd, err);
    return rc == 0 ? file_write_fd(fd, text, strlen(text), err) : rc;
}

static int note_read(void *store, const char *id, size_t max, struct bytes *out, struct error *err)
{
    const struct files *f = store;
    char name[NAME_TEXT_MAX];
    note_name(id, name);
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = path_open(f->uploads_fd, name, PATH_NO_SYMLINKS, O_RDONLY, 0, &fd, err);
    return rc == 0 ? file_read_fd(fd, max, out, err) : rc;
}

/* An age counts only if the wall clock's jumps since the start do not make it: uploads under way
 * must outlive a clock that is set forward, or back. */
static int64_t oldest_wanted(const struct files *f, int64_t age_s)
{
    int64_t now_s = clock_now_s();
    int64_t steady_s = f->opened_s + (clock_monotonic_ms() - f->opened_monotonic_ms) / 1000;
    return (now_s < steady_s ? now_s : steady_s) - age_s;
}

/* The file is an upload's, or the note beside it. */
static bool in_use(const struct blob_guard *guard, const char *file)
{
    char id[NAME_TEXT_MAX];
    (void)snprintf(id, sizeof id, "%.*s", (int)strcspn(file, "."), file);
    return guard && guard->in_use(guard->context, id);
}

static int sweep(void *store, int64_t age_s, const struct blob_guard *guard, size_t *n_removed,
                 struct error *err)
{
    const struct files *f = store;
    CLEANUP(cleanup_dir) DIR *dir = NULL;
    int rc = open_dir(f->root_fd, "uploads", &dir, err);
    if (rc != 0)
        return rc;
    int64_t oldest = oldest_wanted(f, age_s);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISREG(st.st_mode) && st.st_mtime <= oldest && !in_use(guard, e->d_name))
            n += unlinkat(dirfd(dir), e->d_name, 0) == 0;
    }
    *n_removed = n;
    return 0;
}

/* --- blobs --- */

struct file_blob {
    int fd;
};

static int open_file(struct files *f, const struct digest *d, enum blob_place place, int *fd,
                     struct stat *st, struct error *err)
{
    char path[PATH_TEXT_MAX];
    blob_path(d, place, path);
    CLEANUP(cleanup_fd) int opened = -1;
    int rc = path_open(f->root_fd, path, PATH_NO_SYMLINKS, O_RDONLY, 0, &opened, err);
    if (rc != 0)
        return rc;
    if (fstat(opened, st) != 0)
        return fail_sys(err, errno, "stat blob");
    *fd = TAKE_FD(opened);
    return 0;
}

static int blob_open(void *store, const struct digest *d, enum blob_place place, void **blob,
                     uint64_t *size, struct error *err)
{
    struct file_blob *b = calloc(1, sizeof *b);
    struct stat st;
    if (!b)
        return fail_nomem(err);
    int rc = open_file(store, d, place, &b->fd, &st, err);
    if (rc != 0) {
        free(b);
        return rc;
    }
    *blob = b;
    *size = (uint64_t)st.st_size;
    return 0;
}

static void blob_close(void *blob)
{
    struct file_blob *b = blob;
    cleanup_fd(&b->fd);
    free(b);
}

static int blob_read(void *blob, void *out, size_t max, uint64_t offset, size_t *got,
                     struct error *err)
{
    const struct file_blob *b = blob;
    return read_at(b->fd, out, max, offset, got, err);
}

static int blob_fd(void *blob)
{
    const struct file_blob *b = blob;
    return b->fd;
}

static int stat_blob(void *store, const struct digest *d, enum blob_place place,
                     struct blob_info *out, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct stat st;
    int rc = open_file(store, d, place, &fd, &st, err);
    if (rc == 0)
        *out = (struct blob_info){*d, (uint64_t)st.st_size, st.st_ctime};
    return rc;
}

static int move_blob(void *store, const struct digest *d, enum blob_place from, enum blob_place to,
                     struct error *err)
{
    struct files *f = store;
    char from_path[PATH_TEXT_MAX];
    CLEANUP(cleanup_fd) int from_fd = -1, to_fd = -1;
    const char *name = NULL;
    blob_path(d, from, from_path);
    int rc = path_open_parent(f->root_fd, from_path, PATH_NO_SYMLINKS, &from_fd, &name, err);
    if (rc == 0)
        rc = make_blob_dir(f, d, to, &to_fd, err);
    if (rc == 0 && renameat(from_fd, name, to_fd, name) != 0)
        return fail_sys(err, errno, "move blob");
    if (rc == 0 && to != BLOB_ASIDE)
        rc = file_sync_dir(to_fd, err);
    if (rc == 0 && to != BLOB_ASIDE)
        rc = file_sync_dir(from_fd, err);
    return rc;
}

static int remove_blob(void *store, const struct digest *d, enum blob_place place,
                       struct error *err)
{
    const struct files *f = store;
    char path[PATH_TEXT_MAX];
    const char *last = NULL;
    CLEANUP(cleanup_fd) int dir_fd = -1;
    blob_path(d, place, path);
    int rc = path_open_parent(f->root_fd, path, PATH_NO_SYMLINKS, &dir_fd, &last, err);
    if (rc == E_NOTFOUND)
        return 0;
    if (rc == 0 && unlinkat(dir_fd, last, 0) != 0 && errno != ENOENT)
        return fail_sys(err, errno, "remove blob");
    return rc;
}

/* --- walking --- */

static int visit_file(const struct blob_visitor *visitor, enum digest_alg alg, int dir_fd,
                      const char *name, struct error *err)
{
    struct blob_info info = {.digest = {.alg = alg}};
    struct stat st;
    if (hex_decode(name, strlen(name), info.digest.bytes, digest_len(alg), NULL) != 0)
        return 0;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : fail_sys(err, errno, "stat blob");
    info.size = (uint64_t)st.st_size;
    info.changed_s = st.st_ctime;
    return S_ISREG(st.st_mode) ? visitor->visit(visitor->context, &info, err) : 0;
}

static int walk_fan(const struct blob_visitor *visitor, enum digest_alg alg, int alg_fd,
                    const char *name, struct error *err)
{
    CLEANUP(cleanup_dir) DIR *dir = NULL;
    int rc = open_dir(alg_fd, name, &dir, err);
    if (rc != 0)
        return rc;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        rc = visit_file(visitor, alg, dirfd(dir), e->d_name, err);
    return rc;
}

static int walk(void *store, enum blob_place place, const struct blob_visitor *visitor,
                struct error *err)
{
    const struct files *f = store;
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s/%s", place_names[place], digest_alg_name(algs[i]));
        CLEANUP(cleanup_dir) DIR *dir = NULL;
        int rc = open_dir(f->root_fd, name, &dir, err);
        for (struct dirent *e; rc == 0 && (e = readdir(dir));)
            if (strlen(e->d_name) == 2 && e->d_name[0] != '.')
                rc = walk_fan(visitor, algs[i], dirfd(dir), e->d_name, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- life --- */

static void close_files(void *store)
{
    struct files *f = store;
    cleanup_fd(&f->root_fd);
    cleanup_fd(&f->uploads_fd);
    free(f);
}

/* What a command run as root makes here belongs to whom the data folder belongs, or the server
 * could not go on with it. */
static int make_place(const struct files *f, const char *name, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct stat data, place;
    int rc = path_make_dirs(f->root_fd, name, 0700, err);
    if (rc != 0 || geteuid() != 0)
        return rc;
    rc = path_open(f->root_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (rc != 0)
        return rc;
    if (fstat(f->root_fd, &data) != 0 || fstat(fd, &place) != 0)
        return fail_sys(err, errno, "look at '%s'", name);
    if (place.st_uid != data.st_uid && fchown(fd, data.st_uid, data.st_gid) != 0)
        return fail_sys(err, errno, "give '%s' its owner", name);
    return 0;
}

static int make_places(const struct files *f, struct error *err)
{
    int rc = make_place(f, "uploads", err);
    for (size_t i = 0; i < sizeof place_names / sizeof *place_names; i++) {
        if (rc == 0)
            rc = make_place(f, place_names[i], err);
        for (size_t j = 0; rc == 0 && j < sizeof algs / sizeof *algs; j++) {
            char name[32];
            snprintf(name, sizeof name, "%s/%s", place_names[i], digest_alg_name(algs[j]));
            rc = make_place(f, name, err);
        }
    }
    return rc;
}

static const struct blob_store_ops ops = {
    .close = close_files,
    .upload_open = upload_open,
    .upload_close = upload_close,
    .upload_write = upload_write,
    .upload_read = upload_read,
    .upload_flush = upload_flush,
    .upload_publish = upload_publish,
    .upload_remove = upload_remove,
    .note_write = note_write,
    .note_read = note_read,
    .sweep = sweep,
    .blob_open = blob_open,
    .blob_close = blob_close,
    .blob_read = blob_read,
    .blob_fd = blob_fd,
    .stat = stat_blob,
    .move = move_blob,
    .remove = remove_blob,
    .walk = walk,
};

int blob_files_open(const char *data_dir, struct blob_store *out, struct error *err)
{
    struct files *f = calloc(1, sizeof *f);
    if (!f)
        return fail_nomem(err);
    f->root_fd = f->uploads_fd = -1;
    f->opened_s = clock_now_s();
    f->opened_monotonic_ms = clock_monotonic_ms();
    int rc = file_open_dir(data_dir, true, &f->root_fd, err);
    if (rc == 0)
        rc = make_places(f, err);
    if (rc == 0)
        rc = path_open(f->root_fd, "uploads", PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0,
                       &f->uploads_fd, err);
    if (rc != 0) {
        close_files(f);
        return wrap(err, rc, "storage '%s'", data_dir);
    }
    *out = (struct blob_store){&ops, f};
    return 0;
}

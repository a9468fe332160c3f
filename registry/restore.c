/* The way back from a backup. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/confine.h"
#include "base/file.h"
#include "base/path.h"
#include "registry/audit_command.h"
#include "registry/backup.h"
#include "registry/blobs.h"
#include "registry/index_scrub.h"
#include "registry/index_trust.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE        64u
#define BLOCK_BYTES (256u << 10)

struct restoring {
    const struct restore_options *o;
    struct backup_report *report;
    struct backup_state state;
    int folder_fd, state_fd, parent_fd, lock_fd, new_fd;
    char *parent, *name;   /* of the data folder */
    char *new_name, *path; /* "<name>.restoring", and with its parent */
    struct blobs *source, *target;
    struct index *index;
    uint8_t *block;
};

static void restoring_done(struct restoring *r)
{
    index_cleanup(&r->index);
    blobs_close(r->source);
    blobs_close(r->target);
    cleanup_fd(&r->folder_fd);
    cleanup_fd(&r->state_fd);
    cleanup_fd(&r->parent_fd);
    cleanup_fd(&r->lock_fd);
    cleanup_fd(&r->new_fd);
    free(r->parent);
    free(r->name);
    free(r->new_name);
    free(r->path);
    free(r->block);
}

/* --- where to --- */

static int split_path(struct restoring *r, struct error *err)
{
    const char *data = r->o->config->data_dir, *slash = strrchr(data, '/');
    if (!slash || !slash[1])
        return fail(err, E_USAGE, "dataDir '%s' cannot be restored into", data);
    r->parent = slash == data ? strdup("/") : strndup(data, (size_t)(slash - data));
    r->name = strdup(slash + 1);
    r->new_name = text_format("%s.restoring", slash + 1);
    r->path = text_format("%s.restoring", data);
    r->block = malloc(BLOCK_BYTES);
    return r->parent && r->name && r->new_name && r->path && r->block ? 0 : fail_nomem(err);
}

/* Missing, or a folder that can be removed: the rename at the end replaces an empty one. */
static int check_free(const struct restoring *r, struct error *err)
{
    CLEANUP(cleanup_fd)
    int fd = openat(r->parent_fd, r->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const char *data = r->o->config->data_dir;
    if (fd < 0)
        return errno == ENOENT ? 0 : fail_sys(err, errno, "dataDir '%s'", data);
    struct stat here, above;
    if (fstat(fd, &here) != 0 || fstat(r->parent_fd, &above) != 0)
        return fail_sys(err, errno, "dataDir '%s'", data);
    if (here.st_dev != above.st_dev)
        return fail(err, E_USAGE,
                    "dataDir '%s' is a mount point: name a folder below it as dataDir", data);
    CLEANUP(cleanup_dir) DIR *dir = fdopendir(fd);
    if (!dir)
        return fail_sys(err, errno, "dataDir '%s'", data);
    (void)TAKE_FD(fd);
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            return fail(err, E_EXISTS, "dataDir '%s' is not empty: move it away before you restore",
                        data);
    return 0;
}

/* What an interrupted restore left is worth nothing: it begins again. */
static int make_target(struct restoring *r, struct error *err)
{
    CLEANUP(cleanup_free) char *lock = text_format("%s.lock", r->new_name);
    if (!lock)
        return fail_nomem(err);
    int rc = file_open_dir(r->parent, true, &r->parent_fd, err);
    if (rc == 0)
        rc = check_free(r, err);
    if (rc == 0)
        rc = file_lock(r->parent_fd, lock, 0, &r->lock_fd, err);
    if (rc == 0)
        rc = path_remove_tree(r->parent_fd, r->new_name, err);
    if (rc == 0 && mkdirat(r->parent_fd, r->new_name, 0700) != 0)
        rc = fail_sys(err, errno, "make '%s'", r->path);
    if (rc == 0)
        rc = file_open_dir(r->path, false, &r->new_fd, err);
    return rc == 0 ? blobs_open(r->path, &r->target, err) : rc;
}

/* --- the backup --- */

static int open_backup(struct restoring *r, struct error *err)
{
    char hex[65];
    int rc = file_open_dir(r->o->folder, false, &r->folder_fd, err);
    if (rc == 0)
        rc = backup_state_read(r->folder_fd, &r->state, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_NOTFOUND, "'%s' holds no finished backup", r->o->folder);
    if (rc == 0)
        rc = path_open(r->folder_fd, r->state.name, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0,
                       &r->state_fd, err);
    if (rc == 0)
        rc = backup_hash_file(r->state_fd, INDEX_FILE_NAME, hex, err);
    if (rc == 0 && strcmp(hex, r->state.index_sha256) != 0)
        rc = fail(err, E_TAMPERED, "the backup's index is not the one that was backed up");
    return rc == 0 ? blobs_open(r->o->folder, &r->source, err) : rc;
}

static int copy_file(int from_fd, int to_fd, const char *name, uint8_t *block, struct error *err)
{
    CLEANUP(cleanup_fd) int from = -1;
    CLEANUP(cleanup_fd) int to = -1;
    ssize_t n = 1;
    int rc = path_open(from_fd, name, PATH_NO_SYMLINKS, O_RDONLY, 0, &from, err);
    if (rc == 0)
        rc = path_open(to_fd, name, PATH_NO_SYMLINKS, O_WRONLY | O_CREAT | O_EXCL, 0600, &to, err);
    while (rc == 0 && n > 0) {
        n = read(from, block, BLOCK_BYTES);
        if (n < 0)
            return fail_sys(err, errno, "read '%s'", name);
        rc = file_write_fd(to, block, (size_t)n, err);
    }
    return rc;
}

static int restore_blob(struct restoring *r, const struct index_blob *b, struct error *err)
{
    CLEANUP(blob_reader_cleanup) struct blob_reader *reader = NULL;
    struct blob_upload *upload = NULL;
    char text[DIGEST_TEXT_MAX];
    uint64_t offset = 0;
    size_t got = 1;
    int rc = blobs_reader_open(r->source, &b->digest, &reader, err);
    if (rc == E_NOTFOUND && b->damaged) {
        r->report->lacking++;
        return 0;
    }
    if (rc == E_NOTFOUND)
        return fail(err, E_TAMPERED, "blob %s is missing in the backup",
                    digest_format(&b->digest, text));
    if (rc == 0)
        rc = blobs_begin(r->target, b->digest.alg, &upload, err);
    while (rc == 0 && got > 0) {
        rc = blob_reader_read(reader, offset, r->block, BLOCK_BYTES, &got, err);
        if (rc == 0)
            rc = blobs_append(r->target, upload, r->block, got, err);
        offset += got;
    }
    if (rc == 0)
        rc = blobs_commit(r->target, upload, &b->digest, err);
    if (rc == 0)
        blobs_upload_free(upload);
    else if (upload)
        blobs_upload_cancel(r->target, upload);
    r->report->blobs++;
    r->report->bytes += offset;
    return wrap(err, rc, "blob %s", digest_format(&b->digest, text));
}

static int restore_blobs(struct restoring *r, struct error *err)
{
    struct index_blob page[PAGE];
    char cursor[DIGEST_TEXT_MAX] = "";
    size_t n = PAGE;
    int rc = 0;
    while (rc == 0 && n == PAGE) {
        struct index_tx *tx = NULL;
        rc = index_read_begin(r->index, &tx, err);
        if (rc == 0)
            rc = index_blobs_after(tx, cursor, page, PAGE, &n, err);
        index_read_end(r->index, tx);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            rc = restore_blob(r, &page[i], err);
            digest_format(&page[i].digest, cursor);
        }
    }
    return rc;
}

/* --- the end --- */

/* The signing service may have gone on since: all it knows is asked for at the next start. */
static int make_due(struct index_tx *tx, void *arg, struct error *err)
{
    (void)arg;
    return index_trust_all_due(tx, err);
}

static int record(struct restoring *r, struct error *err)
{
    char when[CLOCK_TEXT_MAX];
    const struct audit_command c = {.data_dir = r->path,
                                    .index = r->index,
                                    .event = "registry.restore",
                                    .object = clock_format(r->state.time_s, when),
                                    .work = make_due};
    return audit_command(&c, err);
}

struct owner {
    uid_t uid;
    gid_t gid;
};

static int give_tree(int dir_fd, const struct owner *owner, struct error *err);

/* By descriptor, never by path: the folder above may belong to the account that serves, which could
 * put a link to anything into a name's place meanwhile. */
static int give_one(int dir_fd, const char *name, const struct owner *owner, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct stat st;
    int rc =
        path_open(dir_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd, err);
    if (rc != 0)
        return rc;
    if (fstat(fd, &st) != 0)
        return fail_sys(err, errno, "look at '%s'", name);
    if (!S_ISDIR(st.st_mode) && (!S_ISREG(st.st_mode) || st.st_nlink != 1))
        return fail(err, E_TAMPERED, "'%s' is not what was restored", name);
    rc = S_ISDIR(st.st_mode) ? give_tree(fd, owner, err) : 0;
    if (rc == 0 && fchown(fd, owner->uid, owner->gid) != 0)
        rc = fail_sys(err, errno, "give '%s' away", name);
    return rc;
}

static int give_tree(int dir_fd, const struct owner *owner, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(cleanup_dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int rc = dir ? 0 : fail_sys(err, errno, "look into the restored folder");
    if (dir)
        (void)TAKE_FD(fd);
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = give_one(dir_fd, e->d_name, owner, err);
    return rc;
}

static int give_away(const struct restoring *r, struct error *err)
{
    const char *user = r->o->config->user;
    struct owner owner = {0, 0};
    if (!user || geteuid() != 0)
        return 0;
    int rc = confine_find_user(user, &owner.uid, &owner.gid, err);
    if (rc == 0)
        rc = give_tree(r->new_fd, &owner, err);
    if (rc == 0 && fchown(r->new_fd, owner.uid, owner.gid) != 0)
        rc = fail_sys(err, errno, "give '%s' to '%s'", r->path, user);
    return rc;
}

static int appear(struct restoring *r, struct error *err)
{
    CLEANUP(cleanup_free) char *lock = text_format("%s.lock", r->new_name);
    index_cleanup(&r->index);
    int rc = give_away(r, err);
    if (rc == 0 && syncfs(r->new_fd) != 0)
        rc = fail_sys(err, errno, "sync '%s'", r->path);
    if (rc == 0 && renameat(r->parent_fd, r->new_name, r->parent_fd, r->name) != 0)
        rc = fail_sys(err, errno, "put '%s' into place", r->path);
    if (rc == 0)
        rc = file_sync_dir(r->parent_fd, err);
    if (rc == 0 && lock)
        (void)unlinkat(r->parent_fd, lock, 0);
    return rc;
}

static int restore_index(struct restoring *r, struct error *err)
{
    int rc = copy_file(r->state_fd, r->new_fd, INDEX_FILE_NAME, r->block, err);
    if (rc == 0)
        rc = index_open(r->path, &r->index, err);
    if (rc == 0)
        rc = index_start(r->index, err);
    return rc;
}

int backup_restore(const struct restore_options *o, struct backup_report *out, struct error *err)
{
    CLEANUP(restoring_done)
    struct restoring r = {.o = o,
                          .report = out,
                          .folder_fd = -1,
                          .state_fd = -1,
                          .parent_fd = -1,
                          .lock_fd = -1,
                          .new_fd = -1};
    *out = (struct backup_report){0};
    int rc = split_path(&r, err);
    if (rc == 0)
        rc = open_backup(&r, err);
    if (rc == 0)
        rc = make_target(&r, err);
    if (rc == 0)
        rc = restore_index(&r, err);
    if (rc == 0)
        rc = backup_copy_audit(r.state_fd, r.new_fd, false, err);
    if (rc == 0)
        rc = backup_check_audit(r.new_fd, r.index, err);
    if (rc == 0)
        rc = restore_blobs(&r, err);
    if (rc == 0)
        rc = record(&r, err);
    return rc == 0 ? appear(&r, err) : rc;
}

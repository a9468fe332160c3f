#include "registry/backup.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "registry/blobs.h"
#include "registry/gc.h"
#include "registry/index_scrub.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define PAGE        64u
#define BLOCK_BYTES (256u << 10)
#define ROUNDS_MAX  5 /* snapshots, while garbage collection takes away what they name */
#define CONFIG_MAX  CONFIG_FILE_MAX

struct making {
    const struct backup_options *o;
    struct backup_report *report;
    struct index *live;   /* of the running registry */
    struct blobs *source; /* its blobs */
    struct index *copy;   /* the snapshot */
    struct blobs *target;
    int folder_fd, lock_fd, data_fd, state_fd;
    struct backup_state state;
    uint8_t *block;
    bool link;  /* blobs, rather than copying them */
    bool again; /* the snapshot is older than what was removed */
};

static void making_done(struct making *m)
{
    index_cleanup(&m->live);
    index_cleanup(&m->copy);
    blobs_close(m->source);
    blobs_close(m->target);
    cleanup_fd(&m->folder_fd);
    cleanup_fd(&m->lock_fd);
    cleanup_fd(&m->data_fd);
    cleanup_fd(&m->state_fd);
    free(m->block);
}

/* --- the folder --- */

static int is_empty(int folder_fd, bool *empty, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(cleanup_dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir)
        return fail_sys(err, errno, "look into the folder");
    (void)TAKE_FD(fd);
    *empty = true;
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            *empty = false;
    return 0;
}

/* The folder is a backup of this registry, finished or not, or nothing at all. */
static int claim_folder(struct making *m, struct error *err)
{
    CLEANUP(bytes_done) struct bytes owner = BYTES_INIT;
    const char *id = m->state.registry;
    bool empty = false;
    int rc = file_read(m->folder_fd, "registry", 64, &owner, NULL);
    if (rc == 0 && strcmp(bytes_text(&owner), id) == 0)
        return 0;
    if (rc == 0)
        return fail(err, E_EXISTS, "'%s' holds the backup of another registry", m->o->folder);
    rc = is_empty(m->folder_fd, &empty, err);
    if (rc == 0 && !empty)
        return fail(err, E_EXISTS, "'%s' is not empty and no backup", m->o->folder);
    return rc == 0 ? file_write_atomic(m->folder_fd, "registry", id, strlen(id), 0600, err) : rc;
}

static int read_identity(struct making *m, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(m->live, &tx, err);
    if (rc == 0)
        rc = index_identity(tx, m->state.registry, err);
    index_read_end(m->live, tx);
    return rc;
}

/* On the folder itself: a file could not be told from what makes it somebody else's. */
static int lock_folder(struct making *m, struct error *err)
{
    m->lock_fd = openat(m->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->lock_fd < 0)
        return fail_sys(err, errno, "open '%s'", m->o->folder);
    if (flock(m->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK
               ? fail(err, E_BUSY, "another backup goes into '%s' right now", m->o->folder)
               : fail_sys(err, errno, "lock '%s'", m->o->folder);
}

static int open_all(struct making *m, struct error *err)
{
    const char *data = m->o->config->data_dir;
    struct stat st;
    m->block = malloc(BLOCK_BYTES);
    if (!m->block)
        return fail_nomem(err);
    int rc = file_open_dir(data, false, &m->data_fd, err);
    /* Opening makes an index where there is none; a backup of nothing helps nobody. */
    if (rc == 0 && fstatat(m->data_fd, INDEX_FILE_NAME, &st, AT_SYMLINK_NOFOLLOW) != 0)
        rc = fail_sys(err, errno, "'%s' holds no registry: '%s'", data, INDEX_FILE_NAME);
    if (rc == 0)
        rc = index_open(data, &m->live, err);
    if (rc == 0)
        rc = index_start(m->live, err);
    if (rc == 0)
        rc = blobs_open(data, &m->source, err);
    if (rc == 0)
        rc = read_identity(m, err);
    if (rc == 0)
        rc = file_open_dir(m->o->folder, true, &m->folder_fd, err);
    if (rc == 0)
        rc = lock_folder(m, err);
    if (rc == 0)
        rc = claim_folder(m, err);
    struct stat here, there;
    if (rc == 0 && (fstat(m->data_fd, &here) != 0 || fstat(m->folder_fd, &there) != 0))
        rc = fail_sys(err, errno, "look at the folders");
    m->link = rc == 0 && !m->o->copy && here.st_dev == there.st_dev;
    return rc == 0 ? blobs_open(m->o->folder, &m->target, err) : rc;
}

/* --- the snapshot --- */

/* A state of its own number: an unfinished one of that number is in nobody's way. */
static int start_state(struct making *m, struct error *err)
{
    struct backup_state last = {.number = 0};
    int rc = backup_state_read(m->folder_fd, &last, err);
    if (rc != 0 && rc != E_NOTFOUND)
        return rc;
    m->state.number = last.number + 1;
    snprintf(m->state.name, sizeof m->state.name, "state-%" PRIu64, m->state.number);
    rc = path_remove_tree(m->folder_fd, m->state.name, err);
    if (rc == 0)
        rc = path_make_dirs(m->folder_fd, m->state.name, 0700, err);
    cleanup_fd(&m->state_fd);
    return rc == 0 ? path_open(m->folder_fd, m->state.name, PATH_NO_SYMLINKS,
                               O_RDONLY | O_DIRECTORY, 0, &m->state_fd, err)
                   : rc;
}

static int take_snapshot(struct making *m, struct error *err)
{
    CLEANUP(cleanup_free) char *dir = NULL;
    CLEANUP(cleanup_free) char *file = NULL;
    index_cleanup(&m->copy);
    int rc = start_state(m, err);
    if (rc != 0)
        return rc;
    m->state.time_s = clock_now_s();
    dir = text_format("%s/%s", m->o->folder, m->state.name);
    file = dir ? text_format("%s/%s", dir, INDEX_FILE_NAME) : NULL;
    if (!file)
        return fail_nomem(err);
    rc = index_copy_to(m->live, file, err);
    if (rc == 0)
        rc = index_open(dir, &m->copy, err);
    return rc == 0 ? index_start(m->copy, err) : rc;
}

/* --- blobs --- */

static int known_in(struct index *index, const struct digest *d, bool *known, struct error *err)
{
    struct index_tx *tx = NULL;
    int rc = index_read_begin(index, &tx, err);
    if (rc == 0)
        rc = index_blob_is_known(tx, d, known, err);
    index_read_end(index, tx);
    return rc;
}

static int mark_lacking(struct index_tx *tx, void *arg, struct error *err)
{
    return index_damaged_add(tx, arg, "lacking in the backup", err);
}

static int lacks(struct making *m, const struct index_blob *b, const char *why, struct error *err)
{
    struct digest d = b->digest;
    char text[DIGEST_TEXT_MAX];
    m->report->lacking++;
    log_warn("blob %s is not in the backup: %s", digest_format(&d, text), why);
    return b->damaged ? 0 : index_write(m->copy, mark_lacking, &d, err);
}

struct sought {
    struct making *making;
    const struct index_blob *blob;
    bool known, here;
};

/* In a write transaction, in which no collector is at work: what one that was killed had moved
 * aside goes back. */
static int seek_source(struct index_tx *tx, void *arg, struct error *err)
{
    struct sought *s = arg;
    struct error ignored = ERROR_INIT;
    int rc = index_blob_is_known(tx, &s->blob->digest, &s->known, err);
    s->here = rc == 0 && s->known && gc_reclaim(s->making->source, &s->blob->digest, &ignored) == 0;
    return rc;
}

/* Gone from the registry as a whole: then the snapshot is too old. Else it lost its bytes, or a
 * collector had it aside: then *here. */
static int no_source(struct making *m, const struct index_blob *b, bool *here, struct error *err)
{
    struct sought s = {m, b, false, false};
    int rc = index_write(m->live, seek_source, &s, err);
    *here = rc == 0 && s.here;
    if (rc != 0 || *here)
        return rc;
    if (s.known || b->damaged)
        return lacks(m, b, "the registry has no file for it", err);
    m->again = true;
    return 0;
}

static int hash_reader(struct making *m, struct blob_reader *reader, struct blob_upload *upload,
                       const struct digest *expected, struct digest *out, struct error *err)
{
    CLEANUP(digest_stream_cleanup) struct digest_stream *hash = NULL;
    uint64_t offset = 0;
    size_t got = 1;
    int rc = digest_stream_new(expected->alg, &hash, err);
    while (rc == 0 && got > 0) {
        rc = blob_reader_read(reader, offset, m->block, BLOCK_BYTES, &got, err);
        if (rc == 0)
            rc = digest_stream_update(hash, m->block, got, err);
        if (rc == 0 && upload)
            rc = blobs_append(m->target, upload, m->block, got, err);
        offset += got;
    }
    return rc == 0 ? digest_stream_peek(hash, out, err) : rc;
}

/* The same file under a second name; false where the file systems differ. */
static bool link_blob(struct making *m, struct blob_reader *reader, const struct digest *d)
{
    char from[48], hex[DIGEST_TEXT_MAX], to[192], dir[64];
    int fd = blob_reader_fd(reader);
    if (fd < 0)
        return false;
    digest_hex(d, hex);
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(dir, sizeof dir, "blobs/%s/%.2s", digest_alg_name(d->alg), hex);
    snprintf(to, sizeof to, "%s/%s", dir, hex);
    return path_make_dirs(m->folder_fd, dir, 0700, NULL) == 0 &&
           linkat(AT_FDCWD, from, m->folder_fd, to, AT_SYMLINK_FOLLOW) == 0;
}

static int copy_blob(struct making *m, struct blob_reader *reader, const struct digest *d,
                     struct digest *got, struct error *err)
{
    struct blob_upload *upload = NULL;
    int rc = blobs_begin(m->target, d->alg, &upload, err);
    if (rc == 0)
        rc = hash_reader(m, reader, upload, d, got, err);
    bool right = rc == 0 && digest_equal(got, d);
    if (right)
        rc = blobs_commit(m->target, upload, d, err);
    if (rc == 0 && right)
        blobs_upload_free(upload);
    else if (upload)
        blobs_upload_cancel(m->target, upload);
    return rc;
}

static int add_blob(struct making *m, const struct index_blob *b, struct error *err)
{
    CLEANUP(blob_reader_cleanup) struct blob_reader *reader = NULL;
    struct digest got = {.alg = DIGEST_NONE};
    int rc = blobs_reader_open(m->source, &b->digest, &reader, err);
    if (rc == E_NOTFOUND) {
        bool here = false;
        rc = no_source(m, b, &here, err);
        if (rc != 0 || !here)
            return rc;
        rc = blobs_reader_open(m->source, &b->digest, &reader, err);
    }
    if (rc == E_NOTFOUND) { /* collected just now */
        m->again = true;
        return 0;
    }
    /* Hashed before it is linked, or while it is copied: a backup never takes over what is wrong.
     */
    if (rc == 0 && m->link)
        rc = hash_reader(m, reader, NULL, &b->digest, &got, err);
    bool linked =
        rc == 0 && m->link && digest_equal(&got, &b->digest) && link_blob(m, reader, &b->digest);
    if (rc == 0 && !linked)
        rc = copy_blob(m, reader, &b->digest, &got, err);
    if (rc == 0 && !digest_equal(&got, &b->digest))
        return lacks(m, b, "its bytes are wrong: 'bulla-registry scrub' says more", err);
    if (rc == 0) {
        m->report->new_blobs++;
        m->report->new_bytes += blob_reader_size(reader);
    }
    return rc;
}

/* Whether the folder has it; with `verify`, whether its bytes are right. */
static int has_blob(struct making *m, const struct index_blob *b, bool *has, struct error *err)
{
    CLEANUP(blob_reader_cleanup) struct blob_reader *reader = NULL;
    struct digest got = {.alg = DIGEST_NONE};
    int rc = blobs_reader_open(m->target, &b->digest, &reader, err);
    *has = rc == 0 && blob_reader_size(reader) == b->size;
    if (rc == E_NOTFOUND)
        return 0;
    if (rc == 0 && *has && m->o->verify) {
        rc = hash_reader(m, reader, NULL, &b->digest, &got, err);
        *has = digest_equal(&got, &b->digest);
    }
    if (rc == 0 && !*has)
        rc = blobs_delete(m->target, &b->digest, err);
    return rc;
}

static int take_blob(struct making *m, const struct index_blob *b, struct error *err)
{
    bool has = false;
    int rc = has_blob(m, b, &has, err);
    if (rc == 0 && !has)
        rc = add_blob(m, b, err);
    m->report->blobs++;
    m->report->bytes += b->size;
    return rc;
}

static int take_blobs(struct making *m, struct error *err)
{
    struct index_blob page[PAGE];
    char cursor[DIGEST_TEXT_MAX] = "";
    size_t n = PAGE;
    int rc = 0;
    while (rc == 0 && n == PAGE && !m->again) {
        struct index_tx *tx = NULL;
        rc = index_read_begin(m->copy, &tx, err);
        if (rc == 0)
            rc = index_blobs_after(tx, cursor, page, PAGE, &n, err);
        index_read_end(m->copy, tx);
        for (size_t i = 0; rc == 0 && i < n && !m->again; i++) {
            rc = take_blob(m, &page[i], err);
            digest_format(&page[i].digest, cursor);
        }
    }
    m->report->blobs -= m->report->lacking;
    return rc;
}

/* --- the end --- */

static int finish_state(struct making *m, struct error *err)
{
    CLEANUP(bytes_done) struct bytes config = BYTES_INIT;
    int rc = backup_copy_audit(m->data_fd, m->state_fd, m->link, err);
    if (rc == 0)
        rc = backup_check_audit(m->state_fd, m->copy, err);
    if (rc == 0)
        rc = file_read(AT_FDCWD, m->o->config->file, CONFIG_MAX, &config, err);
    if (rc == 0)
        rc = file_write_atomic(m->state_fd, CONFIG_FILE_NAME, config.data, config.len, 0600, err);
    index_cleanup(&m->copy); /* its log goes into the file */
    if (rc == 0)
        rc = backup_hash_file(m->state_fd, INDEX_FILE_NAME, m->state.index_sha256, err);
    /* Everything, links included, before the head that makes it count. */
    if (rc == 0 && syncfs(m->folder_fd) != 0)
        rc = fail_sys(err, errno, "sync the backup");
    return rc == 0 ? backup_state_write(m->folder_fd, &m->state, m->report, err) : rc;
}

struct pruning {
    struct making *m;
    struct index *index;
};

static int prune_blob(void *context, const struct blob_info *info, struct error *err)
{
    const struct pruning *p = context;
    bool known = false;
    int rc = known_in(p->index, &info->digest, &known, err);
    return rc == 0 && !known ? blobs_delete(p->m->target, &info->digest, err) : rc;
}

static int remove_old_states(struct making *m, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = openat(m->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(cleanup_dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int rc = dir ? 0 : fail_sys(err, errno, "look into the backup");
    (void)TAKE_FD(fd);
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (text_starts(e->d_name, "state-") && strcmp(e->d_name, m->state.name) != 0)
            rc = path_remove_tree(m->folder_fd, e->d_name, err);
    return rc;
}

/* What only older states needed. */
static int prune(struct making *m, struct error *err)
{
    CLEANUP(cleanup_free) char *dir = text_format("%s/%s", m->o->folder, m->state.name);
    CLEANUP(index_cleanup) struct index *state = NULL;
    if (!dir)
        return fail_nomem(err);
    int rc = remove_old_states(m, err);
    if (rc == 0)
        rc = index_open(dir, &state, err);
    struct pruning p = {m, state};
    const struct blob_visitor visitor = {prune_blob, &p};
    return rc == 0 ? blobs_walk(m->target, &visitor, err) : rc;
}

int backup_make(const struct backup_options *o, struct backup_report *out, struct error *err)
{
    CLEANUP(making_done)
    struct making m = {.o = o,
                       .report = out,
                       .folder_fd = -1,
                       .lock_fd = -1,
                       .data_fd = -1,
                       .state_fd = -1,
                       .again = true};
    uint64_t new_blobs = 0, new_bytes = 0;
    int rc = open_all(&m, err);
    for (int round = 0; rc == 0 && m.again && round < ROUNDS_MAX; round++) {
        *out = (struct backup_report){.new_blobs = new_blobs, .new_bytes = new_bytes};
        m.again = false;
        rc = take_snapshot(&m, err);
        if (rc == 0)
            rc = take_blobs(&m, err);
        new_blobs = out->new_blobs;
        new_bytes = out->new_bytes;
    }
    if (rc == 0 && m.again)
        rc = fail(err, E_BUSY, "garbage collection removes blobs faster than they are copied");
    if (rc == 0)
        rc = finish_state(&m, err);
    return rc == 0 ? prune(&m, err) : rc;
}

#include "registry/audit_file.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"
#include "registry/audit_scan.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

struct audit_file {
    int data_fd, lock_fd, fd;
    enum audit_chain chain;
    bool keep;
    uint64_t segment_bytes;
    uint64_t first, size;    /* of the open segment; size: what is known to be written */
    struct audit_place last; /* written */
    struct audit_link end;   /* of the buffer */
    size_t last_in_buffer;   /* offset of the buffer's last line */
    uint64_t n_buffered;
    struct bytes buffer;
};

/* --- segments --- */

const char *audit_segment_name(enum audit_chain chain, uint64_t first,
                               char out[AUDIT_SEGMENT_NAME_MAX])
{
    snprintf(out, AUDIT_SEGMENT_NAME_MAX, AUDIT_FOLDER "/%s-%0*" PRIu64 ".jsonl",
             audit_chain_name(chain), AUDIT_SEGMENT_DIGITS, first);
    return out;
}

static bool parse_name(enum audit_chain chain, const char *name, uint64_t *first)
{
    const char *word = audit_chain_name(chain);
    size_t len = strlen(word);
    return strlen(name) == len + 1 + AUDIT_SEGMENT_DIGITS + strlen(".jsonl") &&
           text_starts(name, word) && name[len] == '-' && text_ends(name, ".jsonl") &&
           text_to_u64(name + len + 1, AUDIT_SEGMENT_DIGITS, INT64_MAX, first, NULL) == 0 &&
           *first > 0;
}

static int compare_segments(const void *a, const void *b)
{
    const struct audit_segment *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static int add_segment(struct audit_segment **list, size_t *n, const struct audit_segment *one,
                       struct error *err)
{
    if ((*n & (*n - 1)) == 0) { /* room is the next power of two */
        struct audit_segment *more = reallocarray(*list, *n ? 2 * *n : 1, sizeof *more);
        if (!more)
            return fail_nomem(err);
        *list = more;
    }
    (*list)[(*n)++] = *one;
    return 0;
}

static int open_folder(int data_fd, DIR **out, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc =
        path_open(data_fd, AUDIT_FOLDER, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (rc != 0)
        return rc;
    *out = fdopendir(fd);
    if (!*out)
        return fail_sys(err, errno, "open folder '%s'", AUDIT_FOLDER);
    (void)TAKE_FD(fd);
    return 0;
}

int audit_segments(int data_fd, enum audit_chain chain, struct audit_segment **out, size_t *n,
                   struct error *err)
{
    CLEANUP(cleanup_dir) DIR *dir = NULL;
    CLEANUP(cleanup_free) struct audit_segment *list = NULL;
    size_t count = 0;
    int rc = open_folder(data_fd, &dir, err);
    if (rc != 0 && rc != E_NOTFOUND)
        return rc;
    rc = 0;
    for (struct dirent *e; dir && rc == 0 && (e = readdir(dir));) {
        struct audit_segment one = {0, 0};
        struct stat st;
        if (!parse_name(chain, e->d_name, &one.first))
            continue;
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        one.size = (uint64_t)st.st_size;
        rc = add_segment(&list, &count, &one, err);
    }
    if (rc != 0)
        return rc;
    if (count)
        qsort(list, count, sizeof *list, compare_segments);
    *out = TAKE_PTR(list);
    *n = count;
    return 0;
}

/* --- making files --- */

/* What root makes here belongs to whom the folder belongs, or the server could not go on with it.
 */
static int give(int data_fd, int fd, struct error *err)
{
    struct stat folder, file;
    if (fstat(data_fd, &folder) != 0 || fstat(fd, &file) != 0)
        return fail_sys(err, errno, "look at the audit log");
    if (geteuid() != 0 || file.st_uid == folder.st_uid)
        return 0;
    if (fchown(fd, folder.st_uid, folder.st_gid) != 0)
        return fail_sys(err, errno, "give the audit log to the data folder's owner");
    return 0;
}

static int make_folder(int data_fd, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc =
        path_open(data_fd, AUDIT_FOLDER, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (rc != E_NOTFOUND)
        return rc;
    rc = path_make_dirs(data_fd, AUDIT_FOLDER, 0700, err);
    if (rc == 0)
        rc =
            path_open(data_fd, AUDIT_FOLDER, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (rc == 0)
        rc = give(data_fd, fd, err);
    return rc == 0 ? file_sync_dir(data_fd, err) : rc;
}

static int open_lock(struct audit_file *f, struct error *err)
{
    char name[AUDIT_SEGMENT_NAME_MAX];
    snprintf(name, sizeof name, AUDIT_FOLDER "/%s.lock", audit_chain_name(f->chain));
    int rc =
        path_open(f->data_fd, name, PATH_NO_SYMLINKS, O_RDWR | O_CREAT, 0600, &f->lock_fd, err);
    return rc == 0 ? give(f->data_fd, f->lock_fd, err) : rc;
}

static int open_segment(const struct audit_file *f, uint64_t first, int flags, int *fd,
                        struct error *err)
{
    char name[AUDIT_SEGMENT_NAME_MAX];
    return path_open(f->data_fd, audit_segment_name(f->chain, first, name), PATH_NO_SYMLINKS, flags,
                     flags & O_CREAT ? 0600 : 0, fd, err);
}

static int sync_folder(const struct audit_file *f, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc =
        path_open(f->data_fd, AUDIT_FOLDER, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    return rc == 0 ? file_sync_dir(fd, err) : rc;
}

/* A new, empty segment behind the last record. */
static int start_segment(struct audit_file *f, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    uint64_t first = f->last.link.seq + 1;
    /* Its predecessor is durable first: who syncs later only has the newest at hand. */
    if (f->fd >= 0 && fdatasync(f->fd) != 0)
        return fail_sys(err, errno, "sync the audit log");
    int rc = open_segment(f, first, O_RDWR | O_APPEND | O_CREAT | O_EXCL, &fd, err);
    if (rc == 0)
        rc = give(f->data_fd, fd, err);
    if (rc == 0)
        rc = sync_folder(f, err);
    if (rc != 0)
        return rc;
    cleanup_fd(&f->fd);
    f->fd = TAKE_FD(fd);
    f->first = first;
    f->size = 0;
    return 0;
}

/* --- the buffer --- */

static int add_record(struct audit_file *f, const struct audit_event *e, struct error *err)
{
    if (f->buffer.len + AUDIT_LINE_MAX > AUDIT_BUFFER_BYTES)
        return fail(err, E_LIMIT, "too many records at once for the audit log");
    int rc = bytes_reserve(&f->buffer, AUDIT_LINE_MAX + 1, err);
    if (rc != 0)
        return rc;
    char *to = (char *)f->buffer.data + f->buffer.len;
    size_t len = audit_record_write(f->chain, e, &f->end, to, err);
    if (len == 0)
        return E_INTERNAL;
    f->last_in_buffer = f->buffer.len;
    f->buffer.len += len;
    f->n_buffered++;
    return 0;
}

static void drop_buffer(struct audit_file *f)
{
    bytes_clear(&f->buffer);
    f->n_buffered = 0;
    f->end = f->last.link;
}

static int write_buffer(struct audit_file *f, struct error *err)
{
    int rc = file_write_fd(f->fd, f->buffer.data, f->buffer.len, err);
    /* Half a line on a full disk was promised to nobody; where it cannot be cut off, whoever comes
     * next finds it and says so. */
    if (rc != 0 && ftruncate(f->fd, (off_t)f->size) != 0)
        cleanup_fd(&f->fd);
    if (rc == 0) {
        f->last = (struct audit_place){f->end, f->first, f->size + f->last_in_buffer};
        f->size += f->buffer.len;
    }
    drop_buffer(f);
    return rc;
}

/* --- where the chain ends --- */

static int find_end(struct audit_file *f, struct audit_tail *tail, struct error *err)
{
    CLEANUP(cleanup_free) struct audit_segment *list = NULL;
    size_t n = 0;
    int rc = audit_segments(f->data_fd, f->chain, &list, &n, err);
    if (rc != 0 || n == 0)
        return rc;
    CLEANUP(cleanup_fd) int fd = -1;
    const struct audit_segment *newest = &list[n - 1];
    rc = open_segment(f, newest->first, O_RDWR | O_APPEND, &fd, err);
    if (rc == 0)
        rc = audit_scan_tail(fd, f->chain, newest->first, tail, err);
    if (rc != 0)
        return rc;
    if (tail->last.link.seq == 0 && newest->first > 1) {
        /* Nothing in it yet: the one before tells which record it follows. */
        CLEANUP(cleanup_fd) int before_fd = -1;
        struct audit_tail before = {0};
        rc = n > 1 ? open_segment(f, list[n - 2].first, O_RDONLY, &before_fd, err)
                   : fail(err, E_TAMPERED, "segments of the audit log are missing");
        if (rc == 0)
            rc = audit_scan_tail(before_fd, f->chain, list[n - 2].first, &before, err);
        if (rc == 0 && (before.last.link.seq + 1 != newest->first || before.torn))
            rc = fail(err, E_TAMPERED, "segments of the audit log do not follow each other");
        if (rc != 0)
            return rc;
        tail->last = before.last;
    }
    cleanup_fd(&f->fd);
    f->fd = TAKE_FD(fd);
    f->first = newest->first;
    return 0;
}

/* The torn bytes stay; a newline ends them, and a record behind it says what they are. */
static int note_torn(struct audit_file *f, const struct audit_tail *tail, struct error *err)
{
    CLEANUP(cleanup_free) void *torn = malloc(tail->torn);
    char detail[AUDIT_DETAIL_MAX];
    if (!torn)
        return fail_nomem(err);
    ssize_t n = pread(f->fd, torn, tail->torn, (off_t)(tail->end - tail->torn));
    if (n != (ssize_t)tail->torn)
        return fail_sys(err, n < 0 ? errno : EIO, "read the audit log");
    int rc = audit_repair_detail(torn, tail->torn, detail, err);
    const struct audit_event e = {
        .event = AUDIT_EVENT_REPAIRED, .result = "done", .detail = detail};
    if (rc == 0)
        rc = bytes_append(&f->buffer, "\n", 1, err);
    if (rc == 0)
        rc = add_record(f, &e, err);
    return rc == 0 ? write_buffer(f, err) : rc;
}

/* Under the lock: where other processes left the chain. */
static int catch_up(struct audit_file *f, struct error *err)
{
    struct stat st;
    /* A segment is followed by another only once it is full, so its size tells all. */
    if (f->fd >= 0 && fstat(f->fd, &st) == 0 && (uint64_t)st.st_size == f->size &&
        f->size < f->segment_bytes)
        return 0;
    struct audit_tail tail = {0};
    int rc = find_end(f, &tail, err);
    if (rc != 0)
        return rc;
    f->last = tail.last;
    f->end = tail.last.link;
    f->size = tail.end;
    if (f->fd < 0)
        rc = start_segment(f, err);
    return rc == 0 && tail.torn ? note_torn(f, &tail, err) : rc;
}

/* --- appending --- */

int audit_file_lock(struct audit_file *f, struct error *err)
{
    int64_t until = clock_monotonic_ms() + AUDIT_LOCK_WAIT_MS;
    while (flock(f->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fail_sys(err, errno, "lock the audit log");
        if (clock_monotonic_ms() >= until)
            return fail(err, E_BUSY, "the audit log is locked by another process");
        (void)nanosleep(&(struct timespec){.tv_nsec = 200 * 1000}, NULL);
    }
    int rc = catch_up(f, err);
    if (rc != 0 && !f->keep)
        (void)flock(f->lock_fd, LOCK_UN);
    return rc;
}

void audit_file_unlock(struct audit_file *f)
{
    if (!f->keep)
        (void)flock(f->lock_fd, LOCK_UN);
}

int audit_file_add(struct audit_file *f, const struct audit_event *e, struct error *err)
{
    /* After a write that could not be undone: what is there now? */
    int rc = f->fd < 0 ? catch_up(f, err) : 0;
    return rc == 0 ? add_record(f, e, err) : rc;
}

int audit_file_flush(struct audit_file *f, struct error *err)
{
    if (f->buffer.len == 0)
        return 0;
    int rc = f->size >= f->segment_bytes ? start_segment(f, err) : 0;
    if (rc == 0)
        return write_buffer(f, err);
    drop_buffer(f);
    return rc;
}

size_t audit_file_buffered(const struct audit_file *f, uint64_t *n_records)
{
    if (n_records)
        *n_records = f->n_buffered;
    return f->buffer.len;
}

int audit_file_dup(const struct audit_file *f, int *fd, struct error *err)
{
    int copy = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return fail_sys(err, errno, "open the audit log once more");
    *fd = copy;
    return 0;
}

struct audit_place audit_file_last(const struct audit_file *f)
{
    return f->last;
}

int audit_file_confirm(const struct audit_file *f, const struct audit_place *place,
                       struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    char line[AUDIT_LINE_MAX + 1];
    struct audit_link before, link;
    if (place->link.seq == 0)
        return 0;
    int rc = open_segment(f, place->segment, O_RDONLY, &fd, err);
    if (rc != 0)
        return rc;
    ssize_t n = pread(fd, line, sizeof line, (off_t)place->offset);
    if (n < 0)
        return fail_sys(err, errno, "read the audit log");
    const char *newline = memchr(line, '\n', (size_t)n);
    rc = newline ? audit_record_check(f->chain, line, (size_t)(newline - line), &before, &link, err)
                 : fail(err, E_TAMPERED, "the audit log ends before it");
    if (rc == 0 && !audit_link_equal(&link, &place->link))
        rc = fail(err, E_TAMPERED, "the audit log has another record there");
    return rc;
}

/* --- life --- */

int audit_file_open(int data_fd, enum audit_chain chain, uint64_t segment_bytes, bool keep,
                    struct audit_file **out, struct error *err)
{
    struct audit_file *f = calloc(1, sizeof *f);
    if (!f)
        return fail_nomem(err);
    *f = (struct audit_file){.data_fd = data_fd,
                             .lock_fd = -1,
                             .fd = -1,
                             .chain = chain,
                             .keep = keep,
                             .segment_bytes = segment_bytes};
    int rc = make_folder(data_fd, err);
    if (rc == 0)
        rc = open_lock(f, err);
    if (rc == 0)
        rc = audit_file_lock(f, err);
    if (rc != 0) {
        audit_file_close(f);
        return wrap(err, rc, "audit log '%s'", audit_chain_name(chain));
    }
    audit_file_unlock(f);
    *out = f;
    return 0;
}

void audit_file_close(struct audit_file *f)
{
    if (!f)
        return;
    cleanup_fd(&f->fd);
    cleanup_fd(&f->lock_fd);
    bytes_done(&f->buffer);
    free(f);
}

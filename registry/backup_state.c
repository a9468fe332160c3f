/* What making and restoring a backup share: its head, and the audit log's segments. */
#include "registry/backup.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"
#include "registry/audit_scan.h"
#include "registry/index_audit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define HEAD_MAX    4096u
#define BLOCK_BYTES (256u << 10)

int backup_hash_file(int dir_fd, const char *name, char out[65], struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct digest d = {.alg = DIGEST_NONE};
    int rc = path_open(dir_fd, name, PATH_NO_SYMLINKS, O_RDONLY, 0, &fd, err);
    if (rc == 0)
        rc = digest_of_fd(DIGEST_SHA256, fd, &d, NULL, err);
    if (rc == 0)
        hex_encode(d.bytes, 32, out);
    return wrap(err, rc, "'%s'", name);
}

/* --- backup.json --- */

static int copy_text(const struct js *o, const char *key, char *out, size_t size, struct error *err)
{
    const char *text = NULL;
    int rc = js_want_text(o, key, &text, err);
    if (rc == 0 && strlen(text) >= size)
        rc = fail(err, E_INVALID, "'%s' is too long", key);
    if (rc == 0)
        memcpy(out, text, strlen(text) + 1);
    return rc;
}

static int parse_state(const struct js *o, struct backup_state *out, struct error *err)
{
    static const char *const known[] = {"format",      "registry", "time",  "state",
                                        "indexSha256", "blobs",    "bytes", NULL};
    struct backup_state s = {.number = 0};
    char format[64], when[CLOCK_TEXT_MAX];
    int rc = copy_text(o, "format", format, sizeof format, err);
    if (rc == 0 && strcmp(format, BACKUP_FORMAT) != 0)
        return fail(err, E_UNSUPPORTED, "'%s' is a form that this program does not know", format);
    if (rc == 0)
        rc = js_only_keys(o, known, err);
    if (rc == 0)
        rc = copy_text(o, "registry", s.registry, sizeof s.registry, err);
    if (rc == 0)
        rc = copy_text(o, "state", s.name, sizeof s.name, err);
    if (rc == 0)
        rc = copy_text(o, "indexSha256", s.index_sha256, sizeof s.index_sha256, err);
    if (rc == 0)
        rc = copy_text(o, "time", when, sizeof when, err);
    if (rc == 0)
        rc = clock_parse(when, &s.time_s, err);
    const char *digits = s.name + strlen("state-");
    if (rc == 0 && (!text_starts(s.name, "state-") ||
                    text_to_u64(digits, strlen(digits), INT32_MAX, &s.number, NULL) != 0))
        rc = fail(err, E_INVALID, "'state' names no state");
    if (rc == 0)
        *out = s;
    return rc;
}

int backup_state_read(int folder_fd, struct backup_state *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *root = NULL;
    int rc = file_read(folder_fd, BACKUP_FILE, HEAD_MAX, &text, err);
    if (rc == 0)
        rc = js_parse(text.data, text.len, &root, err);
    if (rc == 0)
        rc = parse_state(root, out, err);
    return wrap(err, rc, "'%s'", BACKUP_FILE);
}

int backup_state_write(int folder_fd, const struct backup_state *state,
                       const struct backup_report *report, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    char when[CLOCK_TEXT_MAX];
    int rc = js_set(o, "format", js_text_new(BACKUP_FORMAT), err);
    if (rc == 0)
        rc = js_set(o, "registry", js_text_new(state->registry), err);
    if (rc == 0)
        rc = js_set(o, "time", js_text_new(clock_format(state->time_s, when)), err);
    if (rc == 0)
        rc = js_set(o, "state", js_text_new(state->name), err);
    if (rc == 0)
        rc = js_set(o, "indexSha256", js_text_new(state->index_sha256), err);
    if (rc == 0)
        rc = js_set(o, "blobs", js_int_new((int64_t)report->blobs), err);
    if (rc == 0)
        rc = js_set(o, "bytes", js_int_new((int64_t)report->bytes), err);
    if (rc == 0)
        rc = js_write(o, true, &text, err);
    return rc == 0 ? file_write_atomic(folder_fd, BACKUP_FILE, text.data, text.len, 0600, err) : rc;
}

/* --- the audit log --- */

/* Whole lines of from, up to where it ends now. */
static int copy_lines(int from, int to, struct error *err)
{
    CLEANUP(cleanup_free) char *block = malloc(BLOCK_BYTES);
    off_t good = 0, at = 0;
    if (!block)
        return fail_nomem(err);
    for (;;) {
        ssize_t n = pread(from, block, BLOCK_BYTES, at);
        if (n < 0)
            return fail_sys(err, errno, "read the audit log");
        if (n == 0)
            break;
        int rc = file_write_fd(to, block, (size_t)n, err);
        if (rc != 0)
            return rc;
        const char *newline = memrchr(block, '\n', (size_t)n);
        if (newline)
            good = at + (newline - block) + 1;
        at += n;
    }
    return ftruncate(to, good) == 0 ? 0 : fail_sys(err, errno, "write the audit log");
}

static int copy_segment(int from_fd, int to_fd, const char *name, struct error *err)
{
    CLEANUP(cleanup_fd) int from = -1;
    CLEANUP(cleanup_fd) int to = -1;
    int rc = path_open(from_fd, name, PATH_NO_SYMLINKS, O_RDONLY, 0, &from, err);
    if (rc == E_NOTFOUND)
        return 0; /* an old one, removed meanwhile */
    if (rc == 0)
        rc = path_open(to_fd, name, PATH_NO_SYMLINKS, O_WRONLY | O_CREAT | O_EXCL, 0600, &to, err);
    if (rc == 0)
        rc = copy_lines(from, to, err);
    if (rc == 0 && fsync(to) != 0)
        rc = fail_sys(err, errno, "sync the audit log");
    return wrap(err, rc, "'%s'", name);
}

static int copy_chain(int from_fd, int to_fd, enum audit_chain chain, bool link, struct error *err)
{
    CLEANUP(cleanup_free) struct audit_segment *list = NULL;
    char name[AUDIT_SEGMENT_NAME_MAX];
    size_t n = 0;
    int rc = audit_segments(from_fd, chain, &list, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        audit_segment_name(chain, list[i].first, name);
        /* One that is followed by another is never written to again. */
        if (link && i + 1 < n && linkat(from_fd, name, to_fd, name, 0) == 0)
            continue;
        rc = copy_segment(from_fd, to_fd, name, err);
    }
    return rc;
}

int backup_copy_audit(int from_fd, int to_fd, bool link, struct error *err)
{
    int rc = path_make_dirs(to_fd, AUDIT_FOLDER, 0700, err);
    if (rc == 0)
        rc = copy_chain(from_fd, to_fd, AUDIT_CHANGES, link, err);
    return rc == 0 ? copy_chain(from_fd, to_fd, AUDIT_ACCESS, link, err) : rc;
}

static int check_chain(int data_fd, struct index *index, enum audit_chain chain, struct error *err)
{
    struct audit_walk walk = {.data_fd = data_fd, .chain = chain};
    struct index_audit_anchor anchor = {0};
    struct audit_result result;
    struct index_tx *tx = NULL;
    int rc = index_read_begin(index, &tx, err);
    if (rc != 0)
        return rc;
    rc = index_audit_get(tx, chain, &anchor, err);
    index_read_end(index, tx);
    if (rc == E_NOTFOUND)
        return 0; /* it has not begun */
    walk.expect = (struct audit_expect){.base = anchor.base, .anchor = anchor.head.link};
    if (rc == 0)
        rc = audit_scan(&walk, &result, err);
    return wrap(err, rc, "audit log '%s'", audit_chain_name(chain));
}

int backup_check_audit(int data_fd, struct index *index, struct error *err)
{
    int rc = check_chain(data_fd, index, AUDIT_CHANGES, err);
    return rc == 0 ? check_chain(data_fd, index, AUDIT_ACCESS, err) : rc;
}

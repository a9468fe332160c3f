#include "registry/audit_scan.h"

#include "base/path.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define READ_BYTES (256u << 10)

static const char mismatch[] = ",\"event\":\"" AUDIT_EVENT_MISMATCH "\",";

/* --- lines of a file --- */

struct reader {
    int fd;
    uint64_t offset; /* in the file, of buffer[0] */
    char *buffer;    /* READ_BYTES */
    size_t len, at;
    bool end; /* nothing more to read from the file */
};

struct piece {
    const char *text;
    size_t len;
    uint64_t offset;
    bool ended; /* by a newline; else the file's end, or longer than any record */
};

static int refill(struct reader *r, struct error *err)
{
    memmove(r->buffer, r->buffer + r->at, r->len - r->at);
    r->offset += r->at;
    r->len -= r->at;
    r->at = 0;
    while (r->len < READ_BYTES && !r->end) {
        ssize_t n =
            pread(r->fd, r->buffer + r->len, READ_BYTES - r->len, (off_t)(r->offset + r->len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "read the audit log");
        r->end = n == 0;
        r->len += (size_t)n;
    }
    return 0;
}

/* *more: false at the end of the file. */
static int next_piece(struct reader *r, struct piece *out, bool *more, struct error *err)
{
    const char *from = r->buffer + r->at, *newline = memchr(from, '\n', r->len - r->at);
    if (!newline && !r->end) {
        int rc = refill(r, err);
        if (rc != 0)
            return rc;
        from = r->buffer + r->at;
        newline = memchr(from, '\n', r->len - r->at);
    }
    *out = (struct piece){from, newline ? (size_t)(newline - from) : r->len - r->at,
                          r->offset + r->at, newline != NULL};
    *more = newline || out->len > 0;
    r->at += out->len + (newline ? 1 : 0);
    return 0;
}

/* --- one chain --- */

struct scan {
    const struct audit_walk *walk;
    struct audit_result *result;
    struct audit_link at; /* the last good record */
    struct reader reader;
    bool anchor_seen, head_seen;
    bool torn; /* from here on in this segment nothing was good */
    uint64_t torn_from;
};

/* Whether the record says of exactly these bytes that they are a broken write. */
static int explains(struct scan *s, const struct piece *p, bool *yes, struct error *err)
{
    CLEANUP(js_cleanup) struct js *tree = NULL;
    char detail[AUDIT_DETAIL_MAX];
    size_t len = (size_t)(p->offset - s->torn_from);
    *yes = false;
    if (audit_record_parse(s->walk->chain, p->text, p->len, &tree, NULL) != 0)
        return 0;
    const char *event = js_text(js_get(tree, "event")), *said = js_text(js_get(tree, "detail"));
    if (!event || !said || strcmp(event, AUDIT_EVENT_REPAIRED) != 0 || len < 2)
        return 0;
    CLEANUP(cleanup_free) char *bytes = malloc(len);
    if (!bytes)
        return fail_nomem(err);
    ssize_t n = pread(s->reader.fd, bytes, len, (off_t)s->torn_from);
    if (n != (ssize_t)len)
        return fail_sys(err, n < 0 ? errno : EIO, "read the audit log");
    int rc = audit_repair_detail(bytes, len - 1, detail, err);
    if (rc == 0)
        *yes = bytes[len - 1] == '\n' && strcmp(detail, said) == 0;
    return rc;
}

static int differs(const struct audit_link *link, const char *what, struct error *err)
{
    return fail(err, E_TAMPERED, "record %" PRIu64 " is not the one that %s", link->seq, what);
}

static int check_expected(struct scan *s, const struct audit_link *before,
                          const struct audit_link *link, struct error *err)
{
    const struct audit_expect *x = &s->walk->expect;
    if ((x->base.seq && before->seq == x->base.seq && !audit_link_equal(before, &x->base)) ||
        (x->base.seq && link->seq == x->base.seq && !audit_link_equal(link, &x->base)))
        return differs(&x->base, "older ones were removed up to", err);
    if (x->anchor.seq && link->seq == x->anchor.seq) {
        if (!audit_link_equal(link, &x->anchor))
            return differs(link, "the index knows", err);
        s->anchor_seen = true;
    }
    if (x->head && memcmp(x->head, link->hash, sizeof link->hash) == 0)
        s->head_seen = true;
    return 0;
}

/* A good line where one was expected. */
static int take_record(struct scan *s, const struct piece *p, const struct audit_link *before,
                       const struct audit_link *link, struct error *err)
{
    int rc = check_expected(s, before, link, err);
    if (rc != 0)
        return rc;
    s->at = *link;
    s->result->last = *link;
    s->result->n_records++;
    /* Quotes inside values are escaped: this text can only be the member. */
    if (!s->result->mismatch && memmem(p->text, p->len, mismatch, sizeof mismatch - 1))
        s->result->mismatch = link->seq;
    return s->walk->visit ? s->walk->visit(s->walk->context, p->text, p->len, err) : 0;
}

static int scan_line(struct scan *s, const struct piece *p, bool first_of_all, struct error *err)
{
    struct audit_link before, link;
    bool explained = false;
    bool good = p->ended &&
                audit_record_check(s->walk->chain, p->text, p->len, &before, &link, NULL) == 0 &&
                before.seq == s->at.seq;
    if (good && first_of_all && before.seq > 0)
        s->at = before; /* the records before were removed; what they were, the index knows */
    good = good && audit_link_equal(&before, &s->at);
    if (good && s->torn) {
        int rc = explains(s, p, &explained, err);
        if (rc != 0)
            return rc;
        good = explained;
    }
    if (!good) {
        if (!s->torn)
            s->torn_from = p->offset;
        s->torn = true;
        return 0;
    }
    s->result->n_repaired += s->torn;
    s->torn = false;
    return take_record(s, p, &before, &link, err);
}

static int bad_record(const struct scan *s, uint64_t first, struct error *err)
{
    char name[AUDIT_SEGMENT_NAME_MAX];
    return fail(err, E_TAMPERED,
                "record %" PRIu64 " is missing or was changed: '%s', byte %" PRIu64, s->at.seq + 1,
                audit_segment_name(s->walk->chain, first, name), s->torn_from);
}

static int scan_segment(struct scan *s, const struct audit_segment *segment, bool last,
                        struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    char name[AUDIT_SEGMENT_NAME_MAX];
    struct piece p, rest = {NULL, 0, 0, true};
    bool more = true, first = s->result->n_records == 0;
    int rc = path_open(s->walk->data_fd, audit_segment_name(s->walk->chain, segment->first, name),
                       PATH_NO_SYMLINKS, O_RDONLY, 0, &fd, err);
    s->reader = (struct reader){.fd = fd, .buffer = s->reader.buffer};
    s->torn = false;
    while (rc == 0) {
        rc = next_piece(&s->reader, &p, &more, err);
        if (rc != 0 || !more)
            break;
        rc = scan_line(s, &p, first && s->result->n_records == 0, err);
        rest = p;
    }
    if (rc != 0)
        return rc;
    /* At the very end: a write that a crash cut off. Whoever goes on with the log says so. */
    bool cut_off = last && !rest.ended && rest.len < AUDIT_LINE_MAX && rest.offset == s->torn_from;
    s->result->cut_off = s->torn && cut_off ? rest.len : 0;
    return s->torn && !cut_off ? bad_record(s, segment->first, err) : 0;
}

static int check_end(const struct scan *s, struct error *err)
{
    const struct audit_expect *x = &s->walk->expect;
    bool removed = x->anchor.seq <= x->base.seq;
    if (x->anchor.seq && !s->anchor_seen && !removed)
        return fail(err, E_TAMPERED,
                    "record %" PRIu64 " is missing: the log ends before it, and the index knows it",
                    s->at.seq + 1);
    if (x->head && !s->head_seen)
        return fail(err, E_TAMPERED, "no record has the hash that was given as head");
    return 0;
}

static int scan_segments(struct scan *s, const struct audit_segment *list, size_t n,
                         struct error *err)
{
    int rc = 0;
    if (n && list[0].first > s->walk->expect.base.seq + 1)
        return fail(err, E_TAMPERED, "record %" PRIu64 " is missing: the log begins behind it",
                    s->walk->expect.base.seq + 1);
    if (n)
        s->at.seq = list[0].first - 1;
    s->result->first = n ? list[0].first : 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (list[i].first != s->at.seq + 1)
            return fail(err, E_TAMPERED, "record %" PRIu64 " is missing: no segment begins with it",
                        s->at.seq + 1);
        rc = scan_segment(s, &list[i], i + 1 == n, err);
    }
    return rc == 0 ? check_end(s, err) : rc;
}

int audit_scan(const struct audit_walk *walk, struct audit_result *out, struct error *err)
{
    CLEANUP(cleanup_free) struct audit_segment *list = NULL;
    CLEANUP(cleanup_free) char *buffer = malloc(READ_BYTES);
    struct audit_result result = {0};
    struct scan s = {.walk = walk, .result = &result, .reader = {.fd = -1, .buffer = buffer}};
    size_t n = 0;
    if (!buffer)
        return fail_nomem(err);
    int rc = audit_segments(walk->data_fd, walk->chain, &list, &n, err);
    if (rc == 0)
        rc = scan_segments(&s, list, n, err);
    *out = result;
    return rc;
}

/* --- the end of a segment --- */

/* The last record from the file's last bytes; false where they are not plainly good. */
static bool tail_quickly(int fd, enum audit_chain chain, uint64_t size, struct audit_tail *out)
{
    char bytes[2 * (AUDIT_LINE_MAX + 1)];
    size_t len = size < sizeof bytes ? (size_t)size : sizeof bytes;
    struct audit_link before, link;
    if (len == 0 || pread(fd, bytes, len, (off_t)(size - len)) != (ssize_t)len ||
        bytes[len - 1] != '\n')
        return false;
    const char *newline = memrchr(bytes, '\n', len - 1);
    if (!newline && len < size)
        return false;
    const char *line = newline ? newline + 1 : bytes;
    size_t line_len = (size_t)(bytes + len - 1 - line);
    if (audit_record_check(chain, line, line_len, &before, &link, NULL) != 0)
        return false;
    out->last.link = link;
    out->last.offset = size - line_len - 1;
    return true;
}

struct tail_scan {
    struct audit_place last;
    uint64_t good; /* bytes up to the end of the last good record */
};

/* Every record of the segment that follows the one before; broken writes in between were noted. */
static int tail_slowly(int fd, enum audit_chain chain, struct tail_scan *out, struct error *err)
{
    CLEANUP(cleanup_free) char *buffer = malloc(READ_BYTES);
    struct reader reader = {.fd = fd, .buffer = buffer};
    struct piece p;
    bool more = true;
    if (!buffer)
        return fail_nomem(err);
    for (;;) {
        struct audit_link before, link;
        int rc = next_piece(&reader, &p, &more, err);
        if (rc != 0 || !more)
            return rc;
        if (!p.ended || audit_record_check(chain, p.text, p.len, &before, &link, NULL) != 0)
            continue;
        if (out->last.link.seq && !audit_link_equal(&before, &out->last.link))
            continue;
        out->last.link = link;
        out->last.offset = p.offset;
        out->good = p.offset + p.len + 1;
    }
}

int audit_scan_tail(int fd, enum audit_chain chain, uint64_t first, struct audit_tail *out,
                    struct error *err)
{
    struct stat st;
    struct tail_scan slow = {0};
    if (fstat(fd, &st) != 0)
        return fail_sys(err, errno, "look at the audit log");
    *out = (struct audit_tail){.end = (uint64_t)st.st_size};
    out->last.segment = first;
    if (out->end == 0 || tail_quickly(fd, chain, out->end, out))
        return 0;
    int rc = tail_slowly(fd, chain, &slow, err);
    if (rc != 0)
        return rc;
    out->last.link = slow.last.link;
    out->last.offset = slow.last.offset;
    out->torn = (size_t)(out->end - slow.good);
    return 0;
}

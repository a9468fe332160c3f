#include "base/audit_record.h"

#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

static const char hash_key[] = ",\"hash\":\"", line_end[] = "\"}";
#define HASH_KEY_LEN (sizeof hash_key - 1)
#define END_LEN      (HASH_KEY_LEN + AUDIT_HASH_HEX + sizeof line_end - 1)

const char *audit_chain_name(enum audit_chain chain)
{
    static const char *const names[] = {"changes", "access", "signer"};
    return names[chain];
}

bool audit_link_equal(const struct audit_link *a, const struct audit_link *b)
{
    return a->seq == b->seq && memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

/* --- writing --- */

struct line {
    char *text;
    size_t len;
};

static void put_raw(struct line *l, const char *text, size_t len)
{
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* One byte of outside text as it stands in a JSON string of printable ASCII. */
static size_t escape(unsigned char c, char out[6])
{
    static const char digits[] = "0123456789abcdef";
    if (is_plain(c)) {
        out[0] = (char)c;
        return 1;
    }
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    memcpy(out, "\\u00", 4);
    out[4] = digits[c >> 4];
    out[5] = digits[c & 15];
    return 6;
}

/* `,"key":"text"`, at most max bytes of escaped text. */
static void put_text(struct line *l, const char *key, const char *text, size_t max)
{
    if (!text)
        return;
    put_raw(l, ",\"", 2);
    put_raw(l, key, strlen(key));
    put_raw(l, "\":\"", 3);
    size_t used = 0;
    for (const char *p = text; *p; p++) {
        char out[6];
        size_t n = escape((unsigned char)*p, out);
        if (used + n > max - 3) {
            put_raw(l, "...", 3);
            break;
        }
        put_raw(l, out, n);
        used += n;
    }
    put_raw(l, "\"", 1);
}

static void put_head(struct line *l, enum audit_chain chain, const struct audit_link *before,
                     int64_t time_s)
{
    char hex[AUDIT_HASH_HEX + 1], when[CLOCK_TEXT_MAX];
    hex_encode(before->hash, sizeof before->hash, hex);
    l->len +=
        (size_t)snprintf(l->text, AUDIT_LINE_MAX,
                         "{\"log\":\"%s\",\"seq\":%" PRIu64 ",\"prev\":\"%s\",\"time\":\"%s\"",
                         audit_chain_name(chain), before->seq + 1, hex,
                         clock_format(time_s ? time_s : clock_now_s(), when));
}

/* The limits add up to less than AUDIT_LINE_MAX with keys, head and hash. */
static void put_fields(struct line *l, const struct audit_event *e)
{
    put_text(l, "event", e->event, 48);
    put_text(l, "result", e->result, 24);
    if (e->status)
        l->len += (size_t)snprintf(l->text + l->len, 24, ",\"status\":%u", e->status);
    put_text(l, "who", e->who, 200);
    put_text(l, "from", e->from, 80);
    put_text(l, "request", e->request, 64);
    put_text(l, "repository", e->repository, 300);
    put_text(l, "object", e->object, 300);
    put_text(l, "detail", e->detail, AUDIT_DETAIL_MAX);
}

size_t audit_record_write(enum audit_chain chain, const struct audit_event *e,
                          struct audit_link *at, char out[static AUDIT_LINE_MAX + 1],
                          struct error *err)
{
    struct line l = {out, 0};
    struct digest d = {.alg = DIGEST_NONE};
    char hex[AUDIT_HASH_HEX + 1];
    put_head(&l, chain, at, e->time_s);
    put_fields(&l, e);
    if (digest_of(DIGEST_SHA256, out, l.len, &d, err) != 0)
        return 0;
    hex_encode(d.bytes, AUDIT_HASH_LEN, hex);
    put_raw(&l, hash_key, HASH_KEY_LEN);
    put_raw(&l, hex, AUDIT_HASH_HEX);
    put_raw(&l, line_end, sizeof line_end - 1);
    put_raw(&l, "\n", 1);
    at->seq++;
    memcpy(at->hash, d.bytes, sizeof at->hash);
    return l.len;
}

/* --- reading --- */

static int bad(struct error *err, const char *why)
{
    return fail(err, E_TAMPERED, "not a record of this log: %s", why);
}

static bool take(const char **p, const char *end, const char *text)
{
    size_t len = strlen(text);
    if ((size_t)(end - *p) < len || memcmp(*p, text, len) != 0)
        return false;
    *p += len;
    return true;
}

/* Lower-case digits only, so that no other spelling of a record exists. */
static bool read_hash(const char *hex, uint8_t out[AUDIT_HASH_LEN])
{
    for (size_t i = 0; i < AUDIT_HASH_HEX; i++)
        if (hex[i] >= 'A' && hex[i] <= 'F')
            return false;
    return hex_decode(hex, AUDIT_HASH_HEX, out, AUDIT_HASH_LEN, NULL) == 0;
}

/* What stands in front of the time: which log, which number, after which record. */
static int read_head(enum audit_chain chain, const char *p, const char *end,
                     struct audit_link *before, struct error *err)
{
    uint64_t seq = 0;
    if (!take(&p, end, "{\"log\":\"") || !take(&p, end, audit_chain_name(chain)) ||
        !take(&p, end, "\",\"seq\":"))
        return bad(err, "its beginning is none");
    size_t n = 0;
    while (p + n < end && p[n] >= '0' && p[n] <= '9')
        n++;
    if (n == 0 || *p == '0' || text_to_u64(p, n, INT64_MAX, &seq, NULL) != 0)
        return bad(err, "it has no number");
    p += n;
    if (!take(&p, end, ",\"prev\":\"") || (size_t)(end - p) < AUDIT_HASH_HEX ||
        !read_hash(p, before->hash))
        return bad(err, "it names no record before it");
    before->seq = seq - 1;
    return 0;
}

int audit_record_check(enum audit_chain chain, const char *line, size_t len,
                       struct audit_link *before, struct audit_link *link, struct error *err)
{
    struct digest d = {.alg = DIGEST_NONE};
    struct audit_link prev = {0}, self = {0};
    if (len > AUDIT_LINE_MAX || len < END_LEN)
        return bad(err, "its length cannot be");
    const char *tail = line + len - END_LEN, *p = tail;
    if (!take(&p, line + len, hash_key) || !read_hash(p, self.hash))
        return bad(err, "it has no hash");
    p += AUDIT_HASH_HEX;
    if (!take(&p, line + len, line_end))
        return bad(err, "its end is none");
    int rc = read_head(chain, line, tail, &prev, err);
    if (rc == 0)
        rc = digest_of(DIGEST_SHA256, line, (size_t)(tail - line), &d, err);
    if (rc != 0)
        return rc;
    if (memcmp(d.bytes, self.hash, sizeof self.hash) != 0)
        return bad(err, "it was changed");
    self.seq = prev.seq + 1;
    *before = prev;
    *link = self;
    return 0;
}

int audit_record_parse(enum audit_chain chain, const char *line, size_t len, struct js **out,
                       struct error *err)
{
    struct audit_link before, link;
    int rc = audit_record_check(chain, line, len, &before, &link, err);
    return rc == 0 ? js_parse(line, len, out, err) : rc;
}

int audit_repair_detail(const void *torn, size_t len, char out[static AUDIT_DETAIL_MAX],
                        struct error *err)
{
    struct digest d = {.alg = DIGEST_NONE};
    char text[DIGEST_TEXT_MAX];
    int rc = digest_of(DIGEST_SHA256, torn, len, &d, err);
    if (rc == 0)
        snprintf(out, AUDIT_DETAIL_MAX, "%zu bytes of a broken write: %s", len,
                 digest_format(&d, text));
    return rc;
}

#include "registry/route.h"

#include "registry/http_text.h"

#include <string.h>

#define MAX_SEGMENTS 132u /* 255 bytes of name are at most 128 components */
#define SEGMENT_MAX  256u

struct segments {
    const char *start[MAX_SEGMENTS];
    size_t len[MAX_SEGMENTS];
    size_t n;
};

static int split(const char *path, struct segments *out, struct error *err)
{
    if (path[0] != '/')
        return fail(err, E_NOTFOUND, "no such endpoint");
    out->n = 0;
    for (const char *p = path + 1;; p++) {
        if (out->n == MAX_SEGMENTS)
            return fail(err, E_INVALID, "path has more than %u components", MAX_SEGMENTS);
        size_t len = strcspn(p, "/");
        out->start[out->n] = p;
        out->len[out->n++] = len;
        p += len;
        if (!*p)
            return 0;
    }
}

const char *route_kind_name(enum route_kind kind)
{
    switch (kind) {
    case ROUTE_BASE:
        return "base";
    case ROUTE_CATALOG:
        return "catalog";
    case ROUTE_TAGS:
        return "tags";
    case ROUTE_MANIFEST:
        return "manifest";
    case ROUTE_BLOB:
        return "blob";
    case ROUTE_UPLOADS:
    case ROUTE_UPLOAD:
        return kind == ROUTE_UPLOAD ? "upload" : "uploads";
    case ROUTE_REFERRERS:
        return "referrers";
    case ROUTE_TRUST:
        return "trust";
    case ROUTE_TRUST_FILE:
        return "trust-file";
    case ROUTE_TRUST_KEY:
        return "trust-key";
    case ROUTE_TRUST_TARGET:
        return "trust-target";
    case ROUTE_TRUST_MIRROR:
        return "trust-mirror";
    case ROUTE_TOKEN:
        return "token";
    case ROUTE_HEALTH:
        return "health";
    case ROUTE_READY:
        return "ready";
    case ROUTE_METRICS:
        return "metrics";
    }
    return "unknown";
}

/* Segment counted from the end: 1 is the last. Undecoded; keywords are never written escaped. */
static bool is_word(const struct segments *s, size_t from_end, const char *word)
{
    if (from_end > s->n)
        return false;
    size_t i = s->n - from_end;
    return s->len[i] == strlen(word) && memcmp(s->start[i], word, s->len[i]) == 0;
}

static int decode_segment(const struct segments *s, size_t from_end, char *out, size_t size,
                          struct error *err)
{
    size_t i = s->n - from_end;
    return http_decode(s->start[i], s->len[i], out, size, err);
}

/* The segments between "v2" and the last n_suffix ones. */
static int read_name(const struct segments *s, size_t n_suffix, struct route *out,
                     struct error *err)
{
    if (s->n < n_suffix + 2)
        return fail(err, E_INVALID, "repository name is missing");
    size_t used = 0;
    for (size_t i = 1; i < s->n - n_suffix; i++) {
        char part[SEGMENT_MAX];
        int rc = http_decode(s->start[i], s->len[i], part, sizeof part, err);
        if (rc != 0)
            return rc;
        size_t len = strlen(part);
        if (used + (i > 1) + len >= sizeof out->repository || strchr(part, '/'))
            return fail(err, E_INVALID, "repository name is not valid");
        if (i > 1)
            out->repository[used++] = '/';
        memcpy(out->repository + used, part, len);
        used += len;
    }
    out->repository[used] = '\0';
    if (!repository_name_valid(out->repository, used))
        return fail(err, E_INVALID,
                    "repository name '%s' is not valid: lower-case components of letters, digits "
                    "and single separators",
                    out->repository);
    return 0;
}

static int read_digest(const struct segments *s, struct route *out, struct error *err)
{
    char text[SEGMENT_MAX];
    int rc = decode_segment(s, 1, text, sizeof text, err);
    if (rc == 0)
        rc = digest_parse_text(text, &out->digest, err);
    return rc == E_LIMIT ? fail(err, E_INVALID, "digest is too long") : rc;
}

static int read_reference(const struct segments *s, struct route *out, const char **code,
                          struct error *err)
{
    char text[SEGMENT_MAX];
    int rc = decode_segment(s, 1, text, sizeof text, err);
    *code = "NAME_INVALID";
    if (rc != 0)
        return rc == E_LIMIT ? fail(err, E_INVALID, "tag is too long") : rc;
    if (strchr(text, ':')) {
        *code = "DIGEST_INVALID";
        return digest_parse_text(text, &out->digest, err);
    }
    if (!tag_name_valid(text, strlen(text)))
        return fail(err, E_INVALID, "'%s' is neither a tag nor a digest", text);
    memcpy(out->tag, text, strlen(text) + 1);
    return 0;
}

static int read_upload(const struct segments *s, struct route *out, struct error *err)
{
    char text[SEGMENT_MAX];
    uint8_t id[ROUTE_UPLOAD_ID_LEN / 2];
    if (decode_segment(s, 1, text, sizeof text, NULL) != 0 ||
        hex_decode(text, strlen(text), id, sizeof id, NULL) != 0)
        return fail(err, E_NOTFOUND, "no such upload");
    hex_encode(id, sizeof id, out->upload);
    return 0;
}

/* "N.ROLE.json", "timestamp.json", "ROLE.key". */
static int read_trust_file(const struct segments *s, struct route *out, struct error *err)
{
    char text[SEGMENT_MAX];
    if (decode_segment(s, 1, text, sizeof text, NULL) != 0)
        return fail(err, E_NOTFOUND, "no such metadata file");
    const char *role = text;
    bool key = text_ends(text, ".key");
    char *suffix = text + strlen(text) - (key ? 4 : 5);
    if (!key && !text_ends(text, ".json"))
        return fail(err, E_NOTFOUND, "no such metadata file: '%s'", text);
    *suffix = '\0';
    out->kind = key ? ROUTE_TRUST_KEY : ROUTE_TRUST_FILE;
    out->version = 0;
    size_t digits = strspn(text, "0123456789");
    if (!key && digits > 0 && text[digits] == '.' && text[0] != '0') {
        uint64_t version = 0;
        if (text_to_u64(text, digits, TUF_MAX_VERSION, &version, NULL) != 0)
            return fail(err, E_NOTFOUND, "no such version");
        out->version = (int64_t)version;
        role = text + digits + 1;
    }
    bool top = strcmp(role, "root") == 0 || strcmp(role, "targets") == 0 ||
               strcmp(role, "snapshot") == 0 || strcmp(role, "timestamp") == 0;
    if (strlen(role) > TUF_MAX_ROLE_NAME || (!top && !tuf_role_name_valid(role)))
        return fail(err, E_NOTFOUND, "no such metadata file: '%s'", role);
    memcpy(out->role, role, strlen(role) + 1);
    return 0;
}

/* SHA256.NAME: a stock client asks for a target by its hash and name. */
static int read_trust_target(const struct segments *s, struct route *out, struct error *err)
{
    char text[SEGMENT_MAX];
    if (decode_segment(s, 1, text, sizeof text, NULL) != 0)
        return fail(err, E_NOTFOUND, "no such target");
    const char *dot = strchr(text, '.');
    out->digest = (struct digest){.alg = DIGEST_SHA256};
    if (!dot || hex_decode(text, (size_t)(dot - text), out->digest.bytes, 32, NULL) != 0 ||
        strlen(dot + 1) >= sizeof out->target || !tuf_target_name_valid(dot + 1))
        return fail(err, E_NOTFOUND, "no such target");
    memcpy(out->target, dot + 1, strlen(dot + 1) + 1);
    return 0;
}

/* --- the table of suffixes --- */

static int match_trust(const struct segments *s, struct route *out, size_t *n_suffix,
                       struct error *err)
{
    *n_suffix = 3;
    if (is_word(s, 2, "tuf") && is_word(s, 1, "")) {
        out->kind = ROUTE_TRUST;
        return 0;
    }
    if (is_word(s, 2, "tuf"))
        return read_trust_file(s, out, err);
    out->kind = ROUTE_TRUST_TARGET;
    return read_trust_target(s, out, err);
}

static int match_blob(const struct segments *s, struct route *out, size_t *n_suffix,
                      const char **code, struct error *err)
{
    if (is_word(s, 3, "blobs") && is_word(s, 2, "uploads")) {
        *n_suffix = 3;
        *code = "BLOB_UPLOAD_UNKNOWN";
        out->kind = is_word(s, 1, "") ? ROUTE_UPLOADS : ROUTE_UPLOAD;
        return out->kind == ROUTE_UPLOADS ? 0 : read_upload(s, out, err);
    }
    *n_suffix = 2;
    if (is_word(s, 1, "uploads")) {
        out->kind = ROUTE_UPLOADS;
        return 0;
    }
    *code = "DIGEST_INVALID";
    out->kind = ROUTE_BLOB;
    return read_digest(s, out, err);
}

static int match_suffix(const struct segments *s, struct route *out, size_t *n_suffix,
                        const char **code, struct error *err)
{
    *n_suffix = 2;
    *code = "UNSUPPORTED";
    if (is_word(s, 3, "_trust") && (is_word(s, 2, "tuf") || is_word(s, 2, "targets")))
        return match_trust(s, out, n_suffix, err);
    if (is_word(s, 2, "_trust") && is_word(s, 1, "mirror")) {
        out->kind = ROUTE_TRUST_MIRROR;
        return 0;
    }
    if (is_word(s, 2, "tags") && is_word(s, 1, "list")) {
        out->kind = ROUTE_TAGS;
        return 0;
    }
    if (is_word(s, 2, "manifests")) {
        out->kind = ROUTE_MANIFEST;
        return read_reference(s, out, code, err);
    }
    if (is_word(s, 2, "referrers")) {
        *code = "DIGEST_INVALID";
        out->kind = ROUTE_REFERRERS;
        return read_digest(s, out, err);
    }
    if (is_word(s, 2, "blobs") || (is_word(s, 3, "blobs") && is_word(s, 2, "uploads")))
        return match_blob(s, out, n_suffix, code, err);
    return fail(err, E_NOTFOUND, "no such endpoint");
}

/* What operators ask for, outside the API's name space. */
static bool match_operator(const struct segments *s, struct route *out)
{
    static const struct {
        const char *word;
        enum route_kind kind;
    } words[] = {{"healthz", ROUTE_HEALTH}, {"readyz", ROUTE_READY}, {"metrics", ROUTE_METRICS}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is_word(s, 1, words[i].word)) {
            *out = (struct route){.kind = words[i].kind};
            return true;
        }
    return false;
}

int route_parse(const char *path, struct route *out, const char **code, struct error *err)
{
    struct segments s;
    struct route route = {.kind = ROUTE_BASE};
    *code = "UNSUPPORTED";
    int rc = split(path, &s, err);
    if (rc != 0)
        return rc;
    if (s.n == 1 && match_operator(&s, out))
        return 0;
    if (s.n == 2 && is_word(&s, 2, "auth") && is_word(&s, 1, "token")) {
        route.kind = ROUTE_TOKEN;
        *out = route;
        return 0;
    }
    if (!is_word(&s, s.n, "v2"))
        return fail(err, E_NOTFOUND, "no such endpoint");
    if (s.n == 1 || (s.n == 2 && is_word(&s, 1, ""))) {
        *out = route;
        return 0;
    }
    if (s.n == 2 && is_word(&s, 1, "_catalog")) {
        route.kind = ROUTE_CATALOG;
        *out = route;
        return 0;
    }
    size_t n_suffix = 0;
    rc = match_suffix(&s, &route, &n_suffix, code, err);
    if (rc != 0)
        return rc;
    *code = "NAME_INVALID";
    rc = read_name(&s, n_suffix, &route, err);
    if (rc == E_LIMIT)
        return fail(err, E_INVALID, "repository name is too long");
    if (rc == 0)
        *out = route;
    return rc;
}

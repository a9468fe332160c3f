#include "oci/layer_record.h"

#include <string.h>

#define MAGIC       "bulla layer record 1\n"
#define MAGIC_LEN   (sizeof MAGIC - 1)
#define HEADER_LEN  (MAGIC_LEN + 1 + DIGEST_BYTES_MAX + 8 + 8)
#define COUNTS_AT   (MAGIC_LEN + 1 + DIGEST_BYTES_MAX)
#define TRAILER_LEN 32

/* --- writing --- */

static void store_le(uint8_t *at, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* The caller has reserved room. */
static void put_number(struct bytes *out, uint64_t value, size_t len)
{
    store_le(out->data + out->len, value, len);
    out->len += len;
}

static void put_data(struct bytes *out, const void *data, size_t len)
{
    if (len)
        memcpy(out->data + out->len, data, len);
    out->len += len;
}

/* Length, bytes, NUL: readers take the text in place as a C string. */
static void put_text(struct bytes *out, const char *text)
{
    size_t len = strlen(text);
    put_number(out, len, 2);
    put_data(out, text, len + 1);
}

int layer_record_begin(struct bytes *out, const struct digest *diff_id, struct error *err)
{
    int rc = bytes_reserve(out, HEADER_LEN, err);
    if (rc)
        return rc;
    uint8_t id[DIGEST_BYTES_MAX] = {0};
    memcpy(id, diff_id->bytes, digest_len(diff_id->alg));
    put_data(out, MAGIC, MAGIC_LEN);
    put_number(out, (uint64_t)diff_id->alg, 1);
    put_data(out, id, sizeof id);
    put_number(out, 0, 8);
    put_number(out, 0, 8);
    return OK;
}

int layer_record_append(struct bytes *out, const struct layer_item *item, struct error *err)
{
    size_t path = strlen(item->path);
    size_t target = item->type == LAYER_ITEM_SYMLINK ? strlen(item->target) : 0;
    if (path > LAYER_MAX_PATH || target > LAYER_MAX_PATH || item->xattrs_len > UINT32_MAX)
        return fail(err, E_LIMIT, "'%s': name, target or attributes are too long", item->path);
    if (out->len > LAYER_RECORD_MAX_BYTES)
        return fail(err, E_LIMIT, "the layer's record is larger than %u bytes",
                    LAYER_RECORD_MAX_BYTES);
    int rc = bytes_reserve(out, 128 + path + target + item->xattrs_len, err);
    if (rc)
        return rc;
    put_number(out, (uint64_t)item->type, 1);
    put_number(out, item->mode, 4);
    put_number(out, item->uid, 4);
    put_number(out, item->gid, 4);
    put_number(out, (uint64_t)item->mtime_s, 8);
    put_number(out, item->mtime_ns, 4);
    put_text(out, item->path);
    if (item->type == LAYER_ITEM_FILE) {
        put_number(out, item->size, 8);
        put_data(out, item->sha256, sizeof item->sha256);
    }
    if (item->type == LAYER_ITEM_SYMLINK)
        put_text(out, item->target);
    put_number(out, item->xattrs_len, 4);
    put_data(out, item->xattrs, item->xattrs_len);
    return OK;
}

int layer_record_finish(struct bytes *out, uint64_t n_entries, uint64_t n_left_out,
                        struct error *err)
{
    struct digest d;
    store_le(out->data + COUNTS_AT, n_entries, 8);
    store_le(out->data + COUNTS_AT + 8, n_left_out, 8);
    int rc = digest_of(DIGEST_SHA256, out->data, out->len, &d, err);
    return rc ? rc : bytes_append(out, d.bytes, TRAILER_LEN, err);
}

/* --- reading --- */

static bool take_number(struct layer_record *r, size_t len, uint64_t *out)
{
    if ((size_t)(r->end - r->at) < len)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value |= (uint64_t)r->at[i] << (8 * i);
    r->at += len;
    *out = value;
    return true;
}

static bool take_data(struct layer_record *r, size_t len, const uint8_t **out)
{
    if ((size_t)(r->end - r->at) < len)
        return false;
    *out = r->at;
    r->at += len;
    return true;
}

static bool take_text(struct layer_record *r, const char **out)
{
    uint64_t len;
    const uint8_t *text;
    if (!take_number(r, 2, &len) || len > LAYER_MAX_PATH || !take_data(r, (size_t)len + 1, &text))
        return false;
    if (text[len] || memchr(text, 0, (size_t)len))
        return false;
    *out = (const char *)text;
    return true;
}

int layer_record_open(const void *data, size_t len, struct layer_record *out, struct error *err)
{
    const uint8_t *bytes = data;
    struct digest d;
    uint64_t alg;
    if (len < HEADER_LEN + TRAILER_LEN || memcmp(bytes, MAGIC, MAGIC_LEN) != 0)
        return fail(err, E_INVALID, "not a layer record");
    int rc = digest_of(DIGEST_SHA256, bytes, len - TRAILER_LEN, &d, err);
    if (rc)
        return rc;
    if (memcmp(d.bytes, bytes + len - TRAILER_LEN, TRAILER_LEN) != 0)
        return fail(err, E_INVALID, "the layer record does not have its digest");
    struct layer_record r = {.at = bytes + MAGIC_LEN, .end = bytes + len - TRAILER_LEN};
    const uint8_t *id;
    if (!take_number(&r, 1, &alg) || !take_data(&r, DIGEST_BYTES_MAX, &id) ||
        !take_number(&r, 8, &r.n_entries) || !take_number(&r, 8, &r.n_left_out))
        return fail(err, E_INVALID, "layer record: cut off");
    if ((alg != DIGEST_SHA256 && alg != DIGEST_SHA512) || r.n_entries > LAYER_MAX_ENTRIES)
        return fail(err, E_INVALID, "layer record: bad header");
    r.diff_id.alg = (enum digest_alg)alg;
    memcpy(r.diff_id.bytes, id, digest_len(r.diff_id.alg));
    memcpy(r.sha256, d.bytes, sizeof r.sha256);
    *out = r;
    return OK;
}

static int weight(char c)
{
    if (!c)
        return 0;
    return c == '/' ? 1 : (uint8_t)c + 1;
}

int layer_path_order(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return weight(*a) - weight(*b);
}

/* Components are neither empty nor "." nor "..": what a checker opens stays below the root. */
static bool path_is_clean(const char *path)
{
    for (const char *p = path;;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        if (!p[n])
            return true;
        p += n + 1;
    }
}

/* Tree order, and the parent is a folder that came before. */
static bool follows(const struct layer_record *r, const char *path)
{
    const char *last = r->last_path;
    if (!last)
        return !*path;
    const char *slash = strrchr(path, '/');
    size_t parent = slash ? (size_t)(slash - path) : 0;
    if (!path_is_clean(path) || layer_path_order(last, path) >= 0)
        return false;
    if (parent == 0)
        return true;
    if (strncmp(last, path, parent) != 0)
        return false;
    return last[parent] == '/' || (!last[parent] && r->last_is_folder);
}

static bool take_kind(struct layer_record *r, struct layer_item *item)
{
    uint64_t n;
    const uint8_t *data;
    item->target = "";
    switch (item->type) {
    case LAYER_ITEM_FILE:
        if (!take_number(r, 8, &n) || n > INT64_MAX || !take_data(r, sizeof item->sha256, &data))
            return false;
        item->size = n;
        memcpy(item->sha256, data, sizeof item->sha256);
        return true;
    case LAYER_ITEM_SYMLINK:
        return take_text(r, &item->target) && *item->target;
    case LAYER_ITEM_FOLDER:
    case LAYER_ITEM_FIFO:
    case LAYER_ITEM_WHITEOUT:
        return true;
    }
    return false;
}

static bool take_item(struct layer_record *r, struct layer_item *item)
{
    uint64_t type, mode, uid, gid, mtime, ns, xattrs;
    if (!take_number(r, 1, &type) || !take_number(r, 4, &mode) || !take_number(r, 4, &uid) ||
        !take_number(r, 4, &gid) || !take_number(r, 8, &mtime) || !take_number(r, 4, &ns))
        return false;
    if (mode > 07777 || ns > 999999999)
        return false;
    *item = (struct layer_item){
        .type = (enum layer_item_type)type,
        .mode = (uint32_t)mode,
        .uid = (uint32_t)uid,
        .gid = (uint32_t)gid,
        .mtime_s = (int64_t)mtime,
        .mtime_ns = (uint32_t)ns,
    };
    if (!take_text(r, &item->path) || !follows(r, item->path) || !take_kind(r, item))
        return false;
    if (!take_number(r, 4, &xattrs) || !take_data(r, (size_t)xattrs, &item->xattrs))
        return false;
    item->xattrs_len = (size_t)xattrs;
    return *item->path || item->type == LAYER_ITEM_FOLDER;
}

int layer_record_next(struct layer_record *r, struct layer_item *out, struct bytes *raw, bool *end,
                      struct error *err)
{
    const uint8_t *start = r->at;
    if (r->n_read == r->n_entries) {
        if (r->at != r->end)
            return fail(err, E_INVALID, "layer record: data behind the last entry");
        *end = true;
        return OK;
    }
    struct layer_item item;
    if (!take_item(r, &item))
        return fail(err, E_INVALID, "layer record: entry %llu is malformed",
                    (unsigned long long)r->n_read);
    r->n_read++;
    r->last_path = item.path;
    r->last_is_folder = item.type == LAYER_ITEM_FOLDER;
    *out = item;
    *end = false;
    if (!raw)
        return OK;
    bytes_clear(raw);
    return bytes_append(raw, start, (size_t)(r->at - start), err);
}

/* Is an unpacked layer still what its record says? */
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "oci/layer_cache.h"
#include "oci/layer_tree.h"
#include "oci/store_private.h"

#include <fcntl.h>
#include <string.h>

#define READ_BLOCK 262144u

struct check {
    struct layer_record record;    /* reading position */
    const struct layer_cache *old; /* NULL: read everything */
    struct layer_cache seen;       /* what this check saw */
    struct timespec begun;
    struct tree_scratch scratch;
    struct bytes expected, found; /* encoded entries */
    uint8_t *block;               /* READ_BLOCK */
    size_t i;                     /* number of the entry */
};

static void check_done(struct check *c)
{
    layer_cache_done(&c->seen);
    tree_scratch_done(&c->scratch);
    bytes_done(&c->expected);
    bytes_done(&c->found);
    cleanup_free(&c->block);
}

/* --- content --- */

static int read_block(int fd, uint8_t *block, size_t *len, struct error *err)
{
    ssize_t n;
    do
        n = read(fd, block, READ_BLOCK);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return fail_sys(err, errno, "read");
    *len = (size_t)n;
    return OK;
}

static int hash_fd(struct check *c, int fd, struct digest *out, struct error *err)
{
    CLEANUP(digest_stream_cleanup) struct digest_stream *hash = NULL;
    size_t len = 0;
    int rc = read_block(fd, c->block, &len, err);
    /* Most files fit one block: no stream to set up. */
    if (!rc && len < READ_BLOCK)
        return digest_of(DIGEST_SHA256, c->block, len, out, err);
    if (!rc)
        rc = digest_stream_new(DIGEST_SHA256, &hash, err);
    while (!rc && len) {
        rc = digest_stream_update(hash, c->block, len, err);
        if (!rc)
            rc = read_block(fd, c->block, &len, err);
    }
    return rc ? rc : digest_stream_peek(hash, out, err);
}

static int hash_file(struct check *c, const struct tree_entry *entry, struct layer_item *item,
                     struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    struct digest digest;
    struct stat st;
    int rc = path_open(entry->parent_fd, entry->name, PATH_NO_SYMLINKS,
                       O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd, err);
    if (!rc && fstat(fd, &st))
        rc = fail_sys(err, errno, "stat");
    if (!rc && (st.st_ino != entry->st.st_ino || st.st_dev != entry->st.st_dev))
        rc = fail(err, E_TAMPERED, "was exchanged during the check");
    if (!rc)
        rc = hash_fd(c, fd, &digest, err);
    if (!rc)
        memcpy(item->sha256, digest.bytes, sizeof item->sha256);
    return wrap(err, rc, "'%s'", entry->path);
}

/* --- comparing with the record --- */

static const char *difference(const struct layer_item *want, const struct layer_item *got)
{
    if (want->type != got->type)
        return "type";
    if (want->mode != got->mode)
        return "mode";
    if (want->uid != got->uid || want->gid != got->gid)
        return "owner";
    if (want->size != got->size)
        return "size";
    if (memcmp(want->sha256, got->sha256, sizeof want->sha256) != 0)
        return "content";
    if (strcmp(want->target, got->target) != 0)
        return "link target";
    if (want->mtime_s != got->mtime_s || want->mtime_ns != got->mtime_ns)
        return "date";
    return "extended attributes";
}

/* An unchanged stamp vouches for content only; everything else is compared in every case. */
static int complete_item(struct check *c, const struct tree_entry *entry,
                         const struct layer_item *want, struct layer_item *got, struct error *err)
{
    if (got->type != LAYER_ITEM_FILE)
        return OK;
    struct layer_stamp stamp = {.inode = 0};
    if (c->old)
        stamp = layer_cache_at(c->old, c->i);
    if (!layer_stamp_holds(&stamp, &entry->st))
        return hash_file(c, entry, got, err);
    memcpy(got->sha256, want->sha256, sizeof got->sha256);
    return OK;
}

static int check_entry(void *context, struct tree_entry *entry, struct error *err)
{
    struct check *c = context;
    struct layer_item want, got;
    bool end;
    int rc = layer_record_next(&c->record, &want, &c->expected, &end, err);
    if (rc)
        return rc;
    int order = end ? 1 : layer_path_order(want.path, entry->path);
    if (order > 0)
        return fail(err, E_TAMPERED, "'%s' does not belong to the layer", entry->path);
    if (order < 0)
        return fail(err, E_TAMPERED, "'%s' is missing", want.path);
    rc = tree_describe(entry, &c->scratch, &got, err);
    if (!rc)
        rc = complete_item(c, entry, &want, &got, err);
    bytes_clear(&c->found);
    if (!rc)
        rc = layer_record_append(&c->found, &got, err);
    if (rc)
        return rc;
    if (!bytes_equal(c->expected.data, c->expected.len, c->found.data, c->found.len))
        return fail(err, E_TAMPERED, "'%s': %s changed", *entry->path ? entry->path : "/",
                    difference(&want, &got));
    struct layer_stamp stamp = layer_stamp_of(&entry->st, &c->begun);
    c->i++;
    return layer_cache_add(&c->seen, &stamp, err);
}

/* Walks the tree; c->seen is complete on success. */
static int check_tree(struct check *c, int root_fd, struct error *err)
{
    struct layer_item item;
    bool end = true;
    c->block = malloc(READ_BLOCK);
    if (!c->block)
        return fail_nomem(err);
    (void)clock_gettime(CLOCK_REALTIME, &c->begun);
    int rc = tree_walk(root_fd, check_entry, c, err);
    if (!rc)
        rc = layer_record_next(&c->record, &item, NULL, &end, err);
    if (!rc && !end)
        rc = fail(err, E_TAMPERED, "'%s' is missing", item.path);
    return rc;
}

/* --- the quick pass --- */

struct quick {
    int fds[LAYER_MAX_DEPTH + 2]; /* folders from the root down to the current one */
    size_t n;
};

static void quick_done(struct quick *q)
{
    while (q->n)
        cleanup_fd(&q->fds[--q->n]);
}

static size_t depth_of(const char *path)
{
    size_t n = *path != '\0';
    for (; *path; path++)
        n += *path == '/';
    return n;
}

/* 1: still as seen. An added or removed name shows in its folder's change time. */
static int entry_is_still(struct quick *q, const struct layer_item *item,
                          const struct layer_stamp *stamp, int root_fd)
{
    size_t depth = depth_of(item->path);
    struct stat st;
    if (depth > q->n || depth > LAYER_MAX_DEPTH)
        return 0;
    while (q->n > depth)
        cleanup_fd(&q->fds[--q->n]);
    const char *slash = strrchr(item->path, '/');
    const char *name = slash ? slash + 1 : *item->path ? item->path : ".";
    int parent = depth ? q->fds[depth - 1] : root_fd;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) || !layer_stamp_holds(stamp, &st))
        return 0;
    if (item->type != LAYER_ITEM_FOLDER)
        return 1;
    int fd = -1;
    if (path_open(parent, name, PATH_NO_SYMLINKS, O_PATH | O_DIRECTORY, 0, &fd, NULL))
        return 0;
    q->fds[q->n++] = fd;
    return 1;
}

/* *same: nothing at all changed. */
static int quick_pass(const struct layer_record *start, const struct layer_cache *old, int root_fd,
                      bool *same, struct error *err)
{
    CLEANUP(quick_done) struct quick q = {.n = 0};
    struct layer_record record = *start;
    struct layer_item item;
    bool end = false;
    int rc = OK;
    *same = true;
    for (size_t i = 0; !rc && *same; i++) {
        rc = layer_record_next(&record, &item, NULL, &end, err);
        if (rc || end)
            break;
        struct layer_stamp stamp = layer_cache_at(old, i);
        *same = entry_is_still(&q, &item, &stamp, root_fd);
    }
    return rc;
}

/* --- the check as a whole --- */

struct subject {
    const char *name; /* of the layer's folder */
    const char *cache_dir;
    int root_fd;
    const struct layer_record *record;
};

static int careful_pass(const struct subject *s, const struct layer_cache *old, struct error *err)
{
    CLEANUP(check_done)
    struct check c = {
        .record = *s->record,
        .old = old,
        .seen = {BYTES_INIT, 0},
        .scratch = TREE_SCRATCH_INIT,
        .expected = BYTES_INIT,
        .found = BYTES_INIT,
    };
    int rc = check_tree(&c, s->root_fd, err);
    if (rc || !s->cache_dir)
        return rc;
    struct error why = ERROR_INIT;
    int saved = layer_cache_save(s->cache_dir, s->name, s->record, &c.seen, &why);
    /* The layer is good. What cannot be remembered (a full tmpfs) is checked again next time. */
    if (saved && saved != E_DENIED)
        log_debug("layer check not remembered: %s", why.message);
    return saved == E_DENIED ? fail(err, saved, "%s", why.message) : OK;
}

static int check_cached(const struct subject *s, struct error *err)
{
    CLEANUP(layer_cache_done) struct layer_cache old = {BYTES_INIT, 0};
    bool same = false;
    int rc = layer_cache_load(s->cache_dir, s->name, s->record, &old, err);
    if (rc && rc != E_DENIED)
        return careful_pass(s, NULL, err);
    if (!rc)
        rc = quick_pass(s->record, &old, s->root_fd, &same, err);
    return rc || same ? rc : careful_pass(s, &old, err);
}

static int check_layer(const struct subject *s, enum layer_check check, struct error *err)
{
    if (check == LAYER_CHECK_CACHED && s->cache_dir)
        return check_cached(s, err);
    return careful_pass(s, NULL, err);
}

static int read_record(int folder_fd, const struct digest *diff_id, struct bytes *content,
                       struct layer_record *out, struct error *err)
{
    int rc = file_read(folder_fd, "record", LAYER_RECORD_MAX_BYTES, content, err);
    if (!rc)
        rc = layer_record_open(content->data, content->len, out, err);
    if (!rc && !digest_equal(&out->diff_id, diff_id))
        rc = fail(err, E_INVALID, "the record is another layer's");
    return rc;
}

static int check_folder(int folder_fd, const char *name, const struct digest *diff_id,
                        enum layer_check check, struct subject *s, struct error *err)
{
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    struct layer_record record;
    int rc = read_record(folder_fd, diff_id, &content, &record, err);
    if (rc)
        return rc;
    s->name = name;
    s->record = &record;
    rc = check_layer(s, check, err);
    s->record = NULL;
    return rc;
}

int store_layer_open(struct store *s, const struct digest *diff_id, enum layer_check check,
                     const char *cache_dir, int *root_fd, struct error *err)
{
    CLEANUP(cleanup_fd) int folder_fd = -1;
    CLEANUP(cleanup_fd) int root = -1;
    char name[LAYER_NAME_MAX], text[DIGEST_TEXT_MAX];
    int rc = path_open(s->layers_fd, store_layer_name(diff_id, name), PATH_NO_SYMLINKS,
                       O_RDONLY | O_DIRECTORY, 0, &folder_fd, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_NOTFOUND, "layer '%s' is not unpacked here",
                    digest_format(diff_id, text));
    if (!rc)
        rc = path_open(folder_fd, "root", PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &root, err);
    struct subject subject = {.cache_dir = cache_dir, .root_fd = root};
    if (!rc)
        rc = check_folder(folder_fd, name, diff_id, check, &subject, err);
    /* The very folder that was checked. */
    if (!rc)
        rc = path_open(root, ".", PATH_NO_SYMLINKS, O_PATH | O_DIRECTORY, 0, root_fd, err);
    /* This program wrote all of it, whole: what is missing or malformed now was changed. */
    if (rc == E_INVALID || rc == E_LIMIT || rc == E_NOTFOUND) {
        struct error why = err ? *err : (struct error)ERROR_INIT;
        rc = fail(err, E_TAMPERED, "%s", why.message);
    }
    return wrap(err, rc, "unpacked layer '%s'", digest_format(diff_id, text));
}

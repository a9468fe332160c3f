#include "oci/layer_cache.h"

#include "base/file.h"
#include "base/path.h"
#include "oci/store_private.h"

#include <fcntl.h>
#include <string.h>

#define MAGIC "bulla layer stamps 1\n"

/* The file is read on the machine and in the boot that wrote it: stamps go in as they lie in
 * memory. */
struct cache_header {
    char magic[24];
    uint8_t record[32]; /* digest of the record that was checked */
    uint8_t stamps[32]; /* digest of the stamps */
    uint64_t n;
};

void layer_cache_done(struct layer_cache *c)
{
    bytes_done(&c->stamps);
    c->n = 0;
}

struct layer_stamp layer_stamp_of(const struct stat *st, const struct timespec *begun)
{
    if (st->st_ctim.tv_sec + LAYER_CACHE_STILL_S > begun->tv_sec)
        return (struct layer_stamp){.inode = 0};
    return (struct layer_stamp){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = (uint64_t)st->st_size,
        .ctime_s = st->st_ctim.tv_sec,
        .ctime_ns = (uint32_t)st->st_ctim.tv_nsec,
        .mode = st->st_mode,
    };
}

bool layer_stamp_holds(const struct layer_stamp *stamp, const struct stat *st)
{
    return stamp->inode && stamp->device == st->st_dev && stamp->inode == st->st_ino &&
           stamp->size == (uint64_t)st->st_size && stamp->ctime_s == st->st_ctim.tv_sec &&
           stamp->ctime_ns == (uint32_t)st->st_ctim.tv_nsec && stamp->mode == st->st_mode;
}

int layer_cache_add(struct layer_cache *c, const struct layer_stamp *stamp, struct error *err)
{
    int rc = bytes_append(&c->stamps, stamp, sizeof *stamp, err);
    c->n += rc == OK;
    return rc;
}

struct layer_stamp layer_cache_at(const struct layer_cache *c, size_t i)
{
    struct layer_stamp stamp = {.inode = 0};
    if (i < c->n)
        memcpy(&stamp, c->stamps.data + i * sizeof stamp, sizeof stamp);
    return stamp;
}

static int open_dir(const char *dir, int *fd, struct error *err)
{
    int rc = file_open_dir(dir, true, fd, err);
    return rc ? rc : wrap(err, store_check_private(*fd, err), "folder '%s'", dir);
}

static int check_content(const struct bytes *content, const struct layer_record *record,
                         struct cache_header *header, struct error *err)
{
    struct digest d;
    if (content->len < sizeof *header)
        return fail(err, E_NOTFOUND, "check cache is cut off");
    memcpy(header, content->data, sizeof *header);
    size_t len = content->len - sizeof *header;
    if (strncmp(header->magic, MAGIC, sizeof header->magic) != 0 ||
        memcmp(header->record, record->sha256, sizeof header->record) != 0 ||
        header->n != record->n_entries || header->n > LAYER_MAX_ENTRIES ||
        len != header->n * sizeof(struct layer_stamp))
        return fail(err, E_NOTFOUND, "check cache belongs to another record");
    int rc = digest_of(DIGEST_SHA256, content->data + sizeof *header, len, &d, err);
    if (!rc && memcmp(d.bytes, header->stamps, sizeof header->stamps) != 0)
        rc = fail(err, E_NOTFOUND, "check cache is damaged");
    return rc;
}

int layer_cache_load(const char *dir, const char *name, const struct layer_record *record,
                     struct layer_cache *out, struct error *err)
{
    CLEANUP(cleanup_fd) int dir_fd = -1;
    CLEANUP(cleanup_fd) int fd = -1;
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    struct cache_header header;
    int rc = open_dir(dir, &dir_fd, err);
    if (!rc)
        rc = store_open_regular(dir_fd, name, &fd, NULL, err);
    if (!rc)
        rc = store_check_private(fd, err);
    if (!rc)
        rc = file_read_fd(fd, LAYER_RECORD_MAX_BYTES, &content, err);
    if (!rc)
        rc = check_content(&content, record, &header, err);
    struct layer_cache c = {BYTES_INIT, 0};
    if (!rc)
        rc =
            bytes_append(&c.stamps, content.data + sizeof header, content.len - sizeof header, err);
    if (!rc) {
        c.n = (size_t)header.n;
        *out = c;
    }
    return rc;
}

int layer_cache_save(const char *dir, const char *name, const struct layer_record *record,
                     const struct layer_cache *c, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    struct cache_header header = {.magic = MAGIC, .n = c->n};
    struct digest d;
    memcpy(header.record, record->sha256, sizeof header.record);
    int rc = digest_of(DIGEST_SHA256, c->stamps.data, c->stamps.len, &d, err);
    memcpy(header.stamps, d.bytes, sizeof header.stamps);
    if (!rc)
        rc = bytes_append(&content, &header, sizeof header, err);
    if (!rc)
        rc = bytes_append(&content, c->stamps.data, c->stamps.len, err);
    if (!rc)
        rc = open_dir(dir, &fd, err);
    return rc ? rc : file_write_atomic(fd, name, content.data, content.len, 0600, err);
}

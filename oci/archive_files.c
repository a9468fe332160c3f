#include "oci/archive_files.h"

#include "base/file.h"
#include "oci/codec.h"
#include "oci/layer_stream.h"

#include <unistd.h>

static int read_stream(void *context, const void **block, size_t *len, struct error *err)
{
    return layer_stream_read(context, block, len, err);
}

static int visit(struct tar_reader *reader, const struct tar_entry *e, archive_file_fn *fn,
                 void *context, struct error *err)
{
    char path[LAYER_MAX_PATH + 1];
    int rc = layer_path_clean(e->path, e->type == TAR_FOLDER, path, err);
    if (rc || e->type == TAR_FOLDER)
        return rc;
    return wrap(err, fn(context, path, e, reader, err), "'%s'", path);
}

int archive_each_file(int archive_fd, archive_file_fn *fn, void *context, struct error *err)
{
    CLEANUP(layer_stream_cleanup) struct layer_stream *stream = NULL;
    CLEANUP(tar_reader_cleanup) struct tar_reader *reader = NULL;
    CLEANUP(cleanup_free) struct tar_entry *e = calloc(1, sizeof *e);
    uint8_t start[4];
    bool end = false;
    if (!e)
        return fail_nomem(err);
    ssize_t got = pread(archive_fd, start, sizeof start, 0);
    if (got < 0)
        return fail_sys(err, errno, "read");
    struct layer_stream_options options = {
        .fd = archive_fd,
        .form = codec_sniff(start, (size_t)got),
        .size = -1,
    };
    int rc = layer_stream_open(&options, &stream, err);
    if (!rc)
        rc = tar_reader_new(read_stream, stream, &reader, err);
    for (size_t n = 0; !rc && !end; n++) {
        rc = tar_reader_next(reader, e, &end, err);
        if (!rc && !end && n == ARCHIVE_MAX_ENTRIES)
            rc = fail(err, E_LIMIT, "more than %d entries", ARCHIVE_MAX_ENTRIES);
        if (!rc && !end)
            rc = visit(reader, e, fn, context, err);
    }
    return rc;
}

int archive_copy(struct tar_reader *reader, const struct tar_entry *entry, int fd,
                 struct digest *digest, struct error *err)
{
    CLEANUP(digest_stream_cleanup) struct digest_stream *hash = NULL;
    int64_t at = 0, offset;
    const void *data;
    size_t len = 1;
    int rc = digest ? digest_stream_new(DIGEST_SHA256, &hash, err) : OK;
    while (!rc && len) {
        rc = tar_reader_data(reader, &data, &len, &offset, err);
        if (rc || !len)
            break;
        /* No writer of image archives makes holes, and zeros without end could hide in them. */
        if (offset != at)
            return fail(err, E_UNSUPPORTED, "sparse files are not supported here");
        at += (int64_t)len;
        if (hash)
            rc = digest_stream_update(hash, data, len, err);
        if (!rc)
            rc = file_write_fd(fd, data, len, err);
    }
    if (!rc && at != entry->size)
        rc = fail(err, E_INVALID, "content is shorter than its header says");
    return rc || !hash ? rc : digest_stream_peek(hash, digest, err);
}

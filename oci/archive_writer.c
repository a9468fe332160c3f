#include "oci/archive_writer.h"

#include "base/file.h"
#include "oci/store_private.h"
#include "oci/tar.h"

#include <string.h>

#define BLOCK_BYTES ((size_t)256 << 10)

struct archive_writer {
    int fd;
    struct tar_writer *tar;
    struct tar_entry entry; /* here for its size */
    uint8_t block[BLOCK_BYTES];
};

static int write_out(void *context, const void *data, size_t len, struct error *err)
{
    const struct archive_writer *w = context;
    return file_write_fd(w->fd, data, len, err);
}

void archive_writer_free(struct archive_writer *w)
{
    if (!w)
        return;
    tar_writer_free(w->tar);
    free(w);
}

void archive_writer_cleanup(struct archive_writer **w)
{
    archive_writer_free(*w);
    *w = NULL;
}

int archive_writer_new(int fd, struct archive_writer **out, struct error *err)
{
    CLEANUP(archive_writer_cleanup) struct archive_writer *w = calloc(1, sizeof *w);
    if (!w)
        return fail_nomem(err);
    w->fd = fd;
    int rc = tar_writer_new(write_out, w, &w->tar, err);
    if (!rc)
        *out = TAKE_PTR(w);
    return rc;
}

static int begin(struct archive_writer *w, const char *path, int64_t size, struct error *err)
{
    w->entry.path = path;
    w->entry.target = "";
    w->entry.type = TAR_FILE;
    w->entry.mode = 0644;
    w->entry.size = size;
    return tar_writer_entry(w->tar, &w->entry, err);
}

int archive_writer_file(struct archive_writer *w, const char *path, const void *data, size_t len,
                        struct error *err)
{
    int rc = begin(w, path, (int64_t)len, err);
    return rc || !len ? rc : tar_writer_data(w->tar, data, len, err);
}

static int index_to_js(const struct descriptor *root, const char *name, struct js **out,
                       struct error *err)
{
    CLEANUP(js_cleanup) struct js *index = js_object_new();
    CLEANUP(js_cleanup) struct js *entries = js_array_new();
    CLEANUP(js_cleanup) struct js *notes = js_object_new();
    CLEANUP(js_cleanup) struct js *entry = NULL;
    int rc = index && entries && notes ? descriptor_to_js(root, &entry, err) : fail_nomem(err);
    if (!rc)
        rc = js_set(notes, ARCHIVE_REF_NAME, js_text_new(name), err);
    if (!rc)
        rc = js_set(entry, "annotations", TAKE_PTR(notes), err);
    if (!rc)
        rc = js_push(entries, TAKE_PTR(entry), err);
    if (!rc)
        rc = js_set(index, "schemaVersion", js_int_new(2), err);
    if (!rc)
        rc = js_set(index, "mediaType", js_text_new(MEDIA_OCI_INDEX), err);
    if (!rc)
        rc = js_set(index, "manifests", TAKE_PTR(entries), err);
    if (!rc)
        *out = TAKE_PTR(index);
    return rc;
}

int archive_writer_layout(struct archive_writer *w, const struct descriptor *root, const char *name,
                          struct error *err)
{
    CLEANUP(js_cleanup) struct js *index = NULL;
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc =
        archive_writer_file(w, "oci-layout", ARCHIVE_LAYOUT_TEXT, strlen(ARCHIVE_LAYOUT_TEXT), err);
    if (!rc)
        rc = index_to_js(root, name, &index, err);
    if (!rc)
        rc = js_write(index, false, &text, err);
    return rc ? rc : archive_writer_file(w, "index.json", text.data, text.len, err);
}

static int copy(struct archive_writer *w, int fd, struct digest_stream *hash,
                struct progress *progress, struct error *err)
{
    for (;;) {
        ssize_t n = read(fd, w->block, sizeof w->block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "read blob");
        if (n == 0)
            return OK;
        int rc = digest_stream_update(hash, w->block, (size_t)n, err);
        if (!rc)
            rc = tar_writer_data(w->tar, w->block, (size_t)n, err);
        if (rc)
            return rc;
        progress_add(progress, (uint64_t)n);
    }
}

int archive_writer_blob(struct archive_writer *w, struct store *s, const struct descriptor *d,
                        struct progress *progress, struct error *err)
{
    CLEANUP(digest_stream_cleanup) struct digest_stream *hash = NULL;
    CLEANUP(cleanup_fd) int fd = -1;
    char path[sizeof "blobs/" + BLOB_NAME_MAX], name[BLOB_NAME_MAX], text[DIGEST_TEXT_MAX];
    struct digest real;
    int64_t size = -1;
    (void)snprintf(path, sizeof path, "blobs/%s", store_blob_name(&d->digest, name));
    int rc = store_blob_open(s, &d->digest, &fd, &size, err);
    if (!rc && size != d->size)
        rc = fail(err, E_TAMPERED, "blob '%s' has another size in the local store",
                  digest_format(&d->digest, text));
    if (!rc)
        rc = digest_stream_new(d->digest.alg, &hash, err);
    if (!rc)
        rc = begin(w, path, size, err);
    if (!rc)
        rc = copy(w, fd, hash, progress, err);
    if (!rc)
        rc = digest_stream_peek(hash, &real, err);
    if (!rc && !digest_equal(&real, &d->digest))
        rc = fail(err, E_TAMPERED, "blob '%s' is damaged in the local store",
                  digest_format(&d->digest, text));
    return rc;
}

int archive_writer_finish(struct archive_writer *w, struct error *err)
{
    return tar_writer_finish(w->tar, err);
}

#include "base/file.h"
#include "base/path.h"
#include "oci/layer_apply.h"
#include "oci/layer_stream.h"
#include "oci/layer_tree.h"
#include "oci/store_private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static bool is_unpacked(struct store *s, const char *name)
{
    char path[LAYER_NAME_MAX + sizeof "/record"];
    CLEANUP(cleanup_fd) int fd = -1;
    (void)snprintf(path, sizeof path, "%s/record", name);
    return store_open_regular(s->layers_fd, path, &fd, NULL, NULL) == OK;
}

static int read_stream(void *context, const void **block, size_t *len, struct error *err)
{
    return layer_stream_read(context, block, len, err);
}

/* Behind the end mark: padding of any length, but nothing that another reader could take for
 * entries. */
static int check_padding(struct layer_stream *stream, struct error *err)
{
    const void *block;
    size_t len;
    for (;;) {
        int rc = layer_stream_read(stream, &block, &len, err);
        if (rc || !len)
            return rc;
        const uint8_t *bytes = block;
        if (bytes[0] || memcmp(bytes, bytes + 1, len - 1) != 0)
            return fail(err, E_INVALID, "tar: data behind the end of the archive");
    }
}

struct unpacking {
    const struct descriptor *layer;
    const struct digest *diff_id;
    int blob_fd;
    struct progress *progress;
    struct bytes record;
};

static int check_digests(const struct unpacking *u, struct layer_stream *stream, struct error *err)
{
    struct digest packed, content;
    char want[DIGEST_TEXT_MAX], got[DIGEST_TEXT_MAX];
    int rc = layer_stream_finish(stream, &packed, &content, NULL, err);
    if (rc)
        return rc;
    if (!digest_equal(&packed, &u->layer->digest))
        return fail(err, E_TAMPERED, "the blob has changed in the local store (digest '%s')",
                    digest_format(&packed, got));
    if (!digest_equal(&content, u->diff_id))
        return fail(err, E_DIGEST,
                    "its content has digest '%s', not '%s' as the image's configuration says",
                    digest_format(&content, got), digest_format(u->diff_id, want));
    return OK;
}

static int apply_blob(struct unpacking *u, int root_fd, struct error *err)
{
    CLEANUP(layer_stream_cleanup) struct layer_stream *stream = NULL;
    CLEANUP(tar_reader_cleanup) struct tar_reader *reader = NULL;
    struct layer_stream_options options = {
        .fd = u->blob_fd,
        .packed_alg = u->layer->digest.alg,
        .content_alg = u->diff_id->alg,
        .size = u->layer->size,
        .progress = u->progress,
    };
    int rc = layer_form_of(u->layer->media_type, &options.form, err);
    if (!rc)
        rc = layer_stream_open(&options, &stream, err);
    if (!rc)
        rc = tar_reader_new(read_stream, stream, &reader, err);
    if (!rc)
        rc = layer_apply(root_fd, reader, u->diff_id, &u->record, err);
    if (!rc)
        rc = check_padding(stream, err);
    return rc ? rc : check_digests(u, stream, err);
}

/* A changed blob mostly fails as damaged data before its digest is known: say what is the matter.
 */
static int explain_failure(const struct unpacking *u, int rc, struct error *err)
{
    struct digest real;
    struct error unused = ERROR_INIT;
    if (rc != E_INVALID && rc != E_LIMIT && rc != E_DIGEST)
        return rc;
    if (lseek(u->blob_fd, 0, SEEK_SET) != 0 ||
        digest_of_fd(u->layer->digest.alg, u->blob_fd, &real, NULL, &unused) != OK ||
        digest_equal(&real, &u->layer->digest))
        return rc;
    return fail(err, E_TAMPERED, "the blob has changed in the local store");
}

/* temporary/{root,record}, complete but for its place */
static int build(struct unpacking *u, int folder_fd, struct error *err)
{
    CLEANUP(cleanup_fd) int root_fd = -1;
    if (mkdirat(folder_fd, "root", 0700))
        return fail_sys(err, errno, "make the layer's root");
    int rc =
        path_open(folder_fd, "root", PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &root_fd, err);
    if (!rc && (fchown(root_fd, 0, 0) || fchmod(root_fd, 0755)))
        rc = fail_sys(err, errno, "set mode of the layer's root");
    if (!rc)
        rc = apply_blob(u, root_fd, err);
    rc = explain_failure(u, rc, err);
    if (!rc)
        rc = file_write_atomic(folder_fd, "record", u->record.data, u->record.len, 0400, err);
    /* One sync for all files: before anybody can see the layer, everything of it is on the disk. */
    if (!rc && syncfs(folder_fd))
        rc = fail_sys(err, errno, "sync");
    return rc;
}

static int unpack(struct store *s, struct unpacking *u, const char *name, struct error *err)
{
    struct temporary folder = TEMPORARY_INIT;
    int rc = temporary_folder(s->tmp_fd, &folder, err);
    if (!rc)
        rc = build(u, folder.fd, err);
    if (!rc) {
        rc = temporary_move(&folder, s->layers_fd, name, false, err);
        /* another process was faster; the same digest is the same layer */
        if (rc == E_EXISTS && is_unpacked(s, name))
            rc = OK;
        else if (!rc)
            rc = file_sync_dir(s->layers_fd, err);
    }
    temporary_done(&folder);
    return rc;
}

int store_layer_unpack(struct store *s, const struct descriptor *layer,
                       const struct digest *diff_id, struct progress *progress, struct error *err)
{
    CLEANUP(cleanup_fd) int blob_fd = -1;
    char name[LAYER_NAME_MAX], text[DIGEST_TEXT_MAX];
    int64_t size;
    if (diff_id->alg == DIGEST_NONE)
        return fail(err, E_INVALID, "layer without a diff id");
    if (is_unpacked(s, store_layer_name(diff_id, name)))
        return OK;
    if (geteuid() != 0)
        return fail(err, E_UNSUPPORTED,
                    "layers are unpacked by root only: their files keep their owners");
    int rc = store_blob_open(s, &layer->digest, &blob_fd, &size, err);
    if (!rc && size != layer->size)
        rc = fail(err, E_TAMPERED, "the blob has %lld bytes, not %lld", (long long)size,
                  (long long)layer->size);
    if (rc)
        return wrap(err, rc, "layer '%s'", digest_format(&layer->digest, text));
    struct unpacking u = {layer, diff_id, blob_fd, progress, BYTES_INIT};
    progress_begin(progress, "unpack", (uint64_t)layer->size);
    rc = unpack(s, &u, name, err);
    progress_end(progress);
    bytes_done(&u.record);
    return wrap(err, rc, "layer '%s'", digest_format(&layer->digest, text));
}

#include "base/file.h"
#include "oci/store_private.h"

#include <fcntl.h>
#include <sys/stat.h>

struct blob_writer {
    struct store *store; /* borrowed */
    struct temporary file;
    struct digest_stream *sha256;
    int64_t size;
    bool spent; /* committed, or broken by a failed write */
    bool kept;  /* what is there outlives this writer */
};

void blob_writer_free(struct blob_writer *w)
{
    if (!w)
        return;
    if (w->kept && w->size > 0)
        temporary_keep(&w->file);
    else
        temporary_done(&w->file);
    digest_stream_free(w->sha256);
    free(w);
}

void blob_writer_cleanup(struct blob_writer **w)
{
    blob_writer_free(*w);
    *w = NULL;
}

int blob_writer_new(struct store *s, struct blob_writer **out, struct error *err)
{
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = calloc(1, sizeof *w);
    if (!w)
        return fail_nomem(err);
    w->store = s;
    w->file = (struct temporary)TEMPORARY_INIT;
    int rc = temporary_file(s->tmp_fd, &w->file, err);
    if (!rc)
        rc = digest_stream_new(DIGEST_SHA256, &w->sha256, err);
    if (!rc)
        *out = TAKE_PTR(w);
    return wrap(err, rc, "new blob");
}

/* What an earlier writer left: how much it is, and its hash. What was written behind our back or
 * lost with the machine's power shows at the commit. */
static int read_kept(struct blob_writer *w, struct error *err)
{
    uint8_t block[64 << 10];
    for (;;) {
        ssize_t n = read(w->file.fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_sys(err, errno, "read kept part");
        if (n == 0)
            return OK;
        int rc = digest_stream_update(w->sha256, block, (size_t)n, err);
        if (rc)
            return rc;
        w->size += n;
    }
}

int blob_writer_resume(struct store *s, const struct digest *d, struct blob_writer **out,
                       struct error *err)
{
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = calloc(1, sizeof *w);
    char name[LAYER_NAME_MAX];
    if (!w)
        return fail_nomem(err);
    w->store = s;
    w->file = (struct temporary)TEMPORARY_INIT;
    w->kept = true;
    if (d->alg == DIGEST_NONE)
        return fail(err, E_INTERNAL, "a kept blob needs a digest");
    int rc = temporary_kept(s->tmp_fd, store_layer_name(d, name), &w->file, err);
    if (!rc)
        rc = digest_stream_new(DIGEST_SHA256, &w->sha256, err);
    if (!rc)
        rc = read_kept(w, err);
    if (!rc)
        *out = TAKE_PTR(w);
    return wrap(err, rc, "blob");
}

int64_t store_part_size(struct store *s, const struct digest *d)
{
    char name[LAYER_NAME_MAX];
    return temporary_kept_size(s->tmp_fd, store_layer_name(d, name));
}

int blob_writer_restart(struct blob_writer *w, struct error *err)
{
    digest_stream_cleanup(&w->sha256);
    if (ftruncate(w->file.fd, 0) || lseek(w->file.fd, 0, SEEK_SET) != 0)
        return fail_sys(err, errno, "empty a part");
    w->size = 0;
    w->spent = false;
    return digest_stream_new(DIGEST_SHA256, &w->sha256, err);
}

int64_t blob_writer_size(const struct blob_writer *w)
{
    return w->size;
}

void blob_writer_forget(struct blob_writer *w)
{
    w->kept = false;
}

int blob_writer_write(struct blob_writer *w, const void *data, size_t len, struct error *err)
{
    int64_t size;
    if (w->spent)
        return fail(err, E_INTERNAL, "blob is written after its end");
    if (__builtin_add_overflow(w->size, len, &size))
        return fail(err, E_LIMIT, "blob is too large");
    int rc = file_write_fd(w->file.fd, data, len, err);
    if (!rc)
        rc = digest_stream_update(w->sha256, data, len, err);
    w->spent = rc != OK;
    if (!rc)
        w->size = size;
    return wrap(err, rc, "write blob");
}

/* sha256 runs along with the writing; sha512 blobs are rare and are read once more. */
static int digest_written(struct blob_writer *w, enum digest_alg alg, struct digest *out,
                          struct error *err)
{
    if (alg == DIGEST_SHA256)
        return digest_stream_peek(w->sha256, out, err);
    if (lseek(w->file.fd, 0, SEEK_SET) != 0)
        return fail_sys(err, errno, "rewind blob");
    return digest_of_fd(alg, w->file.fd, out, NULL, err);
}

/* A blob of that name that is there already gives way: these bytes were checked just now. */
static int publish(struct blob_writer *w, const struct digest *d, struct error *err)
{
    char name[BLOB_NAME_MAX];
    (void)store_blob_name(d, name);
    CLEANUP(cleanup_fd) int folder = -1;
    if (fchmod(w->file.fd, 0444))
        return fail_sys(err, errno, "set mode of blob");
    if (fsync(w->file.fd))
        return fail_sys(err, errno, "sync blob");
    int rc = temporary_move(&w->file, w->store->blobs_fd, name, true, err);
    if (rc)
        return rc;
    w->spent = true;
    w->kept = false;
    folder =
        openat(w->store->blobs_fd, digest_alg_name(d->alg), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return fail_sys(err, errno, "open blob folder");
    return file_sync_dir(folder, err);
}

static int check(struct blob_writer *w, const struct digest *expected, int64_t size,
                 struct error *err)
{
    struct digest real;
    char want[DIGEST_TEXT_MAX], got[DIGEST_TEXT_MAX];
    if (w->spent || expected->alg == DIGEST_NONE)
        return fail(err, E_INTERNAL, "blob cannot be committed");
    if (size >= 0 && size != w->size)
        return fail(err, E_DIGEST, "blob '%s' has %lld bytes, not %lld",
                    digest_format(expected, want), (long long)w->size, (long long)size);
    int rc = digest_written(w, expected->alg, &real, err);
    if (rc)
        return rc;
    if (!digest_equal(&real, expected))
        return fail(err, E_DIGEST, "blob has digest '%s', not '%s'", digest_format(&real, got),
                    digest_format(expected, want));
    return OK;
}

int blob_writer_commit(struct blob_writer *w, const struct digest *expected, int64_t size,
                       struct error *err)
{
    int rc = check(w, expected, size, err);
    return rc ? rc : publish(w, expected, err);
}

int blob_writer_read(struct blob_writer *w, const struct descriptor *expected, int *fd,
                     struct error *err)
{
    int rc = check(w, &expected->digest, expected->size, err);
    if (rc)
        return rc;
    *fd = fcntl(w->file.fd, F_DUPFD_CLOEXEC, 0);
    if (*fd < 0)
        return fail_sys(err, errno, "duplicate a descriptor");
    w->spent = true;
    return OK;
}

int blob_writer_finish(struct blob_writer *w, struct digest *digest, int64_t *size,
                       struct error *err)
{
    struct digest real;
    if (w->spent)
        return fail(err, E_INTERNAL, "blob cannot be committed");
    int rc = digest_written(w, DIGEST_SHA256, &real, err);
    if (!rc)
        rc = publish(w, &real, err);
    if (!rc) {
        *digest = real;
        *size = w->size;
    }
    return rc;
}

#include "oci/store.h"

#include "base/file.h"
#include "base/path.h"
#include "oci/store_private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void store_close(struct store *s)
{
    if (!s)
        return;
    cleanup_fd(&s->images_fd);
    cleanup_fd(&s->blobs_fd);
    cleanup_fd(&s->layers_fd);
    cleanup_fd(&s->tmp_fd);
    free(s);
}

void store_cleanup(struct store **s)
{
    store_close(*s);
    *s = NULL;
}

/* Unpacked layers hold set-user-id files, and who may write here decides what runs: the store is
 * its owner's alone (CVE-2021-41091). */
int store_check_private(int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat");
    if (st.st_uid != geteuid())
        return fail(err, E_DENIED, "belongs to user %u, not to the caller (user %u)", st.st_uid,
                    geteuid());
    if (st.st_mode & 022)
        return fail(err, E_DENIED, "others may write to it (mode %04o); take that right away",
                    st.st_mode & 07777u);
    return OK;
}

static int open_folder(int images_fd, const char *name, int *fd, struct error *err)
{
    int rc = path_make_dirs(images_fd, name, 0700, err);
    if (!rc)
        rc = path_open(images_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, fd, err);
    return rc ? rc : wrap(err, store_check_private(*fd, err), "folder '%s'", name);
}

int store_folder_open(struct store *s, const char *name, int *fd, struct error *err)
{
    return open_folder(s->images_fd, name, fd, err);
}

static int open_folders(struct store *s, struct error *err)
{
    int rc = store_check_private(s->images_fd, err);
    if (!rc)
        rc = path_make_dirs(s->images_fd, "blobs/sha256", 0700, err);
    if (!rc)
        rc = path_make_dirs(s->images_fd, "blobs/sha512", 0700, err);
    if (!rc)
        rc = open_folder(s->images_fd, "blobs", &s->blobs_fd, err);
    if (!rc)
        rc = open_folder(s->images_fd, "layers", &s->layers_fd, err);
    if (!rc)
        rc = open_folder(s->images_fd, "tmp", &s->tmp_fd, err);
    return rc ? rc : temporary_sweep(s->tmp_fd, err);
}

int store_open(const char *home, struct store **out, struct error *err)
{
    CLEANUP(cleanup_free) char *path = text_format("%s/images", home);
    CLEANUP(store_cleanup) struct store *s = calloc(1, sizeof *s);
    if (!path || !s)
        return fail_nomem(err);
    *s = (struct store){-1, -1, -1, -1};
    int rc = *home ? file_open_dir(path, true, &s->images_fd, err)
                   : fail(err, E_USAGE, "the home folder is not named");
    if (!rc)
        rc = open_folders(s, err);
    if (rc)
        return wrap(err, rc, "image store '%s'", path);
    *out = TAKE_PTR(s);
    return OK;
}

const char *store_blob_name(const struct digest *d, char out[BLOB_NAME_MAX])
{
    char hex[DIGEST_TEXT_MAX];
    (void)snprintf(out, BLOB_NAME_MAX, "%s/%s", digest_alg_name(d->alg), digest_hex(d, hex));
    return out;
}

const char *store_layer_name(const struct digest *diff_id, char out[LAYER_NAME_MAX])
{
    char hex[DIGEST_TEXT_MAX];
    (void)snprintf(out, LAYER_NAME_MAX, "%s-%s", digest_alg_name(diff_id->alg),
                   digest_hex(diff_id, hex));
    return out;
}

int store_open_regular(int dir_fd, const char *name, int *fd, int64_t *size, struct error *err)
{
    CLEANUP(cleanup_fd) int got = -1;
    struct stat st;
    /* O_NONBLOCK: a fifo in a foreign layout must not hang us before its type is known. */
    int rc =
        path_open(dir_fd, name, PATH_NO_SYMLINKS, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &got, err);
    if (rc)
        return rc;
    if (fstat(got, &st))
        return fail_sys(err, errno, "stat '%s'", name);
    if (!S_ISREG(st.st_mode))
        return fail(err, E_INVALID, "'%s' is not a regular file", name);
    if (size)
        *size = st.st_size;
    *fd = TAKE_FD(got);
    return OK;
}

bool store_blob_exists(struct store *s, const struct digest *d)
{
    CLEANUP(cleanup_fd) int fd = -1;
    return store_blob_open(s, d, &fd, NULL, NULL) == OK;
}

int store_blob_open(struct store *s, const struct digest *d, int *fd, int64_t *size,
                    struct error *err)
{
    char name[BLOB_NAME_MAX], text[DIGEST_TEXT_MAX];
    if (d->alg == DIGEST_NONE)
        return fail(err, E_NOTFOUND, "no digest, no blob");
    int rc = store_open_regular(s->blobs_fd, store_blob_name(d, name), fd, size, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_NOTFOUND, "blob '%s' is not in the local store", digest_format(d, text));
    return wrap(err, rc, "blob");
}

int store_blob_read(struct store *s, const struct digest *d, size_t max, struct bytes *out,
                    struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    CLEANUP(bytes_done) struct bytes content = BYTES_INIT;
    struct digest real;
    char text[DIGEST_TEXT_MAX];
    int rc = store_blob_open(s, d, &fd, NULL, err);
    if (!rc)
        rc = file_read_fd(fd, max, &content, err);
    if (!rc)
        rc = digest_of(d->alg, content.data, content.len, &real, err);
    if (!rc && !digest_equal(&real, d))
        rc = fail(err, E_TAMPERED, "blob '%s' has changed in the local store",
                  digest_format(d, text));
    if (!rc)
        rc = bytes_append(out, content.data, content.len, err);
    return rc;
}

int store_blob_put(struct store *s, const void *data, size_t len, struct digest *out,
                   struct error *err)
{
    CLEANUP(blob_writer_cleanup) struct blob_writer *w = NULL;
    int64_t size;
    int rc = blob_writer_new(s, &w, err);
    if (!rc)
        rc = blob_writer_write(w, data, len, err);
    return rc ? rc : blob_writer_finish(w, out, &size, err);
}

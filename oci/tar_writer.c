#include "base/cleanup.h"
#include "oci/tar.h"
#include "oci/tar_library.h"
#include "oci/tar_locale.h"

#include <string.h>

struct tar_writer {
    struct tar_library lib;
    struct archive *archive;
    struct archive_entry *entry;
    locale_t locale;
    tar_write_fn *write;
    void *context;
    int write_rc;
    struct error write_err;
};

/* A failure is kept here and not told to the library: once it knows of one, it forgets to free what
 * it holds (3.6). */
static la_ssize_t on_write(struct archive *a, void *client, const void *data, size_t len)
{
    struct tar_writer *w = client;
    (void)a;
    if (!w->write_rc)
        w->write_rc = w->write(w->context, data, len, &w->write_err);
    return (la_ssize_t)len;
}

static int complain(struct tar_writer *w, struct error *err)
{
    if (w->write_rc) {
        if (err)
            *err = w->write_err;
        return w->write_rc;
    }
    if (w->lib.archive_errno(w->archive) == ENOMEM)
        return fail_nomem(err);
    const char *why = w->lib.archive_error_string(w->archive);
    return fail(err, E_INTERNAL, "tar: %s", why ? why : "cannot write");
}

void tar_writer_free(struct tar_writer *w)
{
    if (!w)
        return;
    if (w->entry)
        w->lib.archive_entry_free(w->entry);
    /* Without an explicit end the library writes one now: nobody wants it any more. */
    w->write_rc = w->write_rc ? w->write_rc : E_INTERRUPTED;
    if (w->archive)
        (void)w->lib.archive_write_free(w->archive);
    tar_locale_free(w->locale);
    free(w);
}

void tar_writer_cleanup(struct tar_writer **w)
{
    tar_writer_free(*w);
    *w = NULL;
}

int tar_writer_new(tar_write_fn *write, void *context, struct tar_writer **out, struct error *err)
{
    CLEANUP(tar_writer_cleanup) struct tar_writer *w = calloc(1, sizeof *w);
    if (!w)
        return fail_nomem(err);
    w->write = write;
    w->context = context;
    int rc = tar_library_open(&w->lib, err);
    if (!rc)
        rc = tar_locale_new(&w->locale, err);
    if (rc)
        return rc;
    CLEANUP(tar_locale_leave) locale_t before = uselocale(w->locale);
    (void)before;
    w->archive = w->lib.archive_write_new();
    w->entry = w->lib.archive_entry_new();
    if (!w->archive || !w->entry)
        return fail_nomem(err);
    if (w->lib.archive_write_set_format_pax_restricted(w->archive) != ARCHIVE_OK ||
        w->lib.archive_write_set_bytes_per_block(w->archive, 64 * 1024) != ARCHIVE_OK ||
        w->lib.archive_write_set_bytes_in_last_block(w->archive, 1) != ARCHIVE_OK ||
        w->lib.archive_write_open(w->archive, w, NULL, on_write, NULL) != ARCHIVE_OK)
        return complain(w, err);
    *out = TAKE_PTR(w);
    return OK;
}

static __LA_MODE_T file_type(enum tar_type type)
{
    switch (type) {
    case TAR_FOLDER:
        return AE_IFDIR;
    case TAR_SYMLINK:
        return AE_IFLNK;
    case TAR_FIFO:
        return AE_IFIFO;
    case TAR_FILE:
    case TAR_HARDLINK:
    case TAR_DEVICE:
        break;
    }
    return AE_IFREG;
}

int tar_writer_entry(struct tar_writer *w, const struct tar_entry *entry, struct error *err)
{
    CLEANUP(tar_locale_leave) locale_t before = uselocale(w->locale);
    (void)before;
    struct archive_entry *e = w->lib.archive_entry_clear(w->entry);
    w->lib.archive_entry_copy_pathname(e, entry->path);
    w->lib.archive_entry_set_filetype(e, file_type(entry->type));
    w->lib.archive_entry_set_perm(e, entry->mode);
    w->lib.archive_entry_set_uid(e, entry->uid);
    w->lib.archive_entry_set_gid(e, entry->gid);
    w->lib.archive_entry_set_mtime(e, entry->mtime_s, 0);
    w->lib.archive_entry_set_size(e, entry->type == TAR_FILE ? entry->size : 0);
    if (entry->type == TAR_SYMLINK)
        w->lib.archive_entry_copy_symlink(e, entry->target);
    if (entry->type == TAR_HARDLINK)
        w->lib.archive_entry_copy_hardlink(e, entry->target);
    for (size_t i = 0; i < entry->n_xattrs; i++)
        w->lib.archive_entry_xattr_add_entry(e, entry->xattrs[i].name, entry->xattrs[i].value,
                                             entry->xattrs[i].len);
    int got = w->lib.archive_write_header(w->archive, e);
    return got == ARCHIVE_OK && !w->write_rc ? OK : complain(w, err);
}

int tar_writer_data(struct tar_writer *w, const void *data, size_t len, struct error *err)
{
    la_ssize_t n = w->lib.archive_write_data(w->archive, data, len);
    if (n < 0 || w->write_rc)
        return complain(w, err);
    /* The library cuts what goes beyond the header's size. */
    if ((size_t)n != len)
        return fail(err, E_INTERNAL, "tar: more content than promised");
    return OK;
}

int tar_writer_finish(struct tar_writer *w, struct error *err)
{
    CLEANUP(tar_locale_leave) locale_t before = uselocale(w->locale);
    (void)before;
    int got = w->lib.archive_write_close(w->archive);
    return got == ARCHIVE_OK && !w->write_rc ? OK : complain(w, err);
}

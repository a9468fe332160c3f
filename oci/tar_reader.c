#include "base/cleanup.h"
#include "oci/tar.h"
#include "oci/tar_locale.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>

struct tar_reader {
    struct archive *archive;
    struct archive_entry *entry;
    locale_t locale;
    tar_read_fn *read;
    void *context;
    const uint8_t *block; /* the last one given to the library */
    size_t block_len;
    int64_t given;     /* bytes given to the library so far */
    int64_t data_seen; /* end of the last piece of this entry */
    int64_t size;      /* of this entry */
    int read_rc;       /* what `read` said; OK: nothing wrong */
    struct error read_err;
};

static la_ssize_t on_read(struct archive *a, void *client, const void **block)
{
    struct tar_reader *r = client;
    size_t len = 0;
    r->read_rc = r->read(r->context, block, &len, &r->read_err);
    if (r->read_rc) {
        archive_set_error(a, EIO, "cannot read");
        return -1;
    }
    r->block = *block;
    r->block_len = len;
    r->given += (int64_t)len;
    return (la_ssize_t)len;
}

/* The library's complaint, or the reader's own failure behind it. */
static int complain(struct tar_reader *r, struct error *err)
{
    if (r->read_rc) {
        if (err)
            *err = r->read_err;
        return r->read_rc;
    }
    if (archive_errno(r->archive) == ENOMEM)
        return fail_nomem(err);
    const char *why = archive_error_string(r->archive);
    return fail(err, E_INVALID, "tar: %s", why ? why : "damaged archive");
}

void tar_reader_free(struct tar_reader *r)
{
    if (!r)
        return;
    archive_entry_free(r->entry);
    if (r->archive)
        (void)archive_read_free(r->archive);
    tar_locale_free(r->locale);
    free(r);
}

void tar_reader_cleanup(struct tar_reader **r)
{
    tar_reader_free(*r);
    *r = NULL;
}

int tar_reader_new(tar_read_fn *read, void *context, struct tar_reader **out, struct error *err)
{
    CLEANUP(tar_reader_cleanup) struct tar_reader *r = calloc(1, sizeof *r);
    if (!r)
        return fail_nomem(err);
    r->read = read;
    r->context = context;
    int rc = tar_locale_new(&r->locale, err);
    if (rc)
        return rc;
    CLEANUP(tar_locale_leave) locale_t before = uselocale(r->locale);
    (void)before;
    r->archive = archive_read_new();
    r->entry = archive_entry_new();
    if (!r->archive || !r->entry)
        return fail_nomem(err);
    /* mac-ext: "._name" entries would change the entries behind them. */
    if (archive_read_support_format_tar(r->archive) != ARCHIVE_OK ||
        archive_read_set_format_option(r->archive, "tar", "mac-ext", NULL) != ARCHIVE_OK)
        return fail(err, E_INTERNAL, "tar: %s", archive_error_string(r->archive));
    if (archive_read_open(r->archive, r, NULL, on_read, NULL) != ARCHIVE_OK)
        return complain(r, err);
    *out = TAKE_PTR(r);
    return OK;
}

static int take_type(struct archive_entry *e, struct tar_entry *out, struct error *err)
{
    const char *hardlink = archive_entry_hardlink(e);
    out->target = "";
    if (hardlink) {
        out->type = TAR_HARDLINK;
        out->target = hardlink;
        return OK;
    }
    switch (archive_entry_filetype(e)) {
    case AE_IFREG:
        out->type = TAR_FILE;
        return OK;
    case AE_IFDIR:
        out->type = TAR_FOLDER;
        return OK;
    case AE_IFLNK:
        out->type = TAR_SYMLINK;
        out->target = archive_entry_symlink(e);
        return out->target ? OK : fail(err, E_INVALID, "tar: symbolic link without target");
    case AE_IFIFO:
        out->type = TAR_FIFO;
        return OK;
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFSOCK:
        out->type = TAR_DEVICE;
        return OK;
    default:
        return fail(err, E_INVALID, "tar: unknown type of entry");
    }
}

static int take_xattrs(struct archive_entry *e, struct tar_entry *out, struct error *err)
{
    const char *name;
    const void *value;
    size_t len;
    out->n_xattrs = 0;
    (void)archive_entry_xattr_reset(e);
    while (archive_entry_xattr_next(e, &name, &value, &len) == ARCHIVE_OK) {
        if (out->n_xattrs == TAR_MAX_XATTRS)
            return fail(err, E_LIMIT, "tar: more than %d extended attributes", TAR_MAX_XATTRS);
        out->xattrs[out->n_xattrs++] = (struct tar_xattr){name, value, len};
    }
    return OK;
}

/* Ids that no system call takes: −1 means "leave it" to chown. */
static bool id_valid(int64_t id)
{
    return id >= 0 && id < UINT32_MAX;
}

static int take_entry(struct tar_reader *r, struct tar_entry *out, struct error *err)
{
    struct archive_entry *e = r->entry;
    out->path = archive_entry_pathname(e);
    if (!out->path)
        return fail(err, E_INVALID, "tar: entry without a name");
    if (!id_valid(archive_entry_uid(e)) || !id_valid(archive_entry_gid(e)))
        return fail(err, E_INVALID, "tar: '%s' has an impossible owner", out->path);
    out->uid = (uid_t)archive_entry_uid(e);
    out->gid = (gid_t)archive_entry_gid(e);
    out->mode = archive_entry_perm(e) & 07777;
    out->size = archive_entry_size(e);
    out->mtime_s = archive_entry_mtime(e);
    long ns = archive_entry_mtime_nsec(e);
    if (out->size < 0 || ns < 0 || ns > 999999999)
        return fail(err, E_INVALID, "tar: '%s' has an impossible size or date", out->path);
    out->mtime_ns = (uint32_t)ns;
    r->size = out->size;
    r->data_seen = 0;
    int rc = take_type(e, out, err);
    return rc ? rc : take_xattrs(e, out, err);
}

/* Other readers may take what lies behind the end mark for more entries. */
static int check_rest_of_block(const struct tar_reader *r, struct error *err)
{
    int64_t start = r->given - (int64_t)r->block_len;
    int64_t used = archive_filter_bytes(r->archive, 0);
    if (used < start || used > r->given)
        return OK;
    for (size_t i = (size_t)(used - start); i < r->block_len; i++)
        if (r->block[i])
            return fail(err, E_INVALID, "tar: data behind the end of the archive");
    return OK;
}

int tar_reader_next(struct tar_reader *r, struct tar_entry *out, bool *end, struct error *err)
{
    CLEANUP(tar_locale_leave) locale_t before = uselocale(r->locale);
    (void)before;
    int got = archive_read_next_header2(r->archive, r->entry);
    if (got == ARCHIVE_EOF) {
        *end = true;
        return check_rest_of_block(r, err);
    }
    /* A warning means that the library understood the entry only in part. */
    if (got != ARCHIVE_OK)
        return complain(r, err);
    *end = false;
    return take_entry(r, out, err);
}

int tar_reader_data(struct tar_reader *r, const void **data, size_t *len, int64_t *offset,
                    struct error *err)
{
    CLEANUP(tar_locale_leave) locale_t before = uselocale(r->locale);
    (void)before;
    size_t n = 0;
    la_int64_t at = 0;
    int got;
    /* Empty pieces before the end carry nothing. */
    do
        got = archive_read_data_block(r->archive, data, &n, &at);
    while (got == ARCHIVE_OK && n == 0);
    if (got == ARCHIVE_EOF) {
        *len = 0;
        return OK;
    }
    if (got != ARCHIVE_OK)
        return complain(r, err);
    if (at < r->data_seen || at > r->size || (int64_t)n > r->size - at)
        return fail(err, E_INVALID, "tar: content lies outside its entry");
    r->data_seen = at + (int64_t)n;
    *len = n;
    *offset = at;
    return OK;
}

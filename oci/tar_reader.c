#include "base/cleanup.h"
#include "oci/tar.h"
#include "oci/tar_library.h"
#include "oci/tar_locale.h"

#include <string.h>
#include <sys/stat.h>

/* Content of one extended header; what names and attributes need is far less. */
#define TAR_META_MAX (1u << 20)

struct block {
    const uint8_t *data;
    size_t len;
};

/* A name as an extended header of the current entry gives it. */
struct raw_name {
    bool given;
    struct bytes text;
};

struct tar_reader {
    struct tar_library lib;
    struct archive *archive;
    struct archive_entry *entry;
    locale_t locale;
    tar_read_fn *read;
    void *context;
    struct block now, before; /* the last two given to the library */
    int64_t given;            /* bytes given to the library so far */
    int64_t data_seen;        /* end of the last piece of this entry */
    int64_t size;             /* of this entry */
    struct raw_name path, target, sparse_path;
    bool extended, long_name; /* of the current entry: which kinds of header were seen */
    int read_rc;              /* what `read` said; OK: nothing wrong */
    struct error read_err;
};

static la_ssize_t on_read(struct archive *a, void *client, const void **block)
{
    struct tar_reader *r = client;
    size_t len = 0;
    r->read_rc = r->read(r->context, block, &len, &r->read_err);
    if (r->read_rc) {
        r->lib.archive_set_error(a, EIO, "cannot read");
        return -1;
    }
    r->before = r->now;
    r->now = (struct block){*block, len};
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
    if (r->lib.archive_errno(r->archive) == ENOMEM)
        return fail_nomem(err);
    const char *why = r->lib.archive_error_string(r->archive);
    return fail(err, E_INVALID, "tar: %s", why ? why : "damaged archive");
}

void tar_reader_free(struct tar_reader *r)
{
    if (!r)
        return;
    if (r->entry)
        r->lib.archive_entry_free(r->entry);
    if (r->archive)
        (void)r->lib.archive_read_free(r->archive);
    tar_locale_free(r->locale);
    bytes_done(&r->path.text);
    bytes_done(&r->target.text);
    bytes_done(&r->sparse_path.text);
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
    int rc = tar_library_open(&r->lib, err);
    if (!rc)
        rc = tar_locale_new(&r->locale, err);
    if (rc)
        return rc;
    CLEANUP(tar_locale_leave) locale_t before = uselocale(r->locale);
    (void)before;
    r->archive = r->lib.archive_read_new();
    r->entry = r->lib.archive_entry_new();
    if (!r->archive || !r->entry)
        return fail_nomem(err);
    /* mac-ext: "._name" entries would change the entries behind them. */
    if (r->lib.archive_read_support_format_tar(r->archive) != ARCHIVE_OK ||
        r->lib.archive_read_set_format_option(r->archive, "tar", "mac-ext", NULL) != ARCHIVE_OK)
        return fail(err, E_INTERNAL, "tar: %s", r->lib.archive_error_string(r->archive));
    if (r->lib.archive_read_open(r->archive, r, NULL, on_read, NULL) != ARCHIVE_OK)
        return complain(r, err);
    *out = TAKE_PTR(r);
    return OK;
}

static int take_type(const struct tar_library *lib, struct archive_entry *e, struct tar_entry *out,
                     struct error *err)
{
    const char *hardlink = lib->archive_entry_hardlink(e);
    out->target = "";
    if (hardlink) {
        out->type = TAR_HARDLINK;
        out->target = hardlink;
        return OK;
    }
    switch (lib->archive_entry_filetype(e)) {
    case AE_IFREG:
        out->type = TAR_FILE;
        return OK;
    case AE_IFDIR:
        out->type = TAR_FOLDER;
        return OK;
    case AE_IFLNK:
        out->type = TAR_SYMLINK;
        out->target = lib->archive_entry_symlink(e);
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

static int take_xattrs(const struct tar_library *lib, struct archive_entry *e,
                       struct tar_entry *out, struct error *err)
{
    const char *name;
    const void *value;
    size_t len;
    out->n_xattrs = 0;
    (void)lib->archive_entry_xattr_reset(e);
    while (lib->archive_entry_xattr_next(e, &name, &value, &len) == ARCHIVE_OK) {
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
    out->path = r->lib.archive_entry_pathname(e);
    if (r->path.given)
        out->path = bytes_text(&r->path.text);
    if (r->sparse_path.given)
        out->path = bytes_text(&r->sparse_path.text);
    if (!out->path)
        return fail(err, E_INVALID, "tar: entry without a name");
    if (!id_valid(r->lib.archive_entry_uid(e)) || !id_valid(r->lib.archive_entry_gid(e)))
        return fail(err, E_INVALID, "tar: '%s' has an impossible owner", out->path);
    out->uid = (uid_t)r->lib.archive_entry_uid(e);
    out->gid = (gid_t)r->lib.archive_entry_gid(e);
    out->mode = r->lib.archive_entry_perm(e) & 07777;
    out->size = r->lib.archive_entry_size(e);
    out->mtime_s = r->lib.archive_entry_mtime(e);
    long ns = r->lib.archive_entry_mtime_nsec(e);
    if (out->size < 0 || ns < 0 || ns > 999999999)
        return fail(err, E_INVALID, "tar: '%s' has an impossible size or date", out->path);
    out->mtime_ns = (uint32_t)ns;
    r->size = out->size;
    r->data_seen = 0;
    int rc = take_type(&r->lib, e, out, err);
    if (r->target.given && (out->type == TAR_SYMLINK || out->type == TAR_HARDLINK))
        out->target = bytes_text(&r->target.text);
    return rc ? rc : take_xattrs(&r->lib, e, out, err);
}

/* --- names in extended headers --- */

/*
 * The library cuts names at a NUL, which an extended header can hold, and composes their letters
 * (two names that differ become one). Both would make it see another tree than other readers see.
 * So the extended headers of an entry are read once more: NULs are refused, names taken as they
 * stand.
 */

#define UNIT 512

/* Copies len bytes of the archive at `offset`; false where they are no longer at hand. */
static bool copy_range(const struct tar_reader *r, int64_t offset, size_t len, uint8_t *out)
{
    int64_t now = r->given - (int64_t)r->now.len, before = now - (int64_t)r->before.len;
    if (offset < before || offset + (int64_t)len > r->given)
        return false;
    size_t old = 0;
    if (offset < now) {
        old = len < (size_t)(now - offset) ? len : (size_t)(now - offset);
        memcpy(out, r->before.data + (offset - before), old);
        offset += (int64_t)old;
    }
    if (len > old)
        memcpy(out + old, r->now.data + (offset - now), len - old);
    return true;
}

/* Attributes may be binary; everything else is text. */
static bool may_hold_nul(const uint8_t *key, size_t len)
{
    static const char *const prefixes[] = {"SCHILY.xattr.", "LIBARCHIVE.xattr."};
    for (size_t i = 0; i < 2; i++)
        if (len > strlen(prefixes[i]) && memcmp(key, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static bool key_is(const uint8_t *key, size_t len, const char *text)
{
    return bytes_equal(key, len, text, strlen(text));
}

/* Keeps the last value of a key. */
static int keep_name(struct raw_name *name, const uint8_t *value, size_t len, struct error *err)
{
    bytes_clear(&name->text);
    name->given = true;
    return bytes_append(&name->text, value, len, err);
}

static int take_record(struct tar_reader *r, const uint8_t *key, size_t key_len,
                       const uint8_t *value, size_t len, struct error *err)
{
    if (memchr(key, 0, key_len) || (!may_hold_nul(key, key_len) && memchr(value, 0, len)))
        return fail(err, E_INVALID, "tar: a name holds a NUL");
    if (key_is(key, key_len, "path"))
        return keep_name(&r->path, value, len, err);
    if (key_is(key, key_len, "linkpath"))
        return keep_name(&r->target, value, len, err);
    if (key_is(key, key_len, "GNU.sparse.name"))
        return keep_name(&r->sparse_path, value, len, err);
    return OK;
}

/* Records "LEN KEY=VALUE\n", LEN counting all of it. Source: POSIX pax, "Extended Header". */
static int take_records(struct tar_reader *r, const uint8_t *p, size_t left, struct error *err)
{
    int rc = OK;
    while (!rc && left) {
        const uint8_t *blank = memchr(p, ' ', left < 20 ? left : 20);
        uint64_t len = 0;
        if (!blank || text_to_u64((const char *)p, (size_t)(blank - p), left, &len, NULL) ||
            len < (size_t)(blank - p) + 2 || p[len - 1] != '\n')
            return fail(err, E_INVALID, "tar: malformed extended header");
        const uint8_t *key = blank + 1, *end = p + len - 1;
        const uint8_t *equals = memchr(key, '=', (size_t)(end - key));
        if (!equals)
            return fail(err, E_INVALID, "tar: malformed extended header");
        rc = take_record(r, key, (size_t)(equals - key), equals + 1, (size_t)(end - equals - 1),
                         err);
        p += len;
        left -= (size_t)len;
    }
    return rc;
}

static int check_long_name(const uint8_t *p, size_t len, struct error *err)
{
    size_t text = strnlen((const char *)p, len);
    for (size_t i = text; i < len; i++)
        if (p[i])
            return fail(err, E_INVALID, "tar: a name holds a NUL");
    return OK;
}

/* Octal digits, blanks around them. */
static bool meta_size(const uint8_t *field, size_t *out)
{
    size_t size = 0, i = 0;
    while (i < 12 && field[i] == ' ')
        i++;
    for (; i < 12 && field[i] >= '0' && field[i] <= '7'; i++)
        size = size * 8 + (size_t)(field[i] - '0');
    *out = size;
    return (i == 12 || field[i] == ' ' || !field[i]) && size <= TAR_META_MAX;
}

/* One header at *offset; *more: it was an extended one, *offset is behind its content. */
static int take_header(struct tar_reader *r, int64_t *offset, bool *more, struct error *err)
{
    uint8_t header[UNIT];
    size_t size;
    *more = false;
    if (!copy_range(r, *offset, sizeof header, header))
        return fail(err, E_LIMIT, "tar: the headers of an entry are too large");
    char type = (char)header[156];
    if (!type || !strchr("xXgLK", type))
        return OK;
    if (!meta_size(header + 124, &size))
        return fail(err, E_LIMIT, "tar: an extended header is too large");
    CLEANUP(cleanup_free) uint8_t *content = malloc(size + 1);
    if (!content)
        return fail_nomem(err);
    if (!copy_range(r, *offset + UNIT, size, content))
        return fail(err, E_LIMIT, "tar: the headers of an entry are too large");
    *offset += UNIT + (int64_t)((size + UNIT - 1) / UNIT * UNIT);
    *more = true;
    if (type == 'L' || type == 'K') {
        r->long_name = true;
        return check_long_name(content, size, err);
    }
    /* Global headers describe the archive; the library takes no names from them, nor do we. */
    if (type == 'g')
        return OK;
    if (r->extended)
        return fail(err, E_INVALID, "tar: an entry has two extended headers");
    r->extended = true;
    return take_records(r, content, size, err);
}

static int take_headers(struct tar_reader *r, struct error *err)
{
    int64_t offset = r->lib.archive_read_header_position(r->archive);
    int64_t end = r->lib.archive_filter_bytes(r->archive, 0);
    bool more = true;
    int rc = OK;
    r->path.given = r->target.given = r->sparse_path.given = false;
    r->extended = r->long_name = false;
    while (!rc && more && offset < end)
        rc = take_header(r, &offset, &more, err);
    /* Readers differ in which of two long names they take. */
    if (!rc && r->long_name && (r->path.given || r->target.given))
        rc = fail(err, E_INVALID, "tar: an entry has two names");
    return rc;
}

/* --- entries --- */

/* Other readers may take what lies behind the end mark for more entries. */
static int check_rest_of_block(const struct tar_reader *r, struct error *err)
{
    int64_t start = r->given - (int64_t)r->now.len;
    int64_t used = r->lib.archive_filter_bytes(r->archive, 0);
    if (used < start || used > r->given)
        return OK;
    for (size_t i = (size_t)(used - start); i < r->now.len; i++)
        if (r->now.data[i])
            return fail(err, E_INVALID, "tar: data behind the end of the archive");
    return OK;
}

int tar_reader_next(struct tar_reader *r, struct tar_entry *out, bool *end, struct error *err)
{
    CLEANUP(tar_locale_leave) locale_t before = uselocale(r->locale);
    (void)before;
    int got = r->lib.archive_read_next_header2(r->archive, r->entry);
    if (got == ARCHIVE_EOF) {
        *end = true;
        return check_rest_of_block(r, err);
    }
    /* A warning means that the library understood the entry only in part. */
    if (got != ARCHIVE_OK)
        return complain(r, err);
    *end = false;
    int rc = take_headers(r, err);
    return rc ? rc : take_entry(r, out, err);
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
        got = r->lib.archive_read_data_block(r->archive, data, &n, &at);
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

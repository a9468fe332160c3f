#include "base/file.h"
#include "oci/archive_writer.h"
#include "verify/bundle_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_NAME_LEN_MAX 300
#define FOUND_BLOBS       E_INTERRUPTED /* the head is read: not an error */

void bundle_close(struct bundle *b)
{
    if (!b)
        return;
    cleanup_fd(&b->fd);
    for (size_t i = 0; i < b->n_files; i++) {
        free(b->files[i].name);
        bytes_done(&b->files[i].content);
    }
    free(b->files);
    free(b);
}

void bundle_cleanup(struct bundle **b)
{
    bundle_close(*b);
    *b = NULL;
}

const struct bundle_note *bundle_note(const struct bundle *b)
{
    return &b->note;
}

/* --- bulla/bundle.json --- */

static int note_texts(const struct js *o, const char *texts[5], struct error *err)
{
    static const char *const known[] = {"version", "host",   "repository", "collection",
                                        "tag",     "digest", NULL};
    static const char *const keys[] = {"host", "repository", "collection"};
    int64_t version;
    int rc = js_only_keys(o, known, err);
    if (!rc)
        rc = js_want_int(o, "version", 1, 1, &version, err);
    for (size_t i = 0; !rc && i < 3; i++)
        rc = js_want_text(o, keys[i], &texts[i], err);
    if (!rc)
        rc = js_opt_text(o, "tag", &texts[3], err);
    if (!rc)
        rc = js_opt_text(o, "digest", &texts[4], err);
    if (!rc && !texts[3] == !texts[4])
        rc = fail(err, E_INVALID, "must have either 'tag' or 'digest'");
    return rc;
}

/* Each part must be what the whole reference is read as: no ':' or '@' hides in one. */
static bool same_reference(const struct reference *ref, const char *const texts[5])
{
    char digest[DIGEST_TEXT_MAX] = "";
    if (ref->digest.alg)
        digest_format(&ref->digest, digest);
    return strcmp(ref->host, texts[0]) == 0 && strcmp(ref->repository, texts[1]) == 0 &&
           strcmp(ref->tag, texts[3] ? texts[3] : "") == 0 &&
           strcmp(digest, texts[4] ? texts[4] : "") == 0;
}

int bundle_note_parse(const void *data, size_t len, struct bundle_note *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    const char *texts[5] = {NULL};
    struct bundle_note note = {.collection = ""};
    struct error why = ERROR_INIT;
    int rc = js_parse(data, len, &o, err);
    if (!rc && js_type(o) != JS_OBJECT)
        rc = fail(err, E_INVALID, "must be an object");
    if (!rc)
        rc = note_texts(o, texts, err);
    if (rc)
        return rc;
    text = text_format("%s/%s%c%s", texts[0], texts[1], texts[3] ? ':' : '@',
                       texts[3] ? texts[3] : texts[4]);
    if (!text)
        return fail_nomem(err);
    if (reference_parse(text, &note.ref, &why) || !same_reference(&note.ref, texts))
        return fail(err, E_INVALID, "names no image: '%.200s'", text);
    if (!repository_name_valid(texts[2], strlen(texts[2])))
        return fail(err, E_INVALID, "'collection' is malformed");
    (void)snprintf(note.collection, sizeof note.collection, "%s", texts[2]);
    *out = note;
    return OK;
}

int bundle_note_write(const struct bundle_note *note, struct bytes *out, struct error *err)
{
    char digest[DIGEST_TEXT_MAX];
    const struct reference *ref = &note->ref;
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? js_set(o, "version", js_int_new(1), err) : fail_nomem(err);
    if (!rc)
        rc = js_set(o, "host", js_text_new(ref->host), err);
    if (!rc)
        rc = js_set(o, "repository", js_text_new(ref->repository), err);
    if (!rc)
        rc = js_set(o, "collection", js_text_new(note->collection), err);
    if (!rc)
        rc = *ref->tag ? js_set(o, "tag", js_text_new(ref->tag), err)
                       : js_set(o, "digest", js_text_new(digest_format(&ref->digest, digest)), err);
    return rc ? rc : js_write(o, true, out, err);
}

/* --- the head --- */

bool bundle_blob_digest(const char *path, struct digest *out)
{
    char text[DIGEST_TEXT_MAX];
    if (!text_starts(path, "blobs/") || strlen(path) >= sizeof text)
        return false;
    const char *alg = path + strlen("blobs/");
    const char *slash = strchr(alg, '/');
    if (!slash)
        return false;
    (void)snprintf(text, sizeof text, "%.*s:%s", (int)(slash - alg), alg, slash + 1);
    return digest_parse_text(text, out, NULL) == OK;
}

struct exact {
    archive_file_fn *fn;
    void *context;
};

static int visit_exact(void *context, const char *path, const struct tar_entry *e,
                       struct tar_reader *reader, struct error *err)
{
    const struct exact *x = context;
    if (strcmp(path, e->path) != 0)
        return fail(err, E_INVALID, "is written as '%.200s'", e->path);
    if (e->type != TAR_FILE)
        return fail(err, E_INVALID, "must be a regular file");
    return x->fn(x->context, path, e, reader, err);
}

int bundle_each_file(const struct bundle *b, archive_file_fn *fn, void *context, struct error *err)
{
    struct exact x = {fn, context};
    if (lseek(b->fd, 0, SEEK_SET) != 0)
        return fail_sys(err, errno, "rewind");
    return archive_each_file(b->fd, visit_exact, &x, err);
}

struct head {
    struct bundle *b;
    struct bytes layout, index, note;
    size_t total;
};

static void head_done(struct head *h)
{
    bytes_done(&h->layout);
    bytes_done(&h->index);
    bytes_done(&h->note);
}

static int take_content(struct head *h, const struct tar_entry *e, size_t max,
                        struct tar_reader *reader, struct bytes *out, struct error *err)
{
    const void *data;
    size_t len = 1;
    int64_t offset;
    if (e->size < 1 || (uint64_t)e->size > max ||
        (size_t)e->size > BUNDLE_MAX_HEAD_BYTES - h->total)
        return fail(err, e->size < 1 ? E_INVALID : E_LIMIT, "is %s",
                    e->size < 1 ? "empty" : "too large");
    h->total += (size_t)e->size;
    for (;;) {
        int rc = tar_reader_data(reader, &data, &len, &offset, err);
        if (rc)
            return rc;
        if (!len)
            break;
        if (offset != (int64_t)out->len)
            return fail(err, E_UNSUPPORTED, "sparse files are not supported here");
        rc = bytes_append(out, data, len, err);
        if (rc)
            return rc;
    }
    return (int64_t)out->len == e->size ? OK : fail(err, E_INVALID, "is cut off");
}

/* "timestamp.json" or "<N>.<role>.json": letters that a file of the registry's may have. */
static bool tuf_name_valid(const char *name)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-~.%";
    size_t len = strlen(name), digits = strspn(name, "0123456789");
    if (strcmp(name, "timestamp.json") == 0)
        return true;
    return len <= FILE_NAME_LEN_MAX && strspn(name, plain) == len && digits && digits <= 16 &&
           name[0] != '0' && name[digits] == '.' && len > digits + sizeof ".json" &&
           strcmp(name + len - strlen(".json"), ".json") == 0;
}

static const struct bundle_file *find_file(const struct bundle *b, const char *name)
{
    for (size_t i = 0; i < b->n_files; i++)
        if (strcmp(b->files[i].name, name) == 0)
            return &b->files[i];
    return NULL;
}

static int take_tuf(struct head *h, const char *name, const struct tar_entry *e,
                    struct tar_reader *reader, struct error *err)
{
    struct bundle *b = h->b;
    if (!tuf_name_valid(name))
        return fail(err, E_INVALID, "does not belong there");
    if (find_file(b, name))
        return fail(err, E_INVALID, "is in the bundle twice");
    if (b->n_files == BUNDLE_MAX_FILES)
        return fail(err, E_LIMIT, "more than %d metadata files", BUNDLE_MAX_FILES);
    if (!b->files)
        b->files = calloc(BUNDLE_MAX_FILES, sizeof *b->files);
    if (!b->files)
        return fail_nomem(err);
    struct bundle_file *f = &b->files[b->n_files];
    f->name = strdup(name);
    if (!f->name)
        return fail_nomem(err);
    b->n_files++;
    return take_content(h, e, TUF_MAX_TARGETS_BYTES, reader, &f->content, err);
}

static int take_head(void *context, const char *path, const struct tar_entry *e,
                     struct tar_reader *reader, struct error *err)
{
    struct head *h = context;
    struct digest d;
    struct bytes *to = strcmp(path, "oci-layout") == 0       ? &h->layout
                       : strcmp(path, "index.json") == 0     ? &h->index
                       : strcmp(path, BUNDLE_NOTE_PATH) == 0 ? &h->note
                                                             : NULL;
    if (to && to->len)
        return fail(err, E_INVALID, "is in the bundle twice");
    if (to)
        return take_content(h, e, BUNDLE_NOTE_MAX_BYTES, reader, to, err);
    if (text_starts(path, BUNDLE_TUF))
        return take_tuf(h, path + strlen(BUNDLE_TUF), e, reader, err);
    if (bundle_blob_digest(path, &d))
        return FOUND_BLOBS;
    return fail(err, E_INVALID, "does not belong into a bundle");
}

/* index.json must say exactly what we would write: other programs go by it. */
static int check_index(struct head *h, struct error *err)
{
    CLEANUP(js_cleanup) struct js *index = NULL;
    char name[REFERENCE_TEXT_MAX];
    const struct js *entries;
    int rc = js_parse(h->index.data, h->index.len, &index, err);
    if (!rc)
        rc = js_want_array(index, "manifests", &entries, err);
    if (rc)
        return rc;
    const struct js *entry = js_at(entries, 0);
    const char *text = js_text(js_get(js_get(entry, "annotations"), ARCHIVE_REF_NAME));
    if (js_count(entries) != 1)
        return fail(err, E_INVALID, "must name one image");
    if (!text || strcmp(text, reference_format(&h->b->note.ref, name)) != 0)
        return fail(err, E_INVALID, "does not name '%.300s'", name);
    return descriptor_parse(entry, &h->b->root, err);
}

static int check_head(struct head *h, struct error *err)
{
    if (!h->note.len)
        return fail(err, E_INVALID, "not a bundle: it has no '%s'", BUNDLE_NOTE_PATH);
    int rc = bundle_note_parse(h->note.data, h->note.len, &h->b->note, err);
    if (rc)
        return wrap(err, rc, "'%s'", BUNDLE_NOTE_PATH);
    if (!bytes_equal(h->layout.data, h->layout.len, ARCHIVE_LAYOUT_TEXT,
                     strlen(ARCHIVE_LAYOUT_TEXT)))
        return fail(err, E_INVALID, "'oci-layout' is not that of a bundle");
    return wrap(err, check_index(h, err), "'index.json'");
}

int bundle_open_fd(int fd, struct bundle **out, struct error *err)
{
    CLEANUP(bundle_cleanup) struct bundle *b = calloc(1, sizeof *b);
    CLEANUP(head_done) struct head h = {.b = b};
    struct error why = ERROR_INIT;
    if (!b) {
        cleanup_fd(&fd);
        return fail_nomem(err);
    }
    b->fd = fd;
    int rc = bundle_each_file(b, take_head, &h, &why);
    bool blobs = rc == FOUND_BLOBS;
    if (rc && !blobs)
        return fail(err, rc, "%s", why.message);
    rc = check_head(&h, err);
    if (!rc && !blobs)
        rc = fail(err, E_INVALID, "the bundle is cut off: it holds no image");
    if (!rc)
        *out = TAKE_PTR(b);
    return rc;
}

int bundle_open(const char *path, struct bundle **out, struct error *err)
{
    struct stat st;
    CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return fail_sys(err, errno, "open bundle '%s'", path);
    if (fstat(fd, &st))
        return fail_sys(err, errno, "stat bundle '%s'", path);
    if (!S_ISREG(st.st_mode))
        return fail(err, E_USAGE, "bundle '%s' is not a regular file", path);
    int rc = bundle_open_fd(TAKE_FD(fd), out, err);
    return wrap(err, rc, "bundle '%s'", path);
}

int bundle_trust_get(const struct bundle *b, const char *name, size_t max, struct bytes *out,
                     struct error *err)
{
    const struct bundle_file *f = find_file(b, name);
    if (!f)
        return fail(err, E_NOTFOUND, "the bundle has no '%s'", name);
    if (f->content.len > max)
        return fail(err, E_LIMIT, "'%s' has more than %zu bytes", name, max);
    return bytes_append(out, f->content.data, f->content.len, err);
}

#include "base/file.h"
#include "base/path.h"
#include "oci/archive.h"
#include "oci/reference.h"
#include "oci/store_private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define REF_NAME         "org.opencontainers.image.ref.name"
#define LAYOUT_MAX_BYTES 65536

struct image_source {
    struct store *store;        /* borrowed */
    bool in_store;              /* blobs are the store's own */
    struct temporary temporary; /* an archive's content */
    int layout_fd;              /* folder with blobs/; −1 in the store */
    struct descriptor root;
    struct image_fetcher fetcher; /* open is NULL: none of the above */
};

void image_source_free(struct image_source *src)
{
    if (!src)
        return;
    cleanup_fd(&src->layout_fd);
    temporary_done(&src->temporary);
    free(src);
}

void image_source_cleanup(struct image_source **src)
{
    image_source_free(*src);
    *src = NULL;
}

const struct descriptor *image_source_root(const struct image_source *src)
{
    return &src->root;
}

int image_source_blob(struct image_source *src, const struct digest *d, int *fd, int64_t *size,
                      struct error *err)
{
    char name[sizeof "blobs/" + BLOB_NAME_MAX], blob[BLOB_NAME_MAX], text[DIGEST_TEXT_MAX];
    if (src->in_store)
        return store_blob_open(src->store, d, fd, size, err);
    (void)snprintf(name, sizeof name, "blobs/%s", store_blob_name(d, blob));
    int rc = store_open_regular(src->layout_fd, name, fd, size, err);
    if (rc == E_NOTFOUND)
        return fail(err, rc, "blob '%s' is not in the image", digest_format(d, text));
    return rc;
}

int image_source_new(const struct descriptor *root, const struct image_fetcher *fetcher,
                     struct image_source **out, struct error *err)
{
    struct image_source *src = calloc(1, sizeof *src);
    if (!src)
        return fail_nomem(err);
    src->layout_fd = -1;
    src->temporary = (struct temporary)TEMPORARY_INIT;
    src->root = *root;
    src->fetcher = *fetcher;
    *out = src;
    return OK;
}

int image_source_begin(struct image_source *src, const struct image_want *want,
                       struct image_part *out, struct error *err)
{
    *out = (struct image_part){-1, NULL};
    if (src->fetcher.open)
        return src->fetcher.open(src->fetcher.ctx, want, out, err);
    return image_source_blob(src, &want->descriptor->digest, &out->fd, NULL, err);
}

void image_source_end(struct image_source *src, struct image_part *part, int rc)
{
    if (src->fetcher.close && part->held)
        src->fetcher.close(src->fetcher.ctx, part, rc);
    cleanup_fd(&part->fd);
}

/* --- image layouts --- */

/* Source: image-spec 1.1 image-layout.md, "oci-layout file". */
static int check_layout_version(int layout_fd, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *o = NULL;
    const char *version;
    int rc = file_read(layout_fd, "oci-layout", LAYOUT_MAX_BYTES, &text, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_INVALID, "not an image layout: it has no file 'oci-layout'");
    if (!rc)
        rc = js_parse(text.data, text.len, &o, err);
    if (!rc)
        rc = js_want_text(o, "imageLayoutVersion", &version, err);
    if (!rc && !text_starts(version, "1."))
        rc = fail(err, E_UNSUPPORTED, "image layout version '%.40s' is not supported", version);
    return rc;
}

static bool entry_has_name(const struct js *entry, const char *tag)
{
    const char *name = js_text(js_get(js_get(entry, "annotations"), REF_NAME));
    return name && strcmp(name, tag) == 0;
}

static int choose_entry(const struct js *index, const char *tag, struct descriptor *out,
                        struct error *err)
{
    const struct js *entries, *found = NULL;
    size_t n = 0;
    int rc = js_want_array(index, "manifests", &entries, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < js_count(entries); i++)
        if (!tag || entry_has_name(js_at(entries, i), tag)) {
            found = js_at(entries, i);
            n++;
        }
    if (n == 0)
        return fail(err, E_NOTFOUND, "the image layout has no image%s%s", tag ? " named " : "",
                    tag ? tag : "");
    if (n > 1)
        return fail(err, E_USAGE, "the image layout has %zu such images; name one behind a ':'", n);
    return descriptor_parse(found, out, err);
}

static int open_layout(struct image_source *src, const char *tag, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *index = NULL;
    int rc = check_layout_version(src->layout_fd, err);
    if (!rc)
        rc = file_read(src->layout_fd, "index.json", MANIFEST_MAX_BYTES, &text, err);
    if (rc == E_NOTFOUND)
        return fail(err, E_INVALID, "not an image layout: it has no file 'index.json'");
    if (!rc)
        rc = js_parse(text.data, text.len, &index, err);
    return rc ? rc : choose_entry(index, tag, &src->root, err);
}

/* --- transports --- */

/* What stands behind "oci:" and the like: a path and, behind the first ':', a name. */
struct location {
    char *path;
    const char *name; /* inside path's memory; NULL: none */
};

static int open_store(struct image_source *src, const struct location *at, struct error *err)
{
    char name[REFERENCE_TEXT_MAX];
    src->in_store = true;
    int rc = store_name_get(src->store, at->path, &src->root, err);
    if (rc == E_NOTFOUND && store_name_complete(at->path, name, NULL) == OK)
        rc = store_name_get(src->store, name, &src->root, err);
    return rc;
}

static int open_folder(struct image_source *src, const struct location *at, struct error *err)
{
    int rc = file_open_dir(at->path, false, &src->layout_fd, err);
    return rc ? rc : open_layout(src, at->name, err);
}

static int open_archive_file(struct image_source *src, const char *path, int *fd, struct error *err)
{
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (*fd < 0)
        return fail_sys(err, errno, "open");
    struct stat st;
    if (fstat(*fd, &st))
        return fail_sys(err, errno, "stat");
    if (!S_ISREG(st.st_mode))
        return fail(err, E_USAGE, "not a regular file");
    int rc = temporary_folder(src->store->tmp_fd, &src->temporary, err);
    if (!rc)
        rc = path_open(src->temporary.fd, ".", PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0,
                       &src->layout_fd, err);
    return rc;
}

static int open_oci_archive(struct image_source *src, const struct location *at, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = open_archive_file(src, at->path, &fd, err);
    if (!rc)
        rc = archive_unpack_oci(fd, src->layout_fd, err);
    return rc ? rc : open_layout(src, at->name, err);
}

static int open_docker_archive(struct image_source *src, const struct location *at,
                               struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    int rc = open_archive_file(src, at->path, &fd, err);
    return rc ? rc : archive_unpack_docker(fd, src->layout_fd, at->name, &src->root, err);
}

typedef int open_fn(struct image_source *src, const struct location *at, struct error *err);

struct transport {
    const char *prefix;
    open_fn *open;
    bool has_name; /* the part behind the first ':' is no path */
};

static const struct transport *find_transport(const char *text)
{
    static const struct transport transports[] = {
        {"store:", open_store, false},
        {"oci:", open_folder, true},
        {"oci-archive:", open_oci_archive, true},
        {"docker-archive:", open_docker_archive, true},
    };
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++)
        if (text_starts(text, transports[i].prefix))
            return &transports[i];
    return NULL;
}

int image_source_open(struct store *s, const char *text, struct image_source **out,
                      struct error *err)
{
    const struct transport *transport = find_transport(text);
    if (!transport)
        return fail(err, E_USAGE,
                    "image source '%s' names no transport (write store:NAME, oci:DIR, "
                    "oci-archive:FILE or docker-archive:FILE)",
                    text);
    CLEANUP(image_source_cleanup) struct image_source *src = calloc(1, sizeof *src);
    CLEANUP(cleanup_free) char *path = strdup(text + strlen(transport->prefix));
    if (!src || !path)
        return fail_nomem(err);
    src->store = s;
    src->layout_fd = -1;
    src->temporary = (struct temporary)TEMPORARY_INIT;
    struct location at = {path, NULL};
    char *colon = transport->has_name ? strchr(path, ':') : NULL;
    if (colon) {
        *colon = '\0';
        at.name = colon[1] ? colon + 1 : NULL;
    }
    int rc = *path ? transport->open(src, &at, err) : fail(err, E_USAGE, "its name is empty");
    if (rc)
        return wrap(err, rc, "image source '%s'", text);
    *out = TAKE_PTR(src);
    return OK;
}

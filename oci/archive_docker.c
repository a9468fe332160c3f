/* Archives as `docker save` writes them: manifest.json, a configuration and uncompressed layers. */
#include "base/file.h"
#include "base/path.h"
#include "oci/archive.h"
#include "oci/archive_files.h"
#include "oci/codec.h"
#include "oci/document.h"
#include "oci/store_private.h"

#include <fcntl.h>
#include <string.h>

#define MAX_LINKS 8 /* older archives name a layer through one link */

/* One name in the archive: a file that is stored now, or a link to another name. */
struct member {
    char *path;
    char *target; /* clean path; NULL: a file */
    struct digest digest;
    int64_t size;
};

struct docker_archive {
    int layout_fd;
    struct member *members;
    size_t n, room;
};

static void archive_done(struct docker_archive *a)
{
    for (size_t i = 0; i < a->n; i++) {
        free(a->members[i].path);
        free(a->members[i].target);
    }
    free(a->members);
}

/* --- taking the files --- */

/* Later entries of the same name win, as in tar: searched from the end. */
static const struct member *find_name(const struct docker_archive *a, const char *path)
{
    for (size_t i = a->n; i > 0; i--)
        if (strcmp(a->members[i - 1].path, path) == 0)
            return &a->members[i - 1];
    return NULL;
}

static const struct member *find_file(const struct docker_archive *a, const char *path)
{
    const struct member *m = find_name(a, path);
    for (int i = 0; m && m->target && i < MAX_LINKS; i++)
        m = find_name(a, m->target);
    return m && !m->target ? m : NULL;
}

/* target as seen from the folder of path, "" where it leaves the archive. */
static int resolve_link(const char *path, const char *target, char **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes result = BYTES_INIT;
    const char *slash = strrchr(path, '/');
    int rc = bytes_append(&result, path, slash ? (size_t)(slash - path) : 0, err);
    for (const char *p = target; !rc && *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && memcmp(p, "..", 2) == 0) {
            const char *up = strrchr(bytes_text(&result), '/');
            result.len = up ? (size_t)(up - bytes_text(&result)) : 0;
            if (result.data)
                result.data[result.len] = '\0';
        } else if (n && !(n == 1 && *p == '.')) {
            rc = result.len ? bytes_append_text(&result, "/", err) : OK;
            if (!rc)
                rc = bytes_append(&result, p, n, err);
        }
        p += n + (p[n] == '/');
    }
    if (!rc) {
        *out = strdup(bytes_text(&result));
        rc = *out ? OK : fail_nomem(err);
    }
    return rc;
}

static int store_file(struct docker_archive *a, const struct tar_entry *e,
                      struct tar_reader *reader, struct member *m, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = -1;
    char name[sizeof "blobs/" + BLOB_NAME_MAX], blob[BLOB_NAME_MAX];
    int rc = path_open(a->layout_fd, "incoming", PATH_NO_SYMLINKS, O_WRONLY | O_CREAT | O_TRUNC,
                       0600, &fd, err);
    if (!rc)
        rc = archive_copy(reader, e, fd, &m->digest, err);
    if (rc)
        return rc;
    (void)snprintf(name, sizeof name, "blobs/%s", store_blob_name(&m->digest, blob));
    if (renameat(a->layout_fd, "incoming", a->layout_fd, name))
        return fail_sys(err, errno, "rename");
    m->size = e->size;
    return OK;
}

static int add_member(struct docker_archive *a, struct member **out, struct error *err)
{
    if (a->n == a->room) {
        size_t room = a->room ? 2 * a->room : 64;
        struct member *more = realloc(a->members, room * sizeof *more);
        if (!more)
            return fail_nomem(err);
        a->members = more;
        a->room = room;
    }
    *out = &a->members[a->n++];
    **out = (struct member){NULL, NULL, {.alg = DIGEST_NONE}, 0};
    return OK;
}

static int take_file(void *context, const char *path, const struct tar_entry *e,
                     struct tar_reader *reader, struct error *err)
{
    struct docker_archive *a = context;
    struct member *m;
    if (e->type == TAR_DEVICE || e->type == TAR_FIFO)
        return fail(err, E_INVALID, "is neither file nor link");
    int rc = add_member(a, &m, err);
    if (rc)
        return rc;
    m->path = strdup(path);
    if (!m->path) {
        a->n--;
        return fail_nomem(err);
    }
    if (e->type == TAR_FILE)
        return store_file(a, e, reader, m, err);
    /* A hard link's target counts from the archive's root. */
    return resolve_link(e->type == TAR_SYMLINK ? path : "", e->target, &m->target, err);
}

/* --- manifest.json --- */

static int read_member(const struct docker_archive *a, const struct member *m, size_t max,
                       struct bytes *out, struct error *err)
{
    char name[sizeof "blobs/" + BLOB_NAME_MAX], blob[BLOB_NAME_MAX];
    (void)snprintf(name, sizeof name, "blobs/%s", store_blob_name(&m->digest, blob));
    return file_read(a->layout_fd, name, max, out, err);
}

static bool has_tag(const struct js *image, const char *reference)
{
    const struct js *tags = js_get(image, "RepoTags");
    for (size_t i = 0; i < js_count(tags); i++) {
        const char *tag = js_text(js_at(tags, i));
        if (tag && strcmp(tag, reference) == 0)
            return true;
    }
    return false;
}

static int choose_image(const struct js *images, const char *reference, const struct js **out,
                        struct error *err)
{
    const struct js *found = NULL;
    size_t n = 0;
    if (js_type(images) != JS_ARRAY)
        return fail(err, E_INVALID, "manifest.json must be an array");
    for (size_t i = 0; i < js_count(images); i++)
        if (!reference || has_tag(js_at(images, i), reference)) {
            found = js_at(images, i);
            n++;
        }
    if (n == 0)
        return fail(err, E_NOTFOUND, "the archive has no image '%s'", reference ? reference : "");
    if (n > 1)
        return fail(err, E_USAGE,
                    "the archive has %zu such images; name one with docker-archive:FILE:NAME:TAG",
                    n);
    *out = found;
    return OK;
}

static int describe_layer(const struct docker_archive *a, const struct js *name,
                          const struct digest *diff_id, struct descriptor *out, struct error *err)
{
    static const char *const types[] = {
        [LAYER_NONE] = MEDIA_OCI_LAYER,
        [LAYER_GZIP] = MEDIA_OCI_LAYER_GZIP,
        [LAYER_ZSTD] = MEDIA_OCI_LAYER_ZSTD,
    };
    CLEANUP(cleanup_fd) int fd = -1;
    char blob_name[sizeof "blobs/" + BLOB_NAME_MAX], blob[BLOB_NAME_MAX];
    uint8_t start[4];
    const struct member *m = js_text(name) ? find_file(a, js_text(name)) : NULL;
    if (!m)
        return fail(err, E_INVALID, "layer '%s' is not in the archive",
                    js_text(name) ? js_text(name) : "?");
    (void)snprintf(blob_name, sizeof blob_name, "blobs/%s", store_blob_name(&m->digest, blob));
    int rc = store_open_regular(a->layout_fd, blob_name, &fd, NULL, err);
    ssize_t got = rc ? 0 : pread(fd, start, sizeof start, 0);
    if (!rc && got < 0)
        rc = fail_sys(err, errno, "read");
    if (rc)
        return rc;
    enum layer_compression form = codec_sniff(start, (size_t)got);
    if (form == LAYER_NONE && diff_id->alg == DIGEST_SHA256 && !digest_equal(&m->digest, diff_id))
        return fail(err, E_DIGEST, "layer '%s' does not have its diff id", js_text(name));
    *out = (struct descriptor){.digest = m->digest, .size = m->size};
    memcpy(out->media_type, types[form], strlen(types[form]) + 1);
    return OK;
}

static int describe_config(const struct docker_archive *a, const struct js *image,
                           struct descriptor *out, struct image_config **config, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    const char *name;
    int rc = js_want_text(image, "Config", &name, err);
    const struct member *m = rc ? NULL : find_file(a, name);
    if (!rc && !m)
        rc = fail(err, E_INVALID, "configuration '%s' is not in the archive", name);
    if (!rc)
        rc = read_member(a, m, IMAGE_CONFIG_MAX_BYTES, &text, err);
    if (!rc)
        rc = image_config_parse(text.data, text.len, config, err);
    if (rc)
        return rc;
    *out = (struct descriptor){.digest = m->digest, .size = m->size};
    memcpy(out->media_type, MEDIA_OCI_CONFIG, sizeof MEDIA_OCI_CONFIG);
    return OK;
}

static int describe_layers(const struct docker_archive *a, const struct js *image,
                           const struct image_config *config, struct descriptor **out,
                           struct error *err)
{
    const struct js *layers;
    int rc = js_want_array(image, "Layers", &layers, err);
    if (rc)
        return rc;
    if (js_count(layers) != config->n_diff_ids)
        return fail(err, E_INVALID, "%zu layers, but %zu diff ids", js_count(layers),
                    config->n_diff_ids);
    CLEANUP(cleanup_free) struct descriptor *list = calloc(config->n_diff_ids + 1, sizeof *list);
    if (!list)
        return fail_nomem(err);
    for (size_t i = 0; !rc && i < config->n_diff_ids; i++)
        rc = describe_layer(a, js_at(layers, i), &config->diff_ids[i], &list[i], err);
    if (!rc)
        *out = TAKE_PTR(list);
    return rc;
}

static int write_manifest(const struct docker_archive *a, const struct js *o,
                          struct descriptor *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct descriptor d = {.size = 0};
    char name[sizeof "blobs/" + BLOB_NAME_MAX], blob[BLOB_NAME_MAX];
    int rc = js_write(o, false, &text, err);
    if (!rc)
        rc = digest_of(DIGEST_SHA256, text.data, text.len, &d.digest, err);
    if (rc)
        return rc;
    (void)snprintf(name, sizeof name, "blobs/%s", store_blob_name(&d.digest, blob));
    rc = file_write_atomic(a->layout_fd, name, text.data, text.len, 0600, err);
    if (rc)
        return rc;
    d.size = (int64_t)text.len;
    memcpy(d.media_type, MEDIA_OCI_MANIFEST, sizeof MEDIA_OCI_MANIFEST);
    *out = d;
    return OK;
}

static int make_manifest(const struct docker_archive *a, const struct js *image,
                         struct descriptor *out, struct error *err)
{
    CLEANUP(image_config_cleanup) struct image_config *config = NULL;
    CLEANUP(cleanup_free) struct descriptor *layers = NULL;
    CLEANUP(js_cleanup) struct js *manifest = NULL;
    struct descriptor config_descriptor;
    int rc = describe_config(a, image, &config_descriptor, &config, err);
    if (!rc)
        rc = describe_layers(a, image, config, &layers, err);
    if (!rc)
        rc = manifest_to_js(&config_descriptor, layers, config->n_diff_ids, &manifest, err);
    return rc ? rc : write_manifest(a, manifest, out, err);
}

int archive_unpack_docker(int archive_fd, int layout_fd, const char *reference,
                          struct descriptor *manifest, struct error *err)
{
    CLEANUP(archive_done) struct docker_archive a = {.layout_fd = layout_fd};
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *images = NULL;
    const struct js *image;
    int rc = path_make_dirs(layout_fd, "blobs/sha256", 0700, err);
    if (!rc)
        rc = archive_each_file(archive_fd, take_file, &a, err);
    const struct member *m = rc ? NULL : find_file(&a, "manifest.json");
    if (!rc && !m)
        rc = fail(err, E_INVALID, "the archive has no manifest.json");
    if (!rc)
        rc = read_member(&a, m, MANIFEST_MAX_BYTES, &text, err);
    if (!rc)
        rc = js_parse(text.data, text.len, &images, err);
    if (!rc)
        rc = choose_image(images, reference, &image, err);
    return rc ? rc : make_manifest(&a, image, manifest, err);
}

#include "oci/import_folder.h"
#include "oci/layer_path.h"
#include "oci/layer_stream.h"
#include "oci/layer_writer.h"
#include "oci/reference.h"
#include "oci/store_private.h"
#include "oci/tar.h"

#include "base/file.h"
#include "oci/codec.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

/* --- a tar file --- */

/* The bytes that the reader sees are the bytes that go into the layer. */
struct tee {
    struct layer_stream *stream;
    struct layer_writer *writer;
};

static int read_tee(void *context, const void **block, size_t *len, struct error *err)
{
    struct tee *t = context;
    int rc = layer_stream_read(t->stream, block, len, err);
    return rc || !*len ? rc : layer_writer_write(t->writer, *block, *len, err);
}

/* What unpacking would refuse is refused here, where somebody can still repair it. */
static int check_entry(const struct tar_entry *e, size_t *n_skipped, struct error *err)
{
    char path[LAYER_MAX_PATH + 1];
    enum whiteout kind;
    const char *hidden;
    int rc = layer_path_clean(e->path, e->type == TAR_FOLDER, path, err);
    if (!rc)
        rc = whiteout_of(path, &kind, &hidden, err);
    *n_skipped += e->type == TAR_DEVICE;
    return rc;
}

static int check_entries(struct tee *t, size_t *n_skipped, struct error *err)
{
    CLEANUP(tar_reader_cleanup) struct tar_reader *reader = NULL;
    CLEANUP(cleanup_free) struct tar_entry *e = calloc(1, sizeof *e);
    bool end = false;
    uint64_t n = 0;
    const void *block;
    size_t len = 1;
    if (!e)
        return fail_nomem(err);
    int rc = tar_reader_new(read_tee, t, &reader, err);
    while (!rc && !end) {
        rc = tar_reader_next(reader, e, &end, err);
        if (!rc && !end && ++n > LAYER_MAX_ENTRIES)
            rc = fail(err, E_LIMIT, "more than %u entries", LAYER_MAX_ENTRIES);
        if (!rc && !end)
            rc = check_entry(e, n_skipped, err);
    }
    /* padding behind the end mark belongs to the layer's bytes */
    while (!rc && len)
        rc = read_tee(t, &block, &len, err);
    return rc;
}

static int import_tar(int fd, struct layer_writer *writer, struct progress *progress,
                      size_t *n_skipped, struct error *err)
{
    CLEANUP(layer_stream_cleanup) struct layer_stream *stream = NULL;
    uint8_t start[4];
    ssize_t n = pread(fd, start, sizeof start, 0);
    if (n < 0)
        return fail_sys(err, errno, "read");
    struct layer_stream_options options = {
        .fd = fd,
        .form = codec_sniff(start, (size_t)n),
        .size = -1,
        .progress = progress,
    };
    int rc = layer_stream_open(&options, &stream, err);
    struct tee tee = {stream, writer};
    return rc ? rc : check_entries(&tee, n_skipped, err);
}

/* --- configuration and manifest --- */

/* The word of Go's and OCI's architecture list for this machine. */
static const char *this_architecture(void)
{
    static const char *const table[][2] = {
        {"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "arm"}, {"riscv64", "riscv64"},
        {"ppc64le", "ppc64le"}, {"s390x", "s390x"},   {"i686", "386"},
    };
    struct utsname u;
    if (uname(&u) == 0)
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
            if (strcmp(u.machine, table[i][0]) == 0)
                return table[i][1];
    return "amd64";
}

static int set_text(struct js *o, const char *key, const char *text, struct error *err)
{
    struct js *value = js_text_new(text);
    if (!value)
        return fail(err, E_USAGE, "'%s' is no valid UTF-8", text);
    return js_set(o, key, value, err);
}

static int set_texts(struct js *o, const char *key, char *const *texts, struct error *err)
{
    if (!texts || !*texts)
        return OK;
    int rc = js_set(o, key, js_array_new(), err);
    for (; !rc && *texts; texts++) {
        struct js *value = js_text_new(*texts);
        rc = value ? js_push(js_edit(o, key), value, err)
                   : fail(err, E_USAGE, "'%s' is no valid UTF-8", *texts);
    }
    return rc;
}

static int check_env(char *const *env, struct error *err)
{
    for (; env && *env; env++)
        if (!strchr(*env, '=') || **env == '=')
            return fail(err, E_USAGE, "environment entry '%.80s' is not NAME=VALUE", *env);
    return OK;
}

static int add_execution(struct js *o, const struct import_options *options, struct error *err)
{
    int rc = check_env(options->env, err);
    if (!rc)
        rc = js_set(o, "config", js_object_new(), err);
    if (rc)
        return rc;
    struct js *config = js_edit(o, "config");
    if (options->user)
        rc = set_text(config, "User", options->user, err);
    if (!rc)
        rc = set_texts(config, "Env", options->env, err);
    if (!rc)
        rc = set_texts(config, "Entrypoint", options->entrypoint, err);
    if (!rc)
        rc = set_texts(config, "Cmd", options->cmd, err);
    if (!rc && options->working_dir)
        rc = set_text(config, "WorkingDir", options->working_dir, err);
    return rc;
}

static int add_rootfs(struct js *o, const struct digest *diff_id, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    int rc = js_set(o, "rootfs", js_object_new(), err);
    if (!rc)
        rc = js_set(js_edit(o, "rootfs"), "type", js_text_new("layers"), err);
    if (!rc)
        rc = js_set(js_edit(o, "rootfs"), "diff_ids", js_array_new(), err);
    if (!rc)
        rc = js_push(js_edit(js_edit(o, "rootfs"), "diff_ids"),
                     js_text_new(digest_format(diff_id, text)), err);
    return rc;
}

static int put_document(struct store *s, const struct js *o, const char *media_type,
                        struct descriptor *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct descriptor d = {.size = 0};
    int rc = js_write(o, false, &text, err);
    if (!rc)
        rc = store_blob_put(s, text.data, text.len, &d.digest, err);
    if (rc)
        return rc;
    d.size = (int64_t)text.len;
    memcpy(d.media_type, media_type, strlen(media_type) + 1);
    *out = d;
    return OK;
}

/* No dates and no history: same input, same digest. */
static int put_config(struct store *s, const struct import_options *options,
                      const struct digest *diff_id, struct descriptor *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    if (!o)
        return fail_nomem(err);
    const char *architecture = options->architecture ? options->architecture : this_architecture();
    int rc = set_text(o, "architecture", architecture, err);
    if (!rc)
        rc = set_text(o, "os", "linux", err);
    if (!rc)
        rc = add_execution(o, options, err);
    if (!rc)
        rc = add_rootfs(o, diff_id, err);
    return rc ? rc : put_document(s, o, MEDIA_OCI_CONFIG, out, err);
}

static int put_manifest(struct store *s, const struct descriptor *config,
                        const struct descriptor *layer, struct descriptor *out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = NULL;
    int rc = manifest_to_js(config, layer, 1, &o, err);
    return rc ? rc : put_document(s, o, MEDIA_OCI_MANIFEST, out, err);
}

/* --- the image --- */

static int write_layer(const char *path, struct layer_writer *writer, struct progress *progress,
                       size_t *n_skipped, struct error *err)
{
    CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return fail_sys(err, errno, "open");
    if (S_ISDIR(st.st_mode)) {
        progress_begin(progress, "import", 0);
        return import_folder(fd, writer, progress, n_skipped, err);
    }
    if (!S_ISREG(st.st_mode))
        return fail(err, E_USAGE, "neither a folder nor a tar file");
    progress_begin(progress, "import", (uint64_t)st.st_size);
    return import_tar(fd, writer, progress, n_skipped, err);
}

struct imported {
    struct descriptor layer;
    struct digest diff_id;
    size_t n_skipped;
};

static int import_layer(struct store *s, const char *path, enum layer_compression form,
                        struct progress *progress, struct imported *out, struct error *err)
{
    CLEANUP(layer_writer_cleanup) struct layer_writer *writer = NULL;
    int rc = layer_writer_new(s, form, &writer, err);
    if (!rc)
        rc = write_layer(path, writer, progress, &out->n_skipped, err);
    progress_end(progress);
    if (!rc)
        rc = layer_writer_finish(writer, &out->layer, &out->diff_id, err);
    return wrap(err, rc, "import '%s'", path);
}

int store_import(struct store *s, const char *path, const char *name,
                 const struct import_options *options, struct progress *progress,
                 struct descriptor *out, size_t *n_skipped, struct error *err)
{
    char full_name[REFERENCE_TEXT_MAX];
    struct imported imported = {.n_skipped = 0};
    struct descriptor config, manifest;
    int rc = store_name_complete(name, full_name, err);
    if (!rc)
        rc = check_env(options->env, err);
    if (!rc && strcmp(path, "-") == 0)
        rc = fail(err, E_USAGE, "standard input cannot be imported; name a folder or a tar file");
    if (!rc)
        rc = import_layer(s, path, options->compression, progress, &imported, err);
    if (!rc)
        rc = put_config(s, options, &imported.diff_id, &config, err);
    if (!rc)
        rc = put_manifest(s, &config, &imported.layer, &manifest, err);
    if (!rc)
        rc = store_name_set(s, full_name, &manifest, err);
    if (rc)
        return rc;
    *out = manifest;
    if (n_skipped)
        *n_skipped = imported.n_skipped;
    return OK;
}

#include "base/path.h"
#include "oci/archive.h"
#include "oci/archive_files.h"

#include <fcntl.h>
#include <string.h>

/* "oci-layout", "index.json" or "blobs/ALG/HEX" of a digest we know. */
static bool belongs_to_layout(const char *path)
{
    char text[DIGEST_TEXT_MAX];
    struct digest d;
    if (strcmp(path, "oci-layout") == 0 || strcmp(path, "index.json") == 0)
        return true;
    if (!text_starts(path, "blobs/") || strlen(path) >= sizeof text)
        return false;
    const char *alg = path + strlen("blobs/");
    const char *slash = strchr(alg, '/');
    if (!slash)
        return false;
    (void)snprintf(text, sizeof text, "%.*s:%s", (int)(slash - alg), alg, slash + 1);
    return digest_parse_text(text, &d, NULL) == OK;
}

static int take_file(void *context, const char *path, const struct tar_entry *e,
                     struct tar_reader *reader, struct error *err)
{
    const int *layout_fd = context;
    CLEANUP(cleanup_fd) int fd = -1;
    if (!belongs_to_layout(path))
        return OK;
    if (e->type != TAR_FILE)
        return fail(err, E_INVALID, "must be a regular file");
    int rc =
        path_open(*layout_fd, path, PATH_NO_SYMLINKS, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, err);
    if (rc == E_EXISTS)
        return fail(err, E_INVALID, "is in the archive twice");
    return rc ? rc : archive_copy(reader, e, fd, NULL, err);
}

int archive_unpack_oci(int archive_fd, int layout_fd, struct error *err)
{
    int rc = path_make_dirs(layout_fd, "blobs/sha256", 0700, err);
    if (!rc)
        rc = path_make_dirs(layout_fd, "blobs/sha512", 0700, err);
    return rc ? rc : archive_each_file(archive_fd, take_file, &layout_fd, err);
}

/* Layer archives applied to a folder, by root: nothing may appear beside it. */
#include "base/path.h"
#include "oci/layer_apply.h"

#include <fcntl.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_once(void *context, const void **block, size_t *len, struct error *err)
{
    struct bytes *b = context;
    (void)err;
    *block = b->data;
    *len = b->len;
    b->len = 0;
    return OK;
}

/* Whatever the archive holds: even what is no archive must leave no folder behind. */
static int apply(int outer, struct bytes *all)
{
    CLEANUP(bytes_done) struct bytes record = BYTES_INIT;
    CLEANUP(tar_reader_cleanup) struct tar_reader *r = NULL;
    CLEANUP(cleanup_fd) int root = -1;
    const struct digest id = {.alg = DIGEST_SHA256};
    struct stat st;
    if (mkdirat(outer, "root", 0755) ||
        path_open(outer, "root", PATH_NO_SYMLINKS, O_RDONLY | O_DIRECTORY, 0, &root, NULL) ||
        tar_reader_new(read_once, all, &r, NULL))
        return 0;
    (void)!layer_apply(root, r, &id, &record, NULL);
    return fstat(outer, &st) || st.st_nlink != 3 ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes all = {(uint8_t *)(uintptr_t)data, size, size};
    char dir[] = "/tmp/bulla-fuzz-XXXXXX";
    CLEANUP(cleanup_fd) int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (geteuid() != 0 || !mkdtemp(dir))
        return 0;
    CLEANUP(cleanup_fd) int outer = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = outer >= 0 ? apply(outer, &all) : 0;
    if (path_remove_tree(tmp, dir + sizeof "/tmp", NULL) || rc)
        abort();
    return 0;
}

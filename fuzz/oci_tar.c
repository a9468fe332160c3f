/* Layer archives as far as they are read and judged: nothing is written. */
#include "oci/layer_path.h"
#include "oci/tar.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes all = {(uint8_t *)(uintptr_t)data, size, size};
    CLEANUP(tar_reader_cleanup) struct tar_reader *r = NULL;
    CLEANUP(cleanup_free) struct tar_entry *e = calloc(1, sizeof *e);
    char path[LAYER_MAX_PATH + 1];
    enum whiteout kind;
    const char *hidden;
    const void *piece;
    int64_t offset;
    size_t len = 1;
    bool end = false;
    if (!e || tar_reader_new(read_once, &all, &r, NULL))
        return 0;
    while (tar_reader_next(r, e, &end, NULL) == OK && !end) {
        if (layer_path_clean(e->path, e->type == TAR_FOLDER, path, NULL) == OK)
            (void)!whiteout_of(path, &kind, &hidden, NULL);
        for (len = 1; len && tar_reader_data(r, &piece, &len, &offset, NULL) == OK;)
            if (len && (offset < 0 || offset + (int64_t)len > e->size))
                abort();
    }
    return 0;
}

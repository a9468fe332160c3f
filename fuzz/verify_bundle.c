/* Bundles: any bytes either open or are refused; of what opens, the image is read by the digest
 * that it claims itself. */
#include "verify/bundle_internal.h"

#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(bundle_cleanup) struct bundle *b = NULL;
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    struct bundle_note note;
    struct bundle_load check = {.store = NULL};
    CLEANUP(cleanup_fd) int fd = memfd_create("bundle", MFD_CLOEXEC);
    (void)!bundle_note_parse(data, size, &note, NULL);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size ||
        bundle_open_fd(TAKE_FD(fd), &b, NULL) != OK)
        return 0;
    struct descriptor root = b->root;
    (void)!bundle_read_image(b, &root, NULL, &check, NULL);
    (void)!bundle_trust_get(b, "timestamp.json", TUF_MAX_TIMESTAMP_BYTES, &file, NULL);
    return 0;
}

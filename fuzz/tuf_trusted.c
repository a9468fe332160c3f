/* Feeds the client's state machine with hostile bytes. Input: records of one byte (what to do), two
 * bytes (length, big-endian) and content; the first one is the anchor. Even size: without bindings.
 */
#include "tuf/trusted.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed(struct tuf_trusted *t, uint8_t what, const uint8_t *data, size_t len)
{
    bool flag;
    struct tuf_found found = {.need_role = NULL};
    return what == 'r'   ? tuf_trusted_update_root(t, data, len, &flag, NULL)
           : what == 'f' ? tuf_trusted_finish_root(t, NULL)
           : what == 't' ? tuf_trusted_load_timestamp(t, data, len, NULL)
           : what == 's' ? tuf_trusted_load_snapshot(t, data, len, NULL)
           : what == 'T' ? tuf_trusted_update_timestamp(t, data, len, &flag, NULL)
           : what == 'u' ? tuf_trusted_use_loaded_timestamp(t, 60, NULL)
           : what == 'S' ? tuf_trusted_update_snapshot(t, data, len, NULL)
           : what == 'k' ? tuf_trusted_reuse_snapshot(t, NULL)
           : tuf_trusted_search(t, "a-1", &found, NULL) || !found.need_role
               ? OK
               : tuf_trusted_update_targets(t, found.need_role, found.need_delegator, data, len,
                                            NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(tuf_trusted_cleanup) struct tuf_trusted *t = NULL;
    struct tuf_trusted_options options = {1750000000, size % 2 ? "acme/app" : NULL};
    for (size_t len; size >= 3; data += 3 + len, size -= 3 + len) {
        len = (size_t)data[1] << 8 | data[2];
        len = len < size - 3 ? len : size - 3;
        if (t)
            (void)!feed(t, data[0], data + 3, len);
        else if (tuf_trusted_new(&options, data + 3, len, &t, NULL))
            return 0;
        assert(tuf_trusted_root(t) && (tuf_trusted_timestamp(t) || !tuf_trusted_snapshot(t)));
    }
    return 0;
}

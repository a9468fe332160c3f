/* Parses timestamp metadata; what is accepted must write and verify without surprises. */
#include "tuf/metadata.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct error err = ERROR_INIT;
    if (tuf_metadata_parse(TUF_TIMESTAMP, data, size, &m, &err)) {
        assert(!m && err.code);
        return 0;
    }
    const struct tuf_meta *meta = tuf_timestamp_snapshot(m);
    assert(meta->version >= 1 && meta->length >= -1);
    (void)!tuf_meta_check(meta, data, size, true, &err);
    return 0;
}

/* Parses snapshot metadata; what is accepted must write and verify without surprises. */
#include "tuf/metadata.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct error err = ERROR_INIT;
    if (tuf_metadata_parse(TUF_SNAPSHOT, data, size, &m, &err)) {
        assert(!m && err.code);
        return 0;
    }
    for (size_t i = 0; i < tuf_snapshot_count(m); i++) {
        const char *role;
        const struct tuf_meta *meta = tuf_snapshot_at(m, i, &role);
        assert(meta == tuf_snapshot_find(m, role) && meta->version >= 1);
    }
    return 0;
}

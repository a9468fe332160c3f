/* Parses root metadata; what is accepted must write and verify without surprises. */
#include "tuf/metadata.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct error err = ERROR_INIT;
    if (tuf_metadata_parse(TUF_ROOT, data, size, &m, &err)) {
        assert(!m && err.code);
        return 0;
    }
    for (int type = TUF_ROOT; type <= TUF_TARGETS; type++) {
        const struct tuf_role_keys *role = tuf_root_role(m, (enum tuf_type)type);
        assert(role->threshold >= 1 && role->n_ids <= TUF_MAX_KEYS);
        (void)!tuf_verify_threshold(m, tuf_root_keys(m), role, NULL, 0, NULL, &err);
    }
    return 0;
}

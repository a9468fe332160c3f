/* Parses targets metadata; what is accepted must write and verify without surprises. */
#include "tuf/metadata.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *m = NULL;
    struct error err = ERROR_INIT;
    if (tuf_metadata_parse(TUF_TARGETS, data, size, &m, &err)) {
        assert(!m && err.code);
        return 0;
    }
    for (size_t i = 0; i < tuf_targets_count(m); i++) {
        struct tuf_target listed, found;
        tuf_targets_at(m, i, &listed);
        assert(tuf_targets_find(m, listed.name, &found) && found.length == listed.length);
        (void)tuf_targets_banned(m, &found.sha256);
    }
    for (size_t i = 0; i < tuf_targets_n_delegations(m); i++) {
        const struct tuf_delegation *d = tuf_targets_delegation(m, i);
        assert((d->paths == NULL) != (d->hash_prefixes == NULL));
        (void)tuf_delegation_covers(d, "v1.2");
        (void)!tuf_verify_threshold(m, tuf_targets_keys(m), &d->keys, NULL, 0, NULL, &err);
    }
    const struct tuf_bins *bins = tuf_targets_bins(m);
    char name[TUF_BIN_NAME_MAX];
    uint64_t bin = 0;
    assert(!bins || !tuf_targets_n_delegations(m));
    if (bins && !tuf_bins_find(bins, "v1.2", &bin, &err)) {
        assert(bin < tuf_bins_count(bins));
        tuf_bins_name(bins, bin, name);
        assert(tuf_bins_has(bins, name) && tuf_targets_authority(m, name) == &bins->keys);
    }
    return 0;
}

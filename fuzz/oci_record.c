/* Layer records: what is accepted is written again as the same bytes. */
#include "oci/layer_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(bytes_done) struct bytes fixed = BYTES_INIT, raw = BYTES_INIT, again = BYTES_INIT;
    struct layer_record r;
    struct layer_item item;
    struct digest d;
    bool end = false;
    /* The digest at the end is put right, or no change would ever get past it. */
    if (digest_of(DIGEST_SHA256, data, size, &d, NULL) || bytes_append(&fixed, data, size, NULL) ||
        bytes_append(&fixed, d.bytes, 32, NULL) ||
        layer_record_open(fixed.data, fixed.len, &r, NULL))
        return 0;
    while (!end && layer_record_next(&r, &item, &raw, &end, NULL) == OK && !end) {
        bytes_clear(&again);
        if (layer_record_append(&again, &item, NULL) ||
            !bytes_equal(raw.data, raw.len, again.data, again.len))
            abort();
    }
    return 0;
}

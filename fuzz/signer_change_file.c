/* Ceremony files: any bytes are refused, or make a draft whose every file can be described, written
 * and counted. */
#include "signer/change_file.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct collection_owner nobody = {.verify = NULL};
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    struct draft d;
    if (change_file_parse(&nobody, data, size, &d, NULL))
        return 0;
    assert(d.n && draft_describe(&d, &text, NULL) == OK);
    for (size_t i = 0; i < d.n; i++) {
        assert(d.files[i].after && d.files[i].n_authorities);
        for (size_t k = 0; k < d.files[i].n_authorities; k++) {
            size_t n = 0;
            assert(draft_count_signatures(&d.files[i], &d.files[i].authorities[k], &n, NULL) == OK);
        }
    }
    (void)!draft_check_signatures(&d, NULL);
    draft_close(&d);
    return 0;
}

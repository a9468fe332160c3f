/* Sealed key files: parsing, with the checksum as it came and made right. */
#include "base/digest.h"
#include "keys/key_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_one(const uint8_t *data, size_t size)
{
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    struct key_id id;
    if (key_file_public(data, size, &key, NULL) == OK && public_key_id(key, &id, NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct digest sum;
    try_one(data, size);
    if (size < 32 || size > KEY_FILE_MAX)
        return 0;
    CLEANUP(cleanup_free) uint8_t *fixed = malloc(size);
    if (!fixed || digest_of(DIGEST_SHA256, data, size - 32, &sum, NULL))
        return 0;
    memcpy(fixed, data, size - 32);
    memcpy(fixed + size - 32, sum.bytes, 32);
    try_one(fixed, size);
    return 0;
}

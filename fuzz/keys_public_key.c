/* TUF key objects: what is accepted survives being written and read again. */
#include "keys/public_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    CLEANUP(js_cleanup) struct js *written = NULL;
    CLEANUP(public_key_cleanup) struct public_key *key = NULL;
    CLEANUP(public_key_cleanup) struct public_key *again = NULL;
    if (js_parse(data, size, &object, NULL) || public_key_from_tuf(object, &key, NULL))
        return 0;
    if (public_key_to_tuf(key, &written, NULL) || public_key_from_tuf(written, &again, NULL) ||
        !public_key_equal(key, again))
        abort();
    if (public_key_verify(key, "message", 7, data, size < 64 ? size : 64, NULL) == OK)
        abort();
    return 0;
}

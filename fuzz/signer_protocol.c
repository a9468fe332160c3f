/* Requests and answers of the signing service, as a lying peer would send them. */
#include "signer/protocol.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read must be written back as the very same message. */
static void read_and_rewrite(const uint8_t *data, size_t size)
{
    CLEANUP(protocol_request_done) struct protocol_request request = {0};
    CLEANUP(bytes_done) struct bytes again = BYTES_INIT;
    if (protocol_read_request(data, size, &request, NULL) ||
        protocol_write_request(&request, &again, NULL))
        return;
    if (!bytes_equal(again.data + PROTOCOL_HEADER_BYTES, again.len - PROTOCOL_HEADER_BYTES, data,
                     size))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len = 0;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    if (size >= PROTOCOL_HEADER_BYTES && protocol_read_header(data, &len, NULL) == OK) {
        data += PROTOCOL_HEADER_BYTES;
        size -= PROTOCOL_HEADER_BYTES;
    }
    read_and_rewrite(data, size);
    (void)!protocol_read_set(PROTOCOL_REFRESH, data, size, &set, NULL);
    (void)!protocol_read_key(PROTOCOL_KEY, data, size, &json, NULL);
    return 0;
}

/* Messages between a program and its PKCS#11 helper: what decodes must encode to the same bytes. */
#include "keys/pkcs11_protocol.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pkcs11_message message;
    uint8_t again[PKCS11_FRAME_MAX];
    char text[64];
    size_t len = 0;
    if (pkcs11_message_decode(data, size, &message, NULL))
        return 0;
    for (size_t i = 0; i < PKCS11_FIELDS_MAX; i++) {
        (void)pkcs11_field_show(&message.field[i], text, sizeof text);
        if (strlen(text) >= sizeof text)
            abort();
    }
    if (pkcs11_message_encode(&message, again, &len, NULL) || len != size ||
        memcmp(again, data, size) != 0)
        abort();
    return 0;
}

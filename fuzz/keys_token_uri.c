/* pkcs11: URIs, as users and configuration give them to the helper. */
#include "keys/token_uri.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct token_name name = {.label = "Bulla test", .id = {2}, .id_len = 1};
    CLEANUP(token_uri_cleanup) struct token_uri *uri = NULL;
    CLEANUP(cleanup_free) char *text = strndup((const char *)data, size);
    if (!text || strlen(text) > 1023 || token_uri_parse(text, &uri, NULL))
        return 0;
    (void)token_uri_matches(uri, &name);
    (void)token_uri_module(uri);
    return 0;
}

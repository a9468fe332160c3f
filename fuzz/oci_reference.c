/* References: what is accepted must survive being written and read again. */
#include "oci/reference.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(cleanup_free) char *text = malloc(size + 1);
    struct reference ref, again;
    char written[REFERENCE_TEXT_MAX];
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    if (reference_parse(text, &ref, NULL) == OK &&
        (reference_parse(reference_format(&ref, written), &again, NULL) != OK ||
         memcmp(&ref, &again, sizeof ref) != 0))
        abort();
    return 0;
}

/* A WWW-Authenticate header of a hostile registry. */
#include "client/challenge.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct challenge ch;
    struct error err = ERROR_INIT;
    if (challenge_parse((const char *)data, size, &ch, &err))
        return 0;
    /* What was taken is text and ends within its bounds. */
    const char *values[] = {ch.realm, ch.service, ch.scope};
    for (size_t i = 0; i < 3; i++) {
        if (strnlen(values[i], CHALLENGE_VALUE_MAX + 1) > CHALLENGE_VALUE_MAX)
            abort();
        for (const char *p = values[i]; *p; p++)
            if (*p < ' ' || *p > '~')
                abort();
    }
    return 0;
}

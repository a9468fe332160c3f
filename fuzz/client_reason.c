/* The JSON body of an error answer, which ends up in a message on a terminal. */
#include "client/remote_private.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    char reason[REMOTE_REASON_MAX];
    struct error err = ERROR_INIT;
    if (bytes_append(&body, data, size, NULL))
        return 0;
    remote_reason(&body, reason);
    if (strnlen(reason, sizeof reason) == sizeof reason)
        abort();
    (void)fail(&err, E_DENIED, "%s", reason);
    for (const char *p = err.message; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            abort();
    return 0;
}

/* containers-auth.json: read, and a credential found in it must make a header value. */
#include "client/auth.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(credentials_done) struct credentials c = {NULL, NULL};
    CLEANUP(auth_wipe) struct bytes basic = BYTES_INIT;
    struct error err = ERROR_INIT;
    int rc = auth_parse(data, size, "h:1", &c, &err);
    if (!c.user != !c.password || (rc && c.user))
        abort();
    if (c.user && auth_basic(c.user, c.password, &basic, &err))
        abort();
    if (basic.len && strpbrk(bytes_text(&basic), "\r\n"))
        abort();
    return 0;
}

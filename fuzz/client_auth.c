/* containers-auth.json: read, and a credential found in it must make a header value. */
#include "client/auth.h"
#include "client/helper.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(auth_entry_done) struct auth_entry e = {CREDENTIALS_INIT, NULL};
    const struct credentials *found = &e.credentials;
    CLEANUP(auth_wipe) struct bytes basic = BYTES_INIT;
    struct error err = ERROR_INIT;
    int rc = auth_parse(data, size, "h:1", "acme/app", &e, &err);
    if (!found->user != !found->password || (rc && (found->user || found->identity || e.helper)))
        abort();
    if (e.helper && (!helper_name_valid(e.helper) || strchr(e.helper, '/')))
        abort();
    if (found->user && auth_basic(found->user, found->password, &basic, &err))
        abort();
    if (basic.len && strpbrk(bytes_text(&basic), "\r\n"))
        abort();
    return 0;
}

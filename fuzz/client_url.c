/* A Location header: whatever it resolves to must survive being written and read again. */
#include "client/url.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char base_text[] = "https://registry.example:5443/v2/";
    struct url base, u, again;
    CLEANUP(cleanup_free) char *location = strndup((const char *)data, size);
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    if (!location || url_parse(base_text, sizeof base_text - 1, &base, NULL) ||
        url_resolve(&base, location, &u, NULL))
        return 0;
    if (url_format(&u, &text, NULL))
        return 0;
    if (url_parse(bytes_text(&text), text.len, &again, NULL) || !url_same_origin(&u, &again) ||
        strcmp(u.path, again.path) != 0)
        abort();
    /* Credentials would follow: then it must really begin with the base's origin. */
    if (url_same_origin(&base, &u) && strcmp(u.host, "registry.example") != 0)
        abort();
    if (!url_add_query(&u, "digest", location, NULL) && strpbrk(u.path, "\r\n #\\"))
        abort();
    return 0;
}

/* Everything the registry reads of a request by itself: path, query, ranges, multipart type. The
 * input is one C string, used as each of them. */
#include "registry/http_text.h"
#include "registry/route.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_repository(enum route_kind kind)
{
    return kind != ROUTE_BASE && kind != ROUTE_CATALOG && kind != ROUTE_TOKEN &&
           kind != ROUTE_HEALTH && kind != ROUTE_READY && kind != ROUTE_METRICS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    struct route route;
    const char *code = NULL;
    char value[64];
    bool flag = false;
    uint64_t a = 0, b = 0;
    if (route_parse(text, &route, &code, NULL) == 0 && has_repository(route.kind) &&
        !repository_name_valid(route.repository, strlen(route.repository)))
        abort();
    if (http_query_get(text, "n", value, sizeof value, &flag, NULL) == 0 &&
        strlen(value) >= sizeof value)
        abort();
    size_t at = 0, before = 0;
    flag = true;
    /* every step moves on, and ends */
    while (http_query_next(text, "tag", &at, value, sizeof value, &flag, NULL) == 0 && flag) {
        if (at <= before || at > size)
            abort();
        before = at;
    }
    if (http_etag_listed(text, "a:b", false) && !http_etag_listed(text, "a:b", true))
        abort();
    if (http_range_parse(text, 1000, &a, &b, &flag, NULL) == 0 && flag && a + b > 1000)
        abort();
    if (http_content_range_parse(text, &a, &b, NULL) == 0 && b < a)
        abort();
    if (http_multipart_check(text, NULL) == 0 && !strstr(text, "="))
        abort();
    free(text);
    return 0;
}

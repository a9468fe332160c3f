/* What strict JSON accepts must survive being written and read again, in both forms; what is not
 * canonical by nature (reals) must be refused, and nothing may be read beyond the input. */
#include "base/json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct js *v, const struct bytes *text)
{
    struct error err = ERROR_INIT;
    CLEANUP(js_cleanup) struct js *again = NULL;
    if (js_parse(text->data, text->len, &again, &err) || !js_equal(v, again))
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    CLEANUP(js_cleanup) struct js *v = NULL;
    CLEANUP(js_cleanup) struct js *lax = NULL;
    CLEANUP(bytes_done) struct bytes plain = BYTES_INIT;
    if (js_parse_lax(data, size, &lax, &err) == OK && js_write(lax, true, &plain, &err))
        __builtin_trap();
    if (js_parse(data, size, &v, &err)) {
        if (!err.message[0])
            __builtin_trap();
        return 0;
    }
    bytes_clear(&plain);
    if (!lax || js_write(v, false, &plain, &err))
        __builtin_trap();
    check_round_trip(v, &plain);
    CLEANUP(bytes_done) struct bytes canonical = BYTES_INIT;
    /* Raw control characters are canonical, but not JSON: only the writing can be tried. */
    if (js_canonical(v, &canonical, &err))
        __builtin_trap();
    return 0;
}

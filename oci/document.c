#include "oci/document.h"

#include "oci/manifest.h"

#include <string.h>

/* Next character, folded as readers that ignore case do; they fold two characters outside ASCII
 * onto letters: U+017F (long s) and U+212A (Kelvin sign). */
static char folded_next(const char **p)
{
    const char *s = *p;
    if (strncmp(s, "\xC5\xBF", 2) == 0) {
        *p = s + 2;
        return 's';
    }
    if (strncmp(s, "\xE2\x84\xAA", 3) == 0) {
        *p = s + 3;
        return 'k';
    }
    *p = s + 1;
    return (char)(*s >= 'A' && *s <= 'Z' ? *s - 'A' + 'a' : *s);
}

static bool equal_folded(const char *a, const char *b)
{
    while (*a && *b)
        if (folded_next(&a) != folded_next(&b))
            return false;
    return !*a && !*b;
}

int document_check_case(const struct js *object, const char *const *known, struct error *err)
{
    js_foreach (object, it)
        for (const char *const *k = known; *k; k++)
            if (strcmp(it.key, *k) != 0 && equal_folded(it.key, *k))
                return fail(err, E_INVALID, "member '%s' can be taken for '%s'", it.key, *k);
    return OK;
}

static bool is_type_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$&-^_.+", c));
}

bool media_type_valid(const char *text, size_t len)
{
    const char *slash = memchr(text, '/', len);
    if (!slash || slash == text || slash == text + len - 1 || len > MEDIA_TYPE_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text + i != slash && !is_type_char(text[i]))
            return false;
    return true;
}

int document_copy_text(const struct js *object, const char *key, char *out, size_t size,
                       struct error *err)
{
    const char *text = "";
    int rc = js_opt_text(object, key, &text, err);
    if (rc)
        return rc;
    if (strlen(text) >= size)
        return fail(err, E_INVALID, "'%s' is longer than %zu bytes", key, size - 1);
    memcpy(out, text, strlen(text) + 1);
    return OK;
}

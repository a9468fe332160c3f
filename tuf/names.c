#include "tuf/metadata_internal.h"

#include <string.h>

static const char *const type_names[] = {"root", "timestamp", "snapshot", "targets"};

const char *tuf_type_name(enum tuf_type type)
{
    return type_names[type];
}

size_t tuf_type_max_bytes(enum tuf_type type)
{
    static const size_t limits[] = {TUF_MAX_ROOT_BYTES, TUF_MAX_TIMESTAMP_BYTES,
                                    TUF_MAX_SNAPSHOT_BYTES, TUF_MAX_TARGETS_BYTES};
    return limits[type];
}

/* Byte ranges are spelt out: isalnum() follows the locale. */
static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool tuf_role_name_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > TUF_MAX_ROLE_NAME || !is_lower(name[0]))
        return false;
    for (const char *c = name; *c; c++)
        if (!is_lower(*c) && !is_digit(*c) && *c != '.' && *c != '_' && *c != '-')
            return false;
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++)
        if (strcmp(name, type_names[i]) == 0)
            return false;
    return true;
}

static bool tag_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > 128 || name[0] == '.' || name[0] == '-')
        return false;
    for (const char *c = name; *c; c++)
        if (!is_lower(*c) && !is_digit(*c) && !(*c >= 'A' && *c <= 'Z') && *c != '.' && *c != '_' &&
            *c != '-')
            return false;
    return true;
}

bool tuf_target_name_valid(const char *name)
{
    struct digest d;
    /* Source: OCI distribution-spec 1.1, "Pulling manifests": tag and digest grammar. */
    return tag_valid(name) || digest_parse_text(name, &d, NULL) == OK;
}

int tuf_check_text(const char *text, size_t max, const char *what, struct error *err)
{
    size_t len = strlen(text);
    if (len == 0)
        return fail(err, E_INVALID, "%s is empty", what);
    if (len > max)
        return fail(err, E_INVALID, "%s has more than %zu bytes", what, max);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return fail(err, E_INVALID, "%s has a control character", what);
    return OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct name_ref *)a)->name, ((const struct name_ref *)b)->name);
}

void name_index_sort(struct name_index *index)
{
    if (index->n)
        qsort(index->refs, index->n, sizeof *index->refs, by_name);
}

size_t name_index_find(const struct name_index *index, const char *name)
{
    struct name_ref key = {name, 0};
    const struct name_ref *found =
        index->n ? bsearch(&key, index->refs, index->n, sizeof *index->refs, by_name) : NULL;
    return found ? found->i : SIZE_MAX;
}

#include "oci/layer_path.h"

#include "oci/layer_tree.h"

#include <limits.h>
#include <string.h>

#define WHITEOUT_PREFIX   ".wh."
#define WHITEOUT_OPQ      ".wh..wh..opq"
#define WHITEOUT_RESERVED ".wh..wh."

static int check_component(const char *name, const char *p, size_t n, struct error *err)
{
    if (n == 2 && p[0] == '.' && p[1] == '.')
        return fail(err, E_INVALID, "'%s' climbs out with '..'", name);
    if (n > NAME_MAX)
        return fail(err, E_LIMIT, "a component of '%.80s…' is longer than %d bytes", name,
                    NAME_MAX);
    return OK;
}

static int check_name(const char *name, bool folder, struct error *err)
{
    size_t len = strlen(name);
    if (len == 0)
        return fail(err, E_INVALID, "an entry has an empty name");
    if (name[0] == '/' && (len > 1 || !folder))
        return fail(err, E_INVALID, "'%s' is an absolute name", name);
    if (len > LAYER_MAX_PATH)
        return fail(err, E_LIMIT, "'%.80s…' is longer than %d bytes", name, LAYER_MAX_PATH);
    if (!folder && name[len - 1] == '/')
        return fail(err, E_INVALID, "'%s' ends with '/' but is no folder", name);
    return OK;
}

int layer_path_clean(const char *name, bool folder, char out[LAYER_MAX_PATH + 1], struct error *err)
{
    size_t len = 0, depth = 0;
    int rc = check_name(name, folder, err);
    for (const char *p = name; !rc && *p;) {
        size_t n = strcspn(p, "/");
        rc = check_component(name, p, n, err);
        if (!rc && n && !(n == 1 && *p == '.')) {
            if (++depth > LAYER_MAX_DEPTH)
                rc = fail(err, E_LIMIT, "'%.80s…' is nested deeper than %d", name, LAYER_MAX_DEPTH);
            if (len)
                out[len++] = '/';
            memcpy(out + len, p, n);
            len += n;
        }
        p += n + (p[n] == '/');
    }
    out[len] = '\0';
    if (!rc && !len && !folder)
        rc = fail(err, E_INVALID, "'%s' would replace the layer's root", name);
    return rc;
}

static bool has_whiteout_folder(const char *path, const char *last)
{
    for (const char *p = path; p < last; p += strcspn(p, "/") + 1)
        if (text_starts(p, WHITEOUT_PREFIX))
            return true;
    return false;
}

int whiteout_of(const char *path, enum whiteout *kind, const char **hidden, struct error *err)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    if (has_whiteout_folder(path, last))
        return fail(err, E_INVALID, "'%s' lies in a whiteout", path);
    *kind = WHITEOUT_NONE;
    if (!text_starts(last, WHITEOUT_PREFIX))
        return OK;
    /* Before the general prefix: it would hide a file called ".wh..opq". */
    if (strcmp(last, WHITEOUT_OPQ) == 0) {
        if (!slash)
            return fail(err, E_INVALID, "'%s' would hide all lower layers", path);
        *kind = WHITEOUT_OPAQUE;
        return OK;
    }
    if (text_starts(last, WHITEOUT_RESERVED)) {
        *kind = WHITEOUT_AUFS;
        return OK;
    }
    const char *name = last + strlen(WHITEOUT_PREFIX);
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return fail(err, E_INVALID, "'%s' is a whiteout of nothing", path);
    *kind = WHITEOUT_ONE;
    *hidden = name;
    return OK;
}

#include "oci/document.h"
#include "oci/manifest.h"

#include <string.h>

static void free_texts(char **texts)
{
    for (char **t = texts; t && *t; t++)
        free(*t);
    free(texts);
}

void image_config_free(struct image_config *c)
{
    if (!c)
        return;
    free(c->diff_ids);
    free(c->user);
    free(c->working_dir);
    free(c->stop_signal);
    free_texts(c->entrypoint);
    free_texts(c->cmd);
    free_texts(c->env);
    free(c);
}

void image_config_cleanup(struct image_config **c)
{
    image_config_free(*c);
    *c = NULL;
}

static int take_text(const struct js *o, const char *key, char **out, struct error *err)
{
    const char *text = "";
    int rc = OK;
    if (!js_is_null(js_get(o, key)))
        rc = js_want_text(o, key, &text, err);
    if (!rc) {
        *out = strdup(text);
        rc = *out ? OK : fail_nomem(err);
    }
    return rc;
}

/* Array of strings; null and missing are empty. */
static int take_texts(const struct js *o, const char *key, char ***out, struct error *err)
{
    const struct js *list = js_get(o, key);
    if (js_is_null(list))
        list = NULL;
    else if (js_type(list) != JS_ARRAY)
        return fail(err, E_INVALID, "'%s' must be an array", key);
    size_t n = js_count(list);
    /* Stored at once: what is complete so far is freed with the configuration. */
    char **texts = *out = calloc(n + 1, sizeof *texts);
    if (!texts)
        return fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const char *text = js_text(js_at(list, i));
        if (!text)
            return fail(err, E_INVALID, "'%s' must hold strings only", key);
        texts[i] = strdup(text);
        if (!texts[i])
            return fail_nomem(err);
    }
    return OK;
}

static int check_env(char *const *env, struct error *err)
{
    for (; *env; env++)
        if (!strchr(*env, '=') || **env == '=')
            return fail(err, E_INVALID, "'Env' entry '%.80s' is not NAME=VALUE", *env);
    return OK;
}

static int parse_execution(const struct js *o, struct image_config *c, struct error *err)
{
    static const char *const known[] = {"User", "WorkingDir", "StopSignal", "Entrypoint",
                                        "Cmd",  "Env",        NULL};
    const struct js *config = js_get(o, "config");
    if (js_is_null(config))
        config = NULL;
    else if (js_type(config) != JS_OBJECT)
        return fail(err, E_INVALID, "'config' must be an object");
    int rc = config ? document_check_case(config, known, err) : OK;
    if (!rc)
        rc = take_text(config, "User", &c->user, err);
    if (!rc)
        rc = take_text(config, "WorkingDir", &c->working_dir, err);
    if (!rc)
        rc = take_text(config, "StopSignal", &c->stop_signal, err);
    if (!rc)
        rc = take_texts(config, "Entrypoint", &c->entrypoint, err);
    if (!rc)
        rc = take_texts(config, "Cmd", &c->cmd, err);
    if (!rc)
        rc = take_texts(config, "Env", &c->env, err);
    return rc ? rc : check_env(c->env, err);
}

static int parse_rootfs(const struct js *o, struct image_config *c, struct error *err)
{
    static const char *const known[] = {"type", "diff_ids", NULL};
    const struct js *rootfs, *ids;
    const char *type;
    int rc = js_want_object(o, "rootfs", &rootfs, err);
    if (!rc)
        rc = document_check_case(rootfs, known, err);
    if (!rc)
        rc = js_want_text(rootfs, "type", &type, err);
    if (!rc && strcmp(type, "layers") != 0)
        rc = fail(err, E_INVALID, "'rootfs' has type '%.40s', not 'layers'", type);
    if (rc || js_is_null(js_get(rootfs, "diff_ids")))
        return rc;
    rc = js_want_array(rootfs, "diff_ids", &ids, err);
    size_t n = js_count(rc ? NULL : ids);
    if (!rc && n > MANIFEST_MAX_LAYERS)
        rc = fail(err, E_LIMIT, "more than %d layers", MANIFEST_MAX_LAYERS);
    if (!rc) {
        c->diff_ids = calloc(n + 1, sizeof *c->diff_ids);
        rc = c->diff_ids ? OK : fail_nomem(err);
    }
    for (size_t i = 0; !rc && i < n; i++) {
        const char *id = js_text(js_at(ids, i));
        rc = id ? digest_parse_text(id, &c->diff_ids[i], err)
                : fail(err, E_INVALID, "a diff id must be a string");
        c->n_diff_ids = i + 1;
    }
    return rc;
}

/* Steps that claim to have made more layers than there are: the configuration belongs to another
 * set of layers. */
static int check_history(const struct js *o, const struct image_config *c, struct error *err)
{
    const struct js *history = js_get(o, "history");
    if (js_is_null(history))
        return OK;
    int rc = js_want_array(o, "history", &history, err);
    size_t made = 0;
    for (size_t i = 0; !rc && i < js_count(history); i++) {
        bool empty = false;
        const struct js *step = js_at(history, i);
        if (js_type(step) != JS_OBJECT)
            return fail(err, E_INVALID, "'history' must hold objects only");
        rc = js_opt_bool(step, "empty_layer", &empty, err);
        made += !empty;
    }
    if (!rc && made > c->n_diff_ids)
        rc =
            fail(err, E_INVALID, "'history' names %zu layers, 'diff_ids' %zu", made, c->n_diff_ids);
    return rc;
}

static int parse_document(const struct js *o, struct image_config *c, struct error *err)
{
    static const char *const known[] = {"os",     "architecture", "variant", "config",
                                        "rootfs", "history",      NULL};
    if (js_type(o) != JS_OBJECT)
        return fail(err, E_INVALID, "must be an object");
    int rc = document_check_case(o, known, err);
    if (!rc)
        rc = document_copy_text(o, "os", c->os, sizeof c->os, err);
    if (!rc)
        rc = document_copy_text(o, "architecture", c->architecture, sizeof c->architecture, err);
    if (!rc && !js_is_null(js_get(o, "variant")))
        rc = document_copy_text(o, "variant", c->variant, sizeof c->variant, err);
    if (!rc && (!c->os[0] || !c->architecture[0]))
        rc = fail(err, E_INVALID, "'os' and 'architecture' must be named");
    if (!rc)
        rc = parse_execution(o, c, err);
    if (!rc)
        rc = parse_rootfs(o, c, err);
    return rc ? rc : check_history(o, c, err);
}

int image_config_parse(const void *data, size_t len, struct image_config **out, struct error *err)
{
    if (len > IMAGE_CONFIG_MAX_BYTES)
        return fail(err, E_LIMIT, "image configuration is larger than %u bytes",
                    IMAGE_CONFIG_MAX_BYTES);
    CLEANUP(js_cleanup) struct js *o = NULL;
    CLEANUP(image_config_cleanup) struct image_config *c = calloc(1, sizeof *c);
    if (!c)
        return fail_nomem(err);
    int rc = js_parse_lax(data, len, &o, err);
    if (!rc)
        rc = parse_document(o, c, err);
    if (rc)
        return wrap(err, rc, "image configuration");
    *out = TAKE_PTR(c);
    return OK;
}

#include "oci/manifest.h"

#include "oci/document.h"

#include <string.h>

void manifest_free(struct manifest *m)
{
    if (!m)
        return;
    free(m->layers);
    free(m->manifests);
    js_free(m->annotations);
    free(m);
}

void manifest_cleanup(struct manifest **m)
{
    manifest_free(*m);
    *m = NULL;
}

/* The Content-Type without parameters ("; charset=utf-8"). */
static int set_given_type(struct manifest *m, const char *content_type, struct error *err)
{
    if (!content_type || !*content_type)
        return OK;
    size_t len = strcspn(content_type, "; \t");
    if (!media_type_valid(content_type, len))
        return fail(err, E_INVALID, "'%.80s' is not a media type", content_type);
    memcpy(m->media_type, content_type, len);
    return OK;
}

/* The body's own word counts; where the transport said something else, two readers of the same
 * bytes could see two kinds of document (CVE-2021-41190). */
static int decide_type(const struct js *o, const char *content_type, struct manifest *m,
                       struct error *err)
{
    const char *type = NULL;
    int rc = set_given_type(m, content_type, err);
    if (!rc)
        rc = js_opt_text(o, "mediaType", &type, err);
    if (rc)
        return rc;
    if (type && !media_type_valid(type, strlen(type)))
        return fail(err, E_INVALID, "'%.80s' is not a media type", type);
    if (type && m->media_type[0] && strcmp(type, m->media_type) != 0)
        return fail(err, E_INVALID, "mediaType '%.80s' differs from the given type '%.80s'", type,
                    m->media_type);
    if (type)
        memcpy(m->media_type, type, strlen(type) + 1);
    /* An image layout's index.json names no type anywhere: its shape decides. */
    if (!m->media_type[0] && js_get(o, "manifests"))
        memcpy(m->media_type, MEDIA_OCI_INDEX, sizeof MEDIA_OCI_INDEX);
    if (!m->media_type[0] && js_get(o, "config"))
        memcpy(m->media_type, MEDIA_OCI_MANIFEST, sizeof MEDIA_OCI_MANIFEST);
    return OK;
}

static void decide_kind(struct manifest *m)
{
    if (strcmp(m->media_type, MEDIA_OCI_MANIFEST) == 0 ||
        strcmp(m->media_type, MEDIA_DOCKER_MANIFEST) == 0)
        m->kind = MANIFEST_IMAGE;
    else if (strcmp(m->media_type, MEDIA_OCI_INDEX) == 0 ||
             strcmp(m->media_type, MEDIA_DOCKER_LIST) == 0)
        m->kind = MANIFEST_INDEX;
    else
        m->kind = MANIFEST_OTHER;
}

static int parse_list(const struct js *o, const char *key, size_t max, struct descriptor **out,
                      size_t *n, struct error *err)
{
    const struct js *list = js_get(o, key);
    /* null is what some writers make of an empty list */
    if (js_is_null(list))
        return OK;
    int rc = js_want_array(o, key, &list, err);
    if (rc)
        return rc;
    size_t count = js_count(list);
    if (count > max)
        return fail(err, E_LIMIT, "'%s' has %zu entries, at most %zu are accepted", key, count,
                    max);
    CLEANUP(cleanup_free) struct descriptor *items = calloc(count + 1, sizeof *items);
    if (!items)
        return fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        rc = descriptor_parse(js_at(list, i), &items[i], err);
        if (rc)
            return wrap(err, rc, "'%s' entry %zu", key, i);
    }
    *out = TAKE_PTR(items);
    *n = count;
    return OK;
}

static int parse_image(const struct js *o, struct manifest *m, struct error *err)
{
    const struct js *config;
    if (js_get(o, "manifests"))
        return fail(err, E_INVALID, "an image manifest must not have 'manifests'");
    if (js_get(o, "fsLayers"))
        return fail(err, E_INVALID, "an image manifest must not have 'fsLayers'");
    int rc = js_want_object(o, "config", &config, err);
    if (!rc)
        rc = wrap(err, descriptor_parse(config, &m->config, err), "'config'");
    if (!rc)
        rc = parse_list(o, "layers", MANIFEST_MAX_LAYERS, &m->layers, &m->n_layers, err);
    return rc;
}

static int parse_index(const struct js *o, struct manifest *m, struct error *err)
{
    static const char *const foreign[] = {"config", "layers", "fsLayers", NULL};
    for (const char *const *key = foreign; *key; key++)
        if (js_get(o, *key))
            return fail(err, E_INVALID, "an index must not have '%s'", *key);
    return parse_list(o, "manifests", MANIFEST_MAX_ENTRIES, &m->manifests, &m->n_manifests, err);
}

static int parse_annotations(const struct js *o, struct manifest *m, struct error *err)
{
    const struct js *annotations = js_get(o, "annotations");
    if (js_is_null(annotations))
        return OK;
    int rc = js_want_object(o, "annotations", &annotations, err);
    if (rc)
        return rc;
    js_foreach (annotations, it)
        if (js_type(it.value) != JS_STRING)
            return fail(err, E_INVALID, "annotation '%.80s' must be a string", it.key);
    m->annotations = js_dup(annotations);
    return m->annotations ? OK : fail_nomem(err);
}

/* subject, artifactType, annotations */
static int parse_relations(const struct js *o, struct manifest *m, struct error *err)
{
    const struct js *subject = js_get(o, "subject");
    int rc = OK;
    if (!js_is_null(subject)) {
        rc = wrap(err, descriptor_parse(subject, &m->subject, err), "'subject'");
        m->has_subject = !rc;
    }
    if (!rc)
        rc = document_copy_text(o, "artifactType", m->artifact_type, sizeof m->artifact_type, err);
    if (!rc && m->artifact_type[0] && !media_type_valid(m->artifact_type, strlen(m->artifact_type)))
        rc = fail(err, E_INVALID, "'artifactType' is not a media type");
    if (!rc && !m->artifact_type[0])
        memcpy(m->artifact_type, m->config.media_type, sizeof m->artifact_type);
    return rc ? rc : parse_annotations(o, m, err);
}

/* --- documents of other types: what can be understood of them is --- */

/* The descriptors of this list that are some, behind those that are there already. */
static int collect_list(const struct js *list, struct descriptor **items, size_t *n,
                        struct error *err)
{
    size_t count = js_type(list) == JS_ARRAY ? js_count(list) : 0;
    if (count == 0)
        return OK;
    if (count > MANIFEST_MAX_ENTRIES || *n > MANIFEST_MAX_ENTRIES)
        return fail(err, E_LIMIT, "a list has %zu entries, at most %d are accepted", count,
                    MANIFEST_MAX_ENTRIES);
    struct descriptor *grown = realloc(*items, (*n + count) * sizeof *grown);
    if (!grown)
        return fail_nomem(err);
    *items = grown;
    int rc = OK;
    for (size_t i = 0; i < count && rc != E_NOMEM; i++) {
        rc = descriptor_parse(js_at(list, i), &grown[*n], NULL);
        *n += rc == OK;
    }
    return rc == E_NOMEM ? fail_nomem(err) : OK;
}

static int collect_other(const struct js *o, struct manifest *m, struct error *err)
{
    int rc = collect_list(js_get(o, "layers"), &m->layers, &m->n_layers, err);
    if (!rc)
        rc = collect_list(js_get(o, "blobs"), &m->layers, &m->n_layers, err);
    if (!rc)
        rc = collect_list(js_get(o, "manifests"), &m->manifests, &m->n_manifests, err);
    if (rc)
        return rc;
    int config = descriptor_parse(js_get(o, "config"), &m->config, NULL);
    int subject = descriptor_parse(js_get(o, "subject"), &m->subject, NULL);
    int annotations = parse_annotations(o, m, NULL);
    if (config == E_NOMEM || subject == E_NOMEM || annotations == E_NOMEM)
        return fail_nomem(err);
    m->has_subject = subject == OK;
    if (document_copy_text(o, "artifactType", m->artifact_type, sizeof m->artifact_type, NULL) ||
        !media_type_valid(m->artifact_type, strlen(m->artifact_type)))
        m->artifact_type[0] = '\0';
    return OK;
}

static int check_version(const struct js *o, struct error *err)
{
    int64_t version = 0;
    int rc = js_want_int(o, "schemaVersion", 0, INT64_MAX, &version, err);
    if (rc || version == 2)
        return rc;
    if (version == 1)
        return fail(err, E_UNSUPPORTED,
                    "Docker schema 1 (schemaVersion 1) is not supported: push the image again with "
                    "a newer client");
    return fail(err, E_INVALID, "schemaVersion must be 2");
}

static int parse_document(const struct js *o, const char *content_type, struct manifest *m,
                          struct error *err)
{
    static const char *const known[] = {"schemaVersion", "mediaType",   "config",
                                        "layers",        "manifests",   "subject",
                                        "artifactType",  "annotations", NULL};
    if (js_type(o) != JS_OBJECT)
        return fail(err, E_INVALID, "a manifest must be an object");
    int rc = document_check_case(o, known, err);
    if (!rc)
        rc = decide_type(o, content_type, m, err);
    if (rc)
        return rc;
    decide_kind(m);
    if (m->kind == MANIFEST_OTHER && js_number(js_get(o, "schemaVersion")) != 1)
        return collect_other(o, m, err);
    rc = check_version(o, err);
    if (!rc)
        rc = m->kind == MANIFEST_IMAGE ? parse_image(o, m, err) : parse_index(o, m, err);
    return rc ? rc : parse_relations(o, m, err);
}

int manifest_parse_any(const void *data, size_t len, const char *content_type,
                       struct manifest **out, struct error *err)
{
    if (len > MANIFEST_MAX_BYTES)
        return fail(err, E_LIMIT, "manifest is larger than %u bytes", MANIFEST_MAX_BYTES);
    CLEANUP(js_cleanup) struct js *o = NULL;
    CLEANUP(manifest_cleanup) struct manifest *m = calloc(1, sizeof *m);
    if (!m)
        return fail_nomem(err);
    /* Members that nobody here knows may hold reals. */
    int rc = js_parse_lax(data, len, &o, err);
    if (!rc)
        rc = parse_document(o, content_type, m, err);
    if (rc)
        return wrap(err, rc, "manifest");
    *out = TAKE_PTR(m);
    return OK;
}

int manifest_parse(const void *data, size_t len, const char *content_type, struct manifest **out,
                   struct error *err)
{
    CLEANUP(manifest_cleanup) struct manifest *m = NULL;
    int rc = manifest_parse_any(data, len, content_type, &m, err);
    if (!rc && m->kind == MANIFEST_OTHER)
        return fail(err, E_UNSUPPORTED,
                    "manifest: neither an image manifest nor an index (type '%.80s')",
                    m->media_type);
    if (!rc)
        *out = TAKE_PTR(m);
    return rc;
}

/* A variant may need processor features that nobody promised; arm64's only baseline is "v8". */
static bool variant_runs(const struct descriptor *d)
{
    return !d->variant[0] ||
           (strcmp(d->architecture, "arm64") == 0 && strcmp(d->variant, "v8") == 0);
}

int manifest_select_platform(const struct manifest *index, const char *os, const char *architecture,
                             const struct descriptor **out, struct error *err)
{
    bool named =
        *os && *architecture && strcmp(os, "unknown") != 0 && strcmp(architecture, "unknown") != 0;
    for (size_t i = 0; named && i < index->n_manifests; i++) {
        const struct descriptor *d = &index->manifests[i];
        if (strcmp(d->os, os) == 0 && strcmp(d->architecture, architecture) == 0 &&
            variant_runs(d)) {
            *out = d;
            return OK;
        }
    }
    return fail(err, E_NOTFOUND, "the image has no manifest for %s/%s", os, architecture);
}

static int push_descriptor(struct js *list, const struct descriptor *d, struct error *err)
{
    struct js *o = NULL;
    int rc = descriptor_to_js(d, &o, err);
    return rc ? rc : js_push(list, o, err);
}

int manifest_to_js(const struct descriptor *config, const struct descriptor *layers, size_t n,
                   struct js **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    struct js *config_js = NULL;
    if (!o)
        return fail_nomem(err);
    int rc = js_set(o, "schemaVersion", js_int_new(2), err);
    if (!rc)
        rc = js_set(o, "mediaType", js_text_new(MEDIA_OCI_MANIFEST), err);
    if (!rc)
        rc = descriptor_to_js(config, &config_js, err);
    if (!rc)
        rc = js_set(o, "config", config_js, err);
    if (!rc)
        rc = js_set(o, "layers", js_array_new(), err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = push_descriptor(js_edit(o, "layers"), &layers[i], err);
    if (!rc)
        *out = TAKE_PTR(o);
    return rc;
}

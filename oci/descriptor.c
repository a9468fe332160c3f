#include "oci/document.h"
#include "oci/manifest.h"

#include <string.h>

#define NON_DISTRIBUTABLE_OCI    "application/vnd.oci.image.layer.nondistributable.v1."
#define NON_DISTRIBUTABLE_DOCKER "application/vnd.docker.image.rootfs.foreign."

static int parse_platform(const struct js *o, struct descriptor *d, struct error *err)
{
    static const char *const known[] = {"os", "architecture", "variant", NULL};
    const struct js *platform = js_get(o, "platform");
    if (js_is_null(platform))
        return OK;
    int rc = js_want_object(o, "platform", &platform, err);
    if (!rc)
        rc = document_check_case(platform, known, err);
    if (!rc)
        rc = document_copy_text(platform, "os", d->os, sizeof d->os, err);
    if (!rc)
        rc = document_copy_text(platform, "architecture", d->architecture, sizeof d->architecture,
                                err);
    if (!rc)
        rc = document_copy_text(platform, "variant", d->variant, sizeof d->variant, err);
    return wrap(err, rc, "platform");
}

/* The bytes themselves, for readers who would rather not fetch them: they must be the same ones.
 * Source: OCI image-spec 1.1 descriptor.md, "Embedded Content". */
static int check_data(const struct js *o, const struct descriptor *d, struct error *err)
{
    CLEANUP(bytes_done) struct bytes data = BYTES_INIT;
    const char *text = NULL;
    struct digest digest;
    int rc = js_opt_text(o, "data", &text, err);
    if (rc || !text)
        return rc;
    rc = wrap(err, base64_decode(text, strlen(text), &data, err), "'data'");
    if (!rc && data.len != (uint64_t)d->size)
        rc = fail(err, E_DIGEST, "'data' has %zu bytes, 'size' says %lld", data.len,
                  (long long)d->size);
    if (!rc)
        rc = digest_of(d->digest.alg, data.data, data.len, &digest, err);
    if (!rc && !digest_equal(&digest, &d->digest))
        rc = fail(err, E_DIGEST, "'data' does not have the digest that 'digest' promises");
    return rc;
}

int descriptor_parse(const struct js *o, struct descriptor *out, struct error *err)
{
    static const char *const known[] = {"mediaType", "digest", "size", "platform", "data", NULL};
    struct descriptor d = {.size = 0};
    const char *type, *digest;
    if (js_type(o) != JS_OBJECT)
        return fail(err, E_INVALID, "a descriptor must be an object");
    int rc = document_check_case(o, known, err);
    if (!rc)
        rc = js_want_text(o, "mediaType", &type, err);
    if (!rc && !media_type_valid(type, strlen(type)))
        rc = fail(err, E_INVALID, "'%.80s' is not a media type", type);
    if (!rc)
        rc = js_want_text(o, "digest", &digest, err);
    if (!rc)
        rc = wrap(err, digest_parse_text(digest, &d.digest, err), "'%.80s'", digest);
    if (!rc)
        rc = js_want_int(o, "size", 0, INT64_MAX, &d.size, err);
    if (!rc)
        rc = parse_platform(o, &d, err);
    if (!rc)
        rc = check_data(o, &d, err);
    if (rc)
        return rc;
    memcpy(d.media_type, type, strlen(type) + 1);
    d.non_distributable =
        text_starts(type, NON_DISTRIBUTABLE_OCI) || text_starts(type, NON_DISTRIBUTABLE_DOCKER);
    *out = d;
    return OK;
}

int descriptor_to_js(const struct descriptor *d, struct js **out, struct error *err)
{
    char digest[DIGEST_TEXT_MAX];
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    if (!o)
        return fail_nomem(err);
    int rc = js_set(o, "mediaType", js_text_new(d->media_type), err);
    if (!rc)
        rc = js_set(o, "digest", js_text_new(digest_format(&d->digest, digest)), err);
    if (!rc)
        rc = js_set(o, "size", js_int_new(d->size), err);
    if (!rc)
        *out = TAKE_PTR(o);
    return rc;
}

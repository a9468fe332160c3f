/* Manifests: GET, HEAD, PUT. Source: OCI distribution-spec 1.1.1. */
#include "client/remote_private.h"
#include "oci/reference.h"

#include <ctype.h>
#include <string.h>

#define WHAT_MAX (DIGEST_TEXT_MAX + 32)

static const char accepted[] =
    MEDIA_OCI_MANIFEST ", " MEDIA_OCI_INDEX ", " MEDIA_DOCKER_MANIFEST ", " MEDIA_DOCKER_LIST;

/* *digest is DIGEST_NONE for a tag. */
static int check_reference(const char *reference, struct digest *digest, struct error *err)
{
    *digest = (struct digest){.alg = DIGEST_NONE};
    if (tag_name_valid(reference, strlen(reference)))
        return OK;
    if (digest_parse_text(reference, digest, NULL))
        return fail(err, E_USAGE, "'%.200s' is neither tag nor digest", reference);
    return OK;
}

static int check_digest(const struct digest *want, const void *data, size_t len, struct error *err)
{
    struct digest actual;
    int rc = digest_of(want->alg, data, len, &actual, err);
    if (!rc && !digest_equal(want, &actual))
        rc = fail(err, E_DIGEST, "its bytes do not have its digest");
    return rc;
}

static int manifest_url(const struct remote *r, const char *repository, const char *reference,
                        struct url *out, struct error *err)
{
    int rc = remote_check_repository(repository, err);
    return rc ? rc : remote_url(r, out, err, "/v2/%s/manifests/%s", repository, reference);
}

/* The type without parameters, lower case; "" where the peer named none. */
static void copy_media_type(const char *header, char out[MEDIA_TYPE_MAX + 1])
{
    size_t len = strcspn(header, "; \t");
    for (size_t i = 0; i < len; i++)
        out[i] = (char)tolower((unsigned char)header[i]);
    out[len] = '\0';
}

int remote_manifest_get(struct remote *r, const char *repository, const char *reference,
                        struct bytes *out, char *content_type, struct error *err)
{
    struct url url;
    struct digest want;
    char what[WHAT_MAX];
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = check_reference(reference, &want, err);
    if (!rc)
        rc = manifest_url(r, repository, reference, &url, err);
    struct http_request request = {
        .method = HTTP_GET, .url = &url, .accept = accepted, .max_body = MANIFEST_MAX_BYTES};
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    if (rc)
        return rc;
    (void)snprintf(what, sizeof what, "manifest %s", reference);
    rc = remote_expect(r, &response, 200, what, err);
    if (!rc && want.alg != DIGEST_NONE)
        rc = wrap(err, check_digest(&want, bytes_text(&response.body), response.body.len, err),
                  "%s from registry %s", what, r->base.authority);
    if (!rc) /* Docker-Content-Digest is the peer's opinion and is not looked at */
        rc = bytes_append(out, bytes_text(&response.body), response.body.len, err);
    if (!rc && content_type)
        copy_media_type(response.content_type, content_type);
    return rc;
}

int remote_manifest_head(struct remote *r, const char *repository, const char *tag,
                         struct digest *out, struct error *err)
{
    struct url url;
    struct digest digest;
    char what[WHAT_MAX];
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = check_reference(tag, &digest, err);
    if (!rc)
        rc = manifest_url(r, repository, tag, &url, err);
    struct http_request request = {.method = HTTP_HEAD, .url = &url, .accept = accepted};
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    if (rc)
        return rc;
    (void)snprintf(what, sizeof what, "manifest %s", tag);
    rc = remote_expect(r, &response, 200, what, err);
    if (!rc && digest_parse_text(response.digest, &digest, NULL))
        rc = fail(err, E_PROTOCOL, "registry %s names no digest for %s", r->base.authority, what);
    if (!rc)
        *out = digest;
    return rc;
}

/* A registry that stored other bytes must not get away with it. */
static int check_stored(const struct remote *r, const struct http_response *response,
                        const void *data, size_t len, struct error *err)
{
    struct digest said, actual;
    if (!response->digest[0])
        return OK;
    int rc = digest_parse_text(response->digest, &said, err);
    if (!rc)
        rc = digest_of(said.alg, data, len, &actual, err);
    if (rc || !digest_equal(&said, &actual))
        return fail(err, E_PROTOCOL, "registry %s says it stored another manifest than was sent",
                    r->base.authority);
    return OK;
}

int remote_manifest_put(struct remote *r, const char *repository, const char *reference,
                        const char *content_type, const void *data, size_t len, struct error *err)
{
    struct url url;
    struct digest digest;
    char what[WHAT_MAX];
    CLEANUP(http_response_done) struct http_response response = HTTP_RESPONSE_INIT;
    int rc = check_reference(reference, &digest, err);
    if (!rc)
        rc = manifest_url(r, repository, reference, &url, err);
    if (!rc && len > MANIFEST_MAX_BYTES)
        rc = fail(err, E_LIMIT, "the manifest is larger than %u bytes", MANIFEST_MAX_BYTES);
    if (!rc && digest.alg != DIGEST_NONE)
        rc = check_digest(&digest, data, len, err);
    struct http_request request = {/* OCI dist end-7 */
                                   .method = HTTP_PUT,
                                   .url = &url,
                                   .content_type = content_type,
                                   .data = data,
                                   .len = len};
    if (!rc)
        rc = remote_call(r, &request, &response, err);
    if (rc)
        return rc;
    (void)snprintf(what, sizeof what, "manifest %s", reference);
    rc = remote_expect(r, &response, 201, what, err);
    return rc ? rc : check_stored(r, &response, data, len, err);
}

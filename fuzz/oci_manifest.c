/* Manifests and indexes, with and without a type from outside. */
#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever the reader of images takes, who only keeps documents takes as well, and as the same. */
static void compare(const uint8_t *data, size_t size, const char *type, const struct manifest *m)
{
    CLEANUP(manifest_cleanup) struct manifest *any = NULL;
    int rc = manifest_parse_any(data, size, type, &any, NULL);
    if (m && (rc != OK || any->kind != m->kind || any->n_layers != m->n_layers))
        abort();
    if (!m && rc == OK && any->kind != MANIFEST_OTHER)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"",
                                        MEDIA_OCI_MANIFEST,
                                        MEDIA_OCI_INDEX,
                                        MEDIA_DOCKER_MANIFEST,
                                        MEDIA_DOCKER_LIST,
                                        "application/x"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        CLEANUP(manifest_cleanup) struct manifest *m = NULL;
        const struct descriptor *d;
        int rc = manifest_parse(data, size, types[i], &m, NULL);
        compare(data, size, types[i], m);
        if (rc)
            continue;
        if (m->kind == MANIFEST_IMAGE && (m->config.digest.alg == DIGEST_NONE || m->n_manifests))
            abort();
        if (m->kind == MANIFEST_INDEX &&
            manifest_select_platform(m, "linux", "amd64", &d, NULL) == OK &&
            d->digest.alg == DIGEST_NONE)
            abort();
    }
    return 0;
}

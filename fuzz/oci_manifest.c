/* Manifests and indexes, with and without a type from outside. */
#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"", MEDIA_OCI_MANIFEST, MEDIA_OCI_INDEX,
                                        MEDIA_DOCKER_MANIFEST, MEDIA_DOCKER_LIST};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        CLEANUP(manifest_cleanup) struct manifest *m = NULL;
        const struct descriptor *d;
        if (manifest_parse(data, size, types[i], &m, NULL))
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

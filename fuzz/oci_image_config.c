/* Image configurations. */
#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(image_config_cleanup) struct image_config *c = NULL;
    if (image_config_parse(data, size, &c, NULL))
        return 0;
    if (!c->user || !c->working_dir || !c->stop_signal || !c->entrypoint || !c->cmd || !c->env)
        abort();
    for (size_t i = 0; i < c->n_diff_ids; i++)
        if (c->diff_ids[i].alg == DIGEST_NONE)
            abort();
    return 0;
}

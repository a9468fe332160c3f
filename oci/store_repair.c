/* Taking damaged things out of the store, so that they can be fetched and unpacked anew. */
#include "base/file.h"
#include "base/path.h"
#include "oci/store_private.h"

#include <fcntl.h>

int store_blob_discard(struct store *s, const struct digest *d, struct error *err)
{
    char name[BLOB_NAME_MAX];
    if (unlinkat(s->blobs_fd, store_blob_name(d, name), 0) && errno != ENOENT)
        return fail_sys(err, errno, "remove blob '%s'", name);
    return OK;
}

int store_layer_discard(struct store *s, const struct digest *diff_id, struct error *err)
{
    char name[LAYER_NAME_MAX];
    store_layer_name(diff_id, name);
    /* First out of sight in one step: nobody may find half of it. */
    struct temporary aside = TEMPORARY_INIT;
    int rc = temporary_folder(s->tmp_fd, &aside, err);
    if (!rc && renameat(s->layers_fd, name, aside.fd, "layer") && errno != ENOENT)
        rc = fail_sys(err, errno, "move damaged layer '%s' aside", name);
    temporary_done(&aside);
    return rc;
}

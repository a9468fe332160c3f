#include "registry/service.h"

#include "registry/password.h"

int registry_open(const struct server_config *config, struct registry *out, struct error *err)
{
    struct registry r = {.config = config};
    int rc = password_init(err);
    if (rc == 0)
        rc = blobs_open(config->data_dir, &r.blobs, err);
    if (rc == 0)
        rc = index_open(config->data_dir, &r.index, err);
    if (rc == 0)
        rc = uploads_new(r.blobs, config->limits.uploads_per_user, &r.uploads, err);
    if (rc == 0)
        rc = signer_link_new(config->signer.socket, &r.signer, err);
    if (rc != 0)
        registry_close(&r);
    else
        *out = r;
    return rc;
}

int registry_start(struct registry *r, struct error *err)
{
    int rc = index_start(r->index, err);
    return rc == 0 ? users_new(&r->users, err) : rc;
}

void registry_close(struct registry *r)
{
    uploads_free(r->uploads);
    users_free(r->users);
    index_close(r->index);
    blobs_close(r->blobs);
    signer_link_free(r->signer);
    *r = (struct registry){.config = r->config};
}

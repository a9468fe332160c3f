#include "registry/service.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "registry/audit.h"
#include "registry/gc.h"
#include "registry/health.h"
#include "registry/mirror_anchor.h"
#include "registry/password.h"
#include "registry/token.h"

/* Two servers would each sweep, collect and count what the other works on. The kernel ends the lock
 * with the process, however that ends: no stale one is ever left. */
static int lock_data(const char *data_dir, int *lock_fd, struct error *err)
{
    CLEANUP(cleanup_fd) int dir_fd = -1;
    int rc = file_open_dir(data_dir, true, &dir_fd, err);
    if (rc == 0)
        rc = file_lock(dir_fd, SERVICE_LOCK_NAME, SERVICE_LOCK_WAIT_MS, lock_fd, err);
    if (rc == E_BUSY)
        return fail(err, E_BUSY, "another bulla-registry serves '%s': stop that one first",
                    data_dir);
    return wrap(err, rc, "storage '%s'", data_dir);
}

static int open_token_keys(const struct server_config *config, struct token_keys **out,
                           struct error *err)
{
    const struct token_keys_options options = {
        .data_dir = config->data_dir,
        .rotate_after_s = config->access.token_key_lifetime_s,
        .keep_s = config->access.token_lifetime_s + TOKEN_SKEW_S,
    };
    return token_keys_open(&options, out, err);
}

int registry_open(const struct server_config *config, struct registry *out, struct error *err)
{
    struct registry r = {.config = config, .lock_fd = -1};
    int rc = password_init(err);
    if (rc == 0)
        rc = lock_data(config->data_dir, &r.lock_fd, err);
    if (rc == 0)
        rc = gate_new(&r.commits, err);
    if (rc == 0)
        rc = blobs_open(config->data_dir, &r.blobs, err);
    if (rc == 0)
        rc = index_open(config->data_dir, &r.index, err);
    if (rc == 0)
        rc = open_token_keys(config, &r.token_keys, err);
    if (rc == 0)
        rc = uploads_new(r.blobs, config->limits.uploads_per_user, &r.uploads, err);
    if (rc == 0)
        rc = mirror_anchors_load(config, &r.anchors, err);
    if (rc == 0)
        rc = signer_link_new(config->signer.socket, &r.signer, err);
    if (rc != 0)
        registry_close(&r);
    else
        *out = r;
    return rc;
}

static int open_audit(struct registry *r, struct error *err)
{
    const struct audit_options options = {
        .data_dir = r->config->data_dir,
        .index = r->index,
        .access = r->config->audit.level == CONFIG_AUDIT_ALL,
        .access_bytes = r->config->audit.access_bytes,
    };
    return audit_open(&options, &r->audit, err);
}

int registry_start(struct registry *r, struct error *err)
{
    const struct gc gc = {.index = r->index, .blobs = r->blobs, .discard = true};
    int rc = index_start(r->index, err);
    if (rc == 0)
        rc = open_audit(r, err);
    if (rc == 0)
        rc = blobs_start(r->blobs, err);
    if (rc == 0)
        rc = health_new(r, &r->health, err);
    /* Before anybody asks for a blob that a crash left aside. */
    if (rc == 0)
        rc = gc_recover(&gc, err);
    return rc == 0 ? users_new(r->token_keys, &r->users, err) : rc;
}

void registry_close(struct registry *r)
{
    health_free(r->health);
    uploads_free(r->uploads);
    users_free(r->users);
    token_keys_free(r->token_keys);
    audit_close(r->audit);
    index_close(r->index);
    blobs_close(r->blobs);
    gate_free(r->commits);
    signer_link_free(r->signer);
    mirror_anchors_free(r->anchors);
    cleanup_fd(&r->lock_fd);
    *r = (struct registry){.config = r->config, .lock_fd = -1};
}

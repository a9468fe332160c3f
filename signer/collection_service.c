/* The keys of a collection that the registry's signing service holds: asking for them, replacing
 * them. */
#include "signer/collection_change.h"

#include "tuf/edit.h"

#include <string.h>

#define KEY_OBJECT_MAX 16384u

static const char *const service_roles[2] = {"snapshot", "timestamp"};
static const enum tuf_type service_types[2] = {TUF_SNAPSHOT, TUF_TIMESTAMP};

static int parse_key(const struct bytes *body, struct public_key **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    int rc = js_parse(body->data, body->len, &object, err);
    return rc ? rc : public_key_from_tuf(object, out, err);
}

int collection_service_key(struct remote *remote, const char *repository, const char *role,
                           struct public_key **out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    char path[64];
    (void)snprintf(path, sizeof path, "tuf/%s.key", role);
    int rc = remote_trust_get(remote, repository, path, KEY_OBJECT_MAX, &body, err);
    if (!rc)
        rc = parse_key(&body, out, err);
    return wrap(err, rc, "the registry's %s key", role);
}

/* --- replacing them --- */

static bool wanted(const struct change_rotate_service *c, size_t i)
{
    return i == 0 ? c->snapshot : c->timestamp;
}

static int ask(struct remote *remote, const struct draft *d, struct change_rotate_service *c,
               size_t i, struct error *err)
{
    CLEANUP(bytes_done) struct bytes body = BYTES_INIT;
    const struct remote_new_key key = {service_roles[i], c->another};
    int rc = remote_trust_new_key(remote, d->ref.repository, &key, &body, err);
    if (!rc)
        rc = parse_key(&body, &c->made[i], err);
    return wrap(err, rc, "a new %s key", service_roles[i]);
}

/* Once: a rebase must not have the service make further ones. */
static int ask_all(struct draft *d, struct change_rotate_service *c, struct error *err)
{
    struct remote *remote = NULL;
    int rc = trust_session_remote(&d->session, &remote, err);
    for (size_t i = 0; !rc && i < 2; i++)
        if (wanted(c, i) && !c->made[i])
            rc = ask(remote, d, c, i, err);
    return rc;
}

/* Somebody else asked for the same key and was faster. */
static int is_listed(const struct tuf_metadata *root, enum tuf_type type,
                     const struct public_key *key, bool *out, struct error *err)
{
    const struct tuf_role_keys *role = tuf_root_role(root, type);
    struct key_id id;
    int rc = public_key_id(key, &id, err);
    *out = !rc && role->n_ids == 1 && strcmp(role->ids[0].text, id.text) == 0;
    return rc;
}

static int replace_one(struct draft *d, const struct change_rotate_service *c, size_t i,
                       struct error *err)
{
    const struct public_key *key = c->made[i];
    const struct tuf_compose_role role = {&key, 1, 1};
    struct js *root = NULL;
    bool done = false;
    int rc =
        is_listed(tuf_trusted_root(d->session.view.trusted), service_types[i], key, &done, err);
    if (rc || done)
        return rc;
    rc = draft_root(d, &root, err);
    return rc ? rc : tuf_edit_root_role(root, service_types[i], &role, err);
}

int change_rotate_service(struct draft *d, void *context, struct error *err)
{
    struct change_rotate_service *c = context;
    int rc = ask_all(d, c, err);
    for (size_t i = 0; !rc && i < 2; i++)
        if (wanted(c, i))
            rc = replace_one(d, c, i, err);
    return rc;
}

void change_rotate_service_done(struct change_rotate_service *c)
{
    public_key_cleanup(&c->made[0]);
    public_key_cleanup(&c->made[1]);
}

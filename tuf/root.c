#include "tuf/metadata_internal.h"

int tuf_root_parse(struct tuf_metadata *m, struct error *err)
{
    const struct js *keys = NULL, *roles = NULL;
    int rc = js_opt_bool(m->body, "consistent_snapshot", &m->root.consistent_snapshot, err);
    if (!rc)
        rc = js_want_object(m->body, "keys", &keys, err);
    if (!rc)
        rc = tuf_keys_parse(keys, &m->root.keys, err);
    if (!rc)
        rc = js_want_object(m->body, "roles", &roles, err);
    for (int type = TUF_ROOT; !rc && type <= TUF_TARGETS; type++) {
        const struct js *role = NULL;
        rc = js_want_object(roles, tuf_type_name((enum tuf_type)type), &role, err);
        if (!rc)
            rc = wrap(err, tuf_role_keys_parse(role, &m->root.roles[type], err), "role '%s'",
                      tuf_type_name((enum tuf_type)type));
    }
    return rc;
}

bool tuf_root_consistent_snapshot(const struct tuf_metadata *root)
{
    return root->root.consistent_snapshot;
}

const struct tuf_keys *tuf_root_keys(const struct tuf_metadata *root)
{
    return &root->root.keys;
}

const struct tuf_role_keys *tuf_root_role(const struct tuf_metadata *root, enum tuf_type role)
{
    return &root->root.roles[role];
}

#include "signer/service_sign.h"

#include "signer/service_set.h"
#include "tuf/compose.h"

#include <string.h>

/* A version each second for more than a thousand years. */
#define LONGEST_HISTORY (INT64_C(1) << 35)

static int sign_with_key(void *context, const void *msg, size_t len, struct bytes *out,
                         struct error *err)
{
    return signing_key_sign(context, msg, len, out, err);
}

int service_sign_key(struct service_keyring *ring, const struct service_collection *c,
                     enum tuf_type role, struct signing_key **out, struct error *err)
{
    const struct bytes *sealed = role == TUF_SNAPSHOT ? &c->snapshot_key : &c->timestamp_key;
    int rc = service_keyring_get(ring, tuf_type_name(role), sealed, out, err);
    return wrap(err, rc, "%s key of collection '%s'", tuf_type_name(role), c->name);
}

static const struct bytes *key_of(const struct service_collection *c, enum tuf_type type)
{
    return type == TUF_SNAPSHOT ? &c->snapshot_key : &c->timestamp_key;
}

static bool same_key(const struct service_sign *s, enum tuf_type type)
{
    const struct bytes *a = key_of(s->old, type), *b = key_of(s->next, type);
    return bytes_equal(a->data, a->len, b->data, b->len);
}

static int next_version(const struct service_sign *s, enum tuf_type type, int64_t *out,
                        struct error *err)
{
    const struct signer_set_file *last = service_set_find(&s->old->set, tuf_type_name(type));
    int64_t version = last ? last->version : 0;
    /* No honest history is that long: somebody who had the old key ran ahead, and clients forget it
     * together with that key (TUF 5.3.11). */
    if (version > LONGEST_HISTORY && !same_key(s, type))
        version = 0;
    int64_t floor = type == TUF_SNAPSHOT ? s->old->floor_snapshot : s->old->floor_timestamp;
    if (version < floor)
        version = floor;
    if (version >= TUF_MAX_VERSION)
        return fail(err, E_LIMIT, "%s has reached the last version there is", tuf_type_name(type));
    *out = version + 1;
    return OK;
}

/* A service that was restored may have older keys than the root that it took over lists. */
static int check_listed(const struct service_sign *s, enum tuf_type type, const struct key_id *id,
                        struct error *err)
{
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *root = NULL;
    const struct signer_set_file *file = service_set_find(&s->next->set, tuf_type_name(TUF_ROOT));
    if (!file)
        return fail(err, E_INTERNAL, "%s without a root", tuf_type_name(type));
    int rc = tuf_metadata_parse(TUF_ROOT, file->data.data, file->data.len, &root, err);
    if (rc)
        return wrap(err, rc, "stored root");
    const struct tuf_role_keys *wanted = tuf_root_role(root, type);
    for (size_t i = 0; i < wanted->n_ids; i++)
        if (strcmp(wanted->ids[i].text, id->text) == 0)
            return OK;
    return fail(err, E_INVALID,
                "root version %lld does not list the signing service's %s key %s: publish a root "
                "that does",
                (long long)file->version, tuf_type_name(type), id->text);
}

static int sign_once(const struct service_sign *s, enum tuf_type type, const struct js *tree,
                     struct bytes *file, struct error *err)
{
    struct signing_key *key = NULL;
    int rc = service_sign_key(s->ring, s->next, type, &key, err);
    if (rc)
        return rc;
    struct tuf_signer signer = {.sign = sign_with_key, .context = key};
    rc = public_key_id(signing_key_public(key), &signer.id, err);
    if (!rc)
        rc = check_listed(s, type, &signer.id, err);
    if (!rc)
        rc = tuf_compose_file(tree, &signer, 1, file, err);
    service_keyring_note(s->ring, key_of(s->next, type), rc, err); /* may free the key */
    return rc;
}

/* Signs the tree and adds the file to the new set. */
static int finish(const struct service_sign *s, enum tuf_type type, int64_t version,
                  const struct js *tree, struct error *err)
{
    CLEANUP(bytes_done) struct bytes file = BYTES_INIT;
    struct error why = ERROR_INIT;
    /* What was open may have been lost since: a token that was pulled and put back, a helper that
     * ended. What was opened just now is not tried twice. */
    bool held = service_keyring_holds(s->ring, key_of(s->next, type));
    int rc = sign_once(s, type, tree, &file, &why);
    if (rc == E_TOKEN && held) {
        why = (struct error)ERROR_INIT;
        bytes_clear(&file);
        rc = sign_once(s, type, tree, &file, &why);
    }
    if (rc)
        return fail(err, rc, "%s", why.message);
    if (file.len > tuf_type_max_bytes(type))
        return fail(err, E_LIMIT, "%s of %zu bytes, at most %zu are allowed", tuf_type_name(type),
                    file.len, tuf_type_max_bytes(type));
    return service_set_add(&s->next->set, tuf_type_name(type), version, &file, err);
}

static bool in_snapshot(const char *role)
{
    return strcmp(role, tuf_type_name(TUF_ROOT)) != 0 &&
           strcmp(role, tuf_type_name(TUF_SNAPSHOT)) != 0 &&
           strcmp(role, tuf_type_name(TUF_TIMESTAMP)) != 0;
}

static int add_roles(const struct signer_set *set, struct js *tree, struct error *err)
{
    int rc = OK;
    for (size_t i = 0; i < set->n_files && !rc; i++) {
        const struct signer_set_file *file = &set->files[i];
        if (in_snapshot(file->role))
            rc = tuf_compose_meta(tree, file->role, file->version, file->data.data, file->data.len,
                                  err);
    }
    return rc;
}

/* Entry i of the old snapshot must be followed by itself or something newer. */
static int check_forward(const struct signer_set_file *file, const char *role,
                         const struct tuf_meta *old, struct error *err)
{
    if (file->version < old->version)
        return fail(err, E_ROLLBACK, "%s version %lld is older than version %lld, signed before",
                    role, (long long)file->version, (long long)old->version);
    if (file->version == old->version &&
        tuf_meta_check(old, file->data.data, file->data.len, true, NULL))
        return fail(err, E_ROLLBACK, "another %s of version %lld was signed before", role,
                    (long long)file->version);
    return OK;
}

static int keep_entry(const struct tuf_metadata *snapshot, const char *role, struct js *tree,
                      struct error *err)
{
    CLEANUP(cleanup_free) char *name = text_format("%s.json", role);
    struct js *meta = js_edit(tree, "meta");
    if (!name || !meta)
        return fail_nomem(err);
    const struct js *entry = js_get(js_get(tuf_metadata_signed(snapshot), "meta"), name);
    return js_set(meta, name, js_dup(entry), err);
}

static int follow_last(const struct service_sign *s, struct js *tree, struct error *err)
{
    const struct signer_set_file *last =
        service_set_find(&s->old->set, tuf_type_name(TUF_SNAPSHOT));
    if (!last)
        return OK;
    CLEANUP(tuf_metadata_cleanup) struct tuf_metadata *snapshot = NULL;
    int rc = tuf_metadata_parse(TUF_SNAPSHOT, last->data.data, last->data.len, &snapshot, err);
    for (size_t i = 0; !rc && i < tuf_snapshot_count(snapshot); i++) {
        const char *role = NULL;
        const struct tuf_meta *old = tuf_snapshot_at(snapshot, i, &role);
        const struct signer_set_file *file = service_set_find(&s->next->set, role);
        rc = file ? check_forward(file, role, old, err) : keep_entry(snapshot, role, tree, err);
    }
    return rc;
}

int service_sign_snapshot(const struct service_sign *s, struct error *err)
{
    CLEANUP(js_cleanup) struct js *tree = NULL;
    int64_t version = 0, expires_s = s->now_s + s->lifetimes.snapshot_s;
    int rc = next_version(s, TUF_SNAPSHOT, &version, err);
    if (!rc)
        rc =
            tuf_compose(TUF_SNAPSHOT, s->old->name, NULL, version, s->now_s, expires_s, &tree, err);
    if (!rc)
        rc = add_roles(&s->next->set, tree, err);
    if (!rc)
        rc = follow_last(s, tree, err);
    if (!rc)
        rc = finish(s, TUF_SNAPSHOT, version, tree, err);
    if (!rc)
        s->next->snapshot_expires_s = expires_s;
    return rc;
}

int service_sign_timestamp(const struct service_sign *s, struct error *err)
{
    CLEANUP(js_cleanup) struct js *tree = NULL;
    const struct signer_set_file *snapshot =
        service_set_find(&s->next->set, tuf_type_name(TUF_SNAPSHOT));
    if (!snapshot)
        return fail(err, E_INTERNAL, "timestamp without a snapshot");
    int64_t version = 0, expires_s = s->now_s + s->lifetimes.timestamp_s;
    int rc = next_version(s, TUF_TIMESTAMP, &version, err);
    if (!rc)
        rc = tuf_compose(TUF_TIMESTAMP, s->old->name, NULL, version, s->now_s, expires_s, &tree,
                         err);
    if (!rc)
        rc = tuf_compose_meta(tree, snapshot->role, snapshot->version, snapshot->data.data,
                              snapshot->data.len, err);
    if (!rc)
        rc = finish(s, TUF_TIMESTAMP, version, tree, err);
    if (!rc)
        s->next->timestamp_expires_s = expires_s;
    return rc;
}

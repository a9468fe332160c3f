#include "tuf/compose.h"

#include "base/clock.h"

#include <string.h>

static int set_date(struct js *o, const char *key, int64_t time_s, struct error *err)
{
    char text[CLOCK_TEXT_MAX];
    return js_set(o, key, js_text_new(clock_format(time_s, text)), err);
}

static int set_common(struct js *o, enum tuf_type type, int64_t version, int64_t expires_s,
                      struct error *err)
{
    int rc = js_set(o, "_type", js_text_new(tuf_type_name(type)), err);
    if (!rc)
        rc = js_set(o, "spec_version", js_text_new("1.0.34"), err);
    if (!rc)
        rc = js_set(o, "version", js_int_new(version), err);
    return rc ? rc : set_date(o, "expires", expires_s, err);
}

int tuf_compose(enum tuf_type type, const char *collection, const char *role, int64_t version,
                int64_t now_s, int64_t expires_s, struct js **out, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    if (!o)
        return fail_nomem(err);
    int rc = set_common(o, type, version, expires_s, err);
    if (!rc && collection)
        rc = js_set(o, "x-bulla-collection", js_text_new(collection), err);
    if (!rc && type == TUF_TARGETS)
        rc = js_set(o, "x-bulla-role", js_text_new(role ? role : "targets"), err);
    if (!rc && type == TUF_TARGETS)
        rc = js_set(o, "targets", js_object_new(), err);
    if (!rc && (type == TUF_TIMESTAMP || type == TUF_SNAPSHOT))
        rc = js_set(o, "meta", js_object_new(), err);
    if (!rc && type == TUF_TIMESTAMP)
        rc = set_date(o, "x-bulla-issued", now_s, err);
    if (!rc)
        *out = TAKE_PTR(o);
    return rc;
}

/* --- keys --- */

static int add_key(struct js *keys, struct js *ids, const struct public_key *key, struct error *err)
{
    CLEANUP(js_cleanup) struct js *object = NULL;
    struct key_id id;
    int rc = public_key_id(key, &id, err);
    if (!rc)
        rc = js_push(ids, js_text_new(id.text), err);
    if (rc || js_get(keys, id.text))
        return rc;
    rc = public_key_to_tuf(key, &object, err);
    return rc ? rc : js_set(keys, id.text, TAKE_PTR(object), err);
}

int tuf_compose_role_keys(struct js *keys, struct js *role, const struct tuf_compose_role *from,
                          struct error *err)
{
    int rc = js_set(role, "keyids", js_array_new(), err);
    for (size_t i = 0; !rc && i < from->n_keys; i++)
        rc = add_key(keys, js_edit(role, "keyids"), from->keys[i], err);
    return rc ? rc : js_set(role, "threshold", js_int_new(from->threshold), err);
}

int tuf_compose_root_roles(struct js *signed_root, const struct tuf_compose_role roles[4],
                           struct error *err)
{
    int rc = js_set(signed_root, "keys", js_object_new(), err);
    if (!rc)
        rc = js_set(signed_root, "roles", js_object_new(), err);
    for (int type = TUF_ROOT; !rc && type <= TUF_TARGETS; type++) {
        const char *name = tuf_type_name((enum tuf_type)type);
        struct js *all = js_edit(signed_root, "roles");
        rc = js_set(all, name, js_object_new(), err);
        if (!rc)
            rc = tuf_compose_role_keys(js_edit(signed_root, "keys"), js_edit(all, name),
                                       &roles[type], err);
    }
    return rc ? rc : js_set(signed_root, "consistent_snapshot", js_bool_new(true), err);
}

static int new_delegations(struct js *signed_targets, struct error *err)
{
    if (js_get(signed_targets, "delegations"))
        return OK;
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? js_set(o, "keys", js_object_new(), err) : fail_nomem(err);
    if (!rc)
        rc = js_set(o, "roles", js_array_new(), err);
    return rc ? rc : js_set(signed_targets, "delegations", TAKE_PTR(o), err);
}

int tuf_compose_delegation(struct js *signed_targets, const struct tuf_compose_delegation *from,
                           struct error *err)
{
    CLEANUP(js_cleanup) struct js *role = js_object_new();
    int rc = role ? new_delegations(signed_targets, err) : fail_nomem(err);
    if (rc)
        return rc;
    struct js *delegations = js_edit(signed_targets, "delegations");
    rc = js_set(role, "name", js_text_new(from->name), err);
    if (!rc)
        rc = tuf_compose_role_keys(js_edit(delegations, "keys"), role, &from->role, err);
    if (!rc)
        rc = js_set(role, "terminating", js_bool_new(from->terminating), err);
    if (!rc)
        rc = js_set(role, "paths", js_array_new(), err);
    for (size_t i = 0; !rc && i < from->n_paths; i++)
        rc = js_push(js_edit(role, "paths"), js_text_new(from->paths[i]), err);
    return rc ? rc : js_push(js_edit(delegations, "roles"), TAKE_PTR(role), err);
}

int tuf_compose_bins(struct js *signed_targets, const struct tuf_compose_bins *from,
                     struct error *err)
{
    const struct js *delegations = js_get(signed_targets, "delegations");
    CLEANUP(js_cleanup) struct js *o = js_object_new(), *bins = js_object_new();
    if (js_get(delegations, "succinct_roles") || js_count(js_get(delegations, "roles")) > 0)
        return fail(err, E_EXISTS, "the role delegates already");
    int rc = o && bins ? js_set(o, "keys", js_object_new(), err) : fail_nomem(err);
    if (!rc)
        rc = tuf_compose_role_keys(js_edit(o, "keys"), bins, &from->role, err);
    if (!rc)
        rc = js_set(bins, "bit_length", js_int_new(from->bits), err);
    if (!rc)
        rc = js_set(bins, "name_prefix", js_text_new(from->prefix), err);
    if (!rc)
        rc = js_set(o, "succinct_roles", TAKE_PTR(bins), err);
    return rc ? rc : js_set(signed_targets, "delegations", TAKE_PTR(o), err);
}

/* --- what is named --- */

static int set_hash(struct js *o, const struct digest *digest, struct error *err)
{
    char hex[DIGEST_TEXT_MAX];
    int rc = js_set(o, "hashes", js_object_new(), err);
    if (rc)
        return rc;
    return js_set(js_edit(o, "hashes"), digest_alg_name(digest->alg),
                  js_text_new(digest_hex(digest, hex)), err);
}

int tuf_compose_target(struct js *signed_targets, const char *name, const struct digest *digest,
                       int64_t length, const char *media_type, struct error *err)
{
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? js_set(o, "length", js_int_new(length), err) : fail_nomem(err);
    if (!rc)
        rc = set_hash(o, digest, err);
    if (!rc && media_type)
        rc = js_set(o, "custom", js_object_new(), err);
    if (!rc && media_type)
        rc = js_set(js_edit(o, "custom"), "mediaType", js_text_new(media_type), err);
    if (rc)
        return rc;
    struct js *targets = js_edit(signed_targets, "targets");
    if (!targets)
        return fail(err, E_INVALID, "'targets' is missing");
    return js_set(targets, name, TAKE_PTR(o), err);
}

int tuf_compose_meta(struct js *signed_meta, const char *role, int64_t version, const void *data,
                     size_t len, struct error *err)
{
    struct digest digest;
    struct js *meta = js_edit(signed_meta, "meta");
    CLEANUP(cleanup_free) char *name = text_format("%s.json", role);
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    if (!name || !o)
        return fail_nomem(err);
    if (!meta)
        return fail(err, E_INVALID, "'meta' is missing");
    int rc = digest_of(DIGEST_SHA256, data, len, &digest, err);
    if (!rc)
        rc = js_set(o, "version", js_int_new(version), err);
    if (!rc)
        rc = js_set(o, "length", js_int_new((int64_t)len), err);
    if (!rc)
        rc = set_hash(o, &digest, err);
    return rc ? rc : js_set(meta, name, TAKE_PTR(o), err);
}

/* --- the file --- */

static int add_signature(struct js *list, const struct bytes *msg, const struct tuf_signer *signer,
                         struct error *err)
{
    CLEANUP(bytes_done) struct bytes sig = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *o = js_object_new();
    int rc = o ? signer->sign(signer->context, msg->data, msg->len, &sig, err) : fail_nomem(err);
    if (rc)
        return rc;
    CLEANUP(cleanup_free) char *hex = malloc(2 * sig.len + 1);
    if (!hex)
        return fail_nomem(err);
    hex_encode(sig.data, sig.len, hex);
    rc = js_set(o, "keyid", js_text_new(signer->id.text), err);
    if (!rc)
        rc = js_set(o, "sig", js_text_new(hex), err);
    return rc ? rc : js_push(list, TAKE_PTR(o), err);
}

int tuf_compose_file(const struct js *signed_tree, const struct tuf_signer *signers, size_t n,
                     struct bytes *out, struct error *err)
{
    CLEANUP(bytes_done) struct bytes msg = BYTES_INIT, text = BYTES_INIT;
    CLEANUP(js_cleanup) struct js *list = js_array_new(), *file = js_object_new();
    int rc = list && file ? js_canonical(signed_tree, &msg, err) : fail_nomem(err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = add_signature(list, &msg, &signers[i], err);
    if (!rc)
        rc = js_set(file, "signatures", TAKE_PTR(list), err);
    if (!rc)
        rc = js_set(file, "signed", js_dup(signed_tree), err);
    /* Not the canonical form: it leaves control characters raw, such as the newlines of a PEM key,
     * and is then no JSON at all. */
    if (!rc)
        rc = js_write(file, false, &text, err);
    return rc ? rc : bytes_append(out, text.data, text.len, err);
}

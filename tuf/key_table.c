#include "tuf/metadata_internal.h"

#include <string.h>

static int parse_key(const char *name, const struct js *object, struct tuf_key *out,
                     struct error *err)
{
    struct key_id real;
    if (js_type(object) != JS_OBJECT)
        return fail(err, E_INVALID, "must be an object");
    int rc = key_id_parse(name, &out->id, err);
    if (!rc)
        rc = key_id_of_object(object, &real, err);
    if (rc)
        return rc;
    /* TUF 4.2.1: clients must calculate each KEYID. Else one key could stand under two names. */
    if (strcmp(real.text, out->id.text) != 0)
        return fail(err, E_INVALID, "its key object has the id %.12s…", real.text);
    rc = public_key_from_tuf(object, &out->key, err);
    return rc == E_UNSUPPORTED ? OK : rc;
}

int tuf_keys_parse(const struct js *object, struct tuf_keys *out, struct error *err)
{
    size_t n = js_count(object);
    if (n > TUF_MAX_KEYS)
        return fail(err, E_LIMIT, "%zu keys, at most %u are allowed", n, TUF_MAX_KEYS);
    out->items = calloc(n + 1, sizeof *out->items);
    if (!out->items)
        return fail_nomem(err);
    js_foreach (object, it) {
        int rc = parse_key(it.key, it.value, &out->items[out->n++], err);
        if (rc)
            return wrap(err, rc, "key '%.64s'", it.key);
    }
    return OK;
}

void tuf_keys_done(struct tuf_keys *keys)
{
    for (size_t i = 0; i < keys->n; i++)
        public_key_free(keys->items[i].key);
    free(keys->items);
    keys->items = NULL;
    keys->n = 0;
}

const struct tuf_key *tuf_keys_find(const struct tuf_keys *keys, const struct key_id *id)
{
    for (size_t i = 0; i < keys->n; i++)
        if (strcmp(keys->items[i].id.text, id->text) == 0)
            return &keys->items[i];
    return NULL;
}

static bool role_has(const struct tuf_role_keys *role, const struct key_id *id)
{
    for (size_t i = 0; i < role->n_ids; i++)
        if (strcmp(role->ids[i].text, id->text) == 0)
            return true;
    return false;
}

static int parse_ids(const struct js *list, struct tuf_role_keys *out, struct error *err)
{
    size_t n = js_count(list);
    if (n > TUF_MAX_KEYS)
        return fail(err, E_LIMIT, "%zu key ids, at most %u are allowed", n, TUF_MAX_KEYS);
    out->ids = calloc(n + 1, sizeof *out->ids);
    if (!out->ids)
        return fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const char *text = js_text(js_at(list, i));
        struct key_id id;
        if (!text)
            return fail(err, E_INVALID, "a key id must be a string");
        int rc = key_id_parse(text, &id, err);
        if (rc)
            return rc;
        if (role_has(out, &id))
            return fail(err, E_INVALID, "key id %.12s… is listed twice", id.text);
        out->ids[out->n_ids++] = id;
    }
    return OK;
}

int tuf_role_keys_parse(const struct js *object, struct tuf_role_keys *out, struct error *err)
{
    const struct js *ids;
    int rc = js_want_int(object, "threshold", 1, TUF_MAX_VERSION, &out->threshold, err);
    if (!rc)
        rc = js_want_array(object, "keyids", &ids, err);
    return rc ? rc : parse_ids(ids, out, err);
}

void tuf_role_keys_done(struct tuf_role_keys *role)
{
    free(role->ids);
    role->ids = NULL;
    role->n_ids = 0;
}

bool tuf_role_keys_same_ids(const struct tuf_role_keys *a, const struct tuf_role_keys *b)
{
    /* Ids are distinct within a role, so equal counts and inclusion make equal sets. */
    if (a->n_ids != b->n_ids)
        return false;
    for (size_t i = 0; i < a->n_ids; i++)
        if (!role_has(b, &a->ids[i]))
            return false;
    return true;
}

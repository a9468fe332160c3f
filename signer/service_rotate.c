#include "signer/service_rotate.h"

#include "base/log.h"

#include <string.h>

/* A role's encrypted keys: the one in force, and the one that waits for a root (empty: none). */
struct role_keys {
    const struct bytes *in_force, *waiting;
};

static struct role_keys keys_of(const struct service_collection *c, enum tuf_type role)
{
    if (role == TUF_SNAPSHOT)
        return (struct role_keys){&c->snapshot_key, &c->snapshot_next};
    return (struct role_keys){&c->timestamp_key, &c->timestamp_next};
}

static int unlock(struct service_keyring *ring, const struct service_collection *c,
                  enum tuf_type role, const struct bytes *sealed, struct signing_key **out,
                  struct error *err)
{
    int rc = service_keyring_get(ring, tuf_type_name(role), sealed, out, err);
    return wrap(err, rc, "%s key of collection '%s'", tuf_type_name(role), c->name);
}

/* --- a key for the next root --- */

static int make(struct service_store *store, struct service_keyring *ring,
                struct service_collection *c, enum tuf_type role, struct error *err)
{
    bool published = c->set.n_files > 0;
    struct bytes *to = role == TUF_SNAPSHOT ? (published ? &c->snapshot_next : &c->snapshot_key)
                                            : (published ? &c->timestamp_next : &c->timestamp_key);
    char label[64];
    (void)snprintf(label, sizeof label, "%s key", tuf_type_name(role));
    bytes_clear(to);
    int rc = service_keyring_make(ring, label, to, err);
    return rc ? rc : service_store_save(store, c, err);
}

static void say_made(const struct service_collection *c, enum tuf_type role,
                     const struct signing_key *key)
{
    struct key_id id;
    if (public_key_id(signing_key_public(key), &id, NULL) == OK)
        log_info("collection '%s': made %s key %s, which signs once a root lists it", c->name,
                 tuf_type_name(role), id.text);
}

int service_rotate_offer(struct service_store *store, struct service_keyring *ring,
                         struct service_collection *c, struct service_rotate_wish wish,
                         struct signing_key **out, struct error *err)
{
    bool published = c->set.n_files > 0;
    struct role_keys keys = keys_of(c, wish.role);
    bool made = wish.another || (published && !keys.waiting->len);
    int rc = made ? make(store, ring, c, wish.role, err) : OK;
    if (!rc)
        rc = unlock(ring, c, wish.role, published ? keys.waiting : keys.in_force, out, err);
    if (!rc && made)
        say_made(c, wish.role, *out);
    return rc;
}

/* --- which keys a root lets sign --- */

/* What a root says of one role's keys. Ids are empty where there is no such key. */
struct choice {
    enum tuf_type role;
    struct role_keys keys;
    struct key_id in_force, waiting;
    bool in_force_listed, waiting_listed;
};

/* Whether this key alone can sign for the role. */
static bool lists(const struct tuf_metadata *root, enum tuf_type role, const struct public_key *key)
{
    const struct tuf_role_keys *wanted = tuf_root_role(root, role);
    const struct tuf_keys *keys = tuf_root_keys(root);
    for (size_t i = 0; i < wanted->n_ids && wanted->threshold == 1; i++)
        for (size_t k = 0; k < keys->n; k++)
            if (keys->items[k].key && strcmp(keys->items[k].id.text, wanted->ids[i].text) == 0 &&
                public_key_equal(keys->items[k].key, key))
                return true;
    return false;
}

static int look(struct service_keyring *ring, const struct service_collection *c,
                const struct tuf_metadata *root, struct choice *choice, struct error *err)
{
    struct signing_key *key = NULL;
    int rc = unlock(ring, c, choice->role, choice->keys.in_force, &key, err);
    if (rc)
        return rc;
    choice->in_force_listed = lists(root, choice->role, signing_key_public(key));
    rc = public_key_id(signing_key_public(key), &choice->in_force, err);
    if (rc || !choice->keys.waiting->len)
        return rc;
    rc = unlock(ring, c, choice->role, choice->keys.waiting, &key, err);
    if (rc)
        return rc;
    choice->waiting_listed = lists(root, choice->role, signing_key_public(key));
    return public_key_id(signing_key_public(key), &choice->waiting, err);
}

static bool listed(const struct choice *choice)
{
    return choice->in_force_listed || choice->waiting_listed;
}

/* The keys that are missing, and nothing else: the reason is shown far from here, and cut. */
static int refuse(const struct choice choices[2], struct error *err)
{
    CLEANUP(bytes_done) struct bytes text = BYTES_INIT;
    int rc = OK;
    for (size_t i = 0; !rc && i < 2; i++) {
        const char *waiting = choices[i].waiting.text;
        if (!listed(&choices[i]))
            rc = bytes_append_format(&text, err, "%s%s key %s%s%s", text.len ? ", " : "",
                                     tuf_type_name(choices[i].role), choices[i].in_force.text,
                                     waiting[0] ? " or its successor " : "", waiting);
    }
    return rc ? rc
              : fail(err, E_INVALID,
                     "root must list the signing service's keys, each with threshold 1: %s",
                     bytes_text(&text));
}

static int take(const char *collection, const struct choice *choice, struct bytes *in_force,
                struct bytes *waiting, struct error *err)
{
    const struct role_keys *keys = &choice->keys;
    if (choice->waiting_listed) {
        log_info("collection '%s': %s key %s replaces %s", collection, tuf_type_name(choice->role),
                 choice->waiting.text, choice->in_force.text);
        return bytes_append(in_force, keys->waiting->data, keys->waiting->len, err);
    }
    int rc = bytes_append(in_force, keys->in_force->data, keys->in_force->len, err);
    return rc ? rc : bytes_append(waiting, keys->waiting->data, keys->waiting->len, err);
}

int service_rotate_choose(struct service_keyring *ring, const struct service_collection *old,
                          const struct tuf_metadata *root, struct service_collection *next,
                          struct error *err)
{
    struct choice choices[2] = {
        {.role = TUF_SNAPSHOT, .keys = keys_of(old, TUF_SNAPSHOT)},
        {.role = TUF_TIMESTAMP, .keys = keys_of(old, TUF_TIMESTAMP)},
    };
    bool all = true;
    for (size_t i = 0; i < 2; i++) {
        int rc = look(ring, old, root, &choices[i], err);
        if (rc)
            return rc;
        all = all && listed(&choices[i]);
    }
    if (!all)
        return refuse(choices, err);
    int rc = take(old->name, &choices[0], &next->snapshot_key, &next->snapshot_next, err);
    return rc ? rc : take(old->name, &choices[1], &next->timestamp_key, &next->timestamp_next, err);
}

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

static int public_half(struct service_keyring *ring, const struct service_collection *c,
                       enum tuf_type role, const struct bytes *sealed, struct public_key **out,
                       struct error *err)
{
    int rc = service_keyring_public(ring, tuf_type_name(role), sealed, out, err);
    return wrap(err, rc, "%s key of collection '%s'", tuf_type_name(role), c->name);
}

/* --- a key for the next root --- */

struct taking {
    struct service_store *store;
    const struct service_collection *c;
};

/* By the collection itself a moment ago, or by any at any time. */
static int is_taken(void *context, const struct key_id *id, bool *out, struct error *err)
{
    const struct taking *taking = context;
    for (size_t i = 0; i < taking->c->n_taken; i++)
        if (strcmp(taking->c->taken[i].text, id->text) == 0) {
            *out = true;
            return OK;
        }
    return service_store_taken(taking->store, id, out, err);
}

static int count_used(void *context, const struct key_id *id, struct error *err)
{
    return service_store_token_count_used(context, id, err);
}

/* A restored database may have forgotten what its token's keys served for: handed out again, an old
 * first publication would count as a new one. */
static int count_forgotten(struct service_store *store, struct service_token *token,
                           struct error *err)
{
    bool forgotten = false;
    int rc = service_store_token_forgotten(store, &forgotten, err);
    if (rc || !forgotten)
        return rc;
    rc = service_token_each(token, count_used, store, err);
    if (!rc)
        rc = service_store_token_counted(store, err);
    if (!rc)
        log_warn("the service was restored: all keys that lie on its token now count as used");
    return rc;
}

static int take_from_token(struct service_store *store, struct service_keyring *ring,
                           struct service_collection *c, struct bytes *to, struct error *err)
{
    struct taking taking = {store, c};
    const struct service_token_taken taken = {is_taken, &taking};
    if (c->n_taken == sizeof c->taken / sizeof c->taken[0])
        return fail(err, E_INTERNAL, "more keys at once than a collection has");
    int rc = count_forgotten(store, service_keyring_token(ring), err);
    if (!rc)
        rc =
            service_token_take(service_keyring_token(ring), &taken, to, &c->taken[c->n_taken], err);
    c->n_taken += !rc;
    return rc;
}

int service_rotate_make(struct service_store *store, struct service_keyring *ring,
                        struct service_collection *c, enum tuf_type role, struct error *err)
{
    bool published = c->set.n_files > 0;
    struct bytes *to = role == TUF_SNAPSHOT ? (published ? &c->snapshot_next : &c->snapshot_key)
                                            : (published ? &c->timestamp_next : &c->timestamp_key);
    char label[64];
    (void)snprintf(label, sizeof label, "%s key", tuf_type_name(role));
    bytes_clear(to);
    if (service_token_serves(service_keyring_token(ring), c->name))
        return take_from_token(store, ring, c, to, err);
    return service_keyring_make(ring, label, to, err);
}

static void say_made(const struct service_collection *c, enum tuf_type role,
                     const struct public_key *key)
{
    struct key_id id;
    if (public_key_id(key, &id, NULL) == OK)
        log_info("collection '%s': made %s key %s, which signs once a root lists it", c->name,
                 tuf_type_name(role), id.text);
}

int service_rotate_offer(struct service_store *store, struct service_keyring *ring,
                         struct service_collection *c, struct service_rotate_wish wish,
                         struct public_key **out, struct error *err)
{
    bool published = c->set.n_files > 0;
    struct role_keys keys = keys_of(c, wish.role);
    bool made = wish.another || (published && !keys.waiting->len);
    int rc = made ? service_rotate_make(store, ring, c, wish.role, err) : OK;
    if (!rc && made)
        rc = service_store_save(store, c, err);
    if (!rc)
        rc = public_half(ring, c, wish.role, published ? keys.waiting : keys.in_force, out, err);
    if (!rc && made)
        say_made(c, wish.role, *out);
    return rc;
}

int service_rotate_public(struct service_keyring *ring, const struct service_collection *c,
                          enum tuf_type role, struct public_key **out, struct error *err)
{
    return public_half(ring, c, role, keys_of(c, role).in_force, out, err);
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
    CLEANUP(public_key_cleanup) struct public_key *in_force = NULL;
    CLEANUP(public_key_cleanup) struct public_key *waiting = NULL;
    int rc = public_half(ring, c, choice->role, choice->keys.in_force, &in_force, err);
    if (!rc)
        rc = public_key_id(in_force, &choice->in_force, err);
    if (rc)
        return rc;
    choice->in_force_listed = lists(root, choice->role, in_force);
    if (!choice->keys.waiting->len)
        return OK;
    rc = public_half(ring, c, choice->role, choice->keys.waiting, &waiting, err);
    if (rc)
        return rc;
    choice->waiting_listed = lists(root, choice->role, waiting);
    return public_key_id(waiting, &choice->waiting, err);
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

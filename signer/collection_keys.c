#include "signer/collection_keys.h"

#include <string.h>

void role_signers_done(struct role_signers *s)
{
    for (size_t i = 0; i < s->n; i++)
        signing_key_cleanup(&s->keys[i]);
    s->n = 0;
}

static int sign_with(void *context, const void *msg, size_t len, struct bytes *out,
                     struct error *err)
{
    return signing_key_sign(context, msg, len, out, err);
}

static int add(const struct collection_owner *owner, const char *name, struct role_signers *s,
               struct error *err)
{
    struct signing_key *key = NULL;
    struct key_id id;
    int rc = signing_key_open(owner->keystore, name, owner->passphrases, owner->pins, &key, err);
    if (rc)
        return rc;
    s->keys[s->n] = key;
    rc = public_key_id(signing_key_public(key), &id, err);
    for (size_t i = 0; !rc && i < s->n; i++)
        if (strcmp(s->signers[i].id.text, id.text) == 0)
            rc = fail(err, E_USAGE, "'%s' is the same key as '%s'", name, s->info[i].label);
    if (rc) {
        signing_key_cleanup(&s->keys[s->n]);
        return rc;
    }
    s->signers[s->n] = (struct tuf_signer){sign_with, key, id};
    memcpy(s->info[s->n].id, id.text, sizeof id.text);
    (void)snprintf(s->info[s->n].label, sizeof s->info[0].label, "%s", signing_key_label(key));
    s->n++;
    return OK;
}

int role_signers_open(const struct collection_owner *owner, const char *const *names, size_t n,
                      struct role_signers *out, struct error *err)
{
    CLEANUP(role_signers_done) struct role_signers s = {.n = 0};
    if (n > COLLECTION_MAX_KEYS)
        return fail(err, E_USAGE, "at most %d keys at once", COLLECTION_MAX_KEYS);
    for (size_t i = 0; i < n; i++) {
        int rc = add(owner, names[i], &s, err);
        if (rc)
            return rc;
    }
    *out = s;
    s.n = 0; /* ownership has moved */
    return OK;
}

bool role_keys_list(const struct tuf_role_keys *role, const char *id)
{
    for (size_t i = 0; i < role->n_ids; i++)
        if (strcmp(role->ids[i].text, id) == 0)
            return true;
    return false;
}

size_t role_signers_count(const struct role_signers *s, const struct tuf_role_keys *role)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += role_keys_list(role, s->info[i].id);
    return n;
}

/* Names of local keys in the role, and the count of them. */
static size_t candidates(const struct key_entry *entries, size_t n,
                         const struct tuf_role_keys *role, char *names, size_t size,
                         const char **last)
{
    size_t found = 0, used = 0;
    names[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (entries[i].public_only || !role_keys_list(role, entries[i].id.text))
            continue;
        *last = entries[i].name;
        if (used < size)
            used += (size_t)snprintf(names + used, size - used, "%s%s", found ? ", " : "",
                                     entries[i].name);
        found++;
    }
    return found;
}

int role_signers_find(const struct collection_owner *owner, const struct tuf_role_keys *role,
                      const char *role_name, struct role_signers *s, struct error *err)
{
    CLEANUP(cleanup_free) struct key_entry *entries = NULL;
    size_t n = 0;
    char names[256];
    const char *only = NULL;
    if (role_signers_count(s, role) >= (uint64_t)role->threshold)
        return OK;
    int rc = keystore_list(owner->keystore, &entries, &n, err);
    if (rc)
        return rc;
    size_t found = candidates(entries, n, role, names, sizeof names, &only);
    if (found == 0)
        return fail(err, E_USAGE,
                    "no key in the key store may sign role '%s' (it lists %s%s); name one with "
                    "--key, for example a token's pkcs11: URI",
                    role_name, role->n_ids ? role->ids[0].text : "no key",
                    role->n_ids > 1 ? ", …" : "");
    if (found > 1 && role->threshold == 1)
        return fail(err, E_USAGE, "several local keys may sign role '%s': choose with --key (%s)",
                    role_name, names);
    if (found > 1) /* more than one signature is needed, so all of them help */
        return fail(err, E_USAGE, "role '%s' needs %lld signatures: name the keys with --key (%s)",
                    role_name, (long long)role->threshold, names);
    if (s->n == COLLECTION_MAX_KEYS)
        return fail(err, E_USAGE, "at most %d keys at once", COLLECTION_MAX_KEYS);
    return add(owner, only, s, err);
}

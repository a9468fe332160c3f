#include "signer/service_keyring.h"

struct slot {
    struct bytes sealed; /* what the key was unlocked from: its name here */
    struct signing_key *key;
    uint64_t used; /* when it was asked for last */
};

struct service_keyring {
    struct secret passphrase;
    struct service_token *token;
    struct slot slots[SERVICE_KEYRING_MAX];
    uint64_t clock;
};

int service_keyring_new(struct secret *passphrase, struct service_keyring **out, struct error *err)
{
    struct service_keyring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return fail_nomem(err);
    ring->passphrase = secret_take(passphrase);
    *out = ring;
    return OK;
}

static void slot_done(struct slot *slot)
{
    bytes_done(&slot->sealed);
    signing_key_cleanup(&slot->key);
    slot->used = 0;
}

void service_keyring_free(struct service_keyring *ring)
{
    if (!ring)
        return;
    for (size_t i = 0; i < SERVICE_KEYRING_MAX; i++)
        slot_done(&ring->slots[i]);
    secret_done(&ring->passphrase);
    service_token_free(ring->token);
    free(ring);
}

void service_keyring_cleanup(struct service_keyring **ring)
{
    service_keyring_free(*ring);
    *ring = NULL;
}

int service_keyring_make(struct service_keyring *ring, const char *label, struct bytes *sealed,
                         struct error *err)
{
    CLEANUP(signing_key_cleanup) struct signing_key *key = NULL;
    int rc = signing_key_generate(KEY_ED25519, label, &key, err);
    /* The passphrase is 256 random bits: Argon2id's full cost would protect nothing more. */
    return rc ? rc : signing_key_seal(key, &ring->passphrase, true, sealed, err);
}

int service_keyring_unlock(struct service_keyring *ring, const char *label,
                           const struct bytes *sealed, struct signing_key **out, struct error *err)
{
    if (service_token_is_record(sealed))
        return service_token_open(ring->token, sealed, out, err);
    return signing_key_unseal(sealed->data, sealed->len, &ring->passphrase, label, out, err);
}

void service_keyring_use(struct service_keyring *ring, struct service_token *token)
{
    service_token_free(ring->token);
    ring->token = token;
}

struct service_token *service_keyring_token(const struct service_keyring *ring)
{
    return ring->token;
}

int service_keyring_public(struct service_keyring *ring, const char *label,
                           const struct bytes *sealed, struct public_key **out, struct error *err)
{
    struct signing_key *key = NULL;
    CLEANUP(js_cleanup) struct js *object = NULL;
    if (service_token_is_record(sealed))
        return service_token_public(sealed, out, err);
    int rc = service_keyring_get(ring, label, sealed, &key, err);
    if (!rc)
        rc = public_key_to_tuf(signing_key_public(key), &object, err);
    return rc ? rc : public_key_from_tuf(object, out, err);
}

/* A key on a token takes the place of the oldest one there, once there are enough. */
static struct slot *token_slot(struct service_keyring *ring)
{
    struct slot *oldest = NULL;
    unsigned n = 0;
    for (size_t i = 0; i < SERVICE_KEYRING_MAX; i++) {
        struct slot *slot = &ring->slots[i];
        if (!slot->key || !service_token_is_record(&slot->sealed))
            continue;
        n++;
        if (!oldest || slot->used < oldest->used)
            oldest = slot;
    }
    return n >= SERVICE_KEYRING_TOKEN_MAX ? oldest : NULL;
}

static bool holds(const struct slot *slot, const struct bytes *sealed)
{
    return slot->key && bytes_equal(slot->sealed.data, slot->sealed.len, sealed->data, sealed->len);
}

static struct slot *find_slot(struct service_keyring *ring, const struct bytes *sealed)
{
    for (size_t i = 0; i < SERVICE_KEYRING_MAX; i++)
        if (holds(&ring->slots[i], sealed))
            return &ring->slots[i];
    return NULL;
}

bool service_keyring_holds(const struct service_keyring *ring, const struct bytes *sealed)
{
    for (size_t i = 0; i < SERVICE_KEYRING_MAX; i++)
        if (holds(&ring->slots[i], sealed))
            return true;
    return false;
}

void service_keyring_note(struct service_keyring *ring, const struct bytes *sealed, int rc,
                          const struct error *err)
{
    struct slot *slot = service_token_is_record(sealed) ? find_slot(ring, sealed) : NULL;
    if (!slot)
        return;
    service_token_note(ring->token, rc, err);
    if (rc)
        slot_done(slot);
}

/* The slot that holds `sealed`, else the one that may be given away, empty ones first. */
static struct slot *slot_for(struct service_keyring *ring, const struct bytes *sealed)
{
    struct slot *held = find_slot(ring, sealed);
    if (held)
        return held;
    struct slot *oldest = service_token_is_record(sealed) ? token_slot(ring) : NULL;
    if (!oldest) {
        oldest = &ring->slots[0];
        for (size_t i = 1; i < SERVICE_KEYRING_MAX; i++)
            if (ring->slots[i].used < oldest->used)
                oldest = &ring->slots[i];
    }
    slot_done(oldest);
    return oldest;
}

int service_keyring_get(struct service_keyring *ring, const char *label, const struct bytes *sealed,
                        struct signing_key **out, struct error *err)
{
    struct slot *slot = slot_for(ring, sealed);
    if (!slot->key) {
        int rc = bytes_append(&slot->sealed, sealed->data, sealed->len, err);
        if (!rc)
            rc = service_keyring_unlock(ring, label, sealed, &slot->key, err);
        if (rc) {
            slot_done(slot);
            return rc;
        }
    }
    slot->used = ++ring->clock;
    *out = slot->key;
    return OK;
}

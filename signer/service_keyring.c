#include "signer/service_keyring.h"

struct slot {
    struct bytes sealed; /* what the key was unlocked from: its name here */
    struct signing_key *key;
    uint64_t used; /* when it was asked for last */
};

struct service_keyring {
    struct secret passphrase;
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
}

void service_keyring_free(struct service_keyring *ring)
{
    if (!ring)
        return;
    for (size_t i = 0; i < SERVICE_KEYRING_MAX; i++)
        slot_done(&ring->slots[i]);
    secret_done(&ring->passphrase);
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
    return signing_key_unseal(sealed->data, sealed->len, &ring->passphrase, label, out, err);
}

/* The slot that holds `sealed`, else the one that may be given away: empty ones were never used. */
static struct slot *slot_for(struct service_keyring *ring, const struct bytes *sealed)
{
    struct slot *oldest = &ring->slots[0];
    for (size_t i = 0; i < SERVICE_KEYRING_MAX; i++) {
        struct slot *slot = &ring->slots[i];
        if (slot->key &&
            bytes_equal(slot->sealed.data, slot->sealed.len, sealed->data, sealed->len))
            return slot;
        if (slot->used < oldest->used)
            oldest = slot;
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

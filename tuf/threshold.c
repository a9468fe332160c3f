#include "tuf/metadata_internal.h"

#include <inttypes.h>
#include <string.h>

#define MAX_SIGNATURE_BYTES 2048u /* RSA with 8192 bits has 1024 */

struct count {
    const struct public_key *keys[TUF_MAX_KEYS];
    size_t n;
};

static int by_id(const void *key, const void *item)
{
    return strcmp(((const struct key_id *)key)->text,
                  ((const struct tuf_signature *)item)->id.text);
}

/* Sorted and distinct since parsing. */
static const struct tuf_signature *signature_of(const struct tuf_metadata *m,
                                                const struct key_id *id)
{
    if (!m->n_signatures)
        return NULL;
    return bsearch(id, m->signatures, m->n_signatures, sizeof *m->signatures, by_id);
}

static bool counted(const struct count *count, const struct public_key *key)
{
    for (size_t i = 0; i < count->n; i++)
        if (public_key_equal(count->keys[i], key))
            return true;
    return false;
}

static int verify_one(const struct tuf_metadata *m, const struct public_key *key, const char *hex,
                      struct error *err)
{
    uint8_t sig[MAX_SIGNATURE_BYTES];
    size_t digits = strlen(hex);
    if (digits == 0 || digits / 2 > sizeof sig)
        return fail(err, E_SIGNATURE, "no signature has this length");
    int rc = hex_decode(hex, digits, sig, digits / 2, err);
    if (rc)
        return rc;
    return public_key_verify(key, m->canonical.data, m->canonical.len, sig, digits / 2, err);
}

int tuf_verify_threshold(const struct tuf_metadata *m, const struct tuf_keys *keys,
                         const struct tuf_role_keys *role, struct key_id *signers,
                         size_t max_signers, size_t *n_valid, struct error *err)
{
    struct count count = {.n = 0};
    /* From the role's side, never from the file's: work is bounded by the keys that may count. */
    for (size_t i = 0; i < role->n_ids && count.n < TUF_MAX_KEYS; i++) {
        const struct tuf_signature *sig = signature_of(m, &role->ids[i]);
        const struct tuf_key *key = tuf_keys_find(keys, &role->ids[i]);
        if (!sig || !key || !key->key || counted(&count, key->key))
            continue;
        int rc = verify_one(m, key->key, sig->hex, err);
        if (rc == E_SIGNATURE)
            continue;
        if (rc)
            return rc;
        if (signers && count.n < max_signers)
            signers[count.n] = role->ids[i];
        count.keys[count.n++] = key->key;
    }
    if (n_valid)
        *n_valid = count.n;
    if (role->threshold < 1 || count.n < (uint64_t)role->threshold)
        return fail(err, E_SIGNATURE, "%zu of %" PRId64 " needed signatures are valid", count.n,
                    role->threshold);
    return OK;
}
